/* The answers' JSON, and the one table from error to code and HTTP status. */
#include <string.h>

#include "api/method.h"

static const struct {
    const char *code;
    int status;
} errors[] = {
    [ERROR_NONE] = {"none", 200},
    [ERROR_NOT_AUTHED] = {"not_authed", 401},
    [ERROR_NOT_PERMITTED] = {"not_permitted", 403},
    [ERROR_INVALID_JSON] = {"invalid_json", 422},
    [ERROR_INVALID_ARGUMENTS] = {"invalid_arguments", 422},
    [ERROR_INVALID_TIMESTAMP] = {"invalid_timestamp", 422},
    [ERROR_METADATA_INVALID] = {"metadata_invalid", 422},
    [ERROR_UNKNOWN_METHOD] = {"unknown_method", 404},
    [ERROR_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405},
    [ERROR_REQUEST_TOO_LARGE] = {"request_too_large", 413},
    [ERROR_SERVICE_UNAVAILABLE] = {"service_unavailable", 503},
    [ERROR_INTERNAL] = {"internal_error", 500},
};

enum { FIRST_ITEM_OUTCOME = ERROR_INTERNAL + 1 };

size_t outcome_of(const struct exchange *exchange)
{
    return exchange->error.code != ERROR_NONE ? exchange->error.code
                                              : FIRST_ITEM_OUTCOME + exchange->item.outcome;
}

bool outcome_is_error(size_t outcome)
{
    return outcome > ERROR_NONE && outcome < FIRST_ITEM_OUTCOME;
}

const char *outcome_text(size_t outcome)
{
    const char *text;

    if (outcome < FIRST_ITEM_OUTCOME) {
        return errors[outcome].code;
    }
    text = item_outcome_text((enum item_outcome)(outcome - FIRST_ITEM_OUTCOME));
    return text != NULL ? text : "ok"; /* the database had nothing to say */
}

static void append_member(struct buffer *body, const char *name, const char *value)
{
    buffer_append_text(body, ",\"");
    buffer_append_text(body, name);
    buffer_append_text(body, "\":");
    buffer_append_json_string(body, value, strlen(value));
}

void answer_ok(struct response *response, const char *action, const char *reference_id)
{
    response->status = 200;
    buffer_append_text(&response->body, "{\"ok\":true");
    if (reference_id != NULL) {
        append_member(&response->body, "action", action);
        append_member(&response->body, "reference_id", reference_id);
    }
    buffer_append_text(&response->body, "}");
}

void answer_error(struct response *response, const struct error *error)
{
    response->status = errors[error->code].status;
    buffer_append_text(&response->body, "{\"ok\":false");
    append_member(&response->body, "error", errors[error->code].code);
    append_member(&response->body, "message", error->message);
    buffer_append_text(&response->body, "}");
}

/* Which of the database's troubles it is. Whoever sends can do nothing about it but wait, and tell whoever
 * runs the service. */
static const char *unavailability(enum item_reason reason)
{
    switch (reason) {
    case REASON_LOGIN:
        return "the database refuses this service's login";
    case REASON_RIGHT:
        return "the database does not give this service a right that it needs";
    case REASON_SCHEMA:
        return "the database has a schema that does not fit this version of the service";
    case REASON_STATE:
        return "the database cannot store anything at present";
    case REASON_NONE:
    case REASON_SIZE:
        break;
    }
    return "the database cannot be reached in time";
}

static bool refuse_as_defect(struct error *error)
{
    return error_set(error, ERROR_INTERNAL,
                     "an internal error occurred; the log has it under the request id");
}

/* The database refused a value and does not say which. The model has judged all but what only a jsonb can
 * know; what is not metadata's is therefore a defect: an index, a trigger or a constraint that was added. No
 * argument is blamed that the request did not have. */
static bool refuse_unstorable(const struct item *item, const struct incident *incident, struct error *error)
{
    if (incident == NULL || incident->metadata.presence != PRESENCE_GIVEN) {
        return refuse_as_defect(error);
    }
    if (item->reason == REASON_SIZE) {
        return error_set(error, ERROR_METADATA_INVALID,
                         "metadata is more than the database can hold as one value (256 MB)");
    }
    return error_set(error, ERROR_METADATA_INVALID, "metadata holds a value that cannot be stored");
}

bool check_outcome(const struct item *item, const struct incident *incident, struct error *error)
{
    switch (item->outcome) {
    case ITEM_CREATED:
    case ITEM_UPDATED:
    case ITEM_UNCHANGED:
    case ITEM_DELETED:
    case ITEM_NOT_FOUND:
    case ITEM_AUTHORIZED:
    case ITEM_READY:
        return true;
    case ITEM_NOT_AUTHED:
        return error_set(error, ERROR_NOT_AUTHED, "the token is not good: it is unknown, expired or revoked");
    case ITEM_NOT_PERMITTED:
        return error_set(error, ERROR_NOT_PERMITTED, "the token lacks the scope that this method needs");
    case ITEM_UNAVAILABLE:
        return error_set(error, ERROR_SERVICE_UNAVAILABLE, "%s; it is safe to send the request again",
                         unavailability(item->reason));
    case ITEM_UNSTORABLE:
        return refuse_unstorable(item, incident, error);
    case ITEM_PENDING:
    case ITEM_FAILED:
        break;
    }
    return refuse_as_defect(error);
}
