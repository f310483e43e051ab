/* A generator of JSON and of what is nearly JSON. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "harness/json_generator.h"
#include "harness/prng.h"

void put_text(struct buffer *out, const char *text)
{
    buffer_append_text(out, text);
}

static void put_space(struct buffer *out)
{
    static const char *const spaces[] = {" ", "\t", "\n", "\r", "  ", "\r\n"};

    if (prng_one_in(8)) {
        put_text(out, PICK(spaces));
    }
}

void put_digits(struct buffer *out, size_t count)
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
        put_text(out, PICK(edges));
        return;
    }
    put_text(out, prng_one_in(4) ? "-" : "");
    if (prng_one_in(3)) {
        put_text(out, "0");
    } else {
        buffer_append_format(out, "%zu", 1 + prng_below(9));
        put_digits(out, prng_below(prng_one_in(10) ? 400 : 6));
    }
    if (prng_one_in(3)) {
        put_text(out, ".");
        put_digits(out, 1 + prng_below(prng_one_in(10) ? 400 : 6));
    }
    if (prng_one_in(4)) {
        put_text(out, prng_one_in(2) ? "e" : "E");
        put_text(out, prng_one_in(3) ? "-" : prng_one_in(2) ? "+" : "");
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

void put_json_string(struct buffer *out)
{
    /* clang-format off */
    static const char *const escapes[] = {
        "\\\"", "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\ud83d\\ude00",
        "\\uDBFF\\uDFFF", "\\uFFFF", "\\u0001"};
    /* clang-format on */
    static const char *const bad[] = {"\\u0000",        "\\ud800",        "\\udc00",
                                      "\\ud83d\\u0041", "\\ude00\\ud83d", "\\ud800\\ud800\\udc00"};

    put_text(out, "\"");
    for (size_t i = prng_below(6); i > 0; i--) {
        switch (prng_below(5)) {
        case 0:
            put_text(out, PICK(escapes));
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
    put_text(out, prng_one_in(60) ? PICK(bad) : "");
    put_text(out, "\"");
}

static void put_scalar(struct buffer *out)
{
    static const char *const literals[] = {"true", "false", "null"};

    switch (prng_below(3)) {
    case 0:
        put_text(out, PICK(literals));
        break;
    case 1:
        put_number(out);
        break;
    default:
        put_json_string(out);
        break;
    }
}

/* Keys such as metadata has, few, so that some are there twice; or any. */
static void put_key(struct buffer *out, bool is_tame)
{
    static const char *const keys[] = {"\"a\"", "\"b\"", "\"team-1\"", "\"A_b\"", "\"\\u0061\"", "\"c\""};

    if (is_tame || prng_one_in(2)) {
        put_text(out, PICK(keys));
    } else {
        put_json_string(out);
    }
}

void put_json_value(struct buffer *out, unsigned depth, bool is_tame)
{
    bool is_object = prng_one_in(2);
    size_t count = prng_below(5);

    if (depth == 0 || prng_one_in(3)) {
        put_scalar(out);
        return;
    }
    put_text(out, is_object ? "{" : "[");
    for (size_t i = 0; i < count; i++) {
        put_text(out, i > 0 ? "," : "");
        put_space(out);
        if (is_object) {
            put_key(out, is_tame);
            put_space(out);
            put_text(out, ":");
            put_space(out);
        }
        put_json_value(out, depth - 1, is_tame);
        put_space(out);
    }
    put_space(out);
    put_text(out, is_object ? "}" : "]");
}

/* About as deep as we read, now and then much deeper. */
static void put_deep(struct buffer *out)
{
    static bool is_object[4096];
    size_t depth = prng_one_in(10) ? prng_below(4096) : 90 + prng_below(20);

    for (size_t i = 0; i < depth; i++) {
        is_object[i] = prng_one_in(2);
        put_text(out, is_object[i] ? "{\"a\":" : "[");
    }
    put_scalar(out);
    while (depth > 0) {
        put_text(out, is_object[--depth] ? "}" : "]");
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

void mutate_text(struct buffer *text, const char *const words[], size_t count)
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

void mutate_json(struct buffer *text)
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
        mutate_text(text, words, sizeof words / sizeof *words);
    }
}

void put_json_text(struct buffer *out)
{
    put_space(out);
    if (prng_one_in(100)) {
        put_deep(out);
    } else {
        put_json_value(out, (unsigned)prng_below(6), false);
    }
    put_space(out);
    if (prng_one_in(2)) {
        mutate_json(out);
    }
    assert_false(out->failed);
}
