/* Tests of writing JSON strings, with json-c as the judge, and numbers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

/* Whether a text, once it is written, is read as what it was. */
static void expect_same(const char *text, size_t len)
{
    struct json_object *read;
    struct buffer written;

    buffer_init(&written, 1024);
    buffer_append_json_string(&written, text, len);
    assert_false(written.failed);
    read = json_tokener_parse(written.data);
    assert_true(json_object_is_type(read, json_type_string));
    assert_int_equal(json_object_get_string_len(read), len);
    assert_memory_equal(json_object_get_string(read), text, len);
    json_object_put(read);
    buffer_free(&written);
}

static void every_byte_of_ascii_is_read_as_it_was_written(void **state)
{
    for (int byte = 0; byte < 0x80; byte++) {
        const char text[] = {'a', (char)byte, 'b', (char)byte, (char)byte};

        expect_same(text, sizeof text);
        expect_same(text + 1, 1);
    }
}

static void other_characters_stand_for_themselves(void **state)
{
    static const char text[] = "\u00e9 \u20ac \U0001F600";
    struct buffer written;

    expect_same("", 0);
    expect_same(text, strlen(text));
    buffer_init(&written, 1024);
    buffer_append_json_string(&written, text, strlen(text));
    buffer_append_json_string(&written, "/\x7f\n", 3);
    assert_string_equal(written.data, "\"\u00e9 \u20ac \U0001F600\"\"/\x7f\\n\"");
    buffer_free(&written);
}

static void a_string_that_does_not_fit_is_a_failure(void **state)
{
    struct buffer written;

    for (size_t max = 0; max < 8; max++) {
        buffer_init(&written, max);
        buffer_append_json_string(&written, "a\nb\"c", 5); /* nine bytes with its quotes */
        assert_true(written.failed);
        buffer_free(&written);
    }
}

static void a_number_is_its_digits(void **state)
{
    static const uint64_t numbers[] = {0, 9, 10, 99, 100, 12345, UINT64_MAX};
    struct buffer written;
    char expected[32];

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        buffer_init(&written, 20);
        buffer_append_number(&written, numbers[i]);
        assert_false(written.failed);
        snprintf(expected, sizeof expected, "%" PRIu64, numbers[i]);
        assert_string_equal(written.data, expected);
        buffer_free(&written);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_ascii_is_read_as_it_was_written),
        cmocka_unit_test(other_characters_stand_for_themselves),
        cmocka_unit_test(a_string_that_does_not_fit_is_a_failure),
        cmocka_unit_test(a_number_is_its_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
