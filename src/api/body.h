/* What a body is: JSON, a form, or something that senders take for one of them. */
#ifndef INCIDENTS_API_BODY_H
#define INCIDENTS_API_BODY_H

#include "base/error.h"
#include "http/request.h"

/* Whether the body is to be read as a form (the contract: Forms): where the Content-Type says
 * application/x-www-form-urlencoded, unless the body begins like JSON, which many a sender labels so, or
 * body_describe knows it for something else. */
bool body_is_form(const struct request *request);

/* Whether the body, which is neither JSON nor a form, is known for something else: nothing, compressed, in
 * another encoding than UTF-8, or a form that is not one of ours. Then *error is invalid_json with the
 * sentence that says so; else it stays as it is. */
bool body_describe(const struct request *request, struct error *error);

#endif
