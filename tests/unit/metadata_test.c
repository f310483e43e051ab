/* Tests of which metadata is kept. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "cases/json_texts.h"
#include "cases/texts.h"
#include "model/json.h"
#include "model/metadata.h"

/* ---- metadata ---- */

/* What an upsert answers for a body whose other arguments are good. */
static enum error_code judge_body(struct slice body, bool *is_empty, struct error *error)
{
    struct json_member member = {.name = "metadata"};
    bool stray_nul;

    *error = (struct error){ERROR_NONE, ""};
    if (!json_find_members(body, &member, 1, &stray_nul, error)) {
        return error->code;
    }
    assert_int_not_equal(member.type, JSON_INVALID);
    if (!metadata_check(&member, is_empty, error)) {
        assert_int_not_equal(error->code, ERROR_NONE);
        return error->code;
    }
    return ERROR_NONE;
}

static enum error_code judge_metadata(struct slice value, bool *is_empty, struct error *error)
{
    struct slice body = text_join(SLICE("{\"metadata\":"), value, SLICE("}"));
    enum error_code code = judge_body(body, is_empty, error);

    text_free(body);
    return code;
}

static void every_text_of_the_table_gets_its_verdict_in_metadata(void **state)
{
    static const struct {
        enum error_code code;
        const char *name;
    } expected[] = {
        [IN_METADATA_ACCEPTED] = {ERROR_NONE, "accepted"},
        [IN_METADATA_METADATA_INVALID] = {ERROR_METADATA_INVALID, "metadata_invalid"},
        [IN_METADATA_INVALID_JSON] = {ERROR_INVALID_JSON, "invalid_json"},
    };
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice body =
            text_join(SLICE(JSON_TEXT_BEFORE), text_of_row(&json_texts[i]), SLICE(JSON_TEXT_AFTER));
        bool is_empty = true;
        struct error error;
        enum error_code code = judge_body(body, &is_empty, &error);

        if (code != expected[json_texts[i].in_metadata].code) {
            text_report(&failures, json_texts[i].what, text_of_row(&json_texts[i]),
                        expected[json_texts[i].in_metadata].name);
        } else if (code == ERROR_NONE && is_empty) {
            text_report(&failures, json_texts[i].what, text_of_row(&json_texts[i]), "not empty");
        }
        text_free(body);
    }
    assert_int_equal(failures, 0);
}

static void null_and_an_empty_array_or_object_remove_the_metadata(void **state)
{
    static const char *const values[] = {"null", "[]", "[ ]", "[\n\t]", "{}", "{ }", "{\r\n}"};

    for (size_t i = 0; i < COUNT(values); i++) {
        bool is_empty = false;
        struct error error;

        if (judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error) != ERROR_NONE ||
            !is_empty) {
            fail_msg("%s: %s", values[i], error.message);
        }
    }
}

static void an_object_with_a_member_is_kept(void **state)
{
    static const char *const values[] = {
        "{\"a\":null}",
        "{\"a\":{}}",
        "{\"a\":[]}",
        "{\"a\":\"\"}",
        "{\"a\":1.10}",
        "{\"a\":true}",
        "{\"_\":0}",
        "{\"-\":0}",
        "{ \"A-1_b\" : false }",
        "{\"a\":[1,\"x\"]}",
        "{\"a\":\"\\n\"}",
        "{\"a\":\"\xc3\xa9\"}",
        "{\"a\":1,\"a\":2}",
        "{\"\\u0061\":\"a.b c\"}",
        "{\"a\":[null]}",
        "{\"a\":-0}",
        "{\"a\":1e308}",
        "{\"a\":[{\"b\":{}}]}",
        "{\"a\":\"\\\\u0000\"}",
        "{\"a\":5e-324}",
    };

    for (size_t i = 0; i < COUNT(values); i++) {
        bool is_empty = true;
        struct error error;

        if (judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error) != ERROR_NONE ||
            is_empty) {
            fail_msg("%s: %s", values[i], error.message);
        }
    }
}

static void expect_refused(const char *const values[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool is_empty = false;
        struct error error;

        if (judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error) !=
            ERROR_METADATA_INVALID) {
            fail_msg("%s: error code %d", values[i], (int)error.code);
        }
    }
}

static void metadata_that_is_no_object_is_refused(void **state)
{
    static const char *const values[] = {
        "1",     "0",   "-1.5",   "\"\"", "\"x\"", "\"{}\"",      "\"null\"",  "true",
        "false", "[1]", "[null]", "[[]]", "[{}]",  "[{\"a\":1}]", "[\"a\",1]", "[ 0 ]",
    };

    expect_refused(values, COUNT(values));
}

static void a_bad_key_or_value_at_any_depth_is_refused(void **state)
{
    static const char *const values[] = {
        "{\"\":1}",
        "{\"a.b\":1}",
        "{\"a b\":1}",
        "{\"\xc3\xa9\":1}",
        "{\"a\\u002eb\":1}",
        "{\"a\":1,\"b.c\":1}",
        "{\"a\":{\"b.c\":1}}",
        "{\"a\":[{\"b.c\":1}]}",
        "{\"a\":[[],[{\"b\":{\"\":null}}]]}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\\u0000\":1}",
        "{\"a\":[\"\\u0000\"]}",
        "{\"a\":{\"\\u0000\":1}}",
        "{\"a\":1e400}",
        "{\"a\":-1e400}",
        "{\"a\":1e-400}",
        "{\"a\":{\"b\":[1,2,1e400]}}",
        "{\"a\":1e400,\"b\":1}",
    };

    expect_refused(values, COUNT(values));
}

static void a_key_is_made_of_letters_digits_underscore_and_hyphen(void **state)
{
    static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t failures = 0;

    for (unsigned character = 0; character <= 0xffff; character++) {
        bool is_good = character > 0 && character < 0x80 && strchr(good, (int)character) != NULL;
        char value[24];
        bool is_empty;
        struct error error;

        if (character >= 0xd800 && character <= 0xdfff) {
            continue;
        }
        snprintf(value, sizeof value, "{\"k\\u%04x\":1}", character);
        if (judge_metadata((struct slice){value, strlen(value)}, &is_empty, &error) !=
                (is_good ? ERROR_NONE : ERROR_METADATA_INVALID) &&
            failures < 20) {
            text_report(&failures, "key", (struct slice){value, strlen(value)},
                        is_good ? "kept" : "metadata_invalid");
        }
    }
    assert_int_equal(failures, 0);
}

static void a_number_is_kept_while_postgres_can_keep_its_digits(void **state)
{
    /* Postgres manual, 8.1.2: numeric has at most 16,383 digits behind the decimal point. */
    static const struct {
        const char *what, *before, *digit;
        size_t digits;
        const char *after;
        enum error_code code;
    } cases[] = {
        {"16,383 digits behind the point", "0.", "1", 16383, "", ERROR_NONE},
        {"16,384 digits behind the point", "0.", "1", 16384, "", ERROR_METADATA_INVALID},
        {"16,383 zeros behind the point", "1.", "0", 16383, "", ERROR_NONE},
        {"16,384 zeros behind the point", "1.", "0", 16384, "", ERROR_METADATA_INVALID},
        {"16,384 digits, 1 of them moved before the point", "1.", "1", 16384, "e1", ERROR_NONE},
        {"16,383 digits and one more by the exponent", "1.", "1", 16383, "e-1", ERROR_METADATA_INVALID},
        {"100,000 digits behind the point", "0.", "1", 100000, "", ERROR_METADATA_INVALID},
        {"100,000 digits before the point", "1", "0", 100000, "", ERROR_METADATA_INVALID},
        {"300 digits before the point and 16,000 behind", "1.", "1", 16300, "e300", ERROR_NONE},
        {"16,384 digits made small by the exponent", "1", "0", 16383, "e-16383", ERROR_NONE},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice digits = text_repeat(cases[i].digit, cases[i].digits, cases[i].after, "");
        struct slice before = {cases[i].before, strlen(cases[i].before)};
        struct slice number = text_join(before, digits, SLICE(""));
        struct slice value = text_join(SLICE("{\"a\":"), number, SLICE("}"));
        bool is_empty;
        struct error error;

        if (judge_metadata(value, &is_empty, &error) != cases[i].code) {
            text_report(&failures, cases[i].what, value,
                        cases[i].code == ERROR_NONE ? "kept" : "metadata_invalid");
        }
        text_free(value);
        text_free(number);
        text_free(digits);
    }
    assert_int_equal(failures, 0);
}

static void a_zero_is_kept_whatever_its_exponent_while_postgres_can_keep_it(void **state)
{
    static const struct {
        const char *value;
        enum error_code code;
    } cases[] = {
        {"{\"a\":0e400}", ERROR_NONE},
        {"{\"a\":-0.0e400}", ERROR_NONE},
        {"{\"a\":0e-400}", ERROR_NONE},
        {"{\"a\":0e500}", ERROR_NONE},
        {"{\"a\":0e-500}", ERROR_NONE},
        {"{\"a\":0e-16383}", ERROR_NONE},
        {"{\"a\":0e-16384}", ERROR_METADATA_INVALID},
        {"{\"a\":0.0e-16383}", ERROR_METADATA_INVALID},
        {"{\"a\":0e99999999999999999999}", ERROR_METADATA_INVALID},
        {"{\"a\":0e-99999999999999999999}", ERROR_METADATA_INVALID},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice value = {cases[i].value, strlen(cases[i].value)};
        bool is_empty;
        struct error error;

        if (judge_metadata(value, &is_empty, &error) != cases[i].code) {
            text_report(&failures, "zero", value, cases[i].code == ERROR_NONE ? "kept" : "metadata_invalid");
        }
    }
    assert_int_equal(failures, 0);
}

/* A key that is refused is told (incident_test); no other key, and no value. */
static void a_refusal_names_metadata_and_echoes_no_more_than_a_bad_key(void **state)
{
    static const char *const values[] = {
        "\"zq9\"",
        "[\"zq9\"]",
        "{\"zq9\":[{\"b.c\":\"zq9\"}]}",
        "{\"zq9\":1e400}",
        "{\"zq9\":\"zq9\\u0000\"}",
        "{\"zq9\":{\"\":1}}",
    };

    for (size_t i = 0; i < COUNT(values); i++) {
        bool is_empty;
        struct error error;

        judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error);
        if (strstr(error.message, "metadata") == NULL || strstr(error.message, "zq9") != NULL) {
            fail_msg("%s: %s", values[i], error.message);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_the_table_gets_its_verdict_in_metadata),
        cmocka_unit_test(null_and_an_empty_array_or_object_remove_the_metadata),
        cmocka_unit_test(an_object_with_a_member_is_kept),
        cmocka_unit_test(metadata_that_is_no_object_is_refused),
        cmocka_unit_test(a_bad_key_or_value_at_any_depth_is_refused),
        cmocka_unit_test(a_key_is_made_of_letters_digits_underscore_and_hyphen),
        cmocka_unit_test(a_number_is_kept_while_postgres_can_keep_its_digits),
        cmocka_unit_test(a_zero_is_kept_whatever_its_exponent_while_postgres_can_keep_it),
        cmocka_unit_test(a_refusal_names_metadata_and_echoes_no_more_than_a_bad_key),
    };

    return cmocka_run_group_tests_name("metadata", tests, NULL, NULL);
}
