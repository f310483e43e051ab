/* Reading the bearer token out of an Authorization header. */
#include "api/bearer.h"

#include <string.h>
#include <strings.h>

bool bearer_token_is_valid(struct slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] < 0x21 || token.data[i] > 0x7e) {
            return false;
        }
    }
    return token.len >= 1 && token.len <= BEARER_TOKEN_MAX;
}

bool bearer_token(const char *authorization, struct slice *token)
{
    static const char scheme[] = "Bearer ";

    if (authorization == NULL || strncasecmp(authorization, scheme, sizeof scheme - 1) != 0) {
        return false;
    }
    authorization += sizeof scheme - 1;
    authorization += strspn(authorization, " ");
    *token = (struct slice){.data = authorization, .len = strlen(authorization)};
    while (token->len > 0 && token->data[token->len - 1] == ' ') {
        token->len--;
    }
    return bearer_token_is_valid(*token);
}
