/* What CGI and FastCGI do alike: read a request, write its answer. */
#ifndef INCIDENTS_GATEWAY_EXCHANGE_H
#define INCIDENTS_GATEWAY_EXCHANGE_H

#include "api/api.h"

/* Reads one request, with `body`, an empty buffer, for the body's time here. Returns whether exchange->item
 * has to go through the store before exchange_end. *may_keep tells whether the connection may carry another
 * request. What `context` looks up must live until exchange_end. */
bool exchange_begin(struct exchange *exchange, size_t body_limit, request_variable *variable, void *context,
                    const struct body_source *source, struct buffer *body, bool *may_keep);

/* Frees the exchange. *answer is CGI's form of its answer, whatever happened, and points into `written`, an
 * empty buffer, or to a constant. */
void exchange_end(struct exchange *exchange, struct buffer *written, struct slice *answer);

#endif
