/* The lines that wait to be written, in two buffers: one is filled while the other is written. */
#include "base/log_queue.h"

#include <stdlib.h>
#include <string.h>

bool log_queue_open(struct log_queue *queue)
{
    *queue = (struct log_queue){.buffers = {malloc(LOG_QUEUE_BYTES), malloc(LOG_QUEUE_BYTES)}};
    if (queue->buffers[0] == NULL || queue->buffers[1] == NULL) {
        log_queue_close(queue);
        return false;
    }
    return true;
}

void log_queue_close(struct log_queue *queue)
{
    free(queue->buffers[0]);
    free(queue->buffers[1]);
    *queue = (struct log_queue){.buffers = {NULL, NULL}};
}

bool log_queue_put(struct log_queue *queue, const char *line, size_t len)
{
    if (queue->dropped > 0 || len > LOG_QUEUE_BYTES - queue->len) {
        queue->dropped++;
        return false;
    }
    memcpy(queue->buffers[queue->filling] + queue->len, line, len);
    queue->len += len;
    queue->lines++;
    return true;
}

bool log_queue_is_empty(const struct log_queue *queue)
{
    return queue->lines == 0 && queue->dropped == 0;
}

bool log_queue_is_half_full(const struct log_queue *queue)
{
    return queue->len > LOG_QUEUE_BYTES / 2;
}

struct log_batch log_queue_take(struct log_queue *queue)
{
    struct log_batch batch = {.text = queue->buffers[queue->filling],
                              .len = queue->len,
                              .lines = queue->lines,
                              .dropped = queue->dropped};

    queue->filling = 1 - queue->filling;
    queue->len = 0;
    queue->lines = queue->dropped = 0;
    return batch;
}
