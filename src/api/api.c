/* From a request to its method, and what is noted about it. */
#include "api/api.h"

#include <string.h>

#include "api/method.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* The method table. */
static const struct method {
    const char *name;
    const char *verb;
    method_handler *handler;
} methods[] = {
    {"incidents.upsert", "POST", incidents_upsert},
    {"incidents.delete", "POST", incidents_delete},
    {"incidents.sync", "POST", incidents_sync},
    {"healthz", "GET", healthz},
    {"readyz", "GET", readyz},
    {"metrics", "GET", metrics},
};

enum { METHODS = sizeof methods / sizeof methods[0] };

_Static_assert(METHODS + 1 <= METRICS_METHODS, "one more for what is no method");
_Static_assert((int)OUTCOMES <= (int)METRICS_OUTCOMES, "each is counted by itself");

const char *method_name(size_t method)
{
    static const char none[] = "none";

    if (method < METHODS) {
        return methods[method].name;
    }
    return method == METHODS ? none : NULL;
}

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return methods[i].handler == metrics && !metrics_are_wanted() ? NULL : &methods[i];
        }
    }
    return NULL;
}

static bool run_method(struct exchange *exchange)
{
    const struct method *method = exchange->method;

    if (method == NULL) {
        return error_set(&exchange->error, ERROR_UNKNOWN_METHOD, "there is no such method");
    }
    if (strcmp(exchange->request.verb, method->verb) != 0) {
        exchange->response.allow = method->verb;
        return error_set(&exchange->error, ERROR_METHOD_NOT_ALLOWED, "%s must be called with %s",
                         method->name, method->verb);
    }
    return method->handler(exchange);
}

/* In the log and in the metrics. */
static void note(const struct exchange *exchange)
{
    size_t method = exchange->method == NULL ? METHODS : (size_t)(exchange->method - methods);
    size_t outcome = outcome_of(exchange);
    int64_t total_ms = clock_now_ms() - exchange->started_ms;

    metrics_count_request(method, outcome, total_ms);
    log_request(&(struct log_request){
        .level = exchange->error.code == ERROR_INTERNAL ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
        .request_id = exchange->request.id,
        .method = exchange->method == NULL ? "-" : exchange->method->name,
        .status = exchange->response.status,
        .outcome = outcome_text(outcome),
        .token_label = exchange->item.token_label,
        .total_ms = total_ms,
        .queue_ms = exchange->item.queue_ms,
        .database_ms = exchange->item.database_ms,
    });
}

bool api_ask(struct exchange *exchange)
{
    exchange->started_ms = clock_now_ms();
    exchange->method = find_method(exchange->request.method);
    exchange->asks = run_method(exchange) && exchange->item.json.len > 0;
    return exchange->asks;
}

void api_answer(struct exchange *exchange)
{
    struct error refusal;

    /* The database's no comes before ours: what is wrong with a body is told only to who has a good token. */
    if (exchange->asks && !check_outcome(exchange->item.outcome, &refusal)) {
        exchange->error = refusal;
    }
    if (exchange->error.code != ERROR_NONE) {
        answer_error(&exchange->response, &exchange->error);
    } else if (exchange->response.body.len == 0) {
        answer_ok(&exchange->response, item_outcome_text(exchange->item.outcome),
                  exchange->incident.reference_id);
    }
    note(exchange);
    item_free(&exchange->item);
    incident_free(&exchange->incident);
}
