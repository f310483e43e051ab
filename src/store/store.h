/* The way to the database: requests of many threads go out together, a few connections carry them.
 *
 * A writer takes all that is queued and sends it as one transaction; while it waits for the commit, the next
 * batch gathers. There is no timer: an idle store sends a single request at once. */
#ifndef INCIDENTS_STORE_STORE_H
#define INCIDENTS_STORE_STORE_H

#include "base/settings.h"
#include "store/item.h"

struct store;

/* A store with writer threads of its own, as settings say; NULL (logged) when it cannot be made. The settings
 * must outlive it. */
struct store *store_start(const struct settings *settings);

/* A store without threads, which sends each item by itself from the thread that submits it: for plain CGI. */
struct store *store_start_single(const struct settings *settings);

/* Has the item applied and waits for it: item->outcome tells what became of it, never ITEM_PENDING. Takes no
 * longer than settings->deadline_ms, past which the outcome is ITEM_UNAVAILABLE. From any thread. */
void store_submit(struct store *store, struct item *item);

/* Sends what is still queued, ends the threads, closes the connections. Nobody may submit any more. */
void store_stop(struct store *store);

#endif
