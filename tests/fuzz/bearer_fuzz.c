/* The Authorization header: a token that is found lies in the header's value and is visible ASCII. */
#include <string.h>

#include "http/bearer.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *header = malloc(size + 1);
    struct slice token;
    struct error error = {.code = ERROR_NONE};

    MUST(header != NULL);
    if (size > 0) {
        memcpy(header, data, size);
    }
    header[size] = '\0';
    if (bearer_token(header, &token, &error)) {
        MUST(token.data >= header && token.data + token.len <= header + size);
        MUST(token.len >= 1 && token.len <= BEARER_TOKEN_MAX && bearer_token_is_valid(token));
    } else {
        MUST(error.code == ERROR_NOT_AUTHED && error.message[0] != '\0');
    }
    free(header);
    return 0;
}
