/* Upserts that are sent to a store, and gates that hold them back. */
#include "harness/store_requests.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metrics.h"

enum { STORES_MAX = 2 };

static struct stack *stack;
static char metrics_token[32]; /* so that the length of the queue is known; this process's own */
static char token_hash[DIGEST_HEX_SIZE];

/* Those that are running. A test that fails leaves its own to clean, which the settings must outlive. */
static struct running {
    struct store_thread *store;
    struct settings settings;
} running[STORES_MAX];

struct store_thread *start_store(struct store_thread *(*start)(const struct settings *),
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

void stop_store(struct store_thread *store)
{
    store_thread_stop(store);
    for (size_t i = 0; i < STORES_MAX; i++) {
        if (running[i].store == store) {
            running[i].store = NULL;
        }
    }
}

struct store_request sent_requests[STORE_REQUESTS_MAX];
size_t sent_count;

static void *submit(void *argument)
{
    struct store_request *request = argument;
    int64_t before = clock_now_ms();

    store_thread_apply(request->store, &request->op);
    request->took_ms = clock_now_ms() - before;
    atomic_store(&request->is_done, true);
    return NULL;
}

void encode_request(struct store_request *request, const char *id, const char *name)
{
    struct error error;

    *request = (struct store_request){0};
    snprintf(request->body, sizeof request->body,
             "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"name\":\"%s\","
             "\"services\":[{\"identifier\":\"%s\"}]}",
             id, name, name);
    assert_true(incident_read((struct slice){.data = request->body, .len = strlen(request->body)},
                              RULES_UPSERT, &request->incident, &error));
    assert_true(op_upsert(&request->op, token_hash, &request->incident));
}

static void send_off(struct store_request *request, struct store_thread *store)
{
    request->store = store;
    assert_int_equal(pthread_create(&request->thread, NULL, submit, request), 0);
    sent_count++;
}

struct store_request *send_upsert(struct store_thread *store, const char *id, const char *name)
{
    struct store_request *request = &sent_requests[sent_count];

    assert_true(sent_count < STORE_REQUESTS_MAX);
    encode_request(request, id, name);
    send_off(request, store);
    return request;
}

struct store_request *send_large(struct store_thread *store, const char *id, struct buffer *body)
{
    enum { LARGE = 5 * 512 * 1024 };
    struct store_request *request = &sent_requests[sent_count];
    struct error error;

    assert_true(sent_count < STORE_REQUESTS_MAX);
    *request = (struct store_request){0};
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

void send_upserts(struct store_thread *store, const char *prefix, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char id[32];

        snprintf(id, sizeof id, "%s%zu", prefix, i);
        send_upsert(store, id, "n");
    }
}

void await_queue(int64_t length)
{
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;

    while (metrics_sum(METRICS_QUEUE) != length) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(1);
    }
}

struct store_request *queue_upsert(struct store_thread *store, const char *id, const char *name)
{
    int64_t length = metrics_sum(METRICS_QUEUE);
    struct store_request *request = send_upsert(store, id, name);

    await_queue(length + 1);
    return request;
}

void queue_upserts(struct store_thread *store, const char *prefix, size_t count)
{
    int64_t length = metrics_sum(METRICS_QUEUE);

    send_upserts(store, prefix, count);
    await_queue(length + (int64_t)count);
}

enum op_outcome await_outcome(struct store_request *request)
{
    if (!request->is_joined) {
        pthread_join(request->thread, NULL);
        request->is_joined = true;
    }
    return request->op.outcome;
}

void await_all(void)
{
    for (size_t i = 0; i < sent_count; i++) {
        await_outcome(&sent_requests[i]);
    }
}

void forget_all(void)
{
    for (size_t i = 0; i < sent_count; i++) {
        op_free(&sent_requests[i].op);
        incident_free(&sent_requests[i].incident);
    }
    sent_count = 0;
}

void check_all_but(const struct store_request *exception, enum op_outcome expected)
{
    for (size_t i = 0; i < sent_count; i++) {
        if (&sent_requests[i] != exception && sent_requests[i].op.outcome != expected) {
            fail_msg("%s came to outcome %d", sent_requests[i].incident.reference_id,
                     sent_requests[i].op.outcome);
        }
    }
}

static void make_gates(void)
{
    stack_query(stack, "CREATE SCHEMA test");
    stack_query(stack, "CREATE TABLE test.closed (gate text PRIMARY KEY)");
    stack_query(stack, "CREATE TABLE test.passed (place serial, reference_id text, name text)");
    stack_query(
        stack,
        "CREATE FUNCTION test.wait_and_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO test.passed (reference_id, name) VALUES (NEW.reference_id, NEW.name);"
        "WHILE EXISTS (SELECT FROM test.closed WHERE gate = NEW.reference_id) LOOP PERFORM pg_sleep(0.005); "
        "END LOOP; RETURN NEW; END $$");
    stack_query(stack, "CREATE TRIGGER gate BEFORE INSERT ON intake.incident "
                       "FOR EACH ROW EXECUTE FUNCTION test.wait_and_note()");
    /* Not where a row is written anew as it is: the trigger's own lock on it leaves a mark. */
    stack_query(stack, "CREATE TRIGGER gate_of_updates BEFORE UPDATE ON intake.incident FOR EACH ROW "
                       "WHEN (OLD.* IS DISTINCT FROM NEW.*) EXECUTE FUNCTION test.wait_and_note()");
}

void close_gate(const char *gate)
{
    stack_query_for(stack, "INSERT INTO test.closed VALUES ($1)", gate);
}

void open_gate(const char *gate)
{
    stack_query_for(stack, "DELETE FROM test.closed WHERE gate = $1", gate);
}

void await_result(const char *sql, const char *expected)
{
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;

    while (strcmp(stack_query(stack, sql), expected) != 0) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(2);
    }
}

void await_busy(const char *count)
{
    await_result(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND state = 'active'", count);
}

void await_under_way(const char *count)
{
    await_busy(count);
    await_queue(0);
}

void await_no_connection(void)
{
    await_result("SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi'", "0");
}

struct settings settings_for(int connections)
{
    struct settings settings = {
        .request_timeout_ms = 20000, .db_pool_size = connections, .batch_max = 64, .queue_max = 1000};

    snprintf(settings.database_url, sizeof settings.database_url, "%s", stack->worker_url);
    return settings;
}

struct store_thread *start_store_with(int connections)
{
    struct settings settings = settings_for(connections);

    return start_store(store_thread_start, &settings);
}

struct store_thread *start_behind_gate(const struct settings *settings)
{
    struct store_thread *store = start_store(store_thread_start, settings);

    close_gate("gate0");
    send_upsert(store, "gate0", "n");
    await_under_way("1");
    return store;
}

const char *count_transactions(const char *prefix)
{
    return stack_query_for(
        stack, "SELECT count(DISTINCT xmin::text) FROM intake.incident WHERE reference_id LIKE $1 || '%'",
        prefix);
}

const char *count_stored(const char *prefix)
{
    return stack_query_for(stack,
                           "SELECT count(*) FROM intake.incident i JOIN intake.incident_service USING "
                           "(reference_id) WHERE reference_id LIKE $1 || '%'",
                           prefix);
}

void start_logging(char *path, size_t size)
{
    snprintf(path, size, "%s/store.log", stack->directory);
    unlink(path);
    assert_true(log_open(path, LOG_FORMAT_TEXT));
}

char *stop_logging(const char *path)
{
    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    return read_whole_file(path);
}

/* ---- The fixture ---- */

static void start_metrics_and_gates(void)
{
    assert_true(metrics_open(metrics_token, true));
    stack_query(stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its connections */
    digest_sha256((struct slice){.data = stack->token, .len = strlen(stack->token)}, token_hash);
    make_gates();
}

static void end_stores(void)
{
    stack_query(stack, "DELETE FROM test.closed");
    for (size_t i = 0; i < STORES_MAX; i++) {
        if (running[i].store != NULL) {
            stop_store(running[i].store);
        }
    }
    await_all();
    forget_all();
    await_no_connection(); /* a closed one takes a time to end */
    stack_query(stack, "DELETE FROM test.passed");
}

int store_requests_run(struct stack *of, const struct CMUnitTest cases[], size_t count)
{
    const struct fixture fixture = {.stack = of,
                                    .extent = FIXTURE_MIGRATED,
                                    .metrics_token = metrics_token,
                                    .start = start_metrics_and_gates,
                                    .clean = end_stores};

    stack = of;
    snprintf(metrics_token, sizeof metrics_token, "store_test %d", (int)getpid());
    return fixture_run(&fixture, cases, count);
}
