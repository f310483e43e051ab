/* A request and its response: the beginning, the end and the clock of both. What lies between them, the
 * method (router.h) and what the database says, is the caller's to get, so that it need not wait for it. */
#ifndef INCIDENTS_API_EXCHANGE_H
#define INCIDENTS_API_EXCHANGE_H

#include "base/error.h"
#include "http/request.h"
#include "http/response.h"
#include "model/incident.h"
#include "store/op.h"

/* The methods of the API. */
enum method {
    METHOD_UPSERT,
    METHOD_DELETE,
    METHOD_SYNC,
    METHOD_HEALTHZ,
    METHOD_READYZ,
    METHOD_METRICS,
    METHOD_NONE, /* the request has none of them */
    METHODS
};

/* Its name in paths, the log and the metrics; "none" for METHOD_NONE. */
const char *method_name(enum method method);

struct exchange {
    struct request request;
    struct response response;
    enum method method;
    int64_t started_ms;
    struct incident incident; /* which op borrows from */
    struct store_op op;       /* what is asked of the database */
    bool needs_database;      /* whether anything is */
    struct error error;       /* why not, where the response is an error */
};

/* Begins when the request's last byte is there. Variables and body are borrowed: the body until the method
 * has read it, the variables until exchange_end. */
void exchange_begin(struct exchange *exchange, const char *const variables[REQUEST_VARIABLES],
                    const struct stream *body);

/* Has the exchange end with request_too_large, because its variables are over REQUEST_PARAMS_MAX. */
void exchange_refuse_headers(struct exchange *exchange);

/* Ends with the exchange's error, with what the database says where it was asked, or with ok; logs it in one
 * line, counts it, and frees it. Returns CGI's form of the response, which is valid until `out` is reset, or
 * until the next exchange_end. `out` is empty; if there is no memory in it for the response, a short 500 is
 * written to a static place. */
struct slice exchange_end(struct exchange *exchange, struct buffer *out);

/* What came of an exchange, as a number below OUTCOMES: the errors' codes, then the operations' outcomes. */
enum { OUTCOMES = ERROR_INTERNAL + 1 + OP_FAILED + 1 };
bool outcome_is_error(size_t outcome);
/* Whether the sender's token or body is to blame: 401, 403, 422. */
bool outcome_is_client_error(size_t outcome);
/* The word for it in the log and in the metrics. */
const char *outcome_text(size_t outcome);

#endif
