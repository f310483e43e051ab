/* A request as the web server hands it over, whatever the protocol (RFC 3875 names the variables). */
#ifndef INCIDENTS_HTTP_REQUEST_H
#define INCIDENTS_HTTP_REQUEST_H

#include <stdint.h>

#include "base/buffer.h"

enum {
    REQUEST_ID_MAX = 128,
    REQUEST_PARAMS_MAX =
        128 * 1024,          /* bytes of a request's variables; what web servers let through is less */
    CLIENT_ADDRESS_MAX = 64, /* an IPv6 address with its zone is shorter */
    BODY_DRAIN_FACTOR = 16,  /* FastCGI: a body over so many times the limit is answered before its end */
    BODY_DRAIN_MAX = 1024 * 1024 * 1024, /* bytes of a body that are read and thrown away at most */
};

/* The variables that make a request, and the only ones that are looked up. */
enum request_variable_number {
    REQUEST_METHOD,
    PATH_INFO,
    SCRIPT_NAME,
    CONTENT_LENGTH,
    CONTENT_TYPE,
    REMOTE_ADDR,
    HTTP_CONTENT_ENCODING,
    HTTP_X_REQUEST_ID,
    HTTP_AUTHORIZATION, /* Apache moves it to the two behind it, once for each internal redirect */
    REDIRECT_HTTP_AUTHORIZATION,
    REDIRECT_REDIRECT_HTTP_AUTHORIZATION,
    REQUEST_VARIABLES
};

enum body_state {
    BODY_COMPLETE,
    BODY_TOO_LARGE, /* over the limit; it was read and thrown away */
    BODY_CUT_SHORT, /* it ended before, or went on behind, its CONTENT_LENGTH */
    BODY_NO_MEMORY, /* there was no memory to keep it in */
};

/* Strings are borrowed from the protocol's layer and live as long as the request. */
struct request {
    const char *verb;          /* REQUEST_METHOD; empty where the server gave none */
    const char *method;        /* the last segment of the path; empty where there is none */
    const char *authorization; /* NULL where there is none */
    const char *content_type;  /* empty where there is none, as the two below */
    const char *content_encoding;
    const char *client;          /* REMOTE_ADDR; empty, too, where it could be no address */
    char id[REQUEST_ID_MAX + 1]; /* the client's X-Request-Id where it can be used, else a fresh one */
    struct slice body;
    enum body_state body_state;
    size_t body_limit; /* for the body, in bytes */
};

/* Looks a variable up; NULL where it is not set. */
typedef const char *request_variable(void *context, enum request_variable_number number);

/* The number of the variable of that name; REQUEST_VARIABLES where it is none of ours. */
size_t request_find_variable(struct slice name);

/* The variable's name. */
const char *request_variable_name(enum request_variable_number number);

/* Its value; "" where it is not set. */
const char *request_look_up(request_variable *variable, void *context, enum request_variable_number number);

/* Sets all but the body. */
void request_init(struct request *request, request_variable *variable, void *context);

enum { CONTENT_LENGTH_NONE = -1 };

/* Reads CONTENT_LENGTH: digits alone (RFC 9110 section 8.6), in bytes. CONTENT_LENGTH_NONE where none is
 * given: the text is empty, or "-1", which Caddy's FastCGI client sends for a body whose length it does not
 * know. False where it is no number, or one that no body of ours will ever have. */
bool request_read_content_length(struct slice text, int64_t *length);

/* Where a body comes from. read gives what there is, at most len bytes; 0 at the end, -1 when it broke. */
struct body_source {
    long (*read)(void *context, char *data, size_t len);
    void *context;
    const char *content_length; /* CONTENT_LENGTH; empty where the server gave none: then read says where the
                                   body ends, else the length does (RFC 3875 section 4.2) */
};

/* Reads the body into `body`, and request->body points there. What is over `limit` bytes is read and thrown
 * away, up to BODY_DRAIN_MAX. */
void request_read_body(struct request *request, const struct body_source *source, size_t limit,
                       struct buffer *body);

/* Takes a body that was read: `total` bytes came, and are in `body` unless they are more than the limit. */
void request_set_body(struct request *request, const char *content_length, const struct buffer *body,
                      size_t total, size_t limit);

#endif
