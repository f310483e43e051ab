/* What CGI and FastCGI do alike: read a request, write its answer. */
#include "gateway/exchange.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/guard.h"

/* For when there is no memory left to say anything else. */
#define LAST_RESORT_HEAD                                                                                     \
    "Status: 500 Internal Server Error\r\n"                                                                  \
    "Content-Type: application/json\r\n"                                                                     \
    "Cache-Control: no-store\r\n\r\n"
static const char last_resort[] =
    LAST_RESORT_HEAD "{\"ok\":false,\"error\":\"internal_error\",\"message\":\"out of memory\"}";

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
                    GUARD_PARAMS_MAX);
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
        *answer = (struct slice){
            .data = last_resort,
            .len = (response->is_to_head ? sizeof LAST_RESORT_HEAD : sizeof last_resort) - 1,
        };
    }
}

void exchange_end(struct exchange *exchange, struct buffer *written, struct slice *answer)
{
    api_answer(exchange);
    exchange_write(&exchange->response, exchange->request.id, written, answer);
    response_free(&exchange->response);
}
