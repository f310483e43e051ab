/* The HTTP contract: from a request to its answer, in two steps. What lies between them, the database's
 * answer, is the caller's to get, so that it need not wait for it. */
#ifndef INCIDENTS_API_API_H
#define INCIDENTS_API_API_H

#include "base/error.h"
#include "http/request.h"
#include "http/response.h"
#include "model/incident.h"
#include "store/op.h"

/* A request on its way through a method, and what comes of it. */
struct exchange {
    struct request request;
    struct response response;
    const struct method *method; /* NULL where there is no such method */
    int64_t started_ms;
    struct incident incident; /* which operation borrows from */
    struct store_op op;       /* what is asked of the database */
    bool asks;                /* whether anything is */
    struct error error;       /* why not, where the answer is an error */
};

/* Reads the exchange's request; request and response are initialized, all else is 0. Returns whether the
 * database is to be asked: then exchange->op wants its outcome before api_answer. The request's body is not
 * needed any more. */
bool api_ask(struct exchange *exchange);

/* Fills in the response, logs the exchange in one line, and frees what api_ask made. */
void api_answer(struct exchange *exchange);

#endif
