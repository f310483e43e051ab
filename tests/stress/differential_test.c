/* Our verdicts beside Postgres's own: of JSON texts beside jsonb's, of what is stored beside what jsonb gives
 * back, of timestamps beside timestamptz's and the calendar's. Texts come from a generator, from the tables
 * of cases and from what fuzzing has kept; where the two differ, a table says why, and nothing else may
 * differ.
 *
 * DIFFERENTIAL_SEED in the environment repeats a run. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/json_texts.h"
#include "cases/timestamps.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/prng.h"
#include "model/json.h"
#include "model/timestamp.h"
#include "store/binary.h"
#include "store/op.h"

enum { BATCH_MAX = 2000, BATCH_BYTES = 4 * 1024 * 1024, TEXT_MAX = 256 * 1024, STRIDE = 1000003 };

static struct stack stack;
static uint64_t seed;

/* ---- Asking Postgres ---- */

/* A function that says of each of many texts what the expression makes of it, or '!' and the SQLSTATE where
 * it makes nothing of it. */
#define JUDGE(name, expression)                                                                              \
    "CREATE FUNCTION " name "(texts bytea, lengths integer[]) RETURNS SETOF text LANGUAGE plpgsql "          \
    "SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$"                                                  \
    "DECLARE at integer := 1; len integer; t text; answer text;"                                             \
    "BEGIN"                                                                                                  \
    "  FOREACH len IN ARRAY lengths LOOP"                                                                    \
    "    BEGIN"                                                                                              \
    "      t := convert_from(substring(texts FROM at FOR len), 'UTF8');"                                     \
    "      answer := " expression ";"                                                                        \
    "    EXCEPTION WHEN OTHERS THEN answer := '!' || SQLSTATE;"                                              \
    "    END;"                                                                                               \
    "    at := at + len;"                                                                                    \
    "    RETURN NEXT answer;"                                                                                \
    "  END LOOP;"                                                                                            \
    "END $$"

static const char *const judges[] = {
    JUDGE("judge_json", "(t::jsonb IS NOT NULL)::text"),
    JUDGE("read_instant", "(extract(epoch FROM t::timestamptz) * 1000000)::bigint::text"),
    JUDGE("read_week", "CASE WHEN to_char(to_date(t, 'IYYY-IW-ID'), 'IYYY-IW-ID') = t THEN "
                       "((to_date(t, 'IYYY-IW-ID') - date '1970-01-01') * 86400000000)::text END"),
    JUDGE("read_ordinal", "CASE WHEN to_char(to_date(t, 'YYYY-DDD'), 'YYYY-DDD') = t THEN "
                          "((to_date(t, 'YYYY-DDD') - date '1970-01-01') * 86400000000)::text END"),
};

/* Texts to ask about together. `compare` is told each with Postgres's answer, NULL for null. */
struct batch {
    const char *judge;
    void (*compare)(struct slice text, const char *response);
    struct buffer bytes;
    struct buffer lengths;
    size_t count;
    size_t len[BATCH_MAX];
};

static void batch_begin(struct batch *batch, const char *judge, void (*compare)(struct slice, const char *))
{
    *batch = (struct batch){.judge = judge, .compare = compare};
    buffer_init(&batch->bytes, BATCH_BYTES + TEXT_MAX);
    buffer_init(&batch->lengths, (size_t)BATCH_MAX * 12);
}

static void batch_flush(struct batch *batch)
{
    const Oid types[] = {17, 1007}; /* bytea, int4[] */
    const char *values[2];
    const int formats[] = {1, 0};
    int lengths[2];
    char question[64];
    PGresult *result;
    size_t at = 0;

    if (batch->count == 0) {
        return;
    }
    buffer_append_text(&batch->lengths, "}");
    assert_false(batch->bytes.failed || batch->lengths.failed);
    values[0] = batch->bytes.data == NULL ? "" : batch->bytes.data;
    values[1] = batch->lengths.data;
    lengths[0] = (int)batch->bytes.len;
    lengths[1] = 0;
    snprintf(question, sizeof question, "SELECT %s($1, $2)", batch->judge);
    result = PQexecParams(stack.owner, question, 2, types, values, lengths, formats, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQerrorMessage(stack.owner));
    }
    assert_int_equal(PQntuples(result), batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        batch->compare((struct slice){.data = values[0] + at, .len = batch->len[i]},
                       PQgetisnull(result, (int)i, 0) ? NULL : PQgetvalue(result, (int)i, 0));
        at += batch->len[i];
    }
    PQclear(result);
    batch->count = 0;
    buffer_reset(&batch->bytes, BATCH_BYTES);
    buffer_reset(&batch->lengths, BATCH_BYTES);
}

static void batch_add(struct batch *batch, struct slice text)
{
    if (batch->count == BATCH_MAX || batch->bytes.len > BATCH_BYTES) {
        batch_flush(batch);
    }
    buffer_append_slice(&batch->bytes, text);
    buffer_append_format(&batch->lengths, "%s%zu", batch->count == 0 ? "{" : ",", text.len);
    batch->len[batch->count++] = text.len;
}

static void batch_end(struct batch *batch)
{
    batch_flush(batch);
    buffer_free(&batch->bytes);
    buffer_free(&batch->lengths);
}

/* Ends the test with the text in hexadecimal. */
static void fail_on(struct slice text, const char *ours, const char *theirs)
{
    struct buffer hex;

    buffer_init(&hex, (size_t)4 * TEXT_MAX);
    for (size_t i = 0; i < text.len; i++) {
        buffer_append_format(&hex, "%02x", (unsigned char)text.data[i]);
    }
    fail_msg("DIFFERENTIAL_SEED=%llu: we say \"%s\", Postgres \"%s\", of %zu bytes: %s",
             (unsigned long long)seed, ours, theirs == NULL ? "null" : theirs, text.len,
             hex.data == NULL ? "" : hex.data);
}

/* ---- A generator of JSON and of what is nearly JSON ---- */

static void put(struct buffer *out, const char *text)
{
    buffer_append_text(out, text);
}

#define PICK(from) ((from)[prng_below(sizeof(from) / sizeof *(from))])

static void put_space(struct buffer *out)
{
    static const char *const spaces[] = {" ", "\t", "\n", "\r", "  ", "\r\n"};

    if (prng_one_in(8)) {
        put(out, PICK(spaces));
    }
}

static void put_digits(struct buffer *out, size_t count)
{
    for (; count > 0; count--) {
        buffer_append_format(out, "%zu", prng_below(10));
    }
}

static void put_number(struct buffer *out)
{
    /* clang-format off */
    static const char *const edges[] = {
        "0", "-0", "-0.0", "1.10", "18446744073709551616", "9007199254740993", "1e308",
        "1.7976931348623157e308", "1.7976931348623159e308", "1e309", "5e-324", "2e-324", "1e-400",
        "1E+131071", "1e131072", "1e-16383", "1e-16384", "0e-16383", "0.0e-16383", "0e999999999",
        "0e1000000000", "1e2147483647", "1e-2147483648", "0e99999999999999999999",
        "123456789012345678901234567890.123456789012345678901234567890"};
    /* clang-format on */

    if (prng_one_in(6)) {
        put(out, PICK(edges));
        return;
    }
    put(out, prng_one_in(4) ? "-" : "");
    if (prng_one_in(3)) {
        put(out, "0");
    } else {
        buffer_append_format(out, "%zu", 1 + prng_below(9));
        put_digits(out, prng_below(prng_one_in(10) ? 400 : 6));
    }
    if (prng_one_in(3)) {
        put(out, ".");
        put_digits(out, 1 + prng_below(prng_one_in(10) ? 400 : 6));
    }
    if (prng_one_in(4)) {
        put(out, prng_one_in(2) ? "e" : "E");
        put(out, prng_one_in(3) ? "-" : prng_one_in(2) ? "+" : "");
        put_digits(out, 1 + prng_below(prng_one_in(20) ? 7 : 3));
    }
}

/* Any code point but a surrogate, as UTF-8. */
static void put_code_point(struct buffer *out)
{
    /* clang-format off */
    static const unsigned edges[] = {
        0x7F, 0x80, 0x9F, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFEFF, 0xFFFE, 0xFFFF, 0x10000, 0x1F680, 0x10FFFF,
        0x2028};
    /* clang-format on */
    unsigned point = prng_one_in(2) ? PICK(edges) : (unsigned)prng_below(0x110000);
    unsigned char bytes[4];
    size_t len = 0;

    if (point >= 0xD800 && point < 0xE000) {
        point -= 0x800;
    }
    if (point < 0x20 || point == '"' || point == '\\') {
        point = 'x';
    }
    if (point >= 0x10000) {
        bytes[len++] = (unsigned char)(0xF0 | (point >> 18));
        bytes[len++] = (unsigned char)(0x80 | (point >> 12 & 0x3F));
        bytes[len++] = (unsigned char)(0x80 | (point >> 6 & 0x3F));
    } else if (point >= 0x800) {
        bytes[len++] = (unsigned char)(0xE0 | (point >> 12));
        bytes[len++] = (unsigned char)(0x80 | (point >> 6 & 0x3F));
    } else if (point >= 0x80) {
        bytes[len++] = (unsigned char)(0xC0 | (point >> 6));
    }
    bytes[len] = (unsigned char)(len == 0 ? point : 0x80 | (point & 0x3F));
    buffer_append(out, bytes, len + 1);
}

/* Any character outside the basic plane, as an escape. */
static void put_surrogates(struct buffer *out)
{
    unsigned rest = (unsigned)prng_below(0x100000);

    buffer_append_format(out, "\\u%04x\\u%04X", 0xD800 + (rest >> 10), 0xDC00 + (rest & 0x3FF));
}

static void put_string(struct buffer *out)
{
    /* clang-format off */
    static const char *const escapes[] = {
        "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\ud83d\\ude00",
        "\\uDBFF\\uDFFF", "\\uFFFF", "\\u0001"};
    /* clang-format on */
    static const char *const bad[] = {"\\u0000",        "\\ud800",        "\\udc00",
                                      "\\ud83d\\u0041", "\\ude00\\ud83d", "\\ud800\\ud800\\udc00"};

    put(out, "\"");
    for (size_t i = prng_below(6); i > 0; i--) {
        switch (prng_below(5)) {
        case 0:
            put(out, PICK(escapes));
            break;
        case 1:
            put_code_point(out);
            break;
        case 2:
            put_surrogates(out);
            break;
        default:
            buffer_append_format(out, "%c", 'a' + (int)prng_below(26));
            break;
        }
    }
    put(out, prng_one_in(60) ? PICK(bad) : "");
    put(out, "\"");
}

static void put_scalar(struct buffer *out)
{
    static const char *const literals[] = {"true", "false", "null"};

    switch (prng_below(3)) {
    case 0:
        put(out, PICK(literals));
        break;
    case 1:
        put_number(out);
        break;
    default:
        put_string(out);
        break;
    }
}

/* Keys such as metadata has, few, so that some are there twice; or any. */
static void put_key(struct buffer *out, bool is_tame)
{
    static const char *const keys[] = {"\"a\"", "\"b\"", "\"team-1\"", "\"A_b\"", "\"\\u0061\"", "\"c\""};

    if (is_tame || prng_one_in(2)) {
        put(out, PICK(keys));
    } else {
        put_string(out);
    }
}

static void put_value(struct buffer *out, unsigned depth, bool is_tame)
{
    bool is_object = prng_one_in(2);
    size_t count = prng_below(5);

    if (depth == 0 || prng_one_in(3)) {
        put_scalar(out);
        return;
    }
    put(out, is_object ? "{" : "[");
    for (size_t i = 0; i < count; i++) {
        put(out, i > 0 ? "," : "");
        put_space(out);
        if (is_object) {
            put_key(out, is_tame);
            put_space(out);
            put(out, ":");
            put_space(out);
        }
        put_value(out, depth - 1, is_tame);
        put_space(out);
    }
    put_space(out);
    put(out, is_object ? "}" : "]");
}

/* About as deep as we read, now and then much deeper. */
static void put_deep(struct buffer *out)
{
    static bool is_object[4096];
    size_t depth = prng_one_in(10) ? prng_below(4096) : 90 + prng_below(20);

    for (size_t i = 0; i < depth; i++) {
        is_object[i] = prng_one_in(2);
        put(out, is_object[i] ? "{\"a\":" : "[");
    }
    put_scalar(out);
    while (depth > 0) {
        put(out, is_object[--depth] ? "}" : "]");
    }
}

/* Replaces `len` bytes at a place by others. */
static void splice(struct buffer *text, size_t at, size_t len, const char *by, size_t by_len)
{
    size_t tail = text->len - at - len;
    char *copy = malloc(tail + 1);

    assert_non_null(copy);
    memcpy(copy, text->data + at + len, tail);
    text->len = at;
    buffer_append(text, by, by_len);
    buffer_append(text, copy, tail);
    free(copy);
}

/* One step away from what a text was. */
static void mutate(struct buffer *text, const char *const words[], size_t count)
{
    size_t at = prng_below(text->len), len = 1 + prng_below(text->len - at);
    const char *word = words[prng_below(count)];
    char byte = (char)prng_draw();

    if (text->len == 0) {
        return;
    }
    switch (prng_below(7)) {
    case 0:
        text->len = at; /* cut short */
        break;
    case 1:
        text->data[at] = byte;
        break;
    case 2:
        text->data[at] = (char)(text->data[at] ^ (1 << prng_below(8)));
        break;
    case 3:
        splice(text, at, prng_one_in(2) ? 1 : len, "", 0);
        break;
    case 4:
        splice(text, at, 0, text->data + at, len > 16 ? 16 : len);
        break;
    default:
        splice(text, at, prng_below(2), word, word[0] == '\0' ? 1 : strlen(word)); /* "" stands for NUL */
        break;
    }
}

static void mutate_json(struct buffer *text)
{
    /* clang-format off */
    static const char *const words[] = {
        "{", "}", "[", "]", ",", ":", "\"", "'", "\\", "\\u", "0", "-", "+", ".", "e", "1", " ", "\t",
        "\n", "\v", "\f", "", "\x01", "\x1f", "\x7f", "\x80", "\xc0", "\xc1", "\xff", "\xed\xa0\x80",
        "\xf4\x90\x80\x80", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xef\xbb\xbf", "\xc2\xa0", "\xe2\x80\xa8",
        "NaN", "Infinity", "nul", "true", "/**/", "//", "\\x41", "\\u000", "\\u0000", "\\ud800", "\\udc00",
        "\"a\":1", "01", "1.", ".5", "1e", "0x1F", "1_000", "undefined"};
    /* clang-format on */

    for (size_t i = 1 + prng_below(3); i > 0; i--) {
        mutate(text, words, sizeof words / sizeof *words);
    }
}

/* The nth text of the run: JSON, or what was JSON before a few steps away from it. */
static void put_json_text(struct buffer *out, size_t n)
{
    prng_seed(seed + n * STRIDE);
    buffer_reset(out, TEXT_MAX);
    put_space(out);
    if (prng_one_in(100)) {
        put_deep(out);
    } else {
        put_value(out, (unsigned)prng_below(6), false);
    }
    put_space(out);
    if (prng_one_in(2)) {
        mutate_json(out);
    }
    assert_false(out->failed);
}

/* ---- The verdict on a text, beside jsonb's ---- */

enum { NUMERIC_SCALE_MAX = 16383, NUMERIC_DIGITS_MAX = 131072, EXPONENT_CAP = 1000000000 };

/* A number, taken apart: its digits without zeros before them, and how many of all stand behind the point. */
struct decimal {
    bool is_negative;
    char *digits; /* owned */
    size_t count;
    long scale; /* below 0: so many zeros more */
};

static struct decimal read_decimal(struct slice number)
{
    struct decimal decimal = {.digits = malloc(number.len + 1)};
    size_t i = 0;
    long exponent = 0;
    bool behind_point = false, is_exponent_negative;

    assert_non_null(decimal.digits);
    for (; i < number.len && number.data[i] != 'e' && number.data[i] != 'E'; i++) {
        char byte = number.data[i];

        decimal.is_negative = decimal.is_negative || byte == '-';
        behind_point = behind_point || byte == '.';
        if (byte >= '0' && byte <= '9') {
            decimal.scale += behind_point;
            if (byte != '0' || decimal.count > 0) {
                decimal.digits[decimal.count++] = byte;
            }
        }
    }
    is_exponent_negative = i + 1 < number.len && number.data[i + 1] == '-';
    for (i++; i < number.len; i++) {
        if (number.data[i] >= '0' && number.data[i] <= '9' && exponent < EXPONENT_CAP) {
            exponent = exponent * 10 + (number.data[i] - '0');
        }
    }
    decimal.scale -= is_exponent_negative ? -exponent : exponent;
    return decimal;
}

/* Whether Postgres's numeric has no room for it. */
static bool is_beyond_numeric(struct slice number)
{
    struct decimal decimal = read_decimal(number);

    free(decimal.digits);
    return decimal.scale > NUMERIC_SCALE_MAX || (long)decimal.count - decimal.scale > NUMERIC_DIGITS_MAX;
}

enum json_reason {
    JSON_BOTH_ACCEPT,
    JSON_BOTH_REFUSE,
    JSON_NUL,
    JSON_BEYOND_NUMERIC,
    JSON_TOO_DEEP,
    JSON_UNEXPLAINED,
    JSON_REASONS
};

static const char *const json_reasons[JSON_REASONS] = {
    [JSON_BOTH_ACCEPT] = "both accept",
    [JSON_BOTH_REFUSE] = "both refuse",
    [JSON_NUL] = "jsonb alone refuses: \\u0000, which no text in Postgres can hold (22P05)",
    [JSON_BEYOND_NUMERIC] = "jsonb alone refuses: a number beyond the range of numeric (22003)",
    [JSON_TOO_DEEP] =
        "we alone refuse: deeper than 100 levels, of which jsonb keeps as many as its stack lets it",
    [JSON_UNEXPLAINED] = "unexplained",
};

static size_t json_counts[JSON_REASONS];

static enum json_reason compare_verdicts(struct slice text, const char *response, const char **fault)
{
    struct json_reader reader;
    struct json_token token;
    bool has_nul = false, has_beyond = false, is_accepted = response != NULL && *response != '!';

    json_reader_init(&reader, text);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT && token.event != JSON_INVALID) {
        has_nul = has_nul || token.has_nul;
        has_beyond = has_beyond || (token.event == JSON_NUMBER && is_beyond_numeric(token.text));
    }
    *fault = token.event == JSON_INVALID ? reader.fault : "valid";
    if ((token.event != JSON_INVALID) == is_accepted) {
        return is_accepted ? JSON_BOTH_ACCEPT : JSON_BOTH_REFUSE;
    }
    if (is_accepted) {
        return strcmp(*fault, "nested too deeply") == 0 ? JSON_TOO_DEEP : JSON_UNEXPLAINED;
    }
    if (strcmp(response, "!22P05") == 0 && has_nul) {
        return JSON_NUL;
    }
    return strcmp(response, "!22003") == 0 && has_beyond ? JSON_BEYOND_NUMERIC : JSON_UNEXPLAINED;
}

static void compare_json(struct slice text, const char *response)
{
    const char *fault;
    enum json_reason reason = compare_verdicts(text, response, &fault);

    json_counts[reason]++;
    if (reason == JSON_UNEXPLAINED) {
        fail_on(text, fault, response);
    }
}

/* Calls it with all that the tables of cases and the seeds of fuzzing hold. */
static void for_each_kept(void (*use)(void *context, struct slice text), void *context)
{
    glob_t seeds;

    for (size_t i = 0; i < json_text_count; i++) {
        use(context, (struct slice){.data = json_texts[i].text, .len = json_texts[i].len});
    }
    assert_int_equal(glob("tests/fuzz/seeds/*/*", 0, NULL, &seeds), 0);
    for (size_t i = 0; i < seeds.gl_pathc; i++) {
        FILE *file = fopen(seeds.gl_pathv[i], "re");
        static char bytes[64 * 1024];
        size_t len;

        assert_non_null(file);
        len = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        use(context, (struct slice){.data = bytes, .len = len});
        /* Targets that take a choice from the first byte have the text behind it. */
        use(context, (struct slice){.data = bytes + (len > 0), .len = len - (len > 0)});
    }
    globfree(&seeds);
}

static void show(const char *heading, const char *const reasons[], const size_t counts[], size_t count)
{
    size_t total = 0;

    figures_table(heading, "texts|how many");
    for (size_t i = 0; i < count; i++) {
        figures_row("%s|%zu", reasons[i], counts[i]);
        total += counts[i];
    }
    figures_row("all|%zu", total);
}

static void add_text(void *context, struct slice text)
{
    batch_add(context, text);
}

static void json_is_judged_as_jsonb_does_but_for_what_is_known(void **state)
{
    size_t count = (size_t)stress_amount(30000, 2000000);
    struct batch batch;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    batch_begin(&batch, "judge_json", compare_json);
    for_each_kept(add_text, &batch);
    for (size_t n = 0; n < count; n++) {
        put_json_text(&text, n);
        batch_add(&batch, (struct slice){.data = text.data, .len = text.len});
    }
    batch_end(&batch);
    buffer_free(&text);
    show("JSON: our reader beside jsonb", json_reasons, json_counts, JSON_REASONS);
    for (size_t i = 0; i < JSON_UNEXPLAINED; i++) {
        assert_true(json_counts[i] > 0); /* each reason is still one */
    }
}

/* ---- What is stored, and what jsonb gives back ---- */

/* Writes a number as a string that is the same for every spelling with the same digits behind the point. */
static void put_decimal(struct buffer *out, struct slice number)
{
    struct decimal decimal = read_decimal(number);

    put(out, decimal.is_negative && decimal.count > 0 ? "\"-" : "\"");
    buffer_append(out, decimal.digits, decimal.count);
    for (; decimal.scale < 0 && decimal.count > 0; decimal.scale++) {
        put(out, "0");
    }
    buffer_append_format(out, "/%ld\"", decimal.scale > 0 ? decimal.scale : 0);
    free(decimal.digits);
}

/* The same string, its characters as UTF-8. */
static void put_decoded(struct buffer *out, struct slice quoted)
{
    char *decoded = malloc(quoted.len);

    assert_non_null(decoded);
    buffer_append_json_string(out, decoded, json_string_decode(quoted, decoded));
    free(decoded);
}

/* The value with its numbers as such strings, so that json-c keeps every digit, and with no surrogate pair,
 * many of which it takes for U+FFFD. NULL where it is no JSON. */
static struct json_object *parse_with_digits(struct slice text)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
    struct json_object *value;
    struct json_reader reader;
    struct json_token token;
    struct buffer plain;
    size_t at = 0;

    assert_non_null(tokener);
    buffer_init(&plain, (size_t)64 * 1024 * 1024);
    json_reader_init(&reader, text);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT && token.event != JSON_INVALID) {
        size_t start = (size_t)(token.text.data - text.data);

        if (token.event == JSON_NUMBER || token.event == JSON_STRING || token.event == JSON_KEY) {
            buffer_append(&plain, text.data + at, start - at);
            if (token.event == JSON_NUMBER) {
                put_decimal(&plain, token.text);
            } else {
                put_decoded(&plain, token.text);
            }
            at = start + token.text.len;
        }
    }
    buffer_append(&plain, text.data + at, text.len - at);
    assert_false(plain.failed);
    value = token.event == JSON_INVALID ? NULL : json_tokener_parse_ex(tokener, plain.data, (int)plain.len);
    json_tokener_free(tokener);
    buffer_free(&plain);
    return value;
}

enum { OP_STORED, OP_REFUSED_BODY, OP_NOT_STORED, OP_COUNTS };

static size_t op_counts[OP_COUNTS];

static const char *const op_reasons[OP_COUNTS] = {
    [OP_STORED] = "read, and given back by jsonb with every key, text and digit",
    [OP_REFUSED_BODY] = "refused by us",
    [OP_NOT_STORED] = "read, and refused by jsonb or given back otherwise",
};

/* What was sent beside what Postgres made of it. */
static void compare_op(struct slice text, const char *response)
{
    struct json_object *sent = parse_with_digits(text),
                       *kept = parse_with_digits((struct slice){.data = response, .len = strlen(response)});

    if (sent == NULL || kept == NULL || !json_object_equal(sent, kept)) {
        op_counts[OP_NOT_STORED]++;
        fail_on(text, "the same", response);
    }
    op_counts[OP_STORED]++;
    json_object_put(sent);
    json_object_put(kept);
}

/* Operations to send together, as the elements of the array that apply_batch takes; and what each says, as
 * JSON that this test makes by itself, one behind the other. */
struct operations {
    struct buffer elements;
    struct buffer said;
    size_t count;
    size_t element_end[BATCH_MAX];
    size_t said_end[BATCH_MAX];
};

static Oid operation_type, operations_type;

/* The operations first to last-1 as Postgres reads them, a row of JSON each. */
static PGresult *give_back(const struct operations *operations, size_t first, size_t last)
{
    static const char question[] = "SELECT (to_jsonb(o) - 'ordinality' || jsonb_build_object("
                                   "'started_at', intake.to_microseconds(o.started_at), "
                                   "'resolved_at', intake.to_microseconds(o.resolved_at)))::text "
                                   "FROM unnest($1) WITH ORDINALITY AS o ORDER BY o.ordinality";
    const int formats[] = {1};
    size_t start = first == 0 ? 0 : operations->element_end[first - 1];
    struct buffer array;
    PGresult *result;

    buffer_init(&array, (size_t)2 * (BATCH_BYTES + TEXT_MAX));
    binary_append_array(&array, operation_type, last - first);
    buffer_append(&array, operations->elements.data + start, operations->element_end[last - 1] - start);
    assert_false(array.failed);
    result = PQexecParams(stack.owner, question, 1, &operations_type, (const char *const *)&array.data,
                          &(int){(int)array.len}, formats, 0);
    buffer_free(&array);
    return result;
}

static struct slice said(const struct operations *operations, size_t i)
{
    size_t start = i == 0 ? 0 : operations->said_end[i - 1];

    return (struct slice){.data = operations->said.data + start, .len = operations->said_end[i] - start};
}

/* One of them is refused: ends the test with that. */
static void fail_on_refused(const struct operations *operations)
{
    for (size_t i = 0; i < operations->count; i++) {
        PGresult *result = give_back(operations, i, i + 1);

        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            fail_on(said(operations, i), "stored", PQerrorMessage(stack.owner));
        }
        PQclear(result);
    }
    fail_msg("operations are refused together and not one by one");
}

static void operations_flush(struct operations *operations)
{
    PGresult *result;

    if (operations->count == 0) {
        return;
    }
    assert_false(operations->elements.failed || operations->said.failed);
    result = give_back(operations, 0, operations->count);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_on_refused(operations);
    }
    assert_int_equal(PQntuples(result), operations->count);
    for (size_t i = 0; i < operations->count; i++) {
        compare_op(said(operations, i), PQgetvalue(result, (int)i, 0));
    }
    PQclear(result);
    operations->count = 0;
    buffer_reset(&operations->elements, BATCH_BYTES);
    buffer_reset(&operations->said, BATCH_BYTES);
}

static void say_text(struct buffer *out, const char *key, const struct text_argument *argument)
{
    buffer_append_format(out, ",\"%s\":", key);
    if (argument->presence == PRESENCE_GIVEN) {
        buffer_append_slice(out, argument->json);
    } else {
        put(out, "null");
    }
}

static void say_micros(struct buffer *out, const char *key, const struct timestamp_argument *argument)
{
    buffer_append_format(out, ",\"%s\":", key);
    if (argument->presence == PRESENCE_GIVEN) {
        buffer_append_format(out, "%lld", (long long)argument->micros);
    } else {
        put(out, "null");
    }
}

/* The columns of intake.operation. */
static void say_operation(struct buffer *out, const struct incident *incident)
{
    const enum presence optional[] = {incident->resolved_at.presence, incident->name.presence,
                                      incident->priority.presence,    incident->source_url.presence,
                                      incident->services.presence,    incident->metadata.presence};
    bool has_services = incident->services.presence == PRESENCE_GIVEN &&
                        json_object_array_length(incident->services.links) > 0;
    unsigned given = 0;

    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        given |= optional[i] != PRESENCE_ABSENT ? 1U << i : 0;
    }
    buffer_append_format(out,
                         "{\"operation\":\"upsert\",\"token_hash\":\"\\\\x00\",\"scope\":\"upsert\","
                         "\"given\":%u,\"reference_id\":",
                         given);
    buffer_append_json_string(out, incident->reference_id, strlen(incident->reference_id));
    say_micros(out, "started_at", &incident->started_at);
    say_micros(out, "resolved_at", &incident->resolved_at);
    say_text(out, "name", &incident->name);
    say_text(out, "priority", &incident->priority);
    say_text(out, "source_url", &incident->source_url);
    say_text(out, "metadata", &incident->metadata);
    buffer_append_format(out, ",\"services\":%s}",
                         has_services ? json_object_to_json_string(incident->services.links) : "null");
}

static void add_op(struct operations *operations, struct slice body)
{
    struct incident incident;
    struct store_op op;
    struct error error;

    if (incident_read(body, RULES_UPSERT, &incident, &error)) {
        if (operations->count == BATCH_MAX || operations->elements.len > BATCH_BYTES) {
            operations_flush(operations);
        }
        assert_true(op_upsert(&op, "00", &incident));
        binary_append_int32(&operations->elements, (int32_t)op.record.len);
        buffer_append(&operations->elements, op.record.data, op.record.len);
        say_operation(&operations->said, &incident);
        operations->element_end[operations->count] = operations->elements.len;
        operations->said_end[operations->count++] = operations->said.len;
        op_free(&op);
    } else {
        op_counts[OP_REFUSED_BODY]++;
    }
    incident_free(&incident);
}

static void add_as_metadata(void *context, struct slice text)
{
    struct operations *operations = context;
    struct buffer body;

    add_op(operations, text);
    buffer_init(&body, TEXT_MAX);
    put(&body, JSON_TEXT_BEFORE);
    buffer_append_slice(&body, text);
    put(&body, JSON_TEXT_AFTER);
    add_op(operations, (struct slice){.data = body.data, .len = body.len});
    buffer_free(&body);
}

static void put_body(struct buffer *out, size_t n)
{
    struct buffer inside;

    prng_seed(seed + n * STRIDE);
    buffer_init(&inside, TEXT_MAX);
    put_value(&inside, 1 + (unsigned)prng_below(5), !prng_one_in(8));
    if (prng_one_in(4)) {
        mutate_json(&inside);
    }
    buffer_reset(out, TEXT_MAX);
    put(out, "{\"name\":");
    put_string(out);
    put(out, ",\"services\":[{\"identifier\":\"s\",\"name\":");
    put_string(out);
    put(out, "}],\"priority\":");
    put_string(out);
    put(out, ",");
    put(out, &JSON_TEXT_BEFORE[1]);
    buffer_append(out, inside.data, inside.len);
    put(out, JSON_TEXT_AFTER);
    assert_false(out->failed);
    buffer_free(&inside);
}

static void what_is_read_jsonb_keeps_to_the_last_digit(void **state)
{
    size_t count = (size_t)stress_amount(10000, 500000);
    struct operations *operations = calloc(1, sizeof *operations);
    struct buffer body;

    assert_non_null(operations);
    buffer_init(&body, TEXT_MAX);
    buffer_init(&operations->elements, (size_t)2 * BATCH_BYTES);
    buffer_init(&operations->said, (size_t)4 * BATCH_BYTES);
    operation_type = (Oid)strtoul(stack_query(&stack, "SELECT 'intake.operation'::regtype::oid"), NULL, 10);
    operations_type =
        (Oid)strtoul(stack_query(&stack, "SELECT 'intake.operation[]'::regtype::oid"), NULL, 10);
    for_each_kept(add_as_metadata, operations);
    for (size_t n = 0; n < count; n++) {
        put_body(&body, n);
        add_op(operations, (struct slice){.data = body.data, .len = body.len});
    }
    operations_flush(operations);
    buffer_free(&operations->elements);
    buffer_free(&operations->said);
    free(operations);
    buffer_free(&body);
    show("Bodies of upserts: what is sent to Postgres beside what jsonb gives back", op_reasons, op_counts,
         OP_COUNTS);
    assert_true(op_counts[OP_STORED] > count / 10 && op_counts[OP_REFUSED_BODY] > count / 20);
}

/* ---- Timestamps ---- */

static size_t any_year(void)
{
    /* clang-format off */
    static const size_t edges[] = {
        0, 1, 4, 99, 100, 400, 1582, 1752, 1899, 1900, 1969, 1970, 1999, 2000, 2001, 2023, 2024, 2038,
        2100, 4713, 9998, 9999};
    /* clang-format on */

    return prng_one_in(2) ? PICK(edges) : prng_below(10000);
}

/* A number below the limit, seldom one that is not. */
static size_t nearly(size_t first, size_t limit)
{
    return prng_one_in(30) ? prng_below(100) : first + prng_below(limit - first);
}

static void put_date(struct buffer *out, bool is_extended)
{
    const char *dash = is_extended ? "-" : "";

    buffer_append_format(out, "%04zu%s", any_year(), dash);
    switch (prng_below(8)) {
    case 0:
        buffer_append_format(out, "%03zu", prng_one_in(10) ? prng_below(1000) : 1 + prng_below(366));
        break;
    case 1:
        buffer_append_format(out, "W%02zu%s%zu", nearly(1, 54), dash, prng_below(9));
        break;
    default:
        buffer_append_format(out, "%02zu%s%02zu", nearly(1, 13), dash, nearly(1, 32));
        break;
    }
}

static void put_fraction(struct buffer *out)
{
    size_t count = prng_one_in(4) ? 1 + prng_below(20) : 1 + prng_below(7);

    put(out, prng_one_in(4) ? "," : ".");
    if (prng_one_in(6)) {
        put(out, "9999999");
    }
    put_digits(out, count);
}

static void put_time(struct buffer *out, bool is_extended)
{
    static const char *const separators[] = {"T", "T", "T", "t", " "};
    const char *colon = is_extended ? ":" : "";
    size_t parts = prng_one_in(3) ? 1 + prng_below(2) : 3;

    put(out, PICK(separators));
    buffer_append_format(out, "%02zu", prng_one_in(12) ? 24 : nearly(0, 24));
    for (size_t i = 1; i < parts; i++) {
        buffer_append_format(out, "%s%02zu", colon,
                             prng_one_in(8)    ? 0
                             : prng_one_in(20) ? 60
                                               : nearly(0, 60));
    }
    if (prng_one_in(2)) {
        put_fraction(out);
    }
}

static void put_zone(struct buffer *out, bool is_extended)
{
    static const char *const known[] = {"Z", "z", "+00:00", "-00:00", "+14:00", "-12", "+0530"};

    if (prng_one_in(2)) {
        put(out, PICK(known));
        return;
    }
    buffer_append_format(out, "%s%02zu", prng_one_in(2) ? "+" : "-",
                         prng_one_in(3) ? nearly(0, 24) : prng_below(15));
    if (!prng_one_in(3)) {
        buffer_append_format(out, "%s%02zu", is_extended ? ":" : "", nearly(0, 60));
    }
}

static void put_timestamp(struct buffer *out, size_t n)
{
    static const char *const words[] = {"0", "1", "2", "9", "-",  ":",  "+",   ".",  ",",  "T",
                                        "Z", "W", " ", "t", "BC", "PM", "UTC", "00", "24", "60"};
    bool is_extended;

    prng_seed(seed + n * STRIDE);
    buffer_reset(out, TEXT_MAX);
    is_extended = !prng_one_in(3);
    put_date(out, is_extended);
    is_extended = prng_one_in(20) ? !is_extended : is_extended;
    if (!prng_one_in(6)) {
        put_time(out, is_extended);
        is_extended = prng_one_in(4) ? !is_extended : is_extended;
        if (!prng_one_in(4)) {
            put_zone(out, is_extended);
        }
    }
    for (size_t i = prng_one_in(3) ? 1 + prng_below(2) : 0; i > 0; i--) {
        mutate(out, words, sizeof words / sizeof *words);
    }
    assert_false(out->failed);
}

enum time_reason {
    TIME_SAME,
    TIME_BOTH_REFUSE,
    TIME_WE_ALONE,
    TIME_POSTGRES_ALONE,
    TIME_ROUNDED,
    TIME_SHORT_YEAR,
    TIME_MINUTE_FRACTION,
    TIME_UNEXPLAINED,
    TIME_REASONS
};

static const char *const time_reasons[TIME_REASONS] = {
    [TIME_SAME] = "both accept, the same instant",
    [TIME_BOTH_REFUSE] = "both refuse",
    [TIME_WE_ALONE] = "we alone accept",
    [TIME_POSTGRES_ALONE] = "Postgres alone accepts",
    [TIME_ROUNDED] = "both accept: digits beyond microseconds, which we cut and Postgres rounds",
    [TIME_SHORT_YEAR] = "both accept: YYYYDDD, where Postgres sees a year of three digits, month and day",
    [TIME_MINUTE_FRACTION] = "both accept: a fraction of a minute, which Postgres takes for one of a second",
    [TIME_UNEXPLAINED] = "unexplained",
};

static size_t time_counts[TIME_REASONS];

static size_t count_digits(struct slice text, size_t at)
{
    size_t count = 0;

    while (at + count < text.len && text.data[at + count] >= '0' && text.data[at + count] <= '9') {
        count++;
    }
    return count;
}

static size_t find_fraction(struct slice text)
{
    size_t at = 0;

    while (at < text.len && text.data[at] != '.' && text.data[at] != ',') {
        at++;
    }
    return at;
}

static bool is_rounded(struct slice text, int64_t ours, int64_t theirs)
{
    return theirs == ours || (theirs == ours + 1 && count_digits(text, find_fraction(text) + 1) > 6);
}

/* Whether our reading of another text is Postgres's of this one. Where the offset may lead it out of the
 * years that we read, it is read 400 years later or earlier: as many days, whichever years they are. */
static bool is_read_as(struct buffer *other, int64_t theirs)
{
    static const int64_t cycle_us = INT64_C(146097) * 86400 * 1000000;
    int64_t ours;

    assert_false(other->failed);
    if (other->len > 4 && memcmp(other->data, "0001", 4) == 0) {
        other->data[1] = '4';
        theirs += cycle_us;
    } else if (other->len > 4 && memcmp(other->data, "9999", 4) == 0) {
        other->data[1] = '5';
        theirs -= cycle_us;
    }
    return timestamp_parse(other->data, other->len, &ours) &&
           is_rounded((struct slice){.data = other->data, .len = other->len}, ours, theirs);
}

/* Says in full what Postgres makes of it: `0YYYMMDD`, and `00:mm:ss.f` or `hhmm00.f`. */
static enum time_reason compare_instants(struct slice text, int64_t ours, int64_t theirs)
{
    const bool is_short_year = count_digits(text, 0) == 7;
    const size_t fraction = find_fraction(text);
    bool is_basic;

    if (ours == theirs) {
        return TIME_SAME;
    }
    if (is_rounded(text, ours, theirs)) {
        return TIME_ROUNDED;
    }
    for (int as_it_is = 0; as_it_is < 2; as_it_is++) {
        struct buffer other;
        enum time_reason reason = TIME_UNEXPLAINED;

        buffer_init(&other, TEXT_MAX);
        put(&other, is_short_year ? "0" : "");
        if (as_it_is == 1) {
            buffer_append_slice(&other, text);
            reason = is_short_year && is_read_as(&other, theirs) ? TIME_SHORT_YEAR : reason;
        } else if (fraction >= 5 && fraction < text.len) {
            is_basic = text.data[fraction - 3] != ':';
            buffer_append(&other, text.data, is_basic ? fraction : fraction - 5);
            put(&other, is_basic ? "00" : "00:");
            buffer_append(&other, text.data + (is_basic ? fraction : fraction - 5),
                          text.len - fraction + (is_basic ? 0 : 5));
            reason = is_read_as(&other, theirs) ? TIME_MINUTE_FRACTION : reason;
        }
        buffer_free(&other);
        if (reason != TIME_UNEXPLAINED) {
            return reason;
        }
    }
    return TIME_UNEXPLAINED;
}

static void compare_timestamp(struct slice text, const char *response)
{
    int64_t ours = 0;
    bool we_accept = timestamp_parse(text.data, text.len, &ours);
    bool they_accept = response != NULL && *response != '!';
    enum time_reason reason = we_accept     ? TIME_WE_ALONE
                              : they_accept ? TIME_POSTGRES_ALONE
                                            : TIME_BOTH_REFUSE;

    if (we_accept && they_accept) {
        reason = compare_instants(text, ours, strtoll(response, NULL, 10));
    }
    time_counts[reason]++;
    if (reason == TIME_UNEXPLAINED) {
        char written[TIMESTAMP_TEXT_MAX];

        timestamp_format(ours, written);
        fail_on(text, written, response);
    }
}

static void timestamps_are_the_instants_that_postgres_reads_but_for_what_is_known(void **state)
{
    size_t count = (size_t)stress_amount(30000, 2000000);
    struct batch batch;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    batch_begin(&batch, "read_instant", compare_timestamp);
    for (size_t i = 0; i < timestamp_case_count; i++) {
        batch_add(&batch,
                  (struct slice){.data = timestamp_cases[i].text, .len = strlen(timestamp_cases[i].text)});
    }
    for (size_t n = 0; n < count; n++) {
        put_timestamp(&text, n);
        batch_add(&batch, (struct slice){.data = text.data, .len = text.len});
    }
    batch_end(&batch);
    buffer_free(&text);
    show("Timestamps: ours beside timestamptz", time_reasons, time_counts, TIME_REASONS);
    for (size_t i = 0; i < TIME_UNEXPLAINED; i++) {
        assert_true(time_counts[i] > 0); /* each reason is still one */
    }
}

/* ---- Week dates and ordinal dates, beside the calendar of to_date ---- */

enum { DAY_SAME, DAY_BOTH_REFUSE, DAY_DIFFERS, DAY_COUNTS };

static size_t day_counts[DAY_COUNTS];

static const char *const day_reasons[DAY_COUNTS] = {
    [DAY_SAME] = "a day in both, the same",
    [DAY_BOTH_REFUSE] = "no day in either",
    [DAY_DIFFERS] = "unexplained",
};

/* A day that Postgres has and that lies in the years 0001 to 9999: the last week of 9999 ends outside. */
static bool is_day_of_ours(const char *response)
{
    int64_t micros;

    if (response == NULL || *response == '!') {
        return false;
    }
    micros = strtoll(response, NULL, 10);
    return micros >= TIMESTAMP_MIN && micros <= TIMESTAMP_MAX;
}

/* `2024-53-7` of to_date is our `2024-W53-7`, `2024-366` is the same in both. */
static void compare_day(struct slice text, const char *response)
{
    bool is_week = text.len == sizeof "2024-53-7" - 1, is_same;
    bool they_accept = is_day_of_ours(response);
    char extended[16], basic[16];
    int64_t micros = 0, again = 0;

    snprintf(extended, sizeof extended, "%.5s%s%.*s", text.data, is_week ? "W" : "", (int)text.len - 5,
             text.data + 5);
    snprintf(basic, sizeof basic, is_week ? "%.4sW%.2s%.1s" : "%.4s%.3s", text.data, text.data + 5,
             text.data + 8);
    is_same = timestamp_parse(extended, strlen(extended), &micros) == they_accept &&
              timestamp_parse(basic, strlen(basic), &again) == they_accept && micros == again &&
              (!they_accept || micros == strtoll(response, NULL, 10));
    day_counts[!is_same ? DAY_DIFFERS : they_accept ? DAY_SAME : DAY_BOTH_REFUSE]++;
    if (!is_same) {
        fail_on(text, extended, response);
    }
}

/* All days of every so many years, beginning with one at random, and such as are none: `last` is the greatest
 * number behind the year, of which a week date has three digits too, week and day. */
static void compare_days(const char *heading, const char *judge, bool is_week, size_t last)
{
    size_t step = (size_t)stress_amount(97, 1);
    struct batch batch;
    char text[32];

    memset(day_counts, 0, sizeof day_counts);
    prng_seed(seed);
    batch_begin(&batch, judge, compare_day);
    for (size_t year = 1 + prng_below(step); year < 10000; year += step) {
        for (size_t day = 0; day <= last; day++) {
            if (is_week) {
                snprintf(text, sizeof text, "%04zu-%02zu-%zu", year, day / 10, day % 10);
            } else {
                snprintf(text, sizeof text, "%04zu-%03zu", year, day);
            }
            batch_add(&batch, (struct slice){.data = text, .len = strlen(text)});
        }
    }
    batch_end(&batch);
    show(heading, day_reasons, day_counts, DAY_COUNTS);
    assert_true(day_counts[DAY_SAME] > 0 && day_counts[DAY_BOTH_REFUSE] > 0);
}

static void week_dates_are_the_days_that_the_calendar_has(void **state)
{
    compare_days("Week dates: ours beside to_date('IYYY-IW-ID')", "read_week", true, 549);
}

static void ordinal_dates_are_the_days_that_the_calendar_has(void **state)
{
    compare_days("Ordinal dates: ours beside to_date('YYYY-DDD')", "read_ordinal", false, 370);
}

/* ---- */

static void make_judges(void)
{
    seed = prng_find_seed("DIFFERENTIAL_SEED");
    for (size_t i = 0; i < sizeof judges / sizeof *judges; i++) {
        stack_query(&stack, judges[i]);
    }
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED, .start = make_judges};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(json_is_judged_as_jsonb_does_but_for_what_is_known),
        cmocka_unit_test(what_is_read_jsonb_keeps_to_the_last_digit),
        cmocka_unit_test(timestamps_are_the_instants_that_postgres_reads_but_for_what_is_known),
        cmocka_unit_test(week_dates_are_the_days_that_the_calendar_has),
        cmocka_unit_test(ordinal_dates_are_the_days_that_the_calendar_has),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
