/* Several processes on one socket: all of them serve, and count together; whichever is killed is started
 * again, and takes nothing along that was answered; all of them stop, whatever becomes of the parent. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

enum { PROCESSES = 3, CLIENTS = 8, KILLS = 6, DEADLINE_MS = 50000, TIMEOUT_MS = 60000 };

static const char killed[] = "was ended by signal 9 (Killed), this one replaces it";

static struct stack stack;

static struct stack_metrics metrics;
static const char *const settings[] = {"INCIDENTS_PROCESSES=3", "INCIDENTS_DB_POOL_SIZE=1",
                                       "INCIDENTS_REQUEST_TIMEOUT_MS=50000", metrics.setting, NULL};

/* ---- Looking at processes ---- */

/* The state of a process as proc(5) has it, 0 where there is none any more; and its parent. */
static char state_of(pid_t pid, pid_t *parent)
{
    char path[64], state = 0, *text;
    const char *behind_name;
    int number = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    text = read_whole_file(path);
    behind_name = strrchr(text, ')');
    if (behind_name == NULL || sscanf(behind_name, ") %c %d", &state, &number) != 2 || state == 'Z') {
        state = 0;
    }
    free(text);
    *parent = number;
    return state;
}

/* The processes that the worker's parent has now; how many. */
static size_t find_processes(pid_t pids[PROCESSES])
{
    DIR *directory = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        pid_t parent, pid = (pid_t)strtol(entry->d_name, NULL, 10);

        if (pid > 0 && state_of(pid, &parent) != 0 && parent == stack.worker) {
            assert_true(count < PROCESSES);
            pids[count++] = pid;
        }
    }
    closedir(directory);
    return count;
}

/* Until all of them run, and none of those is `gone`. */
static void await_processes(pid_t pids[PROCESSES], pid_t gone)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t parent;

    while (state_of(gone, &parent) != 0 || find_processes(pids) != PROCESSES) {
        assert_true(clock_now_ms() < deadline_ms);
        clock_sleep_ms(5);
    }
}

/* Its processor time, in proc(5)'s clock ticks. */
static unsigned long time_of(pid_t pid)
{
    char path[64], *text;
    const char *behind_name;
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    text = read_whole_file(path);
    behind_name = strrchr(text, ')');
    if (behind_name != NULL) {
        sscanf(behind_name, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
    }
    free(text);
    return user + system;
}

/* Of those that run, the one that has worked most: it has the most in hand. */
static pid_t find_busiest(const pid_t pids[PROCESSES])
{
    pid_t busiest = pids[0];

    for (size_t i = 1; i < PROCESSES; i++) {
        busiest = time_of(pids[i]) > time_of(busiest) ? pids[i] : busiest;
    }
    return busiest;
}

static void await_end(const pid_t pids[PROCESSES])
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t parent;

    for (size_t i = 0; i < PROCESSES; i++) {
        while (state_of(pids[i], &parent) != 0) {
            assert_true(clock_now_ms() < deadline_ms);
            clock_sleep_ms(5);
        }
    }
    assert_false(http_is_listening(stack.worker_socket)); /* nobody holds the socket */
}

/* Has all but one stand still, which then serves alone. */
static void let_only(pid_t one, const pid_t pids[PROCESSES])
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t parent;

    for (size_t i = 0; i < PROCESSES; i++) {
        assert_int_equal(kill(pids[i], pids[i] == one ? SIGCONT : SIGSTOP), 0);
        while ((state_of(pids[i], &parent) == 'T') != (pids[i] != one)) {
            assert_true(clock_now_ms() < deadline_ms);
            clock_sleep_ms(1);
        }
    }
}

static void let_all(const pid_t pids[PROCESSES])
{
    for (size_t i = 0; i < PROCESSES; i++) {
        assert_int_equal(kill(pids[i], SIGCONT), 0);
    }
}

/* ---- Requests ---- */

static double value_of(const char *series)
{
    const struct fastcgi_request scrape = {
        .verb = "GET", .path = "metrics", .authorization = metrics.authorization};
    struct http_response response;
    const char *line;
    double value = -1;

    assert_int_equal(fastcgi_exchange(&stack, &scrape, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    line = strstr(response.body, series);
    if (line != NULL) {
        value = strtod(line + strlen(series), NULL);
    }
    http_response_free(&response);
    return value;
}

static void await_value(const char *series, double wanted)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    double value;

    while ((value = value_of(series)) != wanted) {
        if (clock_now_ms() > deadline_ms) {
            fail_msg("%s is %g, not %g", series, value, wanted);
        }
        clock_sleep_ms(20);
    }
}

/* Sends an upsert on a connection of its own, whose answer is still to come. */
static int begin_upsert(const char *name, size_t number)
{
    int fd = fastcgi_connect(stack.worker_socket);
    char body[128];
    const struct fastcgi_request request = {.path = "incidents.upsert", .body = body};
    struct buffer bytes;

    snprintf(body, sizeof body, "{\"reference_id\":\"%s %zu\",\"started_at\":\"2024-01-01\"}", name, number);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    return fd;
}

static void end_upsert(int fd)
{
    struct http_response response;

    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
    close(fd);
}

/* A request in hand of each process, which waits for what the holder has locked. */
static PGconn *begin_one_of_each(const char *name, const pid_t pids[PROCESSES], int fds[PROCESSES])
{
    PGconn *holder = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;

    for (size_t i = 0; i < PROCESSES; i++) {
        let_only(pids[i], pids);
        fds[i] = begin_upsert(name, i);
        while ((size_t)strtol(stack_query(&stack, "SELECT count(*) FROM pg_locks WHERE NOT granted"), NULL,
                              10) <= i) {
            assert_true(clock_now_ms() < deadline_ms);
            clock_sleep_ms(5);
        }
    }
    let_all(pids);
    return holder;
}

static void expect_stored(const char *name)
{
    assert_string_equal(stack_query_for(&stack,
                                        "SELECT count(*)::text FROM intake.incident "
                                        "WHERE starts_with(reference_id, $1)",
                                        name),
                        "3");
}

static void start_worker(void)
{
    stack_start_worker(&stack, settings);
}

/* ---- Tests ---- */

static void all_of_them_serve_and_count_together(void **state)
{
    static const char created[] =
        "\nincidents_requests_total{method=\"incidents.upsert\",outcome=\"created\"} ";
    pid_t pids[PROCESSES];

    await_processes(pids, 0);
    await_value("\nincidents_processes ", PROCESSES);
    for (size_t i = 0; i < PROCESSES; i++) {
        let_only(pids[i], pids);
        end_upsert(begin_upsert("served", i));
        assert_true(value_of(created) == (double)i + 1);
        assert_true(value_of("\nincidents_processes ") == PROCESSES);
    }
    let_all(pids);
    await_value("\nincidents_database_connections ", PROCESSES);
    expect_stored("served");
}

static void one_that_is_killed_is_started_again_and_nothing_that_got_200_is_lost(void **state)
{
    struct ledger *ledger = ledger_open(&stack, CLIENTS, "killed", DEADLINE_MS);
    struct ledger_figures figures;
    pid_t pids[PROCESSES];
    int64_t recovery_ms = 0;

    await_processes(pids, 0);
    for (size_t i = 0; i < KILLS; i++) {
        pid_t victim;

        ledger_await_recovery(ledger, &recovery_ms);
        victim = find_busiest(pids);
        assert_int_equal(kill(victim, SIGKILL), 0);
        ledger_await_recovery(ledger, &recovery_ms);
        await_processes(pids, victim);
    }
    ledger_close(ledger, &figures);
    assert_true(figures.kept > 0);
    print_message("%zu requests answered 200, %zu cut off by %d kills\n", figures.kept, figures.cut_off,
                  KILLS);
    free(await_in_file(stack.worker_log, killed));

    /* What the dead held is not counted any more. */
    await_value("\nincidents_processes ", PROCESSES);
    await_value("\nincidents_queue_length ", 0);
    await_value("\nincidents_processes_without_database ", 0);
    assert_true(value_of("\nincidents_database_connections ") <= PROCESSES);
}

static void one_that_is_killed_keeps_nobody_else_from_a_response(void **state)
{
    int fds[PROCESSES];
    pid_t pids[PROCESSES];
    struct http_response response;
    PGconn *holder;

    await_processes(pids, 0);
    holder = begin_one_of_each("bystander", pids, fds);
    assert_int_equal(kill(pids[0], SIGKILL), 0);
    assert_int_equal(fastcgi_receive(fds[0], TIMEOUT_MS, &response), FASTCGI_CLOSED);
    http_response_free(&response);
    close(fds[0]);
    stack_let_go(holder);
    for (size_t i = 1; i < PROCESSES; i++) {
        end_upsert(fds[i]);
    }
    await_processes(pids, pids[0]);
    end_upsert(begin_upsert("bystander", 0)); /* what got no response may be sent again */
    expect_stored("bystander");
}

static void a_signal_to_the_parent_has_all_respond_to_what_has_come(void **state)
{
    int fds[PROCESSES];
    pid_t pids[PROCESSES];
    PGconn *holder;

    await_processes(pids, 0);
    holder = begin_one_of_each("drained", pids, fds);
    assert_int_equal(kill(stack.worker, SIGTERM), 0);
    stack_let_go(holder);
    for (size_t i = 0; i < PROCESSES; i++) {
        end_upsert(fds[i]);
    }
    assert_int_equal(process_wait(stack.worker, TIMEOUT_MS), 0);
    await_end(pids);
    expect_stored("drained");
    start_worker();
}

static void every_signal_that_stops_one_worker_stops_all(void **state)
{
    static const int signals[] = {SIGINT, SIGHUP, SIGUSR1, SIGXCPU};
    static const char *const lines[] = {"stopping: SIGINT\n", "stopping: SIGHUP (there is no reload)\n",
                                        "stopping: SIGUSR1 (there is no reload)\n", "stopping: SIGXCPU\n"};
    pid_t pids[PROCESSES];

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        await_processes(pids, 0);
        assert_int_equal(process_stop(stack.worker, signals[i]), 0);
        await_end(pids);
        free(await_in_file(stack.worker_log, lines[i]));
        start_worker();
    }
}

static void a_parent_that_is_killed_leaves_nobody_behind_and_no_request_without_a_response(void **state)
{
    int fds[PROCESSES];
    pid_t pids[PROCESSES];
    PGconn *holder;

    await_processes(pids, 0);
    holder = begin_one_of_each("orphaned", pids, fds);
    assert_int_equal(process_stop(stack.worker, SIGKILL), 128 + SIGKILL);
    stack_let_go(holder);
    for (size_t i = 0; i < PROCESSES; i++) {
        end_upsert(fds[i]);
    }
    await_end(pids);
    expect_stored("orphaned");
    start_worker();
}

/* The status of a worker that ends by itself. */
static int run_worker(const char *setting)
{
    const char *const argv[] = {"scripts/service", "worker", stack.worker_socket, stack.program, NULL};
    const char *const environment[] = {"INCIDENTS_PROCESSES=3", setting, NULL};
    int status = process_wait(process_start(argv, environment, stack.worker_log), TIMEOUT_MS);

    assert_false(http_is_listening(stack.worker_socket));
    return status;
}

static void a_worker_that_cannot_start_ends_with_1(void **state)
{
    stack_stop_worker(&stack);
    assert_int_equal(run_worker("INCIDENTS_PROCESSES=0"), 1);
    assert_int_equal(run_worker("INCIDENTS_THREADS=2"), 1);
    assert_int_equal(run_worker("INCIDENTS_LOG=/nonexistent/log"), 1);
    free(await_in_file(stack.worker_log, "INCIDENTS_PROCESSES must be a whole number from 1 to 64"));
    free(await_in_file(stack.worker_log, "INCIDENTS_THREADS is no longer a setting"));
    free(await_in_file(stack.worker_log, "INCIDENTS_LOG=/nonexistent/log: No such file or directory"));
    start_worker();
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .settings = settings, .metrics_token = metrics.token};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(all_of_them_serve_and_count_together),
        cmocka_unit_test(one_that_is_killed_is_started_again_and_nothing_that_got_200_is_lost),
        cmocka_unit_test(one_that_is_killed_keeps_nobody_else_from_a_response),
        cmocka_unit_test(a_signal_to_the_parent_has_all_respond_to_what_has_come),
        cmocka_unit_test(every_signal_that_stops_one_worker_stops_all),
        cmocka_unit_test(a_parent_that_is_killed_leaves_nobody_behind_and_no_request_without_a_response),
        cmocka_unit_test(a_worker_that_cannot_start_ends_with_1),
    };

    stack_name_metrics(&metrics);
    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
