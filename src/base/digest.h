/* SHA-256, by libmd: a fourth of plain CGI's start was libcrypto setting itself up. */
#ifndef INCIDENTS_BASE_DIGEST_H
#define INCIDENTS_BASE_DIGEST_H

#include "base/buffer.h"

enum { DIGEST_HEX_SIZE = 65 }; /* 64 hexadecimal digits and a NUL */

/* The SHA-256 of data in lower-case hexadecimal. */
void digest_sha256(struct slice data, char hex[DIGEST_HEX_SIZE]);

#endif
