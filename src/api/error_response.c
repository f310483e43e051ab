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

void respond_ok(struct response *response, const char *action, const char *reference_id)
{
    struct buffer *body = &response->body;

    response->status = 200;
    buffer_append_text(body, "{\"ok\":true");
    if (reference_id != NULL) {
        buffer_append_text(body, ",\"action\":\"");
        buffer_append_text(body, action);
        buffer_append_text(body, "\",\"reference_id\":");
        buffer_append_json_string(body, reference_id, strlen(reference_id));
    }
    buffer_append_text(body, "}");
}

void respond_error(struct response *response, const struct error *error)
{
    struct buffer *body = &response->body;

    response->status = statuses[error->code];
    buffer_append_text(body, "{\"ok\":false,\"error\":\"");
    buffer_append_text(body, error_code_text(error->code));
    buffer_append_text(body, "\",\"message\":");
    buffer_append_json_string(body, error->message, strlen(error->message));
    buffer_append_text(body, "}");
}
