/* A thread that opens connections to the database. */
#include "store/connector.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    STACK_BYTES = 1024 * 1024, /* name resolution and TLS happen on it */
    STOP_MS = 3000,            /* for the attempt that is under way at a stop */
};

struct job {
    struct connection *connection;
    int64_t deadline_ms;
};

struct connector {
    pthread_t thread;
    int event; /* eventfd(2): how many were opened */

    pthread_mutex_t mutex; /* guards what follows; never held while a connection is opened */
    pthread_cond_t wakes;  /* the thread: there is a job, or it is to stop */
    pthread_cond_t ended;  /* whoever stops it */
    struct job job;        /* connection is NULL where there is none */
    struct connection *opened;
    bool stopping;
    bool has_ended;
    void (*end)(void *context); /* the thread's to call: nobody waits for it any more */
    void *context;
};

static void connector_free(struct connector *connector)
{
    pthread_cond_destroy(&connector->ended);
    pthread_cond_destroy(&connector->wakes);
    pthread_mutex_destroy(&connector->mutex);
    if (connector->event >= 0) {
        close(connector->event);
    }
    free(connector);
}

static void hand_over(struct connector *connector, struct connection *connection)
{
    static const uint64_t one = 1;
    ssize_t written;

    connection->next = connector->opened;
    connector->opened = connection;
    written = write(connector->event, &one, sizeof one);
    (void)written; /* eventfd(2): fails only when the counter is full, and then it is readable */
}

/* Opens what is asked for, until the connector stops; the caller holds the mutex, which is released
 * meanwhile. */
static void work(struct connector *connector)
{
    while (!connector->stopping) {
        struct job job = connector->job;

        connector->job.connection = NULL;
        if (job.connection == NULL) {
            pthread_cond_wait(&connector->wakes, &connector->mutex);
            continue;
        }
        pthread_mutex_unlock(&connector->mutex);
        connection_open(job.connection, job.deadline_ms);
        pthread_mutex_lock(&connector->mutex);
        hand_over(connector, job.connection);
    }
}

static void *run(void *argument)
{
    struct connector *connector = argument;
    void (*end)(void *context), *context;

    pthread_mutex_lock(&connector->mutex);
    work(connector);
    connector->has_ended = true;
    end = connector->end;
    context = connector->context;
    pthread_cond_signal(&connector->ended);
    pthread_mutex_unlock(&connector->mutex);
    if (end != NULL) {
        end(context);
        connector_free(connector);
    }
    return NULL;
}

static int start_thread(struct connector *connector)
{
    pthread_attr_t attributes;
    int failure = pthread_attr_init(&attributes);

    if (failure == 0) {
        failure = pthread_attr_setstacksize(&attributes, STACK_BYTES);
        failure = failure != 0 ? failure : pthread_create(&connector->thread, &attributes, run, connector);
        pthread_attr_destroy(&attributes);
    }
    return failure;
}

struct connector *connector_start(void)
{
    struct connector *connector = calloc(1, sizeof *connector);
    pthread_condattr_t monotonic;
    int failure;

    if (connector == NULL) {
        log_error("unable to start the connector: out of memory");
        return NULL;
    }
    pthread_mutex_init(&connector->mutex, NULL); /* these cannot fail on Linux */
    pthread_cond_init(&connector->wakes, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&connector->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    connector->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    failure = connector->event < 0 ? errno : start_thread(connector);
    if (failure != 0) {
        log_error("unable to start the connector: %s", strerror(failure));
        connector_free(connector);
        return NULL;
    }
    return connector;
}

int connector_event(const struct connector *connector)
{
    return connector->event;
}

void connector_open(struct connector *connector, struct connection *connection, int64_t deadline_ms)
{
    connection->state = CONNECTION_OPENING;
    pthread_mutex_lock(&connector->mutex);
    connector->job = (struct job){.connection = connection, .deadline_ms = deadline_ms};
    pthread_cond_signal(&connector->wakes);
    pthread_mutex_unlock(&connector->mutex);
}

struct connection *connector_take_opened(struct connector *connector)
{
    struct connection *connection;
    uint64_t count;
    ssize_t got;

    pthread_mutex_lock(&connector->mutex);
    connection = connector->opened;
    if (connection != NULL) {
        connector->opened = connection->next;
    }
    if (connector->opened == NULL) {
        got = read(connector->event, &count, sizeof count);
        (void)got; /* it is readable no more, or was not */
    }
    pthread_mutex_unlock(&connector->mutex);
    return connection;
}

void connector_stop(struct connector *connector, void (*end)(void *context), void *context)
{
    const struct timespec until = clock_timespec(clock_now_ms() + STOP_MS);
    bool is_late = false, has_ended;

    pthread_mutex_lock(&connector->mutex);
    connector->stopping = true;
    pthread_cond_signal(&connector->wakes);
    while (!connector->has_ended && !is_late) {
        is_late = pthread_cond_timedwait(&connector->ended, &connector->mutex, &until) != 0;
    }
    has_ended = connector->has_ended;
    if (!has_ended) {
        connector->end = end;
        connector->context = context;
        pthread_detach(connector->thread);
    }
    pthread_mutex_unlock(&connector->mutex);
    if (has_ended) {
        pthread_join(connector->thread, NULL);
        connector_free(connector);
        end(context);
    }
}
