/* The thread that writes the log, so that an unread log stops nothing else.
 *
 * It is woken for the first line, and then writes at most every WRITE_EVERY_MS, all lines that have come at
 * once: so under load a line costs its caller no system call, and the thread a part of one. */
#include "base/log_writer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log_buffer.h"
#include "base/log_target.h"
#include "base/metrics.h"

enum {
    WRITE_EVERY_MS = 20,
    STOP_MS = 1000,
    STACK_BYTES = 256 * 1024,
};

/* What the thread waits for. */
enum awaited { NOTHING, ANY_LINE, HALF_FULL };

static struct {
    log_format_dropped *format_dropped;
    bool is_running; /* set before there is a second thread, and never unset */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows; never held across a write */
    pthread_cond_t lines_or_stop, end;
    struct log_buffer buffer;
    enum awaited awaited;
    bool has_ended;
    /* not guarded */
    atomic_bool stopping;
    atomic_uint_fast64_t unwritten; /* lines of the batch in hand */
} self = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* True where the time has come first, and not the signal. */
static bool wait_until(pthread_cond_t *condition, int64_t at_ms)
{
    struct timespec at = clock_timespec(at_ms);

    return pthread_cond_timedwait(condition, &self.mutex, &at) == ETIMEDOUT;
}

static uint64_t count_lines(const char *text, size_t len)
{
    uint64_t lines = 0;

    for (const char *at = text; (at = memchr(at, '\n', len - (size_t)(at - text))) != NULL; at++) {
        lines++;
    }
    return lines;
}

/* Waits for room as long as the process runs; false where it ends before there is any. */
static bool write_all(const char *text, size_t len)
{
    while (len > 0) {
        size_t written = log_target_write(text, len);

        if (written == 0 && self.stopping) {
            return false;
        }
        atomic_fetch_sub(&self.unwritten, count_lines(text, written));
        text += written;
        len -= written;
    }
    return true;
}

static bool write_batch(const struct log_batch *batch)
{
    char line[LOG_LINE_MAX_BYTES];

    self.unwritten = batch->lines;
    if (!write_all(batch->text, batch->len)) {
        return false;
    }
    self.unwritten = batch->dropped > 0; /* the line about them */
    return batch->dropped == 0 || write_all(line, self.format_dropped(batch->dropped, line));
}

/* The caller holds the mutex. */
static void wait_for_lines(void)
{
    while (log_buffer_is_empty(&self.buffer) && !self.stopping) {
        self.awaited = ANY_LINE;
        pthread_cond_wait(&self.lines_or_stop, &self.mutex);
    }
    self.awaited = NOTHING;
}

/* Lets lines collect, unless they are many already. The caller holds the mutex. */
static void wait_while_filling(void)
{
    int64_t until_ms = clock_now_ms() + WRITE_EVERY_MS;
    bool is_time = false;

    while (!is_time && !log_buffer_is_half_full(&self.buffer) && !self.stopping) {
        self.awaited = HALF_FULL;
        is_time = wait_until(&self.lines_or_stop, until_ms);
    }
    self.awaited = NOTHING;
}

static void *run(void *unused)
{
    bool ok = true;

    (void)unused;
    pthread_mutex_lock(&self.mutex);
    while (ok) {
        struct log_batch batch;

        wait_for_lines();
        if (log_buffer_is_empty(&self.buffer)) {
            break; /* at the process's end */
        }
        batch = log_buffer_swap(&self.buffer);
        pthread_mutex_unlock(&self.mutex);
        ok = write_batch(&batch);
        pthread_mutex_lock(&self.mutex);
        wait_while_filling();
    }
    self.has_ended = true;
    pthread_cond_signal(&self.end);
    pthread_mutex_unlock(&self.mutex);
    return NULL;
}

/* At the process's end. A thread that is stuck in a write ends with the process. */
static void stop_writer(void)
{
    int64_t until_ms = clock_now_ms() + STOP_MS;
    bool has_ended;
    uint64_t lost;

    pthread_mutex_lock(&self.mutex);
    self.stopping = true;
    pthread_cond_signal(&self.lines_or_stop);
    while (!self.has_ended && !wait_until(&self.end, until_ms)) {
    }
    has_ended = self.has_ended;
    lost = self.unwritten + self.buffer.lines;
    pthread_mutex_unlock(&self.mutex);
    metrics_count_many(METRICS_LOG_LINES_DROPPED, lost);
    if (has_ended) {
        pthread_join(self.thread, NULL);
    }
}

/* Waits are timed by a clock that is never set. */
static void set_up_conditions(void)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&self.lines_or_stop, &attributes);
    pthread_cond_init(&self.end, &attributes);
    pthread_condattr_destroy(&attributes);
}

/* It takes no signals: those are for who waits for them. */
static int start_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&self.thread, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error;
}

bool log_writer_start(log_format_dropped *format_dropped)
{
    int error;

    if (!log_buffer_init(&self.buffer)) {
        return false;
    }
    set_up_conditions();
    self.format_dropped = format_dropped;
    error = start_thread();
    if (error != 0) {
        log_buffer_free(&self.buffer);
        errno = error;
        return false;
    }
    atexit(stop_writer);
    self.is_running = true;
    return true;
}

bool log_writer_append(const char *line, size_t len)
{
    bool is_awaited;

    if (!self.is_running) {
        return false;
    }
    pthread_mutex_lock(&self.mutex);
    if (!log_buffer_append(&self.buffer, line, len)) {
        metrics_count(METRICS_LOG_LINES_DROPPED);
    }
    is_awaited =
        self.awaited == ANY_LINE || (self.awaited == HALF_FULL && log_buffer_is_half_full(&self.buffer));
    if (is_awaited) {
        self.awaited = NOTHING; /* once is enough */
    }
    pthread_mutex_unlock(&self.mutex);
    if (is_awaited) {
        pthread_cond_signal(&self.lines_or_stop);
    }
    return true;
}
