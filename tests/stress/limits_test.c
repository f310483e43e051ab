/* Out of everything but memory for a single request (exhaustion_test): descriptors, threads, stack, and
 * memory for many large requests at once. Nothing of it ends the worker, keeps it busy, or outlasts itself.
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
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/scarcity.h"

#if defined(__SANITIZE_ADDRESS__)
enum { HAS_ADDRESS_SANITIZER = 1 };
#else
enum { HAS_ADDRESS_SANITIZER = 0 };
#endif

enum {
    TIMEOUT_MS = 20000, /* for what a busy machine may take long for */
    BODY_LIMIT = 1024 * 1024,
    PEERS_MAX = 64,
};

static struct stack stack;
static size_t descriptor_limit; /* of a worker that has one */

static const char *const settings[] = {"INCIDENTS_DB_POOL_SIZE=1", "INCIDENTS_REQUEST_TIMEOUT_MS=1000", NULL};

/* ---- Helpers ---- */

static void check_alive(const char *what)
{
    if (stack.worker == 0 || process_wait(stack.worker, 0) >= 0) {
        stack.worker = 0;
        fail_msg("%s: the worker has ended, see %s", what, stack.worker_log);
    }
}

/* A small upsert; its status, 0 where there was no response. */
static int ask(void)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"small\",\"started_at\":\"2024-01-01\"}"};
    struct http_response response;

    fastcgi_exchange(&stack, &request, &response);
    http_response_free(&response);
    return response.status;
}

/* The same of a machine that may be too busy to store it in time: asks again then. */
static int ask_until_in_time(void)
{
    int64_t give_up_ms = clock_now_ms() + TIMEOUT_MS;
    int status = ask();

    while (status == 503 && clock_now_ms() < give_up_ms) {
        status = ask();
    }
    return status;
}

/* How long it takes until one is answered 200. */
static int64_t await_service(const char *what)
{
    int64_t before_ms = clock_now_ms();

    while (ask() != 200) {
        check_alive(what);
        if (clock_now_ms() - before_ms > TIMEOUT_MS) {
            fail_msg("%s: the worker does not serve any more", what);
        }
    }
    return clock_now_ms() - before_ms;
}

/* Waits until the worker's descriptors are as many as they stay: what has hung up is closed by then. */
static void await_quiet(void)
{
    enum { ROUNDS = 10, ROUND_MS = 20 };
    size_t last = 0;

    for (int unchanged = 0; unchanged < ROUNDS; clock_sleep_ms(ROUND_MS)) {
        size_t now = worker_descriptors(&stack);

        unchanged = now == last ? unchanged + 1 : 0;
        last = now;
    }
}

/* Waits until the worker serves, without Postgres: it listens before it has begun. */
static void await_start(void)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz"};
    struct http_response response;

    assert_int_equal(fastcgi_exchange(&stack, &request, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
    await_quiet();
}

/* Starts the worker behind a line of sh; its socket listens before. */
static void start_behind(const char *line)
{
    char path[STACK_PATH_MAX], program[STACK_PATH_MAX];
    FILE *script;

    snprintf(path, sizeof path, "%s/limited", stack.directory);
    script = fopen(path, "we");
    assert_non_null(script);
    fprintf(script, "#!/bin/sh\n%s\nexec '%s' \"$@\"\n", line, stack.program);
    assert_int_equal(fchmod(fileno(script), 0755), 0);
    assert_int_equal(fclose(script), 0);
    memcpy(program, stack.program, sizeof program);
    memcpy(stack.program, path, sizeof path);
    stack_start_worker(&stack, settings);
    memcpy(stack.program, program, sizeof program);
}

/* Starts the worker anew, with a limit that it cannot raise: an argument of ulimit (1p), "" for none. Nobody
 * has asked it anything yet. */
static void restart_unasked(const char *limit)
{
    char line[64] = "";

    if (*limit != '\0') {
        snprintf(line, sizeof line, "ulimit %s", limit);
    }
    stack_stop_worker(&stack);
    start_behind(line);
}

static void restart_worker(const char *limit)
{
    restart_unasked(limit);
    await_start();
}

/* The same with about so many descriptors more than it has after its start: the limit is on their numbers,
 * and what it inherits may be above. */
static void restart_unasked_with_descriptors(size_t more)
{
    char limit[32];

    restart_worker("");
    descriptor_limit = worker_descriptors(&stack) + more;
    snprintf(limit, sizeof limit, "-n %zu", descriptor_limit);
    restart_unasked(limit);
}

/* ---- Descriptors ---- */

/* Peers that connect and send so much, more of them than the worker has descriptors for. */
static void use_up_descriptors(const char *what, const void *bytes, size_t len)
{
    enum { SPARE = 6 };
    const int watch_ms = stress_amount(1000, 5000);
    size_t many = PEERS_MAX;
    int fds[PEERS_MAX];
    int64_t recovery_ms;
    int meanwhile;
    long cpu_ms;

    restart_unasked_with_descriptors(SPARE + 1); /* one is for Postgres */
    await_start();
    await_service(what);
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        fastcgi_send(fds[i], bytes, len);
    }
    cpu_ms = worker_cpu_ms(&stack);
    clock_sleep_ms(watch_ms);
    cpu_ms = worker_cpu_ms(&stack) - cpu_ms;
    check_alive(what);
    meanwhile = ask_until_in_time();
    for (size_t i = 0; i < many; i++) {
        close(fds[i]);
    }
    recovery_ms = await_service(what);
    figures_row("%s|%zu for about %d descriptors|%ld ms in %d ms|%d|%lld ms", what, many, SPARE, cpu_ms,
                watch_ms, meanwhile, (long long)recovery_ms);
    if (cpu_ms > watch_ms / 2) {
        fail_msg("%s: the worker used %ld ms of processor time in %d ms", what, cpu_ms, watch_ms);
    }
    if (meanwhile != 200) {
        fail_msg("%s: a good request was answered %d meanwhile", what, meanwhile);
    }
}

static void without_descriptors_the_worker_waits_and_recovers(void **state)
{
    const struct fastcgi_request request = {.path = "incidents.upsert", .content_length = "1000"};
    struct buffer half;

    figures_table("Descriptors", "connections|many|processor time|a good request meanwhile|answered after");
    use_up_descriptors("that say nothing", "", 0);
    buffer_init(&half, FASTCGI_BYTES_MAX);
    fastcgi_append_head(&half, &stack, &request);
    use_up_descriptors("with half a request", half.data, half.len);
    buffer_free(&half);
}

/* How many descriptors more the worker may open. What it has inherited above its limit does not count. */
static size_t free_descriptors(void)
{
    char path[64];
    size_t count = 0;

    for (size_t number = 0; number < descriptor_limit; number++) {
        struct stat link;

        snprintf(path, sizeof path, "/proc/%d/fd/%zu", (int)stack.worker, number);
        count += lstat(path, &link) != 0 ? 1 : 0;
    }
    return count;
}

/* Opens a connection that stays, and that the worker has accepted: it has answered on it, without Postgres.
 */
static int connect_and_stay(void)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz", .keep = true};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;
    struct http_response response;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
    buffer_free(&bytes);
    return fd;
}

/* Opens connections until the worker has no more than so many descriptors left. Returns how many. It may be
 * asked of a worker alone that has had no other connection: one that is about to be closed would be counted.
 */
static size_t fill_descriptors(int *fds, size_t spare)
{
    size_t count = 0;

    do {
        assert_true(count < PEERS_MAX);
        fds[count++] = connect_and_stay();
    } while (free_descriptors() > spare);
    assert_int_equal(free_descriptors(), spare);
    return count;
}

/* The worker has one descriptor left: a request gets it, and the connection to Postgres none. */
static void without_a_descriptor_for_postgres_the_response_is_503_in_time(void **state)
{
    int fds[PEERS_MAX], status;
    int64_t took_ms;
    size_t count;

    restart_unasked_with_descriptors(8);
    count = fill_descriptors(fds, 1);
    took_ms = clock_now_ms();
    status = ask();
    took_ms = clock_now_ms() - took_ms;
    check_alive("no descriptor for Postgres");
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
    figures_row("one request, and none for Postgres|1|||%d after %lld ms, then 200 after %lld ms", status,
                (long long)took_ms, (long long)await_service("descriptors are back"));
    assert_int_equal(status, 503);
}

/* Linux says that there is no descriptor left before it looks whether anybody waits for one. */
static void while_nobody_waits_for_a_descriptor_no_request_is_given_up(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"slow\",\"started_at\":\"2024-01-01\"}"};
    int fds[PEERS_MAX], slow;
    struct buffer bytes;
    struct http_response response;
    enum fastcgi_end end;
    size_t count;

    restart_unasked_with_descriptors(8);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    slow = fastcgi_connect(stack.worker_socket);
    assert_true(fastcgi_send(slow, bytes.data, bytes.len / 2));
    count = fill_descriptors(fds, 0);
    for (size_t i = 0; i < count; i++) { /* Postgres gets one of theirs */
        close(fds[i]);
    }
    assert_true(fastcgi_send(slow, bytes.data + bytes.len / 2, bytes.len - bytes.len / 2));
    end = fastcgi_receive(slow, TIMEOUT_MS, &response);
    close(slow);
    buffer_free(&bytes);
    assert_int_equal(end, FASTCGI_ANSWERED);
    http_response_free(&response);
}

/* Has peers connect as soon as there is a socket, and lets the worker start then; they go when it is killed.
 * A process of its own, for the start of the worker is waited for here. */
static pid_t fill_the_socket(const char *go)
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        while (!http_is_listening(stack.worker_socket)) {
            clock_sleep_ms(1);
        }
        for (int i = 0; i < PEERS_MAX; i++) {
            fastcgi_connect(stack.worker_socket);
        }
        _exit(mkdir(go, S_IRWXU) == 0 && pause() != 0 ? 0 : 1);
    }
    return pid;
}

/* A worker that is restarted under load finds connections waiting: they may not take the descriptors that it
 * starts with. */
static void those_that_wait_for_the_worker_do_not_keep_it_from_starting(void **state)
{
    char go[STACK_PATH_MAX], line[STACK_PATH_MAX + 128];
    size_t limit;

    restart_worker("");
    limit = worker_descriptors(&stack) + 8;
    for (int round = 0; round < 5; round++) {
        pid_t clients;

        snprintf(go, sizeof go, "%s/go-%d", stack.directory, round);
        snprintf(line, sizeof line, "ulimit -n %zu; while [ ! -e %s ]; do sleep 0.01; done", limit, go);
        stack_stop_worker(&stack);
        clients = fill_the_socket(go);
        start_behind(line);
        assert_int_equal(process_stop(clients, SIGKILL), 128 + SIGKILL);
        await_service("behind a full socket at its start");
    }
}

/* ---- Threads ---- */

/* Waits until the worker says that it serves; its status where it ends before, else -1. */
static int await_serving(pid_t pid, const char *log)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    bool serves = false;
    int status = -1;

    while (!serves && status < 0 && clock_now_ms() < deadline_ms) {
        char *text = read_whole_file(log);

        serves = strstr(text, "serving FastCGI") != NULL;
        free(text);
        status = process_wait(pid, 20);
    }
    return status;
}

/* RLIMIT_NPROC counts what a user has in the whole system, and stops setpriv before it stops the worker: so
 * it is pthread_create that says no, as it would. */
static void a_thread_refused_at_the_start_ends_the_worker_with_a_message(void **state)
{
    enum { THREADS = 2 };
    static const char *const messages[] = {
        " error unable to start: thread for the log: ",
        " error unable to start: thread that opens database connections: "};
    const char *const argv[] = {"scripts/service", "worker", NULL, stack.program, NULL};
    const char *words[5];
    struct scarcity scarcity;

    memcpy(words, argv, sizeof words);
    scarcity_open(&scarcity, &stack);
    figures_table("Threads", "refused|ended with|after");
    for (long number = 1; number <= THREADS + 1; number++) {
        const char *environment[SCARCITY_ENTRIES + 3] = {settings[0], settings[1]};
        char socket[160], log[160], *text;
        int64_t before_ms = clock_now_ms();
        int status;
        pid_t pid;

        memcpy(environment + 2, scarcity.environment, sizeof scarcity.environment);
        snprintf(socket, sizeof socket, "%s/threads-%ld.sock", stack.directory, number);
        snprintf(log, sizeof log, "%s/threads-%ld.log", stack.directory, number);
        words[2] = socket;
        scarcity_refuse_threads(&scarcity, number, LONG_MAX);
        pid = process_start(words, environment, log);
        status = number > THREADS ? await_serving(pid, log) : process_wait(pid, TIMEOUT_MS);
        if (status < 0) {
            assert_int_equal(process_stop(pid, SIGTERM), 0);
        }
        text = read_whole_file(log);
        figures_row("%ld|%s|%lld ms", number, status < 0 ? "nothing, it serves" : "1 and a message",
                    (long long)(clock_now_ms() - before_ms));
        if (number <= THREADS && (status != EXIT_FAILURE || strstr(text, messages[number - 1]) == NULL)) {
            fail_msg("thread %ld refused: the worker ended with %d: %s", number, status, text);
        }
        if (number > THREADS && (status >= 0 || strstr(text, "serving FastCGI") == NULL)) {
            fail_msg("it needs more than %d threads: %s", THREADS, text);
        }
        free(text);
    }
    scarcity_close(&scarcity);
}

/* ---- Stack ---- */

enum { DEEPEST = 100 };

struct deep {
    const char *what;
    size_t levels;
    const char *opening, *closing; /* of each level */
    int status;
};

static const struct deep deep[] = {
    /* metadata is a level itself, in the body, which is one */
    {"arrays at the limit", DEEPEST - 2, "[", "]", 200},
    {"objects at the limit", DEEPEST - 2, "{\"a\":", "}", 200},
    {"arrays, one level too deep", DEEPEST - 1, "[", "]", 422},
    {"1 MiB of opening brackets", 1000 * 1000, "[", "", 422},
    {"1 MiB of objects", 200 * 1000, "{\"a\":", "", 422},
    {"1 MiB of levels and their ends", 500 * 1000, "[", "]", 422},
};

static void append_levels(struct buffer *body, const char *text, size_t levels)
{
    for (size_t i = 0; i < levels; i++) {
        buffer_append_text(body, text);
    }
}

static void write_deep(const struct deep *d, struct buffer *body)
{
    buffer_init(body, 2 * BODY_LIMIT);
    buffer_append_text(body, "{\"reference_id\":\"deep\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":");
    append_levels(body, d->opening, d->levels);
    buffer_append_text(body, "1");
    append_levels(body, d->closing, d->levels);
    buffer_append_text(body, "}}");
    assert_true(body->len <= BODY_LIMIT);
}

/* How it is answered as CGI with a stack of so many KiB; 128 and a signal's number where that is too small.
 */
static int ask_on_stack(const struct buffer *body, rlim_t kib)
{
    const struct call call = {.path = "incidents.upsert", .body = body->data, .body_len = body->len};
    const struct outcome *outcome;
    struct rlimit before, limits;
    struct http_response response;

    assert_int_equal(getrlimit(RLIMIT_STACK, &before), 0);
    limits = before;
    limits.rlim_cur = kib * 1024;
    assert_int_equal(setrlimit(RLIMIT_STACK, &limits), 0); /* this thread's own is there already */
    outcome = http_run_cgi(&stack, &call, NULL, &response);
    assert_int_equal(setrlimit(RLIMIT_STACK, &before), 0);
    http_response_free(&response);
    return outcome->status == 0 ? response.status : outcome->status;
}

static void the_deepest_json_needs_no_more_stack_than_any(void **state)
{
    /* AddressSanitizer lays a wall around each variable. */
    const rlim_t small_kib = HAS_ADDRESS_SANITIZER ? 1024 : 256;

    figures_table("Stack", "body|worker|plain CGI on a small stack");
    for (size_t i = 0; i < sizeof deep / sizeof deep[0]; i++) {
        struct fastcgi_request request = {.path = "incidents.upsert"};
        struct http_response response;
        struct buffer body;
        int status;

        write_deep(&deep[i], &body);
        request.body = body.data;
        request.body_len = body.len;
        fastcgi_exchange(&stack, &request, &response);
        status = ask_on_stack(&body, small_kib);
        figures_row("%s|%d|%d (%zu KiB)", deep[i].what, response.status, status, (size_t)small_kib);
        if (response.status != deep[i].status || status != deep[i].status) {
            fail_msg("%s: should be answered %d, was %d %s; on a small stack %d", deep[i].what,
                     deep[i].status, response.status, response.body, status);
        }
        http_response_free(&response);
        buffer_free(&body);
        check_alive(deep[i].what);
    }
    await_service("behind deep bodies");
}

/* ---- Memory ---- */

struct storm {
    const char *body; /* of nearly the limit; '@' is where the client's number goes */
    size_t len;
    int each; /* requests of a client */
    atomic_long stored, refused, unavailable, closed;
};

static void send_large(struct load_client *client)
{
    struct storm *storm = client->context;
    char *body = malloc(storm->len + 1), number[8];

    snprintf(number, sizeof number, "%03zu", client->number);
    memcpy(body, storm->body, storm->len + 1);
    memcpy(strchr(body, '@'), number, 3);
    for (int i = 0; i < storm->each && !load_is_stopping(client); i++) {
        const struct fastcgi_request request = {
            .path = "incidents.upsert", .body = body, .body_len = storm->len};
        struct http_response response;

        fastcgi_exchange(client->stack, &request, &response);
        switch (response.status) {
        case 0:
            atomic_fetch_add(&storm->closed, 1);
            break;
        case 200:
            atomic_fetch_add(&storm->stored, 1);
            break;
        case 500:
            atomic_fetch_add(&storm->refused, 1);
            break;
        case 503:
            atomic_fetch_add(&storm->unavailable, 1);
            break;
        default:
            load_fail(client, "answered %d %s", response.status, response.body);
        }
        http_response_free(&response);
    }
    free(body);
}

static void many_large_bodies_and_little_memory_do_not_end_the_worker(void **state)
{
    enum { CLIENTS = 24, MORE_KIB = 12 * 1024 };
    struct storm storm = {.each = stress_amount(10, 200)};
    struct buffer body;
    char limit[32];
    int64_t recovery_ms;

    figures_table("Memory for many: 24 clients, bodies of 1 MiB, 12 MiB more than at rest",
                  "limit|stored|500|503|no response|a small one answered after");
    if (HAS_ADDRESS_SANITIZER) {
        figures_row("RLIMIT_AS: NOT TRIED, for AddressSanitizer takes terabytes of address space|||||");
        return;
    }
    buffer_init(&body, 2 * BODY_LIMIT);
    buffer_append_text(
        &body, "{\"reference_id\":\"large @@@\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":\"");
    append_levels(&body, "0123456789", 104000);
    buffer_append_text(&body, "\"}}");
    storm.body = body.data;
    storm.len = body.len;
    restart_worker("");
    await_service("before the storm");
    snprintf(limit, sizeof limit, "-v %ld", worker_memory_kib(&stack, "VmSize:") + MORE_KIB);
    restart_worker(limit);
    load_run(&stack, CLIENTS, send_large, &storm);
    check_alive("large bodies and little memory");
    recovery_ms = await_service("behind large bodies, with little memory still");
    figures_row("RLIMIT_AS|%ld|%ld|%ld|%ld|%lld ms", storm.stored, storm.refused, storm.unavailable,
                storm.closed, (long long)recovery_ms);
    buffer_free(&body);
    assert_true(storm.refused + storm.unavailable + storm.closed > 0); /* else it was not little */
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .settings = settings, .start = await_start};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(without_descriptors_the_worker_waits_and_recovers),
        cmocka_unit_test(those_that_wait_for_the_worker_do_not_keep_it_from_starting),
        cmocka_unit_test(without_a_descriptor_for_postgres_the_response_is_503_in_time),
        cmocka_unit_test(while_nobody_waits_for_a_descriptor_no_request_is_given_up),
        cmocka_unit_test(a_thread_refused_at_the_start_ends_the_worker_with_a_message),
        cmocka_unit_test(the_deepest_json_needs_no_more_stack_than_any),
        cmocka_unit_test(many_large_bodies_and_little_memory_do_not_end_the_worker),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
