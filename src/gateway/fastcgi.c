/* FastCGI through libfcgi: threads that each take a request from whichever connection has one, and submit it
 * to the store. The answer goes out from the thread that brings what became of it.
 *
 * Connections are accepted and read here. libfcgi gets a request once it is there as a whole, said anew by
 * the guard, from a file in memory; then it is lent the connection, to write the answer to. Its own accept
 * cannot be ended without cutting a request short, gives a silent connection two seconds of a thread (or, on
 * TCP, all of them), and takes EMFILE for a reason to exit; its reading trusts what a peer sends, and waits
 * for it. docs/architecture.md has the list of its traps. */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/exchange.h"
#include "gateway/gateway.h"
#include "gateway/intake.h"
#include "store/store.h"

enum {
    LISTENER = 0,           /* FCGI_LISTENSOCK_FILENO */
    SEND_TIMEOUT_US = 1,    /* for the web server to take an answer: none, for a socket that was read has room
                               for one, and whoever writes it has others to answer */
    DRAIN_MS = 2000,        /* after a stop, at most: for what has arrived already */
    DRAIN_LOOK_MS = 10,     /* from one look whether something has to the next */
    DRAIN_QUIET_LOOKS = 10, /* in a row, behind which nothing more will */
    HEAD_KEEP_BYTES = 8 * 1024,
    HEAD_MAX = 2 * GUARD_PARAMS_MAX,
    ANSWER_MAX = 64 * 1024,
    ROOM_BYTES = 24 * 1024,   /* libfcgi's streams take 17 KiB; variables come on top */
    STACK_BYTES = 512 * 1024, /* libpq connects on it: name resolution, TLS */
};

/* What an event is about: one of these, or a connection. */
static char listener_event, stop_event, timer_event;

struct server {
    const struct settings *settings;
    struct store *store;
    struct intake intake;
    int epoll; /* the listener, the timer and connections, each of which wakes one thread; and the stop event
                */
    int stop_event; /* readable, and so waking every thread, once the server is to stop */
    atomic_bool stopping;
    atomic_int in_hand; /* requests that have been read and not answered */
};

/* One request thread and what it keeps between requests. */
struct worker {
    struct server *server;
    pthread_t thread;
    int desk;           /* a file in memory, on which libfcgi finds a request's head */
    struct buffer head; /* what is put there */
    struct buffer room; /* memory that is kept for libfcgi */
};

/* A request in hand. */
struct call {
    struct server *server;
    struct connection *connection;
    bool keep; /* the connection, for another request */
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

/* Lets the next event of a descriptor wake one thread, once. */
static bool watch(const struct server *server, int descriptor, void *subject, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = subject};

    return epoll_ctl(server->epoll, operation, descriptor, &event) == 0;
}

/* Has a connection wait for its next bytes; it is not this thread's any more. */
static void await_bytes(struct server *server, struct connection *connection, int operation)
{
    int descriptor = connection->descriptor;

    intake_let_go(connection);
    if (!watch(server, descriptor, connection, operation)) {
        log_error("unable to watch a connection: %s", strerror(errno));
        intake_drop(&server->intake, connection);
    }
}

/* Has a connection go that has had its answer, once the peer has that. */
static void end_connection(struct server *server, struct connection *connection)
{
    intake_linger(&server->intake, connection);
    await_bytes(server, connection, EPOLL_CTL_MOD);
}

/* Answers the call, and ends its connection or has it wait for another. */
static void answer(void *context)
{
    struct call *call = context;
    struct server *server = call->server;
    struct connection *connection = call->connection;
    struct buffer written;
    struct exchange_answer reply;
    bool keep;

    buffer_init(&written, ANSWER_MAX);
    exchange_end(&call->exchange, &written, &reply);
    (void)FCGX_PutStr(reply.text.data, (int)reply.text.len, call->request.out);
    buffer_free(&written);
    FCGX_Finish_r(&call->request); /* closes the connection where the answer could not be written */
    connection->descriptor = call->request.ipcFd;
    keep = call->keep;
    free(call);
    if (connection->descriptor < 0) {
        intake_drop(&server->intake, connection);
    } else if (keep) {
        await_bytes(server, connection, EPOLL_CTL_MOD);
    } else {
        end_connection(server, connection);
    }
    (void)atomic_fetch_sub(&server->in_hand, 1);
}

static bool set_up_desk(struct worker *worker)
{
    worker->desk = memfd_create("request", MFD_CLOEXEC);
    return worker->desk >= 0;
}

/* Puts a request's head where libfcgi reads it. What an earlier one left behind it is never read: it ends
 * where it says that it ends. */
static bool put_on_desk(struct worker *worker, const struct guard *guard)
{
    buffer_reset(&worker->head, HEAD_KEEP_BYTES);
    guard_write_head(guard, &worker->head);
    return !worker->head.failed && (worker->desk >= 0 || set_up_desk(worker)) &&
           pwrite(worker->desk, worker->head.data, worker->head.len, 0) == (ssize_t)worker->head.len &&
           lseek(worker->desk, 0, SEEK_SET) == 0;
}

/* libfcgi ends the program where it gets no memory. So each thread keeps as much as a request takes, and lets
 * go of it right before: false where there is not so much. */
static bool make_room(struct worker *worker, size_t more)
{
    bool is_there;

    if (worker->room.failed) {
        buffer_free(&worker->room);
    }
    is_there = buffer_reserve(&worker->room, ROOM_BYTES + more);
    if (is_there) {
        buffer_free(&worker->room);
    }
    return is_there;
}

static void keep_room(struct worker *worker)
{
    (void)buffer_reserve(&worker->room, ROOM_BYTES); /* else the next request asks for it */
}

/* Has libfcgi read the head of the connection's request, and lends it the connection for the answer. */
static bool begin_call(struct worker *worker, struct call *call)
{
    FCGX_Request *request = &call->request;
    bool accepted;

    /* -1: should libfcgi want to accept another connection, it fails and comes back. */
    if (FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0 ||
        !put_on_desk(worker, &call->connection->guard)) {
        return false;
    }
    if (!make_room(worker, call->connection->guard.params.len)) {
        errno = ENOMEM;
        return false;
    }
    request->ipcFd = worker->desk;
    (void)FCGX_Detach(request);  /* else a close waits up to two seconds for the web server's own */
    request->keepConnection = 1; /* FCGX_Accept_r begins with FCGX_Finish_r, which would close it */
    accepted = FCGX_Accept_r(request) == 0;
    keep_room(worker);
    if (!accepted) {
        worker->desk = -1; /* libfcgi has closed it */
        return false;
    }
    request->ipcFd = call->connection->descriptor; /* keepConnection stays: it is ended here, not there */
    call->keep = call->connection->guard.keep;
    return true;
}

/* Has a request that libfcgi has read answered. */
static void take_call(const struct worker *worker, struct call *call)
{
    struct server *server = worker->server;
    struct guard *guard = &call->connection->guard;
    bool asks = false;

    exchange_begin(&call->exchange, read_variable, &call->request);
    if (guard->params_total > GUARD_PARAMS_MAX) {
        exchange_refuse(&call->exchange);
    } else {
        request_set_body(&call->exchange.request,
                         request_look_up(read_variable, &call->request, CONTENT_LENGTH), &guard->body,
                         guard->body_total, server->settings->body_limit);
        asks = api_ask(&call->exchange);
    }
    guard_next(guard);
    if (asks) {
        call->ticket = (struct ticket){.item = &call->exchange.item, .done = answer, .context = call};
        store_submit(server->store, &call->ticket);
    } else {
        answer(call);
    }
}

static void serve_request(struct worker *worker, struct connection *connection)
{
    struct server *server = worker->server;
    struct call *call = malloc(sizeof *call);

    if (call != NULL) {
        *call = (struct call){.server = server, .connection = connection};
    }
    if (call == NULL || !begin_call(worker, call)) {
        log_error("unable to take a request: %s", call == NULL ? "out of memory" : strerror(errno));
        free(call);
        intake_drop(&server->intake, connection);
        return;
    }
    (void)atomic_fetch_add(&server->in_hand, 1);
    take_call(worker, call);
}

/* Takes what has come on a connection. */
static void serve_connection(struct worker *worker, struct connection *connection)
{
    struct server *server = worker->server;

    switch (intake_read(&server->intake, connection)) {
    case GUARD_MORE:
        await_bytes(server, connection, EPOLL_CTL_MOD);
        break;
    case GUARD_REQUEST:
        serve_request(worker, connection);
        break;
    case GUARD_BROKEN:
        if (connection->guard.is_refused) {
            end_connection(server, connection);
        } else {
            intake_drop(&server->intake, connection);
        }
        break;
    }
}

/* Has a new connection wait for its first request. */
static void take_in(struct server *server, int descriptor)
{
    static const struct timeval send = {.tv_usec = SEND_TIMEOUT_US};
    struct connection *connection = intake_add(&server->intake, descriptor);

    if (connection != NULL) {
        /* libfcgi writes without a time limit of its own. */
        (void)setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send);
        await_bytes(server, connection, EPOLL_CTL_ADD);
    }
}

/* Linux says that there is no descriptor left before it looks whether there is a connection. */
static bool is_connection_waiting(void)
{
    struct pollfd listener = {.fd = LISTENER, .events = POLLIN};

    return poll(&listener, 1, 0) > 0;
}

/* Accepts every connection that is there: one at a time, they would queue behind the kept ones' requests
 * again and again. */
static void accept_connections(struct server *server)
{
    int descriptor, failure;

    while ((descriptor = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        take_in(server, descriptor);
    }
    failure = errno;
    if ((failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM) &&
        is_connection_waiting()) {
        log_error("unable to accept a connection: %s", strerror(failure));
        intake_make_room(&server->intake);
        clock_sleep_ms(100); /* others may close theirs meanwhile */
    }
    (void)watch(server, LISTENER, &listener_event, EPOLL_CTL_MOD);
}

static void handle_event(struct worker *worker, void *subject)
{
    struct server *server = worker->server;

    if (subject == &listener_event) {
        accept_connections(server);
    } else if (subject == &timer_event) {
        intake_look(&server->intake);
        (void)watch(server, server->intake.timer, &timer_event, EPOLL_CTL_MOD);
    } else {
        serve_connection(worker, subject);
    }
}

/* Waits for something to do, and does it; false when there was nothing but the stop event. */
static bool handle_events(struct worker *worker, bool is_stopping)
{
    struct epoll_event events[2]; /* a second one only where the first may be the stop event */
    int count = epoll_wait(worker->server->epoll, events, is_stopping ? 2 : 1, is_stopping ? 0 : -1);
    bool did_something = false;

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr != &stop_event) {
            did_something = true;
            handle_event(worker, events[i].data.ptr);
        }
    }
    return did_something;
}

/* Serves what has arrived already, and what comes while that is served: the web server may have connected and
 * not sent its request yet. Under steady load that never ends, so there is a limit. Looks are counted, and
 * not the time, in which this thread may have had no processor to look. */
static void drain(struct worker *worker)
{
    int64_t limit_ms = clock_now_ms() + DRAIN_MS;
    int quiet_looks = 0;

    while (quiet_looks < DRAIN_QUIET_LOOKS && clock_now_ms() < limit_ms) {
        bool did_something = handle_events(worker, true);

        if (did_something || worker->server->in_hand > 0 || worker->server->intake.unfinished_count > 0) {
            quiet_looks = 0;
        } else {
            quiet_looks++;
        }
        if (!did_something) {
            clock_sleep_ms(DRAIN_LOOK_MS); /* epoll_wait would not wait: the stop event is there */
        }
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

    buffer_init(&worker->head, HEAD_MAX);
    buffer_init(&worker->room, HEAD_MAX);
    worker->server = server;
    if (!set_up_desk(worker)) {
        log_error("unable to start a request thread: no file in memory: %s", strerror(errno));
        return false;
    }
    failure = pthread_create(&worker->thread, attributes, serve, worker);
    if (failure != 0) {
        log_error("unable to start a request thread: %s", strerror(failure));
        (void)close(worker->desk);
    }
    return failure == 0;
}

static void join_worker(struct worker *worker)
{
    (void)pthread_join(worker->thread, NULL);
    buffer_free(&worker->head);
    buffer_free(&worker->room);
    if (worker->desk >= 0) {
        (void)close(worker->desk);
    }
}

static void request_stop(struct server *server)
{
    static const uint64_t one = 1;
    ssize_t written;

    server->stopping = true;
    written = write(server->stop_event, &one, sizeof one);
    (void)written; /* eventfd(2): fails only when the counter is full, and then it is readable */
}

static void await_stop(const struct server *server, const sigset_t *signals)
{
    int signal_number = 0;

    log_info("serving FastCGI with %d threads and %d database connections", server->settings->threads,
             server->settings->connections);
    (void)sigwait(signals, &signal_number);
    log_info("stopping: %s", strsignal(signal_number));
}

/* Connections are accepted from now on. Before, those that wait could take the descriptors that the threads
 * need. */
static bool open_to_connections(const struct server *server)
{
    bool ok = watch(server, LISTENER, &listener_event, EPOLL_CTL_ADD);

    if (!ok) {
        log_error("unable to start: %s", strerror(errno));
    }
    return ok;
}

/* Starts the threads, waits for a reason to stop, stops them. */
static bool run_workers(struct server *server, struct worker *workers, const sigset_t *signals)
{
    size_t wanted = (size_t)server->settings->threads, started = 0;
    pthread_attr_t attributes;
    bool ok;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    while (started < wanted && start_worker(&workers[started], server, &attributes)) {
        started++;
    }
    (void)pthread_attr_destroy(&attributes);
    ok = started == wanted && open_to_connections(server);
    if (ok) {
        await_stop(server, signals);
    }
    request_stop(server);
    for (size_t i = 0; i < started; i++) {
        join_worker(&workers[i]);
    }
    return ok;
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
    (void)sigaddset(signals, SIGXCPU); /* a soft limit that the web server set */
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
    struct epoll_event stop = {.events = EPOLLIN, .data.ptr = &stop_event};

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->stop_event = eventfd(0, EFD_CLOEXEC);
    return intake_open(&server->intake, server->settings->body_limit, server->settings->body_timeout_ms) &&
           server->epoll >= 0 && server->stop_event >= 0 && flags >= 0 &&
           fcntl(LISTENER, F_SETFL, flags | O_NONBLOCK) == 0 &&
           epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->stop_event, &stop) == 0 &&
           watch(server, server->intake.timer, &timer_event, EPOLL_CTL_ADD);
}

static void close_events(struct server *server)
{
    intake_close(&server->intake);
    if (server->epoll >= 0) {
        (void)close(server->epoll);
    }
    if (server->stop_event >= 0) {
        (void)close(server->stop_event);
    }
}

int gateway_serve_fastcgi(const struct settings *settings)
{
    struct server server = {.settings = settings, .epoll = -1, .stop_event = -1, .intake.timer = -1};
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
