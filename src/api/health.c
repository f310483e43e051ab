/* healthz and readyz: for load balancers and monitoring. */
#include "api/method.h"

bool healthz(struct exchange *exchange)
{
    return answer_ok(exchange->response, NULL, NULL);
}

/* The way of every write, without the write: a connection, the right to call the function, its schema
 * version, and a database that is not read-only. */
bool readyz(struct exchange *exchange)
{
    if (!item_ping(&exchange->item)) {
        return check_outcome(ITEM_FAILED, &exchange->error);
    }
    store_submit(exchange->store, &exchange->item);
    return check_outcome(exchange->item.outcome, &exchange->error) &&
           answer_ok(exchange->response, NULL, NULL);
}
