/* The lines that wait to be written, in two buffers: one is filled while the other is written. */
#ifndef INCIDENTS_BASE_LOG_QUEUE_H
#define INCIDENTS_BASE_LOG_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In one buffer, in bytes. A burst of a thousand errors is as much. */
enum { LOG_QUEUE_BYTES = 256 * 1024 };

/* Does no locking: whoever uses it from several threads does. */
struct log_queue {
    char *buffers[2];
    int filling;      /* which of the two takes the next line */
    size_t len;       /* of what that one holds, in bytes */
    uint64_t lines;   /* that it holds */
    uint64_t dropped; /* lines that came after it was full */
};

/* What was taken out: lines, each with its line end, and how many were dropped behind the last of them. */
struct log_batch {
    char *text; /* the queue's own, good until the next batch is taken */
    size_t len;
    uint64_t lines;
    uint64_t dropped;
};

/* Sets up an empty queue. False when out of memory. Memory that holds no line yet costs none. */
bool log_queue_open(struct log_queue *queue);
void log_queue_close(struct log_queue *queue);

/* Adds a line, line end included. Once one has found no room, and was counted as dropped, so are all that
 * follow until the next batch is taken: what is missing is missing in one piece. False where it was dropped.
 */
bool log_queue_put(struct log_queue *queue, const char *line, size_t len);

bool log_queue_is_empty(const struct log_queue *queue);
/* Whether the next burst could find no room. */
bool log_queue_is_half_full(const struct log_queue *queue);

/* Takes all lines out, and so makes room. */
struct log_batch log_queue_take(struct log_queue *queue);

#endif
