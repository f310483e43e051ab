/* The FastCGI server. One thread with one loop owns the listening socket, the web server's connections, the
 * store and time.
 *
 * libfcgi only frames the responses. Its accept cannot be ended without cutting a request short, and exits on
 * EMFILE; its reader trusts and waits for the peer. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/exchange.h"
#include "api/router.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stop_signals.h"
#include "fastcgi/peers.h"
#include "fastcgi/server.h"
#include "fastcgi/writer.h"
#include "store/store.h"

enum {
    LISTENER = FCGI_LISTENSOCK_FILENO,
    ACCEPT_AT_ONCE = 16,
    NO_DESCRIPTOR_MS = 100,   /* without accepting: others may close theirs meanwhile */
    ACCEPT_FAILURE_MS = 1000, /* behind any other failure, which may stay */
    DRAIN_MS = 2000,          /* after a stop, at most: for what has arrived already */
    DRAIN_CHECK_MS = 10,      /* from one check whether something has to the next */
    DRAIN_QUIET_CHECKS = 10,  /* in a row, behind which nothing more will */
    STOP_LINGER_MS = 2000,    /* at most, for peers to take the last responses */
    OUT_KEPT = 4 * 1024,      /* bytes of memory for the next response */
    LARGE_BYTES = 256 * 1024, /* of memory: such a piece goes back to the system when it is freed */
};

struct server {
    const struct settings *settings;
    struct loop loop;
    struct peers peers;
    struct store *store;
    struct writer writer;
    struct buffer out; /* the response that is written */
    struct loop_handler listener, signals;
    int signal_descriptor;
    int64_t accept_at_ms; /* nothing is accepted before; 0: the listener is watched */
    int stop_signal;      /* 0 until one has come */
    bool is_stopping;     /* the requests that have come are responded to, no more are read */
    bool is_quiet;        /* nothing was accepted or read since the last check */
};

bool started_as_fastcgi(void)
{
    int listening = 0;
    socklen_t size = sizeof listening;

    return getsockopt(LISTENER, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

/* ---- Requests ---- */

/* Writes the response, and has the connection wait for another request or linger. */
static void finish_request(void *context)
{
    struct peer *peer = context;
    struct server *server = peer->table->context;
    struct slice response = exchange_end(&peer->exchange, &server->out);
    bool is_sent =
        !peer->hung_up && writer_send(&server->writer, peer->descriptor, peer->parser.request_id, response);

    buffer_reset(&server->out, OUT_KEPT);
    if (!is_sent) {
        peer_close(peer);
    } else if (peer->parser.keep && !server->is_stopping) {
        peer_next(peer);
    } else {
        peer_linger(peer);
    }
}

static void start_request(struct server *server, struct peer *peer)
{
    struct parser *parser = &peer->parser;
    bool needs_database = false;

    exchange_begin(&peer->exchange, parser->variables, &parser->body);
    if (stream_is_over_limit(&parser->params)) {
        exchange_refuse_headers(&peer->exchange);
    } else {
        needs_database = router_dispatch(&peer->exchange);
    }
    parser_free_body(parser);
    if (needs_database) {
        store_submit(server->store, &peer->exchange.op, finish_request, peer);
    } else {
        finish_request(peer);
    }
}

static void serve_peer(struct peer *peer, uint32_t events)
{
    struct server *server = peer->table->context;

    server->is_quiet = server->is_quiet && peer->state == PEER_LINGERING;
    if (peer->state == PEER_WAITING) {
        peer_ignore(peer, events);
    } else if (peer_read(peer)) {
        start_request(server, peer);
    }
}

/* ---- Accepting ---- */

/* Other processes may listen as well: one of them is woken, not all. */
static bool watch_listener(struct server *server)
{
    return loop_watch(&server->loop, LISTENER, EPOLLIN | EPOLLEXCLUSIVE, &server->listener);
}

/* accept4 fails with EMFILE even if no connection waits. */
/* LCOV_EXCL_START: out of descriptors (limits_test) */
static bool is_connection_waiting(void)
{
    struct pollfd listener = {.fd = LISTENER, .events = POLLIN};

    return poll(&listener, 1, 0) > 0;
}
/* LCOV_EXCL_STOP */

/* Pauses accepting, because the listener stays readable after a failure; unless the connection is gone, or
 * another process has taken it. */
static void handle_accept_failure(struct server *server, int failure)
{
    int pause_ms = ACCEPT_FAILURE_MS;

    switch (failure) {
    case EAGAIN:
    case EINTR:
    case ECONNABORTED:
        return;
    /* LCOV_EXCL_START: out of descriptors (limits_test) */
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        if (!is_connection_waiting()) {
            return;
        }
        peers_free_descriptor(&server->peers);
        pause_ms = NO_DESCRIPTOR_MS;
        break;
        /* LCOV_EXCL_STOP */
    default:
        break;
    }
    log_error("unable to accept a connection: %s", strerror(failure));
    loop_unwatch(&server->loop, LISTENER);
    server->accept_at_ms = clock_now_ms() + pause_ms;
}

/* Accepts what is there, but not all in one iteration of the loop: other events come in between. */
static void accept_connections(void *context, uint32_t events)
{
    struct server *server = context;

    (void)events;
    for (int i = 0; i < ACCEPT_AT_ONCE; i++) {
        int descriptor = accept4(LISTENER, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (descriptor < 0) {
            handle_accept_failure(server, errno);
            break;
        }
        server->is_quiet = false;
        peers_add(&server->peers, descriptor);
    }
}

static void accept_again(struct server *server)
{
    if (server->accept_at_ms != 0 && clock_now_ms() >= server->accept_at_ms) {
        /* LCOV_EXCL_START: out of descriptors (limits_test) */
        server->accept_at_ms = watch_listener(server) ? 0 : clock_now_ms() + NO_DESCRIPTOR_MS;
        /* LCOV_EXCL_STOP */
    }
}

static void read_signal(void *context, uint32_t events)
{
    struct server *server = context;
    struct signalfd_siginfo signal_info;

    (void)events;
    if (read(server->signal_descriptor, &signal_info, sizeof signal_info) == sizeof signal_info) {
        server->stop_signal = (int)signal_info.ssi_signo;
    }
}

/* Waits for events until then, and does what is due. */
static void run_once(struct server *server, int64_t until_ms)
{
    until_ms = clock_earlier(until_ms, store_due_ms(server->store));
    until_ms = clock_earlier(until_ms, peers_due_ms(&server->peers));
    until_ms = clock_earlier(until_ms, server->accept_at_ms != 0 ? server->accept_at_ms : LOOP_NEVER);
    loop_run_once(&server->loop, until_ms);
    accept_again(server);
    peers_expire(&server->peers);
    store_run_once(server->store);
}

/* ---- Stop ---- */

static bool has_requests(const struct server *server)
{
    return server->peers.count[PEER_READING] + server->peers.count[PEER_WAITING] > 0;
}

/* Serves what has arrived, and what comes meanwhile: the web server may have connected and not sent its
 * request yet. There is a limit, because steady load never ends. Checks are counted, not time, because this
 * process may have had no processor in that time. */
static void drain(struct server *server)
{
    int64_t limit_ms = clock_now_ms() + DRAIN_MS;

    for (int quiet = 0; quiet < DRAIN_QUIET_CHECKS && clock_now_ms() < limit_ms;) {
        int64_t check_at_ms = clock_now_ms() + DRAIN_CHECK_MS;

        server->is_quiet = true;
        do {
            run_once(server, check_at_ms);
        } while (clock_now_ms() < check_at_ms);
        quiet = server->is_quiet && !has_requests(server) ? quiet + 1 : 0;
    }
}

/* Responds to the requests that have come. Then waits for lingering peers: to close now could take their
 * responses back. */
static void finish(struct server *server)
{
    int64_t limit_ms;

    server->is_stopping = true;
    peers_stop(&server->peers);
    while (server->peers.count[PEER_WAITING] > 0) {
        run_once(server,
                 LOOP_NEVER); /* LCOV_EXCL_LINE: by chance: those that had come have been waited for */
    }
    limit_ms = clock_now_ms() + STOP_LINGER_MS;
    while (server->peers.count[PEER_LINGERING] > 0 && clock_now_ms() < limit_ms) {
        run_once(server, limit_ms);
    }
}

static void log_start(const struct settings *settings)
{
    bool has_file = settings->file[0] != '\0';

    log_info("serving FastCGI: version %s, pid %ld, %s%s, db_pool_size=%d", VERSION, (long)getpid(),
             has_file ? "settings file " : "no settings file", settings->file, settings->db_pool_size);
}

/* Other programs read their settings again on these signals. */
static void log_stop(int stop_signal)
{
    bool is_for_reload = stop_signal == SIGHUP || stop_signal == SIGUSR1;

    log_info("stopping: SIG%s%s", sigabbrev_np(stop_signal), is_for_reload ? " (there is no reload)" : "");
}

static void serve_until_stopped(struct server *server)
{
    log_start(server->settings);
    while (server->stop_signal == 0) {
        run_once(server, LOOP_NEVER);
    }
    log_stop(server->stop_signal);
    drain(server);
    loop_unwatch(&server->loop, LISTENER);
    server->accept_at_ms = 0;
    finish(server);
}

/* ---- Start ---- */

/* Signals are read from a descriptor, so that none cuts a request short. FCGX_Init installs handlers of its
 * own, which therefore never run. */
static bool set_up_signals(struct server *server)
{
    sigset_t signals;

    stop_signals_block(&signals);
    server->signal_descriptor = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    server->signals = (struct loop_handler){.ready = read_signal, .context = server};
    return server->signal_descriptor >= 0 &&
           loop_watch(&server->loop, server->signal_descriptor, EPOLLIN, &server->signals);
}

/* Each request has a connection of its own, and the database needs descriptors too. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The listener is O_NONBLOCK, because another process may have taken the connection. Its connections inherit
 * TCP_NODELAY, where it is TCP's: a long response is several writes, and each but the first would wait until
 * the peer has acknowledged the one before, 40 ms. It is watched last: those that wait could take the
 * descriptors that the others need. */
static bool start_listening(struct server *server)
{
    static const int yes = 1;
    int flags = fcntl(LISTENER, F_GETFL);

    setsockopt(LISTENER, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    server->listener = (struct loop_handler){.ready = accept_connections, .context = server};
    if (flags < 0 || fcntl(LISTENER, F_SETFL, flags | O_NONBLOCK) != 0 || !watch_listener(server)) {
        /* LCOV_EXCL_START: out of descriptors (limits_test) */
        log_error("unable to start: listening on descriptor %d: %s", LISTENER, strerror(errno));
        return false;
        /* LCOV_EXCL_STOP */
    }
    return true;
}

int server_run(const struct settings *settings)
{
    struct server server = {.settings = settings, .signal_descriptor = -1};
    bool ok = false;

    buffer_init(&server.out, RESPONSE_MAX);
    raise_descriptor_limit();
    mallopt(M_MMAP_THRESHOLD, LARGE_BYTES); /* else it grows with the largest, and large bodies leave holes */
    if (!loop_open(&server.loop)) {
        /* LCOV_EXCL_START: out of descriptors (limits_test) */
        log_error("unable to start: event loop: %s", strerror(errno));
        /* LCOV_EXCL_STOP */
    } else if (!set_up_signals(&server)) {
        /* LCOV_EXCL_START: out of descriptors (limits_test) */
        log_error("unable to start: signals: %s", strerror(errno));
        /* LCOV_EXCL_STOP */
    } else if (writer_open(&server.writer)) {
        signal(SIGPIPE, SIG_IGN); /* libfcgi has a handler for it, too */
        peers_init(&server.peers, &server.loop, settings->body_limit, settings->body_timeout_ms, serve_peer,
                   &server);
        server.store = store_start(settings, &server.loop);
        ok = server.store != NULL && start_listening(&server);
        if (ok) {
            serve_until_stopped(&server);
        }
        peers_free(&server.peers);
        if (server.store != NULL) {
            store_stop(server.store);
        }
        writer_close(&server.writer);
    }
    if (server.signal_descriptor >= 0) {
        close(server.signal_descriptor);
    }
    loop_close(&server.loop);
    buffer_free(&server.out);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
