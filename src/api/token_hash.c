/* The hash by which the database knows a token. */
#include "api/token_hash.h"

#include <string.h>

enum { REMEMBERED = 16, LENGTH_MAX = 128 };

/* len is 0 if there is none yet, or if the token is too long to be kept. */
struct remembered {
    char token[LENGTH_MAX];
    size_t len;
    char hash[DIGEST_HEX_SIZE];
};

/* How long this takes tells nothing of where they differ, and so nothing of a token that another client
 * sent. */
static bool is_same(const struct remembered *remembered, struct slice token)
{
    unsigned difference = 0;

    if (remembered->len != token.len) {
        return false;
    }
    for (size_t i = 0; i < token.len; i++) {
        difference |= (unsigned char)remembered->token[i] ^ (unsigned char)token.data[i];
    }
    return difference == 0;
}

const char *token_hash(struct slice token)
{
    static struct remembered all[REMEMBERED];
    struct remembered *place =
        &all[token.len > 0 ? (unsigned char)token.data[token.len - 1] % REMEMBERED : 0];

    if (place->len > 0 && is_same(place, token)) {
        return place->hash;
    }
    place->len = token.len <= LENGTH_MAX ? token.len : 0;
    memcpy(place->token, token.data, place->len);
    digest_sha256(token, place->hash);
    return place->hash;
}
