/* SHA-256, by libmd. */
#include "base/digest.h"

#include <sha2.h>

void digest_sha256(struct slice data, char hex[DIGEST_HEX_SIZE])
{
    (void)SHA256Data((const uint8_t *)data.data, data.len, hex); /* which writes the digits and the NUL */
}
