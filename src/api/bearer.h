/* Reading the bearer token out of an Authorization header. */
#ifndef INCIDENTS_API_BEARER_H
#define INCIDENTS_API_BEARER_H

#include <stdbool.h>

#include "base/buffer.h"

enum { BEARER_TOKEN_MAX = 4096 };

/* Finds the token in the header's value (RFC 6750 section 2.1): the scheme in any case, at least one space,
 * then visible ASCII to the end. RFC 6750 allows fewer characters; tokens that clients already hold may have
 * others. False where there is none, or authorization is NULL. *token points into it. */
bool bearer_token(const char *authorization, struct slice *token);

/* Whether a token consists of what bearer_token accepts. */
bool bearer_token_is_valid(struct slice token);

#endif
