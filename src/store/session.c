/* The server's session behind a connection. */
#include "store/session.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/binary.h"

/* Each plain CGI request asks for these, in a session that has nothing cached yet. So the values come in
 * binary: converting times to numbers would double the cost. The comment keeps pgpool-II from sending a
 * statement to a standby. */
static const char sync_query[] =
    "/* writes */ SELECT clock_timestamp(), pg_postmaster_start_time(), pg_backend_pid(), "
    "to_regtype('intake.operation')";
enum { COLUMN_NOW = 0, COLUMN_STARTED, COLUMN_PID, COLUMN_TYPE };
enum { BINARY_RESULTS = 1 };

/* Times are in microseconds since 1970. On the same server, a session with the same pid that began before the
 * sync_query is the one. If its process is stopped, it ends when that continues, before it reads its socket.
 */
static const char termination[] =
    "/* writes */ SELECT pg_terminate_backend($1::integer) FROM pg_stat_get_activity($1::integer) session "
    "WHERE (extract(epoch FROM session.backend_start) * 1000000)::bigint <= $2::bigint "
    "AND (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint = $3::bigint";

void session_forget(struct session *session)
{
    session->clock = (struct server_clock){0};
    session->operation_type = 0;
    session->id = (struct session_id){0};
}

void session_abandon(struct session *session)
{
    if (session->id.pid == 0) {
        return;
    }
    if (session->abandoned_count == ABANDONED_SESSIONS_MAX) { /* the oldest has had the most time to end */
        session->abandoned_count--;
        memmove(session->abandoned, session->abandoned + 1,
                session->abandoned_count * sizeof session->abandoned[0]);
    }
    session->abandoned[session->abandoned_count++] = session->id;
}

bool session_send_termination(const struct session *session, PGconn *pg)
{
    const struct session_id *id = &session->abandoned[session->abandoned_count - 1];
    char pid[24], synced[24], server[24];
    const char *const values[] = {pid, synced, server};

    snprintf(pid, sizeof pid, "%lld", (long long)id->pid);
    snprintf(synced, sizeof synced, "%lld", (long long)id->synced_us);
    snprintf(server, sizeof server, "%lld", (long long)id->server_us);
    return PQsendQueryParams(pg, termination, 3, NULL, values, NULL, NULL, 0) == 1;
}

/* The connection is of use in any case: a batch has its deadline, too. */
void session_read_termination(struct session *session, const PGresult *result)
{
    session->abandoned_count -= session->abandoned_count > 0; /* whatever a server sends */
    if (PQresultStatus(result) != PGRES_TUPLES_OK) { /* an error of libpq's own has no other message */
        log_warning("unable to terminate an abandoned database session: %s", PQresultErrorMessage(result));
    } else if (PQntuples(result) > 0) {
        log_warning("terminated an abandoned database session");
    }
}

bool session_send_sync(PGconn *pg)
{
    return PQsendQueryParams(pg, sync_query, 0, NULL, NULL, NULL, NULL, BINARY_RESULTS) == 1;
}

/* Whether the values are as long as they should be. */
static bool is_sync(const PGresult *row)
{
    return PQntuples(row) == 1 && PQgetlength(row, 0, COLUMN_NOW) == 8 &&
           PQgetlength(row, 0, COLUMN_STARTED) == 8 && PQgetlength(row, 0, COLUMN_PID) == 4 &&
           (PQgetisnull(row, 0, COLUMN_TYPE) || PQgetlength(row, 0, COLUMN_TYPE) == 4);
}

bool session_read_sync(struct session *session, const PGconn *pg, const PGresult *row, int64_t sent_ms)
{
    int64_t now_us, server_us;
    int32_t pid;

    if (!is_sync(row)) {
        return false;
    }
    now_us = binary_read_timestamp(PQgetvalue(row, 0, COLUMN_NOW));
    server_us = binary_read_timestamp(PQgetvalue(row, 0, COLUMN_STARTED));
    pid = binary_read_int32(PQgetvalue(row, 0, COLUMN_PID));
    server_clock_update(&session->clock, now_us, server_us, sent_ms, clock_now_ms());
    session->operation_type =
        PQgetisnull(row, 0, COLUMN_TYPE) ? 0 : (uint32_t)binary_read_int32(PQgetvalue(row, 0, COLUMN_TYPE));
    session->id = (struct session_id){
        .pid = pid == PQbackendPID(pg) ? pid : 0, .synced_us = now_us, .server_us = server_us};
    return true;
}
