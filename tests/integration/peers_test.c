/* What a peer of the worker's socket may do around its request, on a unix socket and over TCP: write on, hang
 * up, say that it sends no more, read nothing, or say nothing and be many. Each response goes whole to whom
 * it is for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/fixture.h"

enum { TIMEOUT_MS = 20000, ENOUGH_PEERS = 20 };

#define METRICS_TOKEN "0123456789abcdef0123456789abcdef"

/* The two workers of a stack, beside each other. */
enum kind { UNIX, TCP, KINDS };
static const char *const names[KINDS] = {"unix", "tcp"};

static struct stack stack;
static struct stack stacks[KINDS]; /* the same with each one's worker, for the harness */
static int tcp_port;

/* ---- Helpers ---- */

static int connect_to(enum kind kind)
{
    return kind == UNIX ? fastcgi_connect(stack.worker_socket) : fastcgi_connect_tcp(tcp_port);
}

static void send_request(int fd, const struct fastcgi_request *request)
{
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, request);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
}

static void send_upsert(int fd, const char *reference_id, bool keep)
{
    char body[128];
    const struct fastcgi_request request = {.keep = keep, .path = "incidents.upsert", .body = body};

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    send_request(fd, &request);
}

/* The response to that incident's upsert must be the next. */
static void expect(int fd, const char *what, const char *reference_id)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, TIMEOUT_MS, &response);

    if (end != FASTCGI_ANSWERED || response.status != 200 ||
        strcmp(http_response_text(&response, "reference_id"), reference_id) != 0) {
        fail_msg("%s: not answered, but %d, with %d %s", what, (int)end, response.status, response.body);
    }
    http_response_free(&response);
}

static void expect_end(int fd, const char *what)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, TIMEOUT_MS, &response);

    if (end != FASTCGI_CLOSED) {
        fail_msg("%s: the connection has not ended, but %d, with %d %s", what, (int)end, response.status,
                 response.body);
    }
    http_response_free(&response);
}

static void exchange(enum kind kind, const char *what, const char *reference_id)
{
    int fd = connect_to(kind);

    send_upsert(fd, reference_id, false);
    expect(fd, what, reference_id);
    close(fd);
}

/* ---- The time around a response ---- */

/* Writes behind the last record of a request that is answered. False where that took so long that the worker
 * need not have waited for it. */
static bool write_behind_the_last_record(enum kind kind, const char *reference_id)
{
    enum { LINGERING_MS = 2000, WRITES = 4, PAUSE_MS = 20 };
    int64_t started_ms = clock_now_ms();
    int fd = connect_to(kind);
    struct pollfd answered = {.fd = fd, .events = POLLIN};
    bool is_sent = true, is_in_time;
    struct buffer record;

    send_upsert(fd, reference_id, false);
    assert_int_equal(poll(&answered, 1, TIMEOUT_MS), 1);
    buffer_init(&record, 64);
    fastcgi_append_record(&record, 1, FASTCGI_STDIN, 1, "", 0);
    for (int i = 0; i < WRITES; i++) { /* over TCP the first is taken by a closed socket, too */
        clock_sleep_ms(PAUSE_MS);
        is_sent = fastcgi_send(fd, record.data, record.len) && is_sent;
    }
    buffer_free(&record);
    is_in_time = clock_now_ms() - started_ms < LINGERING_MS;
    if (is_in_time && !is_sent) {
        fail_msg("%s: the connection was closed before the peer was done", names[kind]);
    }
    if (is_in_time) {
        expect(fd, names[kind], reference_id);
        expect_end(fd, names[kind]);
    }
    close(fd);
    return is_in_time;
}

static void what_is_written_behind_the_last_record_takes_no_response_back(void **state)
{
    enum { ENOUGH = 3, TRIES = 60 };

    for (enum kind kind = UNIX; kind < KINDS; kind++) {
        int in_time = 0;

        for (int i = 0; i < TRIES && in_time < ENOUGH; i++) {
            in_time += write_behind_the_last_record(kind, "behind");
        }
        assert_int_equal(in_time, ENOUGH);
    }
}

/* A long response is several writes. Over TCP the second waits for the peer to acknowledge the first, where
 * nobody has said that it shall not; and a peer that is to send something soon takes 40 ms for that. Each
 * response would take so long then, on a busy machine or not. */
static void no_response_waits_for_an_acknowledgement(void **state)
{
    enum { REQUESTS = 80, WARM = 40, ACKNOWLEDGED_MS = 40 };
    const struct fastcgi_request request = {
        .keep = true, .verb = "GET", .path = "metrics", .authorization = "Bearer " METRICS_TOKEN};
    int64_t fastest_ms = TIMEOUT_MS;
    int fd = connect_to(TCP);

    for (int i = 0; i < REQUESTS; i++) {
        int64_t started_ms = clock_now_ms(), took_ms;
        struct http_response response;

        send_request(fd, &request);
        assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
        http_response_free(&response);
        took_ms = clock_now_ms() - started_ms;
        fastest_ms = i >= WARM && took_ms < fastest_ms ? took_ms : fastest_ms;
    }
    close(fd);
    if (fastest_ms >= ACKNOWLEDGED_MS - 5) {
        fail_msg("of %d responses the fastest took %lld ms", REQUESTS - WARM, (long long)fastest_ms);
    }
}

/* ---- While a request is in hand ---- */

/* What a peer does while it waits for its response. */
enum meanwhile { SAYS_NO_MORE, WRITES_ON, ABORTS, HANGS_UP, MEANWHILES };

static void do_meanwhile(int fd, enum meanwhile meanwhile)
{
    static const char noise[64 * 1024];
    struct buffer record;

    switch (meanwhile) {
    case SAYS_NO_MORE:
        shutdown(fd, SHUT_WR);
        break;
    case WRITES_ON:
        assert_true(fastcgi_send(fd, noise, sizeof noise));
        break;
    case ABORTS:
        buffer_init(&record, 64);
        fastcgi_append_record(&record, 1, FASTCGI_ABORT_REQUEST, 1, "", 0);
        assert_true(fastcgi_send(fd, record.data, record.len));
        buffer_free(&record);
        break;
    default:
        close(fd);
        break;
    }
}

/* Waits until the worker has so many descriptors. */
static void await_taken_in(const struct stack *worker, size_t descriptors)
{
    int64_t give_up_ms = clock_now_ms() + TIMEOUT_MS;

    while (worker_descriptors(worker) < descriptors) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(5);
    }
}

/* The numbers of the descriptors of those that have hung up are those of the next ones as soon as they are
 * closed. */
static void what_a_peer_does_while_its_request_waits_harms_no_response(void **state)
{
    enum { PEERS = ENOUGH_PEERS * MEANWHILES, WATCH_MS = 1000 };

    for (enum kind kind = UNIX; kind < KINDS; kind++) {
        int fds[PEERS], next[ENOUGH_PEERS];
        size_t before;
        PGconn *holder;
        char id[64];
        long cpu_ms;

        exchange(kind, "to begin with", "first");
        before = worker_descriptors(&stacks[kind]);
        holder = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
        for (int i = 0; i < PEERS; i++) {
            snprintf(id, sizeof id, "%s-%d", names[kind], i);
            fds[i] = connect_to(kind);
            send_upsert(fds[i], id, i / MEANWHILES % 2 == 0);
        }
        await_taken_in(&stacks[kind], before + PEERS - ENOUGH_PEERS);
        stack_await_lock_wait(&stack);
        for (int i = 0; i < PEERS; i++) {
            do_meanwhile(fds[i], (enum meanwhile)(i % MEANWHILES));
        }
        for (int i = 0; i < ENOUGH_PEERS; i++) {
            snprintf(id, sizeof id, "%s-next-%d", names[kind], i);
            next[i] = connect_to(kind);
            send_upsert(next[i], id, false);
        }
        cpu_ms = worker_cpu_ms(&stacks[kind]);
        clock_sleep_ms(WATCH_MS);
        cpu_ms = worker_cpu_ms(&stacks[kind]) - cpu_ms;
        stack_let_go(holder);
        for (int i = 0; i < PEERS; i++) {
            snprintf(id, sizeof id, "%s-%d", names[kind], i);
            if (i % MEANWHILES != HANGS_UP) {
                expect(fds[i], id, id);
                close(fds[i]);
            }
        }
        for (int i = 0; i < ENOUGH_PEERS; i++) {
            snprintf(id, sizeof id, "%s-next-%d", names[kind], i);
            expect(next[i], id, id);
            close(next[i]);
        }
        if (cpu_ms > WATCH_MS / 2) {
            fail_msg("%s: the worker used %ld ms while it waited for %d ms", names[kind], cpu_ms, WATCH_MS);
        }
    }
    assert_int_equal(strtol(stack_query(&stack, "SELECT count(*) FROM intake.incident"), NULL, 10),
                     1 + KINDS * (PEERS + ENOUGH_PEERS));
}

/* ---- A response that nobody reads ---- */

/* Asks again and again for what is long, and reads nothing, until the worker has closed the connection or so
 * many have been asked for. */
static int ask_and_never_read(enum kind kind)
{
    enum { MANY = 400, PAUSE_MS = 2 };
    const struct fastcgi_request request = {
        .keep = true, .verb = "GET", .path = "metrics", .authorization = "Bearer " METRICS_TOKEN};
    int fd = connect_to(kind);
    struct buffer bytes;
    bool is_taken = true;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (int i = 0; i < MANY && is_taken; i++) {
        is_taken = fastcgi_send(fd, bytes.data, bytes.len);
        clock_sleep_ms(PAUSE_MS); /* what comes behind a request before its response is not asked for */
    }
    buffer_free(&bytes);
    return fd;
}

static void check_long_response(enum kind kind)
{
    const struct fastcgi_request request = {
        .verb = "GET", .path = "metrics", .authorization = "Bearer " METRICS_TOKEN};
    int fd = connect_to(kind);
    struct http_response response;
    char length[32];

    send_request(fd, &request);
    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    assert_non_null(http_response_header(&response, "Content-Length", length, sizeof length));
    assert_int_equal(strlen(response.body), strtoul(length, NULL, 10));
    http_response_free(&response);
    close(fd);
}

static void a_response_that_nobody_reads_leaves_nothing_to_the_next(void **state)
{
    enum { PEERS = 3 };

    for (enum kind kind = UNIX; kind < KINDS; kind++) {
        int fds[PEERS];

        for (int i = 0; i < PEERS; i++) {
            fds[i] = ask_and_never_read(kind);
            check_long_response(kind);
            exchange(kind, "behind who never reads", "next");
        }
        for (int i = 0; i < PEERS; i++) {
            close(fds[i]);
        }
    }
}

/* ---- Many ---- */

/* Whether so many may be open in one process. */
static bool may_open(rlim_t descriptors)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < descriptors) {
        limit.rlim_cur = limit.rlim_max;
    }
    return limit.rlim_cur >= descriptors && setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

static void of_1000_connections_990_are_silent_and_ten_are_served(void **state)
{
    enum { SILENT = 990, GOOD = 10, SERVED = 500, SPARE = 200, MEMORY_MIB = 32 };
    static int fds[SILENT];
    const struct fastcgi_request request = {.path = "incidents.upsert", .body = "{\"reference_id\":"};
    struct buffer bytes;

    if (!may_open(SILENT + GOOD + SPARE)) {
        skip();
    }
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (enum kind kind = UNIX; kind < KINDS; kind++) {
        const struct stack *worker = &stacks[kind];
        struct background_load_figures figures;
        struct background_load *good;
        double memory;
        char name[32];

        exchange(kind, "to begin with", "first");
        memory = worker_memory(worker);
        for (int i = 0; i < SILENT; i++) { /* nothing, less than a record, and less than a request */
            fds[i] = connect_to(kind);
            assert_true(i % 3 == 0 || fastcgi_send(fds[i], bytes.data, i % 3 == 1 ? 5 : bytes.len - 20));
        }
        await_taken_in(worker, SILENT);
        snprintf(name, sizeof name, "good-%s", names[kind]);
        if (kind == UNIX) {
            good = background_load_start(&stack, GOOD, true, name);
            clock_sleep_ms(1000);
            background_load_stop(good, &figures);
        } else {
            for (int i = 0; i < SERVED; i++) {
                exchange(kind, "beside the silent", name);
            }
        }
        memory = worker_memory(worker) - memory;
        for (int i = 0; i < SILENT; i++) {
            close(fds[i]);
        }
        if (memory > MEMORY_MIB) {
            fail_msg("%s: %d silent connections took %.1f MiB", names[kind], SILENT, memory);
        }
    }
    buffer_free(&bytes);
}

/* ---- Workers of one's own ---- */

/* On a port that the kernel chooses. */
static int listen_on_tcp(int *port)
{
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, SOMAXCONN), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return listener;
}

/* The stack with that worker in the place of its own. */
static struct stack start_worker(int listener, const char *name)
{
    char url[STACK_PATH_MAX + 16];
    const char *const argv[] = {stack.program, NULL};
    const char *const environment[] = {url, "INCIDENTS_METRICS_TOKEN=" METRICS_TOKEN, NULL};
    struct stack other = stack;

    snprintf(other.worker_log, sizeof other.worker_log, "%s/%s.log", stack.directory, name);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.worker_url);
    other.worker = process_start_on(listener, argv, environment, other.worker_log);
    free(await_in_file(other.worker_log, "serving FastCGI"));
    return other;
}

/* Writes on while the worker stops. False where that took so long that the worker need not have waited. */
static bool write_through_a_stop(int number)
{
    enum { LINGERING_MS = 1500, WRITES = 10, PAUSE_MS = 50 };
    int port, listener = listen_on_tcp(&port), fd = fastcgi_connect_tcp(port);
    struct pollfd answered = {.fd = fd, .events = POLLIN};
    bool is_sent = true, is_in_time;
    struct stack stopped;
    int64_t started_ms;
    char name[16];

    snprintf(name, sizeof name, "stop-%d", number);
    stopped = start_worker(listener, name);
    send_upsert(fd, name, false);
    assert_int_equal(poll(&answered, 1, TIMEOUT_MS), 1);
    started_ms = clock_now_ms();
    kill(stopped.worker, SIGTERM);
    for (int i = 0; i < WRITES; i++) {
        clock_sleep_ms(PAUSE_MS);
        is_sent = fastcgi_send(fd, "more", 4) && is_sent;
    }
    is_in_time = clock_now_ms() - started_ms < LINGERING_MS;
    if (is_in_time) {
        assert_true(is_sent);
        expect(fd, name, name);
        expect_end(fd, name);
    }
    close(fd);
    close(listener);
    assert_int_equal(process_wait(stopped.worker, TIMEOUT_MS), 0);
    return is_in_time;
}

static void a_stop_takes_no_response_back_either(void **state)
{
    enum { TRIES = 20 };
    bool is_in_time = false;

    for (int i = 0; i < TRIES && !is_in_time; i++) {
        is_in_time = write_through_a_stop(i);
    }
    assert_true(is_in_time);
}

/* It stays readable, and every accept fails. */
static void a_listener_that_was_shut_down_keeps_no_worker_busy(void **state)
{
    enum { WATCH_MS = 500 };
    int port, listener = listen_on_tcp(&port);
    struct stack other = start_worker(listener, "shut-down");
    long cpu_ms;

    assert_int_equal(shutdown(listener, SHUT_RDWR), 0);
    free(await_in_file(other.worker_log, "unable to accept a connection"));
    cpu_ms = worker_cpu_ms(&other);
    clock_sleep_ms(WATCH_MS);
    assert_true(worker_cpu_ms(&other) - cpu_ms < WATCH_MS / 2);
    close(listener);
    assert_int_equal(process_stop(other.worker, SIGTERM), 0);
}

/* ---- */

static void the_second_worker_ends_cleanly_and_without_a_leak(void **state)
{
    stack_stop_worker(&stacks[TCP]);
}

/* Starts the second worker. */
static void start_tcp_worker(void)
{
    int listener = listen_on_tcp(&tcp_port);

    stacks[UNIX] = stack;
    stacks[TCP] = start_worker(listener, "tcp");
    close(listener);
}

static const char *const settings[] = {"INCIDENTS_METRICS_TOKEN=" METRICS_TOKEN, NULL};

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .settings = settings, .metrics_token = METRICS_TOKEN, .start = start_tcp_worker};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_written_behind_the_last_record_takes_no_response_back),
        cmocka_unit_test(no_response_waits_for_an_acknowledgement),
        cmocka_unit_test(what_a_peer_does_while_its_request_waits_harms_no_response),
        cmocka_unit_test(a_response_that_nobody_reads_leaves_nothing_to_the_next),
        cmocka_unit_test(a_stop_takes_no_response_back_either),
        cmocka_unit_test(a_listener_that_was_shut_down_keeps_no_worker_busy),
        cmocka_unit_test(of_1000_connections_990_are_silent_and_ten_are_served),
        cmocka_unit_test(the_second_worker_ends_cleanly_and_without_a_leak),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
