/* The internet at its worst, through the web servers' shipped configurations: slow senders and slow readers
 * by the hundred, floods of bad tokens, enormous headers, bodies cut short, and requests hidden in other
 * requests. Good clients go on beside them, each response belongs to its request, and what is hidden is never
 * executed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/apache.h"
#include "harness/background_load.h"
#include "harness/fastcgi_checks.h"
#include "harness/figures.h"
#include "harness/fixture.h"

enum { CLIENTS_MAX = 300, TIMEOUT_MS = 10000, ANSWERS_MAX = 64, TEXT_MAX = 16 * 1024 * 1024 };

static struct stack stack;

/* ---- HTTP by hand ---- */

struct raw_response {
    int status;
    char id[160]; /* X-Request-Id */
    char body[512];
};

struct raw_responses {
    size_t count;
    struct raw_response list[ANSWERS_MAX];
};

/* Reads until the server closes, or has said nothing for so long that it will not. */
static void read_to_end(int fd, struct buffer *text)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    char chunk[16384];
    ssize_t got = 1;

    while (got > 0 && poll(&readable, 1, TIMEOUT_MS) > 0) {
        got = recv(fd, chunk, sizeof chunk, 0);
        if (got > 0) {
            buffer_append(text, chunk, (size_t)got);
        }
    }
}

static void copy_header(const char *head, const char *end, const char *name, char *value, size_t size)
{
    const char *found = strcasestr(head, name);

    value[0] = '\0';
    if (found != NULL && found < end) {
        found += strlen(name);
        snprintf(value, size, "%.*s", (int)strcspn(found, "\r"), found);
    }
}

/* Takes the responses apart; interim ones (100 Continue) are passed over. */
static void parse_responses(const struct buffer *text, struct raw_responses *responses)
{
    const char *at = text->data, *end;

    *responses = (struct raw_responses){0};
    while (at != NULL && strncmp(at, "HTTP/1.1 ", 9) == 0 && (end = strstr(at, "\r\n\r\n")) != NULL) {
        struct raw_response *response = &responses->list[responses->count];
        char length[32];
        size_t len;

        assert_true(responses->count < ANSWERS_MAX - 1);
        response->status = (int)strtol(at + 9, NULL, 10);
        copy_header(at, end, "\r\nX-Request-Id: ", response->id, sizeof response->id);
        copy_header(at, end, "\r\nContent-Length: ", length, sizeof length);
        len = strtoul(length, NULL, 10);
        snprintf(response->body, sizeof response->body, "%.*s", (int)len, end + 4);
        responses->count += response->status == 100 ? 0 : 1;
        at = end + 4 + len > text->data + text->len ? NULL : end + 4 + len;
    }
    if (at != NULL && *at != '\0') {
        fail_msg("these bytes are no response: %.200s", at);
    }
}

/* Sends the bytes over one connection to nginx and returns what it says until it closes. */
static void converse(const char *data, size_t len, struct raw_responses *responses)
{
    int fd = fastcgi_connect(stack.nginx_socket);
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    fastcgi_send(fd, data, len);
    read_to_end(fd, &text);
    close(fd);
    parse_responses(&text, responses);
    buffer_free(&text);
}

static void append_upsert(struct buffer *text, const char *reference_id, const char *headers)
{
    char body[160];

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    buffer_append_format(text,
                         "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                         "X-Request-Id: %s\r\nContent-Length: %zu\r\n%s\r\n%s",
                         stack.token, reference_id, strlen(body), headers, body);
}

/* ---- Requests hidden in requests ---- */

enum hidden { HIDDEN_HTTP, HIDDEN_FASTCGI };

static void append_hidden(struct buffer *out, enum hidden hidden)
{
    static const char body[] = "{\"reference_id\":\"forged\",\"started_at\":\"2024-01-01\"}";
    const struct fastcgi_request request = {.keep = true, .path = "incidents.upsert", .body = body};

    if (hidden == HIDDEN_HTTP) {
        append_upsert(out, "forged", "");
    } else {
        fastcgi_append_request(out, &stack, &request);
    }
}

/* A request behind which nginx closes. */
static const char next[] =
    "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: next\r\nConnection: close\r\n\r\n";

static void what_is_hidden_in_these_tests_would_be_executed(void **state)
{
    struct raw_responses responses;
    struct buffer text;
    int fd = fastcgi_connect(stack.worker_socket);
    struct http_response response;

    buffer_init(&text, TEXT_MAX);
    append_hidden(&text, HIDDEN_HTTP);
    buffer_append_text(&text, next);
    converse(text.data, text.len, &responses);
    assert_int_equal(responses.count, 2);
    assert_int_equal(responses.list[0].status, 200);
    assert_int_equal(count_like(&stack, "forged"), 1);
    stack_query(&stack, "DELETE FROM intake.incident");

    buffer_reset(&text, TEXT_MAX);
    append_hidden(&text, HIDDEN_FASTCGI);
    assert_true(fastcgi_send(fd, text.data, text.len));
    assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_ANSWERED);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
    close(fd);
    buffer_free(&text);
    assert_int_equal(count_like(&stack, "forged"), 1);
}

/* How a body is sent. */
enum framing {
    LENGTH,        /* Content-Length */
    CHUNK,         /* one chunk */
    ODD_CHUNKS,    /* many, with extensions, zeros and capitals in their sizes */
    BROKEN_CHUNKS, /* a size that is too large for any number */
    NEGATIVE_CHUNK,
    UNENDED_CHUNK, /* more bytes than its size says */
    UNFRAMED,      /* the headers of the case alone say it */
};

struct hiding_case {
    const char *what;
    const char *line;    /* the request line, but for the version */
    const char *headers; /* each with its line end; %zu: the body's length */
    enum framing framing;
    int status;   /* of the request's own response; 0: any refusal, whoever it is that refuses */
    size_t times; /* how often the hidden request is in the body; 0: once */
};

static const struct hiding_case hiding_cases[] = {
    {"behind 404", "POST /api/incidents.forge", "", LENGTH, 404, 0},
    {"behind 404 of GET", "GET /api/incidents.forge", "", LENGTH, 404, 0},
    {"behind 401, no token", "POST /api/incidents.upsert", "", LENGTH, 401, 0},
    {"behind 401, unknown token", "POST /api/incidents.upsert", "Authorization: Bearer unknown\r\n", LENGTH,
     401, 0},
    {"behind 405", "PUT /api/incidents.upsert", "", LENGTH, 405, 0},
    {"behind 405 of GET", "GET /api/incidents.upsert", "", LENGTH, 405, 0},
    {"behind 405 of DELETE", "DELETE /api/incidents.delete", "", LENGTH, 405, 0},
    {"behind 200 of healthz", "GET /healthz", "", LENGTH, 200, 0},
    {"behind 200 of readyz", "GET /readyz", "", LENGTH, 200, 0},
    {"behind 404 of nginx itself", "POST /nothing", "", LENGTH, 404, 0},
    {"behind 413", "POST /api/incidents.upsert", "", LENGTH, 413, 12000},
    {"in half a megabyte behind 401", "POST /api/incidents.upsert", "", LENGTH, 401, 2000},
    {"behind Expect", "POST /api/incidents.forge", "Expect: 100-continue\r\n", LENGTH, 404, 0},
    {"behind Expect and 413", "POST /api/incidents.upsert", "Expect: 100-continue\r\n", LENGTH, 413, 12000},
    {"in a chunk", "POST /api/incidents.forge", "", CHUNK, 404, 0},
    {"in a chunk of GET", "GET /healthz", "", CHUNK, 200, 0},
    {"in odd chunks", "POST /api/incidents.forge", "", ODD_CHUNKS, 404, 0},
    {"in odd chunks behind Expect", "POST /api/incidents.upsert", "Expect: 100-continue\r\n", ODD_CHUNKS, 401,
     0},
    {"in a chunk whose size is no number", "POST /api/incidents.forge", "", BROKEN_CHUNKS, 0, 0},
    {"in a chunk of negative size", "POST /api/incidents.forge", "", NEGATIVE_CHUNK, 0, 0},
    {"in a chunk that does not end", "POST /api/incidents.forge", "", UNENDED_CHUNK, 0, 0},
    {"length and chunked", "POST /api/incidents.forge", "Content-Length: %zu\r\n", CHUNK, 0, 0},
    {"length 0 and chunked", "POST /api/incidents.forge", "Content-Length: 0\r\n", CHUNK, 0, 0},
    {"chunked twice", "POST /api/incidents.forge", "Transfer-Encoding: chunked\r\n", CHUNK, 0, 0},
    {"chunked and something", "POST /api/incidents.forge",
     "Transfer-Encoding: chunked, identity\r\nContent-Length: %zu\r\n", UNFRAMED, 0, 0},
    {"a coding like chunked", "POST /api/incidents.forge",
     "Transfer-Encoding: xchunked\r\nContent-Length: %zu\r\n", UNFRAMED, 0, 0},
    {"chunked behind a space", "POST /api/incidents.forge",
     "Transfer-Encoding : chunked\r\nContent-Length: %zu\r\n", UNFRAMED, 0, 0},
    {"chunked behind a fold", "POST /api/incidents.forge",
     "X-Fold: a\r\n Transfer-Encoding: chunked\r\nContent-Length: %zu\r\n", UNFRAMED, 0, 0},
    {"chunked with an underscore", "POST /api/incidents.forge",
     "Transfer_Encoding: chunked\r\nContent-Length: %zu\r\n", UNFRAMED, 404, 0},
    {"two lengths", "POST /api/incidents.forge", "Content-Length: 5\r\nContent-Length: %zu\r\n", UNFRAMED, 0,
     0},
    {"a length and one with an underscore", "POST /api/incidents.forge",
     "Content_Length: 5\r\nContent-Length: %zu\r\n", UNFRAMED, 404, 0},
    {"a length with a sign", "POST /api/incidents.forge", "Content-Length: +%zu\r\n", UNFRAMED, 0, 0},
    {"a negative length", "POST /api/incidents.forge", "Content-Length: -%zu\r\n", UNFRAMED, 0, 0},
    {"a hexadecimal length", "POST /api/incidents.forge", "Content-Length: 0x%zu\r\n", UNFRAMED, 0, 0},
    {"a list of lengths", "POST /api/incidents.forge", "Content-Length: 5, %zu\r\n", UNFRAMED, 0, 0},
    {"a length beyond any number", "POST /api/incidents.forge", "Content-Length: 1844674407370955%zu\r\n",
     UNFRAMED, 0, 0},
};

static void append_chunks(struct buffer *out, enum framing framing, const struct buffer *body)
{
    switch (framing) {
    case BROKEN_CHUNKS:
        buffer_append_text(out, "fffffffffffffffff1\r\n");
        break;
    case NEGATIVE_CHUNK:
        buffer_append_text(out, "-1\r\n");
        break;
    case UNENDED_CHUNK:
        buffer_append_text(out, "5\r\n");
        break;
    case ODD_CHUNKS:
        for (size_t i = 0; i < body->len; i++) {
            static const char *const sizes[] = {"1\r\n", "0001\r\n", "1;a=b\r\n", "1 ;a=\"b\"\r\n", "01\r\n"};

            buffer_append_text(out, sizes[i % 5]);
            buffer_append(out, body->data + i, 1);
            buffer_append_text(out, "\r\n");
        }
        buffer_append_text(out, "0\r\nTrailer: x\r\n\r\n");
        return;
    default:
        buffer_append_format(out, "%zX\r\n", body->len);
        break;
    }
    buffer_append(out, body->data, body->len);
    buffer_append_text(out, "\r\n0\r\n\r\n");
}

static void append_hiding(struct buffer *out, const struct hiding_case *c, const struct buffer *body)
{
    char headers[256];
    const char *number = strstr(c->headers, "%zu");

    if (number != NULL) {
        snprintf(headers, sizeof headers, "%.*s%zu%s", (int)(number - c->headers), c->headers, body->len,
                 number + 3);
    }
    buffer_append_format(out, "%s HTTP/1.1\r\nHost: x\r\nX-Request-Id: outer\r\n%s", c->line,
                         number != NULL ? headers : c->headers);
    if (c->framing == LENGTH) {
        buffer_append_format(out, "Content-Length: %zu\r\n", body->len);
    } else if (c->framing != UNFRAMED) {
        buffer_append_text(out, "Transfer-Encoding: chunked\r\n");
    }
    buffer_append_text(out, "\r\n");
    if (c->framing == LENGTH || c->framing == UNFRAMED) {
        buffer_append(out, body->data, body->len);
    } else {
        append_chunks(out, c->framing, body);
    }
}

/* The request's own response first, then that of the next one, where the connection has lasted; nothing else.
 */
static void check_hiding(const struct hiding_case *c, const struct raw_responses *responses)
{
    for (size_t i = 0; i < responses->count; i++) {
        if (strcmp(responses->list[i].id, "forged") == 0) {
            fail_msg("%s: the hidden request was answered: %d %s", c->what, responses->list[i].status,
                     responses->list[i].body);
        }
    }
    if (responses->count == 0 ||
        (c->status == 0 ? responses->list[0].status < 400 || responses->list[0].status > 501
                        : responses->list[0].status != c->status)) {
        fail_msg("%s: %zu answers, the first %d %s", c->what, responses->count,
                 responses->count == 0 ? 0 : responses->list[0].status, responses->list[0].body);
    }
    if (responses->count > 2 || (responses->count == 2 && (responses->list[1].status != 200 ||
                                                           strcmp(responses->list[1].id, "next") != 0))) {
        fail_msg("%s: %zu answers, the second %d %s is not the next request's", c->what, responses->count,
                 responses->list[1].status, responses->list[1].body);
    }
    if (count_like(&stack, "forged") != 0) {
        fail_msg("%s: the hidden request was executed", c->what);
    }
}

/* Whether the connection lasted. */
static bool hide(const struct hiding_case *c, enum hidden hidden)
{
    struct raw_responses responses;
    struct buffer body, text;

    buffer_init(&body, TEXT_MAX);
    buffer_init(&text, TEXT_MAX);
    for (size_t i = 0; i < (c->times == 0 ? 1 : c->times); i++) {
        append_hidden(&body, hidden);
    }
    append_hiding(&text, c, &body);
    buffer_append_text(&text, next);
    converse(text.data, text.len, &responses);
    check_hiding(c, &responses);
    buffer_free(&body);
    buffer_free(&text);
    return responses.count == 2;
}

static void a_request_hidden_in_a_body_is_never_executed(void **state)
{
    size_t rounds = (size_t)stress_amount(1, 20), count = sizeof hiding_cases / sizeof hiding_cases[0];
    size_t refused = 0, lasted = 0;
    struct attack attack;

    attack_begin(&attack, &stack, "a request hidden in another's body", 2 * rounds * count, false);
    for (size_t i = 0; i < 2 * rounds * count; i++) {
        const struct hiding_case *c = &hiding_cases[i / 2 % count];

        lasted += hide(c, i % 2 == 0 ? HIDDEN_HTTP : HIDDEN_FASTCGI) ? 1 : 0;
        refused += c->status != 200 ? 1 : 0;
    }
    attack_end(&attack, refused);
    assert_true(lasted > 0); /* else no connection was used again behind a body, and nothing was tried */
}

static void each_of_many_pipelined_requests_gets_its_own_response(void **state)
{
    enum { IN_LINE = 50 };
    int rounds = stress_amount(10, 200);
    struct attack attack;

    attack_begin(&attack, &stack, "50 requests in one piece", (size_t)rounds * IN_LINE, false);
    for (int round = 0; round < rounds; round++) {
        struct raw_responses responses;
        struct buffer text;
        char id[64];

        buffer_init(&text, TEXT_MAX);
        for (int i = 0; i < IN_LINE; i++) {
            snprintf(id, sizeof id, "line-%d-%d", round, i);
            if (i % 5 == 4) {
                buffer_append_format(&text,
                                     "POST /api/incidents.forge HTTP/1.1\r\nHost: x\r\nX-Request-Id: %s\r\n"
                                     "Content-Length: 6\r\n%s\r\nGET / ",
                                     id, i == IN_LINE - 1 ? "Connection: close\r\n" : "");
            } else {
                append_upsert(&text, id, i == IN_LINE - 2 ? "Expect: 100-continue\r\n" : "");
            }
        }
        converse(text.data, text.len, &responses);
        assert_int_equal(responses.count, IN_LINE);
        for (int i = 0; i < IN_LINE; i++) {
            snprintf(id, sizeof id, "line-%d-%d", round, i);
            assert_string_equal(responses.list[i].id, id);
            assert_int_equal(responses.list[i].status, i % 5 == 4 ? 404 : 200);
            assert_true(i % 5 == 4 || strstr(responses.list[i].body, id) != NULL);
        }
        buffer_free(&text);
    }
    attack_end(&attack, (size_t)rounds * IN_LINE / 5);
    assert_int_equal(count_like(&stack, "line-%"), rounds * IN_LINE / 5 * 4);
}

/* ---- Bodies of a wrong length ---- */

static void a_body_cut_short_is_not_processed(void **state)
{
    size_t many = (size_t)stress_amount(300, 5000), at = 0, start;
    struct attack attack;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    append_upsert(&text, "cut", "");
    start = (size_t)(strstr(text.data, "\r\n\r\n") - text.data);
    attack_begin(&attack, &stack, "bodies cut short", many, false);
    for (size_t i = 0; i < many; i++) {
        int fd = fastcgi_connect(stack.nginx_socket);

        at = start + i % (text.len - start);
        fastcgi_send(fd, text.data, at);
        close(fd);
    }
    attack_end(&attack, many);
    buffer_free(&text);
    assert_int_equal(count_like(&stack, "cut"), 0);
}

static void a_length_that_lies_makes_no_incident(void **state)
{
    static const char body[] = "{\"reference_id\":\"lying\",\"started_at\":\"2024-01-01\"}";

    for (size_t declared = 0; declared < sizeof body - 1; declared++) {
        struct raw_responses responses;
        struct buffer text;

        buffer_init(&text, TEXT_MAX);
        buffer_append_format(&text,
                             "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
                             "Connection: close\r\nContent-Length: %zu\r\n\r\n%s",
                             stack.token, declared, body);
        converse(text.data, text.len, &responses);
        if (responses.count < 1 || responses.list[0].status != 422) {
            fail_msg("a length of %zu: %d %s", declared, responses.list[0].status, responses.list[0].body);
        }
        buffer_free(&text);
    }
    assert_int_equal(count_like(&stack, "lying"), 0);
}

/* ---- Headers and lines without a bound ---- */

struct size_case {
    const char *what;
    size_t headers;      /* how many more */
    size_t header_bytes; /* of each */
    size_t path_bytes, query_bytes;
    int status;
};

static void append_many(struct buffer *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, "x");
    }
}

static void send_sized(const struct size_case *c)
{
    struct raw_responses responses;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    buffer_append_text(&text, "GET /api/");
    append_many(&text, c->path_bytes);
    buffer_append_text(&text, c->path_bytes == 0 ? "healthz?" : "?");
    append_many(&text, c->query_bytes);
    buffer_append_text(&text, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
    for (size_t i = 0; i < c->headers; i++) {
        buffer_append_format(&text, "A%zu:", i);
        append_many(&text, c->header_bytes);
        buffer_append_text(&text, "\r\n");
    }
    buffer_append_text(&text, "\r\n");
    converse(text.data, text.len, &responses);
    if (responses.count != 1 || responses.list[0].status != c->status) {
        fail_msg("%s: %zu answers, %d %s", c->what, responses.count, responses.list[0].status,
                 responses.list[0].body);
    }
    buffer_free(&text);
}

/* What nginx lets through is within the worker's own bound. */
static void what_nginx_lets_through_is_answered_and_all_else_refused(void **state)
{
    static const struct size_case cases[] = {
        {"100 headers", 100, 10, 0, 0, 200},
        {"500 headers of a byte", 500, 1, 0, 0, 200},
        {"10,000 headers", 10000, 1, 0, 0, 431},
        {"four headers of 7,000 bytes", 4, 7000, 0, 0, 200},
        {"a header of 1 MB", 1, 1000000, 0, 0, 431},
        {"a path of 7,000 bytes", 0, 0, 7000, 0, 404},
        {"a path of 1 MB", 0, 0, 1000000, 0, 414},
        {"a query of 7,000 bytes", 0, 0, 0, 7000, 200},
        {"a query and headers of 7,000 bytes", 3, 7000, 0, 7000, 200},
        {"a query of 1 MB", 0, 0, 0, 1000000, 414},
    };
    size_t rounds = (size_t)stress_amount(3, 100), count = sizeof cases / sizeof cases[0], refused = 0;
    struct attack attack;

    attack_begin(&attack, &stack, "headers, paths and queries without a bound", rounds * count, false);
    for (size_t i = 0; i < rounds * count; i++) {
        send_sized(&cases[i % count]);
        refused += cases[i % count].status >= 400 ? 1 : 0;
    }
    attack_end(&attack, refused);
}

/* ---- Many at once ---- */

static size_t count_closed(const int *fds, size_t count)
{
    size_t closed = 0;

    for (size_t i = 0; i < count; i++) {
        char byte;
        ssize_t got = recv(fds[i], &byte, 1, MSG_DONTWAIT | MSG_PEEK);

        closed += got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK) ? 1 : 0;
    }
    return closed;
}

/* Sends the text's beginning, then byte after byte to all of them, for that long. */
static void drip(const int *fds, size_t many, const char *start, int milliseconds)
{
    int64_t deadline_ms = clock_now_ms() + milliseconds;

    for (size_t i = 0; i < many; i++) {
        fastcgi_send(fds[i], start, strlen(start));
    }
    while (clock_now_ms() < deadline_ms) {
        for (size_t i = 0; i < many; i++) {
            send(fds[i], " ", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        clock_sleep_ms(50);
    }
}

static void slow_through_nginx(const char *what, const char *start)
{
    size_t many = (size_t)stress_amount(100, CLIENTS_MAX), closed;
    int fds[CLIENTS_MAX] = {0};
    struct attack attack;

    attack_begin(&attack, &stack, what, many, false);
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.nginx_socket);
    }
    drip(fds, many, start, stress_amount(2000, 15000));
    closed = count_closed(fds, many);
    close_all(fds, many);
    attack_end(&attack, closed);
}

static void slow_senders_starve_nobody(void **state)
{
    char start[512];

    slow_through_nginx("slow headers, through nginx",
                       "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nX-Slow: ");
    snprintf(start, sizeof start,
             "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
             "Content-Length: 1000000\r\n\r\n{\"reference_id\":\"slow\",",
             stack.token);
    slow_through_nginx("slow bodies, through nginx", start);
    assert_int_equal(count_like(&stack, "slow"), 0);
}

static void slow_readers_starve_nobody(void **state)
{
    size_t many = (size_t)stress_amount(100, CLIENTS_MAX), closed;
    int fds[CLIENTS_MAX] = {0}, rounds = stress_amount(40, 300);
    struct attack attack;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    append_upsert(&text, "unread", "");
    attack_begin(&attack, &stack, "asking on and never reading, through nginx", many, false);
    for (size_t i = 0; i < many; i++) {
        fds[i] = fastcgi_connect(stack.nginx_socket);
    }
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < many; i++) {
            send(fds[i], text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        clock_sleep_ms(50);
    }
    closed = count_closed(fds, many);
    close_all(fds, many);
    buffer_free(&text);
    attack_end(&attack, closed);
}

static void send_bad_tokens(struct load_client *client)
{
    size_t *refused = client->context, number = 0;

    while (!load_is_stopping(client)) {
        char authorization[64];
        const struct call call = {.path = "incidents.upsert",
                                  .body = "{\"reference_id\":\"stolen\",\"started_at\":\"2024-01-01\"}",
                                  .authorization = authorization};
        struct http_response response;

        snprintf(authorization, sizeof authorization, "Bearer guess-%zu-%zu", client->number, number++);
        load_send(client, &call, 401, &response);
        http_response_free(&response);
        refused[client->number]++;
    }
}

static void a_flood_of_bad_tokens_starves_nobody(void **state)
{
    enum { GUESSERS = 16 };
    size_t refused[GUESSERS] = {0}, all = 0;
    struct attack attack;
    struct load *load;

    attack_begin(&attack, &stack, "16 clients that guess tokens", GUESSERS, false);
    load = load_start(&stack, GUESSERS, send_bad_tokens, refused);
    clock_sleep_ms(stress_amount(2000, 15000));
    load_stop(load);
    load_join(load);
    for (size_t i = 0; i < GUESSERS; i++) {
        all += refused[i];
    }
    attack_end(&attack, all);
    assert_true(all > 0);
    assert_int_equal(count_like(&stack, "stolen"), 0);
}

/* ---- Apache, which hands on what comes as it comes ---- */

/* How many connections Apache has open to the worker. */
static size_t count_to_worker(size_t before)
{
    size_t now = worker_descriptors(&stack);

    return now > before ? now - before : 0;
}

static void slow_senders_behind_apache_delay_nobody(void **state)
{
    size_t many = (size_t)stress_amount(50, CLIENTS_MAX), closed, at_worker;
    int fds[CLIENTS_MAX] = {0}, port = find_port();
    pid_t apache = apache_start(&stack, port, many);
    struct attack attack;
    char start[512];

    snprintf(start, sizeof start,
             "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
             "Content-Length: 100000\r\n\r\n{\"reference_id\":\"slow\",",
             stack.token);
    attack_begin(&attack, &stack, "slow bodies, through Apache", many, true);
    for (size_t i = 0; i < many; i++) {
        fds[i] = apache_connect(port);
        assert_true(fds[i] >= 0);
    }
    drip(fds, many, start, stress_amount(3000, 15000));
    for (int64_t give_up_ms = clock_now_ms() + TIMEOUT_MS;
         (at_worker = count_to_worker(attack.descriptors)) < many / 2 && clock_now_ms() < give_up_ms;) {
        drip(fds, many, "", 200); /* Apache is not there yet */
    }
    closed = count_closed(fds, many);
    close_all(fds, many);
    assert_int_equal(process_stop(apache, SIGTERM), 0);
    attack_end(&attack, closed);
    figures_row("of them at the worker|%zu||||||||", at_worker);
    assert_true(at_worker >= many / 2); /* else Apache has kept them to itself, and nothing was tried */
    assert_int_equal(count_like(&stack, "slow"), 0);
}

static void head_table(void)
{
    attack_table("Hostile HTTP, through nginx and Apache as they are shipped");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .start = head_table};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_hidden_in_these_tests_would_be_executed),
        cmocka_unit_test(a_request_hidden_in_a_body_is_never_executed),
        cmocka_unit_test(each_of_many_pipelined_requests_gets_its_own_response),
        cmocka_unit_test(a_body_cut_short_is_not_processed),
        cmocka_unit_test(a_length_that_lies_makes_no_incident),
        cmocka_unit_test(what_nginx_lets_through_is_answered_and_all_else_refused),
        cmocka_unit_test(slow_senders_starve_nobody),
        cmocka_unit_test(slow_readers_starve_nobody),
        cmocka_unit_test(a_flood_of_bad_tokens_starves_nobody),
        cmocka_unit_test(slow_senders_behind_apache_delay_nobody),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
