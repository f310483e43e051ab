/* The responses' JSON, and the one table from error to HTTP status. */
#include "api/error_response.h"

#include <string.h>

static const int statuses[] = {
    [ERROR_NONE] = 200,
    [ERROR_NOT_AUTHED] = 401,
    [ERROR_NOT_PERMITTED] = 403,
    [ERROR_INVALID_JSON] = 422,
    [ERROR_INVALID_ARGUMENTS] = 422,
    [ERROR_INVALID_TIMESTAMP] = 422,
    [ERROR_METADATA_INVALID] = 422,
    [ERROR_UNKNOWN_METHOD] = 404,
    [ERROR_METHOD_NOT_ALLOWED] = 405,
    [ERROR_REQUEST_TOO_LARGE] = 413,
    [ERROR_SERVICE_UNAVAILABLE] = 503,
    [ERROR_INTERNAL] = 500,
};

static void append_member(struct buffer *body, const char *name, const char *value)
{
    buffer_append_text(body, ",\"");
    buffer_append_text(body, name);
    buffer_append_text(body, "\":");
    buffer_append_json_string(body, value, strlen(value));
}

void respond_ok(struct response *response, const char *action, const char *reference_id)
{
    response->status = 200;
    buffer_append_text(&response->body, "{\"ok\":true");
    if (reference_id != NULL) {
        append_member(&response->body, "action", action);
        append_member(&response->body, "reference_id", reference_id);
    }
    buffer_append_text(&response->body, "}");
}

void respond_error(struct response *response, const struct error *error)
{
    response->status = statuses[error->code];
    buffer_append_text(&response->body, "{\"ok\":false");
    append_member(&response->body, "error", error_code_text(error->code));
    append_member(&response->body, "message", error->message);
    buffer_append_text(&response->body, "}");
}
