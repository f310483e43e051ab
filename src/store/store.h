/* The way to the database: requests from many threads go out together, a few connections carry them.
 *
 * Whoever finds a connection idle takes all that is queued and sends it as one transaction; while it waits
 * for the commit, the next batch gathers. An idle store sends a single request at once. */
#ifndef INCIDENTS_STORE_STORE_H
#define INCIDENTS_STORE_STORE_H

#include <sys/queue.h>

#include "base/settings.h"
#include "store/database.h"
#include "store/item.h"

struct store;

/* A request for the store. Set the first three members, the others to 0. It and its item belong to the store
 * from store_submit until done is called, which may free both. */
struct ticket {
    struct item *item;
    void (*done)(void *context); /* item->outcome is final. From any thread, for which others wait */
    void *context;

    TAILQ_ENTRY(ticket) link; /* the store's own from here on, see store.c */
    TAILQ_ENTRY(ticket) namesake;
    uint64_t incident;
    int64_t since_ms; /* when it began to wait */
    int64_t not_before_ms;
    int attempts;
    int64_t lost[LOST_ATTEMPTS_MAX]; /* attempts that may still run in the database */
    size_t lost_count;
    bool is_alone;
    bool is_sent;
};

/* A store with threads of its own, as settings say; NULL (logged) when it cannot be made. The settings must
 * outlive it. */
struct store *store_start(const struct settings *settings);

/* A store without threads, for store_apply alone: for plain CGI. */
struct store *store_start_single(const struct settings *settings);

/* Has the item applied: item->outcome tells what became of it, never ITEM_PENDING, when ticket->done is
 * called. That happens after settings->deadline_ms at the latest, past which the outcome is ITEM_UNAVAILABLE.
 * The caller may be made to carry a batch, its own request in it or not, and to call what is done. */
void store_submit(struct store *store, struct ticket *ticket);

/* The same for a caller that has many to submit and answers to nobody: it never carries a batch, the store's
 * own threads do. */
void store_queue(struct store *store, struct ticket *ticket);

/* As store_submit, and waits for it. */
void store_apply(struct store *store, struct item *item);

/* Waits until all that was submitted is done, ends the threads, closes the connections. Nobody may submit any
 * more.
 */
void store_stop(struct store *store);

#endif
