/* From a request's path and verb to its method. */
#ifndef INCIDENTS_API_ROUTER_H
#define INCIDENTS_API_ROUTER_H

#include "api/exchange.h"

/* Runs the method of an exchange that has begun. Returns whether the database is to be asked: then
 * exchange->op wants its outcome before exchange_end. The request's body is not needed any more. */
bool router_dispatch(struct exchange *exchange);

#endif
