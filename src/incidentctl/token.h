/* Tokens as incidentctl makes them. */
#ifndef INCIDENTS_INCIDENTCTL_TOKEN_H
#define INCIDENTS_INCIDENTCTL_TOKEN_H

#include <stdbool.h>

enum { TOKEN_SIZE = 64 };

/* Makes a token of 256 random bits, in base64url without padding (RFC 4648 section 5), NUL-terminated. False,
 * with a message on standard error, where there is no randomness to be had. */
bool token_make(char token[TOKEN_SIZE]);

#endif
