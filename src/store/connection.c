/* One connection to Postgres. */
#include "store/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/utf8.h"
#include "schema_version.h"
#include "store/binary.h"
#include "store/sqlstate.h"

enum { ENCODED_KEEP_BYTES = 256 * 1024 };

/* A quarter of Postgres's limit of a message. */
static const size_t ENCODED_MAX = (size_t)256 * 1024 * 1024;

/* Statements that are prepared in a pooler's sessions outlive the worker: another version has another name.
 */
static const char STATEMENT[] = "apply_batch " VERSION;

/* Times are in microseconds since 1970. The comment keeps pgpool-II from sending the statement to a standby.
 */
static const char query[] =
    "/* writes */ SELECT outcomes, token_labels, now_us, server_started_us FROM intake.apply_batch("
    "$1::integer, $2::intake.operation[], $3::bigint, $4::bigint, $5::bigint, $6::bigint[])";
enum { PARAMETERS = 6, COLUMN_OUTCOMES = 0, COLUMN_LABELS, COLUMN_NOW, COLUMN_STARTED, COLUMNS };
static const int formats[PARAMETERS] = {[1] = 1}; /* the operations are in binary, as are the results */
enum { BINARY_RESULTS = 1 };

bool connection_init(struct connection *connection, struct hosts *hosts, struct failures *failures,
                     size_t batch_max)
{
    *connection = (struct connection){
        .hosts = hosts, .failures = failures, .ops = calloc(batch_max, sizeof(struct store_op *))};
    buffer_init(&connection->encoded, ENCODED_MAX);
    return connection->ops != NULL;
}

void connection_free(struct connection *connection)
{
    connection_close(connection);
    buffer_free(&connection->encoded);
    free(connection->ops);
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

/* The connection has ended, or is of no use. */
static void close_lost_connection(struct connection *connection)
{
    metrics_count(METRICS_LOST_CONNECTIONS);
    connection_close(connection);
}

/* The same while something is under way, of which nothing more may reach the server. PQfinish sends a
 * Terminate message after what is still in its buffer: a batch that was sent in part would be whole then, and
 * be stored. */
static void abort_connection(struct connection *connection)
{
    if (PQsocket(connection->pg) >= 0) {
        shutdown(PQsocket(connection->pg), SHUT_RDWR);
    }
    session_abandon(&connection->session);
    close_lost_connection(connection);
}

/* ---- Errors of the server ---- */

enum { REQUEST_NAME_SIZE = 160 };

/* The beginning of a log line about a request; empty for a batch of several, which are retried one by one. */
static const char *name_request(const struct connection *connection, char name[REQUEST_NAME_SIZE])
{
    const char *id = connection->count == 1 ? connection->ops[0]->request_id : NULL;

    name[0] = '\0';
    if (id != NULL) {
        snprintf(name, REQUEST_NAME_SIZE, "request_id=\"%s\": ", id);
    }
    return name;
}

static const char *describe_unavailability(enum sqlstate_action action)
{
    switch (action) {
    case SQLSTATE_SCHEMA:
        return "store: the database's schema is not the one this program needs";
    case SQLSTATE_PRIVILEGE:
        return "store: the login's role lacks a right (incidentctl migrate grants them)";
    case SQLSTATE_SEQUENCE:
        return "store: the sequence of the history's key is behind its table (incidentctl doctor)";
    default:
        return "store";
    }
}

static void report_error(struct connection *connection, const char *what, const char *message,
                         const char *sqlstate)
{
    char why[FAILURE_MAX];

    snprintf(why, sizeof why, "%s (SQLSTATE %s)", message, sqlstate);
    failures_report(connection->failures, what, why);
}

static enum batch_result handle_error(struct connection *connection, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum sqlstate_action action = sqlstate_result_action(result);
    char name[REQUEST_NAME_SIZE];

    message = message == NULL ? PQresultErrorMessage(result) : message;
    sqlstate = sqlstate == NULL ? "unknown" : sqlstate; /* libpq's own error */
    connection->reason = sqlstate_reason(action);
    switch (action) {
    case SQLSTATE_RECONNECT:
    case SQLSTATE_UNPREPARED:
    case SQLSTATE_LOGIN:
    case SQLSTATE_READ_ONLY:
        if (action == SQLSTATE_UNPREPARED) {
            connection->cannot_prepare = true;
        } else if (action == SQLSTATE_READ_ONLY) {
            hosts_mark_failed(connection->hosts, connection->host);
        }
        report_error(connection, "store", message, sqlstate);
        close_lost_connection(connection);
        return BATCH_UNREACHABLE;
    case SQLSTATE_RETRY:
        log_warning("unable to store, retrying: %s (SQLSTATE %s)", message, sqlstate);
        return BATCH_CONFLICT;
    case SQLSTATE_RESYNC:
        log_warning("unable to store, retrying with the server's current time and types: %s (SQLSTATE %s)",
                    message, sqlstate);
        connection->session.clock = (struct server_clock){0};
        connection->session.operation_type = 0;
        return BATCH_CONFLICT;
    case SQLSTATE_SCHEMA:
    case SQLSTATE_PRIVILEGE:
    case SQLSTATE_SEQUENCE:
    case SQLSTATE_UNAVAILABLE:
        report_error(connection, describe_unavailability(action), message, sqlstate);
        return BATCH_UNAVAILABLE;
    case SQLSTATE_JSONB_SIZE:
    case SQLSTATE_DATA:
        log_warning("%sunable to store a value: %s (SQLSTATE %s)", name_request(connection, name), message,
                    sqlstate);
        return BATCH_INVALID_VALUE;
    case SQLSTATE_DEFECT:
        break;
    }
    log_error("%sunable to store: %s (SQLSTATE %s)", name_request(connection, name), message, sqlstate);
    return BATCH_FAILED;
}

/* ---- Encoding and decoding ---- */

/* The array of operations, with the OID that the server has for its type. */
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
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        log_error("unable to store: out of memory for a batch of %zu", connection->count);
        /* LCOV_EXCL_STOP */
    }
    return !connection->encoded.failed;
}

enum { NUMBERS_SIZE = ORPHANED_ATTEMPTS_MAX * 21 + sizeof "{}" };

/* A bigint[] as text. */
static void write_numbers(const int64_t *numbers, size_t count, char text[NUMBERS_SIZE])
{
    size_t used = (size_t)snprintf(text, NUMBERS_SIZE, "{");

    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, NUMBERS_SIZE - used, "%s%lld", i == 0 ? "" : ",",
                                 (long long)numbers[i]);
    }
    snprintf(text + used, NUMBERS_SIZE - used, "}");
}

static bool send_batch(struct connection *connection)
{
    const struct server_clock *clock = &connection->session.clock;
    const struct store_op *first = connection->ops[0]; /* one with orphaned attempts runs alone */
    char version[16], store_until[24], started[24], attempt[24], orphaned[NUMBERS_SIZE];
    const int lengths[PARAMETERS] = {[1] = (int)connection->encoded.len};
    const char *const values[PARAMETERS] = {version, connection->encoded.data, store_until, started, attempt,
                                            orphaned};

    connection->is_used = true;
    snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    snprintf(store_until, sizeof store_until, "%lld",
             (long long)server_clock_at(clock, connection->store_until_ms));
    snprintf(started, sizeof started, "%lld", (long long)clock->started_us);
    snprintf(attempt, sizeof attempt, "%lld", (long long)connection->attempt);
    write_numbers(first->orphaned, first->orphaned_count, orphaned);
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

/* False if there are not as many texts as operations. */
static bool read_texts(struct connection *connection, struct slice outcomes, struct slice labels)
{
    struct slice outcome, label;

    if (binary_read_array(&outcomes) != connection->count ||
        binary_read_array(&labels) != connection->count) {
        return false;
    }
    for (size_t i = 0; i < connection->count; i++) {
        struct store_op *op = connection->ops[i];

        if (!binary_next_text(&outcomes, &outcome) || !binary_next_text(&labels, &label)) {
            return false;
        }
        op->outcome = op_outcome_from_text(outcome);
        snprintf(op->token_label, sizeof op->token_label, "%.*s",
                 (int)utf8_cut(label.data, label.len, sizeof op->token_label - 1),
                 label.data == NULL ? "" : label.data);
    }
    return true;
}

static enum batch_result read_outcomes(struct connection *connection, const PGresult *result)
{
    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS || PQgetlength(result, 0, COLUMN_NOW) != 8 ||
        PQgetlength(result, 0, COLUMN_STARTED) != 8 ||
        !read_texts(connection, column_of(result, COLUMN_OUTCOMES), column_of(result, COLUMN_LABELS))) {
        log_error("unable to store: unexpected result of intake.apply_batch for %zu operations",
                  connection->count);
        return BATCH_FAILED;
    }
    server_clock_update(&connection->session.clock, binary_read_int64(PQgetvalue(result, 0, COLUMN_NOW)),
                        binary_read_int64(PQgetvalue(result, 0, COLUMN_STARTED)), connection->sent_ms,
                        clock_now_ms());
    return BATCH_DONE;
}

/* ---- The steps of a batch ---- */

/* Whether the server has all of the batch, and so may store it. */
static bool is_sent(const struct connection *connection)
{
    return connection->state == CONNECTION_STORING && connection->is_flushed;
}

/* Postgres sends the result before it commits, so outcomes that have been read are not enough. A server that
 * does not respond is not to be tried first: it may hang with its machine, or be a former primary whose
 * commits no standby confirms. */
enum batch_result connection_abort(struct connection *connection)
{
    bool may_be_stored = is_sent(connection), has_ended = PQstatus(connection->pg) == CONNECTION_BAD;

    failures_report(connection->failures, may_be_stored ? "read from the database" : "write to the database",
                    has_ended ? PQerrorMessage(connection->pg) : "timeout");
    if (!has_ended) {
        hosts_mark_failed(connection->hosts, connection->host);
    }
    abort_connection(connection);
    return may_be_stored ? BATCH_LOST : BATCH_UNREACHABLE;
}

int64_t connection_deadline_ms(const struct connection *connection)
{
    return is_sent(connection) ? connection->deadline_ms : connection->store_until_ms;
}

/* Sends the next step's query. The statement is not prepared for the first batch, as plain CGI sends no
 * other; if it cannot be prepared, each batch has its text. */
static enum batch_result send_next(struct connection *connection)
{
    struct session *session = &connection->session;
    PGconn *pg = connection->pg;
    bool sent;

    connection->is_flushed = false;
    connection->sent_ms = clock_now_ms();
    if (connection->state <= CONNECTION_TERMINATING && session->abandoned_count > 0) {
        connection->state = CONNECTION_TERMINATING;
        sent = session_send_termination(session, pg);
    } else if (connection->state < CONNECTION_SYNCING &&
               (session->operation_type == 0 ||
                !server_clock_is_fresh(&session->clock, connection->sent_ms))) {
        connection->state = CONNECTION_SYNCING;
        sent = session_send_sync(pg);
    } else if (connection->state < CONNECTION_PREPARING && connection->is_used && !connection->is_prepared &&
               !connection->cannot_prepare) {
        connection->state = CONNECTION_PREPARING;
        sent = PQsendPrepare(pg, STATEMENT, query, PARAMETERS, NULL) == 1;
    } else if (!encode_batch(connection)) {
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        connection->state = CONNECTION_IDLE;
        return BATCH_FAILED;
        /* LCOV_EXCL_STOP */
    } else {
        connection->state = CONNECTION_STORING;
        sent = send_batch(connection);
    }
    if (!sent) { /* out of memory, or the connection has ended: the server is not at fault */
        failures_report(connection->failures, "write to the database", PQerrorMessage(pg));
        abort_connection(connection);
        return BATCH_UNREACHABLE;
    }
    return BATCH_PENDING;
}

/* Reads a result of the current step. */
static void read_result(struct connection *connection, const PGresult *result)
{
    bool is_ok = PQresultStatus(result) == PGRES_TUPLES_OK;
    enum sqlstate_action action;

    switch (connection->state) {
    case CONNECTION_TERMINATING:
        session_read_termination(&connection->session, result);
        break;
    case CONNECTION_PREPARING: /* not a pooler's fault if a schema or the connection is missing */
        action = sqlstate_result_action(result);
        connection->is_prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
        connection->cannot_prepare =
            !connection->is_prepared && action != SQLSTATE_SCHEMA && action != SQLSTATE_RECONNECT;
        break;
    case CONNECTION_SYNCING:
        if (!is_ok) {
            connection->result = handle_error(connection, result);
        } else if (!session_read_sync(&connection->session, connection->pg, result, connection->sent_ms)) {
            log_error("unable to store: unexpected time or types of the server");
            connection->result = BATCH_FAILED;
        }
        break;
    default:
        connection->result = is_ok ? read_outcomes(connection, result) : handle_error(connection, result);
        break;
    }
}

/* All results of the current step have been read. */
static enum batch_result end_step(struct connection *connection)
{
    bool was_storing = connection->state == CONNECTION_STORING;

    if (PQstatus(connection->pg) == CONNECTION_BAD || (was_storing && connection->result == BATCH_PENDING)) {
        return connection_abort(connection);
    }
    if (connection->result == BATCH_PENDING) {
        return send_next(connection);
    }
    connection->state = CONNECTION_IDLE;
    if (connection->result == BATCH_DONE && connection->is_unconfirmed) {
        return BATCH_CONFLICT;
    }
    if (connection->result == BATCH_DONE) {
        failures_end(connection->failures);
    }
    return connection->result;
}

/* Continues as far as possible without waiting. */
static enum batch_result advance(struct connection *connection)
{
    enum batch_result result = BATCH_PENDING;

    while (result == BATCH_PENDING) {
        PGresult *response;
        int unsent = connection->is_flushed ? 0 : PQflush(connection->pg);

        connection->is_flushed = unsent == 0;
        if (unsent < 0) {
            /* LCOV_EXCL_START: by chance: libpq mostly says so only when it is read from */
            return connection_abort(connection);
            /* LCOV_EXCL_STOP */
        }
        if (!connection->is_flushed || PQisBusy(connection->pg)) {
            return BATCH_PENDING;
        }
        response = PQgetResult(connection->pg);
        if (response == NULL) {
            result = end_step(connection);
            continue;
        }
        read_result(connection, response);
        PQclear(response);
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
    bool is_ok = PQconsumeInput(connection->pg) == 1;

    if (connection->state == CONNECTION_IDLE) {
        if (!is_ok || PQisBusy(connection->pg) || PQstatus(connection->pg) == CONNECTION_BAD) {
            close_lost_connection(connection);
        }
        return BATCH_PENDING;
    }
    return is_ok ? advance(connection) : connection_abort(connection);
}
