/* A store's batches. */
#include "store/batches.h"

#include "base/clock.h"
#include "base/metrics.h"

enum {
    HOLD_MS = 10,  /* how long a batch is waited for before another is sent beside it, */
    HOLD_MAX = 64, /* unless so many operations wait already */
};

int64_t batches_left_ms(const struct store *store, int64_t now_ms)
{
    int64_t deadline_ms = queue_last_deadline_ms(&store->queue);

    return deadline_ms == 0 ? LOOP_NEVER : deadline_ms - store->queue.limits.margin_ms - now_ms;
}

/* ---- What becomes of a batch ---- */

void batches_complete_op(struct store *store, struct store_op *op, enum op_outcome outcome)
{
    op->outcome = outcome;
    queue_remove(&store->queue, op);
    TAILQ_INSERT_TAIL(&store->completed, op, place.link);
}

/* What a result means for an operation that was alone in its batch; OP_PENDING where it may be tried again.
 */
static enum op_outcome outcome_alone(enum batch_result result)
{
    switch (result) {
    case BATCH_UNAVAILABLE:
        return OP_UNAVAILABLE;
    case BATCH_UNSTORABLE:
        return OP_UNSTORABLE;
    case BATCH_FAILED:
        return OP_FAILED;
    default:
        return OP_PENDING;
    }
}

static bool is_reached(enum batch_result result)
{
    return result != BATCH_UNREACHABLE && result != BATCH_LOST;
}

/* Has the operation sent once more, before later operations on its incident. Alone from then on where the
 * database was reached: one of several may be at fault, and an attempt that may still run is waited for by a
 * batch of one. What hit the lock timeout while it ran alone moves to the end of the queue, or a few of its
 * kind would have every turn. */
static void try_again(struct store *store, const struct connection *connection, struct store_op *op,
                      enum batch_result result, int64_t now_ms)
{
    int64_t not_before_ms = 0;

    if (result == BATCH_LOST) {
        op->orphaned[op->orphaned_count++] = connection->attempt.number;
    }
    if (op->orphaned_count == ORPHANED_ATTEMPTS_MAX) { /* it keeps its place until they can store no more */
        not_before_ms = LOOP_NEVER;
    }
    if (connection->count == 1 && result == BATCH_CONFLICT) {
        queue_move_to_end(&store->queue, op);
    }
    op->place.must_run_alone = op->place.must_run_alone || result != BATCH_UNREACHABLE;
    if (is_reached(result)) {
        not_before_ms =
            now_ms + pool_back_off_ms(&store->pool, op->attempts++, batches_left_ms(store, now_ms));
    }
    queue_return(&store->queue, op, not_before_ms, now_ms);
}

static void settle_op(struct store *store, const struct connection *connection, struct store_op *op,
                      enum batch_result result, int64_t now_ms)
{
    enum op_outcome outcome = connection->count == 1 ? outcome_alone(result) : OP_PENDING;

    op->database_ms += now_ms - connection->started_ms;
    op->reason = connection->reason;
    if (result == BATCH_DONE) {
        batches_complete_op(store, op, op->outcome); /* which the connection has set */
    } else if (outcome != OP_PENDING) {
        batches_complete_op(store, op, outcome);
    } else {
        try_again(store, connection, op, result, now_ms);
    }
}

static void complete_batch(struct store *store, struct connection *connection, enum batch_result result)
{
    int64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < connection->count; i++) {
        settle_op(store, connection, connection->ops[i], result, now_ms);
    }
    if (is_reached(result)) {
        pool_note_reached(&store->pool);
    } else {
        pool_note_unreachable(&store->pool, connection->reason, now_ms, batches_left_ms(store, now_ms));
    }
    pool_release(&store->pool, connection);
}

/* ---- Batches ---- */

/* A batch was started, or has gone on: it waits for its socket, or is complete. A response may come in the
 * same call in which the last of the batch is sent. */
static void follow(struct store *store, struct connection *connection, enum batch_result result)
{
    bool waits_to_write = result == BATCH_PENDING && !connection->is_flushed;

    if (connection->pg != NULL && waits_to_write != connection->waits_to_write) {
        connection->waits_to_write = waits_to_write;
        loop_change(store->loop, PQsocket(connection->pg), waits_to_write ? EPOLLIN | EPOLLOUT : EPOLLIN,
                    &connection->handler);
    }
    if (result != BATCH_PENDING) {
        complete_batch(store, connection, result);
    }
}

void batches_continue(void *context, uint32_t events)
{
    struct connection *connection = context;
    struct store *store = connection->store;
    bool was_idle = connection->state == CONNECTION_IDLE;
    enum batch_result result = connection_continue(connection);

    (void)events;
    if (!was_idle) {
        follow(store, connection, result);
    } else if (connection->state == CONNECTION_CLOSED) {
        pool_note_closed(&store->pool, connection);
    }
}

/* An operation whose attempt was lost is given up a while before its deadline, so nothing may be stored by
 * then. */
static void start_batch(struct store *store, struct connection *connection, int64_t now_ms)
{
    struct attempt *attempt = &connection->attempt;

    *attempt = (struct attempt){
        .deadline_ms = LOOP_NEVER, .store_until_ms = LOOP_NEVER, .number = (int64_t)++store->last_attempt};
    for (size_t i = 0; i < connection->count; i++) {
        const struct store_op *op = connection->ops[i];

        attempt->deadline_ms = sooner(attempt->deadline_ms, op->deadline_ms);
        attempt->store_until_ms = sooner(attempt->store_until_ms, queue_expiry_ms(&store->queue, op));
        if (op->orphaned_count > 0) { /* it runs alone */
            attempt->orphaned = op->orphaned;
            attempt->orphaned_count = op->orphaned_count;
        }
    }
    if (connection->ops[0] != &store->probe) {
        metrics_count_batch(connection->count);
    }
    connection->started_ms = now_ms;
    follow(store, connection, connection_start_batch(connection));
}

/* Until when operations wait for the batch under way to come back, though a connection is free: two small
 * batches cost more than a large one, and delay each other. A batch that takes long holds nobody back. 0
 * where there is nothing to wait for. */
static int64_t held_until_ms(const struct store *store, int64_t now_ms)
{
    int64_t until_ms = 0;

    if (store->queue.waiting >= HOLD_MAX || store->queue.waiting >= store->queue.limits.batch_max) {
        return 0;
    }
    for (size_t i = 0; i < store->pool.count; i++) {
        int64_t started_ms = store->pool.connections[i].started_ms;

        if (started_ms != 0 && now_ms < started_ms + HOLD_MS) {
            until_ms = later(until_ms, started_ms + HOLD_MS);
        }
    }
    return until_ms;
}

int64_t batches_send_from_ms(const struct store *store, int64_t now_ms)
{
    bool may_open = store->pool.closed != NULL && !store->is_opening;

    return store->pool.idle == NULL && !may_open
               ? LOOP_NEVER
               : later(held_until_ms(store, now_ms), pool_ready_ms(&store->pool));
}

void batches_start(struct store *store, int64_t now_ms)
{
    struct connection *connection;

    pool_close_outdated(&store->pool);
    while (store->queue.waiting > 0 && batches_send_from_ms(store, now_ms) <= now_ms &&
           (connection = pool_acquire_idle(&store->pool)) != NULL) {
        connection->count = queue_take_batch(&store->queue, connection->ops, now_ms);
        if (connection->count == 0) {
            pool_release(&store->pool, connection);
            break;
        }
        start_batch(store, connection, now_ms);
    }
}

void batches_give_up_late(struct store *store, int64_t now_ms)
{
    for (size_t i = 0; i < store->pool.count; i++) {
        struct connection *connection = &store->pool.connections[i];

        if (connection->started_ms != 0 && connection_deadline_ms(connection) <= now_ms) {
            complete_batch(store, connection, connection_give_up(connection));
        }
    }
}
