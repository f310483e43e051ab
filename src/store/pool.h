/* The connections to the database: which are free, and when one may be used or opened again after a failure.
 *
 * It does no input or output of its own. Times are those of clock_now_ms(). */
#ifndef INCIDENTS_STORE_POOL_H
#define INCIDENTS_STORE_POOL_H

#include "store/connection.h"

struct pool {
    struct connection *connections;
    size_t count;
    struct connection *idle;   /* and open. The one used last first, so that a lone client finds a warm one */
    struct connection *closed; /* and not being opened */
    enum op_reason reason;     /* why the last attempt did not reach the database */
    int64_t unreachable_since_ms; /* 0 while the last attempt reached it */
    int64_t probe_at_ms;          /* while it is unreachable: when to ask whether it is back */
    int failures;                 /* attempts in a row that did not reach it */
    int connect_failures;         /* connections in a row that could not be opened */
    int64_t retry_at_ms;          /* no batch is sent before, */
    int64_t connect_at_ms;        /* and no connection is opened before */
    unsigned seed;                /* of the delays */
};

/* So many connections, all closed. The hosts must outlive it. False when out of memory; pool_free in either
 * case. */
bool pool_init(struct pool *pool, struct hosts *hosts, size_t count, size_t batch_max, unsigned seed);
void pool_free(struct pool *pool);

/* Whether there is a connection to send something on, or to open. */
bool pool_has_free(const struct pool *pool);

/* When a batch may be sent on a connection that is free, or one be opened for it. */
int64_t pool_ready_ms(const struct pool *pool);

/* Closes the idle connections to a host that is not the first to try any more: each would have to find out by
 * itself, and take a timeout for it. */
void pool_close_outdated(struct pool *pool);

/* Takes an idle connection, or a closed one to be opened; NULL where there is none. */
struct connection *pool_acquire_idle(struct pool *pool);
struct connection *pool_acquire_closed(struct pool *pool);

/* The connection is free again. */
void pool_release(struct pool *pool, struct connection *connection);

/* An idle connection has closed. */
void pool_note_closed(struct pool *pool, struct connection *connection);

/* An attempt, a batch or a connection to be opened, has reached the database; or not, for that reason: then
 * nothing is tried for a while, as pool_back_off_ms says. */
void pool_note_reached(struct pool *pool);
void pool_note_unreachable(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms);

/* A connection was opened; or could not be, for that reason, and then none is for a while. Where others are
 * open the database is reached all the same: the server may have no more of them. */
void pool_note_opened(struct pool *pool);
void pool_note_open_failure(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms);

/* How long to wait before attempt number `attempts`, from 0 on: not at all before the first, for a connection
 * may just have gone stale; then ever longer, at random, so that not all come at once. But no longer than a
 * part of the time left: of many processes that want one of few connections, those that came first should not
 * come last. */
int64_t pool_back_off_ms(struct pool *pool, int attempts, int64_t left_ms);

#endif
