/* A response in CGI's form, with memory and without. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/exchange.h"

#define BODY           "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}"
#define HEAD_BEHIND_ID "\r\nContent-Length: 63\r\n\r\n"
#define HEAD_BEFORE_ID                                                                                       \
    "Status: 500 Internal Server Error\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"     \
    "X-Request-Id: "

static void begin(struct exchange *exchange, const char *verb, const char *id)
{
    const char *const variables[REQUEST_VARIABLES] = {[REQUEST_METHOD] = verb, [HTTP_X_REQUEST_ID] = id};
    struct stream body;

    stream_init(&body, 0);
    exchange_begin(exchange, variables, &body);
}

/* Ends an exchange for whose body no memory was had, or for whose response none is. */
static void expect_last_resort(const char *verb, bool has_body, const char *id, const char *expected)
{
    struct exchange exchange;
    struct slice response;
    struct buffer out;

    begin(&exchange, verb, id);
    exchange.response.body.failed = !has_body;
    buffer_init(&out, has_body ? 1 : RESPONSE_MAX);
    response = exchange_end(&exchange, &out);
    if (response.len != strlen(expected) || memcmp(response.data, expected, response.len) != 0) {
        fail_msg("should be %s\nis %.*s", expected, (int)response.len, response.data);
    }
    assert_int_equal(exchange.error.code, ERROR_INTERNAL); /* which is logged */
    assert_int_equal(exchange.response.status, 500);
    buffer_free(&out);
}

static void without_memory_the_response_has_the_request_id(void **state)
{
    char id[REQUEST_ID_MAX + 1], expected[1024];

    assert_int_equal(strlen(BODY), 63);
    expect_last_resort("POST", false, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID BODY);
    expect_last_resort("POST", true, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID BODY);
    expect_last_resort("HEAD", false, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID);
    memset(id, '~', REQUEST_ID_MAX);
    id[REQUEST_ID_MAX] = '\0';
    snprintf(expected, sizeof expected, HEAD_BEFORE_ID "%s" HEAD_BEHIND_ID BODY, id);
    expect_last_resort("POST", false, id, expected);
}

static void headers_over_the_limit_are_told_the_limit(void **state)
{
    struct exchange exchange;
    struct slice response;
    struct buffer out;
    char message[128];

    begin(&exchange, NULL, NULL);
    exchange_refuse_headers(&exchange);
    buffer_init(&out, RESPONSE_MAX);
    response = exchange_end(&exchange, &out);
    snprintf(message, sizeof message,
             "\"error\":\"request_too_large\",\"message\":\"the headers are over the limit of %d bytes\"",
             (int)REQUEST_PARAMS_MAX);
    assert_non_null(strstr(response.data, "Status: 413 Content Too Large\r\n"));
    assert_non_null(strstr(response.data, message));
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_the_response_has_the_request_id),
        cmocka_unit_test(headers_over_the_limit_are_told_the_limit),
    };

    return cmocka_run_group_tests_name("responses", tests, NULL, NULL);
}
