/* The way to the database: ties the queue and the pool of connections to the loop. */
#include "store/store.h"

#include <errno.h>
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
    HOLD_MS = 10,           /* how long a batch is waited for before another is sent beside it, */
    HOLD_MAX = 64,          /* unless so many operations wait already */
    TOO_LATE_FRACTION = 10, /* an operation with less than this part of its time left would only end its
                               batch early */
    PROBE_TIMEOUT_MS = 2000,
};

struct store {
    const struct settings *settings;
    const struct loop *loop;
    struct loop own_loop; /* of a single one; else not open */
    struct hosts *hosts;
    struct queue queue;
    struct pool pool;
    struct connector *connector; /* NULL: connections are opened by this thread */
    struct loop_handler connector_handler;
    bool is_opening;        /* the connector has a connection */
    struct items completed; /* their callbacks are to be run */
    size_t pending;         /* what was submitted and not called back */
    struct item probe; /* asks whether the database is back, so that the next request need not find out */
    bool is_probing;
    int64_t waiting;       /* as the metrics have it */
    uint64_t last_attempt; /* its number */
};

static int64_t sooner(int64_t one_ms, int64_t other_ms)
{
    return one_ms < other_ms ? one_ms : other_ms;
}

static int64_t later(int64_t one_ms, int64_t other_ms)
{
    return one_ms > other_ms ? one_ms : other_ms;
}

/* How much time whoever came last has left; LOOP_NEVER where nobody waits. */
static int64_t left_ms(const struct store *store, int64_t now_ms)
{
    int64_t deadline_ms = queue_last_deadline_ms(&store->queue);

    return deadline_ms == 0 ? LOOP_NEVER : deadline_ms - store->queue.limits.margin_ms - now_ms;
}

/* ---- What becomes of a batch ---- */

static void complete(struct store *store, struct item *item, enum item_outcome outcome)
{
    item->outcome = outcome;
    queue_remove(&store->queue, item);
    TAILQ_INSERT_TAIL(&store->completed, item, place.link);
}

/* What a result means for an operation that was alone in its batch; ITEM_PENDING where it may be tried again.
 */
static enum item_outcome outcome_alone(enum batch_result result)
{
    switch (result) {
    case BATCH_UNAVAILABLE:
        return ITEM_UNAVAILABLE;
    case BATCH_UNSTORABLE:
        return ITEM_UNSTORABLE;
    case BATCH_FAILED:
        return ITEM_FAILED;
    default:
        return ITEM_PENDING;
    }
}

static bool is_reached(enum batch_result result)
{
    return result != BATCH_UNREACHABLE && result != BATCH_LOST;
}

/* Has the item sent once more, before later operations on its incident. Alone from then on where the database
 * was reached: one of several may be at fault, and an attempt that may still run is waited for by a batch of
 * one. What hit the lock timeout while it ran alone moves to the end of the queue, or a few of its kind would
 * have every turn. */
static void try_again(struct store *store, const struct connection *connection, struct item *item,
                      enum batch_result result, int64_t now_ms)
{
    int64_t not_before_ms = 0;

    if (result == BATCH_LOST) {
        item->orphaned[item->orphaned_count++] = connection->attempt.number;
    }
    if (connection->count == 1 && result == BATCH_CONFLICT) {
        queue_move_to_end(&store->queue, item);
    }
    item->place.must_run_alone = item->place.must_run_alone || result != BATCH_UNREACHABLE;
    if (is_reached(result)) {
        not_before_ms = now_ms + pool_back_off_ms(&store->pool, item->attempts++, left_ms(store, now_ms));
    }
    queue_return(&store->queue, item, not_before_ms, now_ms);
}

static void settle_item(struct store *store, const struct connection *connection, struct item *item,
                        enum batch_result result, int64_t now_ms)
{
    enum item_outcome outcome = connection->count == 1 ? outcome_alone(result) : ITEM_PENDING;

    item->database_ms += now_ms - connection->started_ms;
    item->reason = connection->reason;
    if (result == BATCH_DONE) {
        complete(store, item, item->outcome); /* which the connection has set */
    } else if (outcome != ITEM_PENDING) {
        complete(store, item, outcome);
    } else if (result == BATCH_LOST && item->orphaned_count == ORPHANED_ATTEMPTS_MAX) {
        complete(store, item, ITEM_UNAVAILABLE); /* the attempts end by themselves, in time */
    } else {
        try_again(store, connection, item, result, now_ms);
    }
}

static void complete_batch(struct store *store, struct connection *connection, enum batch_result result)
{
    int64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < connection->count; i++) {
        settle_item(store, connection, connection->items[i], result, now_ms);
    }
    if (is_reached(result)) {
        pool_note_reached(&store->pool);
    } else {
        pool_note_unreachable(&store->pool, connection->reason, now_ms, left_ms(store, now_ms));
    }
    pool_release(&store->pool, connection);
}

/* ---- Batches ---- */

/* A batch was started, or has gone on: it is complete, or waits for its socket. */
static void follow(struct store *store, struct connection *connection, enum batch_result result)
{
    bool waits_to_write = !connection->is_flushed;

    if (result != BATCH_PENDING) {
        complete_batch(store, connection, result);
    } else if (waits_to_write != connection->waits_to_write) {
        connection->waits_to_write = waits_to_write;
        loop_change(store->loop, PQsocket(connection->pg), waits_to_write ? EPOLLIN | EPOLLOUT : EPOLLIN,
                    &connection->handler);
    }
}

static void continue_connection(void *context, uint32_t events)
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
        const struct item *item = connection->items[i];

        attempt->deadline_ms = sooner(attempt->deadline_ms, item->deadline_ms);
        attempt->store_until_ms = sooner(attempt->store_until_ms, queue_expiry_ms(&store->queue, item));
        if (item->orphaned_count > 0) { /* it runs alone */
            attempt->orphaned = item->orphaned;
            attempt->orphaned_count = item->orphaned_count;
        }
    }
    if (connection->items[0] != &store->probe) {
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

/* When a batch may be sent on a connection that is free, or one be opened for it. */
static int64_t send_from_ms(const struct store *store, int64_t now_ms)
{
    bool may_open = store->pool.closed != NULL && !store->is_opening;

    return store->pool.idle == NULL && !may_open
               ? LOOP_NEVER
               : later(held_until_ms(store, now_ms), pool_ready_ms(&store->pool));
}

static void start_batches(struct store *store, int64_t now_ms)
{
    struct connection *connection;

    pool_close_outdated(&store->pool);
    while (store->queue.waiting > 0 && send_from_ms(store, now_ms) <= now_ms &&
           (connection = pool_acquire_idle(&store->pool)) != NULL) {
        connection->count = queue_take_batch(&store->queue, connection->items, now_ms);
        if (connection->count == 0) {
            pool_release(&store->pool, connection);
            break;
        }
        start_batch(store, connection, now_ms);
    }
}

/* Gives up the batches on which no answer has come. */
static void give_up_late(struct store *store, int64_t now_ms)
{
    for (size_t i = 0; i < store->pool.count; i++) {
        struct connection *connection = &store->pool.connections[i];

        if (connection->started_ms != 0 && connection_deadline_ms(connection) <= now_ms) {
            complete_batch(store, connection, connection_give_up(connection));
        }
    }
}

/* ---- Connections ---- */

static void note_opened(struct store *store, struct connection *connection)
{
    int64_t now_ms = clock_now_ms();

    connection->handler = (struct loop_handler){.ready = continue_connection, .context = connection};
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
        pool_note_open_failure(&store->pool, now_ms, left_ms(store, now_ms));
        pool_note_unreachable(&store->pool, connection->reason, now_ms, left_ms(store, now_ms));
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
    int64_t deadline_ms = queue_last_deadline_ms(&store->queue);
    struct connection *connection;

    if (store->pool.idle != NULL || store->queue.waiting == 0 || send_from_ms(store, now_ms) > now_ms ||
        !queue_has_batch(&store->queue, now_ms)) {
        return;
    }
    connection = pool_acquire_closed(&store->pool);
    if (store->connector != NULL) {
        store->is_opening = true;
        connector_open(store->connector, connection, deadline_ms);
    } else {
        connection_open(connection, deadline_ms);
        note_opened(store, connection);
        start_batches(store, clock_now_ms());
    }
}

/* ---- Probes ---- */

static void end_probe(void *context)
{
    struct store *store = context;

    item_free(&store->probe);
    store->is_probing = false;
}

/* A probe is an operation as any other, but that it is not counted. */
static void start_probe(struct store *store, int64_t now_ms)
{
    struct item *probe = &store->probe;

    if (store->pool.unreachable_since_ms == 0 || store->pool.probe_at_ms > now_ms || store->is_probing) {
        return;
    }
    store->is_probing = item_ping(probe);
    if (!store->is_probing) {
        item_free(probe);
        return;
    }
    probe->done = end_probe;
    probe->context = store;
    probe->deadline_ms = now_ms + PROBE_TIMEOUT_MS + store->queue.limits.margin_ms;
    probe->place.must_run_alone = true;
    queue_add(&store->queue, probe, now_ms);
}

/* ---- The store ---- */

static void expire(struct store *store, int64_t now_ms)
{
    struct item *item;

    while ((item = queue_find_expired(&store->queue, now_ms)) != NULL) {
        item->queue_ms += now_ms - item->place.since_ms;
        if (store->pool.reason != REASON_NONE) { /* else that of its own last attempt */
            item->reason = store->pool.reason;
        }
        complete(store, item, ITEM_UNAVAILABLE);
    }
}

static void show_waiting(struct store *store)
{
    bool has_probe = store->is_probing && store->probe.outcome == ITEM_PENDING && !store->probe.place.is_sent;
    int64_t waiting = (int64_t)store->queue.waiting - has_probe;

    if (waiting != store->waiting) {
        metrics_add(METRICS_QUEUE, waiting - store->waiting);
        store->waiting = waiting;
    }
}

static void run_callbacks(struct store *store)
{
    struct item *item;

    while ((item = TAILQ_FIRST(&store->completed)) != NULL) {
        TAILQ_REMOVE(&store->completed, item, place.link);
        store->pending -= item == &store->probe ? 0 : 1;
        item->done(item->context);
    }
}

/* The next batches are sent before anybody is called back: the database is not to wait for that. */
void store_turn(struct store *store)
{
    int64_t now_ms = clock_now_ms();

    give_up_late(store, now_ms);
    expire(store, now_ms);
    start_probe(store, now_ms);
    start_batches(store, now_ms);
    open_connection(store, now_ms);
    show_waiting(store);
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
static bool is_overloaded(const struct store *store, const struct item *item, int64_t now_ms)
{
    return !queue_has_room(&store->queue, item->record.capacity) ||
           (store->pool.unreachable_since_ms != 0 &&
            now_ms - store->pool.unreachable_since_ms > store->settings->deadline_ms);
}

void store_submit(struct store *store, struct item *item, void (*done)(void *context), void *context)
{
    int64_t now_ms = clock_now_ms();

    item->done = done;
    item->context = context;
    item->deadline_ms = now_ms + store->settings->deadline_ms;
    item->attempts = 0;
    item->orphaned_count = 0;
    item->place = (struct item_place){0};
    store->pending++;
    if (is_overloaded(store, item, now_ms)) {
        item->reason = store->pool.reason;
        item->outcome = ITEM_UNAVAILABLE;
        TAILQ_INSERT_TAIL(&store->completed, item, place.link);
    } else {
        queue_add(&store->queue, item, now_ms);
    }
}

static void note_done(void *context)
{
    bool *is_done = context;

    *is_done = true;
}

void store_apply(struct store *store, struct item *item)
{
    bool is_done = false;

    store_submit(store, item, note_done, &is_done);
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
    if (store->is_probing) {
        item_free(&store->probe);
    }
    free(store);
}

/* A store with that many connections, none of them open yet; NULL (logged) when it cannot be made. */
static struct store *store_new(const struct settings *settings, const struct loop *loop, size_t connections)
{
    const struct queue_limits limits = {.batch_max = (size_t)settings->batch_max,
                                        .waiting_max = (size_t)settings->queue_max,
                                        .margin_ms = settings->deadline_ms / TOO_LATE_FRACTION};
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
    if (store->hosts == NULL || !queue_init(&store->queue, &limits, random[1]) ||
        !pool_init(&store->pool, store->hosts, connections, limits.batch_max, (unsigned)random[2])) {
        log_error("unable to start the store: out of memory");
        store_free(store);
        return NULL;
    }
    return store;
}

struct store *store_start(const struct settings *settings, const struct loop *loop)
{
    struct store *store = store_new(settings, loop, (size_t)settings->connections);

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
