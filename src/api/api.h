/* The HTTP contract: from a request to its answer. */
#ifndef INCIDENTS_API_API_H
#define INCIDENTS_API_API_H

#include "gateway/request.h"
#include "gateway/response.h"
#include "store/store.h"

/* Answers one request, and logs it in one line. The response must be fresh from response_init. From any
 * thread. */
void api_answer(struct store *store, const struct request *request, struct response *response);

#endif
