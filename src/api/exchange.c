/* What CGI and FastCGI do alike: read a request, write its answer. */
#include "api/exchange.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

enum { HEAD_TYPICAL = 256 };

/* No allocation: there is no memory. */
static struct slice write_last_resort(const struct response *response, const char *request_id,
                                      char text[LAST_RESORT_MAX])
{
    static const char body[] = "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}";
    int len = snprintf(text, LAST_RESORT_MAX,
                       "Status: 500 Internal Server Error\r\n"
                       "Content-Type: application/json\r\n"
                       "Cache-Control: no-store\r\n"
                       "X-Request-Id: %s\r\n"
                       "Content-Length: %zu\r\n\r\n%s",
                       request_id, sizeof body - 1, response->is_to_head ? "" : body);

    return (struct slice){.data = text, .len = (size_t)len};
}

_Static_assert(REQUEST_ID_MAX + 384 <= LAST_RESORT_MAX, "the last resort has room for its id");

void exchange_begin(struct exchange *exchange, request_variable *variable, void *context)
{
    *exchange = (struct exchange){0};
    request_init(&exchange->request, variable, context);
    response_init(&exchange->response, exchange->request.verb);
}

void exchange_refuse(struct exchange *exchange)
{
    exchange->started_ms = clock_now_ms();
    (void)error_set(&exchange->error, ERROR_REQUEST_TOO_LARGE, "the headers are over the limit of %d bytes",
                    REQUEST_PARAMS_MAX);
}

void exchange_write(const struct response *response, const char *request_id, struct buffer *written,
                    struct exchange_answer *answer)
{
    if (!response->body.failed && buffer_reserve(written, response->body.len + HEAD_TYPICAL)) {
        response_serialize(response, request_id, written);
    }
    answer->text = (struct slice){.data = written->data, .len = written->len};
    if (response->body.failed || written->failed) {
        log_error("unable to answer request_id=\"%s\": out of memory", request_id);
        answer->text = write_last_resort(response, request_id, answer->last_resort);
    }
}

void exchange_end(struct exchange *exchange, struct buffer *written, struct exchange_answer *answer)
{
    api_answer(exchange);
    exchange_write(&exchange->response, exchange->request.id, written, answer);
    response_free(&exchange->response);
}
