/* A server that says what a test has it say. */
#include "harness/fake_postgres.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/binary.h"

enum { BYTES_MAX = 64 * 1024, TIMEOUT_MS = 20000 };

void fake_postgres_say(const struct fake_postgres *server, char type, const void *content, size_t len)
{
    struct buffer message;

    buffer_init(&message, BYTES_MAX);
    buffer_append(&message, &type, 1);
    binary_append_int32(&message, (int32_t)len + 4);
    buffer_append(&message, content, len);
    assert_int_equal(send(server->socket, message.data, message.len, MSG_NOSIGNAL), message.len);
    buffer_free(&message);
}

void fake_postgres_say_ready(const struct fake_postgres *server)
{
    fake_postgres_say(server, 'Z', "I", 1);
}

static void append_field(struct buffer *content, char code, const char *text)
{
    if (text != NULL) {
        buffer_append(content, &code, 1);
        buffer_append(content, text, strlen(text) + 1);
    }
}

void fake_postgres_say_error(const struct fake_postgres *server, const char *sqlstate, const char *function,
                             const char *table)
{
    struct buffer content;

    buffer_init(&content, BYTES_MAX);
    append_field(&content, 'S', "ERROR");
    append_field(&content, 'V', "ERROR");
    append_field(&content, 'C', sqlstate);
    append_field(&content, 'M', "no");
    append_field(&content, 't', table);
    append_field(&content, 'R', function);
    buffer_append(&content, "", 1);
    fake_postgres_say(server, 'E', content.data, content.len);
    buffer_free(&content);
}

static void append_int16(struct buffer *buffer, size_t number)
{
    const unsigned char bytes[] = {(unsigned char)(number >> 8), (unsigned char)number};

    buffer_append(buffer, bytes, sizeof bytes);
}

/* RowDescription: of each column its name, its table and number there, its type with length and modifier, and
 * its format. */
static void say_columns(const struct fake_postgres *server, bool is_binary, size_t count)
{
    struct buffer content;

    buffer_init(&content, BYTES_MAX);
    append_int16(&content, count);
    for (size_t i = 0; i < count; i++) {
        buffer_append(&content, "column", sizeof "column");
        binary_append_int32(&content, 0);
        append_int16(&content, 0);
        binary_append_int32(&content, BINARY_TEXT);
        append_int16(&content, 0);
        binary_append_int32(&content, -1);
        append_int16(&content, is_binary);
    }
    fake_postgres_say(server, 'T', content.data, content.len);
    buffer_free(&content);
}

void fake_postgres_say_row(const struct fake_postgres *server, bool is_binary, const struct slice *values,
                           size_t count)
{
    struct buffer content;

    fake_postgres_say(server, '1', "", 0); /* ParseComplete, */
    fake_postgres_say(server, '2', "", 0); /* BindComplete */
    say_columns(server, is_binary, count);
    buffer_init(&content, BYTES_MAX);
    append_int16(&content, count);
    for (size_t i = 0; i < count; i++) {
        binary_append_int32(&content, values[i].data == NULL ? -1 : (int32_t)values[i].len);
        buffer_append_slice(&content, values[i]);
    }
    fake_postgres_say(server, 'D', content.data, content.len);
    fake_postgres_say(server, 'C', "SELECT 1", sizeof "SELECT 1");
    buffer_free(&content);
}

void fake_postgres_say_sync(const struct fake_postgres *server)
{
    static const char time[8] = {0, 2, 1}, pid[4] = {0, 0, 0, 5}, type[4] = {0, 0, 1, 1};

    fake_postgres_say_row(server, true, (const struct slice[]){{time, 8}, {time, 8}, {pid, 4}, {type, 4}}, 4);
    fake_postgres_say_ready(server);
}

static void append_text(struct buffer *array, const char *value)
{
    binary_append_int32(array, value == NULL ? -1 : (int32_t)strlen(value));
    buffer_append(array, value == NULL ? "" : value, value == NULL ? 0 : strlen(value));
}

void fake_postgres_say_result(const struct fake_postgres *server, const char *outcome, size_t count,
                              size_t labels_count, size_t outcomes_cut, size_t labels_cut)
{
    static const char time[8] = {0, 6, 1};
    struct buffer outcomes, labels;

    buffer_init(&outcomes, 1024);
    buffer_init(&labels, 1024);
    binary_append_array(&outcomes, BINARY_TEXT, count);
    binary_append_array(&labels, BINARY_TEXT, labels_count);
    for (size_t i = 0; i < count; i++) {
        append_text(&outcomes, outcome);
    }
    for (size_t i = 0; i < labels_count; i++) {
        append_text(&labels, i == 0 ? "label" : NULL);
    }
    fake_postgres_say_row(server, true,
                          (const struct slice[]){{outcomes.data, outcomes.len - outcomes_cut},
                                                 {labels.data, labels.len - labels_cut},
                                                 {time, 8},
                                                 {time, 8}},
                          4);
    buffer_free(&outcomes);
    buffer_free(&labels);
}

void fake_postgres_say_outcomes(const struct fake_postgres *server, const char *outcome, size_t count)
{
    fake_postgres_say_result(server, outcome, count, count, 0, 0);
    fake_postgres_say_ready(server);
}

void fake_postgres_listen(struct fake_postgres *server)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *server = (struct fake_postgres){.directory = "/tmp/fake-postgres.XXXXXX", .socket = -1};
    assert_non_null(mkdtemp(server->directory));
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.1", server->directory);
    server->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 8), 0);
}

void fake_postgres_accept(struct fake_postgres *server)
{
    assert_true(clock_poll(server->listener, POLLIN, clock_now_ms() + TIMEOUT_MS));
    server->socket = accept(server->listener, NULL, NULL);
    assert_true(server->socket >= 0);
    fake_postgres_say(server, 'R', "\0\0\0\0", 4); /* AuthenticationOk */
    fake_postgres_say_ready(server);
}

void fake_postgres_stop_listening(struct fake_postgres *server)
{
    char path[sizeof server->directory + sizeof "/.s.PGSQL.1"];

    snprintf(path, sizeof path, "%s/.s.PGSQL.1", server->directory);
    close(server->listener);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(server->directory), 0);
}

void fake_postgres_connect(struct fake_postgres *server)
{
    const char *const keywords[] = {"host", "port", "user", "dbname", "gssencmode", NULL};
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    fake_postgres_listen(server);
    server->pg = PQconnectStartParams(
        keywords, (const char *const[]){server->directory, "1", "anyone", "any", "disable", NULL}, 0);
    assert_non_null(server->pg);
    fake_postgres_accept(server);
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        assert_true(clock_poll(PQsocket(server->pg), status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
                               deadline_ms));
        status = PQconnectPoll(server->pg);
    }
    assert_int_equal(status, PGRES_POLLING_OK);
    assert_int_equal(PQsetnonblocking(server->pg, 1), 0);
    fake_postgres_stop_listening(server);
}

size_t fake_postgres_read(const struct fake_postgres *server)
{
    char chunk[4096];
    size_t total = 0;
    ssize_t got;

    assert_true(clock_poll(server->socket, POLLIN, clock_now_ms() + TIMEOUT_MS));
    while ((got = recv(server->socket, chunk, sizeof chunk, MSG_DONTWAIT)) > 0) {
        total += (size_t)got;
    }
    return total;
}

void fake_postgres_hang_up(struct fake_postgres *server)
{
    if (server->socket >= 0) {
        close(server->socket);
        server->socket = -1;
    }
}
