/* The worker's FastCGI socket, spoken to byte by byte: what a web server may send, and what it should never
 * send. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/fixture.h"

enum { LIMIT = 1024 * 1024, TIMEOUT_MS = 20000, QUIET_MS = 300 };

static struct stack stack;

/* ---- Helpers ---- */

static void format_upsert(char *body, size_t size, const char *reference_id)
{
    snprintf(body, size, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
}

static bool is_stored(const char *reference_id)
{
    return strcmp(stack_query_for(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = $1",
                                  reference_id),
                  "1") == 0;
}

static size_t count_stored(void)
{
    return strtoul(stack_query(&stack, "SELECT count(*) FROM intake.incident"), NULL, 10);
}

static void check_nothing_is_stored(const char *what)
{
    size_t count = count_stored();

    if (count != 0) {
        fail_msg("%s: %zu incidents were stored, \"%s\" among them", what, count,
                 stack_query(&stack, "SELECT reference_id FROM intake.incident LIMIT 1"));
    }
}

/* Whether the worker is the process that was started, and stores. */
static void check_the_worker_serves(const char *what)
{
    const struct fastcgi_request request = {.path = "incidents.delete",
                                            .body = "{\"reference_id\":\"none\"}"};
    struct http_response response;

    if (process_wait(stack.worker, 0) >= 0) {
        stack.worker = 0;
        fail_msg("%s: the worker has ended, see %s", what, stack.worker_log);
    }
    if (fastcgi_exchange(&stack, &request, &response) != FASTCGI_ANSWERED || response.status != 200) {
        fail_msg("%s: the worker does not serve any more: %d %s", what, response.status, response.body);
    }
    http_response_free(&response);
}

static void check_response(const char *what, enum fastcgi_end end, const struct http_response *response,
                           int status)
{
    if (end != FASTCGI_ANSWERED) {
        fail_msg("%s: no response came, but %s", what,
                 end == FASTCGI_CLOSED ? "the connection's end" : "silence, or bytes that are no FastCGI");
    }
    if (response->status != status) {
        fail_msg("%s: should be answered %d, was answered %d: %s", what, status, response->status,
                 response->body);
    }
    if (response->json == NULL) {
        fail_msg("%s: the response is not JSON: %s", what, response->body);
    }
}

static void exchange(const char *what, const struct fastcgi_request *request, int status)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_exchange(&stack, request, &response);

    check_response(what, end, &response, status);
    http_response_free(&response);
}

/* Reads the next answer of a connection. */
static void expect(const char *what, int fd, int status)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, TIMEOUT_MS, &response);

    check_response(what, end, &response, status);
    http_response_free(&response);
}

/* No further answer may come: silence, or the connection's end. */
static void expect_no_more(const char *what, int fd)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, QUIET_MS, &response);

    if (end == FASTCGI_ANSWERED || end == FASTCGI_BROKEN) {
        fail_msg("%s: a response came that belongs to no request: %d %s", what, response.status,
                 response.body);
    }
    http_response_free(&response);
}

/* Sends bytes, says that no more will come, and waits until the worker has closed, so that what it does about
 * them is done. Fails where it sends a response of 200, or does not close. */
static void send_and_hear_no_success(const char *what, const void *data, size_t len)
{
    int fd = fastcgi_connect(stack.worker_socket);
    struct http_response response;
    enum fastcgi_end end;

    fastcgi_send(fd, data, len);
    shutdown(fd, SHUT_WR);
    while ((end = fastcgi_receive(fd, TIMEOUT_MS, &response)) == FASTCGI_ANSWERED) {
        if (response.status == 200) {
            fail_msg("%s: was answered 200: %s", what, response.body);
        }
        http_response_free(&response);
    }
    if (end != FASTCGI_CLOSED) {
        fail_msg("%s: the worker keeps a connection on which nothing more can come", what);
    }
    close(fd);
}

/* ---- Good requests ---- */

static void a_request_is_stored_and_gets_a_response(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"good\",\"started_at\":\"2024-01-01\"}"};

    exchange("a good request", &request, 200);
    assert_true(is_stored("good"));
}

static void without_keep_conn_the_connection_is_closed_behind_the_response(void **state)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz"};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;
    struct http_response response;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    expect("the only request", fd, 200);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED) {
        fail_msg("the connection is still open");
    }
    close(fd);
}

static void a_kept_connection_carries_many_requests(void **state)
{
    int fd = fastcgi_connect(stack.worker_socket);

    for (int i = 1; i <= 50; i++) {
        char reference_id[32], body[128], what[64];
        struct fastcgi_request request = {
            .id = i * 37, .keep = true, .path = "incidents.upsert", .body = body};
        struct buffer bytes;

        snprintf(reference_id, sizeof reference_id, "kept-%d", i);
        snprintf(what, sizeof what, "request %d of a kept connection", i);
        format_upsert(body, sizeof body, reference_id);
        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_request(&bytes, &stack, &request);
        assert_true(fastcgi_send(fd, bytes.data, bytes.len));
        buffer_free(&bytes);
        expect(what, fd, 200);
    }
    expect_no_more("after the last request", fd);
    close(fd);
    assert_int_equal(count_stored(), 50);
}

/* The specification lets a server send the next request on a connection only after the response. */
static void what_comes_in_one_piece_with_a_request_is_not_processed(void **state)
{
    int fd = fastcgi_connect(stack.worker_socket);
    struct http_response response;
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    for (int i = 1; i <= 5; i++) {
        char body[128], reference_id[32];
        struct fastcgi_request request = {.id = i, .keep = true, .path = "incidents.upsert", .body = body};

        snprintf(reference_id, sizeof reference_id, "piped-%d", i);
        format_upsert(body, sizeof body, reference_id);
        fastcgi_append_request(&bytes, &stack, &request);
    }
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    expect("the first of five requests in one piece", fd, 200);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED) {
        fail_msg("the connection is still open, or another response came: %d %s", response.status,
                 response.body);
    }
    http_response_free(&response);
    close(fd);
    assert_true(is_stored("piped-1"));
    assert_int_equal(count_stored(), 1);
    check_the_worker_serves("after requests in one piece");
}

static void a_request_that_arrives_byte_by_byte_is_read_whole(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"slow\",\"started_at\":\"2024-01-01\"}"};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < bytes.len; i++) {
        assert_true(fastcgi_send(fd, bytes.data + i, 1));
        if (i % 16 == 0) {
            clock_sleep_ms(1);
        }
    }
    buffer_free(&bytes);
    expect("a request in single bytes", fd, 200);
    close(fd);
    assert_true(is_stored("slow"));
}

/* ---- A body is never read as requests ---- */

/* A complete request, which a client might send as its body. */
static void append_forged(struct buffer *out, const char *reference_id)
{
    char body[128];
    const struct fastcgi_request forged = {.keep = true, .path = "incidents.upsert", .body = body};

    format_upsert(body, sizeof body, reference_id);
    fastcgi_append_request(out, &stack, &forged);
}

static void the_forged_request_of_these_tests_would_be_executed(void **state)
{
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    append_forged(&bytes, "forged");
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    expect("the forged request sent as a real one", fd, 200);
    close(fd);
    assert_true(is_stored("forged"));
}

struct smuggling_case {
    const char *what;
    const char *verb;
    const char *path;
    const char *authorization;
    const char *content_length; /* as in struct fastcgi_request */
    size_t fill; /* the body is the forged request over and over, up to so many bytes; 0: once */
    int status;
    bool may_close; /* the connection may end behind the response */
};

static void smuggle(const struct smuggling_case *c)
{
    const struct fastcgi_request next = {.id = 1, .keep = true, .verb = "GET", .path = "healthz"};
    struct fastcgi_request request = {.keep = true,
                                      .verb = c->verb,
                                      .path = c->path,
                                      .authorization = c->authorization,
                                      .content_length = c->content_length};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer body, bytes;
    struct http_response response;

    buffer_init(&body, FASTCGI_BYTES_MAX);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    do {
        append_forged(&body, "forged");
    } while (body.len < c->fill);
    request.body = body.data;
    request.body_len = body.len;
    fastcgi_append_request(&bytes, &stack, &request);
    if (!fastcgi_send(fd, bytes.data, bytes.len) && !c->may_close) {
        fail_msg("%s: the worker closed before it had read the body", c->what);
    }
    expect(c->what, fd, c->status);

    buffer_reset(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &next);
    fastcgi_send(fd, bytes.data, bytes.len);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED || !c->may_close) {
        if (response.status != 200 || *http_response_text(&response, "action") != '\0') {
            fail_msg("%s: the next request's response is not its own: %d %s", c->what, response.status,
                     response.body);
        }
        expect_no_more(c->what, fd);
    }
    http_response_free(&response);
    buffer_free(&bytes);
    buffer_free(&body);
    close(fd);
    check_nothing_is_stored(c->what);
    check_the_worker_serves(c->what);
}

static void a_forged_request_in_a_body_is_never_executed(void **state)
{
    static const struct smuggling_case cases[] = {
        {.what = "401, no token", .path = "incidents.upsert", .authorization = "", .status = 401},
        {.what = "401, a token that is unknown",
         .path = "incidents.upsert",
         .authorization = "Bearer x",
         .status = 401},
        {.what = "404", .path = "incidents.forge", .status = 404},
        {.what = "404 without a method", .path = "", .status = 404},
        {.what = "405", .verb = "PUT", .path = "incidents.upsert", .status = 405},
        {.what = "405 with GET", .verb = "GET", .path = "incidents.upsert", .status = 405},
        {.what = "422, the body is no JSON", .path = "incidents.upsert", .status = 422},
        {.what = "422 of a delete", .path = "incidents.delete", .status = 422},
        {.what = "200, a healthz with a body", .verb = "GET", .path = "healthz", .status = 200},
        {.what = "200, a readyz with a body", .verb = "GET", .path = "readyz", .status = 200},
        {.what = "413", .path = "incidents.upsert", .fill = LIMIT + 1, .status = 413},
        {.what = "401 of a body over the limit",
         .path = "incidents.upsert",
         .authorization = "",
         .fill = LIMIT + 1,
         .status = 401},
        {.what = "404 of a body over the limit", .path = "incidents.forge", .fill = 2 * LIMIT, .status = 404},
        {.what = "405 of a body over the limit",
         .verb = "PUT",
         .path = "incidents.upsert",
         .fill = 2 * LIMIT,
         .status = 405},
        {.what = "413 of a body far over the limit",
         .path = "incidents.upsert",
         .fill = 20 * LIMIT,
         .status = 413,
         .may_close = true},
        {.what = "404 of a body far over the limit",
         .path = "incidents.forge",
         .fill = 20 * LIMIT,
         .status = 404,
         .may_close = true},
        {.what = "no CONTENT_LENGTH", .path = "incidents.forge", .content_length = "", .status = 404},
        {.what = "a CONTENT_LENGTH of 0", .path = "incidents.forge", .content_length = "0", .status = 404},
        {.what = "a CONTENT_LENGTH that is too small",
         .path = "incidents.forge",
         .content_length = "8",
         .status = 404},
        {.what = "a CONTENT_LENGTH that is no number",
         .path = "incidents.forge",
         .content_length = "x",
         .status = 404},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        smuggle(&cases[i]);
    }
}

static void a_second_request_within_the_first_is_not_executed(void **state)
{
    static const char body[] = "{\"reference_id\":\"outer\",\"started_at\":\"2024-01-01\"}";
    const struct fastcgi_request outer = {.id = 1, .keep = true, .path = "incidents.upsert", .body = body};
    const struct fastcgi_request inner = {.id = 2,
                                          .keep = true,
                                          .path = "incidents.upsert",
                                          .body =
                                              "{\"reference_id\":\"inner\",\"started_at\":\"2024-01-01\"}"};
    int fd = fastcgi_connect(stack.worker_socket);
    struct http_response response;
    char content[64];
    struct buffer bytes;
    size_t len;
    int type;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_head(&bytes, &stack, &outer);
    fastcgi_append_request(&bytes, &stack, &inner);
    fastcgi_append_stream(&bytes, FASTCGI_STDIN, 1, body, sizeof body - 1);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    /* Specification, section 5.5: FCGI_CANT_MPX_CONN (1) for the inner one. */
    type = fastcgi_receive_record(fd, TIMEOUT_MS, content, sizeof content, &len);
    if (type != FASTCGI_END_REQUEST || len < 5 || content[4] != 1) {
        fail_msg("the inner request should be refused with FCGI_CANT_MPX_CONN, a record of type %d came",
                 type);
    }
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_ANSWERED || response.status != 200) {
        fail_msg("the outer request was answered %d: %s", response.status, response.body);
    }
    assert_true(is_stored("outer"));
    http_response_free(&response);
    expect_no_more("after the outer request", fd);
    close(fd);
    assert_false(is_stored("inner"));
}

/* ---- The length of a body ---- */

static void a_body_without_a_length_ends_with_its_stream(void **state)
{
    const struct fastcgi_request absent = {.path = "incidents.upsert",
                                           .content_length = "",
                                           .body =
                                               "{\"reference_id\":\"absent\",\"started_at\":\"2024-01-01\"}"};
    const struct fastcgi_request unknown = {
        .path = "incidents.upsert",
        .content_length = "-1",
        .body = "{\"reference_id\":\"unknown\",\"started_at\":\"2024-01-01\"}"};
    const struct fastcgi_request empty = {.path = "incidents.upsert",
                                          .content_length = "",
                                          .variables = {"CONTENT_LENGTH", ""},
                                          .body =
                                              "{\"reference_id\":\"empty\",\"started_at\":\"2024-01-01\"}"};

    exchange("no CONTENT_LENGTH", &absent, 200);
    assert_true(is_stored("absent"));
    exchange("an empty CONTENT_LENGTH", &empty, 200);
    assert_true(is_stored("empty"));
    exchange("a CONTENT_LENGTH of -1, as Caddy says it", &unknown, 200);
    assert_true(is_stored("unknown"));
}

/* The records of mod_fcgid 2.3.9 for a body that came in HTTP/2 without a length. */
static void a_body_with_empty_records_in_it_ends_with_its_length(void **state)
{
    static const char body[] = "{\"reference_id\":\"holes\",\"started_at\":\"2024-01-01\"}";
    const struct fastcgi_request request = {.path = "incidents.upsert", .body = body};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_head(&bytes, &stack, &request);
    fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, "", 0);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    clock_sleep_ms(QUIET_MS);
    buffer_reset(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, body, 20);
    fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, "", 0);
    fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, body + 20, sizeof body - 1 - 20);
    fastcgi_append_record(&bytes, 1, FASTCGI_STDIN, 1, "", 0);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    expect("a body with empty records in it", fd, 200);
    close(fd);
    assert_true(is_stored("holes"));
}

/* No more comes, though the connection stays open. */
static void a_body_that_ends_before_its_length_gets_a_response(void **state)
{
    const struct fastcgi_request request = {.path = "incidents.upsert",
                                            .keep = true,
                                            .content_length = "1000",
                                            .body =
                                                "{\"reference_id\":\"short\",\"started_at\":\"2024-01-01\"}"};

    exchange("48 bytes of 1,000 and their end", &request, 422);
    assert_false(is_stored("short"));
}

/* A peer that writes all of it before it reads, as mod_fcgid, Caddy and fcgiwrap do: the response may not be
 * taken back by a close with bytes unread. */
static void the_response_to_a_body_far_over_the_limit_arrives(void **state)
{
    static char body[24 * LIMIT];
    const struct fastcgi_request requests[] = {
        {.path = "incidents.upsert", .body = body, .body_len = sizeof body},
        {.path = "incidents.upsert", .body = body, .body_len = sizeof body, .keep = true},
        {.path = "incidents.upsert", .body = body, .body_len = sizeof body, .content_length = ""},
    };

    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        int fd = fastcgi_connect(stack.worker_socket);
        struct buffer bytes;
        struct http_response response;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_request(&bytes, &stack, &requests[i]);
        if (!fastcgi_send(fd, bytes.data, bytes.len)) {
            fail_msg("the worker closed before it had read the body");
        }
        expect("24 MiB", fd, 413);
        assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_CLOSED);
        http_response_free(&response);
        buffer_free(&bytes);
        close(fd);
    }
    check_the_worker_serves("behind bodies of 24 MiB");
}

/* The same for what is no request, and is told so. */
static void the_refusal_of_another_role_arrives(void **state)
{
    static const char begin[8] = {0, 2, 0}, params[60000];
    char content[64];
    size_t len;

    for (int i = 0; i < 20; i++) {
        int fd = fastcgi_connect(stack.worker_socket), type;
        struct buffer bytes;

        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_record(&bytes, 1, FASTCGI_BEGIN_REQUEST, 1, begin, sizeof begin);
        fastcgi_append_stream(&bytes, FASTCGI_PARAMS, 1, params, sizeof params);
        assert_true(fastcgi_send(fd, bytes.data, bytes.len));
        type = fastcgi_receive_record(fd, TIMEOUT_MS, content, sizeof content, &len);
        assert_int_equal(type, FASTCGI_END_REQUEST);
        assert_int_equal(content[4], 3); /* section 5.5: FCGI_UNKNOWN_ROLE */
        buffer_free(&bytes);
        close(fd);
    }
}

/* How many descriptors the worker has, once they are at most so many or the time is over. */
static size_t await_descriptors(size_t most)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;

    while (worker_descriptors(&stack) > most && clock_now_ms() < deadline_ms) {
        clock_sleep_ms(50);
    }
    return worker_descriptors(&stack);
}

static void peers_that_never_close_are_closed_behind_their_response(void **state)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "healthz"};
    size_t before;
    struct buffer bytes;
    int fds[32];

    check_the_worker_serves("to begin with"); /* it is connected to Postgres now */
    before = worker_descriptors(&stack);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, bytes.len));
        expect("a peer that does not close", fds[i], 200);
    }
    assert_true(await_descriptors(before) <= before);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        close(fds[i]);
    }
    buffer_free(&bytes);
}

static void a_body_of_another_length_than_declared_is_not_processed(void **state)
{
    /* The last ones are the right length added to 2^31, 2^32 and 2^64. */
    static const char *const lengths[] = {
        "0",
        "1",
        "47",
        "49",
        "1000",
        "1048576",
        "1048577",
        "99999999999",
        "-2",
        "-48",
        "+48",
        " 48",
        "48 ",
        "48,48",
        "48abc",
        "abc",
        "48e0",
        "0x30",
        "48.0",
        "2147483696",
        "4294967344",
        "18446744073709551664",
        "99999999999999999999999999999999999999999999999999999999999999999999",
    };
    struct fastcgi_request request = {.path = "incidents.upsert",
                                      .body = "{\"reference_id\":\"x\",\"started_at\":\"2024-01-01\"}  "};

    assert_int_equal(strlen(request.body), 48);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int fd = fastcgi_connect(stack.worker_socket);
        struct http_response response;
        struct buffer bytes;
        char what[128];

        snprintf(what, sizeof what, "48 bytes with a CONTENT_LENGTH of \"%s\"", lengths[i]);
        request.content_length = lengths[i];
        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        fastcgi_append_request(&bytes, &stack, &request);
        assert_true(fastcgi_send(fd, bytes.data, bytes.len));
        buffer_free(&bytes);
        shutdown(fd, SHUT_WR); /* else more of them might come */
        if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_ANSWERED ||
            (response.status < 400 || response.status > 499 || response.json == NULL)) {
            fail_msg("%s: was answered %d %s", what, response.status, response.body);
        }
        http_response_free(&response);
        close(fd);
        check_nothing_is_stored(what);
    }
    request.content_length = "48";
    exchange("the right CONTENT_LENGTH", &request, 200);
}

/* A body of exactly that many bytes, which is an upsert and blanks. Free it. */
static char *make_body(size_t len)
{
    static const char start[] = "{\"reference_id\":\"sized\",\"started_at\":\"2024-01-01\"";
    char *body = malloc(len + 1);

    assert_non_null(body);
    memset(body, ' ', len);
    memcpy(body, start, sizeof start - 1);
    body[len - 1] = '}';
    body[len] = '\0';
    return body;
}

static void a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not(void **state)
{
    char *body = make_body(LIMIT), *over = make_body(LIMIT + 1);
    struct fastcgi_request request = {.path = "incidents.upsert", .body = over, .body_len = LIMIT + 1};

    exchange("1 MiB and a byte", &request, 413);
    request.content_length = "";
    exchange("1 MiB and a byte, no CONTENT_LENGTH", &request, 413);
    check_nothing_is_stored("over the limit");
    request = (struct fastcgi_request){.path = "incidents.upsert", .body = body, .body_len = LIMIT};
    exchange("1 MiB", &request, 200);
    request.content_length = "";
    exchange("1 MiB, no CONTENT_LENGTH", &request, 200);
    free(body);
    free(over);
}

static void the_token_is_judged_before_the_size(void **state)
{
    static const size_t sizes[] = {LIMIT + 1, 3 * LIMIT, 20 * LIMIT};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *body = make_body(sizes[i]), what[64];
        struct fastcgi_request request = {.path = "incidents.upsert", .body = body, .body_len = sizes[i]};

        snprintf(what, sizeof what, "%zu bytes with a good token", sizes[i]);
        exchange(what, &request, 413);
        snprintf(what, sizeof what, "%zu bytes with a token that is unknown", sizes[i]);
        request.authorization = "Bearer nobodys";
        exchange(what, &request, 401);
        snprintf(what, sizeof what, "%zu bytes without a token", sizes[i]);
        request.authorization = "";
        exchange(what, &request, 401);
        free(body);
    }
    check_nothing_is_stored("over the limit");
}

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
            send_and_hear_no_success(what, bytes.data, len);
        }
        check_nothing_is_stored("a request cut short");
        buffer_free(&bytes);
    }
    check_the_worker_serves("after requests cut short");
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
    check_the_worker_serves("after connections closed in the middle");
    check_nothing_is_stored("connections closed in the middle");
}

static void bytes_that_are_no_fastcgi_harm_nobody(void **state)
{
    static const char http[] =
        "POST /api/incidents.upsert HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    static char noise[64 * 1024];
    uint32_t seed = 1;

    send_and_hear_no_success("nothing at all", "", 0);
    send_and_hear_no_success("one byte", "\1", 1);
    send_and_hear_no_success("HTTP", http, sizeof http - 1);
    send_and_hear_no_success("zeros", noise, sizeof noise);
    memset(noise, 0xff, sizeof noise);
    send_and_hear_no_success("ones", noise, sizeof noise);
    for (int pass = 0; pass < 20; pass++) {
        for (size_t i = 0; i < sizeof noise; i++) {
            seed = seed * 1664525 + 1013904223;
            noise[i] = (char)(seed >> 24);
        }
        send_and_hear_no_success("noise", noise, sizeof noise);
    }
    check_the_worker_serves("after bytes that are no FastCGI");
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
        send_and_hear_no_success(cases[i].what, bytes.data, bytes.len);
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
        check_the_worker_serves(cases[i].what);
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
        send_and_hear_no_success(cases[i].what, bytes.data, bytes.len);
        buffer_free(&bytes);
        check_the_worker_serves(cases[i].what);
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
        expect("the request behind it", fd, 200);
        close(fd);
    }
    assert_true(is_stored("managed"));
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
            send_and_hear_no_success("an aborted request", bytes.data, bytes.len);
            buffer_free(&bytes);
        }
    }
    check_nothing_is_stored("aborted requests");
    check_the_worker_serves("after aborted requests");
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
    check_the_worker_serves("after 200 silent connections");
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
    check_the_worker_serves("beside 100 connections on which nothing comes");
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
    check_the_worker_serves("while 64 peers do not read their responses");
    assert_true(is_stored("unread"));
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
    check_the_worker_serves("while 64 peers do not close their connections");
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
    check_the_worker_serves("while a peer sends on and on");
    close(fd);
    check_the_worker_serves("after it");
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

    exchange("a request with line ends", &request, 404);
    exchange("a request behind it", &behind, 200);
    log = await_in_file(stack.worker_log, "request_id=\"behind\"");
    for (line = strtok(log, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "forged", 6) == 0 || strstr(line, " info forged=line") != NULL) {
            fail_msg("the log has a line that the client wrote: %s", line);
        }
    }
    free(log);
}

/* ---- Through nginx ---- */

/* Appends text with every `from` replaced; there must be one. */
static void append_replaced(struct buffer *out, const char *text, const char *from, const char *to)
{
    const char *found = strstr(text, from);

    if (found == NULL) {
        fail_msg("the configuration that scripts/service wrote has no \"%s\"", from);
    }
    for (; found != NULL; found = strstr(text, from)) {
        buffer_append(out, text, (size_t)(found - text));
        buffer_append_text(out, to);
        text = found + strlen(from);
    }
    buffer_append_text(out, text);
}

struct replacement {
    const char *from;
    const char *to;
};

/* Writes a file of the running nginx anew, changed, into another directory. */
static void derive_file(const char *name, const char *directory, const struct replacement *replacements,
                        size_t count)
{
    char path[STACK_PATH_MAX];
    char *text;
    FILE *file;

    snprintf(path, sizeof path, "%s/nginx/%s", stack.directory, name);
    text = read_whole_file(path);
    for (size_t i = 0; i < count; i++) {
        struct buffer changed;

        buffer_init(&changed, LIMIT);
        append_replaced(&changed, text, replacements[i].from, replacements[i].to);
        free(text);
        text = changed.data;
    }
    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(text);
}

/* Starts a second nginx, as scripts/service does, with that configuration; sets up a stack to send through
 * it.
 */
static pid_t start_other_nginx(const char *directory, struct stack *other)
{
    char configuration[STACK_PATH_MAX], log[STACK_PATH_MAX], start[4 * STACK_PATH_MAX];
    const char *const argv[] = {"/bin/sh", "-c", start, NULL};
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t pid;

    snprintf(configuration, sizeof configuration, "%s/nginx.conf", directory);
    snprintf(log, sizeof log, "%s/start.log", directory);
    /* Postgres's user is the one who may use the worker's socket where root runs this. */
    snprintf(start, sizeof start,
             "PATH=$PATH:/usr/sbin; exec setpriv --pdeathsig QUIT %s -- nginx -p %s/ -c %s -e %s/error.log",
             geteuid() == 0 ? "--reuid postgres --regid postgres --init-groups" : "", directory,
             configuration, directory);
    pid = process_start(argv, NULL, log);
    *other = stack;
    snprintf(other->nginx_socket, sizeof other->nginx_socket, "%s/nginx.sock", directory);
    while (!http_is_listening(other->nginx_socket)) {
        if (clock_now_ms() > deadline_ms || process_wait(pid, 10) >= 0) {
            char *text = read_whole_file(log);

            fprintf(stderr, "%s\n", text);
            free(text);
            fail_msg("nginx does not start with %s", configuration);
        }
    }
    return pid;
}

static pid_t derive_nginx(const char *name, const struct replacement *replacements, size_t count,
                          struct stack *other)
{
    char directory[96], listen[160], include[160], old_listen[160], old_include[160];
    const struct replacement main_replacements[] = {{old_listen, listen}, {old_include, include}};

    snprintf(directory, sizeof directory, "%s/%s", stack.directory, name);
    assert_int_equal(mkdir(directory, 0700), 0);
    if (geteuid() == 0) {
        struct passwd *user = getpwnam("postgres");

        assert_non_null(user);
        assert_int_equal(chown(directory, user->pw_uid, user->pw_gid), 0);
    }
    snprintf(old_listen, sizeof old_listen, "listen unix:%s;", stack.nginx_socket);
    snprintf(listen, sizeof listen, "listen unix:%s/nginx.sock;", directory);
    snprintf(old_include, sizeof old_include, "include %s/nginx/incidents.conf;", stack.directory);
    snprintf(include, sizeof include, "include %s/incidents.conf;", directory);
    derive_file("nginx.conf", directory, main_replacements, 2);
    derive_file("incidents.conf", directory, replacements, count);
    return start_other_nginx(directory, other);
}

static void a_chunked_body_is_read_whole(void **state)
{
    static const char body[] = "{\"reference_id\":\"chunked\",\"started_at\":\"2024-01-01\"}";
    const struct call call = {
        .path = "incidents.upsert", .body = body, .headers = {"Transfer-Encoding: chunked"}};
    struct http_response response;

    http_through_nginx(&stack, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    assert_true(is_stored("chunked"));
}

static void a_chunked_body_that_nginx_does_not_buffer_is_read_whole(void **state)
{
    static const struct replacement replacements[] = {
        {"fastcgi_request_buffering on;", "fastcgi_request_buffering off;"},
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    char *large = make_body(LIMIT), *over = make_body(LIMIT + 1);
    struct stack other;
    pid_t pid = derive_nginx("unbuffered", replacements, 2, &other);
    struct call call = {.path = "incidents.upsert", .headers = {"Transfer-Encoding: chunked"}};
    struct http_response response;

    call.body = "{\"reference_id\":\"streamed\",\"started_at\":\"2024-01-01\"}";
    http_through_nginx(&other, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    assert_true(is_stored("streamed"));
    call.body = large;
    http_through_nginx(&other, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body of 1 MiB was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    call.body = over;
    http_through_nginx(&other, &call, &response);
    if (response.status != 413) {
        fail_msg("a chunked body over the limit was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    free(large);
    free(over);
    http_close();
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
}

/* How many connections to the worker's socket are open, by the kernel's table. */
static size_t open_connections(void)
{
    char *table = read_whole_file("/proc/net/unix"), *line;
    size_t count = 0;

    for (line = strtok(table, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char state[3] = "";

        /* Num RefCount Protocol Flags Type St Inode Path; state 03 is connected. */
        if (strstr(line, stack.worker_socket) != NULL &&
            sscanf(line, "%*s %*s %*s %*s %*s %2s", state) == 1 && strcmp(state, "03") == 0) {
            count++;
        }
    }
    free(table);
    return count;
}

static void send_all_sorts(struct load_client *client)
{
    char *over = malloc(LIMIT + 1);

    memset(over, ' ', LIMIT);
    over[LIMIT] = '\0';
    for (size_t i = 0; i < 25; i++) {
        char reference_id[32], body[128];
        const struct call calls[] = {
            {.path = "incidents.upsert", .body = body},
            {.path = "incidents.upsert", .body = body, .authorization = "Bearer wrong"},
            {.path = "incidents.forge", .body = body},
            {.verb = "PUT", .path = "incidents.upsert", .body = body},
            {.path = "incidents.upsert", .body = over, .body_len = LIMIT + (i % 3 == 0 ? 1 : 0)},
            {.path = "incidents.upsert", .body = "{\"reference_id\":"},
            {.verb = "GET", .path = "healthz"},
        };
        const int statuses[] = {200, 401, 404, 405, i % 3 == 0 ? 413 : 422, 422, 200};
        size_t which = (i + client->number) % 7;
        struct http_response response;

        snprintf(reference_id, sizeof reference_id, "mixed-%zu-%zu", client->number, i);
        format_upsert(body, sizeof body, reference_id);
        if (load_send(client, &calls[which], statuses[which], &response)) {
            if (which == 0 && strcmp(http_response_text(&response, "reference_id"), reference_id) != 0) {
                load_fail(client, "%s was answered with another's response: %s", reference_id, response.body);
            } else if (statuses[which] != 200 && *http_response_text(&response, "error") == '\0') {
                load_fail(client, "%d was answered without an error code: %s", response.status,
                          response.body);
            }
        }
        http_response_free(&response);
    }
    free(over);
}

static void without_kept_connections_each_of_200_mixed_requests_gets_its_own_response(void **state)
{
    static const struct replacement replacements[] = {
        {"fastcgi_keep_conn on;", "fastcgi_keep_conn off;"},
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    struct stack other;
    pid_t pid = derive_nginx("unkept", replacements, 2, &other);

    load_run(&other, 8, send_all_sorts, NULL);
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
    check_the_worker_serves("after connections that are not kept");
}

static void with_kept_connections_each_of_200_mixed_requests_gets_its_own_response(void **state)
{
    static const struct replacement replacements[] = {
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    struct stack other;
    pid_t pid = derive_nginx("kept", replacements, 1, &other);
    size_t kept;

    load_run(&other, 8, send_all_sorts, NULL);
    kept = open_connections();
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
    if (kept == 0) {
        fail_msg("nginx has kept no connection: the test has tested nothing");
    }
    check_the_worker_serves("after kept connections");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_request_is_stored_and_gets_a_response),
        cmocka_unit_test(without_keep_conn_the_connection_is_closed_behind_the_response),
        cmocka_unit_test(a_kept_connection_carries_many_requests),
        cmocka_unit_test(what_comes_in_one_piece_with_a_request_is_not_processed),
        cmocka_unit_test(a_request_that_arrives_byte_by_byte_is_read_whole),
        cmocka_unit_test(the_forged_request_of_these_tests_would_be_executed),
        cmocka_unit_test(a_forged_request_in_a_body_is_never_executed),
        cmocka_unit_test(a_second_request_within_the_first_is_not_executed),
        cmocka_unit_test(a_body_without_a_length_ends_with_its_stream),
        cmocka_unit_test(a_body_with_empty_records_in_it_ends_with_its_length),
        cmocka_unit_test(a_body_that_ends_before_its_length_gets_a_response),
        cmocka_unit_test(the_response_to_a_body_far_over_the_limit_arrives),
        cmocka_unit_test(the_refusal_of_another_role_arrives),
        cmocka_unit_test(peers_that_never_close_are_closed_behind_their_response),
        cmocka_unit_test(a_body_of_another_length_than_declared_is_not_processed),
        cmocka_unit_test(a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not),
        cmocka_unit_test(the_token_is_judged_before_the_size),
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
        cmocka_unit_test(a_chunked_body_is_read_whole),
        cmocka_unit_test(a_chunked_body_that_nginx_does_not_buffer_is_read_whole),
        cmocka_unit_test(without_kept_connections_each_of_200_mixed_requests_gets_its_own_response),
        cmocka_unit_test(with_kept_connections_each_of_200_mixed_requests_gets_its_own_response),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
