/* FastCGI through libfcgi: threads that each accept a connection and answer its requests.
 *
 * The connection is accepted here and handed to libfcgi, not accepted by it: its accept cannot be ended
 * without cutting a request short, gives a silent connection two seconds of a thread (or, on TCP, all of
 * them), and takes EMFILE for a reason to exit. docs/architecture.md has the list of its traps. */
#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/exchange.h"
#include "gateway/gateway.h"

enum {
    LISTENER = 0,              /* FCGI_LISTENSOCK_FILENO */
    CONNECTION_TIMEOUT_S = 10, /* for the web server to send or take the next bytes */
    KEPT_IDLE_MS = 30000,      /* for the next request on a kept connection */
    DRAIN_MS = 2000,           /* after a stop: for what the kernel has accepted already */
    BUFFER_KEEP_BYTES = 64 * 1024,
    ANSWER_MAX = 64 * 1024,
    STACK_BYTES = 256 * 1024,
};

struct server {
    const struct settings *settings;
    struct store *store;
    int stop_event; /* readable once the server is to stop */
};

/* One request thread and what it keeps between requests. */
struct worker {
    struct server *server;
    pthread_t thread;
    int epoll; /* watches the listener, exclusively, and the stop event */
    struct buffer body;
    struct buffer written;
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

static bool is_stopping(const struct server *server)
{
    struct pollfd stop = {.fd = server->stop_event, .events = POLLIN};

    return poll(&stop, 1, 0) > 0;
}

static void answer_request(struct worker *worker, FCGX_Request *request)
{
    const struct server *server = worker->server;
    struct body_source source = {.read = read_stream,
                                 .context = request,
                                 .content_length = FCGX_GetParam("CONTENT_LENGTH", request->envp),
                                 .ends_by_itself = true};

    struct slice answer;

    buffer_reset(&worker->body, BUFFER_KEEP_BYTES);
    buffer_reset(&worker->written, BUFFER_KEEP_BYTES);
    if (!exchange_run(server->store, server->settings->body_limit, read_variable, request, &source,
                      &worker->body, &worker->written, &answer)) {
        request->keepConnection = 0; /* what is left of the body must not be read as the next request */
    }
    (void)FCGX_PutStr(answer.data, (int)answer.len, request->out);
    FCGX_Finish_r(request); /* closes the connection unless the web server asked to keep it */
}

/* Waits for the next request on a kept connection; false when it is time to close it. */
static bool wait_for_request(const struct server *server, int connection)
{
    struct pollfd events[] = {{.fd = connection, .events = POLLIN},
                              {.fd = server->stop_event, .events = POLLIN}};

    if (poll(events, 2, KEPT_IDLE_MS) <= 0) {
        return false;
    }
    return (events[0].revents & POLLIN) != 0; /* a request that has arrived is answered, stop or not */
}

/* Answers the requests of one connection, and closes it. */
static void serve_connection(struct worker *worker, int connection)
{
    FCGX_Request request;

    /* -1: should libfcgi want to accept another connection, it fails and comes back. */
    if (FCGX_InitRequest(&request, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0) {
        (void)close(connection);
        return;
    }
    request.ipcFd = connection;
    request.keepConnection = 1; /* FCGX_Accept_r begins with FCGX_Finish_r, which would close it */
    while (FCGX_Accept_r(&request) == 0) {
        answer_request(worker, &request);
        if (request.ipcFd < 0) {
            return;
        }
        if (!wait_for_request(worker->server, request.ipcFd)) {
            break;
        }
    }
    FCGX_Free(&request, request.ipcFd >= 0);
}

/* Takes a connection, if one is there; -1 otherwise. */
static int accept_connection(void)
{
    static const struct timeval timeout = {.tv_sec = CONNECTION_TIMEOUT_S};
    int connection = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC);

    if (connection < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_error("unable to accept a connection: %s", strerror(errno));
            clock_sleep_ms(100); /* others may close theirs meanwhile */
        }
        return -1;
    }
    /* libfcgi reads and writes without a time limit of its own. */
    (void)setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return connection;
}

/* Waits until a connection may be there, or the server stops. */
static void wait_for_connection(const struct worker *worker)
{
    struct epoll_event event;

    (void)epoll_wait(worker->epoll, &event, 1, -1);
}

static void *serve(void *argument)
{
    struct worker *worker = argument;
    int64_t drain_until_ms = 0;

    for (;;) {
        int connection = accept_connection();

        if (connection >= 0) {
            serve_connection(worker, connection);
        }
        if (is_stopping(worker->server)) {
            /* What the kernel has accepted is served still, for a while: under steady load it never ends. */
            if (drain_until_ms == 0) {
                drain_until_ms = clock_now_ms() + DRAIN_MS;
            }
            if (connection < 0 || clock_now_ms() > drain_until_ms) {
                return NULL;
            }
        } else if (connection < 0) {
            wait_for_connection(worker);
        }
    }
}

/* A watch on the listener that wakes one thread a connection, not all of them. */
static bool watch(struct worker *worker)
{
    struct epoll_event listener = {.events = EPOLLIN | EPOLLEXCLUSIVE};
    struct epoll_event stop = {.events = EPOLLIN};

    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    return worker->epoll >= 0 && epoll_ctl(worker->epoll, EPOLL_CTL_ADD, LISTENER, &listener) == 0 &&
           epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->server->stop_event, &stop) == 0;
}

static bool start_worker(struct worker *worker, struct server *server, const pthread_attr_t *attributes)
{
    int failure;

    *worker = (struct worker){.server = server, .epoll = -1};
    buffer_init(&worker->body, server->settings->body_limit);
    buffer_init(&worker->written, ANSWER_MAX);
    failure = watch(worker) ? pthread_create(&worker->thread, attributes, serve, worker) : errno;
    if (failure != 0) {
        log_error("unable to start a request thread: %s", strerror(failure));
        if (worker->epoll >= 0) {
            (void)close(worker->epoll);
        }
    }
    return failure == 0;
}

static void join_worker(struct worker *worker)
{
    (void)pthread_join(worker->thread, NULL);
    (void)close(worker->epoll);
    buffer_free(&worker->body);
    buffer_free(&worker->written);
}

static void request_stop(const struct server *server)
{
    static const uint64_t one = 1;
    ssize_t written = write(server->stop_event, &one, sizeof one);

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

/* O_NONBLOCK, because a thread that was woken may find that another process took the connection. */
static bool set_up_listener(void)
{
    int flags = fcntl(LISTENER, F_GETFL);

    return flags >= 0 && fcntl(LISTENER, F_SETFL, flags | O_NONBLOCK) == 0;
}

int gateway_serve_fastcgi(const struct settings *settings)
{
    struct server server = {.settings = settings, .stop_event = eventfd(0, EFD_CLOEXEC)};
    struct worker *workers = calloc((size_t)settings->threads, sizeof *workers);
    sigset_t signals;
    bool ok = false;

    if (server.stop_event < 0 || workers == NULL || !set_up_signals(&signals) || !set_up_listener()) {
        log_error("unable to start: %s", strerror(errno));
    } else if ((server.store = store_start(settings)) != NULL) {
        ok = run_workers(&server, workers, &signals);
        store_stop(server.store);
    }
    free(workers);
    if (server.stop_event >= 0) {
        (void)close(server.stop_event);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
