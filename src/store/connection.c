/* One connection to Postgres, and the batch that is under way on it. */
#include "store/connection.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "schema_version.h"
#include "store/binary.h"
#include "store/pg_error.h"
#include "store/query.h"

enum { ENCODED_KEEP_BYTES = 256 * 1024, LOG_EVERY_MS = 10000 };

/* A quarter of what a message to Postgres may have. */
static const size_t ENCODED_MAX = (size_t)256 * 1024 * 1024;

/* A pooler's sessions outlive the worker, and so does what it has prepared in them: another version may call
 * something else by that name. */
static const char STATEMENT[] = "apply_batch " VERSION;

/* Times are in microseconds since 1970. The comment keeps pgpool-II from sending the statement to a standby.
 */
static const char query[] =
    "/* writes */ SELECT outcomes, token_labels, now_us, server_started_us FROM intake.apply_batch("
    "$1::integer, $2::intake.operation[], $3::bigint, $4::bigint, $5::bigint, $6::bigint[])";
static_assert((int)ORPHANED_ATTEMPTS_MAX <= (int)QUERY_NUMBERS_MAX, "they go along with a batch");
enum { PARAMETERS = 6, COLUMN_OUTCOMES = 0, COLUMN_LABELS, COLUMN_NOW, COLUMN_STARTED, COLUMNS };
static const int formats[PARAMETERS] = {[1] = 1}; /* the operations are in binary, as are the results */
enum { BINARY_RESULTS = 1 };

bool connection_init(struct connection *connection, struct hosts *hosts, size_t batch_max)
{
    *connection = (struct connection){.hosts = hosts, .ops = calloc(batch_max, sizeof(struct store_op *))};
    buffer_init(&connection->encoded, ENCODED_MAX);
    return connection->ops != NULL;
}

void connection_free(struct connection *connection)
{
    connection_close(connection);
    buffer_free(&connection->encoded);
    free(connection->ops);
}

bool connection_is_outdated(const struct connection *connection)
{
    return connection->host != hosts_first(connection->hosts);
}

void connection_close(struct connection *connection)
{
    if (connection->pg == NULL) {
        return;
    }
    PQfinish(connection->pg);
    connection->pg = NULL;
    connection->state = CONNECTION_CLOSED;
    connection->is_used = false;
    connection->is_prepared = false;
    session_forget(&connection->session);
    metrics_add(METRICS_CONNECTIONS, -1);
}

/* Closes a connection that has ended, or is of no use. */
static void drop(struct connection *connection)
{
    metrics_count(METRICS_LOST_CONNECTIONS);
    connection_close(connection);
}

/* Closes a connection that has ended, or that is given up with something under way: nothing more of it may
 * reach the server. */
static void cut(struct connection *connection)
{
    /* libpq says goodbye where it can, behind what it could not send before: a batch that was given up half
     * sent would be whole then, and be stored. */
    if (PQsocket(connection->pg) >= 0) {
        (void)shutdown(PQsocket(connection->pg), SHUT_RDWR);
    }
    session_abandon(&connection->session);
    drop(connection);
}

void connection_log_failure(struct connection *connection, const char *what, const char *why)
{
    int64_t now = clock_now_ms();
    char failure[sizeof connection->last_failure];

    (void)snprintf(failure, sizeof failure, "unable to %s: %s", what, why);
    if (connection->failing_since_ms == 0) {
        connection->failing_since_ms = now;
        connection->last_failure[0] = '\0';
    }
    if (strcmp(failure, connection->last_failure) != 0 || now - connection->last_failure_ms >= LOG_EVERY_MS) {
        connection->last_failure_ms = now;
        memcpy(connection->last_failure, failure, sizeof failure);
        log_error("%s", failure);
    }
}

static void mark_healthy(struct connection *connection)
{
    if (connection->failing_since_ms != 0) {
        log_info("the database answers again, after %lld ms",
                 (long long)(clock_now_ms() - connection->failing_since_ms));
        connection->failing_since_ms = 0;
    }
}

/* ---- Errors of the server ---- */

enum { REQUEST_NAME_SIZE = 160 };

/* Writes what begins a line of the log about one request; nothing where it is about several, which are then
 * sent one by one. */
static const char *name_request(const struct connection *connection, char name[REQUEST_NAME_SIZE])
{
    const char *id = connection->count == 1 ? connection->ops[0]->request_id : NULL;

    name[0] = '\0';
    if (id != NULL) {
        (void)snprintf(name, REQUEST_NAME_SIZE, "request_id=\"%s\": ", id);
    }
    return name;
}

/* Turns an error of the server into what is to be done about it. */
static enum batch_result judge_error(struct connection *connection, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum sqlstate_action action = pg_error_action(result);
    char name[REQUEST_NAME_SIZE];

    message = message == NULL ? PQresultErrorMessage(result) : message;
    connection->reason = pg_error_reason(action);
    switch (action) {
    case SQLSTATE_ELSEWHERE:
        connection_log_failure(connection, "store", message);
        hosts_mark_failed(connection->hosts, connection->host);
        drop(connection);
        return BATCH_UNREACHABLE;
    case SQLSTATE_RECONNECT:
    case SQLSTATE_LOGIN:
        connection->cannot_prepare =
            connection->cannot_prepare || (sqlstate != NULL && strcmp(sqlstate, "26000") == 0);
        connection_log_failure(connection, "store", message);
        drop(connection);
        return BATCH_UNREACHABLE;
    case SQLSTATE_RETRY:
        log_warning("unable to store, will try again: %s (SQLSTATE %s)", message, sqlstate);
        return BATCH_CONFLICT;
    case SQLSTATE_GREET:
        log_warning("unable to store, will ask the server for its time and try again: %s", message);
        connection->session.clock = (struct server_clock){0};
        connection->session.operation_type = 0;
        return BATCH_CONFLICT;
    case SQLSTATE_SCHEMA:
        connection_log_failure(connection, "store: the database's schema is not the one this program needs",
                               message);
        return BATCH_UNAVAILABLE;
    case SQLSTATE_RIGHT:
        connection_log_failure(
            connection, "store: the login's role lacks a right (incidentctl migrate grants them)", message);
        return BATCH_UNAVAILABLE;
    case SQLSTATE_UNAVAILABLE:
        connection_log_failure(connection, "store", message);
        return BATCH_UNAVAILABLE;
    case SQLSTATE_KEY:
        connection_log_failure(
            connection, "store: the sequence of the history's key is behind its table (incidentctl doctor)",
            message);
        return BATCH_UNAVAILABLE;
    case SQLSTATE_DATA:
        connection->reason = pg_error_is_of_jsonb(result) ? REASON_SIZE : REASON_NONE;
        log_warning("%sthe database refused a value: %s (SQLSTATE %s)", name_request(connection, name),
                    message, sqlstate);
        return BATCH_UNSTORABLE;
    case SQLSTATE_PLAN:
    case SQLSTATE_TYPE:
    case SQLSTATE_DEFECT:
        break;
    }
    log_error("%sunable to store: %s (SQLSTATE %s)", name_request(connection, name), message, sqlstate);
    return BATCH_FAILED;
}

/* ---- The batch, there and back ---- */

/* Encodes the array of the operations, with the server's type as far as it is known. */
static bool encode_batch(struct connection *connection)
{
    buffer_reset(&connection->encoded, ENCODED_KEEP_BYTES);
    binary_append_array(&connection->encoded, connection->session.operation_type, connection->count);
    for (size_t i = 0; i < connection->count; i++) {
        const struct buffer *record = &connection->ops[i]->record;

        binary_append_int32(&connection->encoded, (int32_t)record->len);
        buffer_append(&connection->encoded, record->data, record->len);
    }
    if (connection->encoded.failed) {
        log_error("unable to store: out of memory for a batch of %zu", connection->count);
    }
    return !connection->encoded.failed;
}

static bool send_batch(struct connection *connection)
{
    const struct attempt *attempt = &connection->attempt;
    const struct server_clock *clock = &connection->session.clock;
    char version[16], store_until[24], started[24], number[24], orphaned[QUERY_NUMBERS_SIZE];
    const int lengths[PARAMETERS] = {[1] = (int)connection->encoded.len};
    const char *const values[PARAMETERS] = {version, connection->encoded.data, store_until, started, number,
                                            orphaned};

    connection->is_used = true;
    (void)snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    (void)snprintf(store_until, sizeof store_until, "%lld",
                   (long long)server_clock_at(clock, attempt->store_until_ms));
    (void)snprintf(started, sizeof started, "%lld", (long long)clock->started_us);
    (void)snprintf(number, sizeof number, "%lld", (long long)attempt->number);
    query_write_numbers(attempt->orphaned, attempt->orphaned_count, orphaned);
    if (connection->is_prepared) {
        return PQsendQueryPrepared(connection->pg, STATEMENT, PARAMETERS, values, lengths, formats,
                                   BINARY_RESULTS) == 1;
    }
    return PQsendQueryParams(connection->pg, query, PARAMETERS, NULL, values, lengths, formats,
                             BINARY_RESULTS) == 1;
}

static struct slice column_of(const PGresult *result, int column)
{
    return (struct slice){.data = PQgetvalue(result, 0, column),
                          .len = (size_t)PQgetlength(result, 0, column)};
}

/* False where the texts are not as many as the operations. */
static bool read_texts(struct connection *connection, struct slice outcomes, struct slice labels)
{
    struct slice text;

    if (binary_read_array(&outcomes) != connection->count ||
        binary_read_array(&labels) != connection->count) {
        return false;
    }
    for (size_t i = 0; i < connection->count; i++) {
        struct store_op *op = connection->ops[i];

        if (!binary_next_text(&outcomes, &text)) {
            return false;
        }
        op->outcome = op_outcome_from_text(text);
        if (!binary_next_text(&labels, &text)) {
            return false;
        }
        (void)snprintf(op->token_label, sizeof op->token_label, "%.*s", (int)text.len,
                       text.data == NULL ? "" : text.data);
    }
    return true;
}

static enum batch_result read_outcomes(struct connection *connection, const PGresult *result)
{
    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS || PQgetlength(result, 0, COLUMN_NOW) != 8 ||
        PQgetlength(result, 0, COLUMN_STARTED) != 8 ||
        !read_texts(connection, column_of(result, COLUMN_OUTCOMES), column_of(result, COLUMN_LABELS))) {
        log_error("intake.apply_batch did not say what became of %zu operations", connection->count);
        return BATCH_FAILED;
    }
    server_clock_hear(&connection->session.clock, binary_read_int64(PQgetvalue(result, 0, COLUMN_NOW)),
                      binary_read_int64(PQgetvalue(result, 0, COLUMN_STARTED)), connection->sent_ms,
                      clock_now_ms());
    return BATCH_DONE;
}

/* ---- What is under way ---- */

/* Whether the server has all of the batch, and so may store it. */
static bool is_sent(const struct connection *connection)
{
    return connection->state == CONNECTION_STORING && connection->is_flushed;
}

/* The connection has ended, or no answer comes: a batch that is not whole is none. Operations that have an
 * outcome all the same have it from a complete result, which Postgres sends before it commits: not enough for
 * a promise. A server that says nothing is not the one to try first: it may hang with its machine, or be a
 * former primary whose commits nobody confirms. */
enum batch_result connection_give_up(struct connection *connection)
{
    bool may_be_stored = is_sent(connection), has_ended = PQstatus(connection->pg) == CONNECTION_BAD;

    connection_log_failure(connection, may_be_stored ? "hear from the database" : "send to the database",
                           has_ended ? PQerrorMessage(connection->pg) : "no answer in time");
    if (!has_ended) {
        hosts_mark_failed(connection->hosts, connection->host);
    }
    cut(connection);
    return may_be_stored ? BATCH_LOST : BATCH_UNREACHABLE;
}

int64_t connection_deadline_ms(const struct connection *connection)
{
    return is_sent(connection) ? connection->attempt.deadline_ms : connection->attempt.store_until_ms;
}

/* libpq does not take what is to be sent: it has no memory for it, or finds the connection ended. */
static enum batch_result fail_to_send(struct connection *connection)
{
    connection_log_failure(connection, "send to the database", PQerrorMessage(connection->pg));
    cut(connection);
    return BATCH_UNREACHABLE;
}

/* Sends what comes next on the batch's way. A server's clock and types are asked for where they are not known
 * well. The statement is not prepared for the first batch, for plain CGI sends no other; where it cannot be
 * prepared, it goes along with every batch. */
static enum batch_result send_next(struct connection *connection)
{
    bool sent;

    connection->is_flushed = false;
    connection->sent_ms = clock_now_ms();
    if (connection->state < CONNECTION_ENDING && connection->session.abandoned_count > 0) {
        connection->state = CONNECTION_ENDING;
        sent = session_send_ending(&connection->session, connection->pg);
    } else if (connection->state < CONNECTION_GREETING &&
               (connection->session.operation_type == 0 ||
                !server_clock_is_fresh(&connection->session.clock, connection->sent_ms))) {
        connection->state = CONNECTION_GREETING;
        sent = session_send_greeting(connection->pg);
    } else if (connection->state < CONNECTION_PREPARING && connection->is_used && !connection->is_prepared &&
               !connection->cannot_prepare) {
        connection->state = CONNECTION_PREPARING;
        sent = PQsendPrepare(connection->pg, STATEMENT, query, PARAMETERS, NULL) == 1;
    } else if (!encode_batch(connection)) {
        connection->state = CONNECTION_IDLE;
        return BATCH_FAILED;
    } else {
        connection->state = CONNECTION_STORING;
        sent = send_batch(connection);
    }
    return sent ? BATCH_PENDING : fail_to_send(connection);
}

static void read_greeting(struct connection *connection, const PGresult *result)
{
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        connection->result = judge_error(connection, result);
    } else if (!session_read_greeting(&connection->session, connection->pg, result, connection->sent_ms)) {
        log_error("the database did not say what time it has");
        connection->result = BATCH_FAILED;
    }
}

/* A schema that is yet to come, or a server that ends, is no reason to prepare nothing any more. */
static void read_preparation(struct connection *connection, const PGresult *result)
{
    enum sqlstate_action action = pg_error_action(result);

    connection->is_prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
    connection->cannot_prepare =
        !connection->is_prepared && action != SQLSTATE_SCHEMA && action != SQLSTATE_RECONNECT;
}

static void read_result(struct connection *connection, const PGresult *result)
{
    switch (connection->state) {
    case CONNECTION_ENDING:
        session_read_ending(result);
        connection->session.abandoned_count = 0;
        break;
    case CONNECTION_GREETING:
        read_greeting(connection, result);
        break;
    case CONNECTION_PREPARING:
        read_preparation(connection, result);
        break;
    default:
        connection->result = PQresultStatus(result) == PGRES_TUPLES_OK ? read_outcomes(connection, result)
                                                                       : judge_error(connection, result);
        break;
    }
}

/* All results of what was sent are there. */
static enum batch_result end_step(struct connection *connection)
{
    bool was_storing = connection->state == CONNECTION_STORING;

    if (PQstatus(connection->pg) == CONNECTION_BAD || (was_storing && connection->result == BATCH_PENDING)) {
        return connection_give_up(connection);
    }
    if (!was_storing && connection->result == BATCH_PENDING) {
        return send_next(connection);
    }
    connection->state = CONNECTION_IDLE;
    if (!was_storing || connection->result != BATCH_DONE) {
        return connection->result;
    }
    if (connection->is_unconfirmed) {
        return BATCH_CONFLICT;
    }
    mark_healthy(connection);
    return BATCH_DONE;
}

/* Goes on as far as it can without waiting. */
static enum batch_result advance(struct connection *connection)
{
    enum batch_result result = BATCH_PENDING;

    while (result == BATCH_PENDING) {
        PGresult *answer;
        int unsent = connection->is_flushed ? 0 : PQflush(connection->pg);

        connection->is_flushed = unsent == 0;
        if (unsent < 0) {
            return connection_give_up(connection);
        }
        if (!connection->is_flushed || PQisBusy(connection->pg)) {
            return BATCH_PENDING;
        }
        answer = PQgetResult(connection->pg);
        if (answer == NULL) {
            result = end_step(connection);
            continue;
        }
        read_result(connection, answer);
        PQclear(answer);
        if (connection->pg == NULL) {
            return connection->result;
        }
    }
    return result;
}

enum batch_result connection_start_batch(struct connection *connection)
{
    enum batch_result result;

    connection->reason = REASON_NONE;
    connection->result = BATCH_PENDING;
    connection->is_unconfirmed = false;
    result = send_next(connection);
    return result == BATCH_PENDING ? advance(connection) : result;
}

enum batch_result connection_continue(struct connection *connection)
{
    bool is_there = PQconsumeInput(connection->pg) == 1;

    if (connection->state == CONNECTION_IDLE) {
        if (!is_there || PQisBusy(connection->pg) || PQstatus(connection->pg) == CONNECTION_BAD) {
            drop(connection);
        }
        return BATCH_PENDING;
    }
    return is_there ? advance(connection) : connection_give_up(connection);
}
