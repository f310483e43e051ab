/* Sending a request the way a client does, over HTTP through nginx, or as a CGI server does, and taking the
 * response apart. */
#ifndef INCIDENTS_TESTS_HTTP_H
#define INCIDENTS_TESTS_HTTP_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness/stack.h"

enum { HTTP_HEAD_MAX = 4096, HTTP_BODY_MAX = 131072, HTTP_HEADERS_MAX = 8 };

/* What to send. Only path and, with POST, body need be set. */
struct call {
    const char *verb;          /* "POST" where NULL */
    const char *path;          /* the method's name: incidents.upsert */
    const char *body;          /* NULL: none */
    size_t body_len;           /* 0: strlen(body) */
    const char *authorization; /* NULL: the stack's good token; "": no such header; else the header's value */
    const char *headers[HTTP_HEADERS_MAX]; /* more of them, "Name: value"; without a Content-Type,
                                              application/json is sent */
    const char *query;                     /* behind a '?'; NULL: none */
};

struct http_response {
    int status;
    char head[HTTP_HEAD_MAX]; /* the header lines, each with its line end */
    char body[HTTP_BODY_MAX];
    struct json_object *json; /* the body; NULL where it is not JSON. Owned: http_response_free */
};

/* How to send it. */
typedef void http_transport(struct stack *stack, const struct call *call, struct http_response *response);

/* Over HTTP/1.1 through nginx, on a connection of the calling thread that is kept. */
http_transport http_through_nginx;

/* As plain CGI: the worker's program runs for this request alone. Not for several threads at once. */
http_transport http_as_cgi;

/* The same with more variables (NAME=value, NULL at the end), and however the program ends: the response's
 * status is 0 where it gave none. Overwrites what process_run returned. */
const struct outcome *http_run_cgi(struct stack *stack, const struct call *call,
                                   const char *const environment[], struct http_response *response);

/* Sends it and frees the response: its status. */
int http_status(struct stack *stack, http_transport *transport, const struct call *call);

/* The same where the response must have that status: fails the test with what it said where it has not.
 * Returns its action, "" where it has none, good until the next call. For the main thread, as the next two.
 */
const char *http_expect(struct stack *stack, http_transport *transport, const struct call *call, int status);

/* A body to a method, through nginx, with the stack's good token. */
const char *http_post(struct stack *stack, const char *path, const char *body, int status);

/* Upserts an incident with that id, and nothing more than it needs, in the same way; the status. */
int http_upsert(struct stack *stack, const char *reference_id);

void http_response_free(struct http_response *response);

/* A header's value in buffer (size bytes); NULL where there is no such header. Names are compared in any
 * case. */
const char *http_response_header(const struct http_response *response, const char *name, char *buffer,
                                 size_t size);

/* A string member of the body; "" where there is none. */
const char *http_response_text(const struct http_response *response, const char *member);

/* Closes the calling thread's connection. */
void http_close(void);

bool http_is_listening(const char *socket_path);

#endif
