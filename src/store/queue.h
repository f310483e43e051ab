/* The operations that are not completed, in order of arrival: which of them make the next batch.
 *
 * Two operations on one incident are never sent at once, so they take effect in the order of arrival. It does
 * no input or output. Times are those of clock_now_ms(). */
#ifndef INCIDENTS_STORE_QUEUE_H
#define INCIDENTS_STORE_QUEUE_H

#include "loop/loop.h"
#include "store/op.h"

TAILQ_HEAD(store_ops, store_op);

struct queue_limits {
    size_t batch_max;   /* operations of a batch */
    size_t waiting_max; /* operations that wait */
    int64_t margin_ms;  /* an operation with less time left than this has expired: it is not sent any more */
};

/* Its operations are either sent, in a batch, or wait. */
struct queue {
    struct queue_limits limits;
    struct store_ops ops;
    struct store_ops *buckets; /* the same by key, linked by same_key */
    size_t bucket_count;
    uint64_t seed;
    size_t waiting;
    size_t bytes;            /* of all records */
    int64_t expires_from_ms; /* no waiting operation expires before */
    bool last_was_alone;     /* the last batch was an operation that must run alone */
};

/* An empty queue. seed: from a random source, so that no client can choose reference_ids that share a
 * bucket. False when out of memory. */
bool queue_init(struct queue *queue, const struct queue_limits *limits, uint64_t seed);

/* Frees the memory, but no operation. */
void queue_free(struct queue *queue);

/* Whether an operation with a record of so many bytes may be added. */
bool queue_has_room(const struct queue *queue, size_t bytes);

/* Appends an operation, whose deadline_ms is set. It is the queue's until queue_remove. */
void queue_add(struct queue *queue, struct store_op *op, int64_t now_ms);

/* Takes the next batch: fills `batch`, an array of limits.batch_max, with operations that count as sent from
 * now on, and returns how many; 0 if none may be sent now. An operation that must run alone is a batch by
 * itself. It may wait long for a lock, so after it others have a turn. */
size_t queue_take_batch(struct queue *queue, struct store_op **batch, int64_t now_ms);

/* A sent operation waits again, in its place, until not_before_ms at the earliest. */
void queue_return(struct queue *queue, struct store_op *op, int64_t not_before_ms, int64_t now_ms);

/* Moves the operation behind all others. */
void queue_move_to_end(struct queue *queue, struct store_op *op);

/* Removes a waiting or a sent operation, which is the caller's again. */
void queue_remove(struct queue *queue, struct store_op *op);

/* The first waiting operation that has expired; NULL if there is none. */
struct store_op *queue_find_expired(struct queue *queue, int64_t now_ms);

/* The next time at which a waiting operation expires, or may be sent, which is possible from send_from_ms on;
 * LOOP_NEVER if none waits. Where send_from_ms is LOOP_NEVER it may be earlier than need be, and
 * queue_find_expired corrects it. */
int64_t queue_due_ms(const struct queue *queue, int64_t send_from_ms, int64_t now_ms);

/* The latest deadline of all; LOOP_NEVER if the queue is empty. */
int64_t queue_last_deadline_ms(const struct queue *queue);

#endif
