/* What CGI and FastCGI do alike: read a request, have it answered, write the answer. */
#include "gateway/exchange.h"

#include "api/api.h"
#include "base/log.h"

bool exchange_run(struct store *store, size_t body_limit, request_variable *variable, void *context,
                  const struct body_source *source, struct buffer *body, struct buffer *answer)
{
    struct request request;
    struct response response;
    bool may_keep;

    request_init(&request, variable, context);
    may_keep = request_read_body(&request, source, body_limit, body);
    response_init(&response);
    api_answer(store, &request, &response);
    if (!response.body.failed) {
        response_serialize(&response, request.id, answer);
    }
    if (response.body.failed || answer->failed) {
        log_error("unable to answer request_id=\"%s\": out of memory", request.id);
        may_keep = false;
    }
    response_free(&response);
    return may_keep;
}
