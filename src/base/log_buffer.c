/* The lines that wait to be written, in two halves: one is filled while the other is written. */
#include "base/log_buffer.h"

#include <stdlib.h>
#include <string.h>

bool log_buffer_init(struct log_buffer *buffer)
{
    *buffer = (struct log_buffer){.halves = {malloc(LOG_BUFFER_BYTES), malloc(LOG_BUFFER_BYTES)}};
    if (buffer->halves[0] == NULL || buffer->halves[1] == NULL) {
        log_buffer_free(buffer);
        return false;
    }
    return true;
}

void log_buffer_free(struct log_buffer *buffer)
{
    free(buffer->halves[0]);
    free(buffer->halves[1]);
    *buffer = (struct log_buffer){.halves = {NULL, NULL}};
}

bool log_buffer_append(struct log_buffer *buffer, const char *line, size_t len)
{
    if (buffer->dropped > 0 || len > LOG_BUFFER_BYTES - buffer->len) {
        buffer->dropped++;
        return false;
    }
    memcpy(buffer->halves[buffer->filling] + buffer->len, line, len);
    buffer->len += len;
    buffer->lines++;
    return true;
}

bool log_buffer_is_empty(const struct log_buffer *buffer)
{
    return buffer->lines == 0 && buffer->dropped == 0;
}

bool log_buffer_is_half_full(const struct log_buffer *buffer)
{
    return buffer->len > LOG_BUFFER_BYTES / 2;
}

struct log_batch log_buffer_swap(struct log_buffer *buffer)
{
    struct log_batch batch = {.text = buffer->halves[buffer->filling],
                              .len = buffer->len,
                              .lines = buffer->lines,
                              .dropped = buffer->dropped};

    buffer->filling = 1 - buffer->filling;
    buffer->len = 0;
    buffer->lines = buffer->dropped = 0;
    return batch;
}
