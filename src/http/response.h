/* A response: a status, a few headers, a body. */
#ifndef INCIDENTS_HTTP_RESPONSE_H
#define INCIDENTS_HTTP_RESPONSE_H

#include "base/buffer.h"

/* Metrics are the longest, with 66 tokens, 256 processes and every outcome of all; then what repeats a
 * reference_id. The whole response has headers besides. */
enum { RESPONSE_BODY_MAX = 512 * 1024, RESPONSE_MAX = RESPONSE_BODY_MAX + 16 * 1024 };

struct response {
    int status;
    const char *allow;        /* the verbs for the Allow header, with 405; else NULL. Static, */
    const char *content_type; /* as this one */
    struct buffer body;
    bool is_to_head; /* it is said how long the body is, which is not sent */
};

/* A response to a request of that verb, with status 500 and an empty body until they are set. The body is
 * JSON unless the content_type is set to something else. response_free it. */
void response_init(struct response *response, const char *verb);
void response_free(struct response *response);

/* Appends the whole response in CGI's form (RFC 3875 section 6) to out: Status, headers, body. The status
 * decides on WWW-Authenticate and Retry-After. If there is no memory for it, out->failed is set. To HEAD the
 * response is the same without the body (RFC 3875 section 4.3.3), with the Content-Length that GET would have
 * (RFC 9110 section 8.6). */
void response_serialize(const struct response *response, const char *request_id, struct buffer *out);

#endif
