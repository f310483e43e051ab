/* SHA-256, by libcrypto. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <pthread.h>

#include "base/hex.h"

enum { DIGEST_BYTES = 32 };

/* Looked up once: to have libcrypto do it for every digest takes longer than the digest. */
static EVP_MD *sha256;

static void look_up(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

bool digest_sha256(struct slice data, char hex[DIGEST_HEX_SIZE])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;

    (void)pthread_once(&once, look_up);
    if (sha256 == NULL || EVP_Digest(data.data, data.len, digest, &len, sha256, NULL) != 1 ||
        len != DIGEST_BYTES) {
        return false;
    }
    hex_encode(digest, len, hex);
    return true;
}
