/* Gathering requests from many connections at once. */
#include "gateway/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/request.h"

enum {
    EARLY_END_MS = 2000,          /* for the next bytes behind an early end of the body */
    LINGER_SILENCE_MS = 2000,     /* for the next bytes behind the answer */
    LINGER_MS = 30000,            /* behind the answer, altogether */
    HOLDS_MAX = 64 * 1024 * 1024, /* and one request more */
    CHUNK_BYTES = 32 * 1024,
    CHUNKS_AT_ONCE = 64, /* then others have their turn */
};

static bool set_timer(const struct intake *intake, bool on)
{
    const struct itimerspec times = {.it_value.tv_sec = on, .it_interval.tv_sec = on};

    return timerfd_settime(intake->timer, 0, &times, NULL) == 0;
}

bool intake_open(struct intake *intake, size_t body_limit, int timeout_ms)
{
    *intake = (struct intake){
        .body_limit = body_limit, .timeout_ms = timeout_ms, .holds_max = HOLDS_MAX + 2 * body_limit};
    LIST_INIT(&intake->connections);
    TAILQ_INIT(&intake->unfinished);
    (void)pthread_mutex_init(&intake->lock, NULL);
    intake->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    return intake->timer >= 0;
}

void intake_close(struct intake *intake)
{
    while (!LIST_EMPTY(&intake->connections)) {
        intake_drop(intake, LIST_FIRST(&intake->connections));
    }
    if (intake->timer >= 0) {
        (void)close(intake->timer);
    }
    (void)pthread_mutex_destroy(&intake->lock);
}

struct connection *intake_add(struct intake *intake, int descriptor)
{
    struct connection *connection = calloc(1, sizeof *connection);

    if (connection == NULL) {
        log_error("unable to take a connection in: out of memory");
        (void)close(descriptor);
        return NULL;
    }
    connection->descriptor = descriptor;
    guard_init(&connection->guard, intake->body_limit);
    (void)pthread_mutex_lock(&intake->lock);
    LIST_INSERT_HEAD(&intake->connections, connection, link);
    (void)pthread_mutex_unlock(&intake->lock);
    return connection;
}

/* ---- Those that are unfinished; all with the lock ---- */

static void begin_to_count(struct intake *intake, struct connection *connection)
{
    connection->is_unfinished = true;
    TAILQ_INSERT_TAIL(&intake->unfinished, connection, unfinished);
    intake->unfinished_count += connection->is_lingering ? 0 : 1;
    if (!intake->is_timer_on) {
        intake->is_timer_on = set_timer(intake, true);
    }
}

static void stop_counting(struct intake *intake, struct connection *connection)
{
    if (connection->is_unfinished) {
        connection->is_unfinished = false;
        TAILQ_REMOVE(&intake->unfinished, connection, unfinished);
        intake->holds -= connection->holds;
        connection->holds = 0;
        intake->unfinished_count -= connection->is_lingering ? 0 : 1;
    }
}

/* Whether it has ended its request, if early: it is answered once it is given up. */
static bool is_waiting_for_answer(const struct connection *connection)
{
    return connection->has_ended_early && !connection->is_lingering;
}

/* Its end is an event like any other, so the thread that takes it drops the connection, or answers it: nobody
 * else may. */
static void give_up(struct intake *intake, struct connection *connection)
{
    int how = is_waiting_for_answer(connection) ? SHUT_RD : SHUT_RDWR;

    stop_counting(intake, connection);
    (void)shutdown(connection->descriptor, how);
}

/* The oldest that holds memory, which one that lingers does not. Call it while some is held. */
static struct connection *find_oldest_holder(const struct intake *intake)
{
    struct connection *connection;

    TAILQ_FOREACH(connection, &intake->unfinished, unfinished)
    {
        if (connection->holds > 0) {
            break;
        }
    }
    return connection;
}

static void note_progress(struct intake *intake, struct connection *connection)
{
    size_t holds = guard_holds(&connection->guard);

    if (!connection->is_unfinished) {
        begin_to_count(intake, connection);
    }
    connection->heard_ms = clock_now_ms();
    connection->has_ended_early = connection->guard.has_ended_early;
    intake->holds = intake->holds - connection->holds + holds;
    connection->holds = holds;
    while (intake->holds > intake->holds_max) {
        log_error("gave up the oldest unfinished request: all together hold %zu bytes", intake->holds);
        give_up(intake, find_oldest_holder(intake));
    }
}

/* ---- */

static void close_connection(const struct connection *connection)
{
    if (connection->descriptor >= 0) {
        (void)close(connection->descriptor);
    }
}

void intake_drop(struct intake *intake, struct connection *connection)
{
    (void)pthread_mutex_lock(&intake->lock);
    stop_counting(intake, connection);
    LIST_REMOVE(connection, link);
    (void)pthread_mutex_unlock(&intake->lock);
    close_connection(connection);
    guard_free(&connection->guard);
    free(connection);
}

/* Sends what the guard has to say; false where the peer has no room for it, which is for who never reads. */
static bool send_replies(struct connection *connection)
{
    struct buffer *replies = &connection->guard.replies;
    bool sent =
        !replies->failed && (replies->len == 0 || send(connection->descriptor, replies->data, replies->len,
                                                       MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)replies->len);

    buffer_reset(replies, 0);
    return sent;
}

/* Whether there is only nothing to read at the moment. */
static bool is_passing(ssize_t got)
{
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* Reads until there is a request, or nothing more to read. */
static enum guard_verdict gather(struct connection *connection)
{
    enum guard_verdict verdict = GUARD_MORE;
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE && verdict == GUARD_MORE; i++) {
        ssize_t got = recv(connection->descriptor, chunk, sizeof chunk, MSG_DONTWAIT);

        if (got <= 0) {
            return is_passing(got) ? GUARD_MORE : guard_end(&connection->guard);
        }
        verdict = guard_feed(&connection->guard, chunk, (size_t)got);
        if (!send_replies(connection)) {
            return GUARD_BROKEN;
        }
    }
    return verdict;
}

/* Throws away what has come; false where no more will, or too much has. */
static bool discard(struct connection *connection)
{
    char chunk[CHUNK_BYTES];

    for (int i = 0; i < CHUNKS_AT_ONCE; i++) {
        ssize_t got = recv(connection->descriptor, chunk, sizeof chunk, MSG_DONTWAIT);

        if (got <= 0) {
            return is_passing(got);
        }
        connection->lingered += (size_t)got;
        if (connection->lingered > BODY_DRAIN_MAX) {
            return false;
        }
    }
    return true;
}

/* epoll hands a connection on in order by itself, but neither the language nor a sanitizer knows that. */
void intake_let_go(struct connection *connection)
{
    atomic_store_explicit(&connection->is_free, true, memory_order_release);
}

static void take(struct connection *connection)
{
    (void)atomic_load_explicit(&connection->is_free, memory_order_acquire);
    atomic_store_explicit(&connection->is_free, false, memory_order_relaxed);
}

void intake_linger(struct intake *intake, struct connection *connection)
{
    (void)shutdown(connection->descriptor, SHUT_WR);
    guard_next(&connection->guard);
    (void)pthread_mutex_lock(&intake->lock);
    stop_counting(intake, connection);
    connection->is_lingering = true;
    begin_to_count(intake, connection);
    connection->heard_ms = clock_now_ms();
    connection->linger_until_ms = connection->heard_ms + LINGER_MS;
    (void)pthread_mutex_unlock(&intake->lock);
}

/* What has come on a connection that lingers. */
static enum guard_verdict read_lingering(struct intake *intake, struct connection *connection)
{
    if (!discard(connection)) {
        return GUARD_BROKEN;
    }
    (void)pthread_mutex_lock(&intake->lock);
    connection->heard_ms = clock_now_ms();
    (void)pthread_mutex_unlock(&intake->lock);
    return GUARD_MORE;
}

enum guard_verdict intake_read(struct intake *intake, struct connection *connection)
{
    enum guard_verdict verdict;
    const char *fault;
    bool is_unfinished;

    take(connection);
    if (connection->is_lingering) {
        return read_lingering(intake, connection);
    }
    verdict = gather(connection);
    fault = connection->guard.fault;
    if (verdict == GUARD_BROKEN && fault != NULL) {
        log_error("closed a connection of the web server's: %s", fault);
    }
    is_unfinished = verdict == GUARD_MORE && !guard_is_idle(&connection->guard);
    if (!is_unfinished && !connection->was_counted) {
        return verdict; /* it came in one piece, or there is nothing yet */
    }
    connection->was_counted = is_unfinished;
    (void)pthread_mutex_lock(&intake->lock);
    if (is_unfinished) {
        note_progress(intake, connection);
    } else {
        stop_counting(intake, connection);
    }
    (void)pthread_mutex_unlock(&intake->lock);
    return verdict;
}

/* Whether it is waited for no longer. */
static bool is_over(const struct intake *intake, const struct connection *connection, int64_t now_ms)
{
    int64_t silence_ms = now_ms - connection->heard_ms;

    if (connection->is_lingering) {
        return silence_ms > LINGER_SILENCE_MS || now_ms > connection->linger_until_ms;
    }
    return silence_ms > (connection->has_ended_early ? EARLY_END_MS : intake->timeout_ms);
}

void intake_look(struct intake *intake)
{
    int64_t now_ms = clock_now_ms();
    struct connection *connection, *next;
    uint64_t ticks;
    ssize_t got = read(intake->timer, &ticks, sizeof ticks);
    size_t given_up = 0;

    (void)got; /* the timer is readable no more, or was not */
    (void)pthread_mutex_lock(&intake->lock);
    for (connection = TAILQ_FIRST(&intake->unfinished); connection != NULL; connection = next) {
        next = TAILQ_NEXT(connection, unfinished);
        if (is_over(intake, connection, now_ms)) {
            given_up += is_waiting_for_answer(connection) || connection->is_lingering ? 0 : 1;
            give_up(intake, connection);
        }
    }
    if (TAILQ_EMPTY(&intake->unfinished)) { /* not before: most are soon followed */
        intake->is_timer_on = !set_timer(intake, false);
    }
    (void)pthread_mutex_unlock(&intake->lock);
    if (given_up > 0) {
        log_error("gave up %zu requests that did not go on for %d ms", given_up, intake->timeout_ms);
    }
}

void intake_make_room(struct intake *intake)
{
    struct connection *connection;

    (void)pthread_mutex_lock(&intake->lock);
    TAILQ_FOREACH(connection, &intake->unfinished, unfinished)
    {
        if (connection->is_lingering) {
            break;
        }
    }
    if (connection == NULL) {
        connection = TAILQ_FIRST(&intake->unfinished);
    }
    if (connection != NULL) {
        give_up(intake, connection);
    }
    (void)pthread_mutex_unlock(&intake->lock);
}
