/* What goes wrong beneath and around the worker, under continuous load, with a ledger of every response:
 * nothing that was answered 200 is lost, no request waits past its deadline, and requests are stored again
 * once the database has returned. How soon is in the figures: a busy machine takes its time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases/between.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

enum { CLIENTS = 12, DEADLINE_MS = 1500, PATIENT_MS = 15000 };

static struct stack stack;

static const char *const settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=1500", NULL};
static const char *const patient[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=15000", NULL};

/* As durable as Postgres is by itself, and small enough that it can be used up. No segment of the log is kept
 * for later: an orderly stop leaves next to nothing of it, however much was written. */
static const char durable[] = "-c max_connections=20 -c wal_recycle=off";

static void restart_worker(const char *const with[])
{
    stack_stop_worker(&stack);
    stack_start_worker(&stack, with);
}

static struct ledger *open_ledger(const char *name)
{
    return ledger_open(&stack, CLIENTS, name, DEADLINE_MS);
}

static void close_ledger(struct ledger *ledger, const char *what, int times, int64_t recovery_ms)
{
    struct ledger_figures figures;

    ledger_close(ledger, &figures);
    ledger_row(what, times, &figures, recovery_ms);
}

static void repeat(const char *name, const char *what, int times, void (*fault)(int number))
{
    struct ledger *ledger = open_ledger(name);
    int64_t slowest_ms = ledger_repeat(ledger, times, fault);

    close_ledger(ledger, what, times, slowest_ms);
}

static void kill_postgres(int number)
{
    stack_stop_postgres(&stack, SIGKILL);
    clock_sleep_ms(
        number % 2 == 0 ? 0 : DEADLINE_MS + LEDGER_PAUSE_MS); /* long enough to be refused at once, too */
    stack_start_postgres(&stack, durable);
}

static void postgres_is_killed(void **state)
{
    repeat("killed", "Postgres killed (SIGKILL) and started again", stress_amount(3, 20), kill_postgres);
}

static void restart_postgres(int number)
{
    (void)number;
    stack_stop_postgres(&stack, SIGINT);
    stack_start_postgres(&stack, durable);
}

static void postgres_stops_in_an_orderly_way(void **state)
{
    repeat("stopped", "Postgres stopped and started (an upgrade)", stress_amount(1, 10), restart_postgres);
}

static void sessions_are_terminated_at_random(void **state)
{
    struct ledger *ledger = open_ledger("terminated");
    int times = stress_amount(60, 500), terminated = 0;
    struct ledger_figures figures;
    unsigned seed = 6;

    while (terminated < times) {
        terminated +=
            atoi(stack_query(&stack, "SELECT count(pg_terminate_backend(pid)) FROM (SELECT pid FROM "
                                     "pg_stat_activity WHERE usename = 'incidents_fcgi' "
                                     "ORDER BY random() LIMIT 1) one"));
        clock_sleep_ms(rand_r(&seed) % 40);
    }
    ledger_close(ledger, &figures);
    ledger_row("a session ended by pg_terminate_backend", terminated, &figures, -1);
    assert_int_equal(figures.cut_off, 0);
}

static void stop_postgres_for_two_deadlines(int number)
{
    (void)number;
    stack_pause_postgres_for(&stack, 2 * DEADLINE_MS);
}

static void postgres_stands_still_for_longer_than_the_deadline(void **state)
{
    repeat("still", "Postgres hangs (SIGSTOP) for two deadlines", stress_amount(1, 10),
           stop_postgres_for_two_deadlines);
}

/* What lies in its socket is read when its clients have been told long ago that it was not stored. The
 * sessions take turns. */
static void stop_a_session_for_two_deadlines(int number)
{
    stack_pause_session_for(&stack, number, 2 * DEADLINE_MS);
}

static void a_session_stands_still_for_longer_than_the_deadline(void **state)
{
    repeat("session", "a session hangs (SIGSTOP) for two deadlines", stress_amount(4, 50),
           stop_a_session_for_two_deadlines);
}

static void kill_worker(int number)
{
    (void)number;
    process_stop(stack.worker, SIGKILL);
    stack_start_worker(&stack, settings);
}

static void the_worker_is_killed(void **state)
{
    repeat("worker", "the worker killed (SIGKILL) and started again", stress_amount(3, 20), kill_worker);
}

static void nginx_is_reloaded(void **state)
{
    struct ledger *ledger;
    int times = stress_amount(3, 20);
    struct ledger_figures figures;

    restart_worker(patient); /* a busy machine is not to be taken for a refusal */
    ledger = ledger_open(&stack, CLIENTS, "reloaded", PATIENT_MS);
    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        assert_int_equal(kill(stack.nginx, SIGHUP), 0);
    }
    clock_sleep_ms(LEDGER_PAUSE_MS);
    ledger_close(ledger, &figures);
    ledger_row("nginx reloaded", times, &figures, -1);
    restart_worker(settings);
    assert_int_equal(figures.refused + figures.cut_off, 0);
}

/* ---- The database refuses ---- */

/* What others hold: until they let go, the worker gets no connection. */
static void connections_are_used_up(void **state)
{
    struct ledger *ledger;
    PGconn *others[32];
    int times = stress_amount(1, 5), count;
    int64_t slowest_ms = 0;

    ledger = open_ledger("crowded");
    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        count = 0;
        /* Each round ends the worker's sessions and takes their places, until it has none. */
        while (strcmp(stack_query(&stack, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                                          "WHERE usename = 'incidents_fcgi'"),
                      "0") != 0 ||
               count == 0 || PQstatus(others[count - 1]) == CONNECTION_OK) {
            if (count > 0 && PQstatus(others[count - 1]) != CONNECTION_OK) {
                PQfinish(others[--count]);
            }
            assert_true(count < 32);
            others[count++] = PQconnectdb(stack.owner_url);
        }
        clock_sleep_ms(DEADLINE_MS + LEDGER_PAUSE_MS);
        while (count > 0) {
            PQfinish(others[--count]);
        }
        ledger_await_recovery(ledger, &slowest_ms);
    }
    assert_true(stack_count_in_log(&stack, "remaining connection slots are reserved") > 0);
    close_ledger(ledger, "all connections used up by others", times, slowest_ms);
}

/* That incident's requests are refused; no other's is. */
static void a_row_is_locked(void **state)
{
    struct ledger *ledger = open_ledger("row");
    int times = stress_amount(1, 5);
    struct ledger_figures figures;

    for (int i = 0; i < times; i++) {
        PGconn *locker;

        while (strcmp(stack_query(&stack,
                                  "SELECT count(*) FROM intake.incident WHERE reference_id = 'row-shared-1'"),
                      "1") != 0) {
            clock_sleep_ms(10);
        }
        locker =
            stack_hold(&stack, "UPDATE intake.incident SET name = name WHERE reference_id = 'row-shared-1'");
        clock_sleep_ms(2 * DEADLINE_MS);
        stack_let_go(locker);
        clock_sleep_ms(LEDGER_PAUSE_MS);
    }
    ledger_close(ledger, &figures);
    ledger_row("a row locked by another session for two deadlines", times, &figures, -1);
    assert_between(figures.refused, 1, 3 * CLIENTS * (size_t)times);
    assert_int_equal(figures.cut_off, 0);
}

static void lock_table_for_two_deadlines(int number)
{
    PGconn *locker;

    (void)number;
    locker = stack_hold(&stack, "LOCK TABLE intake.incident IN ACCESS EXCLUSIVE MODE");
    clock_sleep_ms(2 * DEADLINE_MS);
    stack_let_go(locker);
}

static void the_table_is_locked(void **state)
{
    repeat("table", "the table locked for two deadlines", stress_amount(1, 5), lock_table_for_two_deadlines);
}

/* What the next release might bring: a column that makes Postgres write the table anew, an index, and the
 * function that all requests call replaced by a newer one. */
static const char next_migration[] =
    "BEGIN; "
    "ALTER TABLE intake.incident ADD COLUMN severity text DEFAULT md5(random()::text); "
    "CREATE INDEX incident_severity ON intake.incident (severity); "
    "DO $$ BEGIN EXECUTE pg_get_functiondef((SELECT oid FROM pg_proc WHERE proname = 'apply_batch' "
    "AND pronamespace = 'intake'::regnamespace)); END $$; "
    "SELECT pg_sleep(0.3); "
    "INSERT INTO intake.migration (version, name) SELECT max(version) + 1, 'next' FROM intake.migration; "
    "COMMIT";
static const char and_back[] = "BEGIN; ALTER TABLE intake.incident DROP COLUMN severity; "
                               "DELETE FROM intake.migration WHERE name = 'next'; COMMIT";

static void run_as_owner(const char *sql)
{
    PGresult *result = PQexec(stack.owner, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(stack.owner));
    }
    PQclear(result);
}

static void a_migration_runs(void **state)
{
    struct ledger *ledger = open_ledger("migrated");
    int times = stress_amount(2, 10);
    int64_t slowest_ms = 0;

    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        run_as_owner(next_migration);
        ledger_await_recovery(ledger, &slowest_ms);
        clock_sleep_ms(LEDGER_PAUSE_MS);
        run_as_owner(and_back);
        ledger_await_recovery(ledger, &slowest_ms);
    }
    close_ledger(ledger, "a migration that rewrites the table, and back", times, slowest_ms);
}

/* A worker that is newer than the schema refuses, until incidentctl has migrated while the load goes on. */
static void an_older_schema_is_migrated(void **state)
{
    struct ledger *ledger;
    int64_t slowest_ms = 0;

    /* As it was before the last migration, which apply_batch does without. */
    run_as_owner(
        "DELETE FROM intake.migration WHERE name = 'roles'; DROP TABLE intake.group_role; "
        "DROP FUNCTION intake.grant_roles, intake.revoke_role, intake.name_roles, intake.databases_with, "
        "intake.reporting_relations");
    ledger = open_ledger("older");
    clock_sleep_ms(LEDGER_PAUSE_MS);
    assert_int_equal(stack_control(&stack, NULL, "migrate", NULL)->status, 0);
    ledger_await_recovery(ledger, &slowest_ms);
    clock_sleep_ms(LEDGER_PAUSE_MS);
    close_ledger(ledger, "incidentctl migrate, to the worker's version", 1, slowest_ms);
}

/* ---- The disk is full ---- */

/* The log is what runs out, the worst case: Postgres panics. */
static const char little_log[] =
    "-c max_connections=20 -c max_wal_size=32MB -c min_wal_size=32MB -c wal_recycle=off";

/* Fills the file system to its last byte with a file, as far as root's privilege goes. */
static void fill(const char *path)
{
    static const char zeros[64 * 1024];
    FILE *file = fopen(path, "ae");
    size_t size = sizeof zeros;

    assert_non_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    while (size > 0) {
        if (fwrite(zeros, 1, size, file) != size) {
            size /= 2; /* the last pages one by one */
        }
    }
    fclose(file);
}

/* Whether Postgres commits something. */
static bool can_write(void)
{
    PGconn *connection = PQconnectdb(stack.owner_url);
    PGresult *result = PQexec(connection, "SELECT pg_logical_emit_message(true, 'faults', 'room again')");
    bool can = PQresultStatus(result) == PGRES_TUPLES_OK;

    PQclear(result);
    PQfinish(connection);
    return can;
}

/* While the disk is full, Postgres recovers and panics in turn, or has ended; a supervisor starts it again
 * then. */
static void await_room(void)
{
    int64_t give_up_ms = clock_now_ms() + 60000;

    while (!can_write()) {
        assert_true(clock_now_ms() < give_up_ms);
        if (process_wait(stack.postgres, 20) >= 0) {
            stack_start_postgres(&stack, little_log);
        }
    }
}

static void run_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void run_shell(const char *format, ...)
{
    char command[512];
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    assert_int_equal(process_run(argv, NULL, NULL, 0)->status, 0);
}

/* Puts Postgres's directory onto a small file system of its own, and back. What the trials before have
 * stored, and have looked at, does not go along: nobody knows how much it is. */
static void move_to_small_disk(const char *data)
{
    run_as_owner("TRUNCATE intake.incident");
    stack_stop_postgres(&stack, SIGINT);
    run_shell("cp -a %s %s.copy", data, data);
    assert_int_equal(mount("incidents-test", data, "tmpfs", 0, "size=256m,mode=0700"), 0);
    run_shell("cp -a %s.copy/. %s/ && rm -rf %s.copy", data, data, data);
    stack_start_postgres(&stack, little_log);
}

static void move_back(const char *data)
{
    stack_stop_postgres(&stack, SIGINT);
    run_shell("cp -a %s %s.copy", data, data);
    assert_int_equal(umount(data), 0);
    run_shell("rm -rf %s && mv %s.copy %s", data, data, data);
    stack_start_postgres(&stack, durable);
}

static void the_disk_is_full(void **state)
{
    int times = stress_amount(1, 5);
    char data[128], ballast[160];
    struct ledger *ledger;
    int64_t slowest_ms = 0;

    if (geteuid() != 0) {
        print_message("only root can make a file system of its own for this one\n");
        skip();
    }
    snprintf(data, sizeof data, "%s/data", stack.directory);
    snprintf(ballast, sizeof ballast, "%s/ballast", data);
    move_to_small_disk(data);
    ledger = open_ledger("full");
    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        fill(ballast);
        clock_sleep_ms(2 * DEADLINE_MS);
        assert_int_equal(unlink(ballast), 0);
        await_room();
        ledger_await_recovery(ledger, &slowest_ms);
    }
    assert_true(stack_count_in_log(&stack, "No space left on device") > 0);
    close_ledger(ledger, "the disk full for two deadlines", times, slowest_ms);
    move_back(data);
}

static void start_durable_postgres(void)
{
    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its sessions */
    stack_stop_postgres(&stack, SIGINT);
    stack_start_postgres(&stack, durable);
    ledger_table("Faults under load");
}

/* A case that failed has left it. It goes when Postgres, which is on it, has ended. */
static void unmount(void)
{
    char data[128];

    snprintf(data, sizeof data, "%s/data", stack.directory);
    umount2(data, MNT_DETACH);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .settings = settings, .start = start_durable_postgres, .stop = unmount};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(postgres_is_killed),
        cmocka_unit_test(postgres_stops_in_an_orderly_way),
        cmocka_unit_test(sessions_are_terminated_at_random),
        cmocka_unit_test(postgres_stands_still_for_longer_than_the_deadline),
        cmocka_unit_test(a_session_stands_still_for_longer_than_the_deadline),
        cmocka_unit_test(the_worker_is_killed),
        cmocka_unit_test(nginx_is_reloaded),
        cmocka_unit_test(connections_are_used_up),
        cmocka_unit_test(a_row_is_locked),
        cmocka_unit_test(the_table_is_locked),
        cmocka_unit_test(a_migration_runs),
        cmocka_unit_test(an_older_schema_is_migrated),
        cmocka_unit_test(the_disk_is_full),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
