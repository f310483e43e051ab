/* An answer in CGI's form, with memory and without. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/exchange.h"
#include "fastcgi/parser.h"

#define BODY           "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}"
#define HEAD_BEHIND_ID "\r\nContent-Length: 63\r\n\r\n"
#define HEAD_BEFORE_ID                                                                                       \
    "Status: 500 Internal Server Error\r\nContent-Type: application/json\r\nCache-Control: no-store\r\n"     \
    "X-Request-Id: "

/* Writes a response of that verb for which no memory was had, or for whose serialized form none is. */
static void expect_last_resort(const char *verb, bool has_body, const char *id, const char *expected)
{
    struct response response;
    struct buffer written;
    struct exchange_answer answer;

    response_init(&response, verb);
    response.body.failed = !has_body;
    buffer_init(&written, has_body ? 1 : 1024);
    exchange_write(&response, id, &written, &answer);
    if (answer.text.len != strlen(expected) || memcmp(answer.text.data, expected, answer.text.len) != 0) {
        fail_msg("should be %s\nis %.*s", expected, (int)answer.text.len, answer.text.data);
    }
    assert_ptr_equal(answer.text.data, answer.last_resort);
    buffer_free(&written);
    response_free(&response);
}

static void without_memory_the_answer_has_the_request_id(void **state)
{
    char id[REQUEST_ID_MAX + 1], expected[1024];

    (void)state;
    assert_int_equal(strlen(BODY), 63);
    expect_last_resort("POST", false, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID BODY);
    expect_last_resort("POST", true, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID BODY);
    expect_last_resort("HEAD", false, "a-1", HEAD_BEFORE_ID "a-1" HEAD_BEHIND_ID);
    memset(id, '~', REQUEST_ID_MAX);
    id[REQUEST_ID_MAX] = '\0';
    (void)snprintf(expected, sizeof expected, HEAD_BEFORE_ID "%s" HEAD_BEHIND_ID BODY, id);
    expect_last_resort("POST", false, id, expected);
}

static const char *no_variable(void *context, enum request_variable_number number)
{
    (void)context;
    (void)number;
    return NULL;
}

static void headers_over_the_limit_are_told_the_limit(void **state)
{
    struct exchange exchange;
    char sentence[64];

    (void)state;
    exchange_begin(&exchange, no_variable, NULL);
    exchange_refuse(&exchange);
    (void)snprintf(sentence, sizeof sentence, "the headers are over the limit of %d bytes",
                   (int)REQUEST_PARAMS_MAX);
    assert_int_equal(exchange.error.code, ERROR_REQUEST_TOO_LARGE);
    assert_string_equal(exchange.error.message, sentence);
    response_free(&exchange.response);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_memory_the_answer_has_the_request_id),
        cmocka_unit_test(headers_over_the_limit_are_told_the_limit),
    };

    return cmocka_run_group_tests_name("answers", tests, NULL, NULL);
}
