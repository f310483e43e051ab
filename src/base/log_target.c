/* Where the log's lines go: standard error, a file, or syslog. */
#include "base/log_target.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    PATH_MAX_BYTES = 4096,
    FILE_MODE = 0640,
    CHECK_EVERY_MS = 1000, /* whether the file was moved away */
    RETRY_MS = 100,
};

static enum log_target kind = LOG_TARGET_STDERR;
static char path[PATH_MAX_BYTES];
static int descriptor = STDERR_FILENO; /* -1: to be opened */
static bool is_regular;                /* takes any number of lines at once without mixing them */
static int64_t checked_at_ms;

static void set_descriptor(int opened)
{
    struct stat status;

    descriptor = opened;
    is_regular = opened >= 0 && fstat(opened, &status) == 0 && S_ISREG(status.st_mode);
}

/* A FIFO without a reader fails with ENXIO then, where it would wait for one. */
static int open_file(void)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, FILE_MODE);
}

static bool is_fifo(void)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* syslog(3) neither reports what it could not send nor has a time limit. */
static int open_syslog(void)
{
    static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/dev/log"};
    int opened = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (opened >= 0 && connect(opened, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(opened);
        opened = -1;
    }
    return opened;
}

bool log_target_open(const char *name)
{
    if (strcmp(name, "stderr") == 0) {
        set_descriptor(STDERR_FILENO);
    } else if (strcmp(name, "syslog") == 0) {
        kind = LOG_TARGET_SYSLOG;
        set_descriptor(open_syslog());
    } else {
        int opened;

        snprintf(path, sizeof path, "%s", name);
        checked_at_ms = clock_now_ms();
        opened = open_file();
        if (opened < 0 && (errno != ENXIO || !is_fifo())) {
            return false;
        }
        kind = LOG_TARGET_FILE;
        set_descriptor(opened);
    }
    return true;
}

enum log_target log_target(void)
{
    return kind;
}

/* Whether the file that is open is still the one of that name. */
static bool is_named(void)
{
    struct stat named, opened;

    return stat(path, &named) == 0 && fstat(descriptor, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

/* Opens the file anew where another, or none, has its name by now: logrotate moved it. Where that fails, the
 * old one is better than none; but a FIFO in its place is waited for. */
static void reopen_moved_file(void)
{
    int64_t now_ms = clock_now_ms();
    int opened;

    if (descriptor >= 0 && now_ms - checked_at_ms < CHECK_EVERY_MS) {
        return;
    }
    checked_at_ms = now_ms;
    if (descriptor >= 0 && is_named()) {
        return;
    }
    opened = open_file();
    if (descriptor >= 0 && opened < 0 && !is_fifo()) {
        return;
    }
    if (descriptor >= 0) {
        close(descriptor);
    }
    set_descriptor(opened);
}

/* Whole lines that go out at once. A pipe may have other writers: what is no longer than PIPE_BUF does not
 * mix with theirs (pipe(7)). A datagram is one line. */
static size_t whole_lines(const char *lines, size_t len)
{
    size_t piece = 0;

    if (is_regular) {
        return len;
    }
    while (piece < len) {
        const char *end = memchr(lines + piece, '\n', len - piece);
        size_t next = end == NULL ? len : (size_t)(end - lines) + 1;

        if (piece > 0 && (next > PIPE_BUF || kind == LOG_TARGET_SYSLOG)) {
            break;
        }
        piece = next;
    }
    return piece;
}

static ssize_t write_lines(const char *lines, size_t len)
{
    if (kind != LOG_TARGET_SYSLOG) {
        return write(descriptor, lines, len);
    }
    /* Without the line end. One that is too long for this system's sockets never finds room. */
    return send(descriptor, lines, len - 1, MSG_NOSIGNAL) < 0 && errno != EMSGSIZE ? -1 : (ssize_t)len;
}

/* Waits until the descriptor has room; -1: for as long as that may take at most. */
static void wait_for_room(int full)
{
    struct pollfd room = {.fd = full, .events = POLLOUT};

    poll(&room, 1, RETRY_MS);
}

/* A pipe without a reader, or a socket without a server, may have one when it is opened again. */
static void handle_error(int error)
{
    if (descriptor >= 0 && (kind == LOG_TARGET_SYSLOG || (kind == LOG_TARGET_FILE && error == EPIPE))) {
        close(descriptor);
        descriptor = -1;
    }
    wait_for_room(-1);
}

/* -1, and errno says why, where nothing is written. */
static ssize_t write_some(const char *lines, size_t len)
{
    if (kind == LOG_TARGET_FILE) {
        reopen_moved_file();
    } else if (kind == LOG_TARGET_SYSLOG && descriptor < 0) {
        set_descriptor(open_syslog());
    }
    if (descriptor < 0) {
        errno = ENXIO;
        return -1;
    }
    return write_lines(lines, whole_lines(lines, len));
}

size_t log_target_write(const char *lines, size_t len)
{
    ssize_t written = write_some(lines, len);

    if (written < 0 && errno == EAGAIN) {
        wait_for_room(descriptor);
    } else if (written < 0 && errno != EINTR) {
        handle_error(errno);
    }
    return written < 0 ? 0 : (size_t)written;
}

/* What was opened here never blocks. Standard error's pipe or terminal is opened once more, because the
 * descriptor's O_NONBLOCK would be that of everybody who has it too. Another user's pipe cannot be opened,
 * nor can a socket. */
bool log_target_set_nonblocking(void)
{
    int opened;

    if (kind != LOG_TARGET_STDERR || is_regular) {
        return true;
    }
    opened = open("/proc/self/fd/2", O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (opened >= 0) {
        descriptor = opened;
    }
    return opened >= 0;
}

size_t log_target_try_write(const char *lines, size_t len)
{
    ssize_t written = write_some(lines, len);

    return written < 0 ? 0 : (size_t)written;
}
