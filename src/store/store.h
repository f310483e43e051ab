/* The way to the database: what waits when a connection is free is sent together, as one transaction. While
 * that is committed, the next batch gathers. An operation that comes alone is sent at once.
 *
 * A store is its loop's: all calls are that thread's. */
#ifndef INCIDENTS_STORE_STORE_H
#define INCIDENTS_STORE_STORE_H

#include "base/settings.h"
#include "loop/loop.h"
#include "store/op.h"

struct store;

/* A store with the connections of the settings, and a thread that opens them; NULL (logged) when it cannot be
 * made. The settings and the loop must outlive it. */
struct store *store_start(const struct settings *settings, const struct loop *loop);

/* A store with a loop of its own and one connection, which is opened by whoever asks, and waits for it: for
 * store_apply alone. */
struct store *store_start_single(const struct settings *settings);

/* Has the operation applied. It is the store's until done(context) is called, by store_turn:
 * operation->outcome is final then, never OP_PENDING. That happens after settings->request_timeout_ms at the
 * latest, past which the outcome is OP_UNAVAILABLE. done may free the operation. */
void store_submit(struct store *store, struct store_op *op, void (*done)(void *context), void *context);

/* Does what is due: sends batches, opens connections, gives up what is late, calls back. To be called behind
 * each turn of the loop. */
void store_turn(struct store *store);

/* When store_turn has something to do again, should no event come before, of clock_now_ms(). */
int64_t store_due_ms(const struct store *store);

/* As store_submit, and turns the loop until it is done. */
void store_apply(struct store *store, struct store_op *op);

/* Turns the loop until all that was submitted is done; then closes the connections. */
void store_stop(struct store *store);

#endif
