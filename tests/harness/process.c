/* Starting, watching and ending the programs that a test needs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/process.h"

/* Nothing stays but what the sanitizers are to do. */
static void empty_environment(void)
{
    static const char *const names[] = {"ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
    char *values[sizeof names / sizeof names[0]];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = getenv(names[i]);

        values[i] = value == NULL ? NULL : strdup(value);
    }
    clearenv();
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (values[i] != NULL) {
            setenv(names[i], values[i], 1);
            free(values[i]);
        }
    }
}

static void adopt_environment(const char *const environment[], bool bare)
{
    if (bare) {
        empty_environment();
    }
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        char *entry = strdup(environment[i]);
        char *value = entry == NULL ? NULL : strchr(entry, '=');

        if (value == NULL) {
            unsetenv(environment[i]);
        } else {
            *value = '\0';
            setenv(entry, value + 1, 1);
        }
        free(entry);
    }
}

static void become(const char *const argv[], const char *const environment[], bool bare)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    adopt_environment(environment, bare);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "unable to start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t process_start(const char *const argv[], const char *const environment[], const char *log)
{
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    pid_t pid = process_start_on(nothing, argv, environment, log);

    close(nothing);
    return pid;
}

pid_t process_start_on(int in, const char *const argv[], const char *const environment[], const char *log)
{
    pid_t parent = getpid(), pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int out = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

        dup2(in, STDIN_FILENO);
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(127);
        }
        become(argv, environment, false);
    }
    return pid;
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

/* Reads what there is; false at the end. */
static bool take(int fd, char *data, size_t *len)
{
    ssize_t got = read(fd, data + *len, PROCESS_OUTPUT_MAX - 1 - *len);

    if (got > 0) {
        *len += (size_t)got;
        data[*len] = '\0';
    }
    return got > 0;
}

/* Writes the input while it reads both outputs: a program may do either first. */
static void converse(int in, int out, int err, const char *input, size_t input_len, struct outcome *outcome)
{
    size_t written = 0;

    if (input_len == 0) {
        close(in);
        in = -1;
    }
    while (out >= 0 || err >= 0) {
        struct pollfd fds[] = {
            {.fd = in, .events = POLLOUT}, {.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};

        assert_true(poll(fds, 3, 60000) > 0);
        if (fds[0].revents != 0) {
            ssize_t n = write(in, input + written, input_len - written);

            written += n > 0 ? (size_t)n : 0;
            if (n < 0 || written == input_len) {
                close(in);
                in = -1;
            }
        }
        if (fds[1].revents != 0 && !take(out, outcome->out, &outcome->out_len)) {
            close(out);
            out = -1;
        }
        if (fds[2].revents != 0 && !take(err, outcome->err, &outcome->err_len)) {
            close(err);
            err = -1;
        }
    }
    if (in >= 0) {
        close(in);
    }
}

static const struct outcome *run(const char *const argv[], const char *const environment[], bool bare,
                                 const char *input, size_t input_len)
{
    static struct outcome outcome;
    int in[2], out[2], err[2], wait_status;
    pid_t pid;

    outcome.out_len = outcome.err_len = 0;
    outcome.out[0] = outcome.err[0] = '\0';
    assert_true(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        become(argv, environment, bare);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
    signal(SIGPIPE, SIG_IGN);
    converse(in[1], out[0], err[0], input, input_len, &outcome);
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    outcome.status = status_of(wait_status);
    return &outcome;
}

const struct outcome *process_run(const char *const argv[], const char *const environment[],
                                  const char *input, size_t input_len)
{
    return run(argv, environment, false, input, input_len);
}

const struct outcome *process_run_bare(const char *const argv[], const char *const environment[],
                                       const char *input, size_t input_len)
{
    return run(argv, environment, true, input, input_len);
}

int process_wait(pid_t pid, int milliseconds)
{
    int64_t deadline = clock_now_ms() + milliseconds;
    int wait_status;

    while (waitpid(pid, &wait_status, WNOHANG) != pid) {
        if (clock_now_ms() > deadline) {
            return -1;
        }
        clock_sleep_ms(5);
    }
    return status_of(wait_status);
}

int process_stop(pid_t pid, int signal_number)
{
    int status;

    kill(pid, signal_number);
    status = process_wait(pid, 30000);
    if (status < 0) {
        kill(pid, SIGKILL);
        process_wait(pid, 5000);
        fail_msg("process %d did not end within 30 s of signal %d", (int)pid, signal_number);
    }
    return status;
}

void clock_sleep_ms(int64_t milliseconds)
{
    struct timespec left = clock_timespec(milliseconds);

    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}
