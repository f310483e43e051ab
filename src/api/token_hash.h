/* The hash by which the database knows a token. */
#ifndef INCIDENTS_API_TOKEN_HASH_H
#define INCIDENTS_API_TOKEN_HASH_H

#include "base/digest.h"

/* The SHA-256 of the token. Clients send the same one again and again, so that of the last few is remembered:
 * to compute it takes a twelfth of a request's instructions. By one thread alone. */
const char *token_hash(struct slice token);

#endif
