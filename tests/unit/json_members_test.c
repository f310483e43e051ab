/* Tests of finding members and elements in a JSON text, and of decoding and comparing its strings. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/json_texts.h"
#include "cases/texts.h"
#include "model/json.h"

/* ---- finding members ---- */

/* Finds members where the error does not matter. */
static bool find(struct slice text, struct json_member *members, size_t count, bool *stray_nul)
{
    struct error error = {ERROR_NONE, ""};

    return json_find_members(text, members, count, stray_nul, &error);
}

static void finding_members_judges_every_text_of_the_table(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice text = text_copy(text_of_row(&json_texts[i]));
        struct json_member member = {.name = "reference_id"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;
        size_t start = strspn(json_texts[i].text, " \t\r\n");
        enum error_code expected = ERROR_INVALID_JSON;
        bool found = json_find_members(text, &member, 1, &stray_nul, &error);

        if (json_texts[i].verdict == TEXT_VALID) {
            expected = json_texts[i].text[start] == '{' ? ERROR_NONE : ERROR_INVALID_ARGUMENTS;
        }
        if (found != (expected == ERROR_NONE) || error.code != expected) {
            text_report(&failures, json_texts[i].what, text,
                        expected == ERROR_NONE           ? "success"
                        : expected == ERROR_INVALID_JSON ? "invalid_json"
                                                         : "invalid_arguments");
        } else if (expected != ERROR_NONE && error.message[0] == '\0') {
            text_report(&failures, json_texts[i].what, text, "a sentence");
        }
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

static void a_valid_text_that_is_no_object_is_invalid_arguments(void **state)
{
    static const char *const texts[] = {"1", "\"a\"", "null", "true", "false", "[]", " [{}] ", "\"{}\""};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = text_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_member member = {.name = "a"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;

        if (json_find_members(text, &member, 1, &stray_nul, &error) ||
            error.code != ERROR_INVALID_ARGUMENTS) {
            fail_msg("%s: error code %d", texts[i], (int)error.code);
        }
        text_free(text);
    }
}

static void an_invalid_text_is_invalid_json_even_where_it_is_no_object(void **state)
{
    static const char *const texts[] = {
        "",    " ",   "1 2",      "[1",           "[] x",       "\"a",
        "nul", "[{]", "{\"a\":1", "{\"a\":1} {}", "{\"a\":01}", "{\"a\":1}]",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = text_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_member member = {.name = "a"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;

        if (json_find_members(text, &member, 1, &stray_nul, &error) || error.code != ERROR_INVALID_JSON) {
            fail_msg("%s: error code %d", texts[i], (int)error.code);
        }
        text_free(text);
    }
}

static void an_error_echoes_nothing_of_the_text(void **state)
{
    static const char *const texts[] = {"{\"zq9\":zq9}", "[\"zq9\"]", "{\"zq9\" \"zq9\"}", "\"zq9\\x\"",
                                        "zq9"};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct json_member member = {.name = "a"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;

        assert_false(
            json_find_members((struct slice){texts[i], strlen(texts[i])}, &member, 1, &stray_nul, &error));
        if (strstr(error.message, "zq9") != NULL) {
            fail_msg("%s: %s", texts[i], error.message);
        }
    }
}

static void a_found_value_is_exactly_its_own_bytes(void **state)
{
    struct slice text =
        text_copy(SLICE(" { \"s\" : \"a\\\"b\" , \"n\":-1.10 ,\"t\":true,\"f\":false ,\"z\": null\n,"
                        "\"o\": {\"k\": [1, {}] } ,\"a\":[ {\"x\":\"]\"} ,2 ],\"e\":{},\"l\":[],"
                        "\"last\":18446744073709551616} "));
    static const struct {
        enum json_event type;
        const char *value;
    } expected[] = {
        {JSON_STRING, "\"a\\\"b\""},
        {JSON_NUMBER, "-1.10"},
        {JSON_TRUE, "true"},
        {JSON_FALSE, "false"},
        {JSON_NULL, "null"},
        {JSON_OBJECT_BEGIN, "{\"k\": [1, {}] }"},
        {JSON_ARRAY_BEGIN, "[ {\"x\":\"]\"} ,2 ]"},
        {JSON_OBJECT_BEGIN, "{}"},
        {JSON_ARRAY_BEGIN, "[]"},
        {JSON_NUMBER, "18446744073709551616"},
    };
    struct json_member members[] = {
        {.name = "s"}, {.name = "n"}, {.name = "t"}, {.name = "f"}, {.name = "z"},
        {.name = "o"}, {.name = "a"}, {.name = "e"}, {.name = "l"}, {.name = "last"},
    };
    bool stray_nul;

    assert_true(find(text, members, COUNT(members), &stray_nul));
    for (size_t i = 0; i < COUNT(members); i++) {
        if (members[i].type != expected[i].type) {
            fail_msg("%s: type %d", members[i].name, (int)members[i].type);
        }
        expect_text(members[i].value, expected[i].value);
        assert_true(members[i].value.data > text.data && members[i].value.data < text.data + text.len);
        assert_false(members[i].has_nul);
    }
    assert_false(stray_nul);
    text_free(text);
}

static void an_absent_member_has_the_type_invalid(void **state)
{
    struct json_member members[] = {
        {.name = "a", .type = JSON_STRING, .value = {"x", 1}, .has_nul = true},
        {.name = "b", .type = JSON_STRING, .value = {"x", 1}, .has_nul = true},
    };
    bool stray_nul = true;

    assert_true(find(SLICE("{\"b\":1}"), members, COUNT(members), &stray_nul));
    assert_int_equal(members[0].type, JSON_INVALID);
    assert_false(members[0].has_nul);
    assert_int_equal(members[1].type, JSON_NUMBER);
    assert_false(members[1].has_nul);
    assert_false(stray_nul);
}

static void null_is_not_absent(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul;

    assert_true(find(SLICE("{\"a\":null}"), &member, 1, &stray_nul));
    assert_int_equal(member.type, JSON_NULL);
    expect_text(member.value, "null");
}

static void an_empty_object_has_no_members(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul = true;

    assert_true(find(SLICE("{}"), &member, 1, &stray_nul));
    assert_int_equal(member.type, JSON_INVALID);
    assert_false(stray_nul);
}

static void no_members_need_be_wanted(void **state)
{
    bool stray_nul = true;

    assert_true(find(SLICE("{\"a\":1}"), NULL, 0, &stray_nul));
    assert_false(stray_nul);
}

static void a_key_is_matched_as_what_it_spells(void **state)
{
    static const struct {
        const char *key;
        bool is_name;
    } cases[] = {
        {"name", true},          {"\\u006eame", true},
        {"\\u006Eame", true},    {"\\u006e\\u0061\\u006d\\u0065", true},
        {"nam\\u0065", true},    {"Name", false},
        {"NAME", false},         {"nam", false},
        {"names", false},        {" name", false},
        {"name ", false},        {"", false},
        {"\\\\u006eame", false}, {"nam\\u0165", false},
        {"nam\\u6500", false},   {"nam\xd0\xb5", false},
        {"name\\u0000", false},  {"\\u0000name", false},
        {"na\\nme", false},      {"\\name", false},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice key = {cases[i].key, strlen(cases[i].key)};
        struct slice text = text_join(SLICE("{\""), key, SLICE("\":1}"));
        struct json_member member = {.name = "name"};
        bool stray_nul;

        if (!find(text, &member, 1, &stray_nul) || (member.type == JSON_NUMBER) != cases[i].is_name) {
            text_report(&failures, "key", text, cases[i].is_name ? "found" : "not found");
        }
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

/* Every scalar value is walked in incident_test. */
static void a_string_is_decoded_to_what_it_spells(void **state)
{
    static const struct {
        const char *quoted;
        const char *meant;
    } cases[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20AC\"", "A\xC3\xA9\xE2\x82\xAC"},
        {"\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"", "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"},
        {"\"\\ud83d\\ude00 \\uD83D\\uDE00\"", "\xF0\x9F\x98\x80 \xF0\x9F\x98\x80"},
        {"\"\\ud800\\udc00\\udbff\\udfff\"", "\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"},
        {"\"\\ud876\\udc00\"", "\xF0\xAD\xA0\x80"}, /* U+2D800, which json-c 0.16 takes for U+FFFD */
        {"\"\\\\u0041\\\\ud876\"", "\\u0041\\ud876"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice quoted = text_copy((struct slice){cases[i].quoted, strlen(cases[i].quoted)});
        char *decoded = malloc(quoted.len);
        size_t len;

        assert_non_null(decoded);
        len = json_string_decode(quoted, decoded);
        if (len != strlen(cases[i].meant) || memcmp(decoded, cases[i].meant, len) != 0) {
            fail_msg("%s is not decoded to %s", cases[i].quoted, cases[i].meant);
        }
        free(decoded);
        text_free(quoted);
    }
}

static void only_the_outermost_object_is_searched(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul;

    assert_true(find(SLICE("{\"b\":{\"a\":1},\"c\":[{\"a\":2}],\"d\":\"a\"}"), &member, 1, &stray_nul));
    assert_int_equal(member.type, JSON_INVALID);
    assert_true(find(SLICE("{\"a\":1,\"b\":{\"a\":\"x\"}}"), &member, 1, &stray_nul));
    expect_text(member.value, "1");
    assert_true(find(SLICE("{\"a\":{\"a\":{\"a\":3}}}"), &member, 1, &stray_nul));
    expect_text(member.value, "{\"a\":{\"a\":3}}");
}

static void of_a_repeated_key_the_last_one_counts(void **state)
{
    static const struct {
        const char *text;
        enum json_event type;
        const char *value;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", JSON_NUMBER, "2"},
        {"{\"a\":1,\"b\":0,\"a\":\"x\"}", JSON_STRING, "\"x\""},
        {"{\"a\":1,\"a\":null}", JSON_NULL, "null"},
        {"{\"a\":null,\"a\":[1]}", JSON_ARRAY_BEGIN, "[1]"},
        {"{\"a\":{\"b\":1},\"a\":{}}", JSON_OBJECT_BEGIN, "{}"},
        {"{\"a\":1,\"\\u0061\":2}", JSON_NUMBER, "2"},
        {"{\"\\u0061\":1,\"a\":2}", JSON_NUMBER, "2"},
        {"{\"a\":1,\"a\":2,\"a\":3}", JSON_NUMBER, "3"},
        {"{\"a\":1,\"b\":{\"a\":2}}", JSON_NUMBER, "1"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct json_member member = {.name = "a"};
        bool stray_nul;

        assert_true(find((struct slice){cases[i].text, strlen(cases[i].text)}, &member, 1, &stray_nul));
        if (member.type != cases[i].type) {
            fail_msg("%s: type %d", cases[i].text, (int)member.type);
        }
        expect_text(member.value, cases[i].value);
    }
}

static void a_nul_escape_is_told_apart_by_where_it_stands(void **state)
{
    static const struct {
        const char *text;
        bool has_nul; /* of the wanted member, a */
        bool stray_nul;
    } cases[] = {
        {"{\"a\":\"x\",\"b\":\"y\"}", false, false},
        {"{\"a\":\"\\u0000\"}", true, false},
        {"{\"a\":\"x\\u0000y\",\"b\":1}", true, false},
        {"{\"a\":[[\"\\u0000\"]]}", true, false},
        {"{\"a\":{\"k\":\"\\u0000\"}}", true, false},
        {"{\"a\":{\"\\u0000\":1}}", true, false},
        {"{\"a\":[{\"k\":{\"x\\u0000\":1}},2]}", true, false},
        {"{\"\\u0061\":\"\\u0000\"}", true, false},
        {"{\"a\":\"\\\\u0000\"}", false, false},
        {"{\"a\":\"\\u0001\"}", false, false},
        {"{\"a\":1,\"b\":\"\\u0000\"}", false, true},
        {"{\"b\":\"\\u0000\",\"a\":1}", false, true},
        {"{\"a\":1,\"b\":[{\"c\":\"\\u0000\"}]}", false, true},
        {"{\"a\":1,\"b\":{\"\\u0000\":1}}", false, true},
        {"{\"a\":1,\"\\u0000\":1}", false, true},
        {"{\"\\u0000\":1,\"a\":1}", false, true},
        {"{\"a\":1,\"a\\u0000\":1}", false, true},
        {"{\"a\\u0000\":1}", false, true},
        {"{\"b\\u0000c\":{}}", false, true},
        {"{\"b\":\"\\\\u0000\"}", false, false},
        {"{\"a\":\"\\u0000\",\"b\":\"\\u0000\"}", true, true},
        {"{\"a\":{\"a\":\"\\u0000\"},\"b\":1}", true, false},
        {"{\"b\":{\"a\":\"\\u0000\"},\"a\":1}", false, true},
        {"{\"a\":\"x\",\"a\":\"\\u0000\"}", true, false},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice text = text_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_member member = {.name = "a"};
        bool stray_nul;

        assert_true(find(text, &member, 1, &stray_nul));
        if (member.has_nul != cases[i].has_nul) {
            text_report(&failures, "has_nul", text, cases[i].has_nul ? "true" : "false");
        }
        if (stray_nul != cases[i].stray_nul) {
            text_report(&failures, "stray_nul", text, cases[i].stray_nul ? "true" : "false");
        }
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

static void has_nul_is_about_the_member_that_counts(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul;

    assert_true(find(SLICE("{\"a\":\"\\u0000\",\"a\":\"x\"}"), &member, 1, &stray_nul));
    expect_text(member.value, "\"x\"");
    assert_false(member.has_nul);
}

static void a_nul_escape_in_one_wanted_member_is_not_in_another(void **state)
{
    struct json_member members[] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
    bool stray_nul;

    assert_true(
        find(SLICE("{\"a\":[1],\"b\":[\"\\u0000\"],\"c\":[2]}"), members, COUNT(members), &stray_nul));
    assert_false(members[0].has_nul);
    assert_true(members[1].has_nul);
    assert_false(members[2].has_nul);
    assert_false(stray_nul);
}

/* ---- walking an array ---- */

static void the_elements_of_an_array_come_one_by_one(void **state)
{
    static const struct {
        enum json_event type;
        const char *value;
        bool has_nul;
    } expected[] = {
        {JSON_OBJECT_BEGIN, "{\"identifier\" : \"x\"}", false},
        {JSON_STRING, "\"a,]\\\"\"", false},
        {JSON_NUMBER, "-1.10", false},
        {JSON_TRUE, "true", false},
        {JSON_FALSE, "false", false},
        {JSON_NULL, "null", false},
        {JSON_ARRAY_BEGIN, "[ 1,[2], {\"a\":[]} ]", false},
        {JSON_ARRAY_BEGIN, "[]", false},
        {JSON_STRING, "\"\\u0000\"", true},
        {JSON_OBJECT_BEGIN, "{\"a\":{\"\\u0000\":1}}", true},
        {JSON_ARRAY_BEGIN, "[[\"\\u0000\"]]", true},
        {JSON_OBJECT_BEGIN, "{}", false},
    };
    struct slice text = text_copy(SLICE("[ {\"identifier\" : \"x\"} ,\"a,]\\\"\",-1.10 ,true,false\n,null,[ "
                                        "1,[2], {\"a\":[]} ],[],\"\\u0000\","
                                        "{\"a\":{\"\\u0000\":1}},[[\"\\u0000\"]],{} ]"));
    struct json_reader reader;
    struct json_member element;

    json_reader_init(&reader, text);
    for (size_t i = 0; i < COUNT(expected); i++) {
        if (!json_next_element(&reader, &element)) {
            fail_msg("no element %zu, %s", i, expected[i].value);
        }
        if (element.type != expected[i].type || element.has_nul != expected[i].has_nul) {
            fail_msg("element %zu, %s: type %d, has_nul %d", i, expected[i].value, (int)element.type,
                     (int)element.has_nul);
        }
        expect_text(element.value, expected[i].value);
    }
    assert_false(json_next_element(&reader, &element));
    text_free(text);
}

static void an_empty_array_has_no_elements(void **state)
{
    static const char *const texts[] = {"[]", "[ ]", " [\n] "};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = text_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_reader reader;
        struct json_member element;

        json_reader_init(&reader, text);
        if (json_next_element(&reader, &element)) {
            fail_msg("'%s' has an element", texts[i]);
        }
        text_free(text);
    }
}

static void the_elements_of_a_found_member_end_with_the_member(void **state)
{
    struct slice text = text_copy(SLICE("{\"services\":[{\"a\":1},{\"a\":2}],\"other\":[3]}"));
    struct json_member member = {.name = "services"};
    struct json_reader reader;
    struct json_member element;
    bool stray_nul;

    assert_true(find(text, &member, 1, &stray_nul));
    json_reader_init(&reader, member.value);
    assert_true(json_next_element(&reader, &element));
    expect_text(element.value, "{\"a\":1}");
    assert_true(json_next_element(&reader, &element));
    expect_text(element.value, "{\"a\":2}");
    assert_false(json_next_element(&reader, &element));
    text_free(text);
}

/* ---- comparing strings ---- */

static void a_string_equals_what_its_escapes_spell(void **state)
{
    static const struct {
        const char *quoted;
        const char *ascii;
        bool equals;
    } cases[] = {
        {"\"\"", "", true},
        {"\"\"", "a", false},
        {"\"a\"", "", false},
        {"\"abc\"", "abc", true},
        {"\"abc\"", "abd", false},
        {"\"abc\"", "ab", false},
        {"\"ab\"", "abc", false},
        {"\"ABC\"", "abc", false},
        {"\"\\u0061bc\"", "abc", true},
        {"\"ab\\u0063\"", "abc", true},
        {"\"\\u006a\"", "j", true},
        {"\"\\u006A\"", "j", true},
        {"\"\\u004a\"", "j", false},
        {"\"\\u0061\"", "\\u0061", false},
        {"\"\\\\u0061\"", "\\u0061", true},
        {"\"\\\\u0061\"", "a", false},
        {"\"\\/\"", "/", true},
        {"\"/\"", "/", true},
        {"\"\\\\\"", "\\", true},
        {"\"\\\"\"", "\"", true},
        {"\"\\u0022\"", "\"", true},
        {"\"\\u005c\"", "\\", true},
        {"\"\\n\"", "\n", true},
        {"\"\\n\"", "n", false},
        {"\"\\t\"", "\t", true},
        {"\"\\r\"", "\r", true},
        {"\"\\b\"", "\b", true},
        {"\"\\f\"", "\f", true},
        {"\"\\b\"", "b", false},
        {"\"\\u000a\"", "\n", true},
        {"\"\\u007f\"", "\x7f", true},
        {"\"a\\u0000\"", "a", false},
        {"\"\\u0000\"", "", false},
        {"\"a\\u0000b\"", "a", false},
        {"\"\\u0161\"", "a", false},
        {"\"\\u6100\"", "a", false},
        {"\"\\u6161\"", "aa", false},
        {"\"\\uff41\"", "a", false},
        {"\"\\ud834\\udc61\"", "a", false},
        {"\"\xc3\xa9\"", "e", false},
        {"\"a\xc3\xa9\"", "a", false},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice quoted = text_copy((struct slice){cases[i].quoted, strlen(cases[i].quoted)});

        if (json_string_equals(quoted, cases[i].ascii) != cases[i].equals) {
            text_report(&failures, cases[i].ascii, quoted, cases[i].equals ? "equal" : "not equal");
        }
        text_free(quoted);
    }
    assert_int_equal(failures, 0);
}

static void every_ascii_character_equals_its_escape_and_no_other(void **state)
{
    size_t failures = 0;

    for (unsigned escaped = 0; escaped < 0x80; escaped++) {
        for (int character = 1; character < 0x80; character++) {
            char quoted[16];
            char ascii[] = {(char)character, '\0'};

            snprintf(quoted, sizeof quoted, "\"\\u%04x\"", escaped);
            if (json_string_equals((struct slice){quoted, 8}, ascii) != (escaped == (unsigned)character)) {
                text_report(&failures, "escape", (struct slice){quoted, 8}, "equal to that character only");
            }
        }
    }
    assert_int_equal(failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finding_members_judges_every_text_of_the_table),
        cmocka_unit_test(a_valid_text_that_is_no_object_is_invalid_arguments),
        cmocka_unit_test(an_invalid_text_is_invalid_json_even_where_it_is_no_object),
        cmocka_unit_test(an_error_echoes_nothing_of_the_text),
        cmocka_unit_test(a_found_value_is_exactly_its_own_bytes),
        cmocka_unit_test(an_absent_member_has_the_type_invalid),
        cmocka_unit_test(null_is_not_absent),
        cmocka_unit_test(an_empty_object_has_no_members),
        cmocka_unit_test(no_members_need_be_wanted),
        cmocka_unit_test(a_key_is_matched_as_what_it_spells),
        cmocka_unit_test(a_string_is_decoded_to_what_it_spells),
        cmocka_unit_test(only_the_outermost_object_is_searched),
        cmocka_unit_test(of_a_repeated_key_the_last_one_counts),
        cmocka_unit_test(a_nul_escape_is_told_apart_by_where_it_stands),
        cmocka_unit_test(has_nul_is_about_the_member_that_counts),
        cmocka_unit_test(a_nul_escape_in_one_wanted_member_is_not_in_another),
        cmocka_unit_test(the_elements_of_an_array_come_one_by_one),
        cmocka_unit_test(an_empty_array_has_no_elements),
        cmocka_unit_test(the_elements_of_a_found_member_end_with_the_member),
        cmocka_unit_test(a_string_equals_what_its_escapes_spell),
        cmocka_unit_test(every_ascii_character_equals_its_escape_and_no_other),
    };

    return cmocka_run_group_tests_name("json members", tests, NULL, NULL);
}
