/* The web server's connections; each is a peer. Reading a request never waits for its next bytes, so a slow
 * sender holds nothing but memory. Memory and time have limits. */
#ifndef INCIDENTS_FASTCGI_PEERS_H
#define INCIDENTS_FASTCGI_PEERS_H

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

/* One connection. It is freed by what closes it. */
struct peer {
    int descriptor;
    enum peer_state state;
    struct parser parser;     /* the request that comes in, or has come in */
    struct exchange exchange; /* the server's, while it is PEER_WAITING */
    struct peers *table;      /* that it is in */
    bool hung_up;             /* and takes no response */

    /* peers.c's own from here on: */
    struct loop_handler handler;
    bool is_watched;
    int64_t last_read_ms;
    int64_t linger_until_ms; /* at the latest */
    size_t lingered;         /* bytes that came since */
    size_t memory;           /* as it was counted */
    TAILQ_ENTRY(peer) link;
};

/* Called for a peer's events, as epoll_ctl(2) names them: to call peer_ignore or peer_read. */
typedef void peer_handler(struct peer *peer, uint32_t events);

struct peers {
    const struct loop *loop;
    size_t body_limit;
    int timeout_ms; /* for the next bytes of a request */
    peer_handler *ready;
    void *context; /* the handler's */
    size_t memory_max;
    TAILQ_HEAD(peer_list, peer) list; /* in the order in which they came into their states */
    size_t count[PEER_STATES];
    size_t memory;       /* bytes, of the requests that come in */
    int64_t check_at_ms; /* for what has timed out */
};

/* An empty table. The loop must outlive it, and it must stay where it is. */
void peers_init(struct peers *peers, const struct loop *loop, size_t body_limit, int timeout_ms,
                peer_handler *ready, void *context);

/* Closes every connection that is left. */
void peers_free(struct peers *peers);

/* Adds a new connection, whose descriptor is O_NONBLOCK, and the table's from now on. If there is no memory
 * for it (logged), it is closed. */
void peers_add(struct peers *peers, int descriptor);

/* Reads from a peer that is not PEER_WAITING. True if its request is complete, or to be refused: then it is
 * PEER_WAITING. False: there is nothing to do, and the peer may have been closed and freed. */
bool peer_read(struct peer *peer);

/* For events while the peer is PEER_WAITING: they are ignored until it reads again. */
void peer_ignore(struct peer *peer, uint32_t events);

/* The next three are for a peer that is PEER_WAITING and has had its response. */

/* Has it read the next request. If there is no memory for that (logged), it is closed and freed. */
void peer_next(struct peer *peer);

/* Tells it that no more comes, and has it linger. Otherwise as peer_next. */
void peer_linger(struct peer *peer);

/* Closes the connection and frees the peer. */
void peer_close(struct peer *peer);

/* Closes those on which a request may still come. */
void peers_stop(struct peers *peers);

/* When peers_expire is to be called, of clock_now_ms(); LOOP_NEVER while no peer can time out. */
int64_t peers_due_ms(const struct peers *peers);

/* Shuts down those on which nothing has come for too long. */
void peers_expire(struct peers *peers);

/* Shuts one down because no descriptor is left: the oldest that lingers, else that is idle, else that reads.
 */
void peers_free_descriptor(struct peers *peers);

#endif
