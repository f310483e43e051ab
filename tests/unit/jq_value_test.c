/* Tests of JSON as values of libjq: libjq's own reader and writer are what ours is held against. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cases/json_texts.h"
#include "incidentctl/import/jq_value.h"

static struct slice slice_of(const char *text)
{
    return (struct slice){.data = text, .len = strlen(text)};
}

static struct jq_keys keys; /* over all texts, so that they are met again */

static int set_up(void **state)
{
    jq_keys_init(&keys);
    return 0;
}

static int tear_down(void **state)
{
    jq_keys_free(&keys);
    return 0;
}

static void takes_what_is_json_and_reads_it_as_libjq_does(void **state)
{
    for (size_t i = 0; i < json_text_count; i++) {
        const struct json_text *row = &json_texts[i];
        struct error error;
        jv value;
        bool ok = jq_value_read((struct slice){.data = row->text, .len = row->len}, &keys, &value, &error);

        if (ok != (row->verdict == TEXT_VALID)) {
            fail_msg("%s: %s", row->what, ok ? "was taken" : error.message);
        }
        if (ok && !jv_equal(value, jv_parse_sized(row->text, (int)row->len))) {
            fail_msg("%s: libjq reads something else", row->what);
        }
        if (!ok) {
            assert_int_equal(error.code, ERROR_INVALID_JSON);
        }
    }
}

static void writes_what_libjq_would_write(void **state)
{
    for (size_t i = 0; i < json_text_count; i++) {
        const struct json_text *row = &json_texts[i];
        struct buffer text;
        struct error error;
        jv value, dumped, expected, again;

        if (row->verdict != TEXT_VALID) {
            continue;
        }
        buffer_init(&text, 1024 * 1024);
        assert_true(jq_value_read((struct slice){.data = row->text, .len = row->len}, &keys, &value, &error));
        jq_value_append(&text, jv_copy(value));
        assert_false(text.failed);
        dumped = jv_dump_string(value, 0); /* 1e400 is the largest double in it */
        expected = jv_parse(jv_string_value(dumped));
        jv_free(dumped);
        if (!jq_value_read((struct slice){.data = text.data, .len = text.len}, NULL, &again, &error) ||
            !jv_equal(expected, again)) {
            fail_msg("%s: written as %.*s", row->what, (int)text.len, text.data);
        }
        buffer_free(&text);
    }
}

static void writes_members_in_the_order_in_which_libjq_does(void **state)
{
    static const char text[] =
        "{\"z\":[1,\"a\\\"\\u0001\",{}],\"a\":[],\"m\":{\"x\":-1.5e-7,\"b\":null},\"\":true}";
    struct buffer written;
    struct error error;
    jv value, expected;

    buffer_init(&written, 1024);
    assert_true(jq_value_read(slice_of(text), NULL, &value, &error));
    expected = jv_dump_string(jv_copy(value), 0);
    jq_value_append(&written, value);
    assert_int_equal(written.len, strlen(jv_string_value(expected)));
    assert_memory_equal(written.data, jv_string_value(expected), written.len);
    jv_free(expected);
    buffer_free(&written);
}

/* More keys than there is room for, and ones that differ in a byte that the slot does not look at. */
static void keys_that_share_a_slot_stay_apart(void **state)
{
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 4 * JQ_KEYS; i++) {
            char text[64];
            struct error error;
            jv value, expected;

            snprintf(text, sizeof text, "{\"k%06dz\":%d,\"ka%dbz\":1,\"\":2}", i, i, i % 10);
            assert_true(jq_value_read(slice_of(text), &keys, &value, &error));
            expected = jv_parse(text);
            assert_true(jv_equal(value, expected));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_what_is_json_and_reads_it_as_libjq_does),
        cmocka_unit_test(writes_what_libjq_would_write),
        cmocka_unit_test(keys_that_share_a_slot_stay_apart),
        cmocka_unit_test(writes_members_in_the_order_in_which_libjq_does),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
