/* Tests of the strict JSON reader: which texts are valid, and their tokens. */
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

/* Reads a whole text; the allocation is the text's own. */
static enum text_verdict verdict_in_place(struct slice text)
{
    struct json_reader reader;

    json_reader_init(&reader, text);
    return json_read_to_end(&reader) ? TEXT_VALID : TEXT_INVALID;
}

static enum text_verdict verdict_of(struct slice text)
{
    struct slice copy = text_copy(text);
    enum text_verdict verdict = verdict_in_place(copy);

    text_free(copy);
    return verdict;
}

static void expect_verdict(size_t *failures, const char *what, struct slice text, enum text_verdict expected)
{
    if (verdict_of(text) != expected) {
        text_report(failures, what, text, expected == TEXT_VALID ? "valid" : "invalid");
    }
}

/* ---- the reader over whole texts ---- */

static void every_text_of_the_table_has_its_own_name(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        for (size_t j = i + 1; j < json_text_count; j++) {
            if (strcmp(json_texts[i].what, json_texts[j].what) == 0) {
                text_report(&failures, json_texts[i].what, text_of_row(&json_texts[j]), "a name of its own");
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void every_text_of_the_table_gets_its_verdict(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        expect_verdict(&failures, json_texts[i].what, text_of_row(&json_texts[i]), json_texts[i].verdict);
    }
    assert_int_equal(failures, 0);
}

static void whitespace_around_a_text_changes_no_verdict(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice text = text_join(SLICE(" \t\r\n"), text_of_row(&json_texts[i]), SLICE("\n\r\t "));
        expect_verdict(&failures, json_texts[i].what, text, json_texts[i].verdict);
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

static void anything_behind_a_valid_text_makes_it_invalid(void **state)
{
    static const struct slice behind[] = {
        {" 1", 2},    {",", 1}, {"]", 1},  {"}", 1},    {":", 1},
        {" \"\"", 3}, {"x", 1}, {"\0", 1}, {"\xff", 1}, {"/", 1},
    };
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        if (json_texts[i].verdict != TEXT_VALID) {
            continue;
        }
        for (size_t j = 0; j < COUNT(behind); j++) {
            struct slice text = text_join(SLICE(""), text_of_row(&json_texts[i]), behind[j]);
            expect_verdict(&failures, json_texts[i].what, text, TEXT_INVALID);
            text_free(text);
        }
    }
    assert_int_equal(failures, 0);
}

static const char long_text[] =
    "{\"reference_id\":\"a\\u00e9\\uD834\\uDD1E\\\\\\\"\\n\xc3\xa9\xe2\x82\xac\xf0\x9d\x84\x9e\",\"started_"
    "at\":"
    "\"2024-01-01T00:00:00Z\" , \"services\":[{\"identifier\":\"x\",\"name\":null},{ "
    "}],\"metadata\":{\"a\":[1,"
    "-0.5e+10,[true,false,[ ]],\"\"],\"\\u0062\":{\"c\":{\"d\":0}}},\t\"n\":\n[[[[{\"k\":\"\\u0000\"}]]]]\r}";

static void every_proper_prefix_of_an_object_is_invalid(void **state)
{
    size_t failures = 0;

    assert_int_equal(verdict_of((struct slice){long_text, sizeof long_text - 1}), TEXT_VALID);
    for (size_t len = 0; len < sizeof long_text - 1; len++) {
        expect_verdict(&failures, "prefix", (struct slice){long_text, len}, TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void every_proper_suffix_of_an_object_is_invalid(void **state)
{
    size_t failures = 0;

    for (size_t start = 1; start < sizeof long_text - 1; start++) {
        struct slice suffix = {long_text + start, sizeof long_text - 1 - start};
        expect_verdict(&failures, "suffix", suffix, TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void every_prefix_of_every_container_in_the_table_is_invalid(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        const struct json_text *row = &json_texts[i];

        if (row->verdict != TEXT_VALID || (row->text[0] != '[' && row->text[0] != '{') ||
            (row->text[row->len - 1] != ']' && row->text[row->len - 1] != '}')) {
            continue;
        }
        for (size_t len = 0; len < row->len; len++) {
            expect_verdict(&failures, row->what, (struct slice){row->text, len}, TEXT_INVALID);
        }
    }
    assert_int_equal(failures, 0);
}

static void a_body_that_was_never_allocated_is_invalid(void **state)
{
    assert_int_equal(verdict_in_place((struct slice){NULL, 0}), TEXT_INVALID);
}

static void only_digits_are_a_text_of_one_byte(void **state)
{
    size_t failures = 0;

    for (int byte = 0; byte < 256; byte++) {
        char text[] = {(char)byte};
        bool is_digit = byte >= '0' && byte <= '9';
        expect_verdict(&failures, "one byte", (struct slice){text, 1}, is_digit ? TEXT_VALID : TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void only_four_bytes_are_whitespace(void **state)
{
    size_t failures = 0;

    for (int byte = 0; byte < 256; byte++) {
        char text[] = {'[', (char)byte, ']'};
        bool is_space = byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
        bool is_digit = byte >= '0' && byte <= '9';
        expect_verdict(&failures, "a byte in an array", (struct slice){text, 3},
                       is_space || is_digit ? TEXT_VALID : TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void a_string_holds_every_ascii_byte_but_controls_quote_and_backslash(void **state)
{
    size_t failures = 0;

    for (int byte = 0; byte < 256; byte++) {
        char text[] = {'"', (char)byte, '"'};
        bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
        expect_verdict(&failures, "a byte in a string", (struct slice){text, 3},
                       is_plain ? TEXT_VALID : TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void only_eight_bytes_are_short_escapes(void **state)
{
    size_t failures = 0;

    for (int byte = 0; byte < 256; byte++) {
        char text[] = {'"', '\\', (char)byte, '"'};
        bool is_escape = byte != 0 && strchr("\"\\/bfnrt", byte) != NULL;
        expect_verdict(&failures, "an escape", (struct slice){text, 4},
                       is_escape ? TEXT_VALID : TEXT_INVALID);
    }
    assert_int_equal(failures, 0);
}

static void only_hexadecimal_digits_spell_an_escape(void **state)
{
    size_t failures = 0;

    for (size_t place = 0; place < 4; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[] = "\"\\u1111\"";
            bool is_digit = byte != 0 && strchr("0123456789abcdefABCDEF", byte) != NULL;

            text[3 + place] = (char)byte;
            expect_verdict(&failures, "a digit of an escape", (struct slice){text, 8},
                           is_digit ? TEXT_VALID : TEXT_INVALID);
        }
    }
    assert_int_equal(failures, 0);
}

static void every_escape_but_a_surrogate_stands_alone(void **state)
{
    size_t failures = 0;

    for (unsigned unit = 0; unit <= 0xffff; unit++) {
        char text[16];
        bool is_surrogate = unit >= 0xd800 && unit <= 0xdfff;

        snprintf(text, sizeof text, unit % 2 == 0 ? "\"\\u%04x\"" : "\"\\u%04X\"", unit);
        expect_verdict(&failures, "an escape", (struct slice){text, 8},
                       is_surrogate ? TEXT_INVALID : TEXT_VALID);
    }
    assert_int_equal(failures, 0);
}

static void only_a_high_surrogate_before_a_low_one_is_a_pair(void **state)
{
    static const unsigned units[] = {0x0000, 0x0041, 0xd7ff, 0xd800, 0xd801, 0xd9ab, 0xdbff,
                                     0xdc00, 0xdc01, 0xddcd, 0xdfff, 0xe000, 0xffff};
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(units); i++) {
        for (size_t j = 0; j < COUNT(units); j++) {
            unsigned first = units[i];
            unsigned second = units[j];
            bool is_pair = first >= 0xd800 && first <= 0xdbff && second >= 0xdc00 && second <= 0xdfff;
            bool has_surrogate =
                (first >= 0xd800 && first <= 0xdfff) || (second >= 0xd800 && second <= 0xdfff);
            char text[24];

            snprintf(text, sizeof text, "\"\\u%04x\\u%04X\"", first, second);
            expect_verdict(&failures, "two escapes", (struct slice){text, 14},
                           is_pair || !has_surrogate ? TEXT_VALID : TEXT_INVALID);
        }
    }
    assert_int_equal(failures, 0);
}

/* RFC 3629, 3: the encoding's own arithmetic, so that surrogates come out as the ill-formed bytes to refuse.
 */
static size_t encode(unsigned long code_point, char bytes[4])
{
    if (code_point < 0x80) {
        bytes[0] = (char)code_point;
        return 1;
    }
    if (code_point < 0x800) {
        bytes[0] = (char)(0xc0 | code_point >> 6);
        bytes[1] = (char)(0x80 | (code_point & 0x3f));
        return 2;
    }
    if (code_point < 0x10000) {
        bytes[0] = (char)(0xe0 | code_point >> 12);
        bytes[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (code_point & 0x3f));
        return 3;
    }
    bytes[0] = (char)(0xf0 | code_point >> 18);
    bytes[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
    bytes[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
    bytes[3] = (char)(0x80 | (code_point & 0x3f));
    return 4;
}

static void a_string_holds_every_character_of_unicode_but_no_surrogate(void **state)
{
    size_t failures = 0;

    for (unsigned long code_point = 0x80; code_point < 0x120000; code_point++) {
        char text[6] = {'"'};
        size_t len = encode(code_point, text + 1);
        bool is_character = code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff);
        enum text_verdict expected = is_character ? TEXT_VALID : TEXT_INVALID;

        text[1 + len] = '"';
        if (verdict_in_place((struct slice){text, len + 2}) != expected && failures < 20) {
            text_report(&failures, "a character", (struct slice){text, len + 2},
                        is_character ? "valid" : "invalid");
        }
    }
    assert_int_equal(failures, 0);
}

/* Unicode Standard, table 3-7: how many bytes a sequence that starts so has, 0 where none does. */
static size_t sequence_len(unsigned lead, unsigned second)
{
    if (lead >= 0xc2 && lead <= 0xdf && second >= 0x80 && second <= 0xbf) {
        return 2;
    }
    if (lead >= 0xe0 && lead <= 0xef && second >= (lead == 0xe0 ? 0xa0U : 0x80U) &&
        second <= (lead == 0xed ? 0x9fU : 0xbfU)) {
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4 && second >= (lead == 0xf0 ? 0x90U : 0x80U) &&
        second <= (lead == 0xf4 ? 0x8fU : 0xbfU)) {
        return 4;
    }
    return 0;
}

static void a_string_holds_only_well_formed_utf8(void **state)
{
    static const unsigned char thirds[] = {0x22, 0x7f, 0x80, 0x9f, 0xbf, 0xc0, 0xff};
    size_t failures = 0;

    for (unsigned lead = 0x80; lead <= 0xff; lead++) {
        for (unsigned second = 0; second <= 0xff; second++) {
            size_t needed = sequence_len(lead, second);

            for (size_t i = 0; i < COUNT(thirds); i++) {
                bool continues = thirds[i] >= 0x80 && thirds[i] <= 0xbf;

                /* The whole string has 2 to 4 bytes: the lead, the second and copies of the third. */
                for (size_t len = 2; len <= 4; len++) {
                    char text[6] = {'"', (char)lead, (char)second, (char)thirds[i], (char)thirds[i]};
                    bool is_whole = needed == len && (len == 2 || continues);
                    bool is_whole_before_ascii = needed == 2 && len > 2 && thirds[i] == 0x7f;
                    bool is_good = is_whole || is_whole_before_ascii;

                    text[1 + len] = '"';
                    if (verdict_in_place((struct slice){text, len + 2}) !=
                            (is_good ? TEXT_VALID : TEXT_INVALID) &&
                        failures < 20) {
                        text_report(&failures, "bytes in a string", (struct slice){text, len + 2},
                                    is_good ? "valid" : "invalid");
                    }
                }
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void a_hundred_levels_are_read_and_no_more(void **state)
{
    static const struct {
        const char *what, *unit, *middle, *end;
        size_t times;
        enum text_verdict verdict;
    } cases[] = {
        {"100 arrays", "[", "", "]", 100, TEXT_VALID},
        {"101 arrays", "[", "", "]", 101, TEXT_INVALID},
        {"100 objects", "{\"a\":", "0", "}", 100, TEXT_VALID},
        {"101 objects", "{\"a\":", "0", "}", 101, TEXT_INVALID},
        {"500 arrays", "[", "", "]", 500, TEXT_INVALID},
        {"100,000 arrays", "[", "", "]", 100000, TEXT_INVALID},
        {"100,000 opening brackets", "[", "", "", 100000, TEXT_INVALID},
        {"50,000 opening objects in arrays", "[{\"\":", "", "", 50000, TEXT_INVALID},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice text = text_repeat(cases[i].unit, cases[i].times, cases[i].middle, cases[i].end);
        expect_verdict(&failures, cases[i].what, text, cases[i].verdict);
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

static void a_text_may_be_long(void **state)
{
    static const struct {
        const char *what, *before, *unit, *after;
    } cases[] = {
        {"a long string", "\"", "x\\n\xc3\xa9", "\""},
        {"a long key", "{\"", "key", "\":1}"},
        {"a long integer", "1", "0", ""},
        {"a long fraction", "0.", "12", ""},
        {"a long exponent", "1e", "0", ""},
        {"long whitespace", "[", " \n", "]"},
        {"many elements", "[", "[],", "[]]"},
        {"many members", "{", "\"a\":{},", "\"a\":1}"},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice middle = text_repeat(cases[i].unit, 100000, "", "");
        struct slice before = {cases[i].before, strlen(cases[i].before)};
        struct slice after = {cases[i].after, strlen(cases[i].after)};
        struct slice text = text_join(before, middle, after);

        expect_verdict(&failures, cases[i].what, text, TEXT_VALID);
        text_free(text);
        text_free(middle);
    }
    assert_int_equal(failures, 0);
}

/* ---- tokens ---- */

static void tokens_come_in_order_with_exact_text_and_depth(void **state)
{
    static const struct {
        enum json_event event;
        const char *text;
        unsigned depth;
    } expected[] = {
        {JSON_OBJECT_BEGIN, "{", 0},   {JSON_KEY, "\"a\"", 1},    {JSON_ARRAY_BEGIN, "[", 1},
        {JSON_NUMBER, "-1.50E+2", 2},  {JSON_TRUE, "true", 2},    {JSON_FALSE, "false", 2},
        {JSON_NULL, "null", 2},        {JSON_ARRAY_END, "]", 1},  {JSON_KEY, "\"\\u0062\"", 1},
        {JSON_STRING, "\"\\\"}\"", 1}, {JSON_KEY, "\"\"", 1},     {JSON_OBJECT_BEGIN, "{", 1},
        {JSON_OBJECT_END, "}", 1},     {JSON_OBJECT_END, "}", 0},
    };
    struct slice text =
        text_copy(SLICE(" {\"a\" : [ -1.50E+2 ,true,false,null ], \"\\u0062\":\"\\\"}\"\n,\"\":{ } }\t"));
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, text);
    for (size_t i = 0; i < COUNT(expected); i++) {
        enum json_event event = json_next(&reader, &token);

        if (event != expected[i].event || token.event != event || token.depth != expected[i].depth) {
            fail_msg("token %zu, %s: event %d (in the token %d) at depth %u, expected event %d at depth %u",
                     i, expected[i].text, (int)event, (int)token.event, token.depth, (int)expected[i].event,
                     expected[i].depth);
        }
        expect_text(token.text, expected[i].text);
        assert_true(token.text.data >= text.data && token.text.data < text.data + text.len);
    }
    assert_int_equal(json_next(&reader, &token), JSON_END_OF_TEXT);
    text_free(text);
}

static void a_scalar_is_one_token_at_depth_0(void **state)
{
    static const struct {
        const char *text;
        enum json_event event;
    } cases[] = {
        {"\"x\"", JSON_STRING}, {"-0", JSON_NUMBER},   {"1e5", JSON_NUMBER},
        {"true", JSON_TRUE},    {"false", JSON_FALSE}, {"null", JSON_NULL},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice text = text_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_reader reader;
        struct json_token token;

        json_reader_init(&reader, text);
        if (json_next(&reader, &token) != cases[i].event || token.depth != 0) {
            fail_msg("%s: event %d at depth %u", cases[i].text, (int)token.event, token.depth);
        }
        expect_text(token.text, cases[i].text);
        assert_int_equal(json_next(&reader, &token), JSON_END_OF_TEXT);
        text_free(text);
    }
}

static void a_token_tells_whether_it_holds_a_nul_escape(void **state)
{
    static const struct {
        const char *text;
        bool has_nul;
    } cases[] = {
        {"\"\\u0000\"", true},
        {"\"a\\u0000b\"", true},
        {"\"\\\\\\u0000\"", true},
        {"\"\\\\u0000\"", false},
        {"\"\\u0001\"", false},
        {"\"\\u0100\"", false},
        {"\"\\u1000\"", false},
        {"\"\\u0010\"", false},
        {"\"u0000\"", false},
        {"\"\\u00000\"", true},
        {"\"0\"", false},
        {"\"\\u0030\"", false},
        {"\"\\u0000\\u0041\"", true},
        {"\"\\n\\u0000\"", true},
        {"\"\\u0041\"", false},
        {"0", false},
    };
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct slice text = text_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_reader reader;
        struct json_token token;

        json_reader_init(&reader, text);
        assert_int_not_equal(json_next(&reader, &token), JSON_INVALID);
        if (token.has_nul != cases[i].has_nul) {
            text_report(&failures, "has_nul", text, cases[i].has_nul ? "true" : "false");
        }
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

static void has_nul_is_not_carried_to_the_next_token(void **state)
{
    struct slice text = text_copy(SLICE("{\"\\u0000\":\"a\",\"b\":\"\\u0000\",\"c\":1}"));
    static const bool expected[] = {false, true, false, false, true, false, false, false};
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, text);
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_int_not_equal(json_next(&reader, &token), JSON_INVALID);
        if (token.has_nul != expected[i]) {
            fail_msg("token %zu, %.*s", i, (int)token.text.len, token.text.data);
        }
    }
    text_free(text);
}

static void an_invalid_text_names_a_fault_and_a_place_in_the_text(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice text = text_copy(text_of_row(&json_texts[i]));
        struct json_reader reader;
        struct json_token token;
        enum json_event event;

        json_reader_init(&reader, text);
        do {
            event = json_next(&reader, &token);
        } while (event != JSON_INVALID && event != JSON_END_OF_TEXT);
        if (event == JSON_INVALID &&
            (reader.fault == NULL || reader.fault[0] == '\0' || reader.at > text.len)) {
            text_report(&failures, json_texts[i].what, text, "a fault inside the text");
        }
        text_free(text);
    }
    assert_int_equal(failures, 0);
}

/* Strings are passed over eight bytes at a time: what ends that is found wherever it stands. */
static void a_byte_is_judged_wherever_it_stands_in_a_string(void **state)
{
    for (int byte = 0; byte < 256; byte++) {
        bool is_plain = byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';

        for (size_t place = 1; place <= 20; place++) {
            char text[22];
            struct json_reader reader;
            struct json_token token;

            memset(text, 'a', sizeof text);
            text[0] = text[sizeof text - 1] = '"';
            text[place] = (char)byte;
            json_reader_init(&reader, (struct slice){.data = text, .len = sizeof text});
            assert_int_equal(json_next(&reader, &token) == JSON_STRING &&
                                 json_next(&reader, &token) == JSON_END_OF_TEXT,
                             is_plain);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_the_table_has_its_own_name),
        cmocka_unit_test(every_text_of_the_table_gets_its_verdict),
        cmocka_unit_test(whitespace_around_a_text_changes_no_verdict),
        cmocka_unit_test(anything_behind_a_valid_text_makes_it_invalid),
        cmocka_unit_test(every_proper_prefix_of_an_object_is_invalid),
        cmocka_unit_test(every_proper_suffix_of_an_object_is_invalid),
        cmocka_unit_test(every_prefix_of_every_container_in_the_table_is_invalid),
        cmocka_unit_test(a_body_that_was_never_allocated_is_invalid),
        cmocka_unit_test(only_digits_are_a_text_of_one_byte),
        cmocka_unit_test(only_four_bytes_are_whitespace),
        cmocka_unit_test(a_string_holds_every_ascii_byte_but_controls_quote_and_backslash),
        cmocka_unit_test(only_eight_bytes_are_short_escapes),
        cmocka_unit_test(only_hexadecimal_digits_spell_an_escape),
        cmocka_unit_test(every_escape_but_a_surrogate_stands_alone),
        cmocka_unit_test(only_a_high_surrogate_before_a_low_one_is_a_pair),
        cmocka_unit_test(a_string_holds_every_character_of_unicode_but_no_surrogate),
        cmocka_unit_test(a_string_holds_only_well_formed_utf8),
        cmocka_unit_test(a_hundred_levels_are_read_and_no_more),
        cmocka_unit_test(a_text_may_be_long),
        cmocka_unit_test(tokens_come_in_order_with_exact_text_and_depth),
        cmocka_unit_test(a_scalar_is_one_token_at_depth_0),
        cmocka_unit_test(a_token_tells_whether_it_holds_a_nul_escape),
        cmocka_unit_test(has_nul_is_not_carried_to_the_next_token),
        cmocka_unit_test(an_invalid_text_names_a_fault_and_a_place_in_the_text),
        cmocka_unit_test(a_byte_is_judged_wherever_it_stands_in_a_string),
    };

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
