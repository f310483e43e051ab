/* A FastCGI client that talks straight to the worker, one byte after the other, so that a test can say it
 * wrong. Names and numbers are those of the FastCGI specification, version 1.0. */
#ifndef INCIDENTS_TESTS_FASTCGI_H
#define INCIDENTS_TESTS_FASTCGI_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "harness/http.h"

enum fastcgi_type {
    FASTCGI_BEGIN_REQUEST = 1,
    FASTCGI_ABORT_REQUEST = 2,
    FASTCGI_END_REQUEST = 3,
    FASTCGI_PARAMS = 4,
    FASTCGI_STDIN = 5,
    FASTCGI_STDOUT = 6,
    FASTCGI_STDERR = 7,
    FASTCGI_DATA = 8,
    FASTCGI_GET_VALUES = 9,
    FASTCGI_GET_VALUES_RESULT = 10,
    FASTCGI_UNKNOWN_TYPE = 11,
};

enum { FASTCGI_BYTES_MAX = 64 * 1024 * 1024, FASTCGI_VARIABLES_MAX = 8 };

/* A request. Only path, and with POST the body, need be set. */
struct fastcgi_request {
    int id;                                           /* 1 where 0 */
    bool keep;                                        /* FCGI_KEEP_CONN */
    const char *verb;                                 /* "POST" where NULL */
    const char *path;                                 /* PATH_INFO behind its '/' */
    const char *authorization;                        /* NULL: the stack's good token; "": none */
    const char *content_length;                       /* NULL: the body's; "": no such variable */
    const char *body;                                 /* NULL: none */
    size_t body_len;                                  /* 0: strlen(body) */
    const char *variables[2 * FASTCGI_VARIABLES_MAX]; /* more of them: name, value, name, value ... */
};

/* What the worker said. */
enum fastcgi_end {
    FASTCGI_ANSWERED, /* a whole response, END_REQUEST included */
    FASTCGI_CLOSED,   /* the connection's end came first */
    FASTCGI_SILENT,   /* nothing came in time */
    FASTCGI_BROKEN,   /* it is no FastCGI */
};

/* Appends a record. len is at most 65,535. */
void fastcgi_append_record(struct buffer *out, int version, int type, int id, const void *content,
                           size_t len);

/* Appends a stream: as many records as it takes, and the empty one that ends it. */
void fastcgi_append_stream(struct buffer *out, int type, int id, const void *content, size_t len);

/* Appends FCGI_BEGIN_REQUEST with the role of a responder. */
void fastcgi_append_begin(struct buffer *out, int id, bool keep);

/* Appends the name and the value to the content of a FCGI_PARAMS stream. */
void fastcgi_append_variable(struct buffer *params, const char *name, const char *value);

/* Appends the request up to the end of its FCGI_PARAMS: the body's records are still to come. */
void fastcgi_append_head(struct buffer *out, const struct stack *stack,
                         const struct fastcgi_request *request);

/* Appends the whole request. */
void fastcgi_append_request(struct buffer *out, const struct stack *stack,
                            const struct fastcgi_request *request);

/* Connects to a unix socket; writes and reads on it end after 20 s. */
int fastcgi_connect(const char *socket_path);

/* The same to a socket of TCP, of this machine. */
int fastcgi_connect_tcp(int port);

/* Writes it all; false where the peer takes no more. */
bool fastcgi_send(int fd, const void *data, size_t len);

/* Reads one response, records of other types than STDOUT and END_REQUEST skipped. http_response_free in
 * either case.
 */
enum fastcgi_end fastcgi_receive(int fd, int timeout_ms, struct http_response *response);

/* Reads one record's header and content (size bytes at most are kept); its type, 0 at the end of the
 * connection, -1 where nothing came in time. */
int fastcgi_receive_record(int fd, int timeout_ms, char *content, size_t size, size_t *len);

/* Connects, sends the request, receives the response, closes. */
enum fastcgi_end fastcgi_exchange(const struct stack *stack, const struct fastcgi_request *request,
                                  struct http_response *response);

#endif
