/* The store by itself: what a batch is made of, and what its requests do to one another. Requests are made to
 * gather by a gate, an incident whose row a trigger holds back until the test lets it pass. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metrics.h"
#include "cases/between.h"
#include "harness/fixture.h"
#include "harness/store_thread.h"

/* SANITY_MS: no wait for what would not have come ends within it, and no busy machine takes so long. */
enum { REQUESTS_MAX = 128, STORES_MAX = 2, GATE_TIMEOUT_MS = 20000, SANITY_MS = 30000 };

static char metrics_token[32]; /* so that the length of the queue is known; this process's own */
static struct stack stack;
static char token_hash[DIGEST_HEX_SIZE];

/* Those that are running. A test that fails leaves its own to clean, which the settings must outlive. */
static struct running {
    struct store_thread *store;
    struct settings settings;
} running[STORES_MAX];

static struct store_thread *start_store(struct store_thread *(*start)(const struct settings *),
                                        const struct settings *settings)
{
    struct running *place = running;

    while (place->store != NULL) {
        place++;
        assert_true(place < running + STORES_MAX);
    }
    place->settings = *settings;
    place->store = start(&place->settings);
    assert_non_null(place->store);
    return place->store;
}

static void stop_store(struct store_thread *store)
{
    store_thread_stop(store);
    for (size_t i = 0; i < STORES_MAX; i++) {
        if (running[i].store == store) {
            running[i].store = NULL;
        }
    }
}

/* An upsert on its way, in a thread of its own. */
struct request {
    struct store_thread *store;
    struct incident incident;
    struct store_op op;
    char body[256];
    int64_t took_ms;
    pthread_t thread;
    atomic_bool is_done;
    bool is_joined;
};

static struct request requests[REQUESTS_MAX];
static size_t sent;

static void *submit(void *argument)
{
    struct request *request = argument;
    int64_t before = clock_now_ms();

    store_thread_apply(request->store, &request->op);
    request->took_ms = clock_now_ms() - before;
    atomic_store(&request->is_done, true);
    return NULL;
}

static void encode(struct request *request, const char *id, const char *name)
{
    struct error error;

    *request = (struct request){0};
    snprintf(request->body, sizeof request->body,
             "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"name\":\"%s\","
             "\"services\":[{\"identifier\":\"%s\"}]}",
             id, name, name);
    assert_true(incident_read((struct slice){.data = request->body, .len = strlen(request->body)},
                              RULES_UPSERT, &request->incident, &error));
    assert_true(op_upsert(&request->op, token_hash, &request->incident));
}

static void send_off(struct request *request, struct store_thread *store)
{
    request->store = store;
    assert_int_equal(pthread_create(&request->thread, NULL, submit, request), 0);
    sent++;
}

/* Sends an upsert without waiting for its outcome. */
static struct request *send_upsert(struct store_thread *store, const char *id, const char *name)
{
    struct request *request = &requests[sent];

    assert_true(sent < REQUESTS_MAX);
    encode(request, id, name);
    send_off(request, store);
    return request;
}

/* The same with a name of 2.5 MiB. The body is for the caller to free, behind await. */
static struct request *send_large(struct store_thread *store, const char *id, struct buffer *body)
{
    enum { LARGE = 5 * 512 * 1024 };
    struct request *request = &requests[sent];
    struct error error;

    assert_true(sent < REQUESTS_MAX);
    *request = (struct request){0};
    buffer_init(body, LARGE + 1024);
    buffer_append_format(body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"name\":\"", id);
    while (body->len < LARGE) {
        buffer_append_text(body, "0123456789abcdef");
    }
    buffer_append_text(body, "\"}");
    assert_true(incident_read((struct slice){.data = body->data, .len = body->len}, RULES_UPSERT,
                              &request->incident, &error));
    assert_true(op_upsert(&request->op, token_hash, &request->incident));
    send_off(request, store);
    return request;
}

/* The same for incidents prefix0, prefix1, ... */
static void send_upserts(struct store_thread *store, const char *prefix, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char id[32];

        snprintf(id, sizeof id, "%s%zu", prefix, i);
        send_upsert(store, id, "n");
    }
}

/* Waits until that many requests wait for others to come back. */
static void await_queue(int64_t length)
{
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;

    while (metrics_sum(METRICS_QUEUE) != length) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(1);
    }
}

/* As send_upsert and send_upserts, while all connections are held back, so that the new requests wait behind
 * those that do. */
static struct request *queue_upsert(struct store_thread *store, const char *id, const char *name)
{
    int64_t length = metrics_sum(METRICS_QUEUE);
    struct request *request = send_upsert(store, id, name);

    await_queue(length + 1);
    return request;
}

static void queue_upserts(struct store_thread *store, const char *prefix, size_t count)
{
    int64_t length = metrics_sum(METRICS_QUEUE);

    send_upserts(store, prefix, count);
    await_queue(length + (int64_t)count);
}

/* Waits for the outcome; which it is. */
static enum op_outcome await(struct request *request)
{
    if (!request->is_joined) {
        pthread_join(request->thread, NULL);
        request->is_joined = true;
    }
    return request->op.outcome;
}

static void await_all(void)
{
    for (size_t i = 0; i < sent; i++) {
        await(&requests[i]);
    }
}

/* Frees the requests. Their outcomes are gone then. */
static void forget_all(void)
{
    for (size_t i = 0; i < sent; i++) {
        op_free(&requests[i].op);
        incident_free(&requests[i].incident);
    }
    sent = 0;
}

static void check_all_but(const struct request *exception, enum op_outcome expected)
{
    for (size_t i = 0; i < sent; i++) {
        if (&requests[i] != exception && requests[i].op.outcome != expected) {
            fail_msg("%s came to outcome %d", requests[i].incident.reference_id, requests[i].op.outcome);
        }
    }
}

static void make_gates(void)
{
    stack_query(&stack, "CREATE SCHEMA test");
    stack_query(&stack, "CREATE TABLE test.closed (gate text PRIMARY KEY)");
    stack_query(&stack, "CREATE TABLE test.passed (place serial, reference_id text, name text)");
    stack_query(
        &stack,
        "CREATE FUNCTION test.wait_and_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO test.passed (reference_id, name) VALUES (NEW.reference_id, NEW.name);"
        "WHILE EXISTS (SELECT FROM test.closed WHERE gate = NEW.reference_id) LOOP PERFORM pg_sleep(0.005); "
        "END LOOP; RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER gate BEFORE INSERT ON intake.incident "
                        "FOR EACH ROW EXECUTE FUNCTION test.wait_and_note()");
    /* Not where a row is written anew as it is: the trigger's own lock on it leaves a mark. */
    stack_query(&stack, "CREATE TRIGGER gate_of_updates BEFORE UPDATE ON intake.incident FOR EACH ROW "
                        "WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION test.wait_and_note()");
}

static void close_gate(const char *gate)
{
    stack_query_for(&stack, "INSERT INTO test.closed VALUES ($1)", gate);
}

static void open_gate(const char *gate)
{
    stack_query_for(&stack, "DELETE FROM test.closed WHERE gate = $1", gate);
}

static void await_result(const char *sql, const char *expected)
{
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;

    while (strcmp(stack_query(&stack, sql), expected) != 0) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(2);
    }
}

/* Waits until that many of the store's connections are in the middle of something. */
static void await_busy(const char *count)
{
    await_result(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND state = 'active'", count);
}

/* The same of all that was sent: none waits. A session may be busy a time before the store has said that
 * what it was sent waits no longer. */
static void await_under_way(const char *count)
{
    await_busy(count);
    await_queue(0);
}

static void await_no_connection(void)
{
    await_result("SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi'", "0");
}

static struct settings settings_for(int connections)
{
    struct settings settings = {
        .request_timeout_ms = 20000, .db_pool_size = connections, .batch_max = 64, .queue_max = 1000};

    snprintf(settings.database_url, sizeof settings.database_url, "%s", stack.worker_url);
    return settings;
}

/* A store with one connection, on which an upsert of gate0 is under way that the closed gate holds back. */
static struct store_thread *start_behind_gate(const struct settings *settings)
{
    struct store_thread *store = start_store(store_thread_start, settings);

    close_gate("gate0");
    send_upsert(store, "gate0", "n");
    await_under_way("1");
    return store;
}

static const char *count_transactions(const char *prefix)
{
    return stack_query_for(
        &stack, "SELECT count(DISTINCT xmin::text) FROM intake.incident WHERE reference_id LIKE $1 || '%'",
        prefix);
}

static const char *count_stored(const char *prefix)
{
    return stack_query_for(&stack,
                           "SELECT count(*) FROM intake.incident i JOIN intake.incident_service USING "
                           "(reference_id) WHERE reference_id LIKE $1 || '%'",
                           prefix);
}

static void requests_that_wait_share_a_transaction(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_behind_gate(&settings);

    queue_upserts(store, "together", 64);
    open_gate("gate0");
    await_all();
    check_all_but(NULL, OP_CREATED);
    assert_string_equal(count_stored("together"), "64");
    assert_string_equal(count_transactions("together"), "1");
    stop_store(store);
}

static void a_transaction_holds_no_more_than_the_setting_allows(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store;

    settings.batch_max = 10;
    store = start_behind_gate(&settings);
    queue_upserts(store, "capped", 40);
    open_gate("gate0");
    await_all();
    check_all_but(NULL, OP_CREATED);
    assert_string_equal(count_transactions("capped"), "4");
    stop_store(store);
}

static void requests_on_two_connections_are_under_way_side_by_side(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_behind_gate(&settings);

    send_upserts(store, "beside", 8); /* while gate0 is held back */
    for (size_t i = 1; i < sent; i++) {
        assert_int_equal(await(&requests[i]), OP_CREATED);
    }
    open_gate("gate0");
    assert_int_equal(await(&requests[0]), OP_CREATED);
    stop_store(store);
}

static void a_poisoned_op_among_63_good_ones_fails_alone(void **state)
{
    struct settings settings = settings_for(1);
    const struct request *poisoned;
    struct store_thread *store;

    stack_query(&stack, "ALTER TABLE intake.incident ADD CONSTRAINT poison CHECK (reference_id <> 'poison')");
    store = start_behind_gate(&settings);
    queue_upserts(store, "before", 30);
    poisoned = queue_upsert(store, "poison", "n");
    queue_upserts(store, "behind", 33);
    open_gate("gate0");
    await_all();
    stack_query(&stack, "ALTER TABLE intake.incident DROP CONSTRAINT poison");
    assert_int_equal(poisoned->op.outcome, OP_FAILED);
    check_all_but(poisoned, OP_CREATED);
    assert_string_equal(count_stored("be"), "63");
    assert_string_equal(count_stored("poison"), "0");
    stop_store(store);
}

/* One of them has a trigger raise that SQLSTATE, whether its statement is prepared or not. */
static void an_error_is_its_own_requests(const char *sqlstate, enum op_outcome outcome)
{
    struct settings settings = settings_for(1);
    struct store_thread *store;
    char statement[160];

    snprintf(statement, sizeof statement,
             "CREATE FUNCTION test.refuse() RETURNS trigger LANGUAGE plpgsql AS "
             "$$ BEGIN RAISE 'no' USING ERRCODE = '%s'; END $$",
             sqlstate);
    stack_query(&stack, statement);
    stack_query(&stack, "CREATE TRIGGER refuse BEFORE INSERT ON intake.incident FOR EACH ROW "
                        "WHEN (NEW.reference_id LIKE 'refused%') EXECUTE FUNCTION test.refuse()");
    store = start_behind_gate(&settings);
    for (int round = 0; round < 2; round++) {
        const struct request *refused;

        if (round > 0) {
            close_gate("gate1");
            send_upsert(store, "gate1", "n");
            await_under_way("1");
        }
        refused = queue_upsert(store, round == 0 ? "refused0" : "refused1", "n");
        queue_upserts(store, round == 0 ? "good" : "better", 20);
        open_gate(round == 0 ? "gate0" : "gate1");
        await_all();
        assert_int_equal(refused->op.outcome, outcome);
        check_all_but(refused, OP_CREATED);
        forget_all();
    }
    stack_query(&stack, "DROP FUNCTION test.refuse() CASCADE");
    assert_string_equal(count_stored("good"), "20");
    assert_string_equal(count_stored("better"), "20");
    stop_store(store);
}

static void a_value_that_the_database_refuses_is_its_own_requests_error(void **state)
{
    an_error_is_its_own_requests("22003", OP_INVALID_VALUE);
}

/* With this SQLSTATE Postgres also says that a prepared statement is of no use any more. */
static void what_the_database_does_not_support_is_its_own_requests_error(void **state)
{
    an_error_is_its_own_requests("0A000", OP_FAILED);
}

/* In the place of apply_batch, the function has this body and columns of this type until restore_function is
 * called. */
static void replace_function(const char *type, const char *body)
{
    char statement[512];

    stack_query(&stack, "ALTER FUNCTION intake.apply_batch RENAME TO apply_batch_kept");
    snprintf(statement, sizeof statement,
             "CREATE FUNCTION intake.apply_batch(integer, intake.operation[], bigint, bigint, bigint, "
             "bigint[], OUT outcomes %s, OUT token_labels text[], OUT now_us bigint, "
             "OUT server_started_us bigint) LANGUAGE sql AS $$ %s $$",
             type, body);
    stack_query(&stack, statement);
    stack_query(&stack, "GRANT EXECUTE ON FUNCTION intake.apply_batch TO incidents_worker");
}

static void restore_function(void)
{
    stack_query(&stack, "DROP FUNCTION intake.apply_batch");
    stack_query(&stack, "ALTER FUNCTION intake.apply_batch_kept RENAME TO apply_batch");
}

static void a_response_that_makes_no_sense_is_nobodys_success(void **state)
{
    static const char *const bodies[] = {
        "SELECT '{perhaps}'::text[], '{a}'::text[], 1::bigint, 1::bigint", /* an outcome that there is none */
        "SELECT '{}'::text[], '{a}'::text[], 1::bigint, 1::bigint",        /* none for the operation */
        "SELECT '{created}'::text[], '{}'::text[], 1::bigint, 1::bigint",
        "SELECT '{created,created}'::text[], '{a,a}'::text[], 1::bigint, 1::bigint",
        "SELECT '{{created}}'::text[], '{a}'::text[], 1::bigint, 1::bigint",
        "SELECT NULL::text[], NULL::text[], 1::bigint, 1::bigint",
        "SELECT '{NULL}'::text[], '{a}'::text[], 1::bigint, 1::bigint",
        "SELECT '{created}'::text[], '{a}'::text[], NULL::bigint, NULL::bigint",
    };
    struct settings settings = settings_for(1);

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct store_thread *store = start_store(store_thread_start, &settings);

        replace_function("text[]", bodies[i]);
        assert_int_equal(await(send_upsert(store, "senseless", "n")), OP_FAILED);
        restore_function();
        stop_store(store);
    }
    assert_string_equal(count_stored("senseless"), "0");
}

/* The whole of what the store logs from here on goes to that file, until stop_logging. */
static void start_logging(char *path, size_t size)
{
    snprintf(path, size, "%s/store.log", stack.directory);
    unlink(path);
    assert_true(log_open(path, LOG_FORMAT_TEXT));
}

/* What was logged; free it. */
static char *stop_logging(const char *path)
{
    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    return read_whole_file(path);
}

static void what_the_database_remarks_is_in_the_log_and_costs_nothing(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store;
    char path[128], *log;

    stack_query(&stack, "CREATE FUNCTION test.remark() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN RAISE WARNING 'mind the gap'; RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER remark BEFORE INSERT ON intake.incident FOR EACH ROW "
                        "EXECUTE FUNCTION test.remark()");
    start_logging(path, sizeof path);
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await(send_upsert(store, "remarkable", "n")), OP_CREATED);
    stop_store(store);
    log = stop_logging(path);
    stack_query(&stack, "DROP FUNCTION test.remark() CASCADE");
    assert_non_null(strstr(log, "mind the gap"));
    free(log);
}

static const char *passed_names(void)
{
    return stack_query(
        &stack, "SELECT string_agg(name, ' ' ORDER BY place) FROM test.passed WHERE reference_id = 'one'");
}

static void requests_for_one_incident_take_effect_in_their_order(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_store(store_thread_start, &settings);
    size_t refused = stack_count_in_log(&stack, "two operations of a batch");
    char expected[256] = "";

    close_gate("gate0");
    close_gate("gate1");
    send_upsert(store, "gate0", "n"); /* two connections, and both are held back */
    await_under_way("1");
    send_upsert(store, "gate1", "n");
    await_under_way("2");
    for (size_t i = 0; i < 24; i++) {
        char name[8], other[16];

        snprintf(name, sizeof name, "v%zu", i);
        snprintf(other, sizeof other, "other%zu", i);
        queue_upsert(store, "one", name);
        queue_upsert(store, other, "n");
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%s", i == 0 ? "" : " ",
                 name);
    }
    open_gate("gate0");
    open_gate("gate1");
    await_all();
    /* Each was a transaction by itself: none was skipped, none overtaken. */
    assert_string_equal(passed_names(), expected);
    /* The database would have refused two at once, and had them sent one by one. */
    assert_int_equal(stack_count_in_log(&stack, "two operations of a batch"), refused);
    assert_string_equal(stack_query(&stack, "SELECT name || ' ' || (SELECT string_agg(identifier, ' ') FROM "
                                            "intake.incident_service WHERE reference_id = 'one') "
                                            "FROM intake.incident WHERE reference_id = 'one'"),
                        "v23 v23");
    for (size_t i = 0; i < sent; i++) {
        bool is_later = strcmp(requests[i].incident.reference_id, "one") == 0 && i > 2;

        assert_int_equal(requests[i].op.outcome, is_later ? OP_UPDATED : OP_CREATED);
    }
    stop_store(store);
}

static void a_connection_killed_in_the_middle_of_a_batch_costs_its_requests_nothing(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_behind_gate(&settings);

    close_gate("gate1");
    queue_upserts(store, "before", 31); /* rows are written in this order */
    queue_upsert(store, "gate1", "n");
    queue_upserts(store, "then", 31);
    open_gate("gate0");
    assert_int_equal(await(&requests[0]), OP_CREATED);
    for (int killed = 0; killed < 3;) { /* the batch, and whatever tries again */
        killed += strcmp(stack_query(&stack, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                                             "WHERE usename = 'incidents_fcgi' AND wait_event = 'PgSleep'"),
                         "t") == 0;
        clock_sleep_ms(2);
    }
    open_gate("gate1");
    await_all();
    check_all_but(NULL, OP_CREATED);
    assert_string_equal(count_stored(""), "64");
    stop_store(store);
}

/* As behind a pooler that gives each transaction another session of the server. */
static void a_prepared_statement_that_is_gone_costs_no_request(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    stack_query(&stack, "CREATE FUNCTION test.forget() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER forget BEFORE INSERT ON intake.incident FOR EACH ROW "
                        "EXECUTE FUNCTION test.forget()");
    for (int i = 0; i < 10; i++) {
        char id[32];

        snprintf(id, sizeof id, "forgotten%d", i);
        assert_int_equal(await(send_upsert(store, id, "n")), OP_CREATED);
    }
    stack_query(&stack, "DROP FUNCTION test.forget() CASCADE");
    assert_string_equal(count_stored("forgotten"), "10");
    stop_store(store);
}

/* As a migration may leave it: the same call with other types in its result. */
static void a_prepared_statement_whose_result_has_changed_costs_no_request(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    for (int i = 0; i < 3; i++) {
        await(send_upsert(store, "before", "n"));
    }
    stack_query(&stack, "GRANT USAGE ON SCHEMA test TO incidents_worker");
    stack_query(&stack, "CREATE DOMAIN test.texts AS text[]");
    replace_function("test.texts", "SELECT outcomes::test.texts, token_labels, now_us, server_started_us "
                                   "FROM intake.apply_batch_kept($1, $2, $3, $4, $5, $6)");
    assert_int_equal(await(send_upsert(store, "changed", "n")), OP_CREATED);
    restore_function();
    stop_store(store);
    assert_true(stack_count_in_log(&stack, "cached plan must not change result type") > 0);
}

/* As after pg_restore --clean: the statement was prepared with a type that is gone. */
static void a_type_that_is_made_anew_costs_no_request(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    for (int i = 0; i < 3; i++) {
        await(send_upsert(store, "before", "n"));
    }
    stack_query(&stack,
                "CREATE FUNCTION test.renew() RETURNS void LANGUAGE plpgsql AS $$ "
                "DECLARE one text := pg_get_functiondef('intake.stored_incidents'::regproc); "
                "two text := pg_get_functiondef('intake.apply_batch'::regproc); "
                "columns text := (SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' "
                "ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'intake.operation'::regclass); "
                "BEGIN DROP TYPE intake.operation CASCADE; "
                "EXECUTE 'CREATE TYPE intake.operation AS (' || columns || ')'; "
                "EXECUTE one; EXECUTE two; "
                "PERFORM intake.grant_roles(); END $$");
    stack_query(&stack, "SELECT test.renew()");
    assert_int_equal(await(send_upsert(store, "renewed", "n")), OP_CREATED);
    stack_query(&stack, "DROP FUNCTION test.renew()");
    stop_store(store);
}

/* As under a worker that is older than the schema: said as such, at once. */
static void a_type_with_other_columns_is_a_schema_of_another_version(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);
    struct request *request;

    stack_query(&stack, "ALTER TYPE intake.operation ADD ATTRIBUTE severity text");
    request = send_upsert(store, "other columns", "n");
    assert_int_equal(await(request), OP_UNAVAILABLE);
    assert_int_equal(request->op.reason, REASON_SCHEMA);
    stack_query(&stack, "ALTER TYPE intake.operation DROP ATTRIBUTE severity");
    stop_store(store);
}

/* Each incident that is created gets for its name how many statements its session has prepared. */
static void count_prepared(void)
{
    stack_query(&stack, "CREATE FUNCTION test.count_prepared() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                        "NEW.name := (SELECT count(*) FROM pg_prepared_statements); RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER count BEFORE INSERT ON intake.incident "
                        "FOR EACH ROW EXECUTE FUNCTION test.count_prepared()");
}

/* A connection that breaks while it is prepared is no reason to do without from then on. */
static void a_statement_is_prepared_once_the_connection_lasts(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    count_prepared();
    assert_int_equal(await(send_upsert(store, "first", "n")), OP_CREATED);
    stack_query(&stack, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE usename = 'incidents_fcgi'");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(await(send_upsert(store, i == 0 ? "a" : i == 1 ? "b" : "c", "n")), OP_CREATED);
    }
    stack_query(&stack, "DROP FUNCTION test.count_prepared() CASCADE");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'c'"),
                        "1");
    stop_store(store);
}

/* A worker that was there before the schema. */
static void a_schema_that_comes_later_finds_statements_prepared(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    count_prepared();
    stack_query(&stack, "ALTER SCHEMA intake RENAME TO later");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(await(send_upsert(store, "before", "n")), OP_UNAVAILABLE);
    }
    stack_query(&stack, "ALTER SCHEMA later RENAME TO intake");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(await(send_upsert(store, i == 0 ? "a" : i == 1 ? "b" : "c", "n")), OP_CREATED);
    }
    stack_query(&stack, "DROP FUNCTION test.count_prepared() CASCADE");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'c'"),
                        "1");
    stop_store(store);
}

static void a_full_queue_refuses_at_once_and_keeps_what_it_has(void **state)
{
    struct settings settings = settings_for(1);
    struct request *refused;
    struct store_thread *store;

    settings.queue_max = 4;
    settings.request_timeout_ms = 2 * SANITY_MS;
    store = start_behind_gate(&settings);
    queue_upserts(store, "queued", 4);
    refused = send_upsert(store, "refused", "n");
    assert_int_equal(await(refused), OP_UNAVAILABLE); /* the gate is still closed */
    assert_true(refused->took_ms < SANITY_MS);        /* it has not waited for its deadline */
    open_gate("gate0");
    await_all();
    check_all_but(refused, OP_CREATED);
    assert_string_equal(count_stored("queued"), "4");
    assert_string_equal(count_stored("refused"), "0");
    stop_store(store);
}

static void whoever_waits_past_the_deadline_is_not_stored_later(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store;

    settings.request_timeout_ms = 3000; /* in which a busy machine opens a connection and sends the first */
    store = start_behind_gate(&settings);
    send_upserts(store, "late", 8);
    await_all();
    for (size_t i = 0; i < sent; i++) {
        assert_int_equal(requests[i].op.outcome, OP_UNAVAILABLE);
        assert_true(requests[i].took_ms < SANITY_MS); /* it is the gate that never opens by itself */
    }
    stop_store(store);
    open_gate("gate0");
    await_no_connection();
    assert_string_equal(count_stored(""), "0"); /* gate0, which was under way, neither */
}

static void one_slow_op_does_not_take_the_others_along(void **state)
{
    struct settings settings = settings_for(1);
    PGconn *locker;
    const struct request *slow;
    struct store_thread *store;

    settings.request_timeout_ms = 8000; /* forty transactions, one after the other, on a busy machine */
    store = start_behind_gate(&settings);
    open_gate("gate0");
    await_all();
    forget_all();
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'gate0'");
    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_under_way("1");
    slow = queue_upsert(store, "gate0", "another name");
    queue_upserts(store, "quick", 40);
    open_gate("gate1");
    await_all();
    stack_let_go(locker);
    assert_int_equal(slow->op.outcome, OP_UNAVAILABLE);
    check_all_but(slow, OP_CREATED);
    assert_string_equal(count_stored("quick"), "40");
    stop_store(store);
}

/* As many as would keep every connection busy; the others come with them, and while they are tried again. */
static void several_slow_ops_do_not_take_the_others_along(int connections, int slow)
{
    struct settings settings = settings_for(connections);
    struct store_thread *store;
    PGconn *locker;

    settings.request_timeout_ms = 15000; /* some turns of half a second each, on a busy machine */
    store = start_store(store_thread_start, &settings);
    send_upserts(store, "slow", (size_t)slow);
    await_all();
    forget_all();
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held'");
    for (int i = 0; i < slow; i++) {
        char id[32];

        snprintf(id, sizeof id, "slow%d", i);
        send_upsert(store, id, "another name");
    }
    send_upserts(store, "with", 20);
    clock_sleep_ms(1500);
    send_upserts(store, "meanwhile", 20);
    await_all();
    stack_let_go(locker);
    for (size_t i = 0; i < sent; i++) {
        if (i < (size_t)slow) {
            assert_int_equal(requests[i].op.outcome, OP_UNAVAILABLE);
        } else {
            assert_int_equal(requests[i].op.outcome, OP_CREATED); /* in time, that is */
        }
    }
    stop_store(store);
}

static void several_slow_ops_leave_one_connection_to_the_others(void **state)
{
    several_slow_ops_do_not_take_the_others_along(1, 4);
}

static void several_slow_ops_leave_two_connections_to_the_others(void **state)
{
    several_slow_ops_do_not_take_the_others_along(2, 8);
}

/* A stop, and plain CGI, while an incident is locked for longer than anybody waits. */
static void whoever_gives_up_at_a_lock_ends(void **state)
{
    struct settings settings = settings_for(2);
    PGconn *locker;
    struct store_thread *store, *single;
    struct request *request;

    settings.request_timeout_ms =
        5500; /* a tenth of it is longer than lock_timeout: the last attempt is no timeout of ours */
    store = start_store(store_thread_start, &settings);
    single = start_store(store_thread_start_single, &settings);
    assert_int_equal(await(send_upsert(store, "locked", "n")), OP_CREATED);
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'locked'");
    for (int i = 0; i < 4; i++) { /* whether it is seen depends on which thread is first */
        send_upsert(store, "locked", "another name");
    }
    await_queue(3); /* the fourth is under way */
    request = send_upsert(single, "locked", "another name");
    await_busy("2");
    stop_store(store);
    await_all();
    stack_let_go(locker);
    check_all_but(&requests[0], OP_UNAVAILABLE);
    assert_int_equal(request->op.outcome, OP_UNAVAILABLE);
    stop_store(single);
}

/* Ends the store's connections on this side alone: what runs in the database goes on and hears nothing of it.
 */
static void cut_connections(void)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_un peer = {0};
        socklen_t size = sizeof peer;

        if (fd != PQsocket(stack.owner) && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
            peer.sun_family == AF_UNIX && strstr(peer.sun_path, "/.s.PGSQL.") != NULL) {
            assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
        }
    }
}

/* Whether the request has no outcome for as long as its repetition would take, did it not wait. */
static bool is_held_back(struct request *request)
{
    int64_t until_ms = clock_now_ms() + 1000;

    while (!atomic_load(&request->is_done) && clock_now_ms() < until_ms) {
        clock_sleep_ms(5);
    }
    return !atomic_load(&request->is_done);
}

/* A batch whose connection is lost still runs: it has no business to come after its own repetition, and after
 * what was sent since. */
static void a_batch_that_was_lost_undoes_nothing_newer(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_behind_gate(&settings);
    struct request *first;

    close_gate("gate1");
    close_gate("a-gate");
    send_upsert(store, "gate1", "n");
    await_under_way("2");
    first = queue_upsert(store, "behind", "old");
    queue_upsert(store, "a-gate", "n"); /* which comes first in the batch */
    open_gate("gate0");
    await(&requests[0]);
    await_busy("2");
    open_gate("gate1");
    await_busy("1");
    cut_connections();

    /* Its repetition is answered, if it does not wait for the lost batch. */
    if (is_held_back(first)) {
        open_gate("a-gate");
    }
    await(first);
    assert_int_equal(await(send_upsert(store, "behind", "new")), OP_UPDATED);
    open_gate("a-gate");
    await_all();
    await_busy("0");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'behind'"),
                        "new");
    stop_store(store);
}

/* Each of the two was a batch by itself, so what waits for one waits not for the other. */
static void two_requests_that_were_lost_undo_nothing_newer(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_behind_gate(&settings);
    struct request *one;

    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_busy("2"); /* both connections are open */
    open_gate("gate0");
    open_gate("gate1");
    await_all();
    await_busy("0");
    stack_query(&stack, "CREATE TABLE test.stalled AS SELECT pid, reference_id FROM pg_stat_activity, "
                        "(VALUES ('one'), ('two')) AS _(reference_id) WHERE usename = 'incidents_fcgi'");
    stack_query(&stack, "CREATE FUNCTION test.stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                        "WHILE EXISTS (SELECT FROM test.stalled s WHERE s.reference_id = NEW.reference_id "
                        "AND pid = pg_backend_pid()) LOOP PERFORM pg_sleep(0.005); END LOOP; "
                        "RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER stall BEFORE INSERT ON intake.incident "
                        "FOR EACH ROW EXECUTE FUNCTION test.stall()");
    one = send_upsert(store, "one", "old");
    await_busy("1");
    send_upsert(store, "two", "old");
    await_busy("2");
    cut_connections();
    stack_query(&stack, "DELETE FROM test.stalled WHERE reference_id = 'two'");

    /* Its repetition is answered, if it does not wait for what was lost. */
    if (is_held_back(one)) {
        stack_query(&stack, "DELETE FROM test.stalled");
    }
    await_all();
    assert_int_equal(await(send_upsert(store, "one", "new")), OP_UPDATED);
    stack_query(&stack, "DELETE FROM test.stalled");
    await_busy("0");
    stack_query(&stack, "DROP FUNCTION test.stall() CASCADE");
    stack_query(&stack, "DROP TABLE test.stalled");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'one'"),
                        "new");
    stop_store(store);
}

/* The one session of the store's. */
static pid_t session_of_the_store(void)
{
    return (pid_t)strtol(
        stack_query(&stack, "SELECT pid FROM pg_stat_activity WHERE usename = 'incidents_fcgi'"), NULL, 10);
}

static void await_end_of_session(pid_t session)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %ld", (long)session);
    await_result(sql, "0");
}

static const char *name_of(const char *id)
{
    return stack_query_for(&stack, "SELECT name FROM intake.incident WHERE reference_id = $1", id);
}

/* A session that stands still has the batch in its socket, and reads it when nobody waits any more. It could
 * not be stored then, but it is ended, too, which holds where the server's clock was set back. */
static void a_batch_that_was_given_up_is_never_stored(void **state)
{
    static const char terminating[] = "terminating connection due to administrator command";
    struct settings settings = settings_for(1);
    char path[128], *log;
    struct store_thread *store;
    pid_t session;
    enum op_outcome given_up, newer;
    size_t terminated = stack_count_in_log(&stack, terminating);

    start_logging(path, sizeof path);
    settings.request_timeout_ms = 4000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await(send_upsert(store, "given up", "v0")), OP_CREATED);
    session = session_of_the_store();
    assert_int_equal(kill(session, SIGSTOP), 0);
    given_up = await(send_upsert(store, "given up", "v1"));
    newer = await(send_upsert(store, "given up", "v2"));
    assert_int_equal(kill(session, SIGCONT), 0);
    await_end_of_session(session);
    stop_store(store);
    log = stop_logging(path);
    assert_int_equal(given_up, OP_UNAVAILABLE);
    assert_int_equal(newer, OP_UPDATED);
    assert_string_equal(name_of("given up"), "v2");
    assert_non_null(strstr(log, " warning terminated an abandoned database session\n"));
    free(log);
    assert_int_equal(stack_count_in_log(&stack, terminating), terminated + 1);
}

/* Asks until the store has the database back. */
static void await_return(struct store_thread *store)
{
    int64_t deadline = clock_now_ms() + SANITY_MS;
    enum op_outcome outcome = OP_UNAVAILABLE;

    for (int i = 0; outcome == OP_UNAVAILABLE; i++) {
        char id[32];

        assert_true(clock_now_ms() < deadline);
        snprintf(id, sizeof id, "back%d", i);
        outcome = await(send_upsert(store, id, "n"));
        clock_sleep_ms(2 * SANITY_MS / REQUESTS_MAX);
    }
    assert_int_equal(outcome, OP_CREATED);
}

/* While it stands still, a probe gets no response, and lasts for longer than anything else waits. */
static void a_database_that_stood_still_is_found_again(int connections)
{
    struct settings settings = settings_for(connections);
    struct store_thread *store;

    settings.request_timeout_ms = 3000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await(send_upsert(store, "before", "n")), OP_CREATED);
    stack_pause_postgres(&stack);
    assert_int_equal(await(send_upsert(store, "meanwhile", "n")), OP_UNAVAILABLE);
    clock_sleep_ms(4000);
    stack_resume_postgres(&stack);
    await_return(store);
    stop_store(store);
}

static void a_database_that_stood_still_is_found_again_by_one_connection(void **state)
{
    a_database_that_stood_still_is_found_again(1);
}

static void a_database_that_stood_still_is_found_again_by_several(void **state)
{
    a_database_that_stood_still_is_found_again(2);
}

/* A server whose machine hangs: its kernel takes connections, and nobody says anything. */
static int listen_in_silence(char *directory, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(directory, size, "%s/silent", stack.directory);
    assert_true(mkdir(directory, 0700) == 0 || errno == EEXIST);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/.s.PGSQL.5432", directory);
    unlink(address.sun_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

/* It stands before the good one. Whatever it may take, by the time that there is or by connect_timeout, is
 * its share. */
static void a_silent_server_leaves_the_next_one_its_share_of_the_time(void **state)
{
    static const char *const timeouts[] = {"0", "60"};
    char directory[128];
    int fd = listen_in_silence(directory, sizeof directory);

    for (size_t i = 0; i < 2; i++) {
        struct settings settings = settings_for(1);
        struct store_thread *store;

        settings.request_timeout_ms = 5000;
        snprintf(settings.database_url, sizeof settings.database_url,
                 "postgresql:///incidents?host=%s,%s&user=incidents_fcgi&connect_timeout=%s", directory,
                 stack.directory, timeouts[i]);
        store = start_store(store_thread_start, &settings);
        assert_int_equal(await(send_upsert(store, timeouts[i], "n")), OP_CREATED);
        /* Away for longer than a deadline, so that nothing but a probe will find it. */
        stack_stop_postgres(&stack, SIGINT);
        assert_int_equal(await(send_upsert(store, "away", "n")), OP_UNAVAILABLE);
        clock_sleep_ms(settings.request_timeout_ms);
        stack_start_postgres(&stack, "-c fsync=off");
        await_return(store);
        stop_store(store);
        stack_query(&stack, "DELETE FROM intake.incident"); /* await_return wants to create */
    }
    close(fd);
}

/* The same Postgres, by two names: what one of its connections finds out about a server counts for the idle
 * one too. */
static void a_host_that_has_failed_is_left_by_idle_connections_too(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store;
    char before[64];

    settings.request_timeout_ms = 5000;
    snprintf(settings.database_url, sizeof settings.database_url,
             "postgresql:///incidents?host=%s,%s/.&user=incidents_fcgi", stack.directory, stack.directory);
    store = start_behind_gate(&settings);
    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_busy("2");
    open_gate("gate0");
    open_gate("gate1");
    await_all();
    snprintf(before, sizeof before, "%s", stack_query(&stack, "SELECT clock_timestamp()"));
    stack_pause_postgres(&stack);
    assert_int_equal(await(send_upsert(store, "lost", "n")), OP_UNAVAILABLE);
    stack_resume_postgres(&stack);
    await_return(store);
    for (int64_t give_up_ms = clock_now_ms() + GATE_TIMEOUT_MS;
         strcmp(stack_query_for(&stack,
                                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND "
                                "backend_start < $1::timestamptz",
                                before),
                "0") != 0;) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(10);
    }
    stop_store(store);
}

/* More than the socket takes, so that it cannot even be sent. */
static void a_large_request_to_a_database_that_stands_still_ends_in_time(void **state)
{
    struct settings settings = settings_for(1);
    struct request *large;
    struct store_thread *store;
    struct buffer body;

    settings.request_timeout_ms = 3000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await(send_upsert(store, "first", "n")), OP_CREATED);
    assert_int_equal(await(send_upsert(store, "second", "n")), OP_CREATED); /* the statement is prepared */
    stack_pause_postgres(&stack);
    large = send_large(store, "large", &body);
    assert_int_equal(await(large), OP_UNAVAILABLE);
    assert_true(large->took_ms < SANITY_MS); /* Postgres never takes it */
    stack_resume_postgres(&stack);
    await_return(store);
    stop_store(store);
    assert_string_equal(count_stored("large"), "0");
    buffer_free(&body);
}

static void large_requests_do_not_share_a_transaction_of_any_size(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_behind_gate(&settings);
    struct buffer bodies[2];

    send_large(store, "large0", &bodies[0]);
    send_large(store, "large1", &bodies[1]);
    await_queue(2);
    open_gate("gate0");
    await_all();
    check_all_but(NULL, OP_CREATED);
    assert_string_equal(count_transactions("large"), "2");
    stop_store(store);
    buffer_free(&bodies[0]);
    buffer_free(&bodies[1]);
}

static void *stop_from_a_thread(void *store)
{
    stop_store(store);
    return NULL;
}

static void a_store_that_stops_responses_a_full_queue_first(void **state)
{
    struct settings settings = settings_for(1);
    struct request *refused;
    struct store_thread *store;
    pthread_t stopping;

    settings.queue_max = 60;
    store = start_behind_gate(&settings);
    queue_upserts(store, "waits", 60);
    refused = send_upsert(store, "refused", "n");
    assert_int_equal(await(refused), OP_UNAVAILABLE);
    assert_int_equal(pthread_create(&stopping, NULL, stop_from_a_thread, store), 0);
    clock_sleep_ms(200);
    open_gate("gate0");
    pthread_join(stopping, NULL);
    await_all();
    check_all_but(refused, OP_CREATED);
    assert_string_equal(count_stored("waits"), "60");
}

static void a_request_that_comes_within_a_probe_is_sent_behind_it(void **state)
{
    struct settings settings = settings_for(1);
    struct request *request;
    struct store_thread *store;

    settings.request_timeout_ms = 10000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await(send_upsert(store, "before", "n")), OP_CREATED);
    stack_pause_postgres(&stack);
    assert_int_equal(await(send_upsert(store, "meanwhile", "n")), OP_UNAVAILABLE);
    clock_sleep_ms(800); /* the first probe begins half a second behind it, and gives up after two */
    request = send_upsert(store, "within", "n");
    clock_sleep_ms(300);
    stack_resume_postgres(&stack);
    assert_int_equal(await(request), OP_CREATED); /* before its deadline, that is */
    stop_store(store);
}

static size_t count_refused(void)
{
    return stack_count_in_log(&stack, "too many connections for role");
}

/* How many more refusals there may be, at most: twenty a second, and what a time brings. */
static size_t most_refused(int64_t since_ms)
{
    return 20 + (size_t)(20 * (clock_now_ms() - since_ms) / 1000);
}

static void a_database_that_refuses_is_not_stormed(void **state)
{
    struct settings settings = settings_for(2);
    int64_t since_ms = clock_now_ms();
    struct store_thread *store;

    settings.request_timeout_ms = SANITY_MS;
    store = start_store(store_thread_start, &settings);
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT 0"); /* 53300: try again */
    send_upserts(store, "storm", 100);
    while (count_refused() < 2 || clock_now_ms() < since_ms + 2000) {
        assert_true(clock_now_ms() < since_ms + GATE_TIMEOUT_MS);
        clock_sleep_ms(20);
    }
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT -1");
    await_all();
    check_all_but(NULL, OP_CREATED);
    stop_store(store);
    assert_between(count_refused(), 2, most_refused(since_ms));
}

/* Where one connection is all that there is, the other is not asked for all the time. */
static void a_database_that_refuses_one_of_two_is_not_stormed(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_store(store_thread_start, &settings);
    size_t refused = count_refused();
    int64_t since_ms = clock_now_ms();

    /* From the beginning: on a busy machine both might be open else. */
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT 1");
    stack_query(&stack, "CREATE FUNCTION test.linger() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$");
    stack_query(&stack, "CREATE TRIGGER linger AFTER INSERT ON intake.incident "
                        "FOR EACH STATEMENT EXECUTE FUNCTION test.linger()");
    for (int round = 0; count_refused() == refused || clock_now_ms() < since_ms + 2000; round++) {
        char prefix[16];

        assert_true(clock_now_ms() < since_ms + GATE_TIMEOUT_MS);
        snprintf(prefix, sizeof prefix, "%d-", round);
        send_upserts(store, prefix, 8);
        await_all();
        check_all_but(NULL, OP_CREATED);
        forget_all();
    }
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT -1");
    stack_query(&stack, "DROP FUNCTION test.linger() CASCADE");
    stop_store(store);
    assert_between(count_refused() - refused, 1, most_refused(since_ms) / 2);
}

/* A client that sends one upsert after another. */
struct client {
    struct store_thread *store;
    size_t number;
    size_t failed;
    pthread_t thread;
};

enum { CLIENTS = 32, ROUNDS = 40, SHARED_INCIDENTS = 8 };

static void *send_many(void *argument)
{
    struct client *client = argument;

    for (size_t round = 0; round < ROUNDS; round++) {
        struct request request;
        char id[32], name[32];

        if (round % 2 == 0) {
            snprintf(id, sizeof id, "own%zu-%zu", client->number, round);
        } else {
            snprintf(id, sizeof id, "shared%zu", (client->number + round) % SHARED_INCIDENTS);
        }
        snprintf(name, sizeof name, "c%zu-%zu", client->number, round);
        encode(&request, id, name);
        store_thread_apply(client->store, &request.op);
        client->failed += request.op.outcome != OP_CREATED && request.op.outcome != OP_UPDATED;
        op_free(&request.op);
        incident_free(&request.incident);
    }
    return NULL;
}

static void run_clients(struct store_thread *store, const char *connections_allowed)
{
    static struct client clients[CLIENTS];
    char stored[16];

    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.store = store, .number = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, send_many, &clients[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        const char *open =
            stack_query(&stack, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi'");

        assert_true(strtol(open, NULL, 10) <= strtol(connections_allowed, NULL, 10));
        clock_sleep_ms(5);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_int_equal(clients[i].failed, 0);
    }
    snprintf(stored, sizeof stored, "%d", CLIENTS * ROUNDS / 2);
    assert_string_equal(count_stored("own"), stored);
    snprintf(stored, sizeof stored, "%d", SHARED_INCIDENTS);
    assert_string_equal(count_stored("shared"), stored); /* one service each: never a union */
}

/* The name servers do not answer while this is set: libpq's look-ups come here. */
static atomic_bool names_are_silent;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    while (atomic_load(&names_are_silent)) {
        clock_sleep_ms(10);
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, found);
}

/* The system's resolver asks for half a minute and cannot be stopped. */
static void a_name_server_that_is_silent_keeps_nobody_past_the_deadline(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store;

    settings.request_timeout_ms = 1000;
    snprintf(settings.database_url, sizeof settings.database_url,
             "host=localhost port=1 dbname=incidents user=x");
    atomic_store(&names_are_silent, true);
    store = start_store(store_thread_start, &settings);
    for (int i = 0; i < 3; i++) { /* more than there are connections to hold up */
        send_upserts(store, "nameless", 8);
        await_all();
        check_all_but(NULL, OP_UNAVAILABLE);
        for (size_t n = 0; n < sent; n++) {
            assert_true(requests[n].took_ms < SANITY_MS); /* the name server stays silent */
        }
        forget_all();
    }
    atomic_store(&names_are_silent, false);
    stop_store(store);
}

static void waits_to_be_let_go(void *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        continue; /* interrupted */
    }
}

/* Whoever is slow to take a response keeps nobody's request from the database. */
static void the_next_batch_is_sent_before_callbacks_run(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;
    struct request *request;
    bool is_stored = false;
    sem_t let_go;

    assert_int_equal(sem_init(&let_go, 0, 0), 0);
    for (int i = 0; i < 2; i++) { /* behind which the connection knows the statement */
        assert_int_equal(await(send_upsert(store, i == 0 ? "first" : "second", "n")), OP_CREATED);
    }
    close_gate("gate0");
    request = &requests[sent++];
    encode(request, "gate0", "n");
    request->is_joined = true; /* there is no thread */
    store_thread_submit(store, &request->op, waits_to_be_let_go, &let_go);
    await_under_way("1");
    queue_upserts(store, "next", 3);
    open_gate("gate0");
    while (!is_stored && clock_now_ms() < deadline) {
        is_stored = strcmp(count_stored("next"), "3") == 0;
        clock_sleep_ms(2);
    }
    assert_int_equal(sem_post(&let_go), 0);
    await_all();
    stop_store(store);
    sem_destroy(&let_go);
    check_all_but(NULL, OP_CREATED);
    assert_true(is_stored);
}

static void one_connection_is_enough_for_all(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store = start_store(store_thread_start, &settings);

    run_clients(store, "1");
    stop_store(store);
}

static void several_connections_keep_every_request(void **state)
{
    struct settings settings = settings_for(4);
    struct store_thread *store = start_store(store_thread_start, &settings);

    run_clients(store, "4");
    stop_store(store);
}

static void start_metrics_and_gates(void)
{
    snprintf(metrics_token, sizeof metrics_token, "store_test %d", (int)getpid());
    assert_true(metrics_open(metrics_token, true));
    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its connections */
    digest_sha256((struct slice){.data = stack.token, .len = strlen(stack.token)}, token_hash);
    make_gates();
}

static void end_stores(void)
{
    stack_query(&stack, "DELETE FROM test.closed");
    for (size_t i = 0; i < STORES_MAX; i++) {
        if (running[i].store != NULL) {
            stop_store(running[i].store);
        }
    }
    await_all();
    forget_all();
    await_no_connection(); /* a closed one takes a time to end */
    stack_query(&stack, "DELETE FROM test.passed");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack,
                                           .extent = FIXTURE_MIGRATED,
                                           .metrics_token = metrics_token,
                                           .start = start_metrics_and_gates,
                                           .clean = end_stores};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(requests_that_wait_share_a_transaction),
        cmocka_unit_test(a_transaction_holds_no_more_than_the_setting_allows),
        cmocka_unit_test(large_requests_do_not_share_a_transaction_of_any_size),
        cmocka_unit_test(requests_on_two_connections_are_under_way_side_by_side),
        cmocka_unit_test(a_poisoned_op_among_63_good_ones_fails_alone),
        cmocka_unit_test(a_value_that_the_database_refuses_is_its_own_requests_error),
        cmocka_unit_test(what_the_database_does_not_support_is_its_own_requests_error),
        cmocka_unit_test(a_response_that_makes_no_sense_is_nobodys_success),
        cmocka_unit_test(what_the_database_remarks_is_in_the_log_and_costs_nothing),
        cmocka_unit_test(requests_for_one_incident_take_effect_in_their_order),
        cmocka_unit_test(a_connection_killed_in_the_middle_of_a_batch_costs_its_requests_nothing),
        cmocka_unit_test(a_prepared_statement_that_is_gone_costs_no_request),
        cmocka_unit_test(a_prepared_statement_whose_result_has_changed_costs_no_request),
        cmocka_unit_test(a_type_that_is_made_anew_costs_no_request),
        cmocka_unit_test(a_type_with_other_columns_is_a_schema_of_another_version),
        cmocka_unit_test(a_statement_is_prepared_once_the_connection_lasts),
        cmocka_unit_test(a_schema_that_comes_later_finds_statements_prepared),
        cmocka_unit_test(a_full_queue_refuses_at_once_and_keeps_what_it_has),
        cmocka_unit_test(whoever_waits_past_the_deadline_is_not_stored_later),
        cmocka_unit_test(one_slow_op_does_not_take_the_others_along),
        cmocka_unit_test(several_slow_ops_leave_one_connection_to_the_others),
        cmocka_unit_test(several_slow_ops_leave_two_connections_to_the_others),
        cmocka_unit_test(a_batch_that_was_lost_undoes_nothing_newer),
        cmocka_unit_test(two_requests_that_were_lost_undo_nothing_newer),
        cmocka_unit_test(a_batch_that_was_given_up_is_never_stored),
        cmocka_unit_test(whoever_gives_up_at_a_lock_ends),
        cmocka_unit_test(a_database_that_stood_still_is_found_again_by_one_connection),
        cmocka_unit_test(a_database_that_stood_still_is_found_again_by_several),
        cmocka_unit_test(a_silent_server_leaves_the_next_one_its_share_of_the_time),
        cmocka_unit_test(a_host_that_has_failed_is_left_by_idle_connections_too),
        cmocka_unit_test(a_large_request_to_a_database_that_stands_still_ends_in_time),
        cmocka_unit_test(a_request_that_comes_within_a_probe_is_sent_behind_it),
        cmocka_unit_test(a_store_that_stops_responses_a_full_queue_first),
        cmocka_unit_test(a_database_that_refuses_is_not_stormed),
        cmocka_unit_test(a_database_that_refuses_one_of_two_is_not_stormed),
        cmocka_unit_test(a_name_server_that_is_silent_keeps_nobody_past_the_deadline),
        cmocka_unit_test(the_next_batch_is_sent_before_callbacks_run),
        cmocka_unit_test(one_connection_is_enough_for_all),
        cmocka_unit_test(several_connections_keep_every_request),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
