/* Apache before a stack's worker. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "harness/apache.h"

enum { CONFIGURATION_MAX = 64 * 1024, TIMEOUT_MS = 60000 };

static const char modules_directory[] = "/usr/lib/apache2/modules";

/* A file that we ship, with this stack's socket; its last line includes another one, which comes in its
 * place.
 */
static void append_shipped(struct buffer *out, const struct stack *stack, const char *path,
                           const char *included)
{
    static const char socket[] = "/run/incidents/incidents.sock";
    char *text = read_whole_file(path), *rest = read_whole_file(included), *include;
    const char *at = text, *found;

    include = strstr(text, "\nInclude ");
    assert_non_null(include);
    assert_non_null(strstr(include, included));
    *include = '\0';

    while ((found = strstr(at, socket)) != NULL) {
        buffer_append(out, at, (size_t)(found - at));
        buffer_append_text(out, stack->worker_socket);
        at = found + sizeof socket - 1;
    }
    buffer_append_text(out, at);
    buffer_append_text(out, "\n");
    buffer_append_text(out, rest);
    assert_ptr_not_equal(at, text);
    free(text);
    free(rest);
}

static void write_configuration(const struct stack *stack, const char *path, int port, size_t clients)
{
    static const char *const modules[] = {"mpm_event", "authz_core", "alias",
                                          "headers",   "proxy",      "proxy_fcgi"};
    struct buffer text;
    FILE *file;

    buffer_init(&text, CONFIGURATION_MAX);
    buffer_append_format(&text,
                         "ServerRoot %s\nServerName localhost\nPidFile %s/apache.pid\nDefaultRuntimeDir %s\n"
                         "ErrorLog %s/apache-error.log\nListen 127.0.0.1:%d\nDocumentRoot %s\n",
                         stack->directory, stack->directory, stack->directory, stack->directory, port,
                         stack->directory);
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        buffer_append_format(&text, "LoadModule %s_module %s/mod_%s.so\n", modules[i], modules_directory,
                             modules[i]);
    }
    buffer_append_format(&text,
                         "ThreadsPerChild 25\nServerLimit %zu\nMaxRequestWorkers %zu\nStartServers %zu\n"
                         "MinSpareThreads 25\nMaxSpareThreads %zu\n",
                         clients / 25 + 2, (clients / 25 + 2) * 25, clients / 25 + 2,
                         (clients / 25 + 2) * 25);
    append_shipped(&text, stack, "apache/incidents-proxy.conf", "apache/incidents-errors.conf");
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0644), 0);
    buffer_free(&text);
}

int apache_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

pid_t apache_start(const struct stack *stack, int port, size_t clients)
{
    char path[128], log[128];
    const char *const argv[] = {"scripts/service", "program", "apache2", "-DFOREGROUND", "-f", path, NULL};
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t pid;
    int fd;

    snprintf(path, sizeof path, "%s/apache.conf", stack->directory);
    snprintf(log, sizeof log, "%s/apache.log", stack->directory);
    write_configuration(stack, path, port, clients);
    pid = process_start(argv, NULL, log);
    while ((fd = apache_connect(port)) < 0) {
        if (clock_now_ms() > deadline_ms || process_wait(pid, 50) >= 0) {
            char *text = read_whole_file(log);

            fprintf(stderr, "%s\n", text);
            free(text);
            fail_msg("Apache does not start");
        }
    }
    close(fd);
    return pid;
}

int find_port(void)
{
    static const char *const argv[] = {"scripts/free-port", NULL};

    return (int)strtol(process_run(argv, NULL, NULL, 0)->out, NULL, 10);
}
