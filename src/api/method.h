/* What the methods of the API have in common. */
#ifndef INCIDENTS_API_METHOD_H
#define INCIDENTS_API_METHOD_H

#include "base/error.h"
#include "gateway/request.h"
#include "gateway/response.h"
#include "store/store.h"

/* A request on its way through a method. */
struct exchange {
    struct store *store;
    const struct request *request;
    struct response *response;
    struct item item;   /* what was asked of the database, for the log; its json is empty where nothing was */
    struct error error; /* why not, where the answer is an error */
};

/* Each method answers the exchange: with answer_ok, or by setting the error and returning false. */
typedef bool method_handler(struct exchange *exchange);

/* api/incidents.c */
method_handler incidents_upsert;
method_handler incidents_sync;
method_handler incidents_delete;

/* api/health.c */
method_handler healthz;
method_handler readyz;

/* Answers 200 with {"ok":true} and, where action is not NULL, what happened to which incident. Always true.
 */
bool answer_ok(struct response *response, const char *action, const char *reference_id);

/* Answers with the error's code, status and sentence. */
void answer_error(struct response *response, const struct error *error);

/* The word for an error's code in an answer and in the log. */
const char *error_code_text(enum error_code code);

/* The one sentence for each reason that lies in the database, for every method that asks it. Sets the error
 * and returns false, unless the outcome is a good one. */
bool check_outcome(enum item_outcome outcome, struct error *error);

#endif
