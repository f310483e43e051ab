/* Reading a form: application/x-www-form-urlencoded (URL standard, section 5.1). */
#include "model/form.h"

#include <stdint.h>
#include <string.h>

#include "base/hex.h"
#include "base/utf8.h"
#include "model/json.h"

/* The most bytes that one of a form becomes in JSON: a name that is one control character, with its quotes
 * and those of its value; and the object around. */
enum { GROWTH = 12, BRACES = 2 };

/* Arguments that hold JSON text. */
static const char *const json_names[] = {"services", "metadata"};

/* Removes what stands before the next `byte`, and that byte, from the front of a text; all of it where there
 * is none. */
static struct slice split_at(struct slice *rest, char byte)
{
    const char *end = rest->len == 0 ? NULL : memchr(rest->data, byte, rest->len);
    struct slice taken = {.data = rest->data, .len = end == NULL ? rest->len : (size_t)(end - rest->data)};
    size_t passed = end == NULL ? taken.len : taken.len + 1;

    rest->data += passed;
    rest->len -= passed;
    return taken;
}

/* Reads `+` and %XX into an empty buffer that has room. */
static bool decode(struct slice text, struct buffer *decoded, struct error *error)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = text.data[i] == '+' ? ' ' : (unsigned char)text.data[i];

        if (byte == '%') {
            int high = text.len - i > 2 ? hex_value(text.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hex_value(text.data[i + 2]);

            if (low < 0) {
                return error_set(error, ERROR_INVALID_JSON,
                                 "the form has a %% without two hexadecimal digits behind it");
            }
            byte = (unsigned char)(high << 4 | low);
            i += 2;
        }
        buffer_append(decoded, &byte, 1);
    }
    return decoded->failed || decoded->len == 0 || utf8_is_valid(decoded->data, decoded->len) ||
           error_set(error, ERROR_INVALID_JSON, "the form is not UTF-8");
}

/* Each value is validated by itself: together they could close what another has opened. */
static bool append_json(struct buffer *json, const char *name, struct slice value, struct error *error)
{
    struct json_reader reader;

    if (value.len == 0) {
        buffer_append_text(json, "null");
        return true;
    }
    json_reader_init(&reader, value);
    if (!json_read_to_end(&reader)) {
        return error_set(error, ERROR_INVALID_JSON, "%s in a form must be JSON: %s (byte %zu)", name,
                         reader.fault, reader.at);
    }
    buffer_append_slice(json, value);
    return true;
}

static bool append_argument(struct buffer *json, struct slice name, struct slice value, struct error *error)
{
    buffer_append_json_string(json, name.data, name.len);
    buffer_append_text(json, ":");
    for (size_t i = 0; i < sizeof json_names / sizeof json_names[0]; i++) {
        if (name.len == strlen(json_names[i]) && memcmp(name.data, json_names[i], name.len) == 0) {
            return append_json(json, json_names[i], value, error);
        }
    }
    buffer_append_json_string(json, value.data, value.len);
    return true;
}

static struct slice content_of(const struct buffer *buffer)
{
    return (struct slice){.data = buffer->len == 0 ? "" : buffer->data, .len = buffer->len};
}

/* One name=value; what has no equals sign is a name with an empty value. */
static bool read_pair(struct slice pair, struct buffer *name, struct buffer *value, struct buffer *json,
                      struct error *error)
{
    struct slice name_text = split_at(&pair, '=');

    buffer_reset(name, SIZE_MAX);
    buffer_reset(value, SIZE_MAX);
    if (!decode(name_text, name, error) || !decode(pair, value, error)) {
        return false;
    }
    buffer_append_text(json, json->len > 1 ? "," : "");
    return append_argument(json, content_of(name), content_of(value), error) &&
           !(name->failed || value->failed || json->failed);
}

bool form_to_json(struct slice form, struct buffer *json, struct error *error)
{
    struct buffer name, value;
    bool ok = true;

    error->code = ERROR_NONE;
    buffer_init(&name, form.len);
    buffer_init(&value, form.len);
    buffer_init(json, form.len * GROWTH + BRACES);
    buffer_append_text(json, "{");
    while (ok && form.len > 0) {
        struct slice pair = split_at(&form, '&');

        ok = pair.len == 0 || read_pair(pair, &name, &value, json, error);
    }
    buffer_append_text(json, "}");
    buffer_free(&name);
    buffer_free(&value);
    if (error->code == ERROR_NONE && (!ok || json->failed)) {
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        return error_set(error, ERROR_INTERNAL, "out of memory");
        /* LCOV_EXCL_STOP */
    }
    return ok;
}
