/* Putting an answer into CGI's form. */
#include "gateway/response.h"

#include <stdio.h>
#include <string.h>

/* An answer repeats the reference_id and nothing else, in at most six bytes for one; metrics are the longest.
 */
enum { RESPONSE_BODY_MAX = 48 * 1024 };

/* The statuses that the contract knows (RFC 9110 section 15), and the header that each must carry. */
static const struct {
    int status;
    const char *reason;
    const char *header;
} statuses[] = {
    {200, "OK", ""},
    {401, "Unauthorized", "WWW-Authenticate: Bearer\r\n"},
    {403, "Forbidden", ""},
    {404, "Not Found", ""},
    {405, "Method Not Allowed", ""}, /* its Allow depends on the method */
    {413, "Content Too Large", ""},
    {422, "Unprocessable Content", ""},
    {500, "Internal Server Error", ""},
    {503, "Service Unavailable", "Retry-After: 2\r\n"},
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

void response_serialize(const struct response *response, const char *request_id, struct buffer *out)
{
    char head[256];

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        if (statuses[i].status == response->status) {
            (void)snprintf(head, sizeof head, "Status: %d %s\r\n%s", response->status, statuses[i].reason,
                           statuses[i].header);
            buffer_append_text(out, head);
        }
    }
    if (response->allow != NULL) {
        (void)snprintf(head, sizeof head, "Allow: %s\r\n", response->allow);
        buffer_append_text(out, head);
    }
    buffer_append_text(out, "Content-Type: ");
    buffer_append_text(out, response->content_type);
    buffer_append_text(out, "\r\nCache-Control: no-store\r\nX-Request-Id: ");
    buffer_append_text(out, request_id);
    (void)snprintf(head, sizeof head, "\r\nContent-Length: %zu\r\n\r\n", response->body.len);
    buffer_append_text(out, head);
    if (!response->is_to_head) {
        buffer_append(out, response->body.data, response->body.len);
    }
}
