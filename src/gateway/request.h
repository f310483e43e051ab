/* A request as the web server hands it over, whatever the protocol (RFC 3875 names the variables). */
#ifndef INCIDENTS_GATEWAY_REQUEST_H
#define INCIDENTS_GATEWAY_REQUEST_H

#include "base/buffer.h"

enum { REQUEST_ID_MAX = 128 };

enum body_state {
    BODY_COMPLETE,
    BODY_TOO_LARGE, /* over the limit; it was read and thrown away */
    BODY_CUT_SHORT, /* it ended before, or went on behind, its CONTENT_LENGTH */
    BODY_NO_MEMORY, /* there was no memory to keep it in */
};

/* Strings are borrowed from the protocol's layer and live as long as the request. */
struct request {
    const char *verb;            /* REQUEST_METHOD; empty where the server gave none */
    const char *method;          /* the last segment of the path; empty where there is none */
    const char *authorization;   /* NULL where there is none */
    char id[REQUEST_ID_MAX + 1]; /* the client's X-Request-Id where it can be used, else a fresh one */
    struct slice body;
    enum body_state body_state;
};

/* Looks a variable up; NULL where it is not set. */
typedef const char *request_variable(void *context, const char *name);

/* Sets all but the body. */
void request_init(struct request *request, request_variable *variable, void *context);

/* Where a body comes from. read gives what there is, at most len bytes; 0 at the end, -1 when it broke. */
struct body_source {
    long (*read)(void *context, char *data, size_t len);
    void *context;
    const char *content_length; /* CONTENT_LENGTH; NULL or empty where the server gave none */
    bool ends_by_itself;        /* read says where the body ends; else the length alone does (CGI) */
};

/* Reads the body into `body`, and request->body points there. What is over `limit` bytes is read and thrown
 * away, so that a kept connection stays in step; false where there is so much of it, or the source broke so,
 * that the connection must be closed behind the answer. */
bool request_read_body(struct request *request, const struct body_source *source, size_t limit,
                       struct buffer *body);

#endif
