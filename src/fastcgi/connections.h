/* The table of the web server's connections. Reading a request never waits for its next bytes, so a slow
 * sender holds nothing but memory. Memory and time have limits. */
#ifndef INCIDENTS_FASTCGI_CONNECTIONS_H
#define INCIDENTS_FASTCGI_CONNECTIONS_H

#include <stdint.h>
#include <sys/queue.h>

#include "api/exchange.h"
#include "fastcgi/parser.h"
#include "loop/loop.h"

enum peer_state {
    PEER_IDLE,      /* no request has begun */
    PEER_READING,   /* one comes in */
    PEER_WAITING,   /* one has come in, and waits for its response */
    PEER_LINGERING, /* it has had its response: what it still sends is read and thrown away until it closes,
                       for to close with bytes unread would take the response back (ECONNRESET) */
    PEER_SHUT_DOWN, /* shut down: it is closed, or its request responded to, by its next event */
    PEER_STATES
};

/* One connection. */
struct peer {
    int descriptor;
    enum peer_state state;
    struct parser parser;     /* the request that comes in, or has come in */
    struct exchange exchange; /* the server's, while it is PEER_WAITING */
    struct loop_handler handler;
    void *server; /* for the handler */
    bool hung_up; /* it has hung up, and takes no response */

    bool is_watched; /* connections.c's own from here on */
    int64_t last_read_ms;
    int64_t linger_until_ms; /* at the latest */
    size_t lingered;         /* bytes that came since */
    size_t memory;           /* as it was counted */
    TAILQ_ENTRY(peer) link;
};

struct connections {
    const struct loop *loop;
    size_t body_limit;
    int timeout_ms; /* for the next bytes of a request */
    size_t memory_max;
    TAILQ_HEAD(peers, peer) peers; /* in the order in which they came into their states */
    size_t count[PEER_STATES];
    size_t memory;       /* bytes, of the requests that come in */
    int64_t check_at_ms; /* for what has timed out */
};

void connections_init(struct connections *connections, const struct loop *loop, size_t body_limit,
                      int timeout_ms);

/* Closes every connection that is left. */
void connections_free(struct connections *connections);

/* Adds a new connection, whose descriptor is O_NONBLOCK, and has `ready` called with the peer when bytes
 * come. Where there is no memory for it (logged) it is closed. */
void connections_add(struct connections *connections, int descriptor,
                     void (*ready)(void *peer, uint32_t events), void *server);

/* Reads from a peer that is not PEER_WAITING. True if its request is complete, or to be refused: then it is
 * PEER_WAITING. False: there is nothing to do, and the peer may have been closed and freed. */
bool connections_read(struct connections *connections, struct peer *peer);

/* For events while the peer is PEER_WAITING: they are ignored until it reads again. */
void connections_ignore(struct connections *connections, struct peer *peer, uint32_t events);

/* Has a peer that has had its response read the next request. */
void connections_next(struct connections *connections, struct peer *peer);

/* Tells a peer that has had its response that no more comes, and has it linger. */
void connections_linger(struct connections *connections, struct peer *peer);

void connections_close(struct connections *connections, struct peer *peer);

/* Closes those on which a request may still come. */
void connections_stop(struct connections *connections);

/* When connections_expire is to be called, of clock_now_ms(). */
int64_t connections_due_ms(const struct connections *connections);

/* Releases those on which nothing has come for too long. */
void connections_expire(struct connections *connections);

/* Releases one because no descriptor is left: the oldest that lingers, else that is idle, else that reads. */
void connections_free_descriptor(struct connections *connections);

#endif
