/* A store's batches: when they are sent, and what becomes of them. */
#ifndef INCIDENTS_STORE_BATCHES_H
#define INCIDENTS_STORE_BATCHES_H

#include "store/state.h"

/* When a batch may be sent on a connection that is free, or one be opened for it; LOOP_NEVER where there is
 * no such connection. */
int64_t batches_send_from_ms(const struct store *store, int64_t now_ms);

/* Sends what may be sent on the connections that are idle. */
void batches_start(struct store *store, int64_t now_ms);

/* The loop's handler of a connection: goes on with its batch, or notices that it has closed. */
void batches_continue(void *connection, uint32_t events);

/* Gives up the batches on which no answer has come. */
void batches_give_up_late(struct store *store, int64_t now_ms);

/* The operation leaves the queue with that outcome, and is to be called back. */
void batches_complete_op(struct store *store, struct store_op *op, enum op_outcome outcome);

/* How much time whoever came last has left; LOOP_NEVER where nobody waits. */
int64_t batches_left_ms(const struct store *store, int64_t now_ms);

#endif
