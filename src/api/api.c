/* From a request to its method, and the log line about it. */
#include "api/api.h"

#include <stdio.h>
#include <string.h>

#include "api/method.h"
#include "base/clock.h"
#include "base/log.h"

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
};

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(name, methods[i].name) == 0) {
            return &methods[i];
        }
    }
    return NULL;
}

static bool run_method(const struct method *method, struct exchange *exchange)
{
    if (method == NULL) {
        return error_set(&exchange->error, ERROR_UNKNOWN_METHOD, "there is no such method");
    }
    if (strcmp(exchange->request->verb, method->verb) != 0) {
        exchange->response->allow = method->verb;
        return error_set(&exchange->error, ERROR_METHOD_NOT_ALLOWED, "%s must be called with %s",
                         method->name, method->verb);
    }
    return method->handler(exchange);
}

/* A value for the log, in quotes, which neither a quote nor a backslash in it can end. */
static const char *quote(const char *value, char *quoted, size_t size)
{
    size_t len = 0;

    quoted[len++] = '"';
    for (; *value != '\0' && len + 4 < size; value++) {
        if (*value == '"' || *value == '\\') {
            quoted[len++] = '\\';
        }
        quoted[len++] = *value;
    }
    quoted[len++] = '"';
    quoted[len] = '\0';
    return quoted;
}

static void log_exchange(const struct method *method, const struct exchange *exchange, int64_t started_ms)
{
    char id[2 * REQUEST_ID_MAX + 8], label[2 * TOKEN_LABEL_MAX + 8];
    const char *outcome = item_outcome_text(exchange->item.outcome);

    if (exchange->error.code != ERROR_NONE) {
        outcome = error_code_text(exchange->error.code);
    }
    log_write(exchange->error.code == ERROR_INTERNAL ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
              "request_id=%s method=%s status=%d outcome=%s token=%s ms=%lld",
              quote(exchange->request->id, id, sizeof id), method == NULL ? "-" : method->name,
              exchange->response->status, outcome == NULL ? "ok" : outcome,
              quote(exchange->item.token_label, label, sizeof label),
              (long long)(clock_now_ms() - started_ms));
}

void api_answer(struct store *store, const struct request *request, struct response *response)
{
    int64_t started_ms = clock_now_ms();
    const struct method *method = find_method(request->method);
    struct exchange exchange = {.store = store, .request = request, .response = response};

    if (!run_method(method, &exchange)) {
        answer_error(response, &exchange.error);
    }
    log_exchange(method, &exchange, started_ms);
    item_free(&exchange.item);
}
