/* A primary and a synchronous standby that change places under continuous load, with a ledger of every
 * response: nothing that was answered 200 is lost, and requests are stored again by themselves. And what is
 * not to be answered 200: what one server alone has, a former primary above all, though it could be written
 * to.
 */
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
#include "harness/cluster.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

enum {
    CLIENTS = 12,
    DEADLINE_MS = 1500,
    LONG_DEADLINE_MS = 50000,
    BETWEEN_MS = 400,
};

static struct stack stack;
static struct cluster cluster;

static const char read_write[] = "&target_session_attrs=read-write";
static const char *const settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=1500", NULL};

/* A host that has no response within its share of a request's time is passed over, so a busy machine may lead
 * a worker to the other host. This one waits for each host, longer than any machine takes. */
static const char long_timeout[] = "&connect_timeout=25";
static const char *const long_settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=50000", NULL};

static void note_slowest(int64_t *slowest_ms, int64_t recovery_ms)
{
    if (recovery_ms > *slowest_ms) {
        *slowest_ms = recovery_ms;
    }
}

/* Returns how many requests were answered 503. */
static size_t close_ledger(struct ledger *ledger, const char *what, int times, int64_t recovery_ms)
{
    struct ledger_figures figures;

    ledger_close(ledger, &figures);
    ledger_row(what, times, &figures, recovery_ms);
    assert_int_equal(figures.cut_off, 0);
    return figures.refused;
}

/* Sends an incident of that name; its action, "" where it was answered 503. Good until the next call. */
static const char *upsert(const char *reference_id, const char *name)
{
    static char action[16];
    char body[256];
    const struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"name\":\"%s\"}",
             reference_id, name);
    http_through_nginx(&stack, &call, &response);
    snprintf(action, sizeof action, "%s",
             response.status == 200 ? http_response_text(&response, "action") : "");
    if (response.status != 200) {
        assert_int_equal(response.status, 503);
    }
    http_response_free(&response);
    return action;
}

/* The same, until it is answered 200: then the primary has it. Returns the last action. */
static const char *upsert_in_the_end(const char *reference_id, const char *name)
{
    int64_t give_up_ms = clock_now_ms() + 60000;
    const char *action;
    PGresult *rows;

    while (*(action = upsert(reference_id, name)) == '\0') {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(20);
    }
    rows = stack_rows(&stack, "SELECT name FROM intake.incident WHERE reference_id = $1", reference_id);
    assert_int_equal(PQntuples(rows), 1);
    assert_string_equal(PQgetvalue(rows, 0, 0), name);
    PQclear(rows);
    return action;
}

/* Waits until the worker reaches the database, which says nothing yet of what that may confirm. */
static void await_ready(void)
{
    const struct call call = {.path = "readyz", .verb = "GET", .authorization = ""};
    int64_t give_up_ms = clock_now_ms() + 60000;
    int status;

    do {
        struct http_response response;

        http_through_nginx(&stack, &call, &response);
        status = response.status;
        http_response_free(&response);
        assert_true(clock_now_ms() < give_up_ms);
    } while (status != 200);
}

/* The worker anew, with a connection string that names that node first. */
static void restart_worker_with_first(size_t node, const char *more, const char *const with[])
{
    snprintf(stack.worker_url, sizeof stack.worker_url,
             "postgresql:///incidents?host=%s,%s&port=%zu,%zu&user=incidents_fcgi%s%s", stack.directory,
             stack.directory, CLUSTER_FIRST_PORT + node, CLUSTER_FIRST_PORT + CLUSTER_NODES - 1 - node, more,
             with == long_settings ? long_timeout : "");
    stack_stop_worker(&stack);
    stack_start_worker(&stack, with);
}

/* The number of the worker's sessions on a node, of those that the condition selects. */
static int count_sessions(size_t node, const char *condition)
{
    char sql[256];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND %s",
             condition);
    return atoi(cluster_query(&cluster, node, sql));
}

/* The same, and it has a connection to that node alone, on which nothing is under way. */
static void restart_worker_connected_to(size_t node, const char *const with[])
{
    do {
        restart_worker_with_first(node, read_write, with);
        await_ready();
    } while (count_sessions(node, "state = 'idle'") == 0 ||
             count_sessions(CLUSTER_NODES - 1 - node, "true") > 0);
}

static size_t count_in_worker_log(const char *text)
{
    char *log = read_whole_file(stack.worker_log);
    size_t count = 0;

    for (const char *found = log; (found = strstr(found, text)) != NULL; found++) {
        count++;
    }
    free(log);
    return count;
}

/* ---- The primary is gone ---- */

static void the_primary_is_killed_and_the_standby_promoted(void **state)
{
    struct ledger *ledger = ledger_open(&stack, CLIENTS, "killed", DEADLINE_MS);
    int times = stress_amount(2, 10);
    int64_t slowest_ms = 0;

    for (int i = 0; i < times; i++) {
        clock_sleep_ms(BETWEEN_MS);
        cluster_kill(&cluster, cluster.primary);
        clock_sleep_ms(i % 2 == 0 ? 0
                                  : DEADLINE_MS + BETWEEN_MS); /* long enough to be refused at once, too */
        note_slowest(&slowest_ms, ledger_await_200(ledger, cluster_promote(&cluster)));
        clock_sleep_ms(BETWEEN_MS);
        cluster_rejoin(&cluster);
    }
    close_ledger(ledger, "the primary killed, the standby promoted, and back", times, slowest_ms);
}

/* Its kernel goes on taking connections, on which nothing ever comes. */
static void the_primary_stands_still_and_the_standby_is_promoted(void **state)
{
    struct ledger *ledger = ledger_open(&stack, CLIENTS, "still", DEADLINE_MS);
    int times = stress_amount(1, 6);
    int64_t slowest_ms = 0;

    for (int i = 0; i < times; i++) {
        clock_sleep_ms(BETWEEN_MS);
        cluster_pause(&cluster, cluster.primary);
        clock_sleep_ms(DEADLINE_MS);
        note_slowest(&slowest_ms, ledger_await_200(ledger, cluster_promote(&cluster)));
        clock_sleep_ms(BETWEEN_MS);
        cluster_kill(&cluster, cluster_other(&cluster));
        cluster_rejoin(&cluster);
    }
    close_ledger(ledger, "the primary hangs (SIGSTOP), the standby promoted", times, slowest_ms);
}

/* ---- Split brain ---- */

/* Without target_session_attrs a standby looks like any server, until it says 25006. */
static void a_standby_that_is_first_in_the_connection_string_is_recognised(void **state)
{
    struct ledger *ledger;

    restart_worker_with_first(cluster_other(&cluster), "", long_settings);
    ledger = ledger_open(&stack, CLIENTS, "readonly", LONG_DEADLINE_MS);
    ledger_await_200(ledger, clock_now_ms());
    clock_sleep_ms(BETWEEN_MS);
    close_ledger(ledger, "a standby first in the connection string, no target_session_attrs", 1, -1);
    free(await_in_file(stack.worker_log, "this database is read-only"));
    restart_worker_with_first(cluster.primary, read_write, settings);
}

/* The old primary comes back, on its old address and ready to be written to, but with
 * synchronous_standby_names as it was; the worker meets it first. */
static void a_former_primary_confirms_nothing(void **state)
{
    size_t former = cluster.primary;
    struct ledger *ledger;
    int64_t recovery_ms;

    restart_worker_with_first(former, read_write, long_settings);
    upsert_in_the_end("moved", "old");
    cluster_kill(&cluster, former);
    cluster_promote(&cluster);
    upsert_in_the_end("moved", "new");
    cluster_start_again(&cluster, former);

    /* Who loses its connection goes back to where it was, not to the first in the list. */
    ledger = ledger_open(&stack, CLIENTS, "back", LONG_DEADLINE_MS);
    clock_sleep_ms(BETWEEN_MS);
    cluster_query(&cluster, cluster.primary,
                  "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                  "WHERE usename = 'incidents_fcgi'");
    ledger_await_200(ledger, clock_now_ms());
    close_ledger(ledger, "a former primary, sessions on the primary ended", 1, -1);
    assert_int_equal(count_sessions(former, "true"), 0);

    /* A worker that has just been started knows nothing. What the former primary has already is no exception.
     */
    restart_worker_connected_to(former, settings);
    assert_string_equal(upsert("moved", "old"), "");
    upsert_in_the_end("moved", "old");

    restart_worker_connected_to(former, settings);
    ledger = ledger_open(&stack, CLIENTS, "former", DEADLINE_MS);
    recovery_ms = ledger_await_200(ledger, clock_now_ms());
    clock_sleep_ms(BETWEEN_MS);
    assert_true(close_ledger(ledger, "a former primary that a new worker meets first", 1, recovery_ms) > 0);
}

/* ---- The standby is gone ---- */

static void await_in_worker_log(const char *text, size_t count)
{
    int64_t give_up_ms = clock_now_ms() + 60000;

    while (count_in_worker_log(text) < count) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(2);
    }
}

struct lone_request {
    char action[16];
    atomic_bool is_confirmed; /* and then there is the action */
};

/* Sends it until it is answered 200. */
static void send_alone(struct load_client *client)
{
    static const struct call call = {.path = "incidents.upsert",
                                     .body = "{\"reference_id\":\"alone\",\"started_at\":\"2024-01-01\"}"};
    struct lone_request *request = client->context;
    struct http_response response;
    int status;

    do {
        http_through_nginx(&stack, &call, &response);
        status = response.status;
        snprintf(request->action, sizeof request->action, "%s", http_response_text(&response, "action"));
        http_response_free(&response);
    } while (status == 503 && !load_is_stopping(client));
    atomic_store(&request->is_confirmed, status == 200);
    if (status != 200) {
        load_fail(client, "answered %d", status);
    }
}

/* Waits until a session of the worker waits for the standby; `function` is called with its pid. */
static void await_sync_rep(const char *function)
{
    char sql[256];

    snprintf(sql, sizeof sql,
             "SELECT count(%s(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' "
             "AND usename = 'incidents_fcgi'",
             function);
    cluster_await(&cluster, cluster.primary, sql, "1");
}

/* An administrator cancels what waits for the standby: it is committed on the primary then, and Postgres says
 * so with a warning and success. */
static void what_the_standby_has_not_confirmed_is_not_answered_200(void **state)
{
    static const char canceled[] = "canceling wait for synchronous replication";
    static struct lone_request request;
    size_t standby = cluster_other(&cluster);
    struct load *load;

    /* Whatever the role has been told to keep to itself. */
    stack_query(&stack, "ALTER ROLE incidents_fcgi SET client_min_messages = error");
    restart_worker_with_first(cluster.primary, read_write, long_settings);
    cluster_kill(&cluster, standby);
    load = load_start(&stack, 1, send_alone, &request);
    for (size_t i = 1; i <= 2; i++) { /* the first attempt has stored it, the second finds it unchanged */
        await_sync_rep("pg_cancel_backend");
        await_in_worker_log(canceled, i);
    }
    await_sync_rep("");
    assert_false(atomic_load(&request.is_confirmed));
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = 'alone'"), "1");

    /* What was committed is there after a crash, and the standby's word still missing. */
    cluster_kill(&cluster, cluster.primary);
    cluster_start_again(&cluster, cluster.primary);
    await_sync_rep("");
    assert_false(atomic_load(&request.is_confirmed));
    cluster_rejoin(&cluster);
    load_join(load);
    assert_string_equal(request.action, "unchanged");
    cluster_await(&cluster, standby, "SELECT count(*) FROM intake.incident WHERE reference_id = 'alone'",
                  "1");
}

static void start_cluster(void)
{
    cluster_start(&cluster, &stack);
    restart_worker_with_first(cluster.primary, read_write, settings);
    ledger_table("Failover");
}

static void stop_cluster(void)
{
    cluster_stop(&cluster);
}

int main(void)
{
    /* To remove incidents would wait for the standby that a failed case has left behind. */
    static const struct fixture fixture = {.stack = &stack,
                                           .settings = settings,
                                           .keeps_incidents = true,
                                           .start = start_cluster,
                                           .stop = stop_cluster};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_primary_is_killed_and_the_standby_promoted),
        cmocka_unit_test(the_primary_stands_still_and_the_standby_is_promoted),
        cmocka_unit_test(a_standby_that_is_first_in_the_connection_string_is_recognised),
        cmocka_unit_test(what_the_standby_has_not_confirmed_is_not_answered_200),
        cmocka_unit_test(a_former_primary_confirms_nothing),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
