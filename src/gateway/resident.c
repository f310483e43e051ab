/* The worker that plain CGI leaves behind.
 *
 * In its directory NAME is its socket, and NAME.lock is locked by who serves there or is about to, so a
 * socket whose owner was killed is known for one. It is bound under another name and renamed when it is
 * served: what /proc/net/unix shows to everybody is the name at its birth, and NAME is a digest of the
 * settings, by which a password could be tried out. */
#include "gateway/resident.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/metrics.h"

enum {
    ENVIRONMENT_MAX = 1024 * 1024,
    PATH_SIZE = sizeof(((struct sockaddr_un *)NULL)->sun_path),
    DIRECTORY_SIZE = 64,
    BACKLOG = 1024,
    LOCK = 3, /* the resident's descriptor of it */
};

static const char process_name[] = "incidents-stays"; /* of 15 bytes at most, prctl(2) */

static struct {
    char directory[DIRECTORY_SIZE];
    char path[PATH_SIZE];   /* the socket's; empty where it is not known yet */
    ino_t found;            /* the one that was connected to; in the resident its own */
    char unseen[PATH_SIZE]; /* its path until it is served */
    int lock;               /* in the resident: that of its lock */
    atomic_bool has_name;   /* in the resident: files are to be removed */
} self;

/* What libpq, what it uses, and our settings read of the environment. Of the rest each request has its own.
 */
static bool matters(const char *entry)
{
    static const char *const prefixes[] = {
        "DATABASE_URL=",  "INCIDENTS_",    "PG",       "HOME=",        "KRB5",         "LDAP",
        "SSL_CERT_FILE=", "SSL_CERT_DIR=", "OPENSSL_", "RES_OPTIONS=", "LOCALDOMAIN=",
    };

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

/* All that a resident has of whoever left it: the settings, the program, and where the files are that these
 * name. */
static bool append_circumstances(struct buffer *text)
{
    char directory[PATH_MAX];
    struct stat program, mounts;

    if (!append_environment(text) || stat("/proc/self/exe", &program) != 0 ||
        stat("/proc/self/ns/mnt", &mounts) != 0 || getcwd(directory, sizeof directory) == NULL) {
        return false;
    }
    buffer_append_format(text, "%s %llu %llu %lld.%09ld %llu %s", VERSION, (unsigned long long)program.st_dev,
                         (unsigned long long)program.st_ino, (long long)program.st_mtim.tv_sec,
                         program.st_mtim.tv_nsec, (unsigned long long)mounts.st_ino, directory);
    errno = text->failed ? ENOMEM : 0;
    return !text->failed;
}

/* A directory of this user's that nobody else may look into; somebody else's is not used. */
static bool make_directory(void)
{
    struct stat directory;

    if ((mkdir(self.directory, S_IRWXU) != 0 && errno != EEXIST) || lstat(self.directory, &directory) != 0) {
        return false;
    }
    if (!S_ISDIR(directory.st_mode) || directory.st_uid != geteuid() ||
        (directory.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        errno = EPERM;
        return false;
    }
    return true;
}

static bool find_path(void)
{
    char hex[DIGEST_HEX_SIZE];
    struct buffer text;
    bool ok;

    if (self.path[0] != '\0') {
        return true;
    }
    (void)snprintf(self.directory, sizeof self.directory, "/dev/shm/incidents-cgi-%u", (unsigned)geteuid());
    buffer_init(&text, ENVIRONMENT_MAX);
    ok = append_circumstances(&text);
    if (ok) {
        digest_sha256((struct slice){.data = text.data, .len = text.len}, hex);
        (void)snprintf(self.path, sizeof self.path, "%s/%.32s", self.directory, hex);
    }
    buffer_free(&text);
    return ok;
}

static const char *lock_path(char path[PATH_SIZE])
{
    (void)snprintf(path, PATH_SIZE, "%.*s.lock", PATH_SIZE - 8, self.path);
    return path;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    (void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return address;
}

/* Closes a descriptor, and leaves errno as it is; -1. */
static int give_up(int descriptor)
{
    int failure = errno;

    if (descriptor >= 0) {
        (void)close(descriptor);
    }
    errno = failure;
    return -1;
}

static ino_t inode_of(const char *path)
{
    struct stat file;

    return stat(path, &file) == 0 ? file.st_ino : 0;
}

/* It does not wait where the resident has no room for another: the request is better served by itself then.
 */
int resident_connect(void)
{
    struct sockaddr_un address;
    int connection;

    if (!find_path() || !make_directory()) {
        return -1;
    }
    address = address_of(self.path);
    self.found = inode_of(self.path);
    connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection < 0 || connect(connection, (const struct sockaddr *)&address, sizeof address) != 0) {
        return give_up(connection);
    }
    return connection;
}

void resident_forsake(void)
{
    if (self.found == inode_of(self.path)) {
        (void)unlink(self.path);
    }
}

/* Whether the lock's file is still there for others to find: whoever ends removes it, and so may the system.
 */
static bool is_in_place(int lock)
{
    struct stat file;

    return fstat(lock, &file) == 0 && file.st_nlink > 0;
}

/* The lock; -1 where somebody else has it, EEXIST. */
static int take_lock(void)
{
    char path[PATH_SIZE];
    int lock = open(lock_path(path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);

    if (lock >= 0 && (flock(lock, LOCK_EX | LOCK_NB) != 0 || !is_in_place(lock))) {
        errno = EEXIST;
        return give_up(lock);
    }
    return lock;
}

/* A listening socket that nobody looks for yet. Its name is the lock's number, so it is the same for whoever
 * has the lock next, where this one is killed before it serves. */
static int listen_unseen(int lock)
{
    struct sockaddr_un address;
    struct stat file = {0};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)fstat(lock, &file);
    (void)snprintf(self.unseen, sizeof self.unseen, "%s/new.%llu", self.directory,
                   (unsigned long long)file.st_ino);
    (void)unlink(self.unseen);
    address = address_of(self.unseen);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, BACKLOG) != 0) {
        return give_up(listener);
    }
    return listener;
}

/* The client's token is among the variables, and whatever its query string says among the arguments, for ps
 * to show. */
static void forget_request(char **arguments)
{
    for (char **entry = environ; *entry != NULL; entry++) {
        if (!matters(*entry)) {
            memset(*entry, 0, strlen(*entry));
        }
    }
    for (size_t i = 1; arguments[0] != NULL && arguments[i] != NULL; i++) {
        memset(arguments[i], 0, strlen(arguments[i]));
    }
}

/* In the child: nothing of the request's or the web server's stays with it, but standard error, for a while.
 * The web server waits for the end of what the request writes. */
static bool settle(int lock, int listener, char **arguments)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);

    log_close();
    metrics_close();
    forget_request(arguments);
    if (nowhere < 0 || setsid() < 0 || dup2(listener, STDIN_FILENO) < 0 || dup2(nowhere, STDOUT_FILENO) < 0 ||
        (lock != LOCK && dup2(lock, LOCK) < 0)) {
        return false;
    }
    self.lock = LOCK;
    closefrom(LOCK + 1);
    (void)prctl(PR_SET_NAME, process_name);
    return true;
}

pid_t resident_leave(char **arguments)
{
    int lock, listener, failure;
    pid_t child;

    if (!find_path() || !make_directory()) {
        return -1;
    }
    lock = take_lock();
    if (lock < 0 && errno == ENOENT && make_directory()) { /* the last to end removed it just now */
        lock = take_lock();
    }
    if (lock < 0) {
        return -1;
    }
    listener = listen_unseen(lock);
    child = listener < 0 ? -1 : fork();
    if (child == 0) {
        self.has_name = true;
        self.lock = lock;
        if (!settle(lock, listener, arguments)) {
            log_error("unable to stay: %s", strerror(errno));
            resident_withdraw();
            _exit(EXIT_FAILURE);
        }
        return 0;
    }
    if (child < 0) {
        failure = errno;
        (void)unlink(self.unseen);
        errno = failure;
    }
    (void)give_up(listener);
    (void)give_up(lock);
    return child;
}

bool resident_publish(void)
{
    if (!is_in_place(self.lock)) {
        errno = EEXIST; /* somebody else may be here by now */
        return false;
    }
    self.found = inode_of(self.unseen);
    return rename(self.unseen, self.path) == 0 && dup2(STDOUT_FILENO, STDERR_FILENO) >= 0;
}

bool resident_is_found(void)
{
    return self.found == inode_of(self.path);
}

void resident_withdraw(void)
{
    char path[PATH_SIZE];

    if (!atomic_exchange(&self.has_name, false)) {
        return;
    }
    (void)unlink(self.unseen);
    if (is_in_place(self.lock)) { /* else the socket of that name is another's */
        (void)unlink(self.path);
        (void)unlink(lock_path(path));
        (void)rmdir(self.directory); /* unless others are there */
    }
    (void)close(self.lock);
}
