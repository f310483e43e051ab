/* A slow way to Postgres: what a client says is handed on after a delay, what the server says at once. It has
 * a batch of the size that is asked for gather in the worker, whatever worker, web server and load can do on
 * the processors that Postgres leaves them. slow_link LISTEN SERVER MICROSECONDS ROUNDS LISTEN and SERVER are
 * Unix sockets; the file ROUNDS says how often something was handed on: the round trips. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1024 * 1024, BACKLOG = 64 };

struct direction {
    int from, to;
    long delay_us;
};

static int rounds_file;
static long rounds;
static pthread_mutex_t rounds_mutex = PTHREAD_MUTEX_INITIALIZER;

static void fail(const char *what)
{
    fprintf(stderr, "slow_link: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void count_round(void)
{
    char text[24];
    int length;

    pthread_mutex_lock(&rounds_mutex);
    length = snprintf(text, sizeof text, "%ld\n", ++rounds);
    if (pwrite(rounds_file, text, (size_t)length, 0) != length) {
        fail("rounds");
    }
    pthread_mutex_unlock(&rounds_mutex);
}

static bool write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = send(fd, data, length, MSG_NOSIGNAL);

        if (written <= 0) {
            return false;
        }
        data += written;
        length -= (size_t)written;
    }
    return true;
}

/* Until one of the two has closed. */
static void *carry(void *context)
{
    struct direction *way = context;
    const struct timespec delay = {way->delay_us / 1000000, way->delay_us % 1000000 * 1000};
    char *chunk = malloc(CHUNK);
    struct pollfd input = {.fd = way->from, .events = POLLIN};
    ssize_t length;

    if (chunk == NULL) {
        fail("malloc");
    }
    do {
        if (way->delay_us > 0 && poll(&input, 1, -1) == 1) {
            nanosleep(&delay, NULL);
            count_round();
        }
        length = read(way->from, chunk, CHUNK);
    } while (length > 0 && write_all(way->to, chunk, (size_t)length));
    shutdown(way->from, SHUT_RD);
    shutdown(way->to, SHUT_WR);
    free(chunk);
    return NULL;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int open_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0) {
        fail("socket");
    }
    return fd;
}

struct link {
    struct direction out, back;
};

/* Both directions of one connection. */
static void *serve(void *context)
{
    struct link *link = context;
    pthread_t back;

    if (pthread_create(&back, NULL, carry, &link->back) != 0) {
        fail("pthread_create");
    }
    carry(&link->out);
    pthread_join(back, NULL);
    close(link->out.from);
    close(link->out.to);
    free(link);
    return NULL;
}

static void accept_one(int listener, const struct sockaddr_un *server, long delay_us)
{
    int client = accept(listener, NULL, NULL), to;
    struct link *link = malloc(sizeof *link);
    pthread_t thread;

    if (client < 0 || link == NULL) {
        fail("accept");
    }
    to = open_socket();
    if (connect(to, (const struct sockaddr *)server, sizeof *server) != 0) {
        close(to); /* the client learns it, and comes again */
        close(client);
        free(link);
        return;
    }
    *link = (struct link){.out = {client, to, delay_us}, .back = {to, client, 0}};
    if (pthread_create(&thread, NULL, serve, link) != 0) {
        fail("pthread_create");
    }
    pthread_detach(thread);
}

int main(int argc, char **argv)
{
    struct sockaddr_un own, server;
    int listener;

    if (argc != 5) {
        fprintf(stderr, "usage: slow_link LISTEN SERVER MICROSECONDS ROUNDS\n");
        return EXIT_FAILURE;
    }
    own = address_of(argv[1]);
    server = address_of(argv[2]);
    rounds_file = open(argv[4], O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (rounds_file < 0) {
        fail(argv[4]);
    }
    listener = open_socket();
    unlink(argv[1]);
    if (bind(listener, (const struct sockaddr *)&own, sizeof own) != 0 || listen(listener, BACKLOG) != 0) {
        fail(argv[1]);
    }
    for (;;) {
        accept_one(listener, &server, strtol(argv[3], NULL, 10));
    }
}
