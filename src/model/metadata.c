/* Validates an incident's metadata in its raw text. */
#include "model/metadata.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hex.h"
#include "base/utf8.h"

/* Postgres keeps at most this many digits behind the decimal point (manual, 8.1.2 "Arbitrary Precision
 * Numbers"). */
enum { NUMERIC_SCALE_MAX = 16383 };

/* Postgres reads no exponent beyond this, not even of 0. */
enum { EXPONENT_MAX = 1000000000 };

/* Postgres writes numbers out without exponents: `0e-16383` is sixteen thousand digits in every response. So
 * many may all numbers of one metadata come to; what people send stays far below. */
enum { DIGITS_MAX = 64 * 1024 * 1024 };

/* What an error shows of an invalid key: bytes of the key, and what escapes may make of them. */
enum { KEY_SHOWN_MAX = 64, SHOWN_BYTES_MAX = 512 };

static bool is_key_byte(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
           byte == '_' || byte == '-';
}

/* Whether a key, its escapes read, matches [A-Za-z0-9_-]+. An escape can only spell such a character as
 * \u00xx. */
static bool is_valid_key(struct slice quoted)
{
    const char *at = quoted.data + 1;
    const char *end = quoted.data + quoted.len - 1;

    if (at == end) {
        return false;
    }
    while (at < end) {
        char byte = *at++;

        if (byte == '\\') {
            if (*at != 'u' || at[1] != '0' || at[2] != '0') {
                return false;
            }
            byte = (char)(hex_value(at[3]) << 4 | hex_value(at[4]));
            at += 5;
        }
        if (!is_key_byte(byte)) {
            return false;
        }
    }
    return true;
}

/* Writes a key as the error shows it: KEY_SHOWN_MAX bytes at most, each control as an escape. */
static void show_key(const char *key, size_t len, struct buffer *shown)
{
    size_t step;

    for (size_t at = 0; at < len; at += step) {
        const unsigned char *byte = (const unsigned char *)key + at;
        uint32_t point;

        step = utf8_sequence(byte, len - at);
        if (at + step > KEY_SHOWN_MAX) {
            buffer_append_text(shown, "...");
            return;
        }
        point = utf8_code_point(byte, step);
        if (utf8_is_control(point)) {
            buffer_append_format(shown, "\\u%04x", (unsigned)point);
        } else {
            buffer_append(shown, byte, step);
        }
    }
}

static bool reject_key(struct slice quoted, struct error *error)
{
    struct buffer shown;
    char *key = malloc(quoted.len);

    buffer_init(&shown, SHOWN_BYTES_MAX);
    buffer_append_text(&shown, "\"");
    if (key != NULL) {
        show_key(key, json_string_decode(quoted, key), &shown);
    }
    buffer_append_text(&shown, "\"");
    if (key == NULL || shown.failed) {
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        error_set(error, ERROR_INTERNAL, "out of memory");
        /* LCOV_EXCL_STOP */
    } else {
        error_set(error, ERROR_METADATA_INVALID,
                  "metadata keys must consist of letters, digits, underscores and hyphens, unlike %s",
                  shown.data);
    }
    free(key);
    buffer_free(&shown);
    return false;
}

/* A number's parts: digits in all and behind the point as written, whether one is not 0, the exponent's
 * value. */
struct number_parts {
    long digits;
    long fraction_digits;
    bool is_zero;
    long exponent;
};

static struct number_parts split_number(struct slice text)
{
    struct number_parts parts = {.is_zero = true};
    size_t i = 0;
    bool behind_point = false, negative;

    for (; i < text.len && text.data[i] != 'e' && text.data[i] != 'E'; i++) {
        char byte = text.data[i];

        if (byte == '.') {
            behind_point = true;
        } else if (byte != '-') {
            parts.digits++;
            parts.fraction_digits += behind_point;
            parts.is_zero = parts.is_zero && byte == '0';
        }
    }
    negative = i + 1 < text.len && text.data[i + 1] == '-';
    for (i++; i < text.len; i++) {
        if (text.data[i] >= '0' && text.data[i] <= '9' && parts.exponent < EXPONENT_MAX) {
            parts.exponent = parts.exponent * 10 + (text.data[i] - '0');
        }
    }
    parts.exponent = negative ? -parts.exponent : parts.exponent;
    return parts;
}

/* Whether a JSON number is one that a double can hold at least roughly, and numeric exactly: one that a
 * double would round to infinity or to nothing is beyond its range. Adds the digits that Postgres will write
 * to *digits. */
static bool is_storable_number(struct slice text, long *digits)
{
    struct number_parts parts = split_number(text);
    long scale = parts.fraction_digits - parts.exponent;
    double value;

    if (labs(parts.exponent) >= EXPONENT_MAX || scale > NUMERIC_SCALE_MAX) {
        return false;
    }
    *digits += parts.digits + (scale > 0 ? scale : -scale); /* 1e308 has 308 digits behind the first */
    /* strtod reads on to the first byte that is no part of a number: there is one, because the value stands
     * in an object. The program never leaves the C locale. */
    value = strtod(text.data, NULL);
    return isfinite(value) && (parts.is_zero || value != 0.0);
}

bool metadata_check(const struct json_member *member, bool *is_empty, struct error *error)
{
    struct json_reader reader;
    struct json_token token;
    size_t tokens = 0;
    long digits = 0;

    if (member->has_nul) {
        return error_set(error, ERROR_METADATA_INVALID, "metadata must not contain \\u0000");
    }
    json_reader_init(&reader, member->value);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT) {
        tokens++;
        if (token.event == JSON_INVALID) { /* the whole text was validated before, so this cannot happen */
            /* LCOV_EXCL_START: the body has been checked as a whole before */
            return error_set(error, ERROR_INTERNAL, "metadata could not be read");
            /* LCOV_EXCL_STOP */
        }
        if (token.event == JSON_KEY && !is_valid_key(token.text)) {
            return reject_key(token.text, error);
        }
        if (token.event == JSON_NUMBER && (!is_storable_number(token.text, &digits) || digits > DIGITS_MAX)) {
            return error_set(error, ERROR_METADATA_INVALID, "metadata holds a number that is out of range");
        }
    }
    *is_empty = member->type == JSON_NULL || tokens == 2; /* a container's begin and end, nothing between */
    if (member->type == JSON_OBJECT_BEGIN || *is_empty) {
        return true;
    }
    return error_set(error, ERROR_METADATA_INVALID, "metadata must be an object");
}
