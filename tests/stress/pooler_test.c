/* PgBouncer in transaction mode between the worker and Postgres, with the settings that docs/operations.md
 * recommends, under continuous load: what is done to either of them loses nothing that was answered 200. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cases/between.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

enum {
    CLIENTS = 12,
    DEADLINE_MS = 1500, /* what takes longer is refused */
    PATIENT_MS = 20000, /* within that all of the rest is over, however busy the machine */
    PAUSE_MS = 500,
    START_MS = 20000,
    PORT = 6432,
};

static struct stack stack;
static pid_t pgbouncer;
static char admin_url[STACK_PATH_MAX];

static int64_t deadline_ms;

static void start_pgbouncer(void)
{
    char database[256], log[128];
    const char *const argv[] = {"scripts/service", "pgbouncer", stack.directory, database, NULL};
    int64_t give_up_ms = clock_now_ms() + START_MS;

    snprintf(database, sizeof database, "host=%s port=5432 user=incidents_fcgi", stack.directory);
    snprintf(log, sizeof log, "%s/pgbouncer.log", stack.directory);
    pgbouncer = process_start(argv, NULL, log);
    while (PQping(admin_url) != PQPING_OK) {
        if (clock_now_ms() > give_up_ms || process_wait(pgbouncer, 20) >= 0) {
            char *text = read_whole_file(log);

            fprintf(stderr, "%s\n", text);
            free(text);
            fail_msg("PgBouncer does not start");
        }
    }
}

/* A command of PgBouncer's administration. */
static void command(const char *text)
{
    PGconn *admin = PQconnectdb(admin_url);
    PGresult *result = PQexec(admin, text);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", text, PQerrorMessage(admin));
    }
    PQclear(result);
    PQfinish(admin);
}

/* The worker anew, with that deadline for what follows. */
static void restart_worker(int64_t new_deadline_ms)
{
    char setting[64];
    const char *const settings[] = {setting, NULL};

    deadline_ms = new_deadline_ms;
    snprintf(setting, sizeof setting, "INCIDENTS_REQUEST_TIMEOUT_MS=%lld", (long long)deadline_ms);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
}

static void close_ledger(struct ledger *ledger, const char *what, int times, int64_t recovery_ms)
{
    struct ledger_figures figures;

    ledger_close(ledger, &figures);
    ledger_row(what, times, &figures, recovery_ms);
    assert_int_equal(figures.cut_off, 0);
    assert_true(deadline_ms == DEADLINE_MS || figures.refused == 0);
}

static struct ledger *open_ledger(const char *name)
{
    return ledger_open(&stack, CLIENTS, name, deadline_ms);
}

static void repeat(const char *name, const char *what, int times, void (*fault)(int number))
{
    struct ledger *ledger = open_ledger(name);
    int64_t slowest_ms = ledger_repeat(ledger, times, fault);

    close_ledger(ledger, what, times, slowest_ms);
}

/* ---- What an administrator says to PgBouncer ---- */

static void its_administration_costs_no_request(void **state)
{
    static const char *const commands[] = {"RELOAD", "RECONNECT"};
    struct ledger *ledger = open_ledger("reconnected");
    int times = stress_amount(3, 20);

    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        command(commands[i % 2]);
    }
    clock_sleep_ms(LEDGER_PAUSE_MS);
    close_ledger(ledger, "PgBouncer: RELOAD, RECONNECT", times, -1);
}

static void pause_shortly(int number)
{
    (void)number;
    command("PAUSE");
    clock_sleep_ms(PAUSE_MS);
    command("RESUME");
}

static void a_pause_shorter_than_the_deadline_costs_no_request(void **state)
{
    repeat("paused", "PgBouncer: PAUSE for half a second, RESUME", stress_amount(1, 10), pause_shortly);
}

static void a_pause_longer_than_the_deadline_is_got_over(void **state)
{
    struct ledger *ledger;
    int times = stress_amount(1, 5);
    int64_t slowest_ms = 0;

    restart_worker(DEADLINE_MS);
    ledger = open_ledger("long");
    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        command("PAUSE");
        clock_sleep_ms(2 * DEADLINE_MS);
        command("RESUME");
        ledger_await_recovery(ledger, &slowest_ms);
    }
    close_ledger(ledger, "PgBouncer: PAUSE for two deadlines, RESUME", times, slowest_ms);
}

/* ---- What breaks ---- */

/* SIGINT: it waits for the statements that run, but for no client, in every version. */
static void kill_pgbouncer(int number)
{
    process_stop(pgbouncer, number % 2 == 0 ? SIGKILL : SIGINT);
    start_pgbouncer();
}

static void pgbouncer_is_killed(void **state)
{
    repeat("pooler", "PgBouncer killed, or stopped, and started again", stress_amount(2, 20), kill_pgbouncer);
}

static void kill_postgres(int number)
{
    stack_stop_postgres(&stack, SIGKILL);
    clock_sleep_ms(number % 2 == 0 ? 0 : DEADLINE_MS + LEDGER_PAUSE_MS);
    stack_start_postgres(&stack, NULL);
}

static void postgres_behind_it_is_killed(void **state)
{
    repeat("behind", "Postgres behind it killed and started again", stress_amount(1, 10), kill_postgres);
}

static void stop_postgres_for_two_deadlines(int number)
{
    (void)number;
    stack_pause_postgres_for(&stack, 2 * DEADLINE_MS);
}

static void postgres_behind_it_stands_still_for_longer_than_the_deadline(void **state)
{
    repeat("still", "Postgres behind it hangs for two deadlines", stress_amount(1, 5),
           stop_postgres_for_two_deadlines);
}

/* What lies in its socket is read when its clients have been told long ago that it was not stored. The
 * sessions take turns. */
static void stop_a_session_for_two_deadlines(int number)
{
    stack_pause_session_for(&stack, number, 2 * DEADLINE_MS);
}

static void a_session_behind_it_stands_still_for_longer_than_the_deadline(void **state)
{
    repeat("session", "a session behind it hangs for two deadlines", stress_amount(2, 50),
           stop_a_session_for_two_deadlines);
}

/* Those that have done something: PgBouncer takes one that ends while it logs in for a server that is down,
 * and waits. */
static void sessions_behind_it_are_terminated(void **state)
{
    struct ledger *ledger = open_ledger("terminated");
    int times = stress_amount(30, 300), terminated = 0;
    int64_t slowest_ms = 0;

    while (terminated < times) {
        terminated +=
            atoi(stack_query(&stack, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM "
                                     "pg_stat_activity WHERE usename = 'incidents_fcgi' AND query <> '' "
                                     "ORDER BY random() LIMIT 1) one"));
        ledger_await_recovery(ledger, &slowest_ms);
    }
    close_ledger(ledger, "a session behind it ended by pg_terminate_backend", terminated, slowest_ms);
}

/* ---- What belongs to a session ---- */

/* PgBouncer from 1.21 on knows which statements a client has prepared, and prepares them in each session that
 * it hands out. */
static bool pgbouncer_prepares(void)
{
    PGconn *admin = PQconnectdb(admin_url);
    PGresult *result = PQexec(admin, "SHOW CONFIG"); /* key, value, and more */
    bool prepares = false;

    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    for (int row = 0; row < PQntuples(result); row++) {
        prepares = prepares || (strcmp(PQgetvalue(result, row, 0), "max_prepared_statements") == 0 &&
                                strcmp(PQgetvalue(result, row, 1), "0") != 0);
    }
    PQclear(result);
    PQfinish(admin);
    return prepares;
}

/* The statement has a name in sessions that PgBouncer hands around; where it does not see to that itself, the
 * worker finds out, says so no more than once for each connection of its own (two workers have two each), and
 * sends the statement whole from then on. */
static void a_statement_that_is_prepared_elsewhere_is_sent_whole(void **state)
{
    char *log = read_whole_file(stack.worker_log);
    size_t count = 0, refused;

    for (const char *found = log; (found = strstr(found, "prepared statement \"apply_batch ")) != NULL;
         found++) {
        count++;
    }
    free(log);
    assert_between(count, 0, 4);
    refused = stack_count_in_log(&stack, "prepared statement \"apply_batch " VERSION "\" already exists") +
              stack_count_in_log(&stack, "prepared statement \"apply_batch " VERSION "\" does not exist");
    assert_int_equal(refused > 0, !pgbouncer_prepares());
}

static void put_pgbouncer_between(void)
{
    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its sessions */
    stack_stop_postgres(&stack, SIGINT);
    stack_start_postgres(&stack, NULL); /* durable */
    snprintf(admin_url, sizeof admin_url, "host=%s port=%d dbname=pgbouncer user=postgres", stack.directory,
             PORT);
    start_pgbouncer();
    snprintf(stack.worker_url, sizeof stack.worker_url,
             "postgresql:///incidents?host=%s&port=%d&user=incidents_fcgi&target_session_attrs=read-write",
             stack.directory, PORT);
    restart_worker(PATIENT_MS);
    ledger_table("Through PgBouncer, transaction mode");
}

static void stop_pgbouncer(void)
{
    process_stop(pgbouncer, SIGINT);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .start = put_pgbouncer_between, .stop = stop_pgbouncer};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(its_administration_costs_no_request),
        cmocka_unit_test(a_pause_shorter_than_the_deadline_costs_no_request),
        cmocka_unit_test(pgbouncer_is_killed),
        cmocka_unit_test(sessions_behind_it_are_terminated),
        cmocka_unit_test(a_pause_longer_than_the_deadline_is_got_over),
        cmocka_unit_test(postgres_behind_it_is_killed),
        cmocka_unit_test(postgres_behind_it_stands_still_for_longer_than_the_deadline),
        cmocka_unit_test(a_session_behind_it_stands_still_for_longer_than_the_deadline),
        cmocka_unit_test(a_statement_that_is_prepared_elsewhere_is_sent_whole),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
