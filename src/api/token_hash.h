/* The hash by which the database knows a token. */
#ifndef INCIDENTS_API_TOKEN_HASH_H
#define INCIDENTS_API_TOKEN_HASH_H

#include "base/digest.h"

/* The SHA-256 of the token, as hexadecimal text that is valid until the next call. One thread alone may call
 * it. The last few are cached, because clients send the same token again and again, and a hash takes a
 * twelfth of a request's instructions. */
const char *token_hash(struct slice token);

#endif
