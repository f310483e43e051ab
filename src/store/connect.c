/* Opens a connection to Postgres: host after host, each with a time limit. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/connection.h"
#include "store/sqlstate.h"

/* The wait for the standby's confirmation can be cancelled. The transaction is committed then, and there is
 * no more than a warning, in the server's language; but the function that raises it is always the same. */
static void receive_notice(void *context, const PGresult *notice)
{
    struct connection *connection = context;
    const char *function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);

    if (function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0) {
        connection->is_unconfirmed = true;
    }
    log_warning("database notice: %s", PQresultErrorMessage(notice));
}

/* libpq's blocking functions have timeouts in whole seconds only. */
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

/* Appends to `why` the message of a host that refuses the connection, and sets the reason. A host that does
 * not respond leaves another one's reason. */
static void read_refusal(struct connection *connection, const PGconn *pg, char *why, size_t size)
{
    char sqlstate[SQLSTATE_SIZE];
    enum op_reason reason = REASON_NONE;

    sqlstate_read_login(PQstatus(pg) == CONNECTION_BAD ? PQerrorMessage(pg) : "timeout", why, size, sqlstate);
    if (sqlstate[0] != '\0') {
        reason = sqlstate_reason(sqlstate_action(sqlstate, NULL, NULL));
    }
    if (reason == REASON_NONE && PQconnectionNeedsPassword(pg) != 0) { /* and there is none: libpq's error */
        reason = REASON_LOGIN;
    }
    connection->reason = reason != REASON_NONE ? reason : connection->reason;
}

/* Tries one host; NULL if there is no connection to it in time, and then the error is appended to why. */
static PGconn *connect_to(struct connection *connection, size_t host, int64_t deadline_ms, char *why,
                          size_t size)
{
    const char *values[HOSTS_PARAMETERS];
    size_t used = strlen(why);
    PGconn *pg;

    hosts_values(connection->hosts, host, values);
    pg = PQconnectStartParams(hosts_keywords, values, 1);
    if (pg != NULL) {
        PQsetErrorVerbosity(pg, PQERRORS_VERBOSE); /* with the SQLSTATE */
    }
    if (pg != NULL && poll_until_connected(pg, deadline_ms)) {
        PQsetErrorVerbosity(pg, PQERRORS_DEFAULT);
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

/* Until when one host is tried: no longer than its share of the time that is left, so that the last one is
 * not marked as failed for want of time, and a silent one tried first again. */
static int64_t try_until_ms(const struct hosts *hosts, size_t hosts_left, int64_t deadline_ms)
{
    int64_t now_ms = clock_now_ms(), share_ms = (deadline_ms - now_ms) / (int64_t)hosts_left;

    return now_ms + clock_earlier(hosts_timeout_ms(hosts), share_ms);
}

void connection_open(struct connection *connection, int64_t deadline_ms)
{
    size_t count = hosts_count(connection->hosts), first = hosts_first(connection->hosts);
    enum op_reason before = connection->reason;
    char *why = connection->refusal;

    connection->reason = REASON_NONE;
    why[0] = '\0';
    for (size_t i = 0; i < count && connection->pg == NULL; i++) {
        if (i > 0 && clock_now_ms() >= deadline_ms) { /* name resolution took it all */
            /* LCOV_EXCL_START: by chance: the system takes all the time there is to find a host's address */
            break;
            /* LCOV_EXCL_STOP */
        }
        connection->host = (first + i) % count;
        connection->pg =
            connect_to(connection, connection->host, try_until_ms(connection->hosts, count - i, deadline_ms),
                       why, sizeof connection->refusal);
    }
    if (connection->pg == NULL) {
        connection->state = CONNECTION_CLOSED;
        if (connection->reason == REASON_NONE && clock_now_ms() >= deadline_ms) {
            connection->reason = before; /* the server had no time to refuse it again */
        }
        metrics_count(METRICS_CONNECT_FAILURES);
        return;
    }
    connection->state = CONNECTION_IDLE;
    PQsetNoticeReceiver(connection->pg, receive_notice, connection);
    metrics_count(METRICS_CONNECTS);
    metrics_add(METRICS_CONNECTIONS, 1);
}
