/* A store in a thread of its own, which other threads submit to: many tests at once ask of one store what the
 * worker's connections do. */
#ifndef INCIDENTS_TESTS_STORE_THREAD_H
#define INCIDENTS_TESTS_STORE_THREAD_H

#include "store/store.h"

struct store_thread;

/* NULL where the store cannot be started. The settings must outlive it. */
struct store_thread *store_thread_start(const struct settings *settings);

/* The same with a store_start without a loop, for one submission at a time. */
struct store_thread *store_thread_start_single(const struct settings *settings);

/* As store_submit, from any thread; done is called by the store's. */
void store_thread_submit(struct store_thread *thread, struct store_op *op, void (*done)(void *context),
                         void *context);

/* The same, and waits until it is done. */
void store_thread_apply(struct store_thread *thread, struct store_op *op);

/* Stops the store, which answers all that was submitted first, and ends the thread. */
void store_thread_stop(struct store_thread *thread);

#endif
