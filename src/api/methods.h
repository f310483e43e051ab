/* The API's methods. */
#ifndef INCIDENTS_API_METHODS_H
#define INCIDENTS_API_METHODS_H

#include "api/exchange.h"

/* Each reads its request, and encodes what is to be asked of the database into exchange->op, which is left
 * empty where nothing is. False, with the error set, where the response is known without asking; an error
 * that is set all the same is the response unless the database has a reason of its own. */
typedef bool method_handler(struct exchange *exchange);

/* incidents.c */
method_handler incidents_upsert;
method_handler incidents_sync;
method_handler incidents_delete;

/* health.c */
method_handler healthz;
method_handler readyz;

/* metrics.c */
method_handler metrics;

#endif
