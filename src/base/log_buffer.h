/* The lines that wait to be written, in two halves: one is filled while the other is written. */
#ifndef INCIDENTS_BASE_LOG_BUFFER_H
#define INCIDENTS_BASE_LOG_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In one half, in bytes. A burst of a thousand errors is as much. */
enum { LOG_BUFFER_BYTES = 256 * 1024 };

/* Does no locking: a caller with several threads does. */
struct log_buffer {
    char *halves[2];
    int filling;      /* which of the two takes the next line */
    size_t len;       /* of what that one holds, in bytes */
    uint64_t lines;   /* that it holds */
    uint64_t dropped; /* lines that came after it was full */
};

/* What a swap returns: lines, each with its line end, and how many were dropped behind the last of them. */
struct log_batch {
    char *text; /* the buffer's own, good until the next swap */
    size_t len;
    uint64_t lines;
    uint64_t dropped;
};

/* Sets up an empty buffer. False when out of memory. Memory that holds no line yet costs none. */
bool log_buffer_init(struct log_buffer *buffer);
void log_buffer_free(struct log_buffer *buffer);

/* Adds a line, line end included. Once one has found no room, and was counted as dropped, so are all that
 * follow until the next swap: what is missing is missing in one piece. False where it was dropped.
 */
bool log_buffer_append(struct log_buffer *buffer, const char *line, size_t len);

bool log_buffer_is_empty(const struct log_buffer *buffer);
/* Whether the next burst could find no room. */
bool log_buffer_is_half_full(const struct log_buffer *buffer);

/* Returns the lines, and fills the other half from now on. */
struct log_batch log_buffer_swap(struct log_buffer *buffer);

#endif
