/* The queue of requests, and the connections that carry it to Postgres batch by batch.
 *
 * No thread of its own writes. A request's thread that finds a connection idle takes it, and with it the
 * batch: all that waits, its own request among it. The others sleep until somebody has sent theirs, or until
 * a connection is idle again and one of them is woken to carry the next batch. */
#include "store/store.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/database.h"

enum {
    BATCH_BYTES_MAX = 4 * 1024 * 1024, /* one batch's JSON, but for an item that is larger alone */
    HOLD_MS = 5,                       /* how long a batch is waited for before another sets out beside it, */
    HOLD_MAX = 32,                     /* unless so many requests wait already */
    BACKOFF_FIRST_MS = 20,
    BACKOFF_MAX_MS = 500,
    TOO_LATE_FRACTION = 10, /* a request with less than this part of its time left would only end its
                               batch early */
    PROBE_EVERY_MS = 500,   /* while the database is away and nobody asks */
    PROBE_DEADLINE_MS = 2000,
    STACK_BYTES = 1024 * 1024, /* name resolution and TLS happen on it */
};

enum ticket_state {
    TICKET_WAITING,  /* for somebody to send it */
    TICKET_SENT,     /* in a batch */
    TICKET_RETURNED, /* its batch came to nothing; its thread decides what next */
    TICKET_DONE,     /* item->outcome is final, and the ticket in no list any more */
};

/* A request on its way. It lies on the stack of the thread that submitted it and waits. */
struct ticket {
    TAILQ_ENTRY(ticket) link;
    struct item *item;
    uint64_t incident; /* a hash of the reference_id, 0 without one */
    bool alone;        /* it was in a batch that failed, and goes by itself from now on */
    _Atomic enum ticket_state state;
    sem_t wake;
    atomic_int wakes; /* posts of it that were decided upon; the ticket must outlive them */
    int awoken;       /* posts of it that its thread has taken */
};

TAILQ_HEAD(tickets, ticket);

/* One connection and the batch that it carries. */
struct carrier {
    struct database database;
    struct ticket **batch; /* batch_max of them */
    struct item **items;   /* the same, as database_apply takes them */
    size_t count;
    enum database_result result;
    int64_t left_at_ms;   /* when it set out; 0 while it is idle */
    struct carrier *next; /* of the idle ones */
};

struct store {
    const struct settings *settings;
    struct carrier *carriers;
    size_t carrier_count;
    bool has_prober;
    pthread_t prober;

    pthread_mutex_t mutex;    /* guards what follows, and the state of every ticket */
    struct tickets tickets;   /* all that are not done, in order of arrival */
    int waiting;              /* how many of them are in TICKET_WAITING */
    struct carrier *idle;     /* the last used first: a lone client always finds a warm one */
    pthread_cond_t is_needed; /* the prober is: the database went away, or the store stops */
    bool stopping;
    int64_t unreachable_since_ms; /* 0 while the last attempt reached the database */
};

static void lock(struct store *store)
{
    (void)pthread_mutex_lock(&store->mutex);
}

static void unlock(struct store *store)
{
    (void)pthread_mutex_unlock(&store->mutex);
}

/* FNV-1a. That two incidents share a value costs one of them a wait, no more. */
static uint64_t hash_reference_id(const char *reference_id)
{
    uint64_t hash = 0xcbf29ce484222325;

    if (reference_id == NULL) {
        return 0;
    }
    for (const char *byte = reference_id; *byte != '\0'; byte++) {
        hash = (hash ^ (unsigned char)*byte) * 0x100000001b3;
    }
    return hash != 0 ? hash : 1;
}

static bool is_too_late(const struct store *store, const struct ticket *ticket, int64_t now_ms)
{
    return ticket->item->deadline_ms - now_ms < store->settings->deadline_ms / TOO_LATE_FRACTION;
}

/* Whether an earlier request for the same incident is not done yet. The caller holds the mutex. */
static bool is_behind_another(const struct store *store, const struct ticket *ticket)
{
    const struct ticket *earlier;

    if (ticket->incident == 0) {
        return false;
    }
    for (earlier = TAILQ_FIRST(&store->tickets); earlier != ticket; earlier = TAILQ_NEXT(earlier, link)) {
        if (earlier->incident == ticket->incident) {
            return true;
        }
    }
    return false;
}

static bool may_be_sent(const struct store *store, const struct ticket *ticket, int64_t now_ms)
{
    return ticket->state == TICKET_WAITING && !is_too_late(store, ticket, now_ms) &&
           !is_behind_another(store, ticket);
}

/* Fills the carrier with what waits, in order of arrival, up to the caps. Two requests for one incident never
 * travel at once, so they take effect in the order in which they came. The caller holds the mutex. */
static void load(struct store *store, struct carrier *carrier)
{
    int64_t now_ms = clock_now_ms();
    size_t bytes = 0;
    struct ticket *ticket;

    carrier->count = 0;
    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        if (carrier->count == (size_t)store->settings->batch_max || bytes > BATCH_BYTES_MAX) {
            break;
        }
        if (!may_be_sent(store, ticket, now_ms) || (ticket->alone && carrier->count > 0)) {
            continue;
        }
        bytes += ticket->item->json.len;
        if (carrier->count > 0 && bytes > BATCH_BYTES_MAX) {
            break;
        }
        ticket->state = TICKET_SENT;
        store->waiting--;
        carrier->batch[carrier->count++] = ticket;
        if (ticket->alone) {
            break;
        }
    }
}

/* Until when requests wait for the batch under way to come back, though a connection is idle: two small
 * batches cost more than a large one, and delay each other. A batch that takes long holds nobody back. 0
 * where there is nothing to wait for. The caller holds the mutex. */
static int64_t held_until_ms(const struct store *store, int64_t now_ms)
{
    int64_t until_ms = 0;

    if (store->idle == NULL || store->waiting >= HOLD_MAX) {
        return 0;
    }
    for (size_t i = 0; i < store->carrier_count; i++) {
        int64_t left_at_ms = store->carriers[i].left_at_ms;

        if (left_at_ms != 0 && now_ms < left_at_ms + HOLD_MS && until_ms < left_at_ms + HOLD_MS) {
            until_ms = left_at_ms + HOLD_MS;
        }
    }
    return until_ms;
}

/* Takes a connection, which is idle then no more. The caller holds the mutex, and has seen that there is one.
 */
static struct carrier *take(struct store *store, int64_t now_ms)
{
    struct carrier *carrier = store->idle;

    store->idle = carrier->next;
    carrier->left_at_ms = now_ms;
    return carrier;
}

static void put_back(struct store *store, struct carrier *carrier)
{
    carrier->left_at_ms = 0;
    carrier->next = store->idle;
    store->idle = carrier;
}

/* Takes an idle connection and what it shall carry; NULL when there is no connection, nothing to carry, or a
 * batch to wait for. The caller holds the mutex. */
static struct carrier *set_out(struct store *store, int64_t now_ms)
{
    if (store->idle == NULL || held_until_ms(store, now_ms) != 0) {
        return NULL;
    }
    load(store, store->idle);
    return store->idle->count > 0 ? take(store, now_ms) : NULL;
}

static int64_t earliest_deadline(const struct carrier *carrier)
{
    int64_t earliest = carrier->items[0]->deadline_ms;

    for (size_t i = 1; i < carrier->count; i++) {
        if (carrier->items[i]->deadline_ms < earliest) {
            earliest = carrier->items[i]->deadline_ms;
        }
    }
    return earliest;
}

/* One transaction. Nobody else has the carrier, so this is done without the mutex. */
static void carry(struct carrier *carrier)
{
    for (size_t i = 0; i < carrier->count; i++) {
        carrier->items[i] = carrier->batch[i]->item;
    }
    carrier->result =
        database_apply(&carrier->database, carrier->items, carrier->count, earliest_deadline(carrier));
}

/* Wakes a ticket's thread: decided with the mutex held, done with or without it. */
static void decide_wake(struct ticket *ticket)
{
    (void)atomic_fetch_add(&ticket->wakes, 1);
}

/* Lets somebody carry the next batch, if there is one and a connection to carry it. The caller holds the
 * mutex. */
static void wake_next(struct store *store)
{
    int64_t now_ms = clock_now_ms();
    struct ticket *ticket;

    if (store->idle == NULL || store->waiting == 0) {
        return;
    }
    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        if (may_be_sent(store, ticket, now_ms)) {
            decide_wake(ticket);
            (void)sem_post(&ticket->wake);
            return;
        }
    }
}

/* Notes whether the database could be reached. The caller holds the mutex. */
static void note_reachable(struct store *store, enum database_result result)
{
    if (result != DATABASE_UNREACHABLE && result != DATABASE_LOST) {
        store->unreachable_since_ms = 0;
    } else if (store->unreachable_since_ms == 0) {
        store->unreachable_since_ms = clock_now_ms();
        (void)pthread_cond_signal(&store->is_needed);
    }
}

/* What a result means for a request that travelled alone; ITEM_PENDING where it may be tried again. */
static enum item_outcome outcome_alone(enum database_result result)
{
    switch (result) {
    case DATABASE_UNAVAILABLE:
        return ITEM_UNAVAILABLE;
    case DATABASE_UNSTORABLE:
        return ITEM_UNSTORABLE;
    case DATABASE_FAILED:
        return ITEM_FAILED;
    case DATABASE_DONE:
    case DATABASE_UNREACHABLE:
    case DATABASE_LOST:
    case DATABASE_CONFLICT:
        break;
    }
    return ITEM_PENDING;
}

/* The ticket is done, its outcome set. The caller holds the mutex. */
static void end_ticket(struct store *store, struct ticket *ticket)
{
    TAILQ_REMOVE(&store->tickets, ticket, link);
    ticket->state = TICKET_DONE;
}

/* Tells a ticket what became of its batch. The caller holds the mutex. */
static void deliver(struct store *store, const struct carrier *carrier, struct ticket *ticket)
{
    enum item_outcome outcome = carrier->count == 1 ? outcome_alone(carrier->result) : ITEM_PENDING;

    if (carrier->result == DATABASE_DONE) {
        end_ticket(store, ticket); /* with the outcome that database_apply set */
    } else if (outcome != ITEM_PENDING) {
        ticket->item->outcome = outcome;
        end_ticket(store, ticket);
    } else {
        ticket->alone = ticket->alone || (carrier->count > 1 && carrier->result != DATABASE_UNREACHABLE);
        ticket->state = TICKET_RETURNED;
    }
}

/* Ends a journey: everybody in the batch learns what became of it, and the next batch sets out. The caller,
 * whose own ticket needs no waking, holds the mutex; it is released on the way, because to wake is a system
 * call each. */
static void arrive(struct store *store, struct carrier *carrier, const struct ticket *own)
{
    note_reachable(store, carrier->result);
    for (size_t i = 0; i < carrier->count; i++) {
        if (carrier->batch[i] != own) {
            decide_wake(carrier->batch[i]);
        }
        deliver(store, carrier, carrier->batch[i]);
    }
    unlock(store);
    for (size_t i = 0; i < carrier->count; i++) {
        if (carrier->batch[i] != own) {
            (void)sem_post(&carrier->batch[i]->wake);
        }
    }
    lock(store);
    put_back(store, carrier);
    wake_next(store);
}

/* Sleeps until the ticket is woken, and, while it waits to be sent, no longer than until_ms. The caller holds
 * the mutex; it is released meanwhile, and not taken again where the ticket is done: false then. */
static bool sleep_on(struct store *store, struct ticket *ticket, int64_t until_ms)
{
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    bool is_timed = ticket->state == TICKET_WAITING;

    unlock(store);
    if ((is_timed ? sem_clockwait(&ticket->wake, CLOCK_MONOTONIC, &until) : sem_wait(&ticket->wake)) == 0) {
        ticket->awoken++;
    }
    if (ticket->state == TICKET_DONE) {
        return false;
    }
    lock(store);
    return true;
}

/* What the ticket's thread does while the ticket waits: carries a batch, gives up at the deadline, or sleeps.
 * False where the ticket is done and the mutex released. The caller holds the mutex. */
static bool wait_to_be_sent(struct store *store, struct ticket *ticket)
{
    int64_t now_ms = clock_now_ms(), held_ms;
    struct carrier *carrier = may_be_sent(store, ticket, now_ms) ? set_out(store, now_ms) : NULL;

    if (carrier != NULL) {
        if (store->waiting > 0 && held_until_ms(store, now_ms) == 0) {
            wake_next(store); /* there may be another connection idle, and more than one batch to carry */
        }
        unlock(store);
        carry(carrier);
        lock(store);
        arrive(store, carrier, ticket);
        return true;
    }
    if (now_ms >= ticket->item->deadline_ms) {
        ticket->item->outcome = ITEM_UNAVAILABLE;
        store->waiting--;
        end_ticket(store, ticket);
        wake_next(store); /* another may have waited for this one to be done */
        return true;
    }
    if (is_too_late(store, ticket, now_ms)) {
        wake_next(store); /* it may have been woken to carry, and must not any more */
    }
    held_ms = held_until_ms(store, now_ms);
    return sleep_on(store, ticket,
                    held_ms != 0 && held_ms < ticket->item->deadline_ms ? held_ms
                                                                        : ticket->item->deadline_ms);
}

/* Gets the ticket sent, by this thread or another. True when it is done; false when it was returned. */
static bool travel(struct store *store, struct ticket *ticket)
{
    bool is_locked = true;

    lock(store);
    while (is_locked && ticket->state != TICKET_DONE && ticket->state != TICKET_RETURNED) {
        is_locked = ticket->state == TICKET_WAITING ? wait_to_be_sent(store, ticket)
                                                    : sleep_on(store, ticket, ticket->item->deadline_ms);
    }
    if (is_locked) {
        unlock(store);
    }
    return ticket->state == TICKET_DONE;
}

/* Whether to refuse at once: the queue is full, or the database has been away for so long that whoever waits
 * now would most likely wait for nothing, and keep others from being answered. The caller holds the mutex. */
static bool is_overloaded(const struct store *store)
{
    return store->waiting >= store->settings->queue_max ||
           (store->unreachable_since_ms != 0 &&
            clock_now_ms() - store->unreachable_since_ms > store->settings->deadline_ms);
}

static bool enter(struct store *store, struct ticket *ticket)
{
    bool enters;

    lock(store);
    enters = !is_overloaded(store);
    if (enters) {
        TAILQ_INSERT_TAIL(&store->tickets, ticket, link);
        store->waiting++;
    }
    unlock(store);
    return enters;
}

/* Waits before another attempt: not at all before the first, for a connection may just have gone stale; then
 * ever longer, at random, so that not all come at once. */
static void back_off(int attempt, int64_t deadline_ms)
{
    static _Thread_local unsigned seed;
    int64_t longest, wait, left = deadline_ms - clock_now_ms();

    if (attempt == 0) {
        return;
    }
    if (seed == 0) {
        seed =
            (unsigned)(uintptr_t)&longest ^ (unsigned)clock_now_ms(); /* each thread has a stack of its own */
    }
    longest = attempt < 6 ? (int64_t)BACKOFF_FIRST_MS << (attempt - 1) : BACKOFF_MAX_MS;
    wait = longest / 2 + rand_r(&seed) % (longest / 2 + 1);
    if (wait > left) {
        wait = left;
    }
    if (wait > 0) {
        clock_sleep_ms(wait);
    }
}

/* Queues a ticket that was returned once more. It keeps its place before later requests for its incident. */
static void wait_again(struct store *store, struct ticket *ticket)
{
    lock(store);
    ticket->state = TICKET_WAITING;
    store->waiting++;
    unlock(store);
}

void store_submit(struct store *store, struct item *item)
{
    struct ticket ticket = {.item = item, .incident = hash_reference_id(item->reference_id)};

    item->deadline_ms = clock_now_ms() + store->settings->deadline_ms;
    (void)sem_init(&ticket.wake, 0, 0); /* cannot fail with these arguments */
    if (!enter(store, &ticket)) {
        item->outcome = ITEM_UNAVAILABLE;
    } else {
        for (int attempt = 0; !travel(store, &ticket); attempt++) {
            back_off(attempt, item->deadline_ms);
            wait_again(store, &ticket);
        }
        while (ticket.awoken < ticket.wakes) {
            ticket.awoken += sem_wait(&ticket.wake) == 0;
        }
    }
    (void)sem_destroy(&ticket.wake);
}

/* Asks the database whether it is back, so that the next request need not find out. The caller holds the
 * mutex. */
static void probe(struct store *store)
{
    struct carrier *carrier;
    struct item ping;
    struct item *items[] = {&ping};

    if (store->idle == NULL) {
        return; /* they are all trying */
    }
    carrier = take(store, clock_now_ms());
    unlock(store);
    carrier->result = DATABASE_UNREACHABLE;
    if (item_ping(&ping)) {
        carrier->result = database_apply(&carrier->database, items, 1, clock_now_ms() + PROBE_DEADLINE_MS);
    }
    item_free(&ping);
    lock(store);
    note_reachable(store, carrier->result);
    put_back(store, carrier);
    wake_next(store);
}

static void *probe_while_away(void *argument)
{
    struct store *store = argument;

    lock(store);
    while (!store->stopping) {
        struct timespec until;

        if (store->unreachable_since_ms == 0) {
            (void)pthread_cond_wait(&store->is_needed, &store->mutex);
            continue;
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += PROBE_EVERY_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        if (pthread_cond_timedwait(&store->is_needed, &store->mutex, &until) != 0 &&
            store->unreachable_since_ms != 0) {
            probe(store);
        }
    }
    unlock(store);
    return NULL;
}

static bool carrier_init(struct carrier *carrier, const struct settings *settings)
{
    database_init(&carrier->database, settings->database_url);
    carrier->batch = calloc((size_t)settings->batch_max, sizeof(struct ticket *));
    carrier->items = calloc((size_t)settings->batch_max, sizeof(struct item *));
    return carrier->batch != NULL && carrier->items != NULL;
}

static void carrier_free(struct carrier *carrier)
{
    database_close(&carrier->database);
    free(carrier->batch);
    free(carrier->items);
}

static void store_free(struct store *store)
{
    for (size_t i = 0; i < store->carrier_count; i++) {
        carrier_free(&store->carriers[i]);
    }
    free(store->carriers);
    (void)pthread_cond_destroy(&store->is_needed);
    (void)pthread_mutex_destroy(&store->mutex);
    free(store);
}

static bool init_monotonic_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    bool ok = pthread_condattr_init(&attributes) == 0;

    ok = ok && pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
         pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes);
    return ok;
}

/* A store with that many connections, none of them open yet; NULL (logged) when out of memory. */
static struct store *store_new(const struct settings *settings, size_t connections)
{
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        log_error("unable to start the store: out of memory");
        return NULL;
    }
    store->settings = settings;
    TAILQ_INIT(&store->tickets);
    (void)pthread_mutex_init(&store->mutex, NULL); /* cannot fail without attributes on Linux */
    store->carriers = calloc(connections, sizeof store->carriers[0]);
    if (!init_monotonic_condition(&store->is_needed) || store->carriers == NULL) {
        log_error("unable to start the store: out of memory");
        store_free(store);
        return NULL;
    }
    while (store->carrier_count < connections) {
        struct carrier *carrier = &store->carriers[store->carrier_count++];

        if (!carrier_init(carrier, settings)) {
            log_error("unable to start the store: out of memory");
            store_free(store);
            return NULL;
        }
        put_back(store, carrier);
    }
    return store;
}

static bool start_prober(struct store *store)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);

    if (failure == 0) {
        (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
        failure = pthread_create(&store->prober, &attributes, probe_while_away, store);
        (void)pthread_attr_destroy(&attributes);
    }
    store->has_prober = failure == 0;
    if (!store->has_prober) {
        log_error("unable to start a thread of the store: %s", strerror(failure));
    }
    return store->has_prober;
}

struct store *store_start(const struct settings *settings)
{
    struct store *store = store_new(settings, (size_t)settings->connections);

    if (store != NULL && !start_prober(store)) {
        store_free(store);
        return NULL;
    }
    return store;
}

struct store *store_start_single(const struct settings *settings)
{
    return store_new(settings, 1);
}

void store_stop(struct store *store)
{
    lock(store);
    store->stopping = true;
    (void)pthread_cond_signal(&store->is_needed);
    unlock(store);
    if (store->has_prober) {
        (void)pthread_join(store->prober, NULL);
    }
    store_free(store);
}
