/* JSON text as a value of libjq, and back: faster than libjq does it, which takes a byte at a time. */
#include "incidentctl/import/jq_value.h"

#include <stdlib.h>
#include <string.h>

#include "model/json.h"

enum { EXACT_DIGITS = 15 }; /* of a double, DBL_DIG */

/* Invalid without memory. */
static jv read_string(struct slice quoted)
{
    char *decoded;
    jv string;

    if (memchr(quoted.data, '\\', quoted.len) == NULL) {
        return jv_string_sized(quoted.data + 1, (int)quoted.len - 2);
    }
    decoded = malloc(quoted.len);
    if (decoded == NULL) {
        return jv_invalid();
    }
    string = jv_string_sized(decoded, (int)json_string_decode(quoted, decoded));
    free(decoded);
    return string;
}

void jq_keys_init(struct jq_keys *keys)
{
    for (size_t i = 0; i < JQ_KEYS; i++) {
        keys->strings[i] = jv_invalid();
    }
}

void jq_keys_free(struct jq_keys *keys)
{
    for (size_t i = 0; i < JQ_KEYS; i++) {
        jv_free(keys->strings[i]);
    }
}

/* Of the few names that an export has, any two differ in one of these nearly always. */
static size_t slot_of(struct slice quoted)
{
    const unsigned char *text = (const unsigned char *)quoted.data;

    return (quoted.len * 61 + text[1] * 31U + text[quoted.len / 2] * 7U + text[quoted.len - 2]) % JQ_KEYS;
}

static bool is_key(jv string, struct slice quoted)
{
    return jv_is_valid(string) && (size_t)jv_string_length_bytes(jv_copy(string)) == quoted.len - 2 &&
           memcmp(jv_string_value(string), quoted.data + 1, quoted.len - 2) == 0;
}

static jv read_key(struct jq_keys *keys, struct slice quoted)
{
    jv *known = keys != NULL ? &keys->strings[slot_of(quoted)] : NULL;

    if (known == NULL || memchr(quoted.data, '\\', quoted.len) != NULL) {
        return read_string(quoted);
    }
    if (!is_key(*known, quoted)) {
        jv_free(*known);
        *known = read_string(quoted);
    }
    return jv_copy(*known);
}

/* libjq's own reading keeps what it can of digits: from 1.7 on more than a double has. */
static jv read_number(struct slice text)
{
    int64_t integer = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (text.len > EXACT_DIGITS || text.data[i] < '0' || text.data[i] > '9') {
            return jv_parse_sized(text.data, (int)text.len);
        }
        integer = integer * 10 + (text.data[i] - '0');
    }
    return jv_number((double)integer);
}

static jv read_value(struct json_reader *reader, struct jq_keys *keys, const struct json_token *token);

/* The rest of an object or an array; invalid where the text is, or without memory. The reader bounds the
 * depth. */
static jv read_members(struct json_reader *reader, struct jq_keys *keys, bool is_object)
{
    jv container = is_object ? jv_object() : jv_array();
    struct json_token token;

    while (json_next(reader, &token) != (is_object ? JSON_OBJECT_END : JSON_ARRAY_END)) {
        jv key = jv_null(), value;

        if (token.event == JSON_KEY) {
            key = read_key(keys, token.text);
            json_next(reader, &token);
        }
        value = read_value(reader, keys, &token);
        if (!jv_is_valid(key) || !jv_is_valid(value)) {
            jv_free(container);
            jv_free(key);
            jv_free(value);
            return jv_invalid();
        }
        container = is_object ? jv_object_set(container, key, value) : jv_array_append(container, value);
    }
    return container;
}

static jv read_value(struct json_reader *reader, struct jq_keys *keys, const struct json_token *token)
{
    switch (token->event) {
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        return read_members(reader, keys, token->event == JSON_OBJECT_BEGIN);
    case JSON_STRING:
        return read_string(token->text);
    case JSON_NUMBER:
        return read_number(token->text);
    case JSON_TRUE:
    case JSON_FALSE:
        return jv_bool(token->event == JSON_TRUE);
    case JSON_NULL:
        return jv_null();
    default: /* JSON_INVALID: no other comes where a value must stand */
        return jv_invalid();
    }
}

bool jq_value_read(struct slice text, struct jq_keys *keys, jv *value, struct error *error)
{
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, text);
    json_next(&reader, &token);
    *value = read_value(&reader, keys, &token);
    if (jv_is_valid(*value) && json_next(&reader, &token) == JSON_END_OF_TEXT) {
        return true;
    }
    jv_free(*value);
    return error_set(error, ERROR_INVALID_JSON, "the record is not valid JSON: %s",
                     reader.fault != NULL ? reader.fault : "libjq does not read it");
}

static void append_string(struct buffer *text, jv string)
{
    buffer_append_json_string(text, jv_string_value(string), (size_t)jv_string_length_bytes(jv_copy(string)));
}

static void append_as_libjq_does(struct buffer *text, jv value)
{
    jv written = jv_dump_string(value, 0);

    buffer_append_text(text, jv_string_value(written));
    jv_free(written);
}

static void append(struct buffer *text, jv value, unsigned depth);

static void append_object(struct buffer *text, jv object, unsigned depth)
{
    const char *before = "{";

    jv_object_foreach(object, key, value)
    {
        buffer_append_text(text, before);
        append_string(text, key);
        jv_free(key);
        buffer_append_text(text, ":");
        append(text, value, depth + 1);
        before = ",";
    }
    buffer_append_text(text, *before == ',' ? "}" : "{}");
}

static void append_array(struct buffer *text, jv array, unsigned depth)
{
    buffer_append_text(text, "[");
    jv_array_foreach(array, i, value)
    {
        buffer_append_text(text, i == 0 ? "" : ",");
        append(text, value, depth + 1);
    }
    buffer_append_text(text, "]");
}

/* What nests deeper than the reader of bodies takes is cut: that much of it is enough to be refused. */
static void append(struct buffer *text, jv value, unsigned depth)
{
    switch (depth > JSON_DEPTH_MAX ? JV_KIND_NULL : jv_get_kind(value)) {
    case JV_KIND_OBJECT:
        append_object(text, value, depth);
        break;
    case JV_KIND_ARRAY:
        append_array(text, value, depth);
        break;
    case JV_KIND_STRING:
        append_string(text, value);
        break;
    case JV_KIND_NULL:
        buffer_append_text(text, "null");
        break;
    default:
        append_as_libjq_does(text, jv_copy(value));
    }
    jv_free(value);
}

void jq_value_append(struct buffer *text, jv value)
{
    append(text, value, 0);
}
