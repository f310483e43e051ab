/* SHA-256, by libcrypto. */
#ifndef INCIDENTS_BASE_DIGEST_H
#define INCIDENTS_BASE_DIGEST_H

#include <stdbool.h>

#include "base/buffer.h"

enum { DIGEST_HEX_SIZE = 65 }; /* 64 hexadecimal digits and a NUL */

/* The SHA-256 of data in lower-case hexadecimal. False when libcrypto fails. */
bool digest_sha256(struct slice data, char hex[DIGEST_HEX_SIZE]);

#endif
