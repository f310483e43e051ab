/* What CGI and FastCGI do alike: read a request, have it answered, write the answer. */
#ifndef INCIDENTS_GATEWAY_EXCHANGE_H
#define INCIDENTS_GATEWAY_EXCHANGE_H

#include "gateway/request.h"
#include "store/store.h"

/* Answers one request. *answer is CGI's form of the answer, whatever happened, and points into `written` or
 * to a constant; `body` and `written` are empty buffers. Returns whether the connection may be kept for
 * another request. */
bool exchange_run(struct store *store, size_t body_limit, request_variable *variable, void *context,
                  const struct body_source *source, struct buffer *body, struct buffer *written,
                  struct slice *answer);

#endif
