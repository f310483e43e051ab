/* The web server's connections. */
#include "fastcgi/connections.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    EARLY_END_MS = 2000,      /* for the next bytes behind an early end of the body */
    LINGER_SILENCE_MS = 2000, /* for the next bytes behind the response */
    LINGER_MS = 30000,        /* behind the response, altogether */
    LOOK_EVERY_MS = 1000,
    HOLDS_MAX = 64 * 1024 * 1024, /* and one request more */
    CHUNK_BYTES = 32 * 1024,
    CHUNKS_AT_ONCE = 64, /* then others have their turn */
};

void connections_init(struct connections *connections, const struct loop *loop, size_t body_limit,
                      int timeout_ms)
{
    *connections = (struct connections){
        .loop = loop,
        .body_limit = body_limit,
        .timeout_ms = timeout_ms,
        .holds_max = HOLDS_MAX + 2 * body_limit,
    };
    LIST_INIT(&connections->peers);
    TAILQ_INIT(&connections->unfinished);
}

void connections_free(struct connections *connections)
{
    while (!LIST_EMPTY(&connections->peers)) {
        connections_close(connections, LIST_FIRST(&connections->peers));
    }
}

struct peer *connections_add(struct connections *connections, int descriptor,
                             void (*ready)(void *peer, uint32_t events), void *server)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer != NULL) {
        peer->descriptor = descriptor;
        peer->handler = (struct loop_handler){.ready = ready, .context = peer};
        peer->server = server;
        peer->is_watched = loop_watch(connections->loop, descriptor, EPOLLIN, &peer->handler);
    }
    if (peer == NULL || !peer->is_watched) {
        log_error("unable to take a connection in: %s", peer == NULL ? "out of memory" : strerror(errno));
        free(peer);
        close(descriptor);
        return NULL;
    }
    parser_init(&peer->parser, connections->body_limit);
    LIST_INSERT_HEAD(&connections->peers, peer, link);
    return peer;
}

/* ---- Those that are unfinished ---- */

static void begin_to_count(struct connections *connections, struct peer *peer)
{
    if (TAILQ_EMPTY(&connections->unfinished)) {
        connections->look_at_ms = clock_now_ms() + LOOK_EVERY_MS;
    }
    peer->is_unfinished = true;
    peer->last_read_ms = clock_now_ms();
    TAILQ_INSERT_TAIL(&connections->unfinished, peer, unfinished);
    connections->unfinished_count += peer->state == PEER_LINGERING ? 0 : 1;
}

static void stop_counting(struct connections *connections, struct peer *peer)
{
    if (peer->is_unfinished) {
        peer->is_unfinished = false;
        TAILQ_REMOVE(&connections->unfinished, peer, unfinished);
        connections->holds -= peer->holds;
        peer->holds = 0;
        connections->unfinished_count -= peer->state == PEER_LINGERING ? 0 : 1;
    }
}

/* Whether it has ended its request, if early: it is answered once it is given up. */
static bool is_ended_early(const struct peer *peer)
{
    return peer->state == PEER_READING && peer->parser.has_ended_early;
}

/* Its end is an event like any other, and the next one of it: then it is closed, or answered. */
static void give_up(struct connections *connections, struct peer *peer)
{
    stop_counting(connections, peer);
    (void)shutdown(peer->descriptor, is_ended_early(peer) ? SHUT_RD : SHUT_RDWR);
}

/* The oldest that holds memory, which one that lingers does not. Call it while some is held. */
static struct peer *find_oldest_holder(const struct connections *connections)
{
    struct peer *peer;

    TAILQ_FOREACH(peer, &connections->unfinished, unfinished)
    {
        if (peer->holds > 0) {
            break;
        }
    }
    return peer;
}

static void note_progress(struct connections *connections, struct peer *peer)
{
    size_t holds = parser_holds(&peer->parser);

    if (!peer->is_unfinished) {
        begin_to_count(connections, peer);
    }
    peer->last_read_ms = clock_now_ms();
    connections->holds = connections->holds - peer->holds + holds;
    peer->holds = holds;
    while (connections->holds > connections->holds_max) {
        log_error("gave up the oldest unfinished request: all together hold %zu bytes", connections->holds);
        give_up(connections, find_oldest_holder(connections));
    }
}

/* ---- Reading ---- */

/* Sends what the parser has to say; false where the peer has no room for it, which is for who never reads. */
static bool send_replies(struct peer *peer)
{
    struct buffer *replies = &peer->parser.replies;
    bool sent = !replies->failed && (replies->len == 0 || send(peer->descriptor, replies->data, replies->len,
                                                               MSG_NOSIGNAL) == (ssize_t)replies->len);

    buffer_reset(replies, 0);
    return sent;
}

/* Whether there is only nothing to read at the moment. */
static bool is_passing(ssize_t got)
{
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* Reads until there is a request, or nothing more to read. */
static enum parser_result gather(struct peer *peer)
{
    enum parser_result verdict = PARSER_INCOMPLETE;
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE && verdict == PARSER_INCOMPLETE; i++) {
        ssize_t got = recv(peer->descriptor, chunk, sizeof chunk, 0);

        if (got <= 0) {
            return is_passing(got) ? PARSER_INCOMPLETE : parser_end(&peer->parser);
        }
        verdict = parser_feed(&peer->parser, chunk, (size_t)got);
        if (!send_replies(peer)) {
            return PARSER_ERROR;
        }
        if ((size_t)got < sizeof chunk) {
            break; /* there is no more: the loop will tell, should some come */
        }
    }
    return verdict;
}

/* Throws away what has come; PARSER_ERROR where no more will, or too much has. */
static enum parser_result discard(struct peer *peer)
{
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE; i++) {
        ssize_t got = recv(peer->descriptor, chunk, sizeof chunk, 0);

        if (got <= 0) {
            return is_passing(got) ? PARSER_INCOMPLETE : PARSER_ERROR;
        }
        peer->last_read_ms = clock_now_ms();
        peer->lingered += (size_t)got;
        if (peer->lingered > BODY_DRAIN_MAX) {
            return PARSER_ERROR;
        }
    }
    return PARSER_INCOMPLETE;
}

enum parser_result connections_read(struct connections *connections, struct peer *peer)
{
    enum parser_result verdict;

    if (peer->state == PEER_LINGERING) {
        return discard(peer);
    }
    verdict = gather(peer);
    if (verdict == PARSER_ERROR && peer->parser.fault != NULL) {
        log_error("closed a connection of the web server's: %s", peer->parser.fault);
    }
    if (verdict == PARSER_INCOMPLETE && !parser_is_idle(&peer->parser)) {
        note_progress(connections, peer);
    } else {
        stop_counting(connections, peer);
    }
    if (verdict == PARSER_COMPLETE) {
        peer->state = PEER_WAITING;
    }
    return verdict;
}

void connections_ignore(struct connections *connections, struct peer *peer, uint32_t events)
{
    peer->is_gone = (events & (EPOLLHUP | EPOLLERR)) != 0;
    loop_unwatch(connections->loop, peer->descriptor);
    peer->is_watched = false;
}

/* Has the peer's events told again, which may have been ignored; false where it was closed for want of
 * memory.
 */
static bool watch_again(struct connections *connections, struct peer *peer)
{
    if (!peer->is_watched) {
        peer->is_watched = loop_watch(connections->loop, peer->descriptor, EPOLLIN, &peer->handler);
    }
    if (!peer->is_watched) {
        log_error("unable to watch a connection: %s", strerror(errno));
        connections_close(connections, peer);
        return false;
    }
    return true;
}

void connections_read_on(struct connections *connections, struct peer *peer)
{
    peer->state = PEER_READING;
    parser_next(&peer->parser);
    (void)watch_again(connections, peer);
}

void connections_end(struct connections *connections, struct peer *peer)
{
    (void)shutdown(peer->descriptor, SHUT_WR);
    stop_counting(connections, peer);
    parser_next(&peer->parser);
    if (watch_again(connections, peer)) {
        peer->state = PEER_LINGERING;
        begin_to_count(connections, peer);
        peer->linger_until_ms = peer->last_read_ms + LINGER_MS;
    }
}

void connections_close(struct connections *connections, struct peer *peer)
{
    stop_counting(connections, peer);
    LIST_REMOVE(peer, link);
    close(peer->descriptor);
    parser_free(&peer->parser);
    free(peer);
}

void connections_stop_reading(struct connections *connections)
{
    struct peer *peer, *next;

    for (peer = LIST_FIRST(&connections->peers); peer != NULL; peer = next) {
        next = LIST_NEXT(peer, link);
        if (peer->state != PEER_WAITING) {
            connections_close(connections, peer);
        }
    }
}

/* ---- Time ---- */

int64_t connections_due_ms(const struct connections *connections)
{
    return TAILQ_EMPTY(&connections->unfinished) ? LOOP_NEVER : connections->look_at_ms;
}

/* Whether it is waited for no longer. */
static bool is_over(const struct connections *connections, const struct peer *peer, int64_t now_ms)
{
    int64_t silence_ms = now_ms - peer->last_read_ms;

    if (peer->state == PEER_LINGERING) {
        return silence_ms > LINGER_SILENCE_MS || now_ms > peer->linger_until_ms;
    }
    return silence_ms > (peer->parser.has_ended_early ? EARLY_END_MS : connections->timeout_ms);
}

void connections_expire(struct connections *connections)
{
    int64_t now_ms = clock_now_ms();
    struct peer *peer, *next;
    size_t given_up = 0;

    if (connections_due_ms(connections) > now_ms) {
        return;
    }
    connections->look_at_ms = now_ms + LOOK_EVERY_MS;
    for (peer = TAILQ_FIRST(&connections->unfinished); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, unfinished);
        if (is_over(connections, peer, now_ms)) {
            given_up += is_ended_early(peer) || peer->state == PEER_LINGERING ? 0 : 1;
            give_up(connections, peer);
        }
    }
    if (given_up > 0) {
        log_error("gave up %zu requests that did not go on for %d ms", given_up, connections->timeout_ms);
    }
}

void connections_make_room(struct connections *connections)
{
    struct peer *peer;

    TAILQ_FOREACH(peer, &connections->unfinished, unfinished)
    {
        if (peer->state == PEER_LINGERING) {
            break;
        }
    }
    if (peer == NULL) {
        peer = TAILQ_FIRST(&connections->unfinished);
    }
    if (peer != NULL) {
        give_up(connections, peer);
    }
}
