/* The way to the database: ties the queue and the pool to the loop. */
#include "store/store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/connector.h"
#include "store/pool.h"
#include "store/queue.h"

enum {
    MARGIN_DIVISOR = 10, /* an operation with less than this part of its time left is not sent any more */
    PROBE_TIMEOUT_MS = 2000,
    SECOND_BATCH_OPS = 64, /* so many operations do not wait for the batch under way */
};

/* What the loop tells of a connection. */
struct watch {
    struct store *store;
    struct connection *connection;
    struct loop_handler handler;
    uint32_t events; /* that are watched */
};

struct store {
    const struct settings *settings;
    const struct loop *loop;
    struct loop own_loop; /* not open if there is another */
    struct hosts *hosts;
    struct queue queue;
    struct pool pool;
    struct watch *watches;       /* one for each connection of the pool, in the same order */
    struct connector *connector; /* NULL with its own loop: this thread opens the connection */
    struct loop_handler connector_handler;
    bool is_opening;            /* the connector has a connection */
    struct store_ops completed; /* callbacks to run */
    size_t pending;             /* submitted and not called back */
    struct store_op probe;      /* tries whether the database is back, so that no request has to */
    bool is_probing;
    int64_t waiting;      /* as the metrics have it */
    int64_t last_attempt; /* its number */
};

/* The time until the last deadline. */
static int64_t left_ms(const struct store *store, int64_t now_ms)
{
    return queue_last_deadline_ms(&store->queue) - store->queue.limits.margin_ms - now_ms;
}

/* ---- Results of batches ---- */

static void complete_op(struct store *store, struct store_op *op, enum op_outcome outcome)
{
    op->outcome = outcome;
    queue_remove(&store->queue, op);
    TAILQ_INSERT_TAIL(&store->completed, op, entry.link);
}

static bool is_reached(enum batch_result result)
{
    return result != BATCH_UNREACHABLE && result != BATCH_LOST;
}

/* Has the operation sent again, before later ones on its incident. Alone from then on if the database was
 * reached: one of several may be at fault, and a batch of one waits for an attempt that may still run. If it
 * hit the lock timeout alone it moves to the end, or a few such operations would take every iteration. */
static void retry_op(struct store *store, const struct connection *connection, struct store_op *op,
                     enum batch_result result, int64_t now_ms)
{
    int64_t not_before_ms = 0;

    if (result == BATCH_LOST) {
        op->orphaned[op->orphaned_count++] = connection->attempt;
    }
    if (op->orphaned_count == ORPHANED_ATTEMPTS_MAX) { /* it keeps its place until they can store no more */
        not_before_ms = LOOP_NEVER;
    }
    if (connection->count == 1 && result == BATCH_CONFLICT) {
        queue_move_to_end(&store->queue, op);
    }
    op->entry.must_run_alone = op->entry.must_run_alone || result != BATCH_UNREACHABLE;
    if (is_reached(result)) {
        not_before_ms = now_ms + pool_back_off_ms(&store->pool, op->attempts++, left_ms(store, now_ms));
    }
    queue_return(&store->queue, op, not_before_ms, now_ms);
}

static void complete_batch(struct store *store, struct connection *connection, enum batch_result result)
{
    static const enum op_outcome outcomes[] = {/* of an operation that was alone; else it is sent again */
                                               [BATCH_UNAVAILABLE] = OP_UNAVAILABLE,
                                               [BATCH_INVALID_VALUE] = OP_INVALID_VALUE,
                                               [BATCH_FAILED] = OP_FAILED};
    int64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < connection->count; i++) {
        struct store_op *op = connection->ops[i];

        op->database_ms += now_ms - connection->started_ms;
        op->reason = connection->reason;
        if (result == BATCH_DONE) {
            complete_op(store, op, op->outcome);
        } else if (connection->count == 1 && outcomes[result] != OP_PENDING) {
            complete_op(store, op, outcomes[result]);
        } else {
            retry_op(store, connection, op, result, now_ms);
        }
    }
    if (is_reached(result)) {
        pool_note_reached(&store->pool);
    } else {
        pool_note_unreachable(&store->pool, connection->reason, now_ms, left_ms(store, now_ms));
    }
    pool_release(&store->pool, connection);
}

static struct watch *watch_of(const struct store *store, const struct connection *connection)
{
    return &store->watches[connection - store->pool.connections];
}

/* A batch was started, or has continued: it waits for its socket, or is complete. A response may come in the
 * same call in which the last of the batch is sent. */
static void handle_result(struct store *store, struct connection *connection, enum batch_result result)
{
    struct watch *watch = watch_of(store, connection);
    uint32_t events = result == BATCH_PENDING && !connection->is_flushed ? EPOLLIN | EPOLLOUT : EPOLLIN;

    if (connection->pg != NULL && events != watch->events) {
        watch->events = events;
        loop_change(store->loop, PQsocket(connection->pg), events, &watch->handler);
    }
    if (result != BATCH_PENDING) {
        complete_batch(store, connection, result);
    }
}

static void connection_ready(void *context, uint32_t events)
{
    const struct watch *watch = context;
    struct store *store = watch->store;
    struct connection *connection = watch->connection;
    bool was_idle = connection->state == CONNECTION_IDLE;
    enum batch_result result = connection_continue(connection);

    (void)events;
    if (!was_idle) {
        handle_result(store, connection, result);
    } else if (connection->state == CONNECTION_CLOSED) {
        pool_note_closed(&store->pool, connection);
    }
}

/* ---- Batches ---- */

/* When a batch may be sent on an idle connection, or one be opened for it; LOOP_NEVER if there is none. */
static int64_t send_from_ms(const struct store *store, int64_t now_ms)
{
    const struct queue *queue = &store->queue;
    bool is_enough = queue->waiting >= SECOND_BATCH_OPS || queue->waiting >= queue->limits.batch_max;
    bool may_open = !LIST_EMPTY(&store->pool.closed) && !store->is_opening;

    if (LIST_EMPTY(&store->pool.idle) && !may_open) {
        return LOOP_NEVER;
    }
    return clock_later(pool_ready_ms(&store->pool),
                       is_enough ? 0 : pool_second_batch_at_ms(&store->pool, now_ms));
}

/* The batch is not stored after its first operation expires: that gets its response then. */
static void start_batch(struct store *store, struct connection *connection, int64_t now_ms)
{
    connection->deadline_ms = LOOP_NEVER;
    for (size_t i = 0; i < connection->count; i++) {
        connection->deadline_ms = clock_earlier(connection->deadline_ms, connection->ops[i]->deadline_ms);
    }
    connection->store_until_ms = connection->deadline_ms - store->queue.limits.margin_ms;
    connection->attempt = ++store->last_attempt;
    connection->started_ms = now_ms;
    if (connection->ops[0] != &store->probe) {
        metrics_count_batch(connection->count);
    }
    handle_result(store, connection, connection_start_batch(connection));
}

static void start_batches(struct store *store, int64_t now_ms)
{
    struct connection *connection;

    pool_close_outdated(&store->pool);
    while (store->queue.waiting > 0 && send_from_ms(store, now_ms) <= now_ms &&
           (connection = pool_acquire(&store->pool.idle)) != NULL) {
        connection->count = queue_take_batch(&store->queue, connection->ops, now_ms);
        if (connection->count == 0) {
            pool_release(&store->pool, connection);
            break;
        }
        start_batch(store, connection, now_ms);
    }
}

static void expire_batches(struct store *store, int64_t now_ms)
{
    for (size_t i = 0; i < store->pool.count; i++) {
        struct connection *connection = &store->pool.connections[i];

        if (connection->started_ms != 0 && connection_deadline_ms(connection) <= now_ms) {
            complete_batch(store, connection, connection_abort(connection));
        }
    }
}

/* ---- Connections ---- */

/* An open connection does not mean yet that anything can be stored. */
static void note_opened(struct store *store, struct connection *connection)
{
    struct watch *watch = watch_of(store, connection);
    int64_t now_ms = clock_now_ms();

    *watch = (struct watch){.store = store,
                            .connection = connection,
                            .handler = {.ready = connection_ready, .context = watch},
                            .events = EPOLLIN};
    if (connection->state == CONNECTION_IDLE &&
        !loop_watch(store->loop, PQsocket(connection->pg), watch->events, &watch->handler)) {
        /* LCOV_EXCL_START: out of memory: epoll's in the kernel */
        snprintf(connection->refusal, sizeof connection->refusal, "%s", strerror(errno));
        connection_close(connection);
        /* LCOV_EXCL_STOP */
    }
    if (connection->state == CONNECTION_IDLE) {
        pool_note_opened(&store->pool);
    } else {
        failures_report(&store->pool.failure_log, "connect to the database", connection->refusal);
        pool_note_open_failure(&store->pool, connection->reason, now_ms, left_ms(store, now_ms));
    }
    pool_release(&store->pool, connection);
}

static void connector_ready(void *context, uint32_t events)
{
    struct store *store = context;
    struct connection *connection = connector_take_opened(store->connector);

    (void)events;
    if (connection != NULL) {
        store->is_opening = false;
        note_opened(store, connection);
    }
}

/* Opens a connection if an operation waits for one. The attempt may take as long as any of them. */
static void open_connection(struct store *store, int64_t now_ms)
{
    struct connection *connection;
    int64_t deadline_ms = queue_last_deadline_ms(&store->queue);

    if (!LIST_EMPTY(&store->pool.idle) ||
        queue_due_ms(&store->queue, send_from_ms(store, now_ms), now_ms) > now_ms) {
        return;
    }
    connection = pool_acquire(&store->pool.closed);
    if (store->connector != NULL) {
        store->is_opening = true;
        connector_open(store->connector, connection, deadline_ms);
    } else {
        connection_open(connection, deadline_ms);
        note_opened(store, connection);
        start_batches(store, clock_now_ms());
    }
}

/* ---- Operations ---- */

static void end_probe(void *context)
{
    struct store *store = context;

    store->is_probing = false;
}

static void start_probe(struct store *store, int64_t now_ms)
{
    if (store->pool.unreachable_since_ms == 0 || store->pool.probe_at_ms > now_ms || store->is_probing) {
        return;
    }
    store->is_probing = true;
    op_prepare(&store->probe, now_ms + PROBE_TIMEOUT_MS + store->queue.limits.margin_ms, end_probe, store);
    store->probe.entry.must_run_alone = true;
    queue_add(&store->queue, &store->probe, now_ms);
}

static void expire_ops(struct store *store, int64_t now_ms)
{
    struct store_op *op;

    while ((op = queue_find_expired(&store->queue, now_ms)) != NULL) {
        op->queue_ms += now_ms - op->entry.since_ms;
        if (store->pool.reason != REASON_NONE) { /* else that of its own last attempt */
            op->reason = store->pool.reason;
        }
        complete_op(store, op, OP_UNAVAILABLE);
    }
}

static void update_metrics(struct store *store)
{
    bool has_probe = store->is_probing && store->probe.outcome == OP_PENDING && !store->probe.entry.is_sent;
    int64_t waiting = (int64_t)store->queue.waiting - has_probe;

    if (waiting != store->waiting) {
        metrics_add(METRICS_QUEUE, waiting - store->waiting);
        store->waiting = waiting;
    }
}

static void run_callbacks(struct store *store)
{
    struct store_op *op;

    while ((op = TAILQ_FIRST(&store->completed)) != NULL) {
        TAILQ_REMOVE(&store->completed, op, entry.link);
        store->pending -= op == &store->probe ? 0 : 1;
        if (op->done != NULL) {
            op->done(op->context);
        }
    }
}

/* The next batches are sent before the callbacks, so that the database need not wait for them. */
void store_run_once(struct store *store)
{
    int64_t now_ms = clock_now_ms();

    expire_batches(store, now_ms);
    expire_ops(store, now_ms);
    start_probe(store, now_ms);
    start_batches(store, now_ms);
    open_connection(store, now_ms);
    update_metrics(store);
    run_callbacks(store);
}

int64_t store_due_ms(const struct store *store)
{
    int64_t now_ms = clock_now_ms(), due_ms;

    if (!TAILQ_EMPTY(&store->completed)) {
        return now_ms;
    }
    due_ms = queue_due_ms(&store->queue, send_from_ms(store, now_ms), now_ms);
    for (size_t i = 0; i < store->pool.count; i++) {
        const struct connection *connection = &store->pool.connections[i];

        if (connection->started_ms != 0) {
            due_ms = clock_earlier(due_ms, connection_deadline_ms(connection));
        }
    }
    if (store->pool.unreachable_since_ms != 0 && !store->is_probing) {
        due_ms = clock_earlier(due_ms, store->pool.probe_at_ms);
    }
    return due_ms;
}

/* Whether the database has been unreachable for so long that waiting is most likely in vain. */
static bool is_outage(const struct store *store, int64_t now_ms)
{
    return store->pool.unreachable_since_ms != 0 &&
           now_ms - store->pool.unreachable_since_ms > store->settings->request_timeout_ms;
}

void store_submit(struct store *store, struct store_op *op, void (*done)(void *context), void *context)
{
    int64_t now_ms = clock_now_ms();
    bool has_room;

    op_prepare(op, now_ms + store->settings->request_timeout_ms, done, context);
    store->pending++;
    has_room = queue_has_room(&store->queue, op->record.capacity);
    if (has_room && !is_outage(store, now_ms)) {
        queue_add(&store->queue, op, now_ms);
        return;
    }
    op->reason = has_room || store->pool.unreachable_since_ms != 0 ? store->pool.reason : REASON_QUEUE_FULL;
    op->outcome = OP_UNAVAILABLE;
    TAILQ_INSERT_TAIL(&store->completed, op, entry.link);
}

/* ---- The store ---- */

static void run_until_done(struct store *store)
{
    for (store_run_once(store); store->pending > 0; store_run_once(store)) {
        loop_run_once(store->loop, store_due_ms(store));
    }
}

void store_apply(struct store *store, struct store_op *op)
{
    store_submit(store, op, NULL, NULL);
    run_until_done(store);
    failures_log_held(&store->pool.failure_log);
}

const char *store_failure(const struct store *store)
{
    return failures_last(&store->pool.failure_log);
}

static void store_free(void *context)
{
    struct store *store = context;

    pool_free(&store->pool);
    free(store->watches);
    queue_free(&store->queue);
    hosts_free(store->hosts);
    loop_close(&store->own_loop);
    op_free(&store->probe);
    free(store);
}

static void store_close(struct store *store)
{
    if (store->connector != NULL) {
        loop_unwatch(store->loop, connector_event(store->connector));
        connector_stop(store->connector, store_free, store);
    } else {
        store_free(store);
    }
}

/* What cannot be opened, with errno set; NULL if all is open. */
static const char *store_open(struct store *store)
{
    static const char pool[] = "connection pool", thread[] = "thread that opens database connections";
    const struct settings *settings = store->settings;
    const struct queue_limits limits = {.batch_max = (size_t)settings->batch_max,
                                        .waiting_max = (size_t)settings->queue_max,
                                        .margin_ms = settings->request_timeout_ms / MARGIN_DIVISOR};
    bool is_single = store->loop == &store->own_loop, is_open;
    size_t connections = is_single ? 1 : (size_t)settings->db_pool_size;
    uint64_t random[3];

    if (getrandom(random, sizeof random, 0) != sizeof random) {
        return pool; /* LCOV_EXCL_LINE: so few bytes are always given (random(7)) */
    }
    store->last_attempt = (int64_t)random[0];
    store->hosts = hosts_new(settings->database_url);
    store->watches = calloc(connections, sizeof store->watches[0]);
    is_open = store->hosts != NULL && store->watches != NULL && op_ping(&store->probe) &&
              queue_init(&store->queue, &limits, random[1]) &&
              pool_init(&store->pool, store->hosts, connections, limits.batch_max, (unsigned)random[2]);
    store->pool.failure_log.are_held = is_single;
    if (!is_open || is_single) {
        return is_open && loop_open(&store->own_loop) ? NULL : pool;
    }
    store->connector_handler = (struct loop_handler){.ready = connector_ready, .context = store};
    store->connector = connector_start();
    is_open = store->connector != NULL &&
              loop_watch(store->loop, connector_event(store->connector), EPOLLIN, &store->connector_handler);
    return is_open ? NULL : thread;
}

struct store *store_start(const struct settings *settings, const struct loop *loop)
{
    struct store *store = calloc(1, sizeof *store);
    const char *failed = "memory";

    if (store != NULL) {
        store->settings = settings;
        store->loop = loop != NULL ? loop : &store->own_loop;
        store->own_loop.epoll = -1;
        TAILQ_INIT(&store->completed);
        failed = store_open(store);
    }
    if (failed != NULL) {
        /* LCOV_EXCL_START: out of memory, threads or descriptors (exhaustion_test, limits_test) */
        log_error("unable to start: %s: %s", failed, strerror(errno));
        if (store != NULL) {
            store_close(store);
        }
        return NULL;
        /* LCOV_EXCL_STOP */
    }
    return store;
}

void store_stop(struct store *store)
{
    run_until_done(store);
    store_close(store);
}
