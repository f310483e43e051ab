/* Several workers on one listening socket, and the parent that starts and replaces them.
 *
 * The parent writes no log: an unread log would stop it, and a thread for the log must not exist beside
 * fork(2). The next worker logs what there is to say. */
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
    STABLE_MS = 10000,  /* a worker that ran for so long is replaced at once, */
    DELAY_MIN_MS = 100, /* else after this, and after twice the last delay the next time, */
    DELAY_MAX_MS = 10000,
    WARNING_SIZE = 256,
};

struct worker {
    pid_t pid; /* 0 while it does not run */
    bool is_first;
    int64_t started_ms;
    int64_t start_at_ms; /* while it does not run */
    int64_t delay_ms;
    int start_failure;          /* errno of the last fork; 0: it succeeded */
    char warning[WARNING_SIZE]; /* about the one before; empty: there was none */
};

struct parent {
    processes_serve *serve;
    void *context;
    struct worker workers[SETTINGS_PROCESSES_MAX];
    int count;
    sigset_t signals;
    int signal_descriptor;
    bool is_stopping; /* no worker is started any more */
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

/* In the new process. A signal to stop stays pending until the worker reads signals. */
_Noreturn static void run_worker(const struct parent *parent, struct worker *worker, pid_t parent_pid)
{
    size_t len = strlen(worker->warning);
    sigset_t of_parent;

    close(parent->signal_descriptor);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent_pid) {
        _exit(EXIT_SUCCESS); /* LCOV_EXCL_LINE: by chance: the parent has ended before this asks */
    }
    sigemptyset(&of_parent);
    sigaddset(&of_parent, SIGCHLD);
    sigprocmask(SIG_UNBLOCK, &of_parent, NULL);
    if (worker->start_failure != 0) {
        /* LCOV_EXCL_START: out of processes: fork(2) has failed before */
        snprintf(worker->warning + len, WARNING_SIZE - len,
                 "%sthis worker process could not be started sooner: %s", len == 0 ? "" : "; ",
                 strerror(worker->start_failure));
        /* LCOV_EXCL_STOP */
    }
    exit(parent->serve(parent->context, *worker->warning == '\0' ? NULL : worker->warning));
}

static void schedule_start(struct worker *worker, int64_t now_ms, bool has_lasted)
{
    int64_t doubled_ms = worker->delay_ms == 0 ? DELAY_MIN_MS : 2 * worker->delay_ms;

    worker->delay_ms = has_lasted ? 0 : doubled_ms < DELAY_MAX_MS ? doubled_ms : DELAY_MAX_MS;
    worker->start_at_ms = now_ms + worker->delay_ms;
}

/* No worker runs, so this may wait for the log. A signal ends that. */
/* LCOV_EXCL_START: out of processes or descriptors: fork(2), signalfd(2) */
static void fail(struct parent *parent, int reason)
{
    parent->is_stopping = true;
    parent->status = EXIT_FAILURE;
    sigprocmask(SIG_UNBLOCK, &parent->signals, NULL);
    log_error("unable to start a worker process: %s", strerror(reason));
}
/* LCOV_EXCL_STOP */

static void start(struct parent *parent, struct worker *worker, int64_t now_ms)
{
    pid_t parent_pid = getpid(), pid = fork();
    int reason = errno;

    if (pid == 0) {
        run_worker(parent, worker, parent_pid);
    }
    worker->start_failure = pid > 0 ? 0 : reason;
    if (pid > 0) {
        worker->pid = pid;
        worker->started_ms = now_ms;
        /* LCOV_EXCL_START: out of processes: fork(2) */
    } else if (count_running(parent) > 0) {
        schedule_start(worker, now_ms, false);
    } else {
        fail(parent, reason);
        /* LCOV_EXCL_STOP */
    }
}

static void start_due(struct parent *parent)
{
    int64_t now_ms = clock_now_ms();

    for (int i = 0; i < parent->count && !parent->is_stopping; i++) {
        if (parent->workers[i].pid == 0 && parent->workers[i].start_at_ms <= now_ms) {
            start(parent, &parent->workers[i], now_ms);
        }
    }
}

/* ---- Ending ---- */

/* For the log of the worker in its place. */
static void write_warning(struct worker *worker, int wait_status)
{
    if (WIFSIGNALED(wait_status)) {
        snprintf(worker->warning, WARNING_SIZE,
                 "worker process %d was ended by signal %d (%s), this one replaces it", (int)worker->pid,
                 WTERMSIG(wait_status), strsignal(WTERMSIG(wait_status)));
    } else {
        snprintf(worker->warning, WARNING_SIZE,
                 "worker process %d exited with status %d, this one replaces it", (int)worker->pid,
                 WEXITSTATUS(wait_status));
    }
}

static void handle_exit(struct parent *parent, struct worker *worker, int wait_status)
{
    bool has_failed = WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_FAILURE;
    int64_t now_ms = clock_now_ms();

    write_warning(worker, wait_status);
    worker->pid = 0;
    if (parent->is_stopping) {
        parent->status = wait_status == 0 ? parent->status : EXIT_FAILURE;
    } else if (has_failed && (worker->is_first || count_running(parent) == 0)) {
        parent->status = EXIT_FAILURE; /* it has said why, and another would have to say the same */
        stop(parent, SIGTERM);
    } else {
        schedule_start(worker, now_ms, now_ms - worker->started_ms >= STABLE_MS);
    }
    worker->is_first = false;
}

/* One signal may stand for the ends of several. */
static void reap_workers(struct parent *parent)
{
    int wait_status;
    pid_t pid;

    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        for (int i = 0; i < parent->count; i++) {
            if (parent->workers[i].pid == pid) {
                handle_exit(parent, &parent->workers[i], wait_status);
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
        if (parent->workers[i].pid == 0 && parent->workers[i].start_at_ms < until_ms) {
            until_ms = parent->workers[i].start_at_ms;
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
            reap_workers(parent);
        } else {
            stop(parent, (int)signal_info.ssi_signo);
        }
    }
}

/* If SIGCHLD is ignored, which may be inherited, no exit is reported. */
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
        fail(&parent, errno); /* LCOV_EXCL_LINE: out of descriptors: signalfd(2) */
    }
    start_due(&parent);
    while (!parent.is_stopping || count_running(&parent) > 0) {
        handle_signals(&parent);
        start_due(&parent);
    }
    if (parent.signal_descriptor >= 0) {
        close(parent.signal_descriptor);
    }
    return parent.status;
}
