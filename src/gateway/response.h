/* An answer: a status, a few headers, a body. */
#ifndef INCIDENTS_GATEWAY_RESPONSE_H
#define INCIDENTS_GATEWAY_RESPONSE_H

#include "base/buffer.h"

struct response {
    int status;
    const char *allow; /* the verb for the Allow header, with 405; else NULL */
    const char *content_type;
    struct buffer body;
};

/* The body will be JSON unless the content_type is set to something else. */
void response_init(struct response *response);
void response_free(struct response *response);

/* Appends the whole answer in CGI's form (RFC 3875 section 6) to out: Status, headers, body. The status
 * decides on WWW-Authenticate and Retry-After. */
void response_serialize(const struct response *response, const char *request_id, struct buffer *out);

#endif
