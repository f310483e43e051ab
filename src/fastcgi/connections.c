/* The table of the web server's connections. */
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
    CHECK_EVERY_MS = 1000,
    MEMORY_MAX = 64 * 1024 * 1024, /* and one request more */
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
        .memory_max = MEMORY_MAX + 2 * body_limit,
    };
    TAILQ_INIT(&connections->peers);
}

void connections_add(struct connections *connections, int descriptor,
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
        /* LCOV_EXCL_START: out of memory or descriptors (exhaustion_test, limits_test) */
        log_error("unable to add a connection: %s", peer == NULL ? "out of memory" : strerror(errno));
        free(peer);
        close(descriptor);
        return;
        /* LCOV_EXCL_STOP */
    }
    parser_init(&peer->parser, connections->body_limit);
    TAILQ_INSERT_TAIL(&connections->peers, peer, link);
    connections->count[PEER_IDLE]++;
}

/* ---- States ---- */

static void count_memory(struct connections *connections, struct peer *peer, size_t memory)
{
    connections->memory = connections->memory - peer->memory + memory;
    peer->memory = memory;
}

static void set_state(struct connections *connections, struct peer *peer, enum peer_state state)
{
    peer->last_read_ms = clock_now_ms();
    if (connections_due_ms(connections) == LOOP_NEVER) {
        connections->check_at_ms = peer->last_read_ms + CHECK_EVERY_MS;
    }
    count_memory(connections, peer, 0);
    connections->count[peer->state]--;
    connections->count[state]++;
    peer->state = state;
    TAILQ_REMOVE(&connections->peers, peer, link);
    TAILQ_INSERT_TAIL(&connections->peers, peer, link);
}

/* Whether it has ended its request, if early: it is responded to once it is shut down. */
static bool has_ended_early(const struct peer *peer)
{
    return peer->state == PEER_READING && peer->parser.has_ended_early;
}

static void shut_down(struct connections *connections, struct peer *peer)
{
    shutdown(peer->descriptor, has_ended_early(peer) ? SHUT_RD : SHUT_RDWR);
    set_state(connections, peer, PEER_SHUT_DOWN);
}

/* The one that has been longest in that state, with so much memory at least; NULL: there is none. */
static struct peer *find_oldest(const struct connections *connections, enum peer_state state, size_t memory)
{
    struct peer *peer;

    TAILQ_FOREACH(peer, &connections->peers, link)
    {
        if (peer->state == state && peer->memory >= memory) {
            break;
        }
    }
    return peer;
}

static void note_progress(struct connections *connections, struct peer *peer)
{
    enum peer_state state = parser_is_idle(&peer->parser) ? PEER_IDLE : PEER_READING;
    struct peer *oldest;

    if (peer->state != state) {
        set_state(connections, peer, state);
    }
    peer->last_read_ms = clock_now_ms();
    count_memory(connections, peer, state == PEER_READING ? parser_memory(&peer->parser) : 0);
    while (connections->memory > connections->memory_max &&
           (oldest = find_oldest(connections, PEER_READING, 1)) != NULL) {
        log_error("closed the oldest incomplete request: all of them hold %zu bytes", connections->memory);
        shut_down(connections, oldest);
    }
}

/* ---- Reading ---- */

/* Sends the parser's output. False if the peer has no room for it, because it never reads. */
static bool send_output(struct peer *peer)
{
    struct buffer *output = &peer->parser.output;
    bool sent = !output->failed && (output->len == 0 || send(peer->descriptor, output->data, output->len,
                                                             MSG_NOSIGNAL) == (ssize_t)output->len);

    buffer_reset(output, 0);
    return sent;
}

static bool would_block(ssize_t got)
{
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* Reads until there is a request, or nothing more to read. */
static enum parser_result parse(struct peer *peer)
{
    enum parser_result result = PARSER_INCOMPLETE;
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE && result == PARSER_INCOMPLETE; i++) {
        ssize_t got = recv(peer->descriptor, chunk, sizeof chunk, 0);

        if (got <= 0) {
            return would_block(got) ? PARSER_INCOMPLETE : parser_end(&peer->parser);
        }
        result = parser_feed(&peer->parser, chunk, (size_t)got);
        if (!send_output(peer)) {
            return PARSER_ERROR;
        }
        if ((size_t)got < sizeof chunk) {
            break; /* there is no more: the loop will tell, should some come */
        }
    }
    return result;
}

/* Discards what has come. Closes the connection at its end, or if too much has come. */
static void discard(struct connections *connections, struct peer *peer)
{
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE; i++) {
        ssize_t got = recv(peer->descriptor, chunk, sizeof chunk, 0);

        if (would_block(got)) {
            return;
        }
        peer->last_read_ms = clock_now_ms();
        peer->lingered += got > 0 ? (size_t)got : 0;
        if (got <= 0 || peer->lingered > BODY_DRAIN_MAX) {
            connections_close(connections, peer);
            return;
        }
    }
}

bool connections_read(struct connections *connections, struct peer *peer)
{
    if (peer->state == PEER_LINGERING) {
        discard(connections, peer);
        return false;
    }
    switch (parse(peer)) {
    case PARSER_COMPLETE:
        set_state(connections, peer, PEER_WAITING);
        return true;
    case PARSER_INCOMPLETE:
        if (peer->state != PEER_SHUT_DOWN) {
            note_progress(connections, peer);
        }
        break;
    case PARSER_ERROR:
        if (peer->parser.error != NULL) {
            log_error("closed a connection: FastCGI protocol error: %s", peer->parser.error);
        }
        if (peer->parser.has_responded) {
            connections_linger(connections, peer);
        } else {
            connections_close(connections, peer);
        }
        break;
    }
    return false;
}

void connections_ignore(struct connections *connections, struct peer *peer, uint32_t events)
{
    peer->hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
    loop_unwatch(connections->loop, peer->descriptor);
    peer->is_watched = false;
}

/* Prepares for the next request, or for what is discarded, and watches events again, which may have been
 * ignored. Closes the connection if there is no memory for that. */
static void read_again(struct connections *connections, struct peer *peer, enum peer_state state)
{
    parser_next(&peer->parser);
    set_state(connections, peer, state);
    peer->is_watched =
        peer->is_watched || loop_watch(connections->loop, peer->descriptor, EPOLLIN, &peer->handler);
    if (!peer->is_watched) {
        /* LCOV_EXCL_START: out of memory or descriptors (exhaustion_test, limits_test) */
        log_error("unable to watch a connection: %s", strerror(errno));
        connections_close(connections, peer);
        /* LCOV_EXCL_STOP */
    }
}

void connections_next(struct connections *connections, struct peer *peer)
{
    read_again(connections, peer, PEER_IDLE);
}

void connections_linger(struct connections *connections, struct peer *peer)
{
    shutdown(peer->descriptor, SHUT_WR);
    peer->linger_until_ms = clock_now_ms() + LINGER_MS;
    read_again(connections, peer, PEER_LINGERING);
}

void connections_close(struct connections *connections, struct peer *peer)
{
    count_memory(connections, peer, 0);
    connections->count[peer->state]--;
    TAILQ_REMOVE(&connections->peers, peer, link);
    close(peer->descriptor);
    parser_free(&peer->parser);
    free(peer);
}

static void close_all_but(struct connections *connections, enum peer_state one, enum peer_state other)
{
    struct peer *peer, *next;

    for (peer = TAILQ_FIRST(&connections->peers); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (peer->state != one && peer->state != other) {
            connections_close(connections, peer);
        }
    }
}

void connections_stop(struct connections *connections)
{
    close_all_but(connections, PEER_WAITING, PEER_LINGERING);
}

void connections_free(struct connections *connections)
{
    close_all_but(connections, PEER_STATES, PEER_STATES);
}

/* ---- Time ---- */

int64_t connections_due_ms(const struct connections *connections)
{
    return connections->count[PEER_READING] + connections->count[PEER_LINGERING] > 0
               ? connections->check_at_ms
               : LOOP_NEVER;
}

static bool has_timed_out(const struct connections *connections, const struct peer *peer, int64_t now_ms)
{
    int64_t silence_ms = now_ms - peer->last_read_ms;

    if (peer->state == PEER_LINGERING) {
        return silence_ms > LINGER_SILENCE_MS || now_ms > peer->linger_until_ms;
    }
    return peer->state == PEER_READING &&
           silence_ms > (peer->parser.has_ended_early ? EARLY_END_MS : connections->timeout_ms);
}

void connections_expire(struct connections *connections)
{
    int64_t now_ms = clock_now_ms();
    struct peer *peer, *next;
    size_t timed_out = 0;

    if (connections_due_ms(connections) > now_ms) {
        return;
    }
    connections->check_at_ms = now_ms + CHECK_EVERY_MS;
    for (peer = TAILQ_FIRST(&connections->peers); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (has_timed_out(connections, peer, now_ms)) {
            timed_out += peer->state == PEER_READING && !has_ended_early(peer) ? 1 : 0;
            shut_down(connections, peer);
        }
    }
    if (timed_out > 0) {
        log_error("%zu incomplete requests timed out: nothing came for %d ms", timed_out,
                  connections->timeout_ms);
    }
}

void connections_free_descriptor(struct connections *connections)
{
    static const enum peer_state order[] = {PEER_LINGERING, PEER_IDLE, PEER_READING};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct peer *peer = find_oldest(connections, order[i], 0);

        if (peer != NULL) {
            shut_down(connections, peer);
            return;
        }
    }
}
