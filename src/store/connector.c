/* A thread that opens connections to the database. */
#include "store/connector.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    STACK_BYTES = 1024 * 1024, /* name resolution and TLS happen on it */
    STOP_MS = 3000,            /* for the attempt that is under way at a stop */
};

/* What one thread wrote before an event, the other reads after it; so nothing is locked. */
struct connector {
    pthread_t thread;
    int requested; /* eventfd(2): there is a connection to open, or the thread is to stop */
    int opened;    /* eventfd(2): it was opened, or could not be; or the thread has stopped */
    struct connection *connection;
    int64_t deadline_ms;
    atomic_bool is_stopping;
    void (*end)(void *context);
    void *context;
    atomic_bool is_released; /* by one of the two threads: the other one frees it */
};

static void connector_free(struct connector *connector)
{
    if (connector->requested >= 0) {
        close(connector->requested);
    }
    if (connector->opened >= 0) {
        close(connector->opened);
    }
    free(connector);
}

static void *run(void *argument)
{
    struct connector *connector = argument;
    eventfd_t count;

    while (!atomic_load(&connector->is_stopping)) {
        if (eventfd_read(connector->requested, &count) == 0 && !atomic_load(&connector->is_stopping)) {
            connection_open(connector->connection, connector->deadline_ms);
            eventfd_write(connector->opened, 1);
        }
    }
    if (atomic_exchange(&connector->is_released, true)) {
        connector->end(connector->context);
        connector_free(connector);
    } else {
        eventfd_write(connector->opened, 1);
    }
    return NULL;
}

/* 0, or an errno. */
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
    int failure;

    if (connector == NULL) {
        return NULL; /* LCOV_EXCL_LINE: out of memory, threads or descriptors (limits_test) */
    }
    connector->requested = eventfd(0, EFD_CLOEXEC);
    connector->opened = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    failure = connector->requested < 0 || connector->opened < 0 ? errno : start_thread(connector);
    if (failure != 0) {
        /* LCOV_EXCL_START: out of memory, threads or descriptors (limits_test) */
        connector_free(connector);
        errno = failure;
        return NULL;
        /* LCOV_EXCL_STOP */
    }
    return connector;
}

int connector_event(const struct connector *connector)
{
    return connector->opened;
}

void connector_open(struct connector *connector, struct connection *connection, int64_t deadline_ms)
{
    connection->state = CONNECTION_OPENING;
    connector->connection = connection;
    connector->deadline_ms = deadline_ms;
    eventfd_write(connector->requested, 1);
}

struct connection *connector_take_opened(struct connector *connector)
{
    eventfd_t count;

    return eventfd_read(connector->opened, &count) == 0 ? connector->connection : NULL;
}

void connector_stop(struct connector *connector, void (*end)(void *context), void *context)
{
    int64_t deadline_ms = clock_now_ms() + STOP_MS;
    pthread_t thread = connector->thread;
    eventfd_t count;

    connector->end = end;
    connector->context = context;
    atomic_store(&connector->is_stopping, true);
    eventfd_write(connector->requested, 1);
    while (!atomic_load(&connector->is_released) && clock_poll(connector->opened, POLLIN, deadline_ms)) {
        eventfd_read(connector->opened, &count);
    }
    if (atomic_exchange(&connector->is_released, true)) {
        pthread_join(thread, NULL);
        connector_free(connector);
        end(context);
    } else {
        pthread_detach(thread);
    }
}
