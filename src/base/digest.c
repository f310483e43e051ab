/* SHA-256, by libcrypto. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <stdio.h>

bool digest_sha256(struct slice data, char hex[DIGEST_HEX_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    if (EVP_Digest(data.data, data.len, digest, &len, EVP_sha256(), NULL) != 1 || len != 32) {
        return false;
    }
    for (unsigned int i = 0; i < len; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    return true;
}
