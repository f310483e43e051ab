/* Whoever can write to the worker's socket, at his worst: peers that stall and trickle, floods, lengths that
 * lie, requests without a bound. The worker goes on for everybody else, and keeps its size. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi_checks.h"
#include "harness/figures.h"
#include "harness/fixture.h"

enum { TIMEOUT_MS = 20000, PEERS_MAX = 300 };

static struct stack stack;

/* ---- Helpers ---- */

static void append_upsert(struct buffer *bytes, const char *reference_id)
{
    char body[160];
    const struct fastcgi_request request = {.path = "incidents.upsert", .body = body};

    format_upsert(body, sizeof body, reference_id);
    fastcgi_append_request(bytes, &stack, &request);
}

/* Whether the worker has closed; bytes that came before are thrown away. */
static bool is_closed(int fd)
{
    char trash[4096];
    ssize_t got;

    do {
        got = recv(fd, trash, sizeof trash, MSG_DONTWAIT);
    } while (got > 0);
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

static size_t count_closed(const int *fds, size_t count)
{
    size_t closed = 0;

    for (size_t i = 0; i < count; i++) {
        closed += is_closed(fds[i]) ? 1 : 0;
    }
    return closed;
}

/* How many the worker has closed by the time that it has closed all, or the time is over. */
static size_t await_closed(const int *fds, size_t count)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    size_t closed;

    while ((closed = count_closed(fds, count)) < count && clock_now_ms() < deadline_ms) {
        clock_sleep_ms(20);
    }
    return closed;
}

/* ---- Peers that stall or trickle ---- */

/* Many send no more of a request than that part of its bytes. */
static void stall(const char *what, double part)
{
    size_t many = (size_t)stress_amount(100, PEERS_MAX), closed;
    struct attack attack;
    struct buffer bytes;
    int fds[PEERS_MAX] = {0};

    attack_begin(&attack, &stack, what, many, true);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    append_upsert(&bytes, "stalled");
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, (size_t)((double)bytes.len * part)));
    }
    buffer_free(&bytes);
    closed = await_closed(fds, many);
    close_all(fds, many);
    attack_end(&attack, closed);
    if (closed < many) {
        fail_msg("%s: after %d ms %zu of %zu are still waited for", what, TIMEOUT_MS, many - closed, many);
    }
}

static void peers_that_stall_delay_nobody_and_are_given_up(void **state)
{
    stall("stalled in a record's header", 0.01);
    if (stress_is_long()) {
        stall("stalled in the variables", 0.5);
        stall("stalled before the last byte", 0.999);
    }
    assert_int_equal(count_like(&stack, "stalled"), 0);
}

/* All send a byte, then the next, as a web server does that hands on what comes. */
static void trickle(const int *fds, const struct buffer *requests, size_t many)
{
    for (size_t at = 0; at < requests[many - 1].len; at++) {
        for (size_t i = 0; i < many; i++) {
            if (at < requests[i].len) {
                assert_true(fastcgi_send(fds[i], requests[i].data + at, 1));
            }
        }
        clock_sleep_ms(stress_amount(5, 30));
    }
}

static void peers_that_trickle_are_served_and_starve_nobody(void **state)
{
    size_t many = (size_t)stress_amount(100, PEERS_MAX), answered = 0;
    struct buffer requests[PEERS_MAX];
    struct attack attack;
    int fds[PEERS_MAX] = {0};

    attack_begin(&attack, &stack, "trickling, byte by byte", many, true);
    for (size_t i = 0; i < many; i++) {
        char reference_id[32];

        snprintf(reference_id, sizeof reference_id, "trickled-%zu", i);
        buffer_init(&requests[i], FASTCGI_BYTES_MAX);
        append_upsert(&requests[i], reference_id);
        fds[i] = fastcgi_connect(stack.worker_socket);
    }
    trickle(fds, requests, many);
    for (size_t i = 0; i < many; i++) {
        struct http_response response;

        if (fastcgi_receive(fds[i], TIMEOUT_MS, &response) == FASTCGI_ANSWERED && response.status == 200) {
            answered++;
        }
        http_response_free(&response);
        buffer_free(&requests[i]);
    }
    close_all(fds, many);
    attack_end(&attack, many - answered);
    assert_int_equal(answered, many);
    assert_int_equal(count_like(&stack, "trickled-%"), many);
}

/* Bodies that fill more memory than there may be: the oldest are given up, and the others go on. */
static void requests_that_never_end_hold_a_bounded_memory(void **state)
{
    enum { PART = 900 * 1024, MEMORY_MAX_MIB = 200 };
    const struct fastcgi_request request = {.path = "incidents.upsert", .content_length = "1000000"};
    size_t many = (size_t)stress_amount(100, PEERS_MAX), closed;
    char *filling = calloc(1, PART);
    struct attack attack;
    struct buffer bytes;
    int fds[PEERS_MAX] = {0};
    double most;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_head(&bytes, &stack, &request);
    for (size_t at = 0; at < PART; at += 60000) {
        fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, filling, PART - at < 60000 ? PART - at : 60000);
    }
    attack_begin(&attack, &stack, "900 KiB of a body, and no more", many, true);
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        fastcgi_send(fds[i], bytes.data, bytes.len);
    }
    clock_sleep_ms(1000);
    most = worker_memory(&stack) - attack.memory;
    closed = count_closed(fds, many);
    close_all(fds, many);
    buffer_free(&bytes);
    free(filling);
    attack_end(&attack, closed);
    figures_row("the same, at its height|%zu|%zu|||||yes|%+.1f MiB|", many, closed, most);
    assert_true(closed > 0 && closed < many);
    if (stress_is_long() && most > MEMORY_MAX_MIB) {
        fail_msg("%zu unfinished requests hold %.1f MiB", many, most);
    }
}

static void peers_that_ask_on_and_never_read_starve_nobody(void **state)
{
    const struct fastcgi_request request = {.keep = true, .verb = "GET", .path = "healthz"};
    size_t many = (size_t)stress_amount(100, PEERS_MAX), refused;
    struct attack attack;
    struct buffer bytes;
    int fds[PEERS_MAX] = {0};

    attack_begin(&attack, &stack, "asking on and never reading", many, true);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
    }
    for (int round = 0; round < stress_amount(100, 1000); round++) {
        for (size_t i = 0; i < many; i++) {
            send(fds[i], bytes.data, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    clock_sleep_ms(500);
    refused = count_closed(fds, many);
    close_all(fds, many);
    buffer_free(&bytes);
    attack_end(&attack, refused);
}

/* What comes behind a response is read for a while and thrown away. */
static void peers_that_send_on_behind_their_response_starve_nobody(void **state)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz"};
    static const char more[64 * 1024];
    size_t many = (size_t)stress_amount(50, PEERS_MAX);
    struct attack attack;
    struct buffer bytes;
    int fds[PEERS_MAX] = {0};

    attack_begin(&attack, &stack, "sending on behind their response", many, true);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < many; i++) {
        struct http_response response;

        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, bytes.len));
        assert_int_equal(fastcgi_receive(fds[i], TIMEOUT_MS, &response), FASTCGI_ANSWERED);
        http_response_free(&response);
    }
    for (int round = 0; round < stress_amount(100, 5000); round++) {
        for (size_t i = 0; i < many; i++) {
            send(fds[i], more, sizeof more, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
    }
    attack_end(&attack, many); /* the worker has closed them all by then, and they have not */
    close_all(fds, many);
    buffer_free(&bytes);
}

/* A request cut at each of its bytes by a peer that is gone the time after. */
static void a_connection_that_ends_at_any_byte_leaves_nothing_behind(void **state)
{
    size_t rounds = (size_t)stress_amount(10, 200);
    struct attack attack;
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    append_upsert(&bytes, "cut");
    attack_begin(&attack, &stack, "cut at every byte", rounds * bytes.len, true);
    for (size_t i = 0; i < rounds * bytes.len; i++) {
        int fd = fastcgi_connect(stack.worker_socket);

        fastcgi_send(fd, bytes.data, i % bytes.len);
        close(fd);
    }
    attack_end(&attack, rounds * bytes.len);
    buffer_free(&bytes);
    assert_int_equal(count_like(&stack, "cut"), 0);
}

/* ---- What libfcgi must never see ---- */

enum { NAMES = 15 }; /* as many as are taken; four fill the 64 bytes */

static void append_names(struct buffer *names, size_t count)
{
    static const char name[] = "\17\0FCGI_MPXS_CONNS";

    for (size_t i = 0; i < count; i++) {
        buffer_append(names, name, sizeof name - 1);
    }
}

/* In libfcgi 2.4.2 each name that is asked for goes into 64 bytes on the stack, however many there are. */
static void values_asked_for_again_and_again_are_answered_once(void **state)
{
    static const char value[] = "\17\1FCGI_MPXS_CONNS0";
    int fd = fastcgi_connect(stack.worker_socket), type;
    struct buffer names, bytes;
    struct http_response response;
    char content[256];
    size_t len;

    buffer_init(&names, FASTCGI_BYTES_MAX);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    append_names(&names, NAMES);
    fastcgi_append_record(&bytes, 1, FASTCGI_GET_VALUES, 0, names.data, names.len);
    append_upsert(&bytes, "asked");
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    type = fastcgi_receive_record(fd, TIMEOUT_MS, content, sizeof content, &len);
    if (type != FASTCGI_GET_VALUES_RESULT || len != sizeof value - 1 || memcmp(content, value, len) != 0) {
        fail_msg("%d times the same name was answered with a record of type %d and %zu bytes", NAMES, type,
                 len);
    }
    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
    close(fd);
    buffer_free(&names);
    buffer_free(&bytes);
}

static void a_record_full_of_names_is_refused(void **state)
{
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer names, bytes;
    struct http_response response;

    buffer_init(&names, FASTCGI_BYTES_MAX);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    append_names(&names, 3855);
    fastcgi_append_record(&bytes, 1, FASTCGI_GET_VALUES, 0, names.data, names.len);
    fastcgi_send(fd, bytes.data, bytes.len);
    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_CLOSED);
    http_response_free(&response);
    close(fd);
    buffer_free(&names);
    buffer_free(&bytes);
    check_the_worker_serves(&stack, "after a record full of names");
}

static void management_floods_are_cut_off(void **state)
{
    static const int types[] = {FASTCGI_GET_VALUES, 77};
    size_t many = (size_t)stress_amount(20, 1000), refused = 0;
    struct attack attack;

    attack_begin(&attack, &stack, "10,000 management records each", many, true);
    for (size_t i = 0; i < many; i++) {
        int fd = fastcgi_connect(stack.worker_socket);
        struct buffer bytes;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        for (int n = 0; n < 10000; n++) {
            fastcgi_append_record(&bytes, 1, types[i % 2], 0, "\17\0FCGI_MPXS_CONNS", 17);
        }
        fastcgi_send(fd, bytes.data, bytes.len);
        buffer_free(&bytes);
        refused += await_closed(&fd, 1);
        close(fd);
    }
    attack_end(&attack, refused);
    assert_int_equal(refused, many);
}

/* libfcgi 2.4.2 adds two of these in an int, and ends the program where there is no memory for what comes
 * out. */
static void lengths_of_two_gigabytes_are_not_believed(void **state)
{
    static const char *const contents[] = {
        "\377\377\377\376\377\377\377\376ab",
        "\377\377\377\360\377\377\377\360ab",
        "\300\1\1\1\300\1\1\1ab",
        "\277\377\377\377\300\1\1\1ab",
    };

    for (size_t i = 0; i < 2 * sizeof contents / sizeof contents[0]; i++) {
        int fd = fastcgi_connect(stack.worker_socket);
        struct http_response response;
        struct buffer bytes;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        if (i % 2 == 0) {
            fastcgi_append_begin(&bytes, 1, true);
            fastcgi_append_stream(&bytes, FASTCGI_PARAMS, 1, contents[i / 2], 10);
        } else {
            fastcgi_append_record(&bytes, 1, FASTCGI_GET_VALUES, 0, contents[i / 2], 10);
        }
        fastcgi_send(fd, bytes.data, bytes.len);
        buffer_free(&bytes);
        if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED) {
            fail_msg("length %zu: the connection is still open", i);
        }
        http_response_free(&response);
        close(fd);
        check_the_worker_serves(&stack, "after a length of two gigabytes");
    }
}

/* ---- Requests without a bound ---- */

struct sized_case {
    const char *what;
    const char *name; /* of the variable */
    size_t many;      /* such variables, with a number behind the name where there are several */
    size_t len;       /* of each value */
    int status;
};

static void append_sized(struct buffer *params, const struct sized_case *c)
{
    char *value = malloc(c->len + 1), name[64];

    assert_non_null(value);
    memset(value, 'x', c->len);
    value[c->len] = '\0';
    for (size_t i = 0; i < c->many; i++) {
        snprintf(name, sizeof name, c->many == 1 ? "%s" : "%s_%zu", c->name, i);
        fastcgi_append_variable(params, name, value);
    }
    free(value);
}

/* Sends an upsert with those variables before its own. */
static void send_sized(const struct sized_case *c)
{
    static const char body[] = "{\"reference_id\":\"sized\",\"started_at\":\"2024-01-01\"}";
    char authorization[STACK_TOKEN_MAX + 16];
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer params, bytes;
    struct http_response response;

    buffer_init(&params, FASTCGI_BYTES_MAX);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    snprintf(authorization, sizeof authorization, "Bearer %s", stack.token);
    append_sized(&params, c);
    fastcgi_append_variable(&params, "REQUEST_METHOD", "POST");
    fastcgi_append_variable(&params, "PATH_INFO", "/incidents.upsert");
    fastcgi_append_variable(&params, "HTTP_AUTHORIZATION", authorization);
    fastcgi_append_begin(&bytes, 1, false);
    fastcgi_append_stream(&bytes, FASTCGI_PARAMS, 1, params.data, params.len);
    fastcgi_append_stream(&bytes, FASTCGI_STDIN, 1, body, sizeof body - 1);
    fastcgi_send(fd, bytes.data, bytes.len);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_ANSWERED || response.status != c->status ||
        response.json == NULL) {
        fail_msg("%s: should be answered %d, was answered %d: %s", c->what, c->status, response.status,
                 response.body);
    }
    if (c->status == 413) {
        assert_string_equal(http_response_text(&response, "error"), "request_too_large");
        assert_string_equal(http_response_text(&response, "message"),
                            "the headers are over the limit of 131072 bytes");
    }
    http_response_free(&response);
    buffer_free(&params);
    buffer_free(&bytes);
    close(fd);
}

static void variables_have_a_bound_and_over_it_the_response_is_413(void **state)
{
    static const struct sized_case cases[] = {
        {"100 headers of 1,000 bytes", "HTTP_X", 100, 1000, 200},
        {"10,000 headers of a byte", "HTTP_X", 10000, 1, 413},
        {"5,000 headers of a byte", "HTTP_X", 5000, 1, 200},
        {"100,000 headers of nothing", "HTTP_X", 100000, 0, 413},
        {"a header of 100,000 bytes", "HTTP_COOKIE", 1, 100000, 200},
        {"a header of 1 MB", "HTTP_COOKIE", 1, 1000000, 413},
        {"a header of 10 MB", "HTTP_COOKIE", 1, 10000000, 413},
        {"a token of 100,000 bytes", "HTTP_AUTHORIZATION", 1, 100000, 401},
        {"a path of 100,000 bytes", "PATH_INFO", 1, 100000, 404},
        {"a query of 100,000 bytes", "QUERY_STRING", 1, 100000, 200},
        {"a request id of 100,000 bytes", "HTTP_X_REQUEST_ID", 1, 100000, 200},
        {"a verb of 100,000 bytes", "REQUEST_METHOD", 1, 100000, 405},
        {"a length of 100,000 digits", "CONTENT_LENGTH", 1, 100000, 422},
    };
    size_t rounds = (size_t)stress_amount(3, 50), count = sizeof cases / sizeof cases[0], refused = 0;
    struct attack attack;

    attack_begin(&attack, &stack, "headers by the thousand, or of megabytes", rounds * count, true);
    for (size_t i = 0; i < rounds * count; i++) {
        send_sized(&cases[i % count]);
        refused += cases[i % count].status == 413 ? 1 : 0;
    }
    attack_end(&attack, refused);
}

static void head_table(void)
{
    attack_table("Hostile FastCGI, straight at the worker's socket");
}

static const char *const settings[] = {"INCIDENTS_BODY_TIMEOUT_MS=5000", NULL};

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .settings = settings, .start = head_table};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(values_asked_for_again_and_again_are_answered_once),
        cmocka_unit_test(a_record_full_of_names_is_refused),
        cmocka_unit_test(lengths_of_two_gigabytes_are_not_believed),
        cmocka_unit_test(peers_that_stall_delay_nobody_and_are_given_up),
        cmocka_unit_test(peers_that_trickle_are_served_and_starve_nobody),
        cmocka_unit_test(requests_that_never_end_hold_a_bounded_memory),
        cmocka_unit_test(peers_that_ask_on_and_never_read_starve_nobody),
        cmocka_unit_test(peers_that_send_on_behind_their_response_starve_nobody),
        cmocka_unit_test(a_connection_that_ends_at_any_byte_leaves_nothing_behind),
        cmocka_unit_test(management_floods_are_cut_off),
        cmocka_unit_test(variables_have_a_bound_and_over_it_the_response_is_413),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
