/* Reading the bearer token out of an Authorization header. */
#ifndef INCIDENTS_HTTP_BEARER_H
#define INCIDENTS_HTTP_BEARER_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

enum { BEARER_TOKEN_MAX = 4096 };

/* Finds the token in the header's value (RFC 6750 section 2.1): the scheme in any case, blanks, then visible
 * ASCII to the end. RFC 6750 allows fewer characters; tokens that clients already hold may have others. A
 * blank is a space or a tab, and as many as there are: before the scheme and behind the token, where RFC 9110
 * section 5.5 has them taken away, and between the two. authorization is NULL where there is no such header.
 * *token points into it. On false, *error is not_authed and says which: no header, another scheme, or a
 * token that none can be. */
bool bearer_token(const char *authorization, struct slice *token, struct error *error);

/* Whether a token consists of what bearer_token accepts. */
bool bearer_token_is_valid(struct slice token);

#endif
