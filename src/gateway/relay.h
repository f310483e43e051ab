/* Plain CGI's request on its way to a worker that stays: FastCGI as a web server speaks it. */
#ifndef INCIDENTS_GATEWAY_RELAY_H
#define INCIDENTS_GATEWAY_RELAY_H

#include <stdint.h>

#include "gateway/request.h"

enum relay_result {
    RELAY_ANSWERED,
    RELAY_UNSENT, /* the worker has not got the whole of the request, and so will do nothing with it */
    RELAY_LOST,   /* the worker has gone, or there is no memory; what it did with the request is not known */
    RELAY_SILENT, /* no answer in time, with the same doubt */
};

/* Sends the request to the worker at the connection's other end, and appends its answer, in CGI's form, to
 * `answer`, an empty buffer; of use with RELAY_ANSWERED alone. What the worker has for its log goes to
 * standard error. `variable` and `context` are what the request was made of. Times are of clock_now_ms:
 * behind take_until_ms the worker refuses the request if it has not begun with it, and deadline_ms is when an
 * answer is of no use any more. The connection is of no use behind that, and still open. */
enum relay_result relay_request(int connection, const struct request *request, request_variable *variable,
                                void *context, int64_t take_until_ms, int64_t deadline_ms,
                                struct buffer *answer);

#endif
