/* The web server's connections, and the requests that come in on them. A request is gathered without waiting
 * for its next bytes, so a slow sender holds no thread, only memory: of that there is a bound, and a time. */
#ifndef INCIDENTS_GATEWAY_INTAKE_H
#define INCIDENTS_GATEWAY_INTAKE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/queue.h>

#include "gateway/guard.h"

/* A connection is one thread's at a time: that of the event which it was armed for. */
struct connection {
    int descriptor;
    struct guard guard; /* the request that comes in, or has come in */

    atomic_bool is_free; /* between two threads */
    bool was_counted;    /* intake.c's own from here on; this is the thread's, all else is under the lock */
    LIST_ENTRY(connection) link;
    TAILQ_ENTRY(connection) unfinished;
    bool is_unfinished;
    bool has_ended_early;    /* as the guard has it */
    int64_t heard_ms;        /* when bytes came last */
    bool is_lingering;       /* it has had its answer */
    int64_t linger_until_ms; /* at the latest */
    size_t lingered;         /* bytes that came since */
    size_t holds;            /* as it was counted */
};

/* Those in `unfinished` have a request that has begun and not ended, in the order in which these began, or
 * linger. */
struct intake {
    size_t body_limit;
    int timeout_ms; /* for the next bytes of a request */
    size_t holds_max;
    int timer; /* readable once a second while there are unfinished ones: then call intake_look */
    bool is_timer_on;

    pthread_mutex_t lock;
    LIST_HEAD(connections, connection) connections;
    TAILQ_HEAD(unfinished, connection) unfinished;
    size_t holds;                   /* bytes of memory, of the unfinished ones */
    atomic_size_t unfinished_count; /* those that do not linger: a stop waits for them */
};

/* False, and errno says why, where it cannot be made; intake_close in either case. */
bool intake_open(struct intake *intake, size_t body_limit, int timeout_ms);

/* Closes every connection that is left. */
void intake_close(struct intake *intake);

/* Takes a new connection in; NULL where there is no memory for it, and then it is closed. */
struct connection *intake_add(struct intake *intake, int descriptor);

/* Ends a connection that has had its answer: the peer hears that no more comes, and what it still sends is
 * read and thrown away until it closes, for a while; to close with bytes unread would take the answer back
 * (ECONNRESET). Have it wait for the next bytes. */
void intake_linger(struct intake *intake, struct connection *connection);

/* Ends this thread's turn: to be called before the connection is armed for its next event. */
void intake_let_go(struct connection *connection);

/* Forgets a connection, and closes it unless its descriptor is -1 by now. */
void intake_drop(struct intake *intake, struct connection *connection);

/* Reads what has come. GUARD_REQUEST: the connection's guard has a request. GUARD_MORE: have it wait for the
 * next bytes. GUARD_BROKEN: drop it. */
enum guard_verdict intake_read(struct intake *intake, struct connection *connection);

/* Gives up the requests on which nothing has come for too long. */
void intake_look(struct intake *intake);

/* Gives up a connection that lingers, else the oldest unfinished request, for there is no descriptor left. */
void intake_make_room(struct intake *intake);

#endif
