/* The database away, late, locked or refusing, and the worker stopped: what clients see, and that nothing is
 * lost. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

static struct stack stack;

/* A bound of SANITY_MS says that something did not wait for what would not have come. No bound is as near to
 * what a quiet machine takes that a busy one could break it. */
enum { DEADLINE_MS = 1500, PATIENT_MS = 10000, SANITY_MS = 30000 };

static const char *const short_deadline[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=1500", NULL};
static const char *const patient[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=10000", NULL};
static const char *const long_deadline[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=50000", NULL};

/* Sends an upsert of that incident; the status. */
static int upsert(const char *id)
{
    char body[256];
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;
    char retry_after[16];
    int status;

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", id);
    http_through_nginx(&stack, &call, &response);
    status = response.status;
    if (status == 503) {
        assert_string_equal(http_response_text(&response, "error"), "service_unavailable");
        assert_non_null(http_response_header(&response, "Retry-After", retry_after, sizeof retry_after));
    }
    http_response_free(&response);
    return status;
}

static int get(const char *path)
{
    struct call call = {.path = path, .verb = "GET", .authorization = ""};
    struct http_response response;

    http_through_nginx(&stack, &call, &response);
    http_response_free(&response);
    return response.status;
}

/* Sends it until the database has it: a busy machine may need more than one deadline to connect. */
static void await_200(const char *id)
{
    int64_t deadline = clock_now_ms() + SANITY_MS;

    while (upsert(id) != 200) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(50);
    }
}

static void await_ready(void)
{
    int64_t deadline = clock_now_ms() + SANITY_MS;

    while (get("readyz") != 200) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(50);
    }
}

static void postgres_stopped_means_503_and_started_again_means_200(void **state)
{
    int64_t before;

    await_200("stop");
    assert_int_equal(get("readyz"), 200);
    stack_stop_postgres(&stack, SIGINT);
    before = clock_now_ms();
    assert_int_equal(upsert("stop"), 503);
    assert_true(clock_now_ms() - before < SANITY_MS);
    assert_int_equal(get("readyz"), 503);
    assert_int_equal(get("healthz"), 200);
    before = clock_now_ms();
    for (int i = 0; i < 2 * SANITY_MS / DEADLINE_MS;
         i++) { /* at once, for it is away longer than a deadline */
        assert_int_equal(upsert("stop"), 503);
    }
    assert_true(clock_now_ms() - before < SANITY_MS); /* half of what they would wait, one after the other */
    stack_start_postgres(&stack, "-c fsync=off");
    await_200("back");
    assert_int_equal(get("readyz"), 200);
}

static void a_paused_postgres_is_given_up_in_time(void **state)
{
    int64_t before;

    await_200("pause");
    stack_pause_postgres(&stack);
    before = clock_now_ms();
    assert_int_equal(upsert("pause"), 503);
    assert_true(clock_now_ms() - before < SANITY_MS);
    stack_resume_postgres(&stack);
    await_200("back");
}

static void restart_worker(const char *const settings[])
{
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
}

/* A ledger that must have no refusal, of eight clients; so the worker is patient meanwhile. */
static struct ledger *open_ledger(const char *name)
{
    restart_worker(patient);
    return ledger_open(&stack, 8, name, PATIENT_MS);
}

static void close_ledger(struct ledger *ledger)
{
    struct ledger_figures figures;

    ledger_close(ledger, &figures);
    assert_int_equal(figures.refused + figures.cut_off, 0);
    restart_worker(short_deadline);
}

static void a_terminated_connection_fails_no_request(void **state)
{
    struct ledger *ledger = open_ledger("terminated");

    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its connections */
    for (int i = 0; i < 10; i++) {
        clock_sleep_ms(100);
        stack_query(
            &stack,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'incidents_fcgi'");
    }
    close_ledger(ledger);
}

static void one_refused_item_fails_by_itself(void **state)
{
    struct ledger *ledger;

    stack_query(&stack, "ALTER TABLE intake.incident ADD CONSTRAINT poison CHECK (reference_id <> 'poison')");
    ledger = open_ledger("beside-poison");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(upsert("poison"), 500);
    }
    close_ledger(ledger);
    stack_query(&stack, "ALTER TABLE intake.incident DROP CONSTRAINT poison");
}

static void a_locked_incident_delays_itself_alone(void **state)
{
    static const struct call call = {.path = "incidents.upsert",
                                     .body = "{\"reference_id\":\"locked\",\"started_at\":\"2024-01-05\"}"};
    struct ledger *ledger;
    struct http_response response;
    PGconn *locker;

    await_200("locked");
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'locked'");
    ledger = open_ledger("beside-a-lock");
    /* Nobody can say yet whether a resend changes nothing. */
    assert_int_equal(upsert("locked"), 503);
    http_through_nginx(&stack, &call, &response);
    assert_int_equal(response.status, 503);
    http_response_free(&response);
    stack_let_go(locker);
    close_ledger(ledger);
}

static void send_in_hand(struct load_client *client)
{
    char body[128];
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    snprintf(body, sizeof body, "{\"reference_id\":\"hand%zu\",\"started_at\":\"2024-01-05\"}",
             client->number);
    load_send(client, &call, 200, &response);
    http_response_free(&response);
}

enum { IN_HAND = 80 }; /* more than a batch holds */

/* Starts clients that the database keeps waiting, and waits until the worker has taken them all in, each on a
 * connection of its own. */
static struct load *start_in_hand(void)
{
    size_t before = worker_descriptors(&stack);
    int64_t give_up_ms = clock_now_ms() + SANITY_MS;
    struct load *load = load_start(&stack, IN_HAND, send_in_hand, NULL);

    while (worker_descriptors(&stack) < before + IN_HAND) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(20);
    }
    return load;
}

static void a_stop_responses_the_requests_in_hand(int signal_number)
{
    PGconn *locker;
    struct load *load;

    restart_worker(long_deadline);
    locker = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    load = start_in_hand();
    assert_int_equal(kill(stack.worker, signal_number), 0);
    clock_sleep_ms(100);
    assert_int_equal(kill(stack.worker, signal_number), 0); /* a second one is harmless */
    clock_sleep_ms(100);
    stack_let_go(locker);
    load_join(load);
    assert_int_equal(process_wait(stack.worker, SANITY_MS), 0);
    stack_start_worker(&stack, short_deadline);
    await_200("back");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id LIKE 'hand%'"), "80");
    stack_query(&stack, "DELETE FROM intake.incident");
}

static void requests_that_wait_for_the_database_delay_no_other(void **state)
{
    PGconn *locker;
    struct load *load;
    int64_t before;

    restart_worker(long_deadline);
    locker = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    load = start_in_hand();
    stack_await_lock_wait(&stack);
    before = clock_now_ms();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(get("healthz"), 200);
    }
    assert_true(clock_now_ms() - before < SANITY_MS); /* else they waited for those that do */
    stack_let_go(locker);
    load_join(load);
    restart_worker(short_deadline);
}

/* What became of the requests of a load. */
struct tally {
    atomic_size_t stored;
    atomic_size_t refused;
};

static void send_and_count(struct load_client *client, const char *id)
{
    struct tally *tally = client->context;
    char body[128], retry_after[16];
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-05\"}", id);
    http_through_nginx(client->stack, &call, &response);
    if (response.status == 200) {
        atomic_fetch_add(&tally->stored, 1);
    } else if (response.status == 503 &&
               strcmp(http_response_text(&response, "error"), "service_unavailable") == 0 &&
               http_response_header(&response, "Retry-After", retry_after, sizeof retry_after) != NULL) {
        atomic_fetch_add(&tally->refused, 1);
    } else {
        load_fail(client, "%d %s", response.status, response.body);
    }
    http_response_free(&response);
}

static void send_the_first(struct load_client *client)
{
    send_and_count(client, "full");
}

static void send_to_full(struct load_client *client)
{
    char id[32];

    snprintf(id, sizeof id, "full%zu", client->number);
    send_and_count(client, id);
}

static void a_full_queue_refuses_at_once_and_says_when_to_come_again(void **state)
{
    static const char *const settings[] = {"INCIDENTS_DB_POOL_SIZE=1", "INCIDENTS_QUEUE_MAX=4",
                                           "INCIDENTS_REQUEST_TIMEOUT_MS=30000", NULL};
    int64_t give_up_ms;
    struct tally tally = {0};
    struct load *first, *others;
    PGconn *locker;

    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    locker = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    first = load_start(&stack, 1, send_the_first, &tally); /* is under way, */
    stack_await_lock_wait(&stack);
    others = load_start(&stack, 11, send_to_full, &tally); /* of which four wait for it */
    give_up_ms = clock_now_ms() + 20000;
    while (atomic_load(&tally.refused) < 11 - 4 && clock_now_ms() < give_up_ms) {
        clock_sleep_ms(5);
    }
    stack_let_go(locker);
    load_join(first);
    load_join(others);
    assert_int_equal(atomic_load(&tally.refused), 11 - 4);
    assert_int_equal(atomic_load(&tally.stored), 1 + 4);
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id LIKE 'full%'"), "5");
    free(await_in_file(stack.worker_log, "because too many requests wait for it"));
    stack_query(&stack, "DELETE FROM intake.incident");
    stack_stop_worker(&stack);
    stack_start_worker(&stack, short_deadline);
}

static void sigterm_responses_the_requests_in_hand(void **state)
{
    a_stop_responses_the_requests_in_hand(SIGTERM);
}

static void sigint_responses_the_requests_in_hand(void **state)
{
    a_stop_responses_the_requests_in_hand(SIGINT);
}

static const char count_sessions[] = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi'";

static void await_sessions(const char *count)
{
    int64_t give_up_ms = clock_now_ms() + SANITY_MS;

    while (strcmp(stack_query(&stack, count_sessions), count) != 0) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(5);
    }
}

static void an_unchanged_resend_writes_no_row_version(void **state)
{
    static const char body[] =
        "{\"reference_id\":\"same\",\"started_at\":\"2024-01-01\",\"name\":\"n\",\"metadata\":{\"a\":1},"
        "\"services\":[{\"identifier\":\"a\",\"name\":\"A\"},{\"identifier\":\"b\"}]}";
    static const char versions[] =
        "SELECT format('%s %s', xmin, updated_at) FROM intake.incident WHERE reference_id = 'same'";
    static const char counters[] = "SELECT string_agg(format('%s %s %s %s', relname, n_tup_ins, n_tup_upd, "
                                   "n_tup_del), ',' ORDER BY relname) "
                                   "FROM pg_stat_user_tables WHERE relname LIKE 'incident%'";
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;
    char before[256], counted[256], sessions[16];

    await_ready(); /* the worker has its session */
    snprintf(sessions, sizeof sessions, "%s", stack_query(&stack, count_sessions));
    /* As CGI, because a session reports its counters when it ends. */
    http_as_cgi(&stack, &call, &response);
    assert_string_equal(http_response_text(&response, "action"), "created");
    http_response_free(&response);
    await_sessions(sessions);
    snprintf(before, sizeof before, "%s", stack_query(&stack, versions));
    snprintf(counted, sizeof counted, "%s", stack_query(&stack, counters));
    assert_string_equal(counted, "incident 1 0 0,incident_change 0 0 0");
    for (int i = 0; i < 20; i++) {
        http_as_cgi(&stack, &call, &response);
        assert_string_equal(http_response_text(&response, "action"), "unchanged");
        http_response_free(&response);
    }
    await_sessions(sessions);
    assert_string_equal(stack_query(&stack, versions), before);
    assert_string_equal(stack_query(&stack, counters), counted);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .settings = short_deadline};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(an_unchanged_resend_writes_no_row_version),
        cmocka_unit_test(postgres_stopped_means_503_and_started_again_means_200),
        cmocka_unit_test(a_paused_postgres_is_given_up_in_time),
        cmocka_unit_test(a_terminated_connection_fails_no_request),
        cmocka_unit_test(one_refused_item_fails_by_itself),
        cmocka_unit_test(a_locked_incident_delays_itself_alone),
        cmocka_unit_test(requests_that_wait_for_the_database_delay_no_other),
        cmocka_unit_test(a_full_queue_refuses_at_once_and_says_when_to_come_again),
        cmocka_unit_test(sigterm_responses_the_requests_in_hand),
        cmocka_unit_test(sigint_responses_the_requests_in_hand),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
