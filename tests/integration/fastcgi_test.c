/* The worker's FastCGI socket, spoken to byte by byte: requests as a web server sends them, and where a body
 * begins and ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi_checks.h"
#include "harness/fixture.h"

enum { LIMIT = 1024 * 1024, TIMEOUT_MS = 20000, QUIET_MS = 300 };

static struct stack stack;

/* ---- Good requests ---- */

static void a_request_is_stored_and_gets_a_response(void **state)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"good\",\"started_at\":\"2024-01-01\"}"};

    check_exchange(&stack, "a good request", &request, 200);
    assert_true(is_stored(&stack, "good"));
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
    expect_response("the only request", fd, 200);
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
        expect_response(what, fd, 200);
    }
    expect_no_response("after the last request", fd);
    close(fd);
    assert_int_equal(count_incidents(&stack), 50);
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
    expect_response("the first of five requests in one piece", fd, 200);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED) {
        fail_msg("the connection is still open, or another response came: %d %s", response.status,
                 response.body);
    }
    http_response_free(&response);
    close(fd);
    assert_true(is_stored(&stack, "piped-1"));
    assert_int_equal(count_incidents(&stack), 1);
    check_the_worker_serves(&stack, "after requests in one piece");
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
    expect_response("a request in single bytes", fd, 200);
    close(fd);
    assert_true(is_stored(&stack, "slow"));
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
    expect_response("the forged request sent as a real one", fd, 200);
    close(fd);
    assert_true(is_stored(&stack, "forged"));
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
    expect_response(c->what, fd, c->status);

    buffer_reset(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &next);
    fastcgi_send(fd, bytes.data, bytes.len);
    if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_CLOSED || !c->may_close) {
        if (response.status != 200 || *http_response_text(&response, "action") != '\0') {
            fail_msg("%s: the next request's response is not its own: %d %s", c->what, response.status,
                     response.body);
        }
        expect_no_response(c->what, fd);
    }
    http_response_free(&response);
    buffer_free(&bytes);
    buffer_free(&body);
    close(fd);
    check_nothing_is_stored(&stack, c->what);
    check_the_worker_serves(&stack, c->what);
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
    assert_true(is_stored(&stack, "outer"));
    http_response_free(&response);
    expect_no_response("after the outer request", fd);
    close(fd);
    assert_false(is_stored(&stack, "inner"));
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

    check_exchange(&stack, "no CONTENT_LENGTH", &absent, 200);
    assert_true(is_stored(&stack, "absent"));
    check_exchange(&stack, "an empty CONTENT_LENGTH", &empty, 200);
    assert_true(is_stored(&stack, "empty"));
    check_exchange(&stack, "a CONTENT_LENGTH of -1, as Caddy says it", &unknown, 200);
    assert_true(is_stored(&stack, "unknown"));
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
    expect_response("a body with empty records in it", fd, 200);
    close(fd);
    assert_true(is_stored(&stack, "holes"));
}

/* No more comes, though the connection stays open. */
static void a_body_that_ends_before_its_length_gets_a_response(void **state)
{
    const struct fastcgi_request request = {.path = "incidents.upsert",
                                            .keep = true,
                                            .content_length = "1000",
                                            .body =
                                                "{\"reference_id\":\"short\",\"started_at\":\"2024-01-01\"}"};

    check_exchange(&stack, "48 bytes of 1,000 and their end", &request, 422);
    assert_false(is_stored(&stack, "short"));
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
        expect_response("24 MiB", fd, 413);
        assert_int_equal(fastcgi_receive(fd, TIMEOUT_MS, &response), FASTCGI_CLOSED);
        http_response_free(&response);
        buffer_free(&bytes);
        close(fd);
    }
    check_the_worker_serves(&stack, "behind bodies of 24 MiB");
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

    check_the_worker_serves(&stack, "to begin with"); /* it is connected to Postgres now */
    before = worker_descriptors(&stack);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
        fds[i] = fastcgi_connect(stack.worker_socket);
        assert_true(fastcgi_send(fds[i], bytes.data, bytes.len));
        expect_response("a peer that does not close", fds[i], 200);
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
        check_nothing_is_stored(&stack, what);
    }
    request.content_length = "48";
    check_exchange(&stack, "the right CONTENT_LENGTH", &request, 200);
}

static void a_body_of_one_mebibyte_is_accepted_and_one_byte_more_is_not(void **state)
{
    char *body = make_body(LIMIT), *over = make_body(LIMIT + 1);
    struct fastcgi_request request = {.path = "incidents.upsert", .body = over, .body_len = LIMIT + 1};

    check_exchange(&stack, "1 MiB and a byte", &request, 413);
    request.content_length = "";
    check_exchange(&stack, "1 MiB and a byte, no CONTENT_LENGTH", &request, 413);
    check_nothing_is_stored(&stack, "over the limit");
    request = (struct fastcgi_request){.path = "incidents.upsert", .body = body, .body_len = LIMIT};
    check_exchange(&stack, "1 MiB", &request, 200);
    request.content_length = "";
    check_exchange(&stack, "1 MiB, no CONTENT_LENGTH", &request, 200);
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
        check_exchange(&stack, what, &request, 413);
        snprintf(what, sizeof what, "%zu bytes with a token that is unknown", sizes[i]);
        request.authorization = "Bearer nobodys";
        check_exchange(&stack, what, &request, 401);
        snprintf(what, sizeof what, "%zu bytes without a token", sizes[i]);
        request.authorization = "";
        check_exchange(&stack, what, &request, 401);
        free(body);
    }
    check_nothing_is_stored(&stack, "over the limit");
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
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
