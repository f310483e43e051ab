/* The web server's connections. */
#include "fastcgi/peers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fastcgi/peer_name.h"

enum {
    EARLY_END_MS = 2000,      /* for the next bytes behind an early end of the body */
    LINGER_SILENCE_MS = 2000, /* for the next bytes behind the response */
    LINGER_MS = 30000,        /* behind the response, altogether */
    CHECK_EVERY_MS = 1000,
    MEMORY_MAX = 64 * 1024 * 1024, /* and one request more */
    CHUNK_BYTES = 32 * 1024,
    CHUNKS_AT_ONCE = 64, /* then others have their turn */
};

void peers_init(struct peers *peers, const struct loop *loop, size_t body_limit, int timeout_ms,
                peer_handler *ready, void *context)
{
    *peers = (struct peers){
        .loop = loop,
        .body_limit = body_limit,
        .timeout_ms = timeout_ms,
        .ready = ready,
        .context = context,
        .memory_max = MEMORY_MAX + 2 * body_limit,
    };
    TAILQ_INIT(&peers->list);
}

static void handle_events(void *context, uint32_t events)
{
    struct peer *peer = context;

    peer->table->ready(peer, events);
}

void peers_add(struct peers *peers, int descriptor)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (peer != NULL) {
        peer->descriptor = descriptor;
        peer->handler = (struct loop_handler){.ready = handle_events, .context = peer};
        peer->table = peers;
        peer->is_watched = loop_watch(peers->loop, descriptor, EPOLLIN, &peer->handler);
    }
    if (peer == NULL || !peer->is_watched) {
        /* LCOV_EXCL_START: out of memory or descriptors (exhaustion_test, limits_test) */
        log_error("unable to add a connection: %s", peer == NULL ? "out of memory" : strerror(errno));
        free(peer);
        close(descriptor);
        return;
        /* LCOV_EXCL_STOP */
    }
    parser_init(&peer->parser, peers->body_limit);
    TAILQ_INSERT_TAIL(&peers->list, peer, link);
    peers->count[PEER_IDLE]++;
}

/* ---- States ---- */

static void count_memory(struct peer *peer, size_t memory)
{
    peer->table->memory = peer->table->memory - peer->memory + memory;
    peer->memory = memory;
}

static void set_state(struct peer *peer, enum peer_state state)
{
    struct peers *peers = peer->table;

    peer->last_read_ms = clock_now_ms();
    if (peers_due_ms(peers) == LOOP_NEVER) {
        peers->check_at_ms = peer->last_read_ms + CHECK_EVERY_MS;
    }
    count_memory(peer, 0);
    peers->count[peer->state]--;
    peers->count[state]++;
    peer->state = state;
    TAILQ_REMOVE(&peers->list, peer, link);
    TAILQ_INSERT_TAIL(&peers->list, peer, link);
}

/* Whether it has ended its request, if early: it is responded to once it is shut down. */
static bool has_ended_early(const struct peer *peer)
{
    return peer->state == PEER_READING && peer->parser.has_ended_early;
}

static void shut_down(struct peer *peer)
{
    shutdown(peer->descriptor, has_ended_early(peer) ? SHUT_RD : SHUT_RDWR);
    set_state(peer, PEER_SHUT_DOWN);
}

/* The one that has been longest in that state, with so much memory at least; NULL: there is none. */
static struct peer *find_oldest(const struct peers *peers, enum peer_state state, size_t memory)
{
    struct peer *peer;

    TAILQ_FOREACH(peer, &peers->list, link)
    {
        if (peer->state == state && peer->memory >= memory) {
            break;
        }
    }
    return peer;
}

static void note_progress(struct peer *peer)
{
    enum peer_state state = parser_is_idle(&peer->parser) ? PEER_IDLE : PEER_READING;
    const struct peers *peers = peer->table;
    struct peer *oldest;
    char name[PEER_NAME_SIZE];

    if (peer->state != state) {
        set_state(peer, state);
    }
    peer->last_read_ms = clock_now_ms();
    count_memory(peer, state == PEER_READING ? parser_memory(&peer->parser) : 0);
    while (peers->memory > peers->memory_max && (oldest = find_oldest(peers, PEER_READING, 1)) != NULL) {
        peer_write_name(oldest, name);
        log_error("incomplete requests hold %zu bytes, over the limit of %zu: closed the oldest, from %s",
                  peers->memory, peers->memory_max, name);
        shut_down(oldest);
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
static void discard(struct peer *peer)
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
            peer_close(peer);
            return;
        }
    }
}

bool peer_read(struct peer *peer)
{
    char name[PEER_NAME_SIZE];

    if (peer->state == PEER_LINGERING) {
        discard(peer);
        return false;
    }
    switch (parse(peer)) {
    case PARSER_COMPLETE:
        set_state(peer, PEER_WAITING);
        return true;
    case PARSER_INCOMPLETE:
        if (peer->state != PEER_SHUT_DOWN) {
            note_progress(peer);
        }
        break;
    case PARSER_ERROR:
        if (peer->parser.error != NULL) {
            peer_write_name(peer, name);
            log_error("closed a connection from %s: FastCGI protocol error: %s", name, peer->parser.error);
        }
        if (peer->parser.has_responded) {
            peer_linger(peer);
        } else {
            peer_close(peer);
        }
        break;
    }
    return false;
}

void peer_ignore(struct peer *peer, uint32_t events)
{
    peer->hung_up = (events & (EPOLLHUP | EPOLLERR)) != 0;
    loop_unwatch(peer->table->loop, peer->descriptor);
    peer->is_watched = false;
}

/* Prepares for the next request, or for what is discarded, and watches events again, which may have been
 * ignored. Closes the connection if there is no memory for that. */
static void read_again(struct peer *peer, enum peer_state state)
{
    parser_next(&peer->parser);
    set_state(peer, state);
    peer->is_watched =
        peer->is_watched || loop_watch(peer->table->loop, peer->descriptor, EPOLLIN, &peer->handler);
    if (!peer->is_watched) {
        /* LCOV_EXCL_START: out of memory or descriptors (exhaustion_test, limits_test) */
        log_error("unable to watch a connection: %s", strerror(errno));
        peer_close(peer);
        /* LCOV_EXCL_STOP */
    }
}

void peer_next(struct peer *peer)
{
    read_again(peer, PEER_IDLE);
}

void peer_linger(struct peer *peer)
{
    shutdown(peer->descriptor, SHUT_WR);
    peer->linger_until_ms = clock_now_ms() + LINGER_MS;
    read_again(peer, PEER_LINGERING);
}

void peer_close(struct peer *peer)
{
    count_memory(peer, 0);
    peer->table->count[peer->state]--;
    TAILQ_REMOVE(&peer->table->list, peer, link);
    close(peer->descriptor);
    parser_free(&peer->parser);
    free(peer);
}

static void close_all_but(struct peers *peers, enum peer_state one, enum peer_state other)
{
    struct peer *peer, *next;

    for (peer = TAILQ_FIRST(&peers->list); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (peer->state != one && peer->state != other) {
            peer_close(peer);
        }
    }
}

void peers_stop(struct peers *peers)
{
    close_all_but(peers, PEER_WAITING, PEER_LINGERING);
}

void peers_free(struct peers *peers)
{
    close_all_but(peers, PEER_STATES, PEER_STATES);
}

/* ---- Time ---- */

int64_t peers_due_ms(const struct peers *peers)
{
    return peers->count[PEER_READING] + peers->count[PEER_LINGERING] > 0 ? peers->check_at_ms : LOOP_NEVER;
}

static bool has_timed_out(const struct peer *peer, int64_t now_ms)
{
    int64_t silence_ms = now_ms - peer->last_read_ms;

    if (peer->state == PEER_LINGERING) {
        return silence_ms > LINGER_SILENCE_MS || now_ms > peer->linger_until_ms;
    }
    return peer->state == PEER_READING &&
           silence_ms > (peer->parser.has_ended_early ? EARLY_END_MS : peer->table->timeout_ms);
}

void peers_expire(struct peers *peers)
{
    int64_t now_ms = clock_now_ms();
    struct peer *peer, *next;
    size_t timed_out = 0;
    char name[PEER_NAME_SIZE]; /* of the first */

    if (peers_due_ms(peers) > now_ms) {
        return;
    }
    peers->check_at_ms = now_ms + CHECK_EVERY_MS;
    for (peer = TAILQ_FIRST(&peers->list); peer != NULL; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (has_timed_out(peer, now_ms)) {
            if (peer->state == PEER_READING && !has_ended_early(peer) && timed_out++ == 0) {
                peer_write_name(peer, name);
            }
            shut_down(peer);
        }
    }
    if (timed_out > 0) {
        log_error("%zu incomplete requests timed out: nothing came for %d ms; the first is from %s",
                  timed_out, peers->timeout_ms, name);
    }
}

void peers_free_descriptor(struct peers *peers)
{
    static const enum peer_state order[] = {PEER_LINGERING, PEER_IDLE, PEER_READING};

    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        struct peer *peer = find_oldest(peers, order[i], 0);

        if (peer != NULL) {
            shut_down(peer);
            return;
        }
    }
}
