/* A strict reader of JSON text (RFC 8259). */
#include "model/json.h"

#include <stdint.h>
#include <string.h>

#include "base/hex.h"
#include "base/utf8.h"

/* What may come next in the text. */
enum expectation {
    EXPECT_VALUE,        /* a value */
    EXPECT_VALUE_OR_END, /* just behind '[' */
    EXPECT_KEY,          /* behind ',' in an object */
    EXPECT_KEY_OR_END,   /* just behind '{' */
    EXPECT_COMMA_OR_END, /* behind a value in a container */
    EXPECT_END_OF_TEXT,  /* behind the outermost value */
};

void json_reader_init(struct json_reader *reader, struct slice text)
{
    reader->text = text.data == NULL ? "" : text.data;
    reader->len = text.len;
    reader->at = 0;
    reader->depth = 0;
    reader->expects = EXPECT_VALUE;
    reader->fault = NULL;
}

static enum json_event invalid(struct json_reader *reader, const char *why)
{
    reader->fault = why;
    return JSON_INVALID;
}

/* The byte at the reader, or -1 at the end of the text. */
static int peek(const struct json_reader *reader)
{
    return reader->at < reader->len ? (unsigned char)reader->text[reader->at] : -1;
}

static bool is_digit(int byte)
{
    return byte >= '0' && byte <= '9';
}

/* RFC 8259 section 2: these four and no others. */
static void skip_whitespace(struct json_reader *reader)
{
    while (reader->at < reader->len) {
        char byte = reader->text[reader->at];

        if (byte != ' ' && byte != '\t' && byte != '\n' && byte != '\r') {
            return;
        }
        reader->at++;
    }
}

/* Four hexadecimal digits at data, -1 where they are not. */
static int hex4(const char *data, size_t left)
{
    int value = 0;

    if (left < 4) {
        return -1;
    }
    for (size_t i = 0; i < 4; i++) {
        int digit = hex_value(data[i]);

        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high_surrogate(int unit)
{
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_surrogate(int unit)
{
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* Reads the rest of a \u escape; the reader stands behind the 'u'. NULL, or why it is no good. */
static const char *read_unicode_escape(struct json_reader *reader, bool *is_nul)
{
    int unit = hex4(reader->text + reader->at, reader->len - reader->at);

    if (unit < 0) {
        return "\\u must be followed by four hexadecimal digits";
    }
    reader->at += 4;
    *is_nul = unit == 0;
    if (is_low_surrogate(unit)) {
        return "unpaired surrogate escape";
    }
    if (is_high_surrogate(unit)) {
        size_t left = reader->len - reader->at;
        const char *next = reader->text + reader->at;

        if (left < 6 || next[0] != '\\' || next[1] != 'u' || !is_low_surrogate(hex4(next + 2, left - 2))) {
            return "unpaired surrogate escape";
        }
        reader->at += 6;
    }
    return NULL;
}

/* Whether each of eight bytes is a character of a string that stands for itself, in ASCII: from a blank on,
 * and no quote, backslash, DEL or byte beyond. A bit is set in the highest of a byte that is none, and
 * perhaps in those of bytes behind it (Bit Twiddling Hacks, "Determine if a word has a byte less than n"). */
static bool are_plain(const char bytes[8])
{
    static const uint64_t ones = UINT64_C(0x0101010101010101), highest = UINT64_C(0x8080808080808080);
    uint64_t word, quote, backslash;

    memcpy(&word, bytes, sizeof word);
    quote = word ^ (ones * '"');
    backslash = word ^ (ones * '\\');
    return (((word - ones * 0x20) | (quote - ones) | (backslash - ones) | (word + ones) | word) & highest) ==
           0;
}

/* Passes over the characters of a string that stand for themselves, in ASCII: nearly all there are. */
static void skip_plain(struct json_reader *reader)
{
    const char *at = reader->text + reader->at, *end = reader->text + reader->len;

    while (end - at >= 8 && are_plain(at)) {
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at < 0x7F && *at != '"' && *at != '\\') {
        at++;
    }
    reader->at = (size_t)(at - reader->text);
}

/* Reads a string from its opening quote on. NULL, or why it is no good. */
static const char *read_string(struct json_reader *reader, bool *has_nul)
{
    *has_nul = false;
    reader->at++;
    for (;;) {
        unsigned char byte;

        skip_plain(reader);
        if (reader->at == reader->len) {
            return "unterminated string";
        }
        byte = (unsigned char)reader->text[reader->at];
        if (byte == '"') {
            reader->at++;
            return NULL;
        }
        if (byte < 0x20) {
            return "control character in a string";
        }
        if (byte == '\\') {
            int escape;

            reader->at++;
            escape = peek(reader);
            if (escape == 'u') {
                bool is_nul = false;
                const char *fault;

                reader->at++;
                fault = read_unicode_escape(reader, &is_nul);
                if (fault != NULL) {
                    return fault;
                }
                *has_nul = *has_nul || is_nul;
            } else if (escape > 0 && strchr("\"\\/bfnrt", escape) != NULL) {
                reader->at++;
            } else {
                return "unknown escape in a string";
            }
        } else {
            size_t length =
                utf8_sequence((const unsigned char *)reader->text + reader->at, reader->len - reader->at);

            if (length == 0) {
                return "not UTF-8";
            }
            reader->at += length;
        }
    }
}

static void skip_digits(struct json_reader *reader)
{
    while (is_digit(peek(reader))) {
        reader->at++;
    }
}

/* Reads a number, RFC 8259 section 6. NULL, or why it is no good. */
static const char *read_number(struct json_reader *reader)
{
    if (peek(reader) == '-') {
        reader->at++;
    }
    if (!is_digit(peek(reader))) {
        return "a number must have a digit here";
    }
    if (peek(reader) == '0') {
        reader->at++;
        if (is_digit(peek(reader))) {
            return "a number must not start with 0";
        }
    } else {
        skip_digits(reader);
    }
    if (peek(reader) == '.') {
        reader->at++;
        if (!is_digit(peek(reader))) {
            return "a number must have a digit here";
        }
        skip_digits(reader);
    }
    if (peek(reader) == 'e' || peek(reader) == 'E') {
        reader->at++;
        if (peek(reader) == '+' || peek(reader) == '-') {
            reader->at++;
        }
        if (!is_digit(peek(reader))) {
            return "a number must have a digit here";
        }
        skip_digits(reader);
    }
    return NULL;
}

static bool read_literal(struct json_reader *reader, const char *literal)
{
    size_t len = strlen(literal);

    if (reader->len - reader->at < len || memcmp(reader->text + reader->at, literal, len) != 0) {
        return false;
    }
    reader->at += len;
    return true;
}

/* Behind a value: what may follow depends on what it stands in. */
static void end_value(struct json_reader *reader)
{
    reader->expects = reader->depth == 0 ? EXPECT_END_OF_TEXT : EXPECT_COMMA_OR_END;
}

static enum json_event open_container(struct json_reader *reader, bool is_object)
{
    if (reader->depth == JSON_DEPTH_MAX) {
        return invalid(reader, "nested too deeply");
    }
    reader->at++;
    reader->in_object[reader->depth++] = is_object;
    reader->expects = is_object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
    return is_object ? JSON_OBJECT_BEGIN : JSON_ARRAY_BEGIN;
}

static enum json_event close_container(struct json_reader *reader, struct json_token *token)
{
    bool is_object = reader->in_object[reader->depth - 1];

    reader->at++;
    token->depth = --reader->depth;
    end_value(reader);
    return is_object ? JSON_OBJECT_END : JSON_ARRAY_END;
}

static enum json_event read_value(struct json_reader *reader, struct json_token *token)
{
    const char *fault;
    enum json_event event;

    switch (peek(reader)) {
    case '{':
        return open_container(reader, true);
    case '[':
        return open_container(reader, false);
    case '"':
        fault = read_string(reader, &token->has_nul);
        event = JSON_STRING;
        break;
    case 't':
        fault = read_literal(reader, "true") ? NULL : "not a JSON value";
        event = JSON_TRUE;
        break;
    case 'f':
        fault = read_literal(reader, "false") ? NULL : "not a JSON value";
        event = JSON_FALSE;
        break;
    case 'n':
        fault = read_literal(reader, "null") ? NULL : "not a JSON value";
        event = JSON_NULL;
        break;
    case -1:
        return invalid(reader, "the text ends too early");
    default:
        if (peek(reader) != '-' && !is_digit(peek(reader))) {
            return invalid(reader, "not a JSON value");
        }
        fault = read_number(reader);
        event = JSON_NUMBER;
        break;
    }
    if (fault != NULL) {
        return invalid(reader, fault);
    }
    end_value(reader);
    return event;
}

static enum json_event read_key(struct json_reader *reader, struct json_token *token)
{
    const char *fault;
    size_t end;

    if (peek(reader) != '"') {
        return invalid(reader, "a key must be a string");
    }
    fault = read_string(reader, &token->has_nul);
    if (fault != NULL) {
        return invalid(reader, fault);
    }
    end = reader->at;
    skip_whitespace(reader);
    if (peek(reader) != ':') {
        return invalid(reader, "a key must be followed by a colon");
    }
    reader->at++;
    token->text.len = end; /* made a length by json_next, which knows the start */
    reader->expects = EXPECT_VALUE;
    return JSON_KEY;
}

enum json_event json_next(struct json_reader *reader, struct json_token *token)
{
    size_t start;
    bool is_object = reader->depth > 0 && reader->in_object[reader->depth - 1];
    int closing = is_object ? '}' : ']';

    skip_whitespace(reader);
    if (reader->expects == EXPECT_COMMA_OR_END && peek(reader) == ',') {
        reader->at++;
        reader->expects = is_object ? EXPECT_KEY : EXPECT_VALUE;
        skip_whitespace(reader);
    } else if (reader->expects == EXPECT_COMMA_OR_END && peek(reader) != closing) {
        token->event =
            invalid(reader, peek(reader) < 0 ? "the text ends too early" : "a comma must stand here");
        return token->event;
    }

    start = reader->at;
    *token = (struct json_token){.depth = reader->depth};
    switch ((enum expectation)reader->expects) {
    case EXPECT_END_OF_TEXT:
        token->event = reader->at == reader->len ? JSON_END_OF_TEXT
                                                 : invalid(reader, "something follows the JSON value");
        break;
    case EXPECT_COMMA_OR_END:
        token->event = close_container(reader, token);
        break;
    case EXPECT_KEY_OR_END:
    case EXPECT_KEY:
        token->event = reader->expects == EXPECT_KEY_OR_END && peek(reader) == '}'
                           ? close_container(reader, token)
                           : read_key(reader, token);
        break;
    case EXPECT_VALUE_OR_END:
    case EXPECT_VALUE:
        token->event = reader->expects == EXPECT_VALUE_OR_END && peek(reader) == ']'
                           ? close_container(reader, token)
                           : read_value(reader, token);
        break;
    }
    token->text.data = reader->text + start;
    token->text.len = (token->event == JSON_KEY ? token->text.len : reader->at) - start;
    return token->event;
}

bool json_read_to_end(struct json_reader *reader)
{
    struct json_token token;
    enum json_event event;

    do {
        event = json_next(reader, &token);
    } while (event != JSON_END_OF_TEXT && event != JSON_INVALID);
    return event == JSON_END_OF_TEXT;
}

/* The UTF-16 unit or the byte that the next character of a valid string's inside represents, and moves behind
 * it.
 */
static int read_unit(const char **at)
{
    static const char escapes[] = "bfnrt", spelled[] = "\b\f\n\r\t";
    const char *escape;
    int unit;

    if (**at != '\\') {
        return (unsigned char)*(*at)++;
    }
    if ((*at)[1] == 'u') {
        unit = hex4(*at + 2, 4);
        *at += 6;
        return unit;
    }
    escape = strchr(escapes, (*at)[1]);
    unit = escape != NULL ? spelled[escape - escapes] : (*at)[1];
    *at += 2;
    return unit;
}

bool json_string_equals(struct slice quoted, const char *ascii)
{
    const char *at = quoted.data + 1;
    const char *end = quoted.data + quoted.len - 1;

    if (at != end && *at != *ascii && *at != '\\') { /* of most names the first byte tells */
        return false;
    }
    for (; *ascii != '\0'; ascii++) {
        if (at == end || read_unit(&at) != *ascii) {
            return false;
        }
    }
    return at == end;
}

/* Writes a Unicode scalar value (RFC 3629 section 3); how many bytes. */
static size_t write_utf8(unsigned value, char *text)
{
    static const unsigned char leads[] = {0, 0x00, 0xC0, 0xE0, 0xF0}; /* by the length */
    size_t len = value < 0x80 ? 1 : value < 0x800 ? 2 : value < 0x10000 ? 3 : 4;

    for (size_t i = len - 1; i > 0; i--) {
        text[i] = (char)(0x80 | (value & 0x3F));
        value >>= 6;
    }
    text[0] = (char)(leads[len] | value);
    return len;
}

size_t json_string_decode(struct slice quoted, char *decoded)
{
    const char *at = quoted.data + 1;
    const char *end = quoted.data + quoted.len - 1;
    size_t len = 0;

    while (at != end) {
        bool is_byte = *at != '\\';
        int unit = read_unit(&at);

        if (is_byte) {
            decoded[len++] = (char)unit;
        } else if (is_high_surrogate(unit)) { /* its low one follows, or the string would not be valid */
            int low = read_unit(&at);

            len += write_utf8(0x10000U + ((unsigned)(unit - 0xD800) << 10 | (unsigned)(low - 0xDC00)),
                              decoded + len);
        } else {
            len += write_utf8((unsigned)unit, decoded + len);
        }
    }
    return len;
}
