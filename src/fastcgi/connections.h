/* The web server's connections, and the requests that come in on them. A request is gathered without waiting
 * for its next bytes, so a slow sender holds nothing but memory: of that there is a limit, and a time. */
#ifndef INCIDENTS_FASTCGI_CONNECTIONS_H
#define INCIDENTS_FASTCGI_CONNECTIONS_H

#include <stdint.h>
#include <sys/queue.h>

#include "fastcgi/parser.h"
#include "loop/loop.h"

enum peer_state {
    PEER_READING,   /* a request comes in, or may */
    PEER_WAITING,   /* for the response to the request that has come in */
    PEER_LINGERING, /* it has had its response: what it still sends is read and thrown away until it closes,
                       for to close with bytes unread would take the response back (ECONNRESET) */
};

/* One connection. */
struct peer {
    int descriptor;
    enum peer_state state;
    struct parser parser; /* the request that comes in, or has come in */
    struct loop_handler handler;
    void *server; /* for the handler */
    bool is_gone; /* it has hung up, and takes no response */

    bool is_watched; /* connections.c's own from here on */
    bool is_unfinished;
    int64_t last_read_ms;
    int64_t linger_until_ms; /* at the latest */
    size_t lingered;         /* bytes that came since */
    size_t holds;            /* memory, as it was counted */
    LIST_ENTRY(peer) link;
    TAILQ_ENTRY(peer) unfinished;
};

/* Those in `unfinished` have a request that has begun and not ended, in the order in which these began, or
 * linger. */
struct connections {
    const struct loop *loop;
    size_t body_limit;
    int timeout_ms; /* for the next bytes of a request */
    size_t holds_max;
    LIST_HEAD(peers, peer) peers;
    TAILQ_HEAD(unfinished, peer) unfinished;
    size_t holds;            /* bytes of memory, of the unfinished ones */
    size_t unfinished_count; /* those that do not linger: a stop waits for them */
    int64_t look_at_ms;      /* when to look for what is to be given up */
};

void connections_init(struct connections *connections, const struct loop *loop, size_t body_limit,
                      int timeout_ms);

/* Closes every connection that is left. */
void connections_free(struct connections *connections);

/* Takes a new connection in, whose descriptor is O_NONBLOCK, and has `ready` called with the peer when bytes
 * come. NULL (logged) where there is no memory for it, and then it is closed. */
struct peer *connections_add(struct connections *connections, int descriptor,
                             void (*ready)(void *peer, uint32_t events), void *server);

/* Reads what has come. PARSER_COMPLETE: the peer's parser has a request, and it is PEER_WAITING.
 * PARSER_INCOMPLETE: there is nothing to do. PARSER_ERROR: close it, or end it where its parser has refused
 * the request. */
enum parser_result connections_read(struct connections *connections, struct peer *peer);

/* Something has come, or the peer has hung up, while it waits: nobody looks until it reads again. */
void connections_ignore(struct connections *connections, struct peer *peer, uint32_t events);

/* Has a peer that has had its response read the next request. */
void connections_read_on(struct connections *connections, struct peer *peer);

/* Has a peer that has had its response go: it hears that no more comes, and lingers. */
void connections_end(struct connections *connections, struct peer *peer);

/* Closes every connection but those that wait for a response. */
void connections_stop_reading(struct connections *connections);

/* Forgets a peer, and closes its connection. */
void connections_close(struct connections *connections, struct peer *peer);

/* When connections_expire is to be called, of clock_now_ms(). */
int64_t connections_due_ms(const struct connections *connections);

/* Gives up the requests on which nothing has come for too long. */
void connections_expire(struct connections *connections);

/* Gives up one that lingers, else the oldest unfinished request, for there is no descriptor left. */
void connections_make_room(struct connections *connections);

#endif
