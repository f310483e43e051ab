/* One connection to Postgres, and the one call that the worker makes on it. */
#include "store/database.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "schema_version.h"
#include "store/binary.h"
#include "store/query.h"
#include "store/login_error.h"
#include "store/sqlstate.h"

enum {
    BATCH_KEEP_BYTES = 256 * 1024,
    AT_ONCE_BYTES = 64 * 1024, /* a socket takes so much without waiting */
    COMPLAIN_EVERY_MS = 10000,
};

/* A quarter of what a message to Postgres may have. */
static const size_t BATCH_MAX = (size_t)256 * 1024 * 1024;

/* A pooler's sessions outlive the worker, and so does what it has prepared in them: another version may call
 * something else by that name. */
static const char STATEMENT[] = "apply_batch " VERSION;

/* Times are in microseconds since 1970. The comment keeps pgpool-II from sending the statement to a standby.
 */
static const char query[] =
    "/* writes */ SELECT outcomes, token_labels, now_us, server_started_us FROM intake.apply_batch("
    "$1::integer, $2::intake.operation[], $3::bigint, $4::bigint, $5::bigint, $6::bigint[])";
static_assert((int)LOST_ATTEMPTS_MAX <= (int)QUERY_NUMBERS_MAX, "they go along with a batch");
enum { PARAMETERS = 6, COLUMN_OUTCOMES = 0, COLUMN_LABELS, COLUMN_NOW, COLUMN_STARTED, COLUMNS };
static const int formats[PARAMETERS] = {[1] = 1}; /* the operations are in binary, as are the results */
enum { BINARY_RESULTS = 1 };

void database_init(struct database *database, struct servers *servers)
{
    *database = (struct database){.servers = servers};
    buffer_init(&database->batch, BATCH_MAX);
}

bool database_is_outdated(const struct database *database)
{
    return database->server != servers_first(database->servers);
}

void database_disconnect(struct database *database)
{
    if (!database_is_connected(database)) {
        return;
    }
    PQfinish(database->connection);
    database->connection = NULL;
    database->is_used = false;
    database->is_prepared = false;
    session_forget(&database->session);
    metrics_add(METRICS_CONNECTIONS, -1);
}

/* Gives up a connection that has ended, or is of no use. */
static void lose(struct database *database)
{
    metrics_count(METRICS_LOST_CONNECTIONS);
    database_disconnect(database);
}

/* Gives up a connection that has ended, or on which no answer comes. A server that says nothing is not the
 * one to try first: it may hang with its machine, or be a stray whose commits nobody confirms. */
static void lose_silent(struct database *database)
{
    if (PQstatus(database->connection) != CONNECTION_BAD) {
        servers_pass_over(database->servers, database->server);
    }
    /* libpq says goodbye where it can, behind what it could not send before: a batch that was given up half
     * sent would be whole then, and be stored. */
    if (PQsocket(database->connection) >= 0) {
        (void)shutdown(PQsocket(database->connection), SHUT_RDWR);
    }
    session_abandon(&database->session);
    lose(database);
}

void database_close(struct database *database)
{
    database_disconnect(database);
    buffer_free(&database->batch);
}

/* Says that the database fails: at once where the reason is a new one, and then now and again. */
static void complain(struct database *database, const char *what, const char *why)
{
    int64_t now = clock_now_ms();
    char complaint[sizeof database->last_complaint];

    (void)snprintf(complaint, sizeof complaint, "unable to %s: %s", what, why);
    if (database->failing_since_ms == 0) {
        database->failing_since_ms = now;
        database->last_complaint[0] = '\0';
    }
    if (strcmp(complaint, database->last_complaint) != 0 ||
        now - database->last_complaint_ms >= COMPLAIN_EVERY_MS) {
        database->last_complaint_ms = now;
        memcpy(database->last_complaint, complaint, sizeof complaint);
        log_error("%s", complaint);
    }
}

static const char *why_not(const PGconn *connection)
{
    return PQstatus(connection) == CONNECTION_BAD ? PQerrorMessage(connection) : "no answer in time";
}

static void went_well(struct database *database)
{
    if (database->failing_since_ms != 0) {
        log_info("the database answers again, after %lld ms",
                 (long long)(clock_now_ms() - database->failing_since_ms));
        database->failing_since_ms = 0;
    }
}

/* A session that waits for the standby's word can be told to wait no longer. Its transaction is committed
 * then, and it says no more than a warning, in the server's language; but where in Postgres it comes from
 * stays the same. */
static void receive_notice(void *context, const PGresult *notice)
{
    struct database *database = context;
    const char *function = PQresultErrorField(notice, PG_DIAG_SOURCE_FUNCTION);

    if (function != NULL && strcmp(function, "SyncRepWaitForLSN") == 0) {
        database->is_unconfirmed = true;
    }
    log_warning("the database says: %s", PQresultErrorMessage(notice));
}

/* Takes the steps of connecting, until it is done. */
static bool go_through_with_it(PGconn *connection, int64_t deadline_ms)
{
    PostgresPollingStatusType status =
        PQstatus(connection) == CONNECTION_BAD ? PGRES_POLLING_FAILED : PGRES_POLLING_WRITING;

    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        if (!clock_poll(PQsocket(connection), status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                        deadline_ms)) {
            return false;
        }
        status = PQconnectPoll(connection);
    }
    return status == PGRES_POLLING_OK && PQsetnonblocking(connection, 1) == 0;
}

static enum item_reason reason_of(enum sqlstate_action action)
{
    switch (action) {
    case SQLSTATE_LOGIN:
        return REASON_LOGIN;
    case SQLSTATE_RIGHT:
        return REASON_RIGHT;
    case SQLSTATE_SCHEMA:
        return REASON_SCHEMA;
    case SQLSTATE_UNAVAILABLE:
    case SQLSTATE_ELSEWHERE:
    case SQLSTATE_KEY:
        return REASON_STATE;
    case SQLSTATE_RECONNECT:
    case SQLSTATE_PLAN:
    case SQLSTATE_TYPE:
    case SQLSTATE_RETRY:
    case SQLSTATE_GREET:
    case SQLSTATE_DATA:
    case SQLSTATE_DEFECT:
        break;
    }
    return REASON_NONE;
}

/* Adds to why what a server says that will not have the connection, and notes what kind of refusal it is. One
 * that does not answer has no say where another one does. */
static void read_refusal(struct database *database, const PGconn *connection, char *why, size_t size)
{
    char sqlstate[SQLSTATE_SIZE];

    login_error_read(why_not(connection), why, size, sqlstate);
    if (sqlstate[0] != '\0' && reason_of(sqlstate_action(sqlstate)) != REASON_NONE) {
        database->reason = reason_of(sqlstate_action(sqlstate));
    } else if (PQconnectionNeedsPassword(connection) != 0) { /* and there is none: libpq's own error */
        database->reason = REASON_LOGIN;
    }
}

/* Tries one server; NULL where there is no connection to it in time, and then the reason is added to why. */
static PGconn *connect_to(struct database *database, size_t server, int64_t deadline_ms, char *why,
                          size_t size)
{
    PGconn *connection =
        PQconnectStartParams(servers_keywords(), servers_values(database->servers, server), 1);
    size_t used = strlen(why);

    if (connection != NULL) {
        (void)PQsetErrorVerbosity(connection, PQERRORS_VERBOSE); /* with the SQLSTATE */
    }
    if (connection != NULL && go_through_with_it(connection, deadline_ms)) {
        (void)PQsetErrorVerbosity(connection, PQERRORS_DEFAULT);
        servers_choose(database->servers, server);
        return connection;
    }
    if (connection != NULL && PQstatus(connection) != CONNECTION_BAD) {
        servers_pass_over(database->servers, server); /* the next attempt shall not begin with silence */
    }
    used += (size_t)snprintf(why + used, size - used, "%s%s", used == 0 ? "" : "; ",
                             connection == NULL ? "out of memory" : "");
    if (connection != NULL && used < size) {
        read_refusal(database, connection, why + used, size - used);
    }
    PQfinish(connection);
    return NULL;
}

/* Until when one server is tried: no longer than its share of the time that is left, for a server that was
 * given none would be passed over, and the silent one be first again. */
static int64_t try_until_ms(const struct servers *servers, size_t servers_left, int64_t deadline_ms)
{
    int64_t now_ms = clock_now_ms(), share_ms = (deadline_ms - now_ms) / (int64_t)servers_left;
    int64_t patience_ms = servers_patience_ms(servers);

    return now_ms + (patience_ms < share_ms ? patience_ms : share_ms);
}

/* libpq's asynchronous way, because its blocking one knows whole seconds only. */
bool database_connect(struct database *database, int64_t deadline_ms)
{
    size_t count = servers_count(database->servers), first = servers_first(database->servers);
    char why[sizeof database->last_complaint] = "";

    if (database_is_connected(database)) {
        return true;
    }
    database->reason = REASON_NONE;
    for (size_t i = 0; i < count && database->connection == NULL; i++) {
        if (i > 0 && clock_now_ms() >= deadline_ms) { /* the look for an address took it all */
            break;
        }
        database->server = (first + i) % count;
        database->connection =
            connect_to(database, database->server, try_until_ms(database->servers, count - i, deadline_ms),
                       why, sizeof why);
    }
    if (database->connection == NULL) {
        complain(database, "connect to the database", why);
        metrics_count(METRICS_CONNECT_FAILURES);
        return false;
    }
    (void)PQsetNoticeReceiver(database->connection, receive_notice, database);
    metrics_count(METRICS_CONNECTS);
    metrics_add(METRICS_CONNECTIONS, 1);
    return true;
}

/* Encodes the array of the items, with the server's type as far as it is known. False (logged) where
 * database->result is what becomes of them. */
static bool encode_batch(struct database *database)
{
    buffer_reset(&database->batch, BATCH_KEEP_BYTES);
    binary_append_array(&database->batch, database->session.operation_type, database->count);
    for (size_t i = 0; i < database->count; i++) {
        const struct buffer *record = &database->items[i]->record;

        binary_append_int32(&database->batch, (int32_t)record->len);
        buffer_append(&database->batch, record->data, record->len);
    }
    if (database->batch.failed) {
        log_error("unable to store: out of memory for a batch of %zu", database->count);
        database->result = DATABASE_FAILED;
    }
    return !database->batch.failed;
}

/* Has the connection parse the statement once and for all. Where it will not, every batch brings the
 * statement along; but a schema that is yet to come is no reason. */
static bool prepare(struct database *database, int64_t deadline_ms)
{
    bool in_time, is_yet_to_come = false;
    PGresult *result;

    if (PQsendPrepare(database->connection, STATEMENT, query, PARAMETERS, NULL) == 0 ||
        !query_flush(database->connection, deadline_ms)) {
        return false;
    }
    while ((result = query_next_result(database->connection, deadline_ms, &in_time)) != NULL) {
        database->is_prepared = PQresultStatus(result) == PGRES_COMMAND_OK;
        is_yet_to_come = sqlstate_action(PQresultErrorField(result, PG_DIAG_SQLSTATE)) == SQLSTATE_SCHEMA;
        PQclear(result);
    }
    if (!in_time || PQstatus(database->connection) == CONNECTION_BAD) {
        return false;
    }
    database->cannot_prepare = !database->is_prepared && !is_yet_to_come;
    return true;
}

/* Whether the error comes from that function of Postgres's. */
static bool is_of_function(const PGresult *result, const char *name)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function != NULL && strcmp(function, name) == 0;
}

/* What is to be done about an error, as far as its SQLSTATE and where in Postgres it comes from tell. */
static enum sqlstate_action action_of(const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    enum sqlstate_action action = sqlstate_action(sqlstate);

    if (action == SQLSTATE_TYPE) {
        return is_of_function(result, "array_recv")    ? SQLSTATE_GREET
               : is_of_function(result, "record_recv") ? SQLSTATE_SCHEMA
                                                       : SQLSTATE_DEFECT;
    }
    if (action == SQLSTATE_PLAN) {
        return is_of_function(result, "RevalidateCachedQuery") ? SQLSTATE_RECONNECT : SQLSTATE_DEFECT;
    }
    /* The type that the statement was prepared with is gone: dropped and made anew. */
    if (action == SQLSTATE_DEFECT && is_of_function(result, "getTypeBinaryInputInfo")) {
        return SQLSTATE_RECONNECT;
    }
    return action;
}

/* Whether a key is taken that nobody but a sequence gives out. The sequence is behind its table then, as it
 * is after a logical replication, which does not carry sequences over. */
static bool is_of_history(const PGresult *result)
{
    const char *table = PQresultErrorField(result, PG_DIAG_TABLE_NAME);

    return table != NULL && strcmp(table, "incident_change") == 0;
}

/* Whether a text came to more than a jsonb can hold (manual, 8.14): 256 MB. Only metadata can, where the
 * limit of the body lets in tens of megabytes: a number of one digit takes twelve bytes. */
static bool is_of_jsonb(const PGresult *result)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function != NULL && strncmp(function, "convertJsonb", strlen("convertJsonb")) == 0;
}

enum { REQUEST_NAME_SIZE = 160 };

/* Writes what begins a line of the log about one request; nothing where it is about several, which are then
 * sent one by one. */
static const char *name_request(const struct database *database, char name[REQUEST_NAME_SIZE])
{
    const char *id = database->count == 1 ? database->items[0]->request_id : NULL;

    name[0] = '\0';
    if (id != NULL) {
        (void)snprintf(name, REQUEST_NAME_SIZE, "request_id=\"%s\": ", id);
    }
    return name;
}

/* Turns an error of the server into what is to be done about it. */
static enum database_result judge_error(struct database *database, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum sqlstate_action action = action_of(result);
    char name[REQUEST_NAME_SIZE];

    if (message == NULL) {
        message = PQresultErrorMessage(result);
    }
    database->reason = reason_of(action);
    switch (action) {
    case SQLSTATE_ELSEWHERE:
        complain(database, "store", message);
        servers_pass_over(database->servers, database->server);
        lose(database);
        return DATABASE_UNREACHABLE;
    case SQLSTATE_RECONNECT:
    case SQLSTATE_LOGIN:
        database->cannot_prepare =
            database->cannot_prepare || (sqlstate != NULL && strcmp(sqlstate, "26000") == 0);
        complain(database, "store", message);
        lose(database);
        return DATABASE_UNREACHABLE;
    case SQLSTATE_RETRY:
        log_warning("unable to store, will try again: %s (SQLSTATE %s)", message, sqlstate);
        return DATABASE_CONFLICT;
    case SQLSTATE_GREET:
        log_warning("unable to store, will ask the server for its time and try again: %s", message);
        database->session.clock = (struct server_clock){0};
        database->session.operation_type = 0;
        return DATABASE_CONFLICT;
    case SQLSTATE_SCHEMA:
        complain(database, "store: the database's schema is not the one this program needs", message);
        return DATABASE_UNAVAILABLE;
    case SQLSTATE_RIGHT:
        complain(database, "store: the login's role lacks a right (incidentctl migrate grants them)",
                 message);
        return DATABASE_UNAVAILABLE;
    case SQLSTATE_UNAVAILABLE:
        complain(database, "store", message);
        return DATABASE_UNAVAILABLE;
    case SQLSTATE_KEY:
        if (!is_of_history(result)) {
            break;
        }
        complain(database,
                 "store: the sequence of the history's key is behind its table (incidentctl doctor)",
                 message);
        return DATABASE_UNAVAILABLE;
    case SQLSTATE_DATA:
        database->reason = is_of_jsonb(result) ? REASON_SIZE : REASON_NONE;
        log_warning("%sthe database refused a value: %s (SQLSTATE %s)", name_request(database, name), message,
                    sqlstate);
        return DATABASE_UNSTORABLE;
    case SQLSTATE_PLAN:
    case SQLSTATE_TYPE:
    case SQLSTATE_DEFECT:
        break;
    }
    log_error("%sunable to store: %s (SQLSTATE %s)", name_request(database, name), message, sqlstate);
    return DATABASE_FAILED;
}

/* The server's type is needed for any call, its clock where something may be stored. */
static bool has_to_greet(const struct database *database)
{
    return database->session.operation_type == 0 ||
           (database->attempt->number != 0 &&
            !server_clock_is_fresh(&database->session.clock, clock_now_ms()));
}

/* Learns the server's clock. False where the connection is lost, or the deadline has passed; or where
 * database->result says already what becomes of the batch. */
static bool greet(struct database *database, int64_t deadline_ms)
{
    PGresult *refusal;
    bool ok = session_greet(&database->session, database->connection, deadline_ms, &refusal);

    if (refusal != NULL) {
        database->result = judge_error(database, refusal);
        PQclear(refusal);
    }
    return ok;
}

/* Not for the first batch: plain CGI sends no other. */
static bool has_to_prepare(const struct database *database)
{
    return database->is_used && !database->is_prepared && !database->cannot_prepare;
}

/* Hands the batch to libpq, which keeps what does not leave at once. */
static bool queue_batch(struct database *database)
{
    const struct attempt *attempt = database->attempt;
    char version[16], store_until[24], started[24], number[24], lost[QUERY_NUMBERS_SIZE];
    bool stores = attempt->number != 0;
    const int lengths[PARAMETERS] = {[1] = (int)database->batch.len};
    const char *const values[PARAMETERS] = {version,
                                            database->batch.data,
                                            stores ? store_until : NULL,
                                            stores ? started : NULL,
                                            stores ? number : NULL,
                                            lost};

    database->is_used = true;
    database->sent_ms = clock_now_ms();
    (void)snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    (void)snprintf(store_until, sizeof store_until, "%lld",
                   (long long)server_clock_at(&database->session.clock, attempt->store_until_ms));
    (void)snprintf(started, sizeof started, "%lld", (long long)database->session.clock.started_us);
    (void)snprintf(number, sizeof number, "%lld", (long long)attempt->number);
    query_write_numbers(attempt->lost, attempt->lost_count, lost);
    if (database->is_prepared) {
        return PQsendQueryPrepared(database->connection, STATEMENT, PARAMETERS, values, lengths, formats,
                                   BINARY_RESULTS) == 1;
    }
    return PQsendQueryParams(database->connection, query, PARAMETERS, NULL, values, lengths, formats,
                             BINARY_RESULTS) == 1;
}

static enum database_result fail_to_send(struct database *database)
{
    complain(database, "send to the database", why_not(database->connection));
    lose_silent(database);
    return DATABASE_UNREACHABLE;
}

/* Sees to it that all of the batch has left; false where database->result says what becomes of it, once it is
 * not to be stored any more, or the connection is lost. The server has nothing then that it could store: a
 * batch that is not whole is none. */
static bool finish_sending(struct database *database)
{
    int64_t deadline_ms = database->attempt->store_until_ms;

    if (database->is_postponed) {
        if ((has_to_greet(database) && (!greet(database, deadline_ms) || !encode_batch(database))) ||
            (has_to_prepare(database) && !prepare(database, deadline_ms)) || !queue_batch(database)) {
            return false;
        }
    }
    return query_flush(database->connection, deadline_ms);
}

static struct slice column_of(const PGresult *result, int column)
{
    return (struct slice){.data = PQgetvalue(result, 0, column),
                          .len = (size_t)PQgetlength(result, 0, column)};
}

/* False where the texts are not as many as the items. */
static bool read_texts(struct database *database, struct slice outcomes, struct slice labels)
{
    struct slice text;

    if (binary_read_array(&outcomes) != database->count || binary_read_array(&labels) != database->count) {
        return false;
    }
    for (size_t i = 0; i < database->count; i++) {
        struct item *item = database->items[i];

        if (!binary_next_text(&outcomes, &text)) {
            return false;
        }
        item->outcome = item_outcome_from_text(text);
        if (!binary_next_text(&labels, &text)) {
            return false;
        }
        (void)snprintf(item->token_label, sizeof item->token_label, "%.*s", (int)text.len,
                       text.data == NULL ? "" : text.data);
    }
    return true;
}

static enum database_result read_outcomes(struct database *database, const PGresult *result)
{
    if (PQntuples(result) != 1 || PQnfields(result) != COLUMNS || PQgetlength(result, 0, COLUMN_NOW) != 8 ||
        PQgetlength(result, 0, COLUMN_STARTED) != 8 ||
        !read_texts(database, column_of(result, COLUMN_OUTCOMES), column_of(result, COLUMN_LABELS))) {
        log_error("intake.apply_batch did not say what became of %zu operations", database->count);
        return DATABASE_FAILED;
    }
    server_clock_hear(&database->session.clock, binary_read_int64(PQgetvalue(result, 0, COLUMN_NOW)),
                      binary_read_int64(PQgetvalue(result, 0, COLUMN_STARTED)), database->sent_ms,
                      clock_now_ms());
    return DATABASE_DONE;
}

void database_send(struct database *database, struct item *const *items, size_t count,
                   const struct attempt *attempt)
{
    database->items = items;
    database->count = count;
    database->attempt = attempt;
    database->is_unconfirmed = false;
    database->reason = REASON_NONE;
    database->result = DATABASE_LOST;
    if (!encode_batch(database)) {
        return;
    }
    database->is_postponed =
        has_to_greet(database) || has_to_prepare(database) || database->batch.len > AT_ONCE_BYTES;
    if (!database->is_postponed && (!queue_batch(database) || PQflush(database->connection) < 0)) {
        database->result = fail_to_send(database);
    }
}

enum database_result database_await(struct database *database)
{
    enum database_result verdict = DATABASE_UNREACHABLE;
    PGresult *result;
    bool in_time;

    if (database->result != DATABASE_LOST) {
        return database->result;
    }
    if (!finish_sending(database)) {
        return database->result != DATABASE_LOST ? database->result : fail_to_send(database);
    }
    while ((result = query_next_result(database->connection, database->attempt->deadline_ms, &in_time)) !=
           NULL) {
        if (PQresultStatus(result) == PGRES_TUPLES_OK) {
            verdict = read_outcomes(database, result);
        } else {
            verdict = judge_error(database, result);
        }
        PQclear(result);
        if (!database_is_connected(database)) {
            return verdict;
        }
    }
    if (!in_time || PQstatus(database->connection) == CONNECTION_BAD) {
        /* Whether it was committed is not known. Items that have an outcome all the same have it from a
         * complete result, which Postgres sends before it commits: not enough for a promise. */
        complain(database, "hear from the database", why_not(database->connection));
        lose_silent(database);
        return DATABASE_LOST;
    }
    if (verdict == DATABASE_DONE && database->is_unconfirmed) {
        return DATABASE_CONFLICT;
    }
    if (verdict == DATABASE_DONE) {
        went_well(database);
    }
    return verdict;
}
