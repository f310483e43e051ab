/* The records of an import that are read and not done: many are on their way to the database at once.
 *
 * Records leave in the order in which they came, so whatever was reported of one is true of all before it: so
 * many records are done, and an import that ends can be taken up behind them. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_WINDOW_H
#define INCIDENTS_INCIDENTCTL_IMPORT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/error.h"
#include "store/store.h"

enum window_state {
    WINDOW_STORED,
    WINDOW_LEFT_OUT,
    WINDOW_INVALID,
    WINDOW_UNDERWAY,
    WINDOW_UNAVAILABLE, /* the database could not be reached in time */
    WINDOW_REFUSED,     /* the token is valid no more */
};

struct window_record {
    uint64_t line;     /* of the input, */
    uint64_t end;      /* and its bytes up to the record's end */
    struct slice text; /* the record verbatim; too large ones have none */
    struct incident incident;
    struct store_op op;
    struct error error; /* where it is invalid */
    enum window_state state;
    bool ends_record; /* it is the last of those that the record of the input became, and has its text */
    bool is_last;     /* as source_record has it */

    struct buffer copy;      /* what text points to */
    struct window *window;   /* the window's own from here on */
    enum op_outcome outcome; /* the first that was stored */
    size_t bytes;
    TAILQ_ENTRY(window_record) link;
};

struct window {
    const struct loop *loop;
    struct store *store;                                             /* NULL for a dry run */
    void (*done)(void *context, const struct window_record *record); /* in order */
    void *context;
    TAILQ_HEAD(window_records, window_record) spare; /* done with */

    struct window_records records;
    size_t count;
    size_t bytes;
    size_t underway;
    size_t added; /* in all, that were to be stored */
    size_t unavailable;
    bool has_complained; /* that something is tried again, since something was stored */
    bool is_refused;
};

/* An empty window. The store is the loop's. */
void window_init(struct window *window, const struct loop *loop, struct store *store,
                 void (*done)(void *context, const struct window_record *record), void *context);

/* Frees what is left in it; nothing may be under way any more. */
void window_free(struct window *window);

/* A record without a text; NULL when out of memory. Free it by window_add. */
struct window_record *window_record_new(struct window *window);

/* Gives it a copy of the text. False when out of memory. */
bool window_record_set_text(struct window_record *record, struct slice text);

/* Takes a record whose state is set: WINDOW_UNDERWAY has it stored. It is the window's from then on. */
void window_add(struct window *window, struct window_record *record);

/* Whether the database takes nothing from us any more: the token was ended meanwhile. */
bool window_is_refused(const struct window *window);

/* Waits a time, unless there is room; reports what is done; sends once more what the database could not be
 * asked, where may_retry. True when there is room for another record. */
bool window_wait_for_room(struct window *window, bool may_retry);

/* The same until nothing is left that may still be done; false while there is. */
bool window_wait_for_end(struct window *window, bool may_retry);

#endif
