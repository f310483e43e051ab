/* FastCGI through libfcgi: threads that each read a request from whichever connection has one, and submit it
 * to the store. The answer goes out from the thread that brings what became of it.
 *
 * Connections are accepted here and lent to libfcgi for the length of a request. Its own accept cannot be
 * ended without cutting a request short, gives a silent connection two seconds of a thread (or, on TCP, all
 * of them), and takes EMFILE for a reason to exit; and a connection that the web server keeps open would hold
 * a thread. docs/architecture.md has the list of its traps. */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "store/store.h"

enum {
    LISTENER = 0,           /* FCGI_LISTENSOCK_FILENO */
    RECEIVE_TIMEOUT_S = 10, /* for the web server to send the next bytes */
    SEND_TIMEOUT_US = 1,  /* for it to take an answer: none, for a socket that was read has room for one, and
                             whoever  writes it has others to answer */
    DRAIN_MS = 2000,      /* after a stop, at most: for what has arrived already */
    DRAIN_QUIET_MS = 100, /* less, once nothing has arrived for that long */
    DRAIN_LOOK_MS = 10,
    BUFFER_KEEP_BYTES = 64 * 1024,
    ANSWER_MAX = 64 * 1024,
    STACK_BYTES = 512 * 1024, /* libpq connects on it: name resolution, TLS */
};

struct server {
    const struct settings *settings;
    struct store *store;
    int epoll; /* the listener and idle connections, each of which wakes one thread; and the stop event */
    int stop_event; /* readable, and so waking every thread, once the server is to stop */
    atomic_bool stopping;
    atomic_int in_hand; /* requests that have been read and not answered */
};

/* One request thread and what it keeps between requests. */
struct worker {
    struct server *server;
    pthread_t thread;
    struct buffer body;
};

/* A request in hand. */
struct call {
    struct server *server;
    FCGX_Request request;
    struct exchange exchange;
    struct ticket ticket;
};

bool gateway_is_fastcgi(void)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    return getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

static const char *read_variable(void *context, const char *name)
{
    FCGX_Request *request = context;

    return FCGX_GetParam(name, request->envp);
}

static long read_stream(void *context, char *data, size_t len)
{
    FCGX_Request *request = context;
    int got = FCGX_GetStr(data, (int)len, request->in);

    return got == 0 && FCGX_GetError(request->in) != 0 ? -1 : got;
}

/* Lets the next event of a descriptor wake one thread, once. */
static bool watch(const struct server *server, int descriptor, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.fd = descriptor};

    return epoll_ctl(server->epoll, operation, descriptor, &event) == 0;
}

/* Answers the call, and closes its connection or has it wait for another. */
static void answer(void *context)
{
    struct call *call = context;
    struct server *server = call->server;
    struct buffer written;
    struct slice text;

    buffer_init(&written, ANSWER_MAX);
    exchange_end(&call->exchange, &written, &text);
    (void)FCGX_PutStr(text.data, (int)text.len, call->request.out);
    buffer_free(&written);
    FCGX_Finish_r(&call->request); /* closes the connection unless the web server asked to keep it */
    if (call->request.ipcFd >= 0 && watch(server, call->request.ipcFd, EPOLL_CTL_MOD)) {
        call->request.ipcFd = -1; /* it is not this thread's any more */
    }
    FCGX_Free(&call->request, call->request.ipcFd >= 0);
    free(call);
    (void)atomic_fetch_sub(&server->in_hand, 1);
}

/* Reads what libfcgi has found to be a request, and has it answered. */
static void take_call(struct worker *worker, struct call *call)
{
    struct server *server = worker->server;
    struct body_source source = {.read = read_stream,
                                 .context = &call->request,
                                 .content_length = FCGX_GetParam("CONTENT_LENGTH", call->request.envp),
                                 .ends_by_itself = true};
    bool asks, may_keep;

    (void)atomic_fetch_add(&server->in_hand, 1);
    buffer_reset(&worker->body, BUFFER_KEEP_BYTES);
    asks = exchange_begin(&call->exchange, server->settings->body_limit, read_variable, &call->request,
                          &source, &worker->body, &may_keep);
    if (!may_keep) {
        call->request.keepConnection = 0; /* what is left of the body must not be read as the next request */
    }
    if (asks) {
        call->ticket = (struct ticket){.item = &call->exchange.item, .done = answer, .context = call};
        store_submit(server->store, &call->ticket);
    } else {
        answer(call);
    }
}

/* Takes the request that waits on a connection. */
static void serve_connection(struct worker *worker, int connection)
{
    struct call *call = malloc(sizeof *call);

    /* -1: should libfcgi want to accept another connection, it fails and comes back. */
    if (call == NULL || FCGX_InitRequest(&call->request, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0) {
        log_error("unable to take a request: out of memory");
        (void)close(connection);
        free(call);
        return;
    }
    call->server = worker->server;
    call->request.ipcFd = connection;
    (void)FCGX_Detach(&call->request); /* else a close waits up to two seconds for the web server's own */
    call->request.keepConnection = 1;  /* FCGX_Accept_r begins with FCGX_Finish_r, which would close it */
    if (FCGX_Accept_r(&call->request) == 0) {
        take_call(worker, call);
    } else {
        FCGX_Free(&call->request, call->request.ipcFd >= 0);
        free(call);
    }
}

/* Has a new connection wait for its first request. */
static void take_in(const struct server *server, int connection)
{
    static const struct timeval receive = {.tv_sec = RECEIVE_TIMEOUT_S};
    static const struct timeval send = {.tv_usec = SEND_TIMEOUT_US};

    /* libfcgi reads and writes without a time limit of its own. */
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &receive, sizeof receive);
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send);
    if (!watch(server, connection, EPOLL_CTL_ADD)) {
        log_error("unable to watch a connection: %s", strerror(errno));
        (void)close(connection);
    }
}

/* Accepts every connection that is there: one at a time, they would queue behind the kept ones' requests
 * again and again. */
static void accept_connections(const struct server *server)
{
    int connection;

    while ((connection = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        take_in(server, connection);
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log_error("unable to accept a connection: %s", strerror(errno));
        clock_sleep_ms(100); /* others may close theirs meanwhile */
    }
    (void)watch(server, LISTENER, EPOLL_CTL_MOD);
}

/* Waits for something to do, and does it; false when there was nothing but the stop event. */
static bool handle_events(struct worker *worker, bool is_stopping)
{
    const struct server *server = worker->server;
    struct epoll_event events[2]; /* a second one only where the first may be the stop event */
    int count = epoll_wait(server->epoll, events, is_stopping ? 2 : 1, is_stopping ? 0 : -1);
    bool did_something = false;

    for (int i = 0; i < count; i++) {
        int descriptor = events[i].data.fd;

        if (descriptor == server->stop_event) {
            continue;
        }
        did_something = true;
        if (descriptor == LISTENER) {
            accept_connections(server);
        } else {
            serve_connection(worker, descriptor);
        }
    }
    return did_something;
}

/* Serves what has arrived already, and what comes while that is served: the web server may have connected and
 * not sent its request yet. Under steady load that never ends, so there is a limit. */
static void drain(struct worker *worker)
{
    int64_t now_ms = clock_now_ms(), limit_ms = now_ms + DRAIN_MS, quiet_since_ms = now_ms;

    while (now_ms < limit_ms && now_ms - quiet_since_ms < DRAIN_QUIET_MS) {
        bool did_something = handle_events(worker, true);

        if (did_something || worker->server->in_hand > 0) {
            quiet_since_ms = clock_now_ms();
        }
        if (!did_something) {
            clock_sleep_ms(DRAIN_LOOK_MS); /* epoll_wait would not wait: the stop event is there */
        }
        now_ms = clock_now_ms();
    }
}

static void *serve(void *argument)
{
    struct worker *worker = argument;

    while (!worker->server->stopping) {
        (void)handle_events(worker, false);
    }
    drain(worker);
    return NULL;
}

static bool start_worker(struct worker *worker, struct server *server, const pthread_attr_t *attributes)
{
    int failure;

    *worker = (struct worker){.server = server};
    buffer_init(&worker->body, server->settings->body_limit);
    failure = pthread_create(&worker->thread, attributes, serve, worker);
    if (failure != 0) {
        log_error("unable to start a request thread: %s", strerror(failure));
    }
    return failure == 0;
}

static void join_worker(struct worker *worker)
{
    (void)pthread_join(worker->thread, NULL);
    buffer_free(&worker->body);
}

static void request_stop(struct server *server)
{
    static const uint64_t one = 1;
    ssize_t written;

    server->stopping = true;
    written = write(server->stop_event, &one, sizeof one);
    (void)written; /* eventfd(2): fails only when the counter is full, and then it is readable */
}

/* Starts the threads, waits for a signal, stops them. */
static bool run_workers(struct server *server, struct worker *workers, const sigset_t *signals)
{
    size_t wanted = (size_t)server->settings->threads, started = 0;
    pthread_attr_t attributes;
    int signal_number = 0;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (started < wanted && start_worker(&workers[started], server, &attributes)) {
        started++;
    }
    (void)pthread_attr_destroy(&attributes);
    if (started == wanted) {
        log_info("serving FastCGI with %zu threads and %d database connections", started,
                 server->settings->connections);
        (void)sigwait(signals, &signal_number);
        log_info("stopping: %s", strsignal(signal_number));
    }
    request_stop(server);
    for (size_t i = 0; i < started; i++) {
        join_worker(&workers[i]);
    }
    return started == wanted;
}

/* Signals are waited for by the main thread and blocked in all others: one that arrived in libfcgi's read
 * would cut a request short. FCGX_Init installs handlers of its own, which therefore never run. */
static bool set_up_signals(sigset_t *signals)
{
    (void)sigemptyset(signals);
    (void)sigaddset(signals, SIGTERM);
    (void)sigaddset(signals, SIGINT);
    (void)sigaddset(signals, SIGHUP);
    (void)sigaddset(signals, SIGUSR1);
    return pthread_sigmask(SIG_BLOCK, signals, NULL) == 0 && FCGX_Init() == 0 &&
           signal(SIGPIPE, SIG_IGN) != SIG_ERR;
}

/* Each request in hand has a connection of its own, and the database needs descriptors too: as many as are
 * allowed. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The listener is O_NONBLOCK, because another process may have taken the connection. */
static bool set_up_events(struct server *server)
{
    int flags = fcntl(LISTENER, F_GETFL);
    struct epoll_event stop = {.events = EPOLLIN};

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->stop_event = eventfd(0, EFD_CLOEXEC);
    stop.data.fd = server->stop_event;
    return server->epoll >= 0 && server->stop_event >= 0 && flags >= 0 &&
           fcntl(LISTENER, F_SETFL, flags | O_NONBLOCK) == 0 &&
           epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->stop_event, &stop) == 0 &&
           watch(server, LISTENER, EPOLL_CTL_ADD);
}

static void close_events(const struct server *server)
{
    if (server->epoll >= 0) {
        (void)close(server->epoll);
    }
    if (server->stop_event >= 0) {
        (void)close(server->stop_event);
    }
}

int gateway_serve_fastcgi(const struct settings *settings)
{
    struct server server = {.settings = settings, .epoll = -1, .stop_event = -1};
    struct worker *workers = calloc((size_t)settings->threads, sizeof *workers);
    sigset_t signals;
    bool ok = false;

    raise_descriptor_limit();
    (void)mallopt(M_ARENA_MAX,
                  1); /* what one thread has read another answers and frees: arenas would only fill up */
    if (workers == NULL || !set_up_signals(&signals) || !set_up_events(&server)) {
        log_error("unable to start: %s", strerror(errno));
    } else if ((server.store = store_start(settings)) != NULL) {
        ok = run_workers(&server, workers, &signals);
        store_stop(server.store);
    }
    free(workers);
    close_events(&server);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
