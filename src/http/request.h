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
    BODY_DRAIN_FACTOR = 16,  /* FastCGI: a body over so many times the limit is responded to before its end */
    BODY_DRAIN_MAX = 1024 * 1024 * 1024, /* bytes of a body that are read and thrown away at most */
};

/* The variables that make a request, and the only ones that are looked up. */
enum request_variable {
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

/* Bytes that come piece by piece, of which no more than a limit are kept. */
struct stream {
    struct buffer bytes; /* empty where more came than its max */
    size_t total;        /* bytes that came */
};

/* An empty stream that keeps max bytes. It needs no memory yet. stream_free it. */
void stream_init(struct stream *stream, size_t max);
void stream_free(struct stream *stream);

/* Forgets what came, and keeps the memory for what comes next, unless that is more than keep bytes. */
void stream_reset(struct stream *stream, size_t keep);

/* Appends a copy of the bytes. If there is no memory for them, bytes.failed is set. */
void stream_append(struct stream *stream, const char *data, size_t len);

bool stream_is_over_limit(const struct stream *stream);

enum body_state {
    BODY_COMPLETE,
    BODY_TOO_LARGE, /* over the limit; it was read and discarded */
    BODY_CUT_SHORT, /* it ended before, or went on behind, its CONTENT_LENGTH */
    BODY_NO_MEMORY, /* there was no memory to keep it in */
};

/* Strings are borrowed from the variables, and the body from its stream. */
struct request {
    const char *verb;          /* REQUEST_METHOD; empty where the server gave none */
    const char *method;        /* the last segment of the path; empty where there is none */
    const char *authorization; /* NULL where there is none */
    const char *content_type;  /* empty where there is none, as the two below */
    const char *content_encoding;
    const char *client;          /* REMOTE_ADDR; empty, too, where it could be no address */
    char id[REQUEST_ID_MAX + 1]; /* the client's X-Request-Id where it can be used, else a fresh one */
    struct slice body;           /* empty unless it is BODY_COMPLETE */
    enum body_state body_state;
    size_t body_limit; /* bytes */
};

/* The number of the variable of that name; REQUEST_VARIABLES for any other. */
size_t request_find_variable(struct slice name);

/* The variable's name. */
const char *request_variable_name(enum request_variable variable);

/* The client's address, of the variables, each NULL if it is not set; empty if there is none, or what could
 * be no address. It is as the web server says, or a proxy before it. */
const char *request_client(const char *const variables[REQUEST_VARIABLES]);

/* Makes a request of its variables, each NULL if it is not set, and of all that came of its body. There is
 * nothing to free; variables and body must outlive the request. */
void request_init(struct request *request, const char *const variables[REQUEST_VARIABLES],
                  const struct stream *body);

enum { CONTENT_LENGTH_NONE = -1 };

/* Reads CONTENT_LENGTH: digits alone (RFC 9110 section 8.6), in bytes. CONTENT_LENGTH_NONE where none is
 * given: the text is NULL, empty, or "-1", which Caddy's FastCGI client sends for a body whose length it does
 * not know. False where it is no number, or one that no body of ours will ever have. */
bool request_read_content_length(const char *text, int64_t *length);

#endif
