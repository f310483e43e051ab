/* The way to the database: the operations that wait when a connection is free are sent together, as one
 * transaction. While that is committed, the next batch gathers. A single operation is sent at once.
 *
 * A store belongs to its loop's thread. */
#ifndef INCIDENTS_STORE_STORE_H
#define INCIDENTS_STORE_STORE_H

#include "base/settings.h"
#include "loop/loop.h"
#include "store/op.h"

struct store;

/* A store with the connections of the settings and a thread that opens them. loop: NULL for a store with a
 * loop of its own and one connection, without a thread, for store_apply alone. NULL (logged) if it cannot be
 * started. The settings and the loop must outlive it. */
struct store *store_start(const struct settings *settings, const struct loop *loop);

/* Has the operation applied. It is the store's until store_run_once calls done(context): op->outcome is final
 * then, never OP_PENDING. That happens within settings->request_timeout_ms; an operation that is not stored
 * by then is OP_UNAVAILABLE. done may free the operation, and may be NULL. */
void store_submit(struct store *store, struct store_op *op, void (*done)(void *context), void *context);

/* Sends batches, opens connections, expires operations and runs callbacks. To be called after each iteration
 * of the loop. */
void store_run_once(struct store *store);

/* When store_run_once is to be called, of clock_now_ms(), if no event comes before. */
int64_t store_due_ms(const struct store *store);

/* As store_submit, and runs the loop until all that was submitted is done. For a store with a loop of its
 * own: the log has an error only if the database could not be reached in the end. */
void store_apply(struct store *store, struct store_op *op);

/* "unable to WHAT: WHY" of a database that does not respond, or empty. It is valid until the next call. */
const char *store_failure(const struct store *store);

/* Runs the loop until all that was submitted is done, then closes the connections and frees the store. If the
 * thread that opens connections is in the system's resolver and does not end within 3 s, it is left behind
 * and frees the store later: the settings must live on. */
void store_stop(struct store *store);

#endif
