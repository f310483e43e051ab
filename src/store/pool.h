/* The connections to the database: which are idle, and when one may be used or opened again after a failure.
 *
 * It does no input or output of its own. Times are those of clock_now_ms(). */
#ifndef INCIDENTS_STORE_POOL_H
#define INCIDENTS_STORE_POOL_H

#include "store/connection.h"

LIST_HEAD(connection_list, connection);

struct pool {
    struct connection *connections;
    size_t count;
    struct failures failure_log; /* of all of them */
    struct connection_list idle; /* the one that was used last first, so that a lone client has a warm one */
    struct connection_list closed; /* and not being opened */
    enum op_reason reason;         /* why the last attempt did not reach the database */
    int64_t unreachable_since_ms;  /* 0 while it is reachable */
    int64_t probe_at_ms;           /* while it is unreachable: when to try whether it is back */
    int failures;                  /* attempts in a row that did not reach it */
    int connect_failures;          /* connections in a row that could not be opened */
    int64_t retry_at_ms;           /* no batch is sent before, */
    int64_t connect_at_ms;         /* and no connection is opened before */
    unsigned seed;                 /* of the delays */
};

/* All connections are closed. The hosts must outlive the pool. False when out of memory; pool_free in either
 * case. */
bool pool_init(struct pool *pool, struct hosts *hosts, size_t count, size_t batch_max, unsigned seed);
void pool_free(struct pool *pool);

/* When a batch may be sent on a connection that is idle, or one be opened for it. */
int64_t pool_ready_ms(const struct pool *pool);

/* Until when operations wait for the batch under way, though a connection is free: two small batches cost
 * more than a large one, and delay each other. A batch that takes long delays no other. 0 if there is nothing
 * to wait for. */
int64_t pool_second_batch_at_ms(const struct pool *pool, int64_t now_ms);

/* Closes the idle connections to a host that is no longer the one to try first: a batch on each would have to
 * run into a timeout. */
void pool_close_outdated(struct pool *pool);

/* Takes a connection off the pool's idle ones, or a closed one to be opened; NULL if there is none. It is the
 * caller's, who may change its state, until pool_release. */
struct connection *pool_acquire(struct connection_list *list);

/* Puts it to the idle or the closed ones, as its state is. It has no batch any more. */
void pool_release(struct pool *pool, struct connection *connection);

/* A connection that was idle, and not acquired, has been closed. */
void pool_note_closed(struct pool *pool, struct connection *connection);

/* A batch or a connection attempt reached the database; or did not, for that reason: then nothing is tried
 * for pool_back_off_ms. left_ms: the time until the last deadline. */
void pool_note_reached(struct pool *pool);
void pool_note_unreachable(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms);

/* A connection was opened; or could not be, for that reason, and then none is for a while. The database is
 * reachable all the same if others are open: the server may not allow more of them. */
void pool_note_opened(struct pool *pool);
void pool_note_open_failure(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms);

/* How long to wait before attempt number `attempts`, from 0 on: not at all before the first, as a connection
 * may just have gone stale; then longer each time, at random, so that processes do not retry together. But no
 * longer than a part of the time left: those that came first should not be last. */
int64_t pool_back_off_ms(struct pool *pool, int attempts, int64_t left_ms);

#endif
