/* A database that takes a connection and says nothing, name servers that are silent, and a clock that is set:
 * the worker's loop waits for none of them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi.h"
#include "harness/fixture.h"
#include "preload/late.h"

enum { TIMEOUT_MS = 3000, SANITY_MS = 60000, LOOKS_MIN = 5, SOCKET_PATH_MAX = STACK_PATH_MAX + 32 };

static struct stack stack;
static char worker_url[STACK_PATH_MAX]; /* of the real database */

static int ask(const char *verb, const char *path, const char *id)
{
    struct fastcgi_request request = {.verb = verb, .path = path};
    struct http_response response;
    char body[128];
    int status;

    if (id != NULL) {
        snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", id);
        request.body = body;
        request.body_len = strlen(body);
    }
    fastcgi_exchange(&stack, &request, &response);
    status = response.status;
    http_response_free(&response);
    return status;
}

static void send_upsert(struct load_client *member)
{
    int *status = member->context;

    *status = ask("POST", "incidents.upsert", "late");
}

static void start_worker(const char *const settings[], const char *url)
{
    assert_true(snprintf(stack.worker_url, sizeof stack.worker_url, "%s", url) <
                (int)sizeof stack.worker_url);
    stack_start_worker(&stack, settings);
    snprintf(stack.worker_url, sizeof stack.worker_url, "%s", worker_url);
}

static void await_200(const char *id)
{
    int64_t give_up_ms = clock_now_ms() + SANITY_MS;

    while (ask("POST", "incidents.upsert", id) != 200) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(20);
    }
}

/* While an upsert waits for a database that does not come, everything else is answered; it gets 503, and
 * nobody keeps the worker from a stop. */
static void expect_no_wait(void)
{
    struct load *load;
    int status = 0, looks = 0;

    load = load_start(&stack, 1, send_upsert, &status);
    for (int64_t until_ms = clock_now_ms() + TIMEOUT_MS / 2; clock_now_ms() < until_ms; looks++) {
        assert_int_equal(ask("GET", "healthz", NULL), 200);
    }
    assert_true(looks >= LOOKS_MIN);
    load_join(load);
    assert_int_equal(status, 503);
}

/* ---- A server that says nothing ---- */

static char silent_directory[STACK_PATH_MAX];
static int silent = -1;

static void socket_path(char path[SOCKET_PATH_MAX], const char *directory)
{
    snprintf(path, SOCKET_PATH_MAX, "%s/.s.PGSQL.5432", directory);
}

/* Its kernel takes connections, and it never does. */
static void start_silent_server(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[SOCKET_PATH_MAX];

    snprintf(silent_directory, sizeof silent_directory, "%s/silent", stack.directory);
    assert_int_equal(mkdir(silent_directory, 0755), 0);
    socket_path(path, silent_directory);
    assert_true(strlen(path) < sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    silent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(silent >= 0);
    assert_int_equal(bind(silent, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(listen(silent, 128), 0);
}

/* The real one is found in its place. */
static void end_silent_server(void)
{
    char path[SOCKET_PATH_MAX], real[SOCKET_PATH_MAX];

    socket_path(path, silent_directory);
    socket_path(real, stack.directory);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(real, path), 0);
    close(silent);
    silent = -1;
}

static void a_database_that_takes_connections_and_says_nothing_is_not_waited_for(void **state)
{
    static const char *const settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=3000", NULL};
    char url[STACK_PATH_MAX + 64];

    start_silent_server();
    snprintf(url, sizeof url, "host=%s dbname=incidents user=incidents_fcgi", silent_directory);
    start_worker(settings, url);
    expect_no_wait();
    stack_stop_worker(&stack); /* within a probe, or behind one */
    start_worker(settings, url);
    expect_no_wait();
    end_silent_server();
    await_200("spoken");
    stack_stop_worker(&stack);
}

/* ---- A server that takes no connection ---- */

enum { BACKLOG_FILLERS = 4 };

/* A port of TCP whose kernel lets further attempts hang, for the connections that wait there are too many. */
static int start_full_server(int *descriptor, int fillers[BACKLOG_FILLERS])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd last = {.events = POLLOUT};
    socklen_t len = sizeof address;

    *descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(*descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(*descriptor, (struct sockaddr *)&address, &len), 0);
    assert_int_equal(listen(*descriptor, 0), 0);
    for (int i = 0; i < BACKLOG_FILLERS; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fillers[i] >= 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    last.fd = fillers[BACKLOG_FILLERS - 1];
    assert_int_equal(poll(&last, 1, 100), 0); /* it hangs */
    return ntohs(address.sin_port);
}

static void a_database_that_takes_no_connection_is_not_waited_for(void **state)
{
    static const char *const settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=3000", NULL};
    int descriptor, fillers[BACKLOG_FILLERS], port;
    char url[STACK_PATH_MAX];

    port = start_full_server(&descriptor, fillers);
    snprintf(url, sizeof url, "host=127.0.0.1 port=%d dbname=incidents user=incidents_fcgi", port);
    start_worker(settings, url);
    expect_no_wait();
    stack_stop_worker(&stack);
    for (int i = 0; i < BACKLOG_FILLERS; i++) {
        close(fillers[i]);
    }
    close(descriptor);
}

/* ---- Name servers ---- */

/* The library, as scarcity.h has its own, and the file that it looks for. */
static void make_settings(const char *settings[5], const char *variable, const char *name)
{
    static char texts[2][STACK_PATH_MAX + 64];
    const char *end = strrchr(stack.program, '/');

    assert_non_null(end);
    snprintf(texts[0], sizeof texts[0], "LD_PRELOAD=%.*s/tests/preload/late.so", (int)(end - stack.program),
             stack.program);
    snprintf(texts[1], sizeof texts[1], "%s=%s/%s", variable, stack.directory, name);
    settings[0] = texts[0];
    settings[1] = texts[1];
    settings[2] = "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=1:abort_on_error=0:exitcode=99";
    settings[3] = "INCIDENTS_REQUEST_TIMEOUT_MS=3000";
    settings[4] = NULL;
}

static void name_servers_that_are_silent_are_not_waited_for(void **state)
{
    const char *settings[5];
    char path[STACK_PATH_MAX], url[2 * STACK_PATH_MAX];
    FILE *file;

    make_settings(settings, LATE_NAMES, "silent-names");
    snprintf(path, sizeof path, "%s/silent-names", stack.directory);
    /* Nobody listens at the host with a name; who has learned that goes on to the other one. */
    snprintf(url, sizeof url, "host=localhost,%s port=1,5432 dbname=incidents user=incidents_fcgi",
             stack.directory);
    file = fopen(path, "we");
    assert_non_null(file);
    fclose(file);
    start_worker(settings, url);
    expect_no_wait();
    stack_stop_worker(&stack); /* though the look for a name cannot be stopped */
    start_worker(settings, url);
    expect_no_wait();
    assert_int_equal(unlink(path), 0);
    await_200("named");
    stack_stop_worker(&stack);
}

/* ---- The clock ---- */

static void set_clock(long seconds)
{
    char path[STACK_PATH_MAX];
    FILE *file;

    snprintf(path, sizeof path, "%s/clock", stack.directory);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fprintf(file, "%ld", seconds) > 0);
    assert_int_equal(fclose(file), 0);
    chmod(path, 0644);
}

static void a_clock_that_is_set_back_and_forth_changes_nothing(void **state)
{
    static const long seconds[] = {0, -86400, 86400, -3600, 0, 315360000, -315360000, 0};
    const char *settings[5];
    char id[32], *log;

    set_clock(0);
    make_settings(settings, LATE_CLOCK, "clock");
    start_worker(settings, worker_url);
    await_200("clock");
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        set_clock(seconds[i]);
        for (int n = 0; n < 20; n++) {
            snprintf(id, sizeof id, "clock-%zu-%d", i, n);
            assert_int_equal(ask("POST", "incidents.upsert", id), 200);
        }
    }
    stack_stop_worker(&stack);
    log = read_whole_file(stack.worker_log); /* that it was another time for the worker */
    assert_true(strstr(log, "2036-") != NULL || strstr(log, "2016-") != NULL);
    free(log);
}

/* Its deadline is of a clock that nobody sets. */
static void a_request_waits_as_long_whatever_clock_is_set_meanwhile(void **state)
{
    static const long seconds[] = {315360000, -315360000};
    const char *settings[5];

    set_clock(0);
    make_settings(settings, LATE_CLOCK, "clock");
    start_worker(settings, worker_url);
    await_200("late");
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        PGconn *holder = stack_hold(&stack, "DELETE FROM intake.incident WHERE reference_id = 'late'");
        int64_t started_ms = clock_now_ms();
        int status = 0;
        struct load *load = load_start(&stack, 1, send_upsert, &status);

        stack_await_lock_wait(&stack);
        set_clock(seconds[i]);
        if (i == 0) { /* it waits on, until the lock is let go */
            clock_sleep_ms(TIMEOUT_MS / 4);
            stack_let_go(holder);
            load_join(load);
            assert_true(status == 200 || clock_now_ms() - started_ms >= TIMEOUT_MS * 9 / 10);
        } else { /* and no longer than its time */
            load_join(load);
            assert_int_equal(status, 503);
            stack_let_go(holder);
        }
    }
    stack_stop_worker(&stack);
}

static void keep_worker_url(void)
{
    snprintf(worker_url, sizeof worker_url, "%s", stack.worker_url);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_MIGRATED, .start = keep_worker_url};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_database_that_takes_connections_and_says_nothing_is_not_waited_for),
        cmocka_unit_test(a_database_that_takes_no_connection_is_not_waited_for),
        cmocka_unit_test(name_servers_that_are_silent_are_not_waited_for),
        cmocka_unit_test(a_clock_that_is_set_back_and_forth_changes_nothing),
        cmocka_unit_test(a_request_waits_as_long_whatever_clock_is_set_meanwhile),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
