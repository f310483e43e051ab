/* What CGI and FastCGI do alike: read a request, have it answered, write the answer. */
#include "gateway/exchange.h"

#include "api/api.h"
#include "base/log.h"

/* For when there is no memory left to say anything else. */
static const char last_resort[] = "Status: 500 Internal Server Error\r\n"
                                  "Content-Type: application/json\r\n"
                                  "Cache-Control: no-store\r\n\r\n"
                                  "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}";

bool exchange_run(struct store *store, size_t body_limit, request_variable *variable, void *context,
                  const struct body_source *source, struct buffer *body, struct buffer *written,
                  struct slice *answer)
{
    struct request request;
    struct response response;
    bool may_keep;

    request_init(&request, variable, context);
    may_keep = request_read_body(&request, source, body_limit, body);
    response_init(&response);
    api_answer(store, &request, &response);
    if (!response.body.failed) {
        response_serialize(&response, request.id, written);
    }
    *answer = (struct slice){.data = written->data, .len = written->len};
    if (response.body.failed || written->failed) {
        log_error("unable to answer request_id=\"%s\": out of memory", request.id);
        *answer = (struct slice){.data = last_resort, .len = sizeof last_resort - 1};
    }
    response_free(&response);
    return may_keep;
}
