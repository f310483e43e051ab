/* incidents.upsert, incidents.sync and incidents.delete. They differ only in what they read. */
#include "api/body.h"
#include "api/methods.h"
#include "api/token_hash.h"
#include "http/bearer.h"
#include "model/form.h"
#include "model/incident.h"

/* How a method reads its body and what it then asks of the database. */
struct incident_method {
    enum scope scope;
    bool (*read)(struct slice body, struct incident *incident, struct error *error);
    bool (*encode)(struct store_op *op, const char *token_hash, const struct incident *incident);
};

static bool read_upsert(struct slice body, struct incident *incident, struct error *error)
{
    return incident_read(body, RULES_UPSERT, incident, error);
}

static bool read_sync(struct slice body, struct incident *incident, struct error *error)
{
    return incident_read(body, RULES_SYNC, incident, error);
}

/* A form is said as JSON, in `json`, of which the incident is then a part. */
static bool read_form(const struct request *request, const struct incident_method *method,
                      struct buffer *json, struct incident *incident, struct error *error)
{
    return form_to_json(request->body, json, error) &&
           method->read((struct slice){.data = json->data, .len = json->len}, incident, error);
}

static bool read_body(const struct request *request, const struct incident_method *method,
                      struct buffer *json, struct incident *incident, struct error *error)
{
    switch (request->body_state) {
    case BODY_TOO_LARGE:
        return error_set(error, ERROR_REQUEST_TOO_LARGE, "the body is over the limit of %zu bytes",
                         request->body_limit);
    case BODY_CUT_SHORT:
        return error_set(error, ERROR_INVALID_JSON, "the length of the body differs from Content-Length");
    case BODY_NO_MEMORY:
        return error_set(error, ERROR_INTERNAL, "out of memory");
    case BODY_COMPLETE:
        break;
    }
    if (body_is_form(request)) {
        return read_form(request, method, json, incident, error);
    }
    if (method->read(request->body, incident, error)) {
        return true;
    }
    if (error->code == ERROR_INVALID_JSON) {
        body_describe(request, error);
    }
    return false;
}

/* The token comes before the body. If the body is invalid, the database is asked about the token alone, so
 * that only a caller with a valid one learns about its body. If it is valid, one round trip does both. */
static bool run(struct exchange *exchange, const struct incident_method *method)
{
    const char *hash;
    struct buffer json = {.data = NULL};
    struct slice token;
    bool encoded;

    if (!bearer_token(exchange->request.authorization, &token, &exchange->error)) {
        return false;
    }
    hash = token_hash(token);
    if (read_body(&exchange->request, method, &json, &exchange->incident, &exchange->error)) {
        encoded = method->encode(&exchange->op, hash, &exchange->incident);
        incident_trim(
            &exchange->incident); /* it may wait, and a thousand services are thirty times their JSON */
    } else {
        encoded = op_authorize(&exchange->op, hash, method->scope);
    }
    buffer_free(&json);
    return encoded || error_set(&exchange->error, ERROR_INTERNAL, "out of memory");
}

bool incidents_upsert(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_UPSERT, read_upsert, op_upsert};

    return run(exchange, &method);
}

bool incidents_sync(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_UPSERT, read_sync, op_upsert};

    return run(exchange, &method);
}

bool incidents_delete(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_DELETE, incident_read_reference, op_delete};

    return run(exchange, &method);
}
