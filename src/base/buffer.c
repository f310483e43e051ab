/* A growing byte buffer with a hard cap from birth. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 512 };

void buffer_init(struct buffer *buffer, size_t max)
{
    *buffer = (struct buffer){.max = max};
}

void buffer_free(struct buffer *buffer)
{
    size_t max = buffer->max;

    free(buffer->data);
    buffer_init(buffer, max);
}

void buffer_reset(struct buffer *buffer, size_t keep)
{
    if (buffer->capacity > keep) {
        buffer_free(buffer);
        return;
    }
    buffer->len = 0;
    buffer->failed = false;
    if (buffer->data != NULL) {
        buffer->data[0] = '\0';
    }
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity == 0 ? FIRST_CAPACITY : buffer->capacity;
    char *grown;

    if (buffer->failed || more > buffer->max - buffer->len) {
        buffer->failed = true;
        return false;
    }
    while (capacity <= buffer->len + more) { /* <=: one byte is for the NUL */
        capacity *= 2;
    }
    if (capacity == buffer->capacity) {
        return true;
    }
    grown = realloc(buffer->data, capacity);
    if (grown == NULL) {
        buffer->failed = true;
        return false;
    }
    buffer->data = grown;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (buffer_reserve(buffer, len)) {
        if (len > 0) {
            memcpy(buffer->data + buffer->len, data, len);
        }
        buffer->len += len;
        buffer->data[buffer->len] = '\0';
    }
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_slice(struct buffer *buffer, struct slice slice)
{
    buffer_append(buffer, slice.data, slice.len);
}

void buffer_append_number(struct buffer *buffer, uint64_t number)
{
    char digits[20]; /* of UINT64_MAX */
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(buffer, digits + at, sizeof digits - at);
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    int len;

    va_start(arguments, format);
    va_copy(again, arguments);
    len = vsnprintf(NULL, 0, format, arguments);
    if (len < 0) {
        buffer->failed = true;
    } else if (buffer_reserve(buffer, (size_t)len)) {
        vsnprintf(buffer->data + buffer->len, (size_t)len + 1, format, again);
        buffer->len += (size_t)len;
    }
    va_end(again);
    va_end(arguments);
}

/* Appends what a byte is in a JSON string where it cannot stand for itself (RFC 8259 section 7). */
static void append_escape(struct buffer *buffer, unsigned char byte)
{
    static const char spelt[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = byte == '\0' ? NULL : strchr(spelt, byte);
    char escape[8];

    if (found != NULL) {
        snprintf(escape, sizeof escape, "\\%c", letters[found - spelt]);
    } else {
        snprintf(escape, sizeof escape, "\\u%04x", byte);
    }
    buffer_append_text(buffer, escape);
}

void buffer_append_json_string(struct buffer *buffer, const char *data, size_t len)
{
    size_t plain = 0; /* where what has not been appended begins */

    buffer_append_text(buffer, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)data[i];

        if (byte < 0x20 || byte == '"' || byte == '\\') {
            buffer_append(buffer, data + plain, i - plain);
            append_escape(buffer, byte);
            plain = i + 1;
        }
    }
    buffer_append(buffer, data + plain, len - plain);
    buffer_append_text(buffer, "\"");
}
