/* The responses' JSON, and the one table from error to HTTP status. */
#ifndef INCIDENTS_API_ERROR_RESPONSE_H
#define INCIDENTS_API_ERROR_RESPONSE_H

#include "base/error.h"
#include "http/response.h"

/* Both set the status and append to response->body. If there is no memory for it, body.failed is set. */

/* 200 with {"ok":true} and, if reference_id is not NULL, what happened to which incident. */
void respond_ok(struct response *response, const char *action, const char *reference_id);

/* The error's status, code and sentence. */
void respond_error(struct response *response, const struct error *error);

#endif
