/* The operations that are not completed. */
#include "store/queue.h"

#include <stdlib.h>

#include "base/clock.h"

enum {
    BATCH_BYTES_MAX = 4 * 1024 * 1024,  /* of a batch's records, or one that is larger */
    QUEUE_BYTES_MAX = 64 * 1024 * 1024, /* of all records, or one that is larger */
};

bool queue_init(struct queue *queue, const struct queue_limits *limits, uint64_t seed)
{
    *queue = (struct queue){.limits = *limits,
                            .bucket_count = limits->waiting_max + 1,
                            .seed = seed,
                            .expires_from_ms = LOOP_NEVER};
    TAILQ_INIT(&queue->ops);
    queue->buckets = calloc(queue->bucket_count, sizeof queue->buckets[0]);
    for (size_t i = 0; queue->buckets != NULL && i < queue->bucket_count; i++) {
        TAILQ_INIT(&queue->buckets[i]);
    }
    return queue->buckets != NULL;
}

void queue_free(struct queue *queue)
{
    free(queue->buckets);
    queue->buckets = NULL;
}

/* FNV-1a. Two reference_ids with one key are sent one after the other, no more. */
static uint64_t hash(uint64_t seed, const char *reference_id)
{
    if (reference_id == NULL) {
        return 0;
    }
    for (const char *byte = reference_id; *byte != '\0'; byte++) {
        seed = (seed ^ (unsigned char)*byte) * 0x100000001b3;
    }
    return seed != 0 ? seed : 1;
}

static struct store_ops *bucket_of(const struct queue *queue, const struct store_op *op)
{
    return &queue->buckets[op->entry.key % queue->bucket_count];
}

bool queue_has_room(const struct queue *queue, size_t bytes)
{
    return queue->waiting < queue->limits.waiting_max &&
           (queue->bytes == 0 || queue->bytes + bytes <= QUEUE_BYTES_MAX);
}

static int64_t expiry_of(const struct queue *queue, const struct store_op *op)
{
    return op->deadline_ms - queue->limits.margin_ms;
}

static void note_expiry(struct queue *queue, const struct store_op *op)
{
    queue->expires_from_ms = clock_earlier(queue->expires_from_ms, expiry_of(queue, op));
}

void queue_add(struct queue *queue, struct store_op *op, int64_t now_ms)
{
    op->entry = (struct queue_entry){.key = hash(queue->seed, op->reference_id),
                                     .since_ms = now_ms,
                                     .must_run_alone = op->entry.must_run_alone};
    TAILQ_INSERT_TAIL(&queue->ops, op, entry.link);
    TAILQ_INSERT_TAIL(bucket_of(queue, op), op, entry.same_key);
    queue->waiting++;
    queue->bytes += op->record.capacity;
    note_expiry(queue, op);
}

/* Whether an earlier operation on the same incident is not completed. */
static bool is_behind_another(const struct queue *queue, const struct store_op *op)
{
    const struct store_op *earlier;

    if (op->entry.key == 0) {
        return false;
    }
    for (earlier = TAILQ_FIRST(bucket_of(queue, op)); earlier != op;
         earlier = TAILQ_NEXT(earlier, entry.same_key)) {
        if (earlier->entry.key == op->entry.key) {
            return true;
        }
    }
    return false;
}

static bool may_be_sent(const struct queue *queue, const struct store_op *op, int64_t now_ms)
{
    return !op->entry.is_sent && op->entry.not_before_ms <= now_ms && expiry_of(queue, op) > now_ms &&
           !is_behind_another(queue, op);
}

static void take(struct queue *queue, struct store_op *op, int64_t now_ms)
{
    op->entry.is_sent = true;
    op->queue_ms += now_ms - op->entry.since_ms;
    op->entry.since_ms = now_ms;
    queue->waiting--;
}

/* with_alone: an operation that must run alone may be taken. */
static size_t take_in_order(struct queue *queue, struct store_op **batch, bool with_alone, int64_t now_ms)
{
    size_t count = 0, bytes = 0;
    struct store_op *op;

    TAILQ_FOREACH(op, &queue->ops, entry.link)
    {
        bool is_alone = op->entry.must_run_alone;

        if (count == queue->limits.batch_max || bytes > BATCH_BYTES_MAX) {
            break;
        }
        if (!may_be_sent(queue, op, now_ms) || (is_alone && (!with_alone || count > 0))) {
            continue;
        }
        bytes += op->record.len;
        if (count > 0 && bytes > BATCH_BYTES_MAX) {
            break;
        }
        take(queue, op, now_ms);
        batch[count++] = op;
        queue->last_was_alone = is_alone;
        if (is_alone) {
            break;
        }
    }
    return count;
}

size_t queue_take_batch(struct queue *queue, struct store_op **batch, int64_t now_ms)
{
    size_t count = queue->last_was_alone ? take_in_order(queue, batch, false, now_ms) : 0;

    return count > 0 ? count : take_in_order(queue, batch, true, now_ms);
}

void queue_return(struct queue *queue, struct store_op *op, int64_t not_before_ms, int64_t now_ms)
{
    op->entry.is_sent = false;
    op->entry.since_ms = now_ms;
    op->entry.not_before_ms = not_before_ms;
    queue->waiting++;
    note_expiry(queue, op);
}

void queue_move_to_end(struct queue *queue, struct store_op *op)
{
    TAILQ_REMOVE(&queue->ops, op, entry.link);
    TAILQ_INSERT_TAIL(&queue->ops, op, entry.link);
}

void queue_remove(struct queue *queue, struct store_op *op)
{
    TAILQ_REMOVE(&queue->ops, op, entry.link);
    TAILQ_REMOVE(bucket_of(queue, op), op, entry.same_key);
    queue->waiting -= op->entry.is_sent ? 0 : 1;
    queue->bytes -= op->record.capacity;
}

/* Called in each iteration, and nearly always nothing has expired: it searches only if something may have. */
struct store_op *queue_find_expired(struct queue *queue, int64_t now_ms)
{
    int64_t earliest_ms = LOOP_NEVER;
    struct store_op *op;

    if (now_ms < queue->expires_from_ms) {
        return NULL;
    }
    TAILQ_FOREACH(op, &queue->ops, entry.link)
    {
        int64_t expiry_ms = expiry_of(queue, op);

        if (op->entry.is_sent) {
            continue;
        }
        if (expiry_ms <= now_ms) {
            return op;
        }
        earliest_ms = clock_earlier(earliest_ms, expiry_ms);
    }
    queue->expires_from_ms = earliest_ms;
    return NULL;
}

int64_t queue_due_ms(const struct queue *queue, int64_t send_from_ms, int64_t now_ms)
{
    int64_t due_ms = LOOP_NEVER;
    const struct store_op *op;

    if (queue->waiting == 0) {
        return LOOP_NEVER;
    }
    if (send_from_ms == LOOP_NEVER) {
        return queue->expires_from_ms;
    }
    TAILQ_FOREACH(op, &queue->ops, entry.link)
    {
        int64_t send_ms = clock_later(op->entry.not_before_ms, send_from_ms);

        if (op->entry.is_sent) {
            continue;
        }
        due_ms = clock_earlier(due_ms, expiry_of(queue, op));
        if (send_ms < due_ms && !is_behind_another(queue, op)) {
            due_ms = send_ms;
        }
        if (due_ms <= now_ms) {
            break;
        }
    }
    return due_ms;
}

int64_t queue_last_deadline_ms(const struct queue *queue)
{
    int64_t deadline_ms = 0;
    const struct store_op *op;

    TAILQ_FOREACH(op, &queue->ops, entry.link)
    {
        deadline_ms = clock_later(deadline_ms, op->deadline_ms);
    }
    return deadline_ms == 0 ? LOOP_NEVER : deadline_ms;
}
