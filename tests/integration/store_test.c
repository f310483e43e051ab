/* The store by itself: what a batch is made of, and what its requests do to one another. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/store_requests.h"

static struct stack stack;

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
    for (size_t i = 1; i < sent_count; i++) {
        assert_int_equal(await_outcome(&sent_requests[i]), OP_CREATED);
    }
    open_gate("gate0");
    assert_int_equal(await_outcome(&sent_requests[0]), OP_CREATED);
    stop_store(store);
}

static void a_poisoned_op_among_63_good_ones_fails_alone(void **state)
{
    struct settings settings = settings_for(1);
    const struct store_request *poisoned;
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
        const struct store_request *refused;

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
        assert_int_equal(await_outcome(send_upsert(store, "senseless", "n")), OP_FAILED);
        restore_function();
        stop_store(store);
    }
    assert_string_equal(count_stored("senseless"), "0");
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
    assert_int_equal(await_outcome(send_upsert(store, "remarkable", "n")), OP_CREATED);
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
    struct store_thread *store = start_store_with(2);
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
    for (size_t i = 0; i < sent_count; i++) {
        bool is_later = strcmp(sent_requests[i].incident.reference_id, "one") == 0 && i > 2;

        assert_int_equal(sent_requests[i].op.outcome, is_later ? OP_UPDATED : OP_CREATED);
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
    assert_int_equal(await_outcome(&sent_requests[0]), OP_CREATED);
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
    struct store_thread *store = start_store_with(1);

    stack_query(&stack, "CREATE FUNCTION test.forget() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER forget BEFORE INSERT ON intake.incident FOR EACH ROW "
                        "EXECUTE FUNCTION test.forget()");
    for (int i = 0; i < 10; i++) {
        char id[32];

        snprintf(id, sizeof id, "forgotten%d", i);
        assert_int_equal(await_outcome(send_upsert(store, id, "n")), OP_CREATED);
    }
    stack_query(&stack, "DROP FUNCTION test.forget() CASCADE");
    assert_string_equal(count_stored("forgotten"), "10");
    stop_store(store);
}

/* As a migration may leave it: the same call with other types in its result. */
static void a_prepared_statement_whose_result_has_changed_costs_no_request(void **state)
{
    struct store_thread *store = start_store_with(1);

    for (int i = 0; i < 3; i++) {
        await_outcome(send_upsert(store, "before", "n"));
    }
    stack_query(&stack, "GRANT USAGE ON SCHEMA test TO incidents_worker");
    stack_query(&stack, "CREATE DOMAIN test.texts AS text[]");
    replace_function("test.texts", "SELECT outcomes::test.texts, token_labels, now_us, server_started_us "
                                   "FROM intake.apply_batch_kept($1, $2, $3, $4, $5, $6)");
    assert_int_equal(await_outcome(send_upsert(store, "changed", "n")), OP_CREATED);
    restore_function();
    stop_store(store);
    assert_true(stack_count_in_log(&stack, "cached plan must not change result type") > 0);
}

/* As after pg_restore --clean: the statement was prepared with a type that is gone. */
static void a_type_that_is_made_anew_costs_no_request(void **state)
{
    struct store_thread *store = start_store_with(1);

    for (int i = 0; i < 3; i++) {
        await_outcome(send_upsert(store, "before", "n"));
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
    assert_int_equal(await_outcome(send_upsert(store, "renewed", "n")), OP_CREATED);
    stack_query(&stack, "DROP FUNCTION test.renew()");
    stop_store(store);
}

/* As under a worker that is older than the schema: said as such, at once. */
static void a_type_with_other_columns_is_a_schema_of_another_version(void **state)
{
    struct store_thread *store = start_store_with(1);
    struct store_request *request;

    stack_query(&stack, "ALTER TYPE intake.operation ADD ATTRIBUTE severity text");
    request = send_upsert(store, "other columns", "n");
    assert_int_equal(await_outcome(request), OP_UNAVAILABLE);
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

/* By the third request at the latest. */
static void check_statement_is_prepared(struct store_thread *store)
{
    static const char *const ids[] = {"a", "b", "c"};

    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(await_outcome(send_upsert(store, ids[i], "n")), OP_CREATED);
    }
    stack_query(&stack, "DROP FUNCTION test.count_prepared() CASCADE");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'c'"),
                        "1");
}

/* A connection that breaks while it is prepared is no reason to do without from then on. */
static void a_statement_is_prepared_once_the_connection_lasts(void **state)
{
    struct store_thread *store = start_store_with(1);

    count_prepared();
    assert_int_equal(await_outcome(send_upsert(store, "first", "n")), OP_CREATED);
    stack_query(&stack, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE usename = 'incidents_fcgi'");
    check_statement_is_prepared(store);
    stop_store(store);
}

/* A worker that was there before the schema. */
static void a_schema_that_comes_later_finds_statements_prepared(void **state)
{
    struct store_thread *store = start_store_with(1);

    count_prepared();
    stack_query(&stack, "ALTER SCHEMA intake RENAME TO later");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(await_outcome(send_upsert(store, "before", "n")), OP_UNAVAILABLE);
    }
    stack_query(&stack, "ALTER SCHEMA later RENAME TO intake");
    check_statement_is_prepared(store);
    stop_store(store);
}

static void a_full_queue_refuses_at_once_and_keeps_what_it_has(void **state)
{
    struct settings settings = settings_for(1);
    struct store_request *refused;
    struct store_thread *store;

    settings.queue_max = 4;
    settings.request_timeout_ms = 2 * SANITY_MS;
    store = start_behind_gate(&settings);
    queue_upserts(store, "queued", 4);
    refused = send_upsert(store, "refused", "n");
    assert_int_equal(await_outcome(refused), OP_UNAVAILABLE); /* the gate is still closed */
    assert_true(refused->took_ms < SANITY_MS);                /* it has not waited for its deadline */
    open_gate("gate0");
    await_all();
    check_all_but(refused, OP_CREATED);
    assert_string_equal(count_stored("queued"), "4");
    assert_string_equal(count_stored("refused"), "0");
    stop_store(store);
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
    struct store_request *refused;
    struct store_thread *store;
    pthread_t stopping;

    settings.queue_max = 60;
    store = start_behind_gate(&settings);
    queue_upserts(store, "waits", 60);
    refused = send_upsert(store, "refused", "n");
    assert_int_equal(await_outcome(refused), OP_UNAVAILABLE);
    assert_int_equal(pthread_create(&stopping, NULL, stop_from_a_thread, store), 0);
    clock_sleep_ms(200);
    open_gate("gate0");
    pthread_join(stopping, NULL);
    await_all();
    check_all_but(refused, OP_CREATED);
    assert_string_equal(count_stored("waits"), "60");
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
        struct store_request request;
        char id[32], name[32];

        if (round % 2 == 0) {
            snprintf(id, sizeof id, "own%zu-%zu", client->number, round);
        } else {
            snprintf(id, sizeof id, "shared%zu", (client->number + round) % SHARED_INCIDENTS);
        }
        snprintf(name, sizeof name, "c%zu-%zu", client->number, round);
        encode_request(&request, id, name);
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

static void waits_to_be_let_go(void *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        continue; /* interrupted */
    }
}

/* Whoever is slow to take a response keeps nobody's request from the database. */
static void the_next_batch_is_sent_before_callbacks_run(void **state)
{
    struct store_thread *store = start_store_with(1);
    int64_t deadline = clock_now_ms() + GATE_TIMEOUT_MS;
    struct store_request *request;
    bool is_stored = false;
    sem_t let_go;

    assert_int_equal(sem_init(&let_go, 0, 0), 0);
    for (int i = 0; i < 2; i++) { /* behind which the connection knows the statement */
        assert_int_equal(await_outcome(send_upsert(store, i == 0 ? "first" : "second", "n")), OP_CREATED);
    }
    close_gate("gate0");
    request = &sent_requests[sent_count++];
    encode_request(request, "gate0", "n");
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
    struct store_thread *store = start_store_with(1);

    run_clients(store, "1");
    stop_store(store);
}

static void several_connections_keep_every_request(void **state)
{
    struct store_thread *store = start_store_with(4);

    run_clients(store, "4");
    stop_store(store);
}

int main(void)
{
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
        cmocka_unit_test(a_store_that_stops_responses_a_full_queue_first),
        cmocka_unit_test(the_next_batch_is_sent_before_callbacks_run),
        cmocka_unit_test(one_connection_is_enough_for_all),
        cmocka_unit_test(several_connections_keep_every_request),
    };

    return store_requests_run(&stack, cases, sizeof cases / sizeof cases[0]);
}
