/* incidents.fcgi: a FastCGI worker, a plain CGI program, or a command such as --check; how it was started
 * decides. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/settings.h"
#include "base/standard_files.h"
#include "base/stop_signals.h"
#include "cgi/cgi.h"
#include "fastcgi/server.h"
#include "fastcgi/processes.h"
#include "schema_version.h"
#include "store/store.h"

/* libpq's messages have several lines. */
static void print_on_a_line(const char *text)
{
    for (; *text != '\0'; text++) {
        putchar((unsigned char)*text < 0x20 ? ' ' : *text);
    }
}

/* Shows the settings, and whether the database is ready. */
static int check(void)
{
    char error[512];
    struct settings settings;
    struct store *store;
    struct store_op ping;
    bool ready;

    if (!settings_load(&settings, error, sizeof error)) {
        fprintf(stderr, "incidents.fcgi: %s\n", error);
        return EXIT_FAILURE;
    }
    settings_print(&settings, stdout);
    store = store_start(&settings, NULL);
    if (store == NULL || !op_ping(&ping)) {
        fprintf(stderr, "incidents.fcgi: out of memory\n");
        return EXIT_FAILURE;
    }
    store_apply(store, &ping);
    ready = ping.outcome == OP_READY;
    printf("database: %s", ready ? "ready" : "NOT ready: ");
    print_on_a_line(ready ? "" : *store_failure(store) != '\0' ? store_failure(store) : "see above");
    printf(" (schema version %d is needed)\n", SCHEMA_VERSION);
    op_free(&ping);
    store_stop(store);
    return ready ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int usage(FILE *stream, int status)
{
    fputs("Usage: incidents.fcgi --check | --version | --help\n"
          "A web server starts this program, as FastCGI or CGI; see docs/ for how.\n"
          "  --check    show the settings and whether the database is ready\n",
          stream);
    return status;
}

/* A reader that goes away, and a file that reaches its limit (RLIMIT_FSIZE), are errors of a write then. */
static void ignore_signals_of_writes(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

/* The settings, or what is wrong with them. */
struct start {
    struct settings settings;
    bool is_loaded;
    char error[512];
};

static void load(struct start *start)
{
    standard_files_open(O_RDWR);
    ignore_signals_of_writes();
    start->is_loaded = settings_load(&start->settings, start->error, sizeof start->error);
}

/* Log and metrics. The log is set up first, so that a line never blocks: the log may be unread. A process for
 * one request can do without the thread. */
static bool set_up(const struct start *start, bool as_worker)
{
    const struct settings *settings = &start->settings;
    bool is_open = start->is_loaded && log_open(settings->log, settings->log_format);
    int reason = errno;
    bool has_writer = as_worker ? log_start_writer() : log_start_writer_on_demand();

    if (as_worker && !has_writer) {
        log_error("unable to start: thread for the log: %s", strerror(errno));
        return false;
    }
    if (!start->is_loaded) {
        log_error("unable to start: %s", start->error);
    } else if (!is_open) {
        log_error("unable to start: INCIDENTS_LOG=%s: %s", settings->log, strerror(reason));
    } else if (settings->metrics_token[0] != '\0' && !metrics_open(settings->metrics_token, as_worker)) {
        log_error("unable to open shared memory for metrics: %s; /metrics is off", strerror(errno));
    }
    if (start->is_loaded && as_worker) {
        metrics_add(METRICS_QUEUE_LIMIT, settings->queue_max);
    }
    return is_open;
}

static int serve_worker(void *context, const char *warning)
{
    const struct start *start = context;

    if (!set_up(start, true)) {
        return EXIT_FAILURE;
    }
    if (warning != NULL) {
        log_warning("%s", warning);
    }
    return server_run(&start->settings);
}

static int serve_fastcgi(void)
{
    struct start start;
    sigset_t signals;

    stop_signals_block(&signals); /* one that comes meanwhile is a stop like any other */
    load(&start);
    return start.is_loaded && start.settings.processes > 1
               ? processes_run(start.settings.processes, serve_worker, &start)
               : serve_worker(&start, NULL);
}

static int serve_cgi(void)
{
    struct start start;

    load(&start);
    if (!set_up(&start, false)) {
        cgi_refuse();
        return EXIT_FAILURE;
    }
    return cgi_serve(&start.settings);
}

/* A CGI server passes the words of a query string as arguments (RFC 3875 section 4.4), so arguments count
 * only where no web server is at work. */
int main(int argc, char **argv)
{
    /* No core dump, and no access to our memory or environment by processes of the same user (prctl(2)): they
     * hold the database's password and bearer tokens. */
    prctl(PR_SET_DUMPABLE, 0);
    if (started_as_fastcgi()) {
        return serve_fastcgi();
    }
    if (started_as_cgi()) {
        return serve_cgi();
    }
    if (argc == 2 && strcmp(argv[1], "--check") == 0) {
        return check();
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("incidents.fcgi %s\n", VERSION);
        return EXIT_SUCCESS;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        return usage(stdout, EXIT_SUCCESS);
    }
    return usage(stderr, 2);
}
