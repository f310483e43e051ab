/* healthz and readyz: for load balancers and monitoring. */
#include "api/methods.h"

bool healthz(struct exchange *exchange)
{
    (void)exchange; /* that there is a response says it all */
    return true;
}

/* All that a write needs, without the write: a connection, the right to call the function, its schema
 * version, and a database that is not read-only. */
bool readyz(struct exchange *exchange)
{
    return op_ping(&exchange->op) || error_set(&exchange->error, ERROR_INTERNAL, "out of memory");
}
