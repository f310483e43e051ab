/* The way to the database: ties the queue and the pool of connections to the loop. */
#include "store/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/batches.h"

enum {
    TOO_LATE_FRACTION = 10, /* an operation with less than this part of its time left would only end its
                               batch early */
    PROBE_TIMEOUT_MS = 2000,
};

/* ---- Connections ---- */

static void note_opened(struct store *store, struct connection *connection)
{
    int64_t now_ms = clock_now_ms();

    connection->handler = (struct loop_handler){.ready = batches_continue, .context = connection};
    connection->store = store;
    connection->waits_to_write = false;
    if (connection->state == CONNECTION_IDLE &&
        !loop_watch(store->loop, PQsocket(connection->pg), EPOLLIN, &connection->handler)) {
        log_error("unable to watch a connection to the database");
        connection_close(connection);
    }
    if (connection->state == CONNECTION_IDLE) { /* which does not say yet that anything can be stored */
        pool_note_opened(&store->pool);
    } else {
        pool_note_open_failure(&store->pool, connection->reason, now_ms, batches_left_ms(store, now_ms));
    }
    pool_release(&store->pool, connection);
}

static void take_opened(void *context, uint32_t events)
{
    struct store *store = context;
    struct connection *connection;

    (void)events;
    while ((connection = connector_take_opened(store->connector)) != NULL) {
        store->is_opening = false;
        note_opened(store, connection);
    }
}

/* Opens a connection where something waits for one, and takes as long as any operation may. */
static void open_connection(struct store *store, int64_t now_ms)
{
    struct connection *connection;
    int64_t deadline_ms;

    if (store->pool.idle != NULL || store->queue.waiting == 0 ||
        batches_send_from_ms(store, now_ms) > now_ms || !queue_has_batch(&store->queue, now_ms)) {
        return;
    }
    deadline_ms = queue_last_deadline_ms(&store->queue);
    connection = pool_acquire_closed(&store->pool);
    if (store->connector != NULL) {
        store->is_opening = true;
        connector_open(store->connector, connection, deadline_ms);
    } else {
        connection_open(connection, deadline_ms);
        note_opened(store, connection);
        batches_start(store, clock_now_ms());
    }
}

/* Sets the operation up for its way through the queue, whatever became of it on the last. */
static void prepare(struct store_op *op, int64_t deadline_ms, void (*done)(void *context), void *context)
{
    op->done = done;
    op->context = context;
    op->deadline_ms = deadline_ms;
    op->outcome = OP_PENDING;
    op->attempts = 0;
    op->orphaned_count = 0;
    op->place = (struct op_place){0};
}

/* ---- Probes ---- */

static void end_probe(void *context)
{
    struct store *store = context;

    store->is_probing = false;
}

/* A probe is an operation as any other, but that it is not counted. */
static void start_probe(struct store *store, int64_t now_ms)
{
    struct store_op *probe = &store->probe;

    if (store->pool.unreachable_since_ms == 0 || store->pool.probe_at_ms > now_ms || store->is_probing) {
        return;
    }
    store->is_probing = true;
    prepare(probe, now_ms + PROBE_TIMEOUT_MS + store->queue.limits.margin_ms, end_probe, store);
    probe->place.must_run_alone = true;
    queue_add(&store->queue, probe, now_ms);
}

/* ---- The store ---- */

static void expire(struct store *store, int64_t now_ms)
{
    struct store_op *op;

    while ((op = queue_find_expired(&store->queue, now_ms)) != NULL) {
        op->queue_ms += now_ms - op->place.since_ms;
        if (store->pool.reason != REASON_NONE) { /* else that of its own last attempt */
            op->reason = store->pool.reason;
        }
        batches_complete_op(store, op, OP_UNAVAILABLE);
    }
}

static void show_waiting(struct store *store)
{
    bool has_probe = store->is_probing && store->probe.outcome == OP_PENDING && !store->probe.place.is_sent;
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
        TAILQ_REMOVE(&store->completed, op, place.link);
        store->pending -= op == &store->probe ? 0 : 1;
        op->done(op->context);
    }
}

/* The next batches are sent before anybody is called back: the database is not to wait for that. */
void store_turn(struct store *store)
{
    int64_t now_ms = clock_now_ms();

    batches_give_up_late(store, now_ms);
    expire(store, now_ms);
    start_probe(store, now_ms);
    batches_start(store, now_ms);
    open_connection(store, now_ms);
    show_waiting(store);
    run_callbacks(store);
}

int64_t store_due_ms(const struct store *store)
{
    int64_t now_ms = clock_now_ms(), from_ms = batches_send_from_ms(store, now_ms), due_ms;

    if (!TAILQ_EMPTY(&store->completed)) {
        return now_ms;
    }
    due_ms = from_ms == LOOP_NEVER ? queue_expires_from_ms(&store->queue)
                                   : queue_due_ms(&store->queue, from_ms, now_ms);
    for (size_t i = 0; i < store->pool.count; i++) {
        const struct connection *connection = &store->pool.connections[i];

        if (connection->started_ms != 0) {
            due_ms = sooner(due_ms, connection_deadline_ms(connection));
        }
    }
    if (store->pool.unreachable_since_ms != 0 && !store->is_probing) {
        due_ms = sooner(due_ms, store->pool.probe_at_ms);
    }
    return due_ms;
}

/* Whether to refuse an operation at once: the queue is full, or the database has been away for so long that
 * whoever waits now would most likely wait for nothing. */
static bool is_overloaded(const struct store *store, const struct store_op *op, int64_t now_ms)
{
    return !queue_has_room(&store->queue, op->record.capacity) ||
           (store->pool.unreachable_since_ms != 0 &&
            now_ms - store->pool.unreachable_since_ms > store->settings->request_timeout_ms);
}

void store_submit(struct store *store, struct store_op *op, void (*done)(void *context), void *context)
{
    int64_t now_ms = clock_now_ms();

    prepare(op, now_ms + store->settings->request_timeout_ms, done, context);
    store->pending++;
    if (is_overloaded(store, op, now_ms)) {
        op->reason = store->pool.reason;
        op->outcome = OP_UNAVAILABLE;
        TAILQ_INSERT_TAIL(&store->completed, op, place.link);
    } else {
        queue_add(&store->queue, op, now_ms);
    }
}

static void note_done(void *context)
{
    bool *is_done = context;

    *is_done = true;
}

void store_apply(struct store *store, struct store_op *op)
{
    bool is_done = false;

    store_submit(store, op, note_done, &is_done);
    store_turn(store);
    while (!is_done) {
        loop_turn(store->loop, store_due_ms(store));
        store_turn(store);
    }
}

static void store_free(void *context)
{
    struct store *store = context;

    pool_free(&store->pool);
    queue_free(&store->queue);
    hosts_free(store->hosts);
    loop_close(&store->own_loop);
    op_free(&store->probe);
    free(store);
}

/* A store with that many connections, none of them open yet; NULL (logged) when it cannot be made. */
static struct store *store_new(const struct settings *settings, const struct loop *loop, size_t connections)
{
    const struct queue_limits limits = {.batch_max = (size_t)settings->batch_max,
                                        .waiting_max = (size_t)settings->queue_max,
                                        .margin_ms = settings->request_timeout_ms / TOO_LATE_FRACTION};
    struct store *store = calloc(1, sizeof *store);
    uint64_t random[3];

    if (store == NULL) {
        log_error("unable to start the store: out of memory");
        return NULL;
    }
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        log_error("unable to start the store: no random numbers");
        free(store);
        return NULL;
    }
    store->settings = settings;
    store->loop = loop;
    store->own_loop.epoll = -1;
    store->last_attempt = random[0];
    TAILQ_INIT(&store->completed);
    store->hosts = hosts_new(settings->database_url);
    if (store->hosts == NULL || !op_ping(&store->probe) || !queue_init(&store->queue, &limits, random[1]) ||
        !pool_init(&store->pool, store->hosts, connections, limits.batch_max, (unsigned)random[2])) {
        log_error("unable to start the store: out of memory");
        store_free(store);
        return NULL;
    }
    return store;
}

struct store *store_start(const struct settings *settings, const struct loop *loop)
{
    struct store *store = store_new(settings, loop, (size_t)settings->db_pool_size);

    if (store == NULL || (store->connector = connector_start()) == NULL) {
        if (store != NULL) {
            store_free(store);
        }
        return NULL;
    }
    store->connector_handler = (struct loop_handler){.ready = take_opened, .context = store};
    if (!loop_watch(loop, connector_event(store->connector), EPOLLIN, &store->connector_handler)) {
        log_error("unable to start the store: out of memory");
        store_stop(store);
        return NULL;
    }
    return store;
}

struct store *store_start_single(const struct settings *settings)
{
    struct store *store = store_new(settings, NULL, 1);

    if (store != NULL && !loop_open(&store->own_loop)) {
        log_error("unable to start the store: %s", strerror(errno));
        store_free(store);
        return NULL;
    }
    if (store != NULL) {
        store->loop = &store->own_loop;
    }
    return store;
}

void store_stop(struct store *store)
{
    store_turn(store);
    while (store->pending > 0) {
        loop_turn(store->loop, store_due_ms(store));
        store_turn(store);
    }
    if (store->connector != NULL) {
        loop_unwatch(store->loop, connector_event(store->connector));
        connector_stop(store->connector, store_free, store);
    } else {
        store_free(store);
    }
}
