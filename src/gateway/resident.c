/* The worker that plain CGI leaves behind.
 *
 * Its socket has an abstract name (unix(7)): no directory has to be found that is nobody else's, and nothing
 * is left when it is killed. Anybody may connect to such a name, or take it while it is free, so both ends
 * look whose process the other is. */
#include "gateway/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"

enum {
    ENVIRONMENT_MAX = 1024 * 1024,
    ATTEMPTS = 10, /* a millisecond apart, for who has bound the name and does not listen yet */
    PATIENCE_MS = 1000,
    BACKLOG = 1024,
};

/* What libpq and our settings read of the environment; of the rest each request has its own. */
static bool matters(const char *entry)
{
    static const char *const prefixes[] = {"DATABASE_URL=", "INCIDENTS_", "PG", "HOME=", "KRB5"};

    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
        if (strncmp(entry, prefixes[i], strlen(prefixes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Appends what matters, in an order that does not depend on the web server's. */
static bool append_environment(struct buffer *text)
{
    size_t count = 0, used = 0;
    char **entries;

    while (environ[count] != NULL) {
        count++;
    }
    entries = calloc(count + 1, sizeof *entries);
    if (entries == NULL) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (matters(environ[i])) {
            entries[used++] = environ[i];
        }
    }
    qsort(entries, used, sizeof *entries, compare);
    for (size_t i = 0; i < used; i++) {
        buffer_append(text, entries[i], strlen(entries[i]) + 1);
    }
    free(entries);
    return true;
}

/* The name is a digest, so that it says nothing about a password among the settings. */
static bool write_address(struct sockaddr_un *address, socklen_t *size)
{
    char hex[DIGEST_HEX_SIZE];
    char directory[PATH_MAX];
    struct stat program;
    struct buffer text;
    bool ok;

    buffer_init(&text, ENVIRONMENT_MAX);
    ok = stat("/proc/self/exe", &program) == 0 && getcwd(directory, sizeof directory) != NULL &&
         append_environment(&text);
    if (ok) { /* the directory, because a setting may name a file in it */
        buffer_append_format(&text, "%s %llu %llu %lld.%09ld %s", VERSION, (unsigned long long)program.st_dev,
                             (unsigned long long)program.st_ino, (long long)program.st_mtim.tv_sec,
                             program.st_mtim.tv_nsec, directory);
        ok = !text.failed;
    }
    if (ok) {
        digest_sha256((struct slice){.data = text.data, .len = text.len}, hex);
        *address = (struct sockaddr_un){.sun_family = AF_UNIX};
        (void)snprintf(address->sun_path + 1, sizeof address->sun_path - 1, "incidents-%u-%.32s",
                       (unsigned)geteuid(), hex);
        *size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(address->sun_path + 1));
    }
    buffer_free(&text);
    return ok;
}

bool resident_is_own(int connection)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t size = sizeof peer;

    return getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

/* A connection to who has the name; -1 and errno where that is nobody, or a stranger. */
static int connect_to(const struct sockaddr_un *address, socklen_t size)
{
    static const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failure;

    if (connection >= 0 && setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) == 0 &&
        connect(connection, (const struct sockaddr *)address, size) == 0) {
        if (resident_is_own(connection)) {
            return connection;
        }
        errno = EPERM;
    }
    failure = errno;
    if (connection >= 0) {
        (void)close(connection);
    }
    errno = failure;
    return -1;
}

/* A socket that listens under the name; -1 and errno where somebody has it. */
static int listen_as(const struct sockaddr_un *address, socklen_t size)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int failure;

    if (listener >= 0 && bind(listener, (const struct sockaddr *)address, size) == 0 &&
        listen(listener, BACKLOG) == 0) {
        return listener;
    }
    failure = errno;
    if (listener >= 0) {
        (void)close(listener);
    }
    errno = failure;
    return -1;
}

/* In the child: nothing of the request's stays with it. The web server waits for the end of what the request
 * writes, so both ways there must be closed. */
static bool settle(int listener)
{
    int nowhere = open("/dev/null", O_RDWR);

    return nowhere >= 0 && setsid() >= 0 && dup2(listener, STDIN_FILENO) >= 0 &&
           dup2(nowhere, STDOUT_FILENO) >= 0 && dup2(nowhere, STDERR_FILENO) >= 0 &&
           close_range(STDERR_FILENO + 1, ~0U, 0) == 0;
}

/* Leaves a resident behind, and connects to it. */
static enum resident_role leave(const struct sockaddr_un *address, socklen_t size, int listener,
                                int *connection)
{
    pid_t child = fork();

    if (child == 0) {
        if (!settle(listener)) {
            _exit(EXIT_FAILURE);
        }
        return RESIDENT_SELF;
    }
    if (child > 0) {
        *connection = connect_to(address, size);
    }
    (void)close(listener);
    return child > 0 && *connection >= 0 ? RESIDENT_FOUND : RESIDENT_NONE;
}

enum resident_role resident_find(int *connection)
{
    struct sockaddr_un address;
    socklen_t size;
    int listener;

    *connection = -1;
    if (!write_address(&address, &size)) {
        return RESIDENT_NONE;
    }
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        *connection = connect_to(&address, size);
        if (*connection >= 0) {
            return RESIDENT_FOUND;
        }
        if (errno != ECONNREFUSED) {
            break;
        }
        listener = listen_as(&address, size);
        if (listener >= 0) {
            return leave(&address, size, listener, connection);
        }
        if (errno != EADDRINUSE) {
            break;
        }
        clock_sleep_ms(1);
    }
    return RESIDENT_NONE;
}
