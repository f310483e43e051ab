/* A FastCGI client that talks straight to the worker, one byte after the other, so that a test can say it
 * wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi.h"

enum { HEADER_BYTES = 8, CONTENT_MAX = 65535, IO_TIMEOUT_S = 20, RESPONDER = 1, KEEP_CONN = 1 };

void fastcgi_append_record(struct buffer *out, int version, int type, int id, const void *content, size_t len)
{
    static const char zeros[8];
    size_t padding = (8 - len % 8) % 8;
    const unsigned char header[HEADER_BYTES] = {
        (unsigned char)version,    (unsigned char)type,         (unsigned char)(id >> 8), (unsigned char)id,
        (unsigned char)(len >> 8), (unsigned char)(len & 0xff), (unsigned char)padding,   0,
    };

    assert_true(len <= CONTENT_MAX);
    buffer_append(out, header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, zeros, padding);
}

void fastcgi_append_stream(struct buffer *out, int type, int id, const void *content, size_t len)
{
    const char *data = content;

    while (len > 0) {
        size_t piece = len < 60000 ? len : 60000;

        fastcgi_append_record(out, 1, type, id, data, piece);
        data += piece;
        len -= piece;
    }
    fastcgi_append_record(out, 1, type, id, "", 0);
}

void fastcgi_append_begin(struct buffer *out, int id, bool keep)
{
    const unsigned char body[8] = {0, RESPONDER, keep ? KEEP_CONN : 0};

    fastcgi_append_record(out, 1, FASTCGI_BEGIN_REQUEST, id, body, sizeof body);
}

static void append_length(struct buffer *out, size_t len)
{
    const unsigned char bytes[4] = {(unsigned char)(0x80 | (len >> 24)), (unsigned char)(len >> 16),
                                    (unsigned char)(len >> 8), (unsigned char)len};

    buffer_append(out, len < 128 ? bytes + 3 : bytes, len < 128 ? 1 : 4);
}

void fastcgi_append_variable(struct buffer *params, const char *name, const char *value)
{
    append_length(params, strlen(name));
    append_length(params, strlen(value));
    buffer_append_text(params, name);
    buffer_append_text(params, value);
}

static int id_of(const struct fastcgi_request *request)
{
    return request->id == 0 ? 1 : request->id;
}

static size_t body_length(const struct fastcgi_request *request)
{
    if (request->body == NULL) {
        return 0;
    }
    return request->body_len > 0 ? request->body_len : strlen(request->body);
}

static void append_authorization(struct buffer *params, const struct stack *stack, const char *authorization)
{
    char value[STACK_TOKEN_MAX + 16];

    if (authorization == NULL) {
        snprintf(value, sizeof value, "Bearer %s", stack->token);
        authorization = value;
    }
    if (*authorization != '\0') {
        fastcgi_append_variable(params, "HTTP_AUTHORIZATION", authorization);
    }
}

void fastcgi_append_head(struct buffer *out, const struct stack *stack, const struct fastcgi_request *request)
{
    struct buffer params;
    char value[1024];

    buffer_init(&params, FASTCGI_BYTES_MAX);
    fastcgi_append_variable(&params, "GATEWAY_INTERFACE", "CGI/1.1");
    fastcgi_append_variable(&params, "SERVER_PROTOCOL", "HTTP/1.1");
    fastcgi_append_variable(&params, "REQUEST_METHOD", request->verb == NULL ? "POST" : request->verb);
    snprintf(value, sizeof value, "/%s", request->path);
    fastcgi_append_variable(&params, "PATH_INFO", value);
    append_authorization(&params, stack, request->authorization);
    snprintf(value, sizeof value, "%zu", body_length(request));
    if (request->content_length == NULL || *request->content_length != '\0') {
        fastcgi_append_variable(&params, "CONTENT_LENGTH",
                                request->content_length == NULL ? value : request->content_length);
    }
    for (size_t i = 0; i + 1 < 2 * FASTCGI_VARIABLES_MAX && request->variables[i] != NULL; i += 2) {
        fastcgi_append_variable(&params, request->variables[i], request->variables[i + 1]);
    }
    fastcgi_append_begin(out, id_of(request), request->keep);
    fastcgi_append_stream(out, FASTCGI_PARAMS, id_of(request), params.data, params.len);
    buffer_free(&params);
}

void fastcgi_append_request(struct buffer *out, const struct stack *stack,
                            const struct fastcgi_request *request)
{
    fastcgi_append_head(out, stack, request);
    fastcgi_append_stream(out, FASTCGI_STDIN, id_of(request), request->body, body_length(request));
}

static int connect_to(const struct sockaddr *address, socklen_t size)
{
    static const struct timeval timeout = {.tv_sec = IO_TIMEOUT_S};
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, address, size) != 0) {
        fail_msg("unable to connect to the worker: %s", strerror(errno));
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    return fd;
}

int fastcgi_connect(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    assert_true(snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path) <
                (int)sizeof address.sun_path);
    return connect_to((const struct sockaddr *)&address, sizeof address);
}

int fastcgi_connect_tcp(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return connect_to((const struct sockaddr *)&address, sizeof address);
}

bool fastcgi_send(int fd, const void *data, size_t len)
{
    const char *bytes = data;

    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);

        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

/* Reads exactly len bytes; how many came, -1 where time ran out first. */
static long receive_all(int fd, int64_t deadline_ms, char *data, size_t len)
{
    size_t got = 0;

    while (got < len) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        int64_t left = deadline_ms - clock_now_ms();
        ssize_t n;

        if (left <= 0 || poll(&readable, 1, (int)left) <= 0) {
            return -1;
        }
        n = recv(fd, data + got, len - got, 0);
        if (n <= 0) {
            break;
        }
        got += (size_t)n;
    }
    return (long)got;
}

int fastcgi_receive_record(int fd, int timeout_ms, char *content, size_t size, size_t *len)
{
    int64_t deadline_ms = clock_now_ms() + timeout_ms;
    unsigned char header[HEADER_BYTES];
    char rest[CONTENT_MAX + 255];
    long got = receive_all(fd, deadline_ms, (char *)header, sizeof header);
    size_t content_len;

    *len = 0;
    if (got < (long)sizeof header) {
        return got < 0 ? -1 : 0;
    }
    content_len = (size_t)(header[4] << 8 | header[5]);
    got = receive_all(fd, deadline_ms, rest, content_len + header[6]);
    if (got < (long)content_len + header[6]) {
        return got < 0 ? -1 : 0;
    }
    *len = content_len < size ? content_len : size;
    memcpy(content, rest, *len);
    return header[1];
}

/* Splits CGI's form of a response (RFC 3875 section 6) into status, head and body. */
static void split(const struct buffer *output, struct http_response *response)
{
    const char *blank = output->data == NULL ? NULL : strstr(output->data, "\r\n\r\n");

    if (blank == NULL || strncmp(output->data, "Status: ", 8) != 0) {
        return;
    }
    response->status = (int)strtol(output->data + 8, NULL, 10);
    snprintf(response->head, sizeof response->head, "%.*s", (int)(blank - output->data) + 2, output->data);
    snprintf(response->body, sizeof response->body, "%s", blank + 4);
    response->json = response->body[0] == '\0' ? NULL : json_tokener_parse(response->body);
}

enum fastcgi_end fastcgi_receive(int fd, int timeout_ms, struct http_response *response)
{
    static _Thread_local char content[CONTENT_MAX];
    struct buffer output;
    enum fastcgi_end end;
    size_t len;
    int type;

    *response = (struct http_response){0};
    buffer_init(&output, FASTCGI_BYTES_MAX);
    while ((type = fastcgi_receive_record(fd, timeout_ms, content, sizeof content, &len)) > 0 &&
           type != FASTCGI_END_REQUEST && type <= FASTCGI_UNKNOWN_TYPE) {
        if (type == FASTCGI_STDOUT) {
            buffer_append(&output, content, len);
        }
    }
    if (type == FASTCGI_END_REQUEST) {
        end = FASTCGI_ANSWERED;
        split(&output, response);
    } else if (type == 0) {
        end = FASTCGI_CLOSED;
    } else {
        end = type < 0 ? FASTCGI_SILENT : FASTCGI_BROKEN;
    }
    buffer_free(&output);
    return end;
}

enum fastcgi_end fastcgi_exchange(const struct stack *stack, const struct fastcgi_request *request,
                                  struct http_response *response)
{
    int fd = fastcgi_connect(stack->worker_socket);
    struct buffer bytes;
    enum fastcgi_end end;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, stack, request);
    fastcgi_send(fd, bytes.data, bytes.len); /* the worker may have answered and closed before all of it */
    end = fastcgi_receive(fd, IO_TIMEOUT_S * 1000, response);
    buffer_free(&bytes);
    close(fd);
    return end;
}
