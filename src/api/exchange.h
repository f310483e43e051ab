/* What CGI and FastCGI do alike: read a request, write its answer. */
#ifndef INCIDENTS_API_EXCHANGE_H
#define INCIDENTS_API_EXCHANGE_H

#include "api/api.h"

/* Makes an exchange of a request whose body is still to be set; then api_ask or exchange_refuse. What
 * `context` looks up must live until exchange_end. */
void exchange_begin(struct exchange *exchange, request_variable *variable, void *context);

/* Has the exchange end with request_too_large, because the request was too large to be looked into. */
void exchange_refuse(struct exchange *exchange);

enum { LAST_RESORT_MAX = 512 };

/* CGI's form of a response. */
struct exchange_answer {
    struct slice text; /* points into the buffer that it was written to, or into last_resort */
    char last_resort[LAST_RESORT_MAX]; /* for when there is no memory left to say anything else */
};

/* Writes the response into `written`, an empty buffer that must live as long as the answer. Whatever happens,
 * there is an answer. */
void exchange_write(const struct response *response, const char *request_id, struct buffer *written,
                    struct exchange_answer *answer);

/* Frees the exchange. *answer is its answer, as exchange_write gives it. */
void exchange_end(struct exchange *exchange, struct buffer *written, struct exchange_answer *answer);

#endif
