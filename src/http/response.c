/* Putting a response into CGI's form. */
#include "http/response.h"

#include <string.h>

/* The statuses that the contract knows (RFC 9110 section 15), each with the header that it must carry. */
static const struct {
    int status;
    const char *line;
} statuses[] = {
    {200, "Status: 200 OK\r\n"},
    {401, "Status: 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n"},
    {403, "Status: 403 Forbidden\r\n"},
    {404, "Status: 404 Not Found\r\n"},
    {405, "Status: 405 Method Not Allowed\r\n"}, /* its Allow depends on the method */
    {413, "Status: 413 Content Too Large\r\n"},
    {422, "Status: 422 Unprocessable Content\r\n"},
    {500, "Status: 500 Internal Server Error\r\n"},
    {503, "Status: 503 Service Unavailable\r\nRetry-After: 2\r\n"},
};

void response_init(struct response *response, const char *verb)
{
    *response = (struct response){
        .status = 500, .content_type = "application/json", .is_to_head = strcmp(verb, "HEAD") == 0};
    buffer_init(&response->body, RESPONSE_BODY_MAX);
}

void response_free(struct response *response)
{
    buffer_free(&response->body);
}

static void append_status(struct buffer *out, int status)
{
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].status == status) {
            buffer_append_text(out, statuses[i].line);
        }
    }
}

void response_serialize(const struct response *response, const char *request_id, struct buffer *out)
{
    append_status(out, response->status);
    if (response->allow != NULL) {
        buffer_append_text(out, "Allow: ");
        buffer_append_text(out, response->allow);
        buffer_append_text(out, "\r\n");
    }
    buffer_append_text(out, "Content-Type: ");
    buffer_append_text(out, response->content_type);
    buffer_append_text(out, "\r\nCache-Control: no-store\r\nX-Request-Id: ");
    buffer_append_text(out, request_id);
    buffer_append_text(out, "\r\nContent-Length: ");
    buffer_append_number(out, response->body.len);
    buffer_append_text(out, "\r\n\r\n");
    if (!response->is_to_head) {
        buffer_append_slice(out, (struct slice){.data = response->body.data, .len = response->body.len});
    }
}
