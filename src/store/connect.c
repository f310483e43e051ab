/* Opening a connection to Postgres: host after host, each with a time limit of ours. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/connection.h"
#include "store/login_error.h"
#include "store/pg_error.h"

/* A session that waits for the standby's word can be told to wait no longer. Its transaction is committed
 * then, and it says no more than a warning, in the server's language; but where in Postgres it comes from
 * stays the same. */
static void receive_notice(void *context, const PGresult *notice)
{
    struct connection *connection = context;
    const char *function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);

    if (function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0) {
        connection->is_unconfirmed = true;
    }
    log_warning("the database says: %s", PQresultErrorMessage(notice));
}

/* libpq's asynchronous way, because its blocking one knows whole seconds only. */
static bool poll_until_connected(PGconn *pg, int64_t deadline_ms)
{
    PostgresPollingStatusType status =
        PQstatus(pg) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;

    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        if (!clock_poll(PQsocket(pg), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms)) {
            return false;
        }
        status = PQconnectPoll(pg);
    }
    return status == PGRES_POLLING_OK && PQsetnonblocking(pg, 1) == 0;
}

/* Adds to why what a server says that will not have the connection, and notes what kind of refusal it is. One
 * that does not answer has no say where another one does. */
static void read_refusal(struct connection *connection, const PGconn *pg, char *why, size_t size)
{
    char sqlstate[SQLSTATE_SIZE];

    login_error_read(PQstatus(pg) == CONNECTION_BAD ? PQerrorMessage(pg) : "no answer in time", why, size,
                     sqlstate);
    if (sqlstate[0] != '\0' && pg_error_reason(sqlstate_action(sqlstate)) != REASON_NONE) {
        connection->reason = pg_error_reason(sqlstate_action(sqlstate));
    } else if (PQconnectionNeedsPassword(pg) != 0) { /* and there is none: libpq's own error */
        connection->reason = REASON_LOGIN;
    }
}

/* Tries one host; NULL where there is no connection to it in time, and then the reason is added to why. */
static PGconn *connect_to(struct connection *connection, size_t host, int64_t deadline_ms, char *why,
                          size_t size)
{
    PGconn *pg = PQconnectStartParams(hosts_keywords(), hosts_values(connection->hosts, host), 1);
    size_t used = strlen(why);

    if (pg != NULL) {
        (void)PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* with the SQLSTATE */
    }
    if (pg != NULL && poll_until_connected(pg, deadline_ms)) {
        (void)PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
        hosts_mark_working(connection->hosts, host);
        return pg;
    }
    if (pg != NULL && PQstatus(pg) != CONNECTION_BAD) {
        hosts_mark_failed(connection->hosts, host); /* the next attempt shall not begin with silence */
    }
    used += (size_t)snprintf(why + used, size - used, "%s%s", used == 0 ? "" : "; ",
                             pg == NULL ? "out of memory" : "");
    if (pg != NULL && used < size) {
        read_refusal(connection, pg, why + used, size - used);
    }
    PQfinish(pg);
    return NULL;
}

/* Until when one host is tried: no longer than its share of the time that is left, for a host that was given
 * none would count as failed, and the silent one be first again. */
static int64_t try_until_ms(const struct hosts *hosts, size_t hosts_left, int64_t deadline_ms)
{
    int64_t now_ms = clock_now_ms(), share_ms = (deadline_ms - now_ms) / (int64_t)hosts_left;
    int64_t timeout_ms = hosts_timeout_ms(hosts);

    return now_ms + (timeout_ms < share_ms ? timeout_ms : share_ms);
}

void connection_open(struct connection *connection, int64_t deadline_ms)
{
    size_t count = hosts_count(connection->hosts), first = hosts_first(connection->hosts);
    enum op_reason before = connection->reason;
    char why[sizeof connection->last_failure] = "";

    connection->reason = REASON_NONE;
    for (size_t i = 0; i < count && connection->pg == NULL; i++) {
        if (i > 0 && clock_now_ms() >= deadline_ms) { /* the look for an address took it all */
            break;
        }
        connection->host = (first + i) % count;
        connection->pg = connect_to(connection, connection->host,
                                    try_until_ms(connection->hosts, count - i, deadline_ms), why, sizeof why);
    }
    if (connection->pg == NULL) {
        connection->state = CONNECTION_CLOSED;
        if (connection->reason == REASON_NONE && clock_now_ms() >= deadline_ms) {
            connection->reason = before; /* the server had no time to say it again */
        }
        connection_log_failure(connection, "connect to the database", why);
        metrics_count(METRICS_CONNECT_FAILURES);
        return;
    }
    connection->state = CONNECTION_IDLE;
    (void)PQsetNoticeReceiver(connection->pg, receive_notice, connection);
    metrics_count(METRICS_CONNECTS);
    metrics_add(METRICS_CONNECTIONS, 1);
}
