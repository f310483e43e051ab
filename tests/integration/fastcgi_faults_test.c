/* The worker's FastCGI socket, spoken to byte by byte: what a web server should never send, peers that are
 * slow, and ids of requests that are no ids. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi_checks.h"
#include "harness/fixture.h"

enum { TIMEOUT_MS = 20000 };

static struct stack stack;

/* ---- Broken connections and broken records ---- */

static void a_request_cut_at_any_byte_is_not_processed(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"cut\",\"started_at\":\"2024-01-01\"}"};
    struct fastcgi_request lengthless = request;
    struct buffer bytes;

    lengthless.content_length = "";
    for (int pass = 0; pass < 2; pass++) {
        char what[64];

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_request(&bytes, &stack, pass == 0 ? &request : &lengthless);
        for (size_t len = 0; len < bytes.len; len++) {
            snprintf(what, sizeof what, "the first %zu of %zu bytes", len, bytes.len);
            expect_no_success(&stack, what, bytes.data, len);
        }
        check_nothing_is_stored(&stack, "a request cut short");
        buffer_free(&bytes);
    }
    check_the_worker_serves(&stack, "after requests cut short");
}

static void a_connection_that_is_closed_in_the_middle_harms_nobody(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"cut\",\"started_at\":\"2024-01-01\"}"};
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t len = 0; len < bytes.len; len += 5) {
        int fd = fastcgi_connect(stack.worker_socket);

        fastcgi_send(fd, bytes.data, len);
        close(fd);
    }
    buffer_free(&bytes);
    check_the_worker_serves(&stack, "after connections closed in the middle");
    check_nothing_is_stored(&stack, "connections closed in the middle");
}

static void bytes_that_are_no_fastcgi_harm_nobody(void **state)
{
    static const char http[] =
        "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    static char noise[64 * 1024];
    uint32_t seed = 1;

    expect_no_success(&stack, "nothing at all", "", 0);
    expect_no_success(&stack, "one byte", "\1", 1);
    expect_no_success(&stack, "HTTP", http, sizeof http - 1);
    expect_no_success(&stack, "zeros", noise, sizeof noise);
    memset(noise, 0xff, sizeof noise);
    expect_no_success(&stack, "ones", noise, sizeof noise);
    for (int pass = 0; pass < 20; pass++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            seed = seed * 1664525 + 1013904223;
            noise[i] = (char)(seed >> 24);
        }
        expect_no_success(&stack, "noise", noise, sizeof noise);
    }
    check_the_worker_serves(&stack, "after bytes that are no FastCGI");
}

static void records_that_make_no_sense_harm_nobody(void **state)
{
    static const struct {
        const char *what;
        int version, type, id;
        size_t len;
    } cases[] = {
        {"version 0", 0, FASTCGI_BEGIN_REQUEST, 1, 8},
        {"version 2", 2, FASTCGI_BEGIN_REQUEST, 1, 8},
        {"version 255", 255, FASTCGI_BEGIN_REQUEST, 1, 8},
        {"a begin for request 0", 1, FASTCGI_BEGIN_REQUEST, 0, 8},
        {"a begin that is too short", 1, FASTCGI_BEGIN_REQUEST, 1, 7},
        {"a begin that is too long", 1, FASTCGI_BEGIN_REQUEST, 1, 60000},
        {"a begin that is empty", 1, FASTCGI_BEGIN_REQUEST, 1, 0},
        {"params without a begin", 1, FASTCGI_PARAMS, 1, 100},
        {"a body without a begin", 1, FASTCGI_STDIN, 1, 100},
        {"an abort without a begin", 1, FASTCGI_ABORT_REQUEST, 1, 0},
        {"what only an application sends", 1, FASTCGI_STDOUT, 1, 100},
        {"an end of a request", 1, FASTCGI_END_REQUEST, 1, 8},
        {"a type of 0", 1, 0, 1, 8},
        {"an unknown type", 1, 12, 1, 8},
        {"the last type", 1, 255, 1, 65535},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char content[65535];
        const struct fastcgi_request next = {
            .path = "incidents.upsert", .body = "{\"reference_id\":\"next\",\"started_at\":\"2024-01-01\"}"};
        struct buffer bytes;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_record(&bytes, cases[i].version, cases[i].type, cases[i].id, content, cases[i].len);
        expect_no_success(&stack, cases[i].what, bytes.data, bytes.len);
        /* The same between the parts of a request: whole or not at all. */
        fastcgi_append_request(&bytes, &stack, &next);
        {
            int fd = fastcgi_connect(stack.worker_socket);
            struct http_response response;

            fastcgi_send(fd, bytes.data, bytes.len);
            shutdown(fd, SHUT_WR);
            if (fastcgi_receive(fd, TIMEOUT_MS, &response) == FASTCGI_SILENT) {
                fail_msg("%s: the worker neither answers nor closes", cases[i].what);
            }
            http_response_free(&response);
            close(fd);
        }
        buffer_free(&bytes);
        check_the_worker_serves(&stack, cases[i].what);
    }
}

static void variables_that_make_no_sense_harm_nobody(void **state)
{
    static const struct {
        const char *what;
        const char *content;
        size_t len;
    } cases[] = {
        {"a name longer than the stream", "\x7f\x01XY", 4},
        {"a value longer than the stream", "\x01\x7fXY", 4},
        {"a length in four bytes, cut", "\x80\x00", 2},
        {"a name of 16 MB that does not come", "\x81\x00\x00\x00\x01XY", 7},
        {"an empty name and an empty value", "\0\0", 2},
        {"an empty name with a value", "\0\3abc", 5},
        {"a name with an equals sign", "\5\1PATH=x", 8},
        {"a name with a NUL", "\4\1A\0B\0x", 7},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer bytes;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_begin(&bytes, 1, true);
        fastcgi_append_stream(&bytes, FASTCGI_PARAMS, 1, cases[i].content, cases[i].len);
        fastcgi_append_stream(&bytes, FASTCGI_STDIN, 1, "", 0);
        expect_no_success(&stack, cases[i].what, bytes.data, bytes.len);
        buffer_free(&bytes);
        check_the_worker_serves(&stack, cases[i].what);
    }
}

static void a_management_record_gets_a_response_and_the_request_behind_it_too(void **state)
{
    static const struct {
        const char *what;
        int type, response;
        const char *content, *response_content;
        size_t len, response_len;
    } cases[] = {
        {"FCGI_GET_VALUES", FASTCGI_GET_VALUES, FASTCGI_GET_VALUES_RESULT, "\17\0FCGI_MPXS_CONNS",
         "\17\1FCGI_MPXS_CONNS0", 17, 18},
        {"FCGI_GET_VALUES of nothing", FASTCGI_GET_VALUES, FASTCGI_GET_VALUES_RESULT, "", "", 0, 0},
        {"FCGI_GET_VALUES of what is unknown", FASTCGI_GET_VALUES, FASTCGI_GET_VALUES_RESULT,
         "\7\0UNKNOWN\17\0FCGI_MPXS_CONNS\0\0", "\17\1FCGI_MPXS_CONNS0", 28, 18},
        {"a type that is unknown", 77, FASTCGI_UNKNOWN_TYPE, "", "M\0\0\0\0\0\0\0", 0, 8},
        {"a type that is unknown, with content", 255, FASTCGI_UNKNOWN_TYPE, "abcdefghijklmnopq",
         "\377\0\0\0\0\0\0\0", 17, 8},
    };
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"managed\",\"started_at\":\"2024-01-01\"}"};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int fd = fastcgi_connect(stack.worker_socket), type;
        struct buffer bytes;
        char content[64];
        size_t len;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_record(&bytes, 1, cases[i].type, 0, cases[i].content, cases[i].len);
        fastcgi_append_request(&bytes, &stack, &request);
        assert_true(fastcgi_send(fd, bytes.data, bytes.len));
        buffer_free(&bytes);
        type = fastcgi_receive_record(fd, TIMEOUT_MS, content, sizeof content, &len);
        if (type != cases[i].response || len != cases[i].response_len ||
            memcmp(content, cases[i].response_content, len) != 0) {
            fail_msg("%s was answered with a record of type %d and %zu bytes", cases[i].what, type, len);
        }
        expect_response("the request behind it", fd, 200);
        close(fd);
    }
    assert_true(is_stored(&stack, "managed"));
}

static void an_aborted_request_is_not_processed(void **state)
{
    static const char body[] = "{\"reference_id\":\"aborted\",\"started_at\":\"2024-01-01\"}";
    const struct fastcgi_request request = {.keep = true, .path = "incidents.upsert", .body = body};
    struct fastcgi_request lengthless = request;

    lengthless.content_length = "";
    for (size_t sent = 0; sent < sizeof body;
         sent += 10) { /* 50, the last, is the whole body without its end */
        for (int pass = 0; pass < 2; pass++) {
            struct buffer bytes;

            buffer_init(&bytes, FASTCGI_BYTES_MAX);
            fastcgi_append_head(&bytes, &stack, pass == 0 ? &request : &lengthless);
            if (sent > 0) {
                fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, body, sent);
            }
            fastcgi_append_record(&bytes, 1, FASTCGI_ABORT_REQUEST, 1, "", 0);
            expect_no_success(&stack, "an aborted request", bytes.data, bytes.len);
            buffer_free(&bytes);
        }
    }
    check_nothing_is_stored(&stack, "aborted requests");
    check_the_worker_serves(&stack, "after aborted requests");
}

/* ---- Peers that are slow, silent, or do not read ---- */

static void two_hundred_silent_connections_harm_nobody_once_they_are_gone(void **state)
{
    int fds[200];
    int64_t started_ms;

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        if (i % 3 == 0) {
            fastcgi_send(fds[i], "\1\1\0", 3); /* less than a record's header */
        }
    }
    clock_sleep_ms(500);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
    started_ms = clock_now_ms();
    check_the_worker_serves(&stack, "after 200 silent connections");
    if (clock_now_ms() - started_ms > TIMEOUT_MS) {
        fail_msg("the worker took %lld ms to serve again", (long long)(clock_now_ms() - started_ms));
    }
}

static void idle_connections_delay_nobody(void **state)
{
    int fds[100];

    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
    }
    check_the_worker_serves(&stack, "beside 100 connections on which nothing comes");
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
}

static void peers_that_never_read_their_response_harm_nobody(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"unread\",\"started_at\":\"2024-01-01\"}"};
    int fds[64];
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, bytes.len));
    }
    buffer_free(&bytes);
    check_the_worker_serves(&stack, "while 64 peers do not read their responses");
    assert_true(is_stored(&stack, "unread"));
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
}

/* Who does not ask to keep a connection closes it, in its own time. */
static void peers_that_do_not_close_delay_nobody(void **state)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz"};
    int fds[64];
    int64_t before;
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    before = clock_now_ms();
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, bytes.len));
    }
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        struct http_response response;

        assert_int_equal(fastcgi_receive(fds[i], TIMEOUT_MS, &response), FASTCGI_ANSWERED);
        http_response_free(&response);
    }
    check_the_worker_serves(&stack, "while 64 peers do not close their connections");
    /* Less than all of them would take in libfcgi's own way: 2 s each. */
    assert_true(clock_now_ms() - before < 30000);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
    buffer_free(&bytes);
}

static void a_peer_that_sends_on_and_on_and_never_reads_harms_nobody(void **state)
{
    static const struct timeval short_timeout = {.tv_sec = 1};
    const struct fastcgi_request request = {.keep = true, .verb = "GET", .path = "healthz"};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;
    size_t sent = 0;

    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &short_timeout, sizeof short_timeout);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    while (sent < 5000 && fastcgi_send(fd, bytes.data, bytes.len)) {
        sent++;
    }
    buffer_free(&bytes);
    check_the_worker_serves(&stack, "while a peer sends on and on");
    close(fd);
    check_the_worker_serves(&stack, "after it");
}

/* ---- X-Request-Id ---- */

static void await_id_in_log(const char *id)
{
    char field[256];

    snprintf(field, sizeof field, "request_id=\"%s\"", id);
    free(await_in_file(stack.worker_log, field));
}

/* Sends a healthz with that id; copies the response's. */
static void exchange_id(const char *what, const char *sent, char received[256])
{
    const struct fastcgi_request request = {
        .verb = "GET", .path = "healthz", .variables = {sent == NULL ? NULL : "HTTP_X_REQUEST_ID", sent}};
    struct http_response response;
    enum fastcgi_end end = fastcgi_exchange(&stack, &request, &response);

    check_response(what, end, &response, 200);
    if (http_response_header(&response, "X-Request-Id", received, 256) == NULL) {
        fail_msg("%s: there is no X-Request-Id: %s", what, response.head);
    }
    if (strcasestr(response.head, "\nX-Evil") != NULL || strcasestr(response.head, "\nSet-Cookie") != NULL ||
        response.body[0] != '{') {
        fail_msg("%s: the client's bytes became a header or a body: %s\n%s", what, response.head,
                 response.body);
    }
    http_response_free(&response);
}

static void a_usable_request_id_is_echoed_and_logged(void **state)
{
    static const char long_id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    static const char *const ids[] = {"1", "f47ac10b-58cc-4372-a567-0e02b2c3d479",
                                      "a b~!#$%&'()*+,-./:;<=>?@[]^_`{|}", long_id};
    static const char *const escaped_in_the_log[] = {"a\"b", "a\\b"};
    char received[256];

    assert_int_equal(strlen(long_id), 128);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        exchange_id(ids[i], ids[i], received);
        assert_string_equal(received, ids[i]);
        await_id_in_log(ids[i]);
    }
    for (size_t i = 0; i < sizeof escaped_in_the_log / sizeof escaped_in_the_log[0]; i++) {
        exchange_id(escaped_in_the_log[i], escaped_in_the_log[i], received);
        assert_string_equal(received, escaped_in_the_log[i]);
    }
}

static void an_unusable_request_id_is_replaced_by_a_fresh_one(void **state)
{
    static const char long_id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                                  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0";
    static const char *const ids[] = {
        NULL,
        "",
        long_id,
        "a\tb",
        "a\nb",
        "a\r\nb",
        "\x7f",
        "\x1b[31mred",
        "a\xc3\xa4",
        "\xff",
        "\x80",
        "a\r",
        "x\r\nX-Evil: 1",
        "x\nX-Evil: 1",
        "x\r\n\r\n{\"ok\":true}",
        "x\rX-Evil: 1",
        "x\r\nSet-Cookie: a=b",
    };
    char received[256], last[256] = "";

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        char what[64];

        snprintf(what, sizeof what, "unusable id %zu", i);
        exchange_id(what, ids[i], received);
        if (strlen(received) < 16 || strlen(received) > 128) {
            fail_msg("%s: \"%s\" is no fresh id", what, received);
        }
        if (ids[i] != NULL && strcmp(received, ids[i]) == 0) {
            fail_msg("%s: it was echoed", what);
        }
        if (strcmp(received, last) == 0) {
            fail_msg("%s: the fresh id is the same as before: %s", what, received);
        }
        await_id_in_log(received);
        snprintf(last, sizeof last, "%s", received);
    }
}

static void nothing_of_a_request_becomes_a_header(void **state)
{
    static const char evil[] = "x\r\nX-Evil: 1\r\n\r\n{\"ok\":true}";
    const struct fastcgi_request requests[] = {
        {.path = "incidents.upsert\r\nX-Evil: 1"},
        {.verb = "POST\r\nX-Evil: 1", .path = "incidents.upsert"},
        {.path = "incidents.upsert", .authorization = "Bearer x\r\nX-Evil: 1"},
        {.path = "incidents.upsert", .authorization = evil},
        {.path = "incidents.upsert",
         .body = "{\"reference_id\":\"r\\r\\nX-Evil: 1\",\"started_at\":\"2024-01-01\"}"},
        {.path = "incidents.upsert", .body = "{}", .variables = {"CONTENT_TYPE", evil, "HTTP_HOST", evil}},
        {.path = "incidents.delete", .body = "{\"reference_id\":\"r\\r\\nX-Evil: 1\"}"},
    };

    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        struct http_response response;

        if (fastcgi_exchange(&stack, &requests[i], &response) != FASTCGI_ANSWERED || response.json == NULL) {
            fail_msg("request %zu was answered %d %s", i, response.status, response.body);
        }
        if (strcasestr(response.head, "\nX-Evil") != NULL || strstr(response.body, "\nX-Evil") != NULL) {
            fail_msg("request %zu: its bytes became a header: %s\n%s", i, response.head, response.body);
        }
        http_response_free(&response);
    }
}

static void nothing_of_a_request_becomes_a_log_line(void **state)
{
    const struct fastcgi_request request = {.path =
                                                "incidents.upsert\n2024-01-01T00:00:00.000Z info forged=line",
                                            .authorization = "Bearer x\nforged=line",
                                            .variables = {"HTTP_X_REQUEST_ID", "x\nforged=line"}};
    const struct fastcgi_request behind = {
        .verb = "GET", .path = "healthz", .variables = {"HTTP_X_REQUEST_ID", "behind"}};
    char *log, *line;

    check_exchange(&stack, "a request with line ends", &request, 404);
    check_exchange(&stack, "a request behind it", &behind, 200);
    log = await_in_file(stack.worker_log, "request_id=\"behind\"");
    for (line = strtok(log, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "forged", 6) == 0 || strstr(line, " info forged=line") != NULL) {
            fail_msg("the log has a line that the client wrote: %s", line);
        }
    }
    free(log);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_request_cut_at_any_byte_is_not_processed),
        cmocka_unit_test(a_connection_that_is_closed_in_the_middle_harms_nobody),
        cmocka_unit_test(bytes_that_are_no_fastcgi_harm_nobody),
        cmocka_unit_test(records_that_make_no_sense_harm_nobody),
        cmocka_unit_test(variables_that_make_no_sense_harm_nobody),
        cmocka_unit_test(a_management_record_gets_a_response_and_the_request_behind_it_too),
        cmocka_unit_test(an_aborted_request_is_not_processed),
        cmocka_unit_test(two_hundred_silent_connections_harm_nobody_once_they_are_gone),
        cmocka_unit_test(idle_connections_delay_nobody),
        cmocka_unit_test(peers_that_never_read_their_response_harm_nobody),
        cmocka_unit_test(peers_that_do_not_close_delay_nobody),
        cmocka_unit_test(a_peer_that_sends_on_and_on_and_never_reads_harms_nobody),
        cmocka_unit_test(a_usable_request_id_is_echoed_and_logged),
        cmocka_unit_test(an_unusable_request_id_is_replaced_by_a_fresh_one),
        cmocka_unit_test(nothing_of_a_request_becomes_a_header),
        cmocka_unit_test(nothing_of_a_request_becomes_a_log_line),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
