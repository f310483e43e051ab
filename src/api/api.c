/* From a request to its method, and what is noted about it. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "api/method.h"
#include "store/op_error.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"

/* Which verbs a method has. HEAD is GET without the answer's body (RFC 9110 section 9.3.2), which the
 * response leaves out: a handler need not know. */
enum verbs { VERBS_POST, VERBS_GET };

static const struct {
    const char *names[2]; /* NULL for none */
    const char *allow;    /* the Allow header */
} verbs[] = {
    [VERBS_POST] = {{"POST"}, "POST"},
    [VERBS_GET] = {{"GET", "HEAD"}, "GET, HEAD"},
};

/* The method table. */
static const struct method {
    const char *name;
    enum verbs verbs;
    method_handler *handler;
} methods[] = {
    {"incidents.upsert", VERBS_POST, incidents_upsert},
    {"incidents.delete", VERBS_POST, incidents_delete},
    {"incidents.sync", VERBS_POST, incidents_sync},
    {"healthz", VERBS_GET, healthz},
    {"readyz", VERBS_GET, readyz},
    {"metrics", VERBS_GET, metrics},
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

static bool is_there(const struct method *method)
{
    return method->handler != metrics || metrics_are_wanted();
}

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return is_there(&methods[i]) ? &methods[i] : NULL;
        }
    }
    return NULL;
}

static bool refuse_unknown_method(struct error *error)
{
    char names[128] = "";
    size_t len = 0;

    for (size_t i = 0; i < METHODS; i++) {
        if (is_there(&methods[i]) && len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", i == 0 ? "" : ", ",
                                    methods[i].name);
        }
    }
    return error_set(error, ERROR_UNKNOWN_METHOD, "there is no such method; those that there are: %s", names);
}

static bool has_verb(const struct method *method, const char *verb)
{
    const char *const *names = verbs[method->verbs].names;

    return strcmp(verb, names[0]) == 0 || (names[1] != NULL && strcmp(verb, names[1]) == 0);
}

static bool run_method(struct exchange *exchange)
{
    const struct method *method = exchange->method;

    if (method == NULL) {
        return refuse_unknown_method(&exchange->error);
    }
    if (!has_verb(method, exchange->request.verb)) {
        exchange->response.allow = verbs[method->verbs].allow;
        return error_set(&exchange->error, ERROR_METHOD_NOT_ALLOWED, "%s must be called with %s",
                         method->name, verbs[method->verbs].names[0]);
    }
    return method->handler(exchange);
}

/* In the log and in the metrics. An error's line has what the answer says, and to whom. */
static void note(const struct exchange *exchange)
{
    size_t method = exchange->method == NULL ? METHODS : (size_t)(exchange->method - methods);
    size_t outcome = outcome_of(exchange);
    bool is_error = exchange->error.code != ERROR_NONE;
    int64_t total_ms = clock_now_ms() - exchange->started_ms;

    metrics_count_request(method, outcome, total_ms);
    log_request(&(struct log_request){
        .level = exchange->response.status >= 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
        .request_id = exchange->request.id,
        .method = exchange->method == NULL ? "-" : exchange->method->name,
        .status = exchange->response.status,
        .outcome = outcome_text(outcome),
        .token_label = exchange->op.token_label,
        .total_ms = total_ms,
        .queue_ms = exchange->op.queue_ms,
        .database_ms = exchange->op.database_ms,
        .message = is_error ? exchange->error.message : "",
        .client = is_error ? exchange->request.client : "",
    });
}

bool api_ask(struct exchange *exchange)
{
    exchange->started_ms = clock_now_ms();
    exchange->method = find_method(exchange->request.method);
    exchange->asks = run_method(exchange) && exchange->op.record.len > 0;
    exchange->op.request_id = exchange->request.id;
    return exchange->asks;
}

void api_answer(struct exchange *exchange)
{
    struct error refusal;

    /* The database's no comes before ours: what is wrong with a body is told only to who has a good token. */
    if (exchange->asks && !op_check(&exchange->op, &exchange->incident, &refusal)) {
        exchange->error = refusal;
    }
    if (exchange->error.code != ERROR_NONE) {
        answer_error(&exchange->response, &exchange->error);
    } else if (exchange->response.body.len == 0) {
        answer_ok(&exchange->response, op_outcome_text(exchange->op.outcome),
                  exchange->incident.reference_id);
    }
    note(exchange);
    op_free(&exchange->op);
    incident_free(&exchange->incident);
}
