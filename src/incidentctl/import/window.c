/* The records of an import that are read and not done. */
#include "incidentctl/import/window.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/import/source.h"
#include "base/clock.h"

enum {
    RECORDS_MAX = 4000, /* enough that two batches are under way and the next is gathered */
    BYTES_MAX = 32 * 1024 * 1024,
    TURN_EVERY = 16,   /* records, so that the database has something to do while they are read */
    KEEP_BYTES = 4096, /* of a record's text */
    WAIT_MS = 200,     /* at most, so that whoever waits can look at signals and the clock */
    RETRY_AFTER_MS = 1000,
};

void window_init(struct window *window, const struct loop *loop, struct store *store,
                 void (*done)(void *context, const struct window_record *record), void *context)
{
    *window = (struct window){.loop = loop, .store = store, .done = done, .context = context};
    TAILQ_INIT(&window->records);
    TAILQ_INIT(&window->spare);
}

static void record_free(struct window_record *record)
{
    op_free(&record->op);
    incident_free(&record->incident);
    buffer_free(&record->copy);
    free(record);
}

struct window_record *window_record_new(struct window *window)
{
    struct window_record *record = TAILQ_FIRST(&window->spare);

    if (record != NULL) {
        TAILQ_REMOVE(&window->spare, record, link);
        return record;
    }
    record = calloc(1, sizeof *record);
    if (record != NULL) {
        buffer_init(&record->copy, SOURCE_RECORD_MAX);
    }
    return record;
}

bool window_record_set_text(struct window_record *record, struct slice text)
{
    buffer_append_slice(&record->copy, text);
    record->text = (struct slice){.data = record->copy.data, .len = text.len};
    return !record->copy.failed;
}

/* Keeps a record that is done for the next one, so that memory need not be asked for. */
static void record_put_by(struct window *window, struct window_record *record)
{
    struct buffer copy = record->copy;

    op_free(&record->op);
    incident_free(&record->incident);
    buffer_reset(&copy, KEEP_BYTES);
    *record = (struct window_record){.copy = copy};
    TAILQ_INSERT_HEAD(&window->spare, record, link);
}

static void free_records(struct window_records *records)
{
    struct window_record *record;

    while ((record = TAILQ_FIRST(records)) != NULL) {
        TAILQ_REMOVE(records, record, link);
        record_free(record);
    }
}

void window_free(struct window *window)
{
    free_records(&window->records);
    free_records(&window->spare);
}

/* What an outcome makes of a record. */
static enum window_state state_of(struct window_record *record)
{
    switch (record->op.outcome) {
    case OP_UNAVAILABLE:
        return WINDOW_UNAVAILABLE;
    case OP_NOT_AUTHED:
    case OP_NOT_PERMITTED:
        return WINDOW_REFUSED;
    default:
        return op_check(&record->op, &record->incident, &record->error) ? WINDOW_STORED : WINDOW_INVALID;
    }
}

/* The store is through with a record. */
static void take_back(void *context)
{
    struct window_record *record = context;
    struct window *window = record->window;

    record->state = state_of(record);
    if (record->state == WINDOW_STORED && record->outcome == OP_PENDING) {
        record->outcome = record->op.outcome;
    }
    window->unavailable += record->state == WINDOW_UNAVAILABLE;
    window->is_refused = window->is_refused || record->state == WINDOW_REFUSED;
    window->underway--;
}

/* Sends a record that is counted as under way. */
static void send_record(struct window *window, struct window_record *record)
{
    record->op.outcome = OP_PENDING;
    store_submit(window->store, &record->op, take_back, record);
}

void window_add(struct window *window, struct window_record *record)
{
    bool is_underway = record->state == WINDOW_UNDERWAY;

    record->window = window;
    record->outcome = OP_PENDING;
    record->bytes = record->text.len + record->op.record.capacity;
    TAILQ_INSERT_TAIL(&window->records, record, link);
    window->count++;
    window->bytes += record->bytes;
    window->underway += is_underway;
    if (is_underway) {
        send_record(window, record);
        if (++window->added % TURN_EVERY == 0) {
            loop_run_once(window->loop, 0);
            store_run_once(window->store);
        }
    }
}

bool window_is_refused(const struct window *window)
{
    return window->is_refused;
}

/* Reports the records that are done, up to the first that is not. */
static void report(struct window *window)
{
    struct window_record *record;

    while ((record = TAILQ_FIRST(&window->records)) != NULL && record->state < WINDOW_UNDERWAY) {
        TAILQ_REMOVE(&window->records, record, link);
        window->count--;
        window->bytes -= record->bytes;
        window->has_complained = window->has_complained && record->state != WINDOW_STORED;
        window->done(window->context, record);
        record_put_by(window, record);
    }
}

static bool is_for_same_incident(const struct window_record *one, const struct window_record *other)
{
    return one->op.reference_id != NULL && other->op.reference_id != NULL &&
           strcmp(one->op.reference_id, other->op.reference_id) == 0;
}

/* Whether a record must be sent: it was not stored, or it was, before an earlier one of its incident, which
 * is stored only now. */
static bool is_due(const struct window *window, const struct window_record *record)
{
    const struct window_record *earlier;

    if (record->state == WINDOW_UNAVAILABLE) {
        return true;
    }
    if (record->state != WINDOW_STORED) {
        return false;
    }
    TAILQ_FOREACH(earlier, &window->records, link)
    {
        if (earlier == record) {
            return false;
        }
        if (earlier->state == WINDOW_UNDERWAY && is_for_same_incident(earlier, record)) {
            return true;
        }
    }
    return false;
}

/* Sends once more what could not be stored, in order. Nothing is under way. */
static void retry(struct window *window)
{
    struct window_record *record;

    window->unavailable = 0;
    TAILQ_FOREACH(record, &window->records, link)
    {
        if (is_due(window, record)) {
            record->state = WINDOW_UNDERWAY;
            window->underway++;
            send_record(window, record);
        }
    }
}

/* Has the store go on, until something comes from the database or WAIT_MS are over. */
static void wait_a_moment(struct window *window)
{
    int64_t until_ms = clock_now_ms() + WAIT_MS, due_ms = store_due_ms(window->store);

    loop_run_once(window->loop, due_ms < until_ms ? due_ms : until_ms);
    store_run_once(window->store);
}

/* The store goes on meanwhile: it asks whether the database is back, and refuses everything until it is. */
static void let_store_go_on(struct window *window, int64_t until_ms)
{
    do {
        int64_t due_ms = store_due_ms(window->store);

        loop_run_once(window->loop, due_ms < until_ms ? due_ms : until_ms);
        store_run_once(window->store);
    } while (clock_now_ms() < until_ms);
}

/* Tries again where all has come back, and some in vain. */
static void retry_in_vain(struct window *window, bool may_retry)
{
    if (!may_retry || window->underway > 0 || window->unavailable == 0) {
        return;
    }
    if (!window->has_complained) {
        fprintf(stderr, "incidentctl: %zu records could not be stored in time, trying again\n",
                window->unavailable);
    }
    window->has_complained = true;
    let_store_go_on(window, clock_now_ms() + RETRY_AFTER_MS);
    retry(window);
}

static bool has_room(const struct window *window)
{
    return window->unavailable == 0 && !window->is_refused && window->count < RECORDS_MAX &&
           (window->count == 0 || window->bytes < BYTES_MAX);
}

bool window_wait_for_room(struct window *window, bool may_retry)
{
    bool is_room;

    if (!has_room(window)) {
        report(window);
        if (!has_room(window) && window->underway > 0) {
            wait_a_moment(window);
        }
        report(window);
    }
    is_room = has_room(window);
    retry_in_vain(window, may_retry);
    return is_room;
}

bool window_wait_for_end(struct window *window, bool may_retry)
{
    bool is_over;

    report(window);
    if (window->underway > 0) {
        wait_a_moment(window);
        report(window);
    }
    is_over = window->underway == 0 && (window->unavailable == 0 || !may_retry);
    retry_in_vain(window, may_retry && !window->is_refused);
    return is_over || window->is_refused;
}
