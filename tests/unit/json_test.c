/* Tests of the strict JSON reader, of finding members and elements with it, and of judging metadata. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/json_texts.h"
#include "model/json.h"
#include "model/metadata.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A literal as a slice; it may hold NUL bytes. */
#define SLICE(literal) ((struct slice){"" literal, sizeof("" literal) - 1})

/* A copy whose last byte is the last of its allocation, so that AddressSanitizer sees a read behind it. */
static struct slice exact_copy(struct slice text)
{
    char *copy = malloc(text.len);

    if (text.len > 0) {
        assert_non_null(copy);
        memcpy(copy, text.data, text.len);
    }
    return (struct slice){copy, text.len};
}

static void free_copy(struct slice copy)
{
    free((void *)(uintptr_t)copy.data);
}

/* before, text and after run together in an allocation of exactly that size. */
static struct slice joined(struct slice before, struct slice text, struct slice after)
{
    size_t len = before.len + text.len + after.len;
    char *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, before.data, before.len);
    memcpy(copy + before.len, text.data, text.len);
    memcpy(copy + before.len + text.len, after.data, after.len);
    return (struct slice){copy, len};
}

/* `unit` times over, then `middle`, then `end` as often. */
static struct slice repeated(const char *unit, size_t times, const char *middle, const char *end)
{
    size_t unit_len = strlen(unit);
    size_t end_len = strlen(end);
    size_t middle_len = strlen(middle);
    size_t len = times * (unit_len + end_len) + middle_len;
    char *text = malloc(len);
    char *at = text;

    assert_non_null(text);
    for (size_t i = 0; i < times; i++) {
        memcpy(at, unit, unit_len);
        at += unit_len;
    }
    memcpy(at, middle, middle_len);
    at += middle_len;
    for (size_t i = 0; i < times; i++) {
        memcpy(at, end, end_len);
        at += end_len;
    }
    return (struct slice){text, len};
}

/* Reads a whole text; the allocation is the text's own. */
static enum text_verdict verdict_in_place(struct slice text)
{
    struct json_reader reader;
    struct json_token token;
    enum json_event event;

    json_reader_init(&reader, text);
    do {
        event = json_next(&reader, &token);
    } while (event != JSON_INVALID && event != JSON_END_OF_TEXT);
    return event == JSON_END_OF_TEXT ? TEXT_VALID : TEXT_INVALID;
}

static enum text_verdict verdict_of(struct slice text)
{
    struct slice copy = exact_copy(text);
    enum text_verdict verdict = verdict_in_place(copy);

    free_copy(copy);
    return verdict;
}

/* Prints a failing case and counts it, so that one run names all of them. */
static void report(size_t *failures, const char *what, struct slice text, const char *expected)
{
    print_error("%s: expected %s: ", what, expected);
    for (size_t i = 0; i < text.len && i < 120; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        print_error(byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
    }
    print_error("%s\n", text.len > 120 ? "..." : "");
    ++*failures;
}

static void expect_verdict(size_t *failures, const char *what, struct slice text, enum text_verdict expected)
{
    if (verdict_of(text) != expected) {
        report(failures, what, text, expected == TEXT_VALID ? "valid" : "invalid");
    }
}

static struct slice slice_of(const struct json_text *row)
{
    return (struct slice){row->text, row->len};
}

static void expect_slice(struct slice actual, const char *expected)
{
    if (actual.len != strlen(expected) || memcmp(actual.data, expected, actual.len) != 0) {
        fail_msg("expected %s, not %.*s", expected, (int)actual.len, actual.data);
    }
}

/* ---- the reader over whole texts ---- */

static void every_text_of_the_table_has_its_own_name(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        for (size_t j = i + 1; j < json_text_count; j++) {
            if (strcmp(json_texts[i].what, json_texts[j].what) == 0) {
                report(&failures, json_texts[i].what, slice_of(&json_texts[j]), "a name of its own");
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void every_text_of_the_table_gets_its_verdict(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        expect_verdict(&failures, json_texts[i].what, slice_of(&json_texts[i]), json_texts[i].verdict);
    }
    assert_int_equal(failures, 0);
}

static void whitespace_around_a_text_changes_no_verdict(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice text = joined(SLICE(" \t\r\n"), slice_of(&json_texts[i]), SLICE("\n\r\t "));
        expect_verdict(&failures, json_texts[i].what, text, json_texts[i].verdict);
        free_copy(text);
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
            struct slice text = joined(SLICE(""), slice_of(&json_texts[i]), behind[j]);
            expect_verdict(&failures, json_texts[i].what, text, TEXT_INVALID);
            free_copy(text);
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
            report(&failures, "a character", (struct slice){text, len + 2},
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
                        report(&failures, "bytes in a string", (struct slice){text, len + 2},
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
        struct slice text = repeated(cases[i].unit, cases[i].times, cases[i].middle, cases[i].end);
        expect_verdict(&failures, cases[i].what, text, cases[i].verdict);
        free_copy(text);
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
        struct slice middle = repeated(cases[i].unit, 100000, "", "");
        struct slice before = {cases[i].before, strlen(cases[i].before)};
        struct slice after = {cases[i].after, strlen(cases[i].after)};
        struct slice text = joined(before, middle, after);

        expect_verdict(&failures, cases[i].what, text, TEXT_VALID);
        free_copy(text);
        free_copy(middle);
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
        exact_copy(SLICE(" {\"a\" : [ -1.50E+2 ,true,false,null ], \"\\u0062\":\"\\\"}\"\n,\"\":{ } }\t"));
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
        expect_slice(token.text, expected[i].text);
        assert_true(token.text.data >= text.data && token.text.data < text.data + text.len);
    }
    assert_int_equal(json_next(&reader, &token), JSON_END_OF_TEXT);
    free_copy(text);
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
        struct slice text = exact_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_reader reader;
        struct json_token token;

        json_reader_init(&reader, text);
        if (json_next(&reader, &token) != cases[i].event || token.depth != 0) {
            fail_msg("%s: event %d at depth %u", cases[i].text, (int)token.event, token.depth);
        }
        expect_slice(token.text, cases[i].text);
        assert_int_equal(json_next(&reader, &token), JSON_END_OF_TEXT);
        free_copy(text);
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
        struct slice text = exact_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_reader reader;
        struct json_token token;

        json_reader_init(&reader, text);
        assert_int_not_equal(json_next(&reader, &token), JSON_INVALID);
        if (token.has_nul != cases[i].has_nul) {
            report(&failures, "has_nul", text, cases[i].has_nul ? "true" : "false");
        }
        free_copy(text);
    }
    assert_int_equal(failures, 0);
}

static void has_nul_is_not_carried_to_the_next_token(void **state)
{
    struct slice text = exact_copy(SLICE("{\"\\u0000\":\"a\",\"b\":\"\\u0000\",\"c\":1}"));
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
    free_copy(text);
}

static void an_invalid_text_names_a_fault_and_a_place_in_the_text(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < json_text_count; i++) {
        struct slice text = exact_copy(slice_of(&json_texts[i]));
        struct json_reader reader;
        struct json_token token;
        enum json_event event;

        json_reader_init(&reader, text);
        do {
            event = json_next(&reader, &token);
        } while (event != JSON_INVALID && event != JSON_END_OF_TEXT);
        if (event == JSON_INVALID &&
            (reader.fault == NULL || reader.fault[0] == '\0' || reader.at > text.len)) {
            report(&failures, json_texts[i].what, text, "a fault inside the text");
        }
        free_copy(text);
    }
    assert_int_equal(failures, 0);
}

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
        struct slice text = exact_copy(slice_of(&json_texts[i]));
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
            report(&failures, json_texts[i].what, text,
                   expected == ERROR_NONE           ? "success"
                   : expected == ERROR_INVALID_JSON ? "invalid_json"
                                                    : "invalid_arguments");
        } else if (expected != ERROR_NONE && error.message[0] == '\0') {
            report(&failures, json_texts[i].what, text, "a sentence");
        }
        free_copy(text);
    }
    assert_int_equal(failures, 0);
}

static void a_valid_text_that_is_no_object_is_invalid_arguments(void **state)
{
    static const char *const texts[] = {"1", "\"a\"", "null", "true", "false", "[]", " [{}] ", "\"{}\""};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = exact_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_member member = {.name = "a"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;

        if (json_find_members(text, &member, 1, &stray_nul, &error) ||
            error.code != ERROR_INVALID_ARGUMENTS) {
            fail_msg("%s: error code %d", texts[i], (int)error.code);
        }
        free_copy(text);
    }
}

static void an_invalid_text_is_invalid_json_even_where_it_is_no_object(void **state)
{
    static const char *const texts[] = {
        "",    " ",   "1 2",      "[1",           "[] x",       "\"a",
        "nul", "[{]", "{\"a\":1", "{\"a\":1} {}", "{\"a\":01}", "{\"a\":1}]",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = exact_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_member member = {.name = "a"};
        struct error error = {ERROR_NONE, ""};
        bool stray_nul;

        if (json_find_members(text, &member, 1, &stray_nul, &error) || error.code != ERROR_INVALID_JSON) {
            fail_msg("%s: error code %d", texts[i], (int)error.code);
        }
        free_copy(text);
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
        exact_copy(SLICE(" { \"s\" : \"a\\\"b\" , \"n\":-1.10 ,\"t\":true,\"f\":false ,\"z\": null\n,"
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
        expect_slice(members[i].value, expected[i].value);
        assert_true(members[i].value.data > text.data && members[i].value.data < text.data + text.len);
        assert_false(members[i].has_nul);
    }
    assert_false(stray_nul);
    free_copy(text);
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
    expect_slice(member.value, "null");
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
        struct slice text = joined(SLICE("{\""), key, SLICE("\":1}"));
        struct json_member member = {.name = "name"};
        bool stray_nul;

        if (!find(text, &member, 1, &stray_nul) || (member.type == JSON_NUMBER) != cases[i].is_name) {
            report(&failures, "key", text, cases[i].is_name ? "found" : "not found");
        }
        free_copy(text);
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
        struct slice quoted = exact_copy((struct slice){cases[i].quoted, strlen(cases[i].quoted)});
        char *decoded = malloc(quoted.len);
        size_t len;

        assert_non_null(decoded);
        len = json_string_decode(quoted, decoded);
        if (len != strlen(cases[i].meant) || memcmp(decoded, cases[i].meant, len) != 0) {
            fail_msg("%s is not decoded to %s", cases[i].quoted, cases[i].meant);
        }
        free(decoded);
        free_copy(quoted);
    }
}

static void only_the_outermost_object_is_searched(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul;

    assert_true(find(SLICE("{\"b\":{\"a\":1},\"c\":[{\"a\":2}],\"d\":\"a\"}"), &member, 1, &stray_nul));
    assert_int_equal(member.type, JSON_INVALID);
    assert_true(find(SLICE("{\"a\":1,\"b\":{\"a\":\"x\"}}"), &member, 1, &stray_nul));
    expect_slice(member.value, "1");
    assert_true(find(SLICE("{\"a\":{\"a\":{\"a\":3}}}"), &member, 1, &stray_nul));
    expect_slice(member.value, "{\"a\":{\"a\":3}}");
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
        expect_slice(member.value, cases[i].value);
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
        struct slice text = exact_copy((struct slice){cases[i].text, strlen(cases[i].text)});
        struct json_member member = {.name = "a"};
        bool stray_nul;

        assert_true(find(text, &member, 1, &stray_nul));
        if (member.has_nul != cases[i].has_nul) {
            report(&failures, "has_nul", text, cases[i].has_nul ? "true" : "false");
        }
        if (stray_nul != cases[i].stray_nul) {
            report(&failures, "stray_nul", text, cases[i].stray_nul ? "true" : "false");
        }
        free_copy(text);
    }
    assert_int_equal(failures, 0);
}

static void has_nul_is_about_the_member_that_counts(void **state)
{
    struct json_member member = {.name = "a"};
    bool stray_nul;

    assert_true(find(SLICE("{\"a\":\"\\u0000\",\"a\":\"x\"}"), &member, 1, &stray_nul));
    expect_slice(member.value, "\"x\"");
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
    struct slice text = exact_copy(SLICE("[ {\"identifier\" : \"x\"} ,\"a,]\\\"\",-1.10 ,true,false\n,null,[ "
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
        expect_slice(element.value, expected[i].value);
    }
    assert_false(json_next_element(&reader, &element));
    free_copy(text);
}

static void an_empty_array_has_no_elements(void **state)
{
    static const char *const texts[] = {"[]", "[ ]", " [\n] "};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct slice text = exact_copy((struct slice){texts[i], strlen(texts[i])});
        struct json_reader reader;
        struct json_member element;

        json_reader_init(&reader, text);
        if (json_next_element(&reader, &element)) {
            fail_msg("'%s' has an element", texts[i]);
        }
        free_copy(text);
    }
}

static void the_elements_of_a_found_member_end_with_the_member(void **state)
{
    struct slice text = exact_copy(SLICE("{\"services\":[{\"a\":1},{\"a\":2}],\"other\":[3]}"));
    struct json_member member = {.name = "services"};
    struct json_reader reader;
    struct json_member element;
    bool stray_nul;

    assert_true(find(text, &member, 1, &stray_nul));
    json_reader_init(&reader, member.value);
    assert_true(json_next_element(&reader, &element));
    expect_slice(element.value, "{\"a\":1}");
    assert_true(json_next_element(&reader, &element));
    expect_slice(element.value, "{\"a\":2}");
    assert_false(json_next_element(&reader, &element));
    free_copy(text);
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
        struct slice quoted = exact_copy((struct slice){cases[i].quoted, strlen(cases[i].quoted)});

        if (json_string_equals(quoted, cases[i].ascii) != cases[i].equals) {
            report(&failures, cases[i].ascii, quoted, cases[i].equals ? "equal" : "not equal");
        }
        free_copy(quoted);
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
                report(&failures, "escape", (struct slice){quoted, 8}, "equal to that character only");
            }
        }
    }
    assert_int_equal(failures, 0);
}

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
    struct slice body = joined(SLICE("{\"metadata\":"), value, SLICE("}"));
    enum error_code code = judge_body(body, is_empty, error);

    free_copy(body);
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
        struct slice body = joined(SLICE(JSON_TEXT_BEFORE), slice_of(&json_texts[i]), SLICE(JSON_TEXT_AFTER));
        bool is_empty = true;
        struct error error;
        enum error_code code = judge_body(body, &is_empty, &error);

        if (code != expected[json_texts[i].in_metadata].code) {
            report(&failures, json_texts[i].what, slice_of(&json_texts[i]),
                   expected[json_texts[i].in_metadata].name);
        } else if (code == ERROR_NONE && is_empty) {
            report(&failures, json_texts[i].what, slice_of(&json_texts[i]), "not empty");
        }
        free_copy(body);
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

static void metadata_that_is_no_object_is_refused(void **state)
{
    static const char *const values[] = {
        "1",     "0",   "-1.5",   "\"\"", "\"x\"", "\"{}\"",      "\"null\"",  "true",
        "false", "[1]", "[null]", "[[]]", "[{}]",  "[{\"a\":1}]", "[\"a\",1]", "[ 0 ]",
    };

    for (size_t i = 0; i < COUNT(values); i++) {
        bool is_empty = false;
        struct error error;

        if (judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error) !=
            ERROR_METADATA_INVALID) {
            fail_msg("%s: error code %d", values[i], (int)error.code);
        }
    }
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

    for (size_t i = 0; i < COUNT(values); i++) {
        bool is_empty = false;
        struct error error;

        if (judge_metadata((struct slice){values[i], strlen(values[i])}, &is_empty, &error) !=
            ERROR_METADATA_INVALID) {
            fail_msg("%s: error code %d", values[i], (int)error.code);
        }
    }
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
            report(&failures, "key", (struct slice){value, strlen(value)},
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
        struct slice digits = repeated(cases[i].digit, cases[i].digits, cases[i].after, "");
        struct slice before = {cases[i].before, strlen(cases[i].before)};
        struct slice number = joined(before, digits, SLICE(""));
        struct slice value = joined(SLICE("{\"a\":"), number, SLICE("}"));
        bool is_empty;
        struct error error;

        if (judge_metadata(value, &is_empty, &error) != cases[i].code) {
            report(&failures, cases[i].what, value,
                   cases[i].code == ERROR_NONE ? "kept" : "metadata_invalid");
        }
        free_copy(value);
        free_copy(number);
        free_copy(digits);
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
            report(&failures, "zero", value, cases[i].code == ERROR_NONE ? "kept" : "metadata_invalid");
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
        cmocka_unit_test(a_byte_is_judged_wherever_it_stands_in_a_string),
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

    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
