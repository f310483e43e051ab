/* A growing byte buffer with a hard cap from birth. */
#ifndef INCIDENTS_BASE_BUFFER_H
#define INCIDENTS_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes from outside or from a text, not owned and not NUL-terminated. */
struct slice {
    const char *data;
    size_t len;
};

/* data is NUL-terminated whenever it is not NULL; len does not count that NUL. `failed` is sticky: once an
 * append did not fit or memory ran out, later appends do nothing, so that a caller checks once at the end. */
struct buffer {
    char *data;
    size_t len;
    size_t capacity;
    size_t max;
    bool failed;
};

/* An empty buffer that will never hold more than max bytes. Nothing is allocated yet. */
void buffer_init(struct buffer *buffer, size_t max);

/* Frees the memory; the buffer may be used again with the same cap. */
void buffer_free(struct buffer *buffer);

/* Forgets the content and keeps the memory, unless that is more than keep bytes. */
void buffer_reset(struct buffer *buffer, size_t keep);

/* Makes room for `more` bytes behind the content; false (and failed) when over the cap or out of memory. */
bool buffer_reserve(struct buffer *buffer, size_t more);

void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_slice(struct buffer *buffer, struct slice slice);

/* Appends the number in decimal digits. */
void buffer_append_number(struct buffer *buffer, uint64_t number);

/* Appends what printf would print. */
void buffer_append_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Appends one JSON string: quoted and escaped. data must be UTF-8. */
void buffer_append_json_string(struct buffer *buffer, const char *data, size_t len);

#endif
