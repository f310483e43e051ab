/* What CGI and FastCGI do alike: read a request, write its answer. */
#include "gateway/exchange.h"

#include "base/clock.h"
#include "base/log.h"

/* For when there is no memory left to say anything else. */
static const char last_resort[] = "Status: 500 Internal Server Error\r\n"
                                  "Content-Type: application/json\r\n"
                                  "Cache-Control: no-store\r\n\r\n"
                                  "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}";

void exchange_begin(struct exchange *exchange, request_variable *variable, void *context)
{
    *exchange = (struct exchange){0};
    request_init(&exchange->request, variable, context);
    response_init(&exchange->response);
}

void exchange_refuse(struct exchange *exchange)
{
    exchange->started_ms = clock_now_ms();
    (void)error_set(&exchange->error, ERROR_REQUEST_TOO_LARGE, "the headers are over the size limit");
}

void exchange_write(const struct response *response, const char *request_id, struct buffer *written,
                    struct slice *answer)
{
    if (!response->body.failed) {
        response_serialize(response, request_id, written);
    }
    *answer = (struct slice){.data = written->data, .len = written->len};
    if (response->body.failed || written->failed) {
        log_error("unable to answer request_id=\"%s\": out of memory", request_id);
        *answer = (struct slice){.data = last_resort, .len = sizeof last_resort - 1};
    }
}

void exchange_end(struct exchange *exchange, struct buffer *written, struct slice *answer)
{
    api_answer(exchange);
    exchange_write(&exchange->response, exchange->request.id, written, answer);
    response_free(&exchange->response);
}
