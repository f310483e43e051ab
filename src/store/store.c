/* The queue of requests, and the writers that send it to Postgres batch by batch. */
#include "store/store.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/database.h"

enum {
    BATCH_BYTES_MAX = 4 * 1024 * 1024, /* one batch's JSON, but for an item that is larger alone */
    BACKOFF_FIRST_MS = 20,
    BACKOFF_MAX_MS = 500,
    PROBE_EVERY_MS = 500, /* while the database is away and nobody asks */
    PROBE_DEADLINE_MS = 2000,
    STACK_BYTES = 1024 * 1024, /* name resolution and TLS happen on it */
};

/* A request in the queue or in a batch. It lies on the stack of the thread that submitted it and waits. */
struct ticket {
    struct item *item;
    struct ticket *next;
    size_t arrival; /* within its batch */
    bool done;
    pthread_cond_t is_done;
};

struct writer {
    struct store *store;
    struct database database;
    struct ticket **batch; /* batch_max of them */
    struct item **items;   /* the same, as database_apply takes them */
    pthread_t thread;
    bool probes; /* looks for the database while it is away: one writer does */
    unsigned random;
};

struct store {
    const struct settings *settings;
    struct writer *writers;
    size_t writer_count; /* started; 0 with store_start_single */

    pthread_mutex_t mutex; /* guards what follows, and every ticket's `next` and `done` */
    pthread_cond_t has_work;
    struct ticket *first;
    struct ticket **last;
    int queued;
    bool stopping;
    int64_t unreachable_since_ms; /* 0 while the last attempt reached the database */
};

static void finish(struct store *store, struct ticket *ticket, enum item_outcome outcome)
{
    (void)pthread_mutex_lock(&store->mutex);
    ticket->item->outcome = outcome;
    ticket->done = true;
    (void)pthread_cond_signal(&ticket->is_done);
    (void)pthread_mutex_unlock(&store->mutex);
}

/* Notes whether the database could be reached. */
static void note_reachable(struct store *store, bool reachable)
{
    (void)pthread_mutex_lock(&store->mutex);
    if (reachable) {
        store->unreachable_since_ms = 0;
    } else if (store->unreachable_since_ms == 0) {
        store->unreachable_since_ms = clock_now_ms();
        (void)pthread_cond_broadcast(&store->has_work); /* one writer begins to probe */
    }
    (void)pthread_mutex_unlock(&store->mutex);
}

/* Ends the tickets that nobody should wait for any longer; returns how many are left, moved to the front. */
static size_t drop_expired(struct store *store, struct ticket **batch, size_t count)
{
    int64_t now = clock_now_ms();
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (batch[i]->item->deadline_ms <= now) {
            finish(store, batch[i], ITEM_UNAVAILABLE);
        } else {
            batch[kept++] = batch[i];
        }
    }
    return kept;
}

static int64_t earliest_deadline(struct ticket *const *batch, size_t count)
{
    int64_t earliest = batch[0]->item->deadline_ms;

    for (size_t i = 1; i < count; i++) {
        if (batch[i]->item->deadline_ms < earliest) {
            earliest = batch[i]->item->deadline_ms;
        }
    }
    return earliest;
}

/* Sends tickets as one transaction, and ends those about which there is no more to be done. */
static enum database_result send(struct writer *writer, struct ticket **batch, size_t count)
{
    struct store *store = writer->store;
    enum database_result result;

    for (size_t i = 0; i < count; i++) {
        writer->items[i] = batch[i]->item;
    }
    result = database_apply(&writer->database, writer->items, count, earliest_deadline(batch, count));
    note_reachable(store, result != DATABASE_UNREACHABLE);
    for (size_t i = 0; i < count; i++) {
        if (result == DATABASE_DONE) {
            finish(store, batch[i], batch[i]->item->outcome);
        } else if (count == 1 && result == DATABASE_UNAVAILABLE) {
            finish(store, batch[i], ITEM_UNAVAILABLE);
        } else if (count == 1 && result == DATABASE_UNSTORABLE) {
            finish(store, batch[i], ITEM_UNSTORABLE);
        } else if (count == 1 && result == DATABASE_FAILED) {
            finish(store, batch[i], ITEM_FAILED);
        }
    }
    return result;
}

/* Sends each ticket by itself, once: an error that belongs to one must not reach the others. Returns how many
 * must be sent again, moved to the front. */
static size_t send_one_by_one(struct writer *writer, struct ticket **batch, size_t count, bool *reachable)
{
    size_t kept = 0;

    *reachable = true;
    for (size_t i = 0; i < count; i++) {
        enum database_result result = DATABASE_UNREACHABLE;

        if (*reachable) {
            result = send(writer, &batch[i], 1);
            *reachable = result != DATABASE_UNREACHABLE;
        }
        if (result == DATABASE_UNREACHABLE || result == DATABASE_CONFLICT) {
            batch[kept++] = batch[i];
        }
    }
    return kept;
}

/* Waits before another attempt: not at all before the first, for a connection may just have gone stale; then
 * ever longer, at random, so that not all workers come at once. */
static void back_off(struct writer *writer, int attempt, int64_t deadline_ms)
{
    int64_t longest, wait, left = deadline_ms - clock_now_ms();

    if (attempt == 0) {
        return;
    }
    longest = attempt < 6 ? (int64_t)BACKOFF_FIRST_MS << (attempt - 1) : BACKOFF_MAX_MS;
    wait = longest / 2 + rand_r(&writer->random) % (longest / 2 + 1);
    if (wait > left) {
        wait = left;
    }
    if (wait > 0) {
        clock_sleep_ms(wait);
    }
}

/* Sends tickets until each is ended: with its outcome, or at its deadline. */
static void settle(struct writer *writer, struct ticket **batch, size_t count)
{
    bool together = true;

    for (int attempt = 0; (count = drop_expired(writer->store, batch, count)) > 0; attempt++) {
        bool reachable;

        if (together) {
            enum database_result result = send(writer, batch, count);

            reachable = result != DATABASE_UNREACHABLE;
            if (result == DATABASE_DONE || (count == 1 && reachable && result != DATABASE_CONFLICT)) {
                return;
            }
            if (reachable && count > 1) {
                together = false;
                continue;
            }
        } else {
            count = send_one_by_one(writer, batch, count, &reachable);
            if (count == 0) {
                return;
            }
        }
        back_off(writer, attempt, earliest_deadline(batch, count));
    }
}

/* By reference_id, so that two batches lock their incidents in the same order; of one incident, in order of
 * arrival. */
static int compare_tickets(const void *left, const void *right)
{
    const struct ticket *a = *(struct ticket *const *)left;
    const struct ticket *b = *(struct ticket *const *)right;
    const char *a_id = a->item->reference_id != NULL ? a->item->reference_id : "";
    const char *b_id = b->item->reference_id != NULL ? b->item->reference_id : "";
    int order = strcmp(a_id, b_id);

    if (order != 0) {
        return order;
    }
    return a->arrival < b->arrival ? -1 : 1;
}

/* Takes what is queued, up to the caps. The caller holds the mutex. */
static size_t take_batch(struct store *store, struct ticket **batch)
{
    size_t count = 0, bytes = 0;

    while (store->first != NULL && count < (size_t)store->settings->batch_max) {
        struct ticket *ticket = store->first;

        bytes += ticket->item->json.len;
        if (count > 0 && bytes > BATCH_BYTES_MAX) {
            break;
        }
        store->first = ticket->next;
        store->queued--;
        ticket->arrival = count;
        batch[count++] = ticket;
    }
    if (store->first == NULL) {
        store->last = &store->first;
    }
    return count;
}

/* Waits for something to send; 0 when there is nothing, because the store stops or it is time to probe. */
static size_t wait_for_batch(struct writer *writer)
{
    struct store *store = writer->store;
    size_t count;

    (void)pthread_mutex_lock(&store->mutex);
    while (store->first == NULL && !store->stopping) {
        if (writer->probes && store->unreachable_since_ms != 0) {
            struct timespec until;

            (void)clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_nsec += PROBE_EVERY_MS * 1000000L;
            until.tv_sec += until.tv_nsec / 1000000000L;
            until.tv_nsec %= 1000000000L;
            if (pthread_cond_timedwait(&store->has_work, &store->mutex, &until) != 0) {
                break;
            }
        } else {
            (void)pthread_cond_wait(&store->has_work, &store->mutex);
        }
    }
    count = take_batch(store, writer->batch);
    (void)pthread_mutex_unlock(&store->mutex);
    return count;
}

/* Asks the database whether it is back, so that the next request need not find out. */
static void probe(struct writer *writer)
{
    struct item ping;
    struct item *items[] = {&ping};

    if (item_ping(&ping)) {
        enum database_result result =
            database_apply(&writer->database, items, 1, clock_now_ms() + PROBE_DEADLINE_MS);

        note_reachable(writer->store, result != DATABASE_UNREACHABLE);
    }
    item_free(&ping);
}

static void *write_batches(void *argument)
{
    struct writer *writer = argument;
    struct store *store = writer->store;
    bool stopping = false;

    while (!stopping) {
        size_t count = wait_for_batch(writer);

        if (count > 0) {
            qsort(writer->batch, count, sizeof writer->batch[0], compare_tickets);
            settle(writer, writer->batch, count);
        } else {
            (void)pthread_mutex_lock(&store->mutex);
            stopping = store->stopping;
            (void)pthread_mutex_unlock(&store->mutex);
            if (!stopping) {
                probe(writer);
            }
        }
    }
    return NULL;
}

static bool writer_init(struct writer *writer, struct store *store, size_t batch_max, bool probes)
{
    *writer = (struct writer){.store = store, .probes = probes, .random = (unsigned)clock_now_ms()};
    database_init(&writer->database, store->settings->database_url);
    writer->batch = calloc(batch_max, sizeof(struct ticket *));
    writer->items = calloc(batch_max, sizeof(struct item *));
    return writer->batch != NULL && writer->items != NULL;
}

static void writer_free(struct writer *writer)
{
    database_close(&writer->database);
    free(writer->batch);
    free(writer->items);
}

static void store_free(struct store *store, size_t writers)
{
    for (size_t i = 0; i < writers; i++) {
        writer_free(&store->writers[i]);
    }
    free(store->writers);
    (void)pthread_cond_destroy(&store->has_work);
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

/* A store with memory for that many writers and no thread yet; NULL when out of memory. */
static struct store *store_new(const struct settings *settings, size_t writers, size_t batch_max)
{
    struct store *store = calloc(1, sizeof *store);

    if (store == NULL) {
        return NULL;
    }
    store->settings = settings;
    store->last = &store->first;
    (void)pthread_mutex_init(&store->mutex, NULL); /* cannot fail without attributes on Linux */
    store->writers = calloc(writers, sizeof store->writers[0]);
    if (!init_monotonic_condition(&store->has_work) || store->writers == NULL) {
        store_free(store, 0);
        return NULL;
    }
    for (size_t i = 0; i < writers; i++) {
        if (!writer_init(&store->writers[i], store, batch_max, i == 0)) {
            store_free(store, i + 1);
            return NULL;
        }
    }
    return store;
}

struct store *store_start(const struct settings *settings)
{
    size_t count = (size_t)settings->connections;
    struct store *store = store_new(settings, count, (size_t)settings->batch_max);
    pthread_attr_t attributes;

    if (store == NULL || pthread_attr_init(&attributes) != 0) {
        log_error("unable to start the store: out of memory");
        if (store != NULL) {
            store_free(store, count);
        }
        return NULL;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (size_t i = 0; i < count; i++) {
        int failure =
            pthread_create(&store->writers[i].thread, &attributes, write_batches, &store->writers[i]);

        if (failure != 0) {
            log_error("unable to start a writer thread: %s", strerror(failure));
            store_stop(store);
            store = NULL;
            break;
        }
        store->writer_count++;
    }
    (void)pthread_attr_destroy(&attributes);
    return store;
}

struct store *store_start_single(const struct settings *settings)
{
    struct store *store = store_new(settings, 1, 1);

    if (store == NULL) {
        log_error("unable to start the store: out of memory");
    }
    return store;
}

/* Whether to refuse at once: the queue is full, or the database has been away for so long that whoever waits
 * now would most likely wait for nothing, and keep others from being answered. The caller holds the mutex. */
static bool is_overloaded(const struct store *store)
{
    return store->queued >= store->settings->queue_max ||
           (store->unreachable_since_ms != 0 &&
            clock_now_ms() - store->unreachable_since_ms > store->settings->deadline_ms);
}

static void enqueue_and_wait(struct store *store, struct ticket *ticket)
{
    (void)pthread_mutex_lock(&store->mutex);
    if (is_overloaded(store)) {
        ticket->item->outcome = ITEM_UNAVAILABLE;
    } else {
        *store->last = ticket;
        store->last = &ticket->next;
        store->queued++;
        (void)pthread_cond_signal(&store->has_work);
        while (!ticket->done) {
            (void)pthread_cond_wait(&ticket->is_done, &store->mutex);
        }
    }
    (void)pthread_mutex_unlock(&store->mutex);
}

void store_submit(struct store *store, struct item *item)
{
    struct ticket ticket = {.item = item, .is_done = PTHREAD_COND_INITIALIZER};
    struct ticket *batch[] = {&ticket};

    item->deadline_ms = clock_now_ms() + store->settings->deadline_ms;
    if (store->writer_count == 0) {
        settle(&store->writers[0], batch, 1);
    } else {
        enqueue_and_wait(store, &ticket);
    }
    (void)pthread_cond_destroy(&ticket.is_done);
}

void store_stop(struct store *store)
{
    size_t writers = store->writer_count == 0 ? 1 : (size_t)store->settings->connections;

    (void)pthread_mutex_lock(&store->mutex);
    store->stopping = true;
    (void)pthread_cond_broadcast(&store->has_work);
    (void)pthread_mutex_unlock(&store->mutex);
    for (size_t i = 0; i < store->writer_count; i++) {
        (void)pthread_join(store->writers[i].thread, NULL);
    }
    store_free(store, writers);
}
