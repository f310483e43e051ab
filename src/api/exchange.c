/* A request and its response: the beginning, the end and the clock of both. */
#include "api/exchange.h"

#include "api/error_response.h"
#include "base/clock.h"
#include "base/label_table.h"
#include "base/log.h"
#include "base/metrics.h"

enum { FIRST_OP_OUTCOME = ERROR_INTERNAL + 1, LAST_RESORT_MAX = REQUEST_ID_MAX + 384 };

_Static_assert((int)METHODS <= (int)METRICS_METHODS, "each is counted by itself");
_Static_assert((int)OUTCOMES <= (int)METRICS_OUTCOMES, "each is counted by itself");
_Static_assert((int)REASON_SIZE < (int)METRICS_REASONS, "each is counted by itself");
_Static_assert((int)TOKEN_LABEL_MAX <= (int)LABEL_TABLE_BYTES, "a label is counted by all of it");

const char *method_name(enum method method)
{
    static const char *const names[METHODS] = {
        [METHOD_UPSERT] = "incidents.upsert",
        [METHOD_DELETE] = "incidents.delete",
        [METHOD_SYNC] = "incidents.sync",
        [METHOD_HEALTHZ] = "healthz",
        [METHOD_READYZ] = "readyz",
        [METHOD_METRICS] = "metrics",
        [METHOD_NONE] = "none",
    };

    return names[method];
}

bool outcome_is_error(size_t outcome)
{
    return outcome > ERROR_NONE && outcome < FIRST_OP_OUTCOME;
}

bool outcome_is_client_error(size_t outcome)
{
    switch (outcome) {
    case ERROR_NOT_AUTHED:
    case ERROR_NOT_PERMITTED:
    case ERROR_INVALID_JSON:
    case ERROR_INVALID_ARGUMENTS:
    case ERROR_INVALID_TIMESTAMP:
    case ERROR_METADATA_INVALID:
        return true;
    default:
        return false;
    }
}

const char *outcome_text(size_t outcome)
{
    const char *text;

    if (outcome < FIRST_OP_OUTCOME) {
        return error_code_text((enum error_code)outcome);
    }
    text = op_outcome_text((enum op_outcome)(outcome - FIRST_OP_OUTCOME));
    return text != NULL ? text : "ok"; /* the database had nothing to say */
}

void exchange_begin(struct exchange *exchange, const char *const variables[REQUEST_VARIABLES],
                    const struct stream *body)
{
    *exchange = (struct exchange){.method = METHOD_NONE, .started_ms = clock_now_ms()};
    request_init(&exchange->request, variables, body);
    response_init(&exchange->response, exchange->request.verb);
}

void exchange_refuse_headers(struct exchange *exchange)
{
    error_set(&exchange->error, ERROR_REQUEST_TOO_LARGE, "the headers are over the limit of %d bytes",
              REQUEST_PARAMS_MAX);
}

/* The database's refusal comes before ours: only a caller with a valid token is told what is wrong with the
 * body. */
static void fill_response(struct exchange *exchange)
{
    struct error refusal;

    if (exchange->needs_database && !op_check(&exchange->op, &exchange->incident, &refusal)) {
        exchange->error = refusal;
    }
    if (exchange->error.code != ERROR_NONE) {
        respond_error(&exchange->response, &exchange->error);
    } else if (exchange->response.body.len == 0) {
        respond_ok(&exchange->response, op_outcome_text(exchange->op.outcome),
                   exchange->incident.reference_id);
    }
}

static bool takes_token(enum method method)
{
    return method == METHOD_UPSERT || method == METHOD_DELETE || method == METHOD_SYNC;
}

static void count_request(const struct exchange *exchange, size_t outcome, int64_t total_ms)
{
    metrics_count_request(exchange->method, outcome, total_ms);
    if (takes_token(exchange->method)) {
        metrics_count_token(exchange->op.token_label, outcome);
    }
    if (exchange->error.code == ERROR_SERVICE_UNAVAILABLE && exchange->op.outcome == OP_UNAVAILABLE) {
        metrics_count_unavailable(exchange->op.reason);
    }
}

/* An error's line has what the response says, and to whom. */
static void log_and_count(const struct exchange *exchange)
{
    bool is_error = exchange->error.code != ERROR_NONE;
    size_t outcome = is_error ? exchange->error.code : FIRST_OP_OUTCOME + exchange->op.outcome;
    int64_t total_ms = clock_now_ms() - exchange->started_ms;

    count_request(exchange, outcome, total_ms);
    log_request(&(struct log_request){
        .level = exchange->response.status >= 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
        .request_id = exchange->request.id,
        .method = exchange->method == METHOD_NONE ? "-" : method_name(exchange->method),
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

/* Writes the response to `out`, or where there is no memory, another one to a place that needs none. */
static struct slice serialize(struct exchange *exchange, struct buffer *out)
{
    static char text[] = "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}";
    static char place[LAST_RESORT_MAX];
    struct response *response = &exchange->response;
    struct response last_resort = {.status = 500,
                                   .content_type = "application/json",
                                   .body = {.data = text, .len = sizeof text - 1},
                                   .is_to_head = response->is_to_head};
    struct buffer fixed = {.data = place, .capacity = sizeof place, .max = sizeof place - 1};

    if (!response->body.failed) {
        response_serialize(response, exchange->request.id, out);
    }
    if (response->body.failed || out->failed) {
        response->status = last_resort.status;
        error_set(&exchange->error, ERROR_INTERNAL, "out of memory");
        response_serialize(&last_resort, exchange->request.id, &fixed);
        out = &fixed;
    }
    return (struct slice){.data = out->data, .len = out->len};
}

struct slice exchange_end(struct exchange *exchange, struct buffer *out)
{
    struct slice text;

    fill_response(exchange);
    text = serialize(exchange, out);
    log_and_count(exchange);
    op_free(&exchange->op);
    incident_free(&exchange->incident);
    response_free(&exchange->response);
    return text;
}
