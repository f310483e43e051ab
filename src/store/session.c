/* The server's session behind a connection. */
#include "store/session.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/binary.h"
#include "store/query.h"

/* Each plain CGI request greets, in a session that has nothing cached yet. So the values come as they are, in
 * binary: to make numbers of times would double what this costs. The comment keeps pgpool-II from sending a
 * statement to a standby. */
static const char greeting[] =
    "/* writes */ SELECT clock_timestamp(), pg_postmaster_start_time(), pg_backend_pid(), "
    "to_regtype('intake.operation')";
static_assert((int)ABANDONED_SESSIONS_MAX <= (int)QUERY_NUMBERS_MAX, "they go along with a query");
enum { COLUMN_NOW = 0, COLUMN_STARTED, COLUMN_PID, COLUMN_TYPE };
enum { BINARY_RESULTS = 1 };

/* Times are in microseconds since 1970. On the same server, what has the same pid and began before the
 * session greeted is that session. One whose process stands still ends when that goes on, before it reads
 * what lies in its socket. */
static const char ending[] =
    "/* writes */ SELECT count(*) FILTER (WHERE pg_terminate_backend(given_up.pid::integer)) "
    "FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS given_up (pid, greeted, server) "
    "JOIN LATERAL pg_stat_get_activity(given_up.pid::integer) session "
    "ON (extract(epoch FROM session.backend_start) * 1000000)::bigint <= given_up.greeted "
    "AND (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint = given_up.server";
enum { PARAMETERS = 3 };

void session_forget(struct session *session)
{
    session->clock = (struct server_clock){0};
    session->operation_type = 0;
    session->name = (struct session_name){0};
}

void session_abandon(struct session *session)
{
    if (session->name.pid == 0) {
        return;
    }
    if (session->abandoned_count == ABANDONED_SESSIONS_MAX) { /* the oldest has had the most time to end */
        session->abandoned_count--;
        memmove(session->abandoned, session->abandoned + 1,
                session->abandoned_count * sizeof session->abandoned[0]);
    }
    session->abandoned[session->abandoned_count++] = session->name;
}

bool session_send_ending(const struct session *session, PGconn *pg)
{
    int64_t numbers[PARAMETERS][ABANDONED_SESSIONS_MAX];
    char texts[PARAMETERS][QUERY_NUMBERS_SIZE];
    const char *const values[PARAMETERS] = {texts[0], texts[1], texts[2]};

    for (size_t i = 0; i < session->abandoned_count; i++) {
        numbers[0][i] = session->abandoned[i].pid;
        numbers[1][i] = session->abandoned[i].greeted_us;
        numbers[2][i] = session->abandoned[i].server_us;
    }
    for (size_t i = 0; i < PARAMETERS; i++) {
        query_write_numbers(numbers[i], session->abandoned_count, texts[i]);
    }
    return PQsendQueryParams(pg, ending, PARAMETERS, NULL, values, NULL, NULL, 0) == 1;
}

/* That it may not, or finds nobody, is no reason to do without the connection: a batch has its deadline, too.
 */
void session_read_ending(const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        log_warning("unable to end sessions of the database that were given up: %s",
                    PQresultErrorMessage(result)); /* an error of libpq's own has no other */
    } else if (query_read_number(result, 0, 0) > 0) {
        log_warning("ended %lld sessions of the database that had been given up",
                    (long long)query_read_number(result, 0, 0));
    }
}

bool session_send_greeting(PGconn *pg)
{
    return PQsendQueryParams(pg, greeting, 0, NULL, NULL, NULL, NULL, BINARY_RESULTS) == 1;
}

/* Whether the values are as long as they should be. */
static bool is_greeting(const PGresult *row)
{
    return PQntuples(row) == 1 && PQgetlength(row, 0, COLUMN_NOW) == 8 &&
           PQgetlength(row, 0, COLUMN_STARTED) == 8 && PQgetlength(row, 0, COLUMN_PID) == 4 &&
           (PQgetisnull(row, 0, COLUMN_TYPE) || PQgetlength(row, 0, COLUMN_TYPE) == 4);
}

bool session_read_greeting(struct session *session, const PGconn *pg, const PGresult *row, int64_t sent_ms)
{
    int64_t now_us, server_us;
    int32_t pid;

    if (!is_greeting(row)) {
        return false;
    }
    now_us = binary_read_timestamp(PQgetvalue(row, 0, COLUMN_NOW));
    server_us = binary_read_timestamp(PQgetvalue(row, 0, COLUMN_STARTED));
    pid = binary_read_int32(PQgetvalue(row, 0, COLUMN_PID));
    server_clock_hear(&session->clock, now_us, server_us, sent_ms, clock_now_ms());
    session->operation_type =
        PQgetisnull(row, 0, COLUMN_TYPE) ? 0 : (uint32_t)binary_read_int32(PQgetvalue(row, 0, COLUMN_TYPE));
    session->name = (struct session_name){
        .pid = pid == PQbackendPID(pg) ? pid : 0, .greeted_us = now_us, .server_us = server_us};
    return true;
}
