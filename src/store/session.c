/* The server's session behind a connection. */
#include "store/session.h"

#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/query.h"

/* Times are in microseconds since 1970. The comment keeps pgpool-II from sending a statement to a standby. */
static const char greeting[] =
    "/* writes */ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, "
    "(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint, pg_backend_pid(), "
    "(SELECT (extract(epoch FROM own.backend_start) * 1000000)::bigint "
    "FROM pg_stat_get_activity(pg_backend_pid()) own), coalesce(to_regtype('intake.operation')::oid, 0)";
static_assert((int)ABANDONED_SESSIONS_MAX <= (int)QUERY_NUMBERS_MAX, "they go along with a query");
enum { COLUMN_NOW = 0, COLUMN_STARTED, COLUMN_PID, COLUMN_SESSION, COLUMN_TYPE };

/* A session whose process stands still ends when that goes on, before it reads what lies in its socket. */
static const char ending[] =
    "/* writes */ SELECT count(*) FILTER (WHERE pg_terminate_backend(given_up.pid::integer)) "
    "FROM unnest($1::bigint[], $2::bigint[]) AS given_up (pid, started) "
    "JOIN LATERAL pg_stat_get_activity(given_up.pid::integer) session "
    "ON (extract(epoch FROM session.backend_start) * 1000000)::bigint = given_up.started";

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

/* The one row of the query that was sent. NULL where there is none; *in_time and *refusal then say why. */
static PGresult *receive_row(PGconn *connection, int64_t deadline_ms, bool *in_time, PGresult **refusal)
{
    PGresult *row = NULL, *result;

    *refusal = NULL;
    *in_time = query_flush(connection, deadline_ms);
    while (*in_time && (result = query_next_result(connection, deadline_ms, in_time)) != NULL) {
        PGresult **place = PQresultStatus(result) == PGRES_TUPLES_OK ? &row : refusal;

        PQclear(*place);
        *place = result;
    }
    *in_time = *in_time && PQstatus(connection) == CONNECTION_OK;
    return row;
}

/* That it may not, or finds nobody, is no reason to do without the connection: a batch has its deadline, too.
 */
static bool end_abandoned(struct session *session, PGconn *connection, int64_t deadline_ms)
{
    int64_t pids[ABANDONED_SESSIONS_MAX], started[ABANDONED_SESSIONS_MAX];
    char pids_text[QUERY_NUMBERS_SIZE], started_text[QUERY_NUMBERS_SIZE];
    const char *const values[] = {pids_text, started_text};
    PGresult *row, *refusal;
    bool in_time;

    for (size_t i = 0; i < session->abandoned_count; i++) {
        pids[i] = session->abandoned[i].pid;
        started[i] = session->abandoned[i].started_us;
    }
    query_write_numbers(pids, session->abandoned_count, pids_text);
    query_write_numbers(started, session->abandoned_count, started_text);
    if (PQsendQueryParams(connection, ending, 2, NULL, values, NULL, NULL, 0) == 0) {
        return false;
    }
    row = receive_row(connection, deadline_ms, &in_time, &refusal);
    if (refusal != NULL) {
        log_warning("unable to end sessions of the database that were given up: %s",
                    PQresultErrorField(refusal, PG_DIAG_MESSAGE_PRIMARY));
    } else if (row != NULL && query_read_number(row, 0, 0) > 0) {
        log_warning("ended %lld sessions of the database that had been given up",
                    (long long)query_read_number(row, 0, 0));
    }
    PQclear(row);
    PQclear(refusal);
    if (in_time) {
        session->abandoned_count = 0;
    }
    return in_time;
}

bool session_greet(struct session *session, PGconn *connection, int64_t deadline_ms, PGresult **refusal)
{
    int64_t sent_ms;
    PGresult *row;
    bool in_time;

    *refusal = NULL;
    if (session->abandoned_count > 0 && !end_abandoned(session, connection, deadline_ms)) {
        return false;
    }
    sent_ms = clock_now_ms();
    if (PQsendQueryParams(connection, greeting, 0, NULL, NULL, NULL, NULL, 0) == 0) {
        return false;
    }
    row = receive_row(connection, deadline_ms, &in_time, refusal);
    if (in_time && row != NULL) {
        int64_t pid = query_read_number(row, 0, COLUMN_PID);

        server_clock_hear(&session->clock, query_read_number(row, 0, COLUMN_NOW),
                          query_read_number(row, 0, COLUMN_STARTED), sent_ms, clock_now_ms());
        session->operation_type = (uint32_t)query_read_number(row, 0, COLUMN_TYPE);
        session->name = (struct session_name){
            .pid = pid == PQbackendPID(connection) ? pid : 0,
            .started_us = query_read_number(row, 0, COLUMN_SESSION),
        };
    }
    in_time = in_time && row != NULL;
    PQclear(row);
    return in_time;
}
