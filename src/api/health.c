/* healthz and readyz: for load balancers and monitoring. */
#include "api/methods.h"

bool healthz(struct exchange *exchange)
{
    (void)exchange; /* it is enough to be answered */
    return true;
}

/* The way of every write, without the write: a connection, the right to call the function, its schema
 * version, and a database that is not read-only. */
bool readyz(struct exchange *exchange)
{
    return op_ping(&exchange->op) || error_set(&exchange->error, ERROR_INTERNAL, "out of memory");
}
