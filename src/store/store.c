/* The queue of requests, and the connections that carry it to Postgres batch by batch.
 *
 * A request that finds a connection idle is sent at once, by the thread that submits it, and with it all that
 * waits. Else it is left in the queue, and its thread goes on. The attendants, a few threads of the store's
 * own, do what is then due: open a connection, carry what waits as soon as one is back, try again what
 * failed, give up what is late. One of them watches the time, and hands the watch on when it has something to
 * do. There is one more of them than there are connections, so that one is free to watch while the others
 * carry.
 *
 * Requests wait for a connection in the queue, not on it: nobody knows how long opening one takes, as libpq
 * has the system look up a host's address and cannot be stopped meanwhile. */
#include "store/store.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "store/database.h"

enum {
    BATCH_BYTES_MAX = 4 * 1024 * 1024, /* one batch's JSON, but for an item that is larger alone */
    HOLD_MS = 10,                      /* how long a batch is waited for before another sets out beside it, */
    HOLD_MAX = 64,                     /* unless so many requests wait already */
    BACKOFF_FIRST_MS = 20,
    BACKOFF_MAX_MS = 500,
    BACKOFF_FRACTION = 16,  /* of the time left, at most */
    TOO_LATE_FRACTION = 10, /* a request with less than this part of its time left would only end its
                               batch early */
    PROBE_EVERY_MS = 500,   /* while the database is away and nobody asks */
    PROBE_DEADLINE_MS = 2000,
    STACK_BYTES = 1024 * 1024, /* name resolution and TLS happen on it */
    HELD_BYTES_MAX =
        64 * 1024 * 1024, /* of all requests that are not done, but for one that is larger alone */
};

static const int64_t NEVER = INT64_MAX;

TAILQ_HEAD(tickets, ticket);

/* One connection and the batch that it carries. */
struct carrier {
    struct database database;
    struct ticket **batch; /* batch_max of them */
    struct item **items;   /* the same, as database_send takes them */
    size_t count;
    struct attempt attempt;
    enum database_result result;
    int64_t left_at_ms;   /* when it set out; 0 while it is idle */
    struct carrier *next; /* of the idle, or of the unconnected ones */
};

/* A ticket that is not done is either sent, in the batch of one carrier, or waits. */
struct store {
    const struct settings *settings;
    struct servers *servers;
    struct carrier *carriers;
    size_t carrier_count;
    pthread_t *attendants;
    size_t attendant_count;

    pthread_mutex_t mutex;   /* guards what follows, and every ticket that is not done */
    struct tickets tickets;  /* all that are not done, in order of arrival */
    struct tickets *buckets; /* the same by incident, linked by namesake */
    size_t bucket_count;
    uint64_t hash_seed;
    int waiting;          /* how many of them wait */
    size_t held_bytes;    /* JSON of all that are not done */
    struct carrier *idle; /* and connected. The last used first: a lone client always finds a warm one */
    struct carrier *unconnected;
    int callers_away; /* threads that submitted something and carry */
    bool has_watcher; /* an attendant sleeps until watch_until_ms */
    int64_t watch_until_ms;
    pthread_cond_t watcher;  /* for it: something is due sooner */
    pthread_cond_t relief;   /* for the other attendants: nobody watches */
    pthread_cond_t is_empty; /* for store_stop: no ticket is left */
    bool stopping;
    bool was_alone;               /* what set out last travels alone */
    enum item_reason reason;      /* why the last attempt did not reach the database */
    int64_t unreachable_since_ms; /* 0 while the last attempt reached the database */
    int64_t next_probe_ms;        /* while it is away */
    int failures;                 /* attempts in a row that did not reach it */
    int connect_failures;         /* connections in a row that could not be opened */
    int64_t retry_at_ms;          /* no batch sets out before, */
    int64_t connect_at_ms;        /* and no connection is opened before */
    uint64_t last_attempt;        /* its number */
    unsigned seed;                /* of the delays between attempts */
};

static void lock(struct store *store)
{
    (void)pthread_mutex_lock(&store->mutex);
}

static void unlock(struct store *store)
{
    (void)pthread_mutex_unlock(&store->mutex);
}

/* The caller holds the mutex. */
static void add_waiting(struct store *store, int difference)
{
    store->waiting += difference;
    metrics_add(METRICS_QUEUE, difference);
}

/* FNV-1a, begun at random, so that nobody outside can choose incidents that share a bucket. That two share a
 * value costs one of them a wait, no more. */
static uint64_t hash_reference_id(const struct store *store, const char *reference_id)
{
    uint64_t hash = store->hash_seed;

    if (reference_id == NULL) {
        return 0;
    }
    for (const char *byte = reference_id; *byte != '\0'; byte++) {
        hash = (hash ^ (unsigned char)*byte) * 0x100000001b3;
    }
    return hash != 0 ? hash : 1;
}

static struct tickets *bucket_of(struct store *store, const struct ticket *ticket)
{
    return &store->buckets[ticket->incident % store->bucket_count];
}

/* When a ticket that still waits is given up. */
static int64_t give_up_at_ms(const struct store *store, const struct ticket *ticket)
{
    return ticket->item->deadline_ms - store->settings->deadline_ms / TOO_LATE_FRACTION;
}

/* Whether an earlier request for the same incident is not done yet. The caller holds the mutex. */
static bool is_behind_another(struct store *store, const struct ticket *ticket)
{
    const struct ticket *earlier;

    if (ticket->incident == 0) {
        return false;
    }
    for (earlier = TAILQ_FIRST(bucket_of(store, ticket)); earlier != ticket;
         earlier = TAILQ_NEXT(earlier, namesake)) {
        if (earlier->incident == ticket->incident) {
            return true;
        }
    }
    return false;
}

static bool may_be_sent(struct store *store, const struct ticket *ticket, int64_t now_ms)
{
    return !ticket->is_sent && ticket->not_before_ms <= now_ms && give_up_at_ms(store, ticket) > now_ms &&
           !is_behind_another(store, ticket);
}

/* Fills the carrier, which is empty, with what waits, in order, up to the caps; with_alone: what travels
 * alone is not left out. Two requests for one incident never travel at once, so they take effect in the order
 * in which they came. The caller holds the mutex. */
static void load_in_order(struct store *store, struct carrier *carrier, bool with_alone, int64_t now_ms)
{
    size_t bytes = 0;
    struct ticket *ticket;

    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        if (carrier->count == (size_t)store->settings->batch_max || bytes > BATCH_BYTES_MAX) {
            break;
        }
        if (!may_be_sent(store, ticket, now_ms) ||
            (ticket->is_alone && (!with_alone || carrier->count > 0))) {
            continue;
        }
        bytes += ticket->item->record.len;
        if (carrier->count > 0 && bytes > BATCH_BYTES_MAX) {
            break;
        }
        ticket->is_sent = true;
        ticket->item->queue_ms += now_ms - ticket->since_ms;
        add_waiting(store, -1);
        carrier->batch[carrier->count++] = ticket;
        store->was_alone = ticket->is_alone;
        if (ticket->is_alone) {
            break;
        }
    }
}

/* Fills the carrier with what may be sent. What travels alone may wait long for a lock, so the others have
 * every second turn at least. The caller holds the mutex. */
static void load(struct store *store, struct carrier *carrier, int64_t now_ms)
{
    carrier->count = 0;
    carrier->attempt = (struct attempt){
        .deadline_ms = NEVER, .store_until_ms = NEVER, .number = (int64_t)++store->last_attempt};
    if (store->was_alone) {
        load_in_order(store, carrier, false, now_ms);
    }
    if (carrier->count == 0) {
        load_in_order(store, carrier, true, now_ms);
    }
}

/* Whether there is a connection to send something on, or to open. The caller holds the mutex. */
static bool has_free(const struct store *store)
{
    return store->idle != NULL || store->unconnected != NULL;
}

/* Until when requests wait for the batch under way to come back, though a connection is idle: two small
 * batches cost more than a large one, and delay each other. A batch that takes long holds nobody back. 0
 * where there is nothing to wait for. The caller holds the mutex. */
static int64_t held_until_ms(const struct store *store, int64_t now_ms)
{
    int64_t until_ms = 0;

    if (!has_free(store) || store->waiting >= HOLD_MAX || store->waiting >= store->settings->batch_max) {
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

static int64_t sooner(int64_t one_ms, int64_t other_ms)
{
    return one_ms < other_ms ? one_ms : other_ms;
}

static int64_t later(int64_t one_ms, int64_t other_ms)
{
    return one_ms > other_ms ? one_ms : other_ms;
}

/* When a batch may set out on a connection that is free, or one be opened for it. The caller holds the mutex.
 */
static int64_t next_set_out_ms(const struct store *store, int64_t now_ms)
{
    int64_t may_ms = later(held_until_ms(store, now_ms), store->retry_at_ms);

    return store->idle != NULL ? may_ms : later(may_ms, store->connect_at_ms);
}

/* Takes the first of a list of carriers, which must have one. The caller holds the mutex. */
static struct carrier *take(struct carrier **list, int64_t now_ms)
{
    struct carrier *carrier = *list;

    *list = carrier->next;
    carrier->left_at_ms = now_ms;
    return carrier;
}

static void put_back(struct store *store, struct carrier *carrier)
{
    struct carrier **list = database_is_connected(&carrier->database) ? &store->idle : &store->unconnected;

    carrier->left_at_ms = 0;
    carrier->next = *list;
    *list = carrier;
}

/* Leaves the server that was passed over with the connections that are idle too: each would have to find out
 * by itself, and take a deadline for it. The caller holds the mutex. */
static void leave_outdated(struct store *store)
{
    while (store->idle != NULL && database_is_outdated(&store->idle->database)) {
        struct carrier *carrier = store->idle;

        store->idle = carrier->next;
        database_disconnect(&carrier->database);
        put_back(store, carrier);
    }
}

/* Takes an idle connection and what it shall carry; NULL when there is no connection, nothing to carry, or a
 * batch to wait for. The caller holds the mutex. */
static struct carrier *set_out(struct store *store, int64_t now_ms)
{
    leave_outdated(store);
    if (store->idle == NULL || store->waiting == 0 || next_set_out_ms(store, now_ms) > now_ms) {
        return NULL;
    }
    load(store, store->idle, now_ms);
    return store->idle->count > 0 ? take(&store->idle, now_ms) : NULL;
}

/* Takes a carrier whose connection is to be opened, because something waits for one; NULL where nothing does.
 * The caller holds the mutex. */
static struct carrier *set_out_to_connect(struct store *store, int64_t now_ms)
{
    struct ticket *ticket;

    if (store->idle != NULL || store->unconnected == NULL || store->waiting == 0 ||
        next_set_out_ms(store, now_ms) > now_ms) {
        return NULL;
    }
    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        if (may_be_sent(store, ticket, now_ms)) {
            return take(&store->unconnected, now_ms);
        }
    }
    return NULL;
}

/* When there is next something to do that nobody else will do; NEVER where nothing waits. The caller holds
 * the mutex. */
static int64_t next_due_ms(struct store *store, int64_t now_ms)
{
    int64_t due_ms = NEVER, free_ms = next_set_out_ms(store, now_ms);
    struct ticket *ticket;

    if (store->unreachable_since_ms != 0 && has_free(store)) {
        due_ms = store->next_probe_ms;
    }
    if (store->waiting == 0) {
        return due_ms;
    }
    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        if (ticket->is_sent) {
            continue;
        }
        due_ms = sooner(due_ms, give_up_at_ms(store, ticket));
        if (has_free(store) && !is_behind_another(store, ticket)) {
            due_ms = sooner(due_ms, later(ticket->not_before_ms, free_ms));
        }
        if (due_ms <= now_ms) {
            break;
        }
    }
    return due_ms;
}

/* Sees to it that an attendant is awake at that time. Where none watches, one is about to look what is due.
 * The caller holds the mutex. */
static void call_attendant(struct store *store, int64_t due_ms)
{
    if (store->has_watcher && store->watch_until_ms > due_ms) {
        store->watch_until_ms = due_ms; /* once is enough */
        (void)pthread_cond_signal(&store->watcher);
    }
}

/* Sends the carrier's batch on its way, as one transaction. Nobody else has the carrier, so this is done
 * without the mutex. A request whose batch was lost is given up a while before its deadline, so nothing may
 * be stored by then. */
static void depart(const struct store *store, struct carrier *carrier)
{
    struct attempt *attempt = &carrier->attempt;

    for (size_t i = 0; i < carrier->count; i++) {
        const struct ticket *ticket = carrier->batch[i];

        carrier->items[i] = ticket->item;
        attempt->deadline_ms = sooner(attempt->deadline_ms, ticket->item->deadline_ms);
        attempt->store_until_ms = sooner(attempt->store_until_ms, give_up_at_ms(store, ticket));
        if (ticket->lost_count > 0) { /* it travels alone */
            attempt->lost = ticket->lost;
            attempt->lost_count = ticket->lost_count;
        }
    }
    metrics_count_batch(carrier->count);
    database_send(&carrier->database, carrier->items, carrier->count, attempt);
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

/* How long to wait before another attempt: not at all before the first, for a connection may just have gone
 * stale; then ever longer, at random, so that not all come at once. Whoever has little time left tries more
 * often: of many processes that want one of few connections, those that came first should not come last. The
 * caller holds the mutex. */
static int64_t back_off_ms(struct store *store, int attempts)
{
    const struct ticket *last = TAILQ_LAST(&store->tickets, tickets);
    int64_t longest_ms, left_ms;

    if (attempts == 0) {
        return 0;
    }
    longest_ms = attempts < 6 ? (int64_t)BACKOFF_FIRST_MS << (attempts - 1) : BACKOFF_MAX_MS;
    if (last != NULL) {
        left_ms = give_up_at_ms(store, last) - clock_now_ms();
        longest_ms = sooner(longest_ms, later(left_ms / BACKOFF_FRACTION, BACKOFF_FIRST_MS));
    }
    return longest_ms / 2 + rand_r(&store->seed) % (longest_ms / 2 + 1);
}

static bool is_reached(enum database_result result)
{
    return result != DATABASE_UNREACHABLE && result != DATABASE_LOST;
}

/* Puts the carrier back, and notes whether it reached the database: where not, nothing sets out for a while.
 * The caller holds the mutex. */
static void bring_back(struct store *store, struct carrier *carrier)
{
    int64_t now_ms = clock_now_ms();

    if (is_reached(carrier->result)) {
        if (store->unreachable_since_ms != 0) {
            metrics_add(METRICS_CUT_OFF, -1);
        }
        store->reason = REASON_NONE;
        store->unreachable_since_ms = 0;
        store->failures = 0;
        store->retry_at_ms = 0;
    } else {
        store->reason = carrier->database.reason;
        if (store->unreachable_since_ms == 0) {
            metrics_add(METRICS_CUT_OFF, 1);
            store->unreachable_since_ms = now_ms;
        }
        store->retry_at_ms = now_ms + back_off_ms(store, store->failures++);
        store->next_probe_ms = now_ms + PROBE_EVERY_MS;
    }
    put_back(store, carrier);
}

/* Leaves to an attendant what is due now that a carrier is back. The caller holds the mutex. */
static void hand_over(struct store *store)
{
    if (store->waiting > 0 || store->unreachable_since_ms != 0) {
        call_attendant(store, next_set_out_ms(store, clock_now_ms()));
    }
}

/* The ticket is done with that outcome, and will be told. The caller holds the mutex. */
static void end_ticket(struct store *store, struct ticket *ticket, enum item_outcome outcome,
                       struct tickets *finished)
{
    ticket->item->outcome = outcome;
    store->held_bytes -= ticket->item->record.capacity;
    TAILQ_REMOVE(&store->tickets, ticket, link);
    TAILQ_REMOVE(bucket_of(store, ticket), ticket, namesake);
    TAILQ_INSERT_TAIL(finished, ticket, link);
    if (store->stopping && TAILQ_EMPTY(&store->tickets)) {
        (void)pthread_cond_signal(&store->is_empty);
    }
}

/* Tells those who wait for the tickets, which are theirs again. The caller does not hold the mutex. */
static void tell(struct tickets *finished)
{
    struct ticket *ticket;

    while ((ticket = TAILQ_FIRST(finished)) != NULL) {
        TAILQ_REMOVE(finished, ticket, link);
        ticket->done(ticket->context);
    }
}

/* Decides what becomes of a ticket whose batch is back: it is done, or waits to be sent once more, before
 * later requests for its incident. Alone from then on where the database was reached: one of several may be
 * at fault, and a batch that may still run is waited for by a batch of one. What met a lock alone goes behind
 * all that waits, or a few of its kind would have every turn. The caller holds the mutex. */
static void deliver(struct store *store, const struct carrier *carrier, struct ticket *ticket, int64_t now_ms,
                    struct tickets *finished)
{
    enum item_outcome outcome = carrier->count == 1 ? outcome_alone(carrier->result) : ITEM_PENDING;

    ticket->since_ms = now_ms;
    ticket->item->database_ms += now_ms - carrier->left_at_ms;
    ticket->item->reason = carrier->database.reason;
    if (carrier->result == DATABASE_DONE) {
        end_ticket(store, ticket, ticket->item->outcome, finished); /* which database_await set */
    } else if (outcome != ITEM_PENDING) {
        end_ticket(store, ticket, outcome, finished);
    } else if (carrier->result == DATABASE_LOST && ticket->lost_count == LOST_ATTEMPTS_MAX) {
        end_ticket(store, ticket, ITEM_UNAVAILABLE, finished); /* they end by themselves, in time */
    } else {
        if (carrier->result == DATABASE_LOST) {
            ticket->lost[ticket->lost_count++] = carrier->attempt.number;
        }
        if (carrier->count == 1 && carrier->result == DATABASE_CONFLICT) {
            TAILQ_REMOVE(&store->tickets, ticket, link);
            TAILQ_INSERT_TAIL(&store->tickets, ticket, link);
        }
        ticket->is_alone = ticket->is_alone || carrier->result != DATABASE_UNREACHABLE;
        if (is_reached(carrier->result)) {
            ticket->not_before_ms = now_ms + back_off_ms(store, ticket->attempts++);
        }
        ticket->is_sent = false;
        add_waiting(store, 1);
    }
}

/* Takes the carrier's results in. The caller holds the mutex. */
static void arrive(struct store *store, struct carrier *carrier, struct tickets *finished)
{
    int64_t now_ms = clock_now_ms();

    for (size_t i = 0; i < carrier->count; i++) {
        deliver(store, carrier, carrier->batch[i], now_ms, finished);
    }
    bring_back(store, carrier);
}

/* Carries a batch there and back, and tells everybody in it what became of it; then the next, for as long as
 * there is one and the caller goes on. The next sets out before anybody is told: the database is not to wait
 * for that, nor for another thread to wake up. The caller holds the mutex; it is released on the way. */
static void travel(struct store *store, struct carrier *carrier, bool goes_on)
{
    unlock(store);
    depart(store, carrier);
    while (carrier != NULL) {
        struct tickets finished = TAILQ_HEAD_INITIALIZER(finished);

        carrier->result = database_await(&carrier->database);
        lock(store);
        arrive(store, carrier, &finished);
        carrier = goes_on ? set_out(store, clock_now_ms()) : NULL;
        hand_over(store);
        unlock(store);
        if (carrier != NULL) {
            depart(store, carrier);
        }
        tell(&finished);
    }
    lock(store);
}

/* Ends what has waited for too long; false when there was nothing. The caller holds the mutex; it is released
 * where there was. */
static bool give_up_late(struct store *store, int64_t now_ms)
{
    struct tickets finished = TAILQ_HEAD_INITIALIZER(finished);
    struct ticket *ticket, *next;

    for (ticket = TAILQ_FIRST(&store->tickets); ticket != NULL; ticket = next) {
        next = TAILQ_NEXT(ticket, link);
        if (!ticket->is_sent && give_up_at_ms(store, ticket) <= now_ms) {
            add_waiting(store, -1);
            ticket->item->queue_ms += now_ms - ticket->since_ms;
            if (store->reason != REASON_NONE) { /* else that of its own last attempt */
                ticket->item->reason = store->reason;
            }
            end_ticket(store, ticket, ITEM_UNAVAILABLE, &finished);
        }
    }
    if (TAILQ_EMPTY(&finished)) {
        return false;
    }
    (void)pthread_cond_signal(&store->relief);
    unlock(store);
    tell(&finished);
    lock(store);
    return true;
}

/* Whether to refuse a request of so many bytes at once: the queue is full, or the database has been away for
 * so long that whoever waits now would most likely wait for nothing. The caller holds the mutex. */
static bool is_overloaded(const struct store *store, size_t bytes, int64_t now_ms)
{
    return store->waiting >= store->settings->queue_max ||
           (store->held_bytes > 0 && store->held_bytes + bytes > HELD_BYTES_MAX) ||
           (store->unreachable_since_ms != 0 &&
            now_ms - store->unreachable_since_ms > store->settings->deadline_ms);
}

/* Queues the ticket, and lets the caller carry a batch, or not. */
static void submit(struct store *store, struct ticket *ticket, bool may_carry)
{
    int64_t now_ms = clock_now_ms();
    struct carrier *carrier;

    ticket->incident = hash_reference_id(store, ticket->item->reference_id);
    ticket->since_ms = now_ms;
    ticket->item->deadline_ms = now_ms + store->settings->deadline_ms;
    lock(store);
    /* One thread at least is left to read requests, so that they are refused in time whatever the database
     * does. */
    may_carry = may_carry && store->callers_away < store->settings->threads - 1;
    if (is_overloaded(store, ticket->item->record.capacity, now_ms)) {
        ticket->item->reason = store->reason;
        unlock(store);
        ticket->item->outcome = ITEM_UNAVAILABLE;
        ticket->done(ticket->context);
        return;
    }
    TAILQ_INSERT_TAIL(&store->tickets, ticket, link);
    TAILQ_INSERT_TAIL(bucket_of(store, ticket), ticket, namesake);
    store->held_bytes += ticket->item->record.capacity;
    add_waiting(store, 1);
    carrier = may_carry ? set_out(store, now_ms) : NULL;
    if (carrier != NULL) {
        store->callers_away++;
        travel(store, carrier, false);
        store->callers_away--;
    } else {
        call_attendant(store,
                       has_free(store) ? next_set_out_ms(store, now_ms) : give_up_at_ms(store, ticket));
    }
    unlock(store);
}

void store_submit(struct store *store, struct ticket *ticket)
{
    submit(store, ticket, true);
}

void store_queue(struct store *store, struct ticket *ticket)
{
    submit(store, ticket, false);
}

/* The server has taken a connection. The caller holds the mutex. */
static void connect_freely(struct store *store)
{
    store->connect_failures = 0;
    store->connect_at_ms = 0;
}

/* Opens a connection for what waits, and takes as long as any of it may. That other connections do well is no
 * reason to try sooner after a failure: the server may have no more of them. The caller holds the mutex; it
 * is released meanwhile. */
static void open_connection(struct store *store, struct carrier *carrier)
{
    const struct ticket *ticket;
    int64_t deadline_ms = 0;
    bool connected;

    TAILQ_FOREACH(ticket, &store->tickets, link)
    {
        deadline_ms = later(deadline_ms, ticket->item->deadline_ms);
    }
    unlock(store);
    connected = database_connect(&carrier->database, deadline_ms);
    lock(store);
    if (connected) { /* which does not say yet that the database can store anything */
        connect_freely(store);
        put_back(store, carrier);
        call_attendant(store, clock_now_ms());
    } else {
        /* Who has just been refused a connection would be refused again. */
        store->connect_at_ms = clock_now_ms() + back_off_ms(store, ++store->connect_failures);
        carrier->result = DATABASE_UNREACHABLE;
        bring_back(store, carrier);
        hand_over(store);
    }
}

static enum database_result ping(struct database *database, int64_t deadline_ms)
{
    const struct attempt attempt = {.deadline_ms = deadline_ms, .store_until_ms = deadline_ms};
    enum database_result result = DATABASE_UNREACHABLE;
    struct item ping;
    struct item *items[] = {&ping};

    if (item_ping(&ping) && database_connect(database, deadline_ms)) {
        database_send(database, items, 1, &attempt);
        result = database_await(database);
    }
    item_free(&ping);
    return result;
}

/* Asks the database whether it is back, so that the next request need not find out. The caller holds the
 * mutex; it is released meanwhile. */
static void probe(struct store *store, int64_t now_ms)
{
    struct carrier *carrier = take(store->idle != NULL ? &store->idle : &store->unconnected, now_ms);

    store->next_probe_ms = NEVER; /* until this one is back */
    unlock(store);
    carrier->result = ping(&carrier->database, now_ms + PROBE_DEADLINE_MS);
    lock(store);
    if (is_reached(carrier->result)) {
        connect_freely(store);
    }
    bring_back(store, carrier);
    hand_over(store);
}

/* Does something that is due, while another attendant takes over the watch; false when nothing was. The
 * caller holds the mutex; it is released where something was due. */
static bool tend(struct store *store)
{
    int64_t now_ms = clock_now_ms();
    struct carrier *carrier;

    if (give_up_late(store, now_ms)) {
        return true;
    }
    carrier = set_out(store, now_ms);
    if (carrier != NULL) {
        (void)pthread_cond_signal(&store->relief);
        travel(store, carrier, true);
        return true;
    }
    carrier = set_out_to_connect(store, now_ms);
    if (carrier != NULL) {
        (void)pthread_cond_signal(&store->relief);
        open_connection(store, carrier);
        return true;
    }
    if (store->unreachable_since_ms != 0 && store->next_probe_ms <= now_ms && has_free(store)) {
        (void)pthread_cond_signal(&store->relief);
        probe(store, now_ms);
        return true;
    }
    return false;
}

/* Sleeps until something is due, or the condition is signalled. The caller holds the mutex. */
static void wait_until(struct store *store, pthread_cond_t *condition, int64_t until_ms)
{
    const struct timespec until = clock_timespec(until_ms);

    if (until_ms == NEVER) {
        (void)pthread_cond_wait(condition, &store->mutex);
    } else {
        (void)pthread_cond_timedwait(condition, &store->mutex, &until);
    }
}

static void keep_watch(struct store *store)
{
    store->has_watcher = true;
    store->watch_until_ms = next_due_ms(store, clock_now_ms());
    wait_until(store, &store->watcher, store->watch_until_ms);
    store->has_watcher = false;
}

static void *attend(void *argument)
{
    struct store *store = argument;

    lock(store);
    while (!store->stopping || !TAILQ_EMPTY(&store->tickets)) {
        if (store->has_watcher) {
            (void)pthread_cond_wait(&store->relief, &store->mutex);
        } else if (!tend(store)) {
            keep_watch(store);
        }
    }
    unlock(store);
    return NULL;
}

static void post(void *semaphore)
{
    (void)sem_post(semaphore);
}

void store_apply(struct store *store, struct item *item)
{
    sem_t is_done;
    struct ticket ticket = {.item = item, .done = post, .context = &is_done};

    (void)sem_init(&is_done, 0, 0); /* cannot fail with these arguments */
    store_submit(store, &ticket);
    lock(store);
    while (store->attendant_count == 0 && !TAILQ_EMPTY(&store->tickets)) {
        if (!tend(store)) {
            keep_watch(store); /* for nobody else is there to do it */
        }
    }
    unlock(store);
    while (sem_wait(&is_done) != 0) {
        continue; /* interrupted */
    }
    (void)sem_destroy(&is_done);
}

static bool carrier_init(struct carrier *carrier, struct servers *servers, const struct settings *settings)
{
    database_init(&carrier->database, servers);
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
    servers_free(store->servers);
    free(store->attendants);
    free(store->buckets);
    (void)pthread_cond_destroy(&store->is_empty);
    (void)pthread_cond_destroy(&store->relief);
    (void)pthread_cond_destroy(&store->watcher);
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
    uint64_t random[3];
    bool ok;

    if (store == NULL) {
        log_error("unable to start the store: out of memory");
        return NULL;
    }
    store->settings = settings;
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        log_error("unable to start the store: no random numbers");
        free(store);
        return NULL;
    }
    store->last_attempt = random[0];
    store->hash_seed = random[1];
    store->seed = (unsigned)random[2];
    TAILQ_INIT(&store->tickets);
    (void)pthread_mutex_init(&store->mutex, NULL); /* these cannot fail without attributes on Linux */
    (void)pthread_cond_init(&store->relief, NULL);
    (void)pthread_cond_init(&store->is_empty, NULL);
    ok = init_monotonic_condition(&store->watcher);
    store->carriers = calloc(connections, sizeof store->carriers[0]);
    store->attendants = calloc(connections + 1, sizeof store->attendants[0]);
    store->bucket_count = (size_t)settings->queue_max + 1;
    store->buckets = calloc(store->bucket_count, sizeof store->buckets[0]);
    store->servers = servers_new(settings->database_url);
    ok = ok && store->servers != NULL && store->carriers != NULL && store->attendants != NULL &&
         store->buckets != NULL;
    for (size_t i = 0; ok && i < store->bucket_count; i++) {
        TAILQ_INIT(&store->buckets[i]);
    }
    while (ok && store->carrier_count < connections) {
        struct carrier *carrier = &store->carriers[store->carrier_count++];

        ok = carrier_init(carrier, store->servers, settings);
        put_back(store, carrier);
    }
    if (!ok) {
        log_error("unable to start the store: out of memory");
        store_free(store);
        return NULL;
    }
    return store;
}

static bool start_attendants(struct store *store)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);

    if (failure == 0) {
        (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
        while (failure == 0 && store->attendant_count < store->carrier_count + 1) {
            failure = pthread_create(&store->attendants[store->attendant_count], &attributes, attend, store);
            store->attendant_count += failure == 0;
        }
        (void)pthread_attr_destroy(&attributes);
    }
    if (failure != 0) {
        log_error("unable to start a thread of the store: %s", strerror(failure));
    }
    return failure == 0;
}

struct store *store_start(const struct settings *settings)
{
    struct store *store = store_new(settings, (size_t)settings->connections);

    if (store != NULL && !start_attendants(store)) {
        store_stop(store);
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
    while (!TAILQ_EMPTY(&store->tickets)) {
        (void)pthread_cond_wait(&store->is_empty, &store->mutex);
    }
    (void)pthread_cond_broadcast(&store->watcher);
    (void)pthread_cond_broadcast(&store->relief);
    unlock(store);
    for (size_t i = 0; i < store->attendant_count; i++) {
        (void)pthread_join(store->attendants[i], NULL);
    }
    store_free(store);
}
