/* incidents.upsert, incidents.sync and incidents.delete: one way for all three, which differ in what they
 * read. */
#include "api/bearer.h"
#include "api/method.h"
#include "base/digest.h"
#include "model/incident.h"

/* How a method reads its body and what it then asks of the database. */
struct incident_method {
    enum scope scope;
    bool (*read)(struct slice body, struct incident *incident, struct error *error);
    bool (*encode)(struct item *item, const char *token_hash, const struct incident *incident);
};

static bool read_upsert(struct slice body, struct incident *incident, struct error *error)
{
    return incident_read(body, DIALECT_UPSERT, incident, error);
}

static bool read_sync(struct slice body, struct incident *incident, struct error *error)
{
    return incident_read(body, DIALECT_SYNC, incident, error);
}

static bool read_body(const struct request *request, const struct incident_method *method,
                      struct incident *incident, struct error *error)
{
    switch (request->body_state) {
    case BODY_TOO_LARGE:
        return error_set(error, ERROR_REQUEST_TOO_LARGE, "the body is over the size limit");
    case BODY_CUT_SHORT:
        return error_set(error, ERROR_INVALID_JSON, "the body is not as long as its Content-Length says");
    case BODY_NO_MEMORY:
        return error_set(error, ERROR_INTERNAL, "out of memory");
    case BODY_COMPLETE:
        break;
    }
    return method->read(request->body, incident, error);
}

/* The token comes before the body: where the body is no good, the database is asked about the token all the
 * same, so that a caller without a good one learns nothing. Where it is good, one round trip does both. */
static bool apply(struct exchange *exchange, const struct incident_method *method, const char *token_hash,
                  struct incident *incident)
{
    struct error body_error = {.code = ERROR_NONE};
    bool encoded;

    if (read_body(exchange->request, method, incident, &body_error)) {
        encoded = method->encode(&exchange->item, token_hash, incident);
    } else {
        encoded = item_authorize(&exchange->item, token_hash, method->scope);
    }
    if (!encoded) {
        return error_set(&exchange->error, ERROR_INTERNAL, "out of memory");
    }
    store_submit(exchange->store, &exchange->item);
    if (!check_outcome(exchange->item.outcome, &exchange->error)) {
        return false;
    }
    if (body_error.code != ERROR_NONE) {
        exchange->error = body_error;
        return false;
    }
    return answer_ok(exchange->response, item_outcome_text(exchange->item.outcome), incident->reference_id);
}

static bool handle(struct exchange *exchange, const struct incident_method *method)
{
    char token_hash[DIGEST_HEX_SIZE];
    struct incident incident = {0};
    struct slice token;
    bool ok;

    if (!bearer_token(exchange->request->authorization, &token)) {
        return check_outcome(ITEM_NOT_AUTHED, &exchange->error);
    }
    digest_sha256(token, token_hash);
    ok = apply(exchange, method, token_hash, &incident);
    exchange->item.reference_id = NULL; /* it was the incident's */
    incident_free(&incident);
    return ok;
}

bool incidents_upsert(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_UPSERT, read_upsert, item_upsert};

    return handle(exchange, &method);
}

bool incidents_sync(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_UPSERT, read_sync, item_upsert};

    return handle(exchange, &method);
}

bool incidents_delete(struct exchange *exchange)
{
    static const struct incident_method method = {SCOPE_DELETE, incident_read_reference, item_delete};

    return handle(exchange, &method);
}
