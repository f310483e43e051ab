/* Several workers on one listening socket, and the parent that starts them, and starts again whichever ends.
 *
 * The parent writes no log, for whoever does not read it would stop the parent, and a thread for it would be
 * a thread beside fork(2). What there is to say, the next process says. */
#include "fastcgi/processes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/stop_signals.h"
#include "base/settings.h"

enum {
    LASTING_MS = 10000, /* whoever ran for so long is started again at once */
    DELAY_MIN_MS = 100, /* else after this, and after twice the last delay the next time, */
    DELAY_MAX_MS = 10000,
    NEWS_SIZE = 256,
};

struct worker {
    pid_t pid; /* 0 while it does not run */
    bool is_first;
    int64_t started_ms;
    int64_t start_ms; /* while it does not run: when it will be started */
    int64_t delay_ms;
    int end;           /* wait status of the one before, */
    pid_t pid_before;  /* whose number it was; 0: there was none */
    int start_failure; /* why it could not be started when it was due; 0: it could */
};

struct parent {
    processes_serve *serve;
    void *context;
    struct worker workers[SETTINGS_PROCESSES_MAX];
    int count;
    sigset_t signals;
    int signal_descriptor;
    bool is_stopping; /* nobody is started any more */
    int status;
};

static int count_running(const struct parent *parent)
{
    int running = 0;

    for (int i = 0; i < parent->count; i++) {
        running += parent->workers[i].pid != 0;
    }
    return running;
}

static void stop(struct parent *parent, int signal_number)
{
    parent->is_stopping = true;
    for (int i = 0; i < parent->count; i++) {
        if (parent->workers[i].pid != 0) {
            kill(parent->workers[i].pid, signal_number);
        }
    }
}

/* ---- Starting ---- */

/* For the log of the new process; NULL: none. */
static const char *write_news(const struct worker *worker, char news[static NEWS_SIZE])
{
    size_t len;

    news[0] = '\0';
    if (worker->pid_before != 0 && WIFSIGNALED(worker->end)) {
        snprintf(news, NEWS_SIZE, "process %d was ended by signal %d (%s); this one is in its place",
                 (int)worker->pid_before, WTERMSIG(worker->end), strsignal(WTERMSIG(worker->end)));
    } else if (worker->pid_before != 0) {
        snprintf(news, NEWS_SIZE, "process %d ended with status %d; this one is in its place",
                 (int)worker->pid_before, WEXITSTATUS(worker->end));
    }
    len = strlen(news);
    if (worker->start_failure != 0) {
        snprintf(news + len, NEWS_SIZE - len, "%sthis process could not be started sooner: %s",
                 len == 0 ? "" : "; ", strerror(worker->start_failure));
    }
    return news[0] == '\0' ? NULL : news;
}

/* In the new process. A signal to stop that comes before it can read signals waits for it. */
_Noreturn static void become_worker(const struct parent *parent, const struct worker *worker,
                                    pid_t parent_pid)
{
    char news[NEWS_SIZE];
    sigset_t of_parent;

    close(parent->signal_descriptor);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent_pid) {
        _exit(EXIT_SUCCESS); /* it has ended before that */
    }
    sigemptyset(&of_parent);
    sigaddset(&of_parent, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &of_parent, NULL);
    exit(parent->serve(parent->context, write_news(worker, news)));
}

static void plan_start(struct worker *worker, int64_t now_ms, bool has_lasted)
{
    worker->pid = 0;
    worker->delay_ms = has_lasted                            ? 0
                       : worker->delay_ms == 0               ? DELAY_MIN_MS
                       : 2 * worker->delay_ms < DELAY_MAX_MS ? 2 * worker->delay_ms
                                                             : DELAY_MAX_MS;
    worker->start_ms = now_ms + worker->delay_ms;
}

/* Nobody serves, so the log may as well be waited for; a signal ends that. */
static void give_up(struct parent *parent, int reason)
{
    parent->is_stopping = true;
    parent->status = EXIT_FAILURE;
    sigprocmask(SIG_UNBLOCK, &parent->signals, NULL);
    log_error("unable to start a process: %s", strerror(reason));
}

static void start(struct parent *parent, struct worker *worker, int64_t now_ms)
{
    pid_t parent_pid = getpid(), pid = fork();
    int reason = errno;

    if (pid == 0) {
        become_worker(parent, worker, parent_pid);
    }
    if (pid > 0) {
        worker->pid = pid;
        worker->started_ms = now_ms;
        worker->start_failure = 0;
    } else if (count_running(parent) > 0) {
        plan_start(worker, now_ms, false);
        worker->start_failure = reason;
    } else {
        give_up(parent, reason);
    }
}

static void start_those_due(struct parent *parent)
{
    int64_t now_ms = clock_now_ms();

    for (int i = 0; i < parent->count && !parent->is_stopping; i++) {
        if (parent->workers[i].pid == 0 && parent->workers[i].start_ms <= now_ms) {
            start(parent, &parent->workers[i], now_ms);
        }
    }
}

/* ---- Ending ---- */

static void note_end(struct parent *parent, struct worker *worker, int wait_status)
{
    bool has_failed = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_FAILURE;
    int64_t now_ms = clock_now_ms();

    worker->pid_before = worker->pid;
    worker->end = wait_status;
    worker->pid = 0;
    if (parent->is_stopping) {
        parent->status = wait_status == 0 ? parent->status : EXIT_FAILURE;
    } else if (has_failed && (worker->is_first || count_running(parent) == 0)) {
        parent->status = EXIT_FAILURE; /* it has said why, and another would have to say the same */
        stop(parent, SIGTERM);
    } else {
        plan_start(worker, now_ms, now_ms - worker->started_ms >= LASTING_MS);
    }
    worker->is_first = false;
}

/* One signal may stand for the ends of several. */
static void reap(struct parent *parent)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (int i = 0; i < parent->count; i++) {
            if (parent->workers[i].pid == pid) {
                note_end(parent, &parent->workers[i], wait_status);
                break;
            }
        }
    }
}

/* ---- Waiting ---- */

/* In milliseconds, as poll(2) takes it: until the next process is to be started, where one is. */
static int wait_ms(const struct parent *parent)
{
    int64_t until_ms = INT64_MAX, left_ms;

    for (int i = 0; i < parent->count && !parent->is_stopping; i++) {
        if (parent->workers[i].pid == 0 && parent->workers[i].start_ms < until_ms) {
            until_ms = parent->workers[i].start_ms;
        }
    }
    if (until_ms == INT64_MAX) {
        return -1;
    }
    left_ms = until_ms - clock_now_ms();
    return left_ms > 0 ? (int)left_ms : 0;
}

static void handle_signals(struct parent *parent)
{
    struct pollfd readable = {.fd = parent->signal_descriptor, .events = POLLIN};
    struct signalfd_siginfo signal_info;

    if (poll(&readable, 1, wait_ms(parent)) <= 0) {
        return;
    }
    while (read(parent->signal_descriptor, &signal_info, sizeof signal_info) == sizeof signal_info) {
        if (signal_info.ssi_signo == SIGCHLD) {
            reap(parent);
        } else {
            stop(parent, (int)signal_info.ssi_signo);
        }
    }
}

/* Where SIGCHLD is ignored, as whoever started us may have had it, nobody's end would be told. */
static bool take_signals(struct parent *parent)
{
    signal(SIGCHLD, SIG_DFL);
    stop_signals_block(&parent->signals);
    sigaddset(&parent->signals, SIGCHLD);
    sigprocmask(SIG_BLOCK, &parent->signals, NULL);
    parent->signal_descriptor = signalfd(-1, &parent->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return parent->signal_descriptor >= 0;
}

int processes_run(int count, processes_serve *serve, void *context)
{
    struct parent parent = {.serve = serve, .context = context, .count = count, .status = EXIT_SUCCESS};

    for (int i = 0; i < count; i++) {
        parent.workers[i].is_first = true;
    }
    if (!take_signals(&parent)) {
        give_up(&parent, errno);
    }
    start_those_due(&parent);
    while (!parent.is_stopping || count_running(&parent) > 0) {
        handle_signals(&parent);
        start_those_due(&parent);
    }
    if (parent.signal_descriptor >= 0) {
        close(parent.signal_descriptor);
    }
    return parent.status;
}
