/* From a request's path and verb to its method. */
#include "api/router.h"

#include <stdio.h>
#include <string.h>

#include "api/methods.h"
#include "base/metrics.h"

/* Which verbs a method has. HEAD is GET without the response's body (RFC 9110 section 9.3.2), which the
 * response leaves out: a handler need not know. */
struct verbs {
    const char *names[2]; /* NULL for none */
    const char *allow;    /* the Allow header */
};

static const struct verbs post = {{"POST", NULL}, "POST"};
static const struct verbs get = {{"GET", "HEAD"}, "GET, HEAD"};

static const struct route {
    const struct verbs *verbs;
    method_handler *handler;
} routes[METHOD_NONE] = {
    [METHOD_UPSERT] = {&post, incidents_upsert},
    [METHOD_DELETE] = {&post, incidents_delete},
    [METHOD_SYNC] = {&post, incidents_sync},
    [METHOD_HEALTHZ] = {&get, healthz},
    [METHOD_READYZ] = {&get, readyz},
    [METHOD_METRICS] = {&get, metrics},
};

static bool is_enabled(enum method method)
{
    return method != METHOD_METRICS || metrics_are_enabled();
}

static enum method find_method(const char *name)
{
    for (enum method method = 0; method < METHOD_NONE; method++) {
        if (strcmp(name, method_name(method)) == 0) {
            return is_enabled(method) ? method : METHOD_NONE;
        }
    }
    return METHOD_NONE;
}

static bool refuse_unknown_method(struct error *error)
{
    char names[128] = "";
    size_t len = 0;

    for (enum method method = 0; method < METHOD_NONE; method++) {
        if (is_enabled(method) && len < sizeof names) {
            len += (size_t)snprintf(names + len, sizeof names - len, "%s%s", len == 0 ? "" : ", ",
                                    method_name(method));
        }
    }
    return error_set(error, ERROR_UNKNOWN_METHOD, "unknown method; the methods are: %s", names);
}

static bool has_verb(const struct verbs *verbs, const char *verb)
{
    return strcmp(verb, verbs->names[0]) == 0 ||
           (verbs->names[1] != NULL && strcmp(verb, verbs->names[1]) == 0);
}

static bool run_method(struct exchange *exchange)
{
    const struct route *route;

    if (exchange->method == METHOD_NONE) {
        return refuse_unknown_method(&exchange->error);
    }
    route = &routes[exchange->method];
    if (!has_verb(route->verbs, exchange->request.verb)) {
        exchange->response.allow = route->verbs->allow;
        return error_set(&exchange->error, ERROR_METHOD_NOT_ALLOWED, "%s must be called with %s",
                         method_name(exchange->method), route->verbs->names[0]);
    }
    return route->handler(exchange);
}

bool router_dispatch(struct exchange *exchange)
{
    exchange->method = find_method(exchange->request.method);
    exchange->needs_database = run_method(exchange) && exchange->op.record.len > 0;
    exchange->op.request_id = exchange->request.id;
    return exchange->needs_database;
}
