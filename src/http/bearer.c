/* Reading the bearer token out of an Authorization header. */
#include "http/bearer.h"

#include <string.h>
#include <strings.h>

static const char blanks[] = " \t";

bool bearer_token_is_valid(struct slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] < 0x21 || token.data[i] > 0x7e) {
            return false;
        }
    }
    return token.len >= 1 && token.len <= BEARER_TOKEN_MAX;
}

static bool is_blank(char byte)
{
    return byte != '\0' && strchr(blanks, byte) != NULL;
}

bool bearer_token(const char *authorization, struct slice *token, struct error *error)
{
    static const char scheme[] = "Bearer";
    const char *text;

    if (authorization == NULL) {
        return error_set(error, ERROR_NOT_AUTHED,
                         "no Authorization header arrived: send Authorization: Bearer <token>");
    }
    text = authorization + strspn(authorization, blanks);
    if (strcspn(text, blanks) != sizeof scheme - 1 || strncasecmp(text, scheme, sizeof scheme - 1) != 0) {
        return error_set(
            error, ERROR_NOT_AUTHED,
            "the Authorization header has another scheme than Bearer: send Authorization: Bearer <token>");
    }
    text += sizeof scheme - 1;
    text += strspn(text, blanks);
    *token = (struct slice){.data = text, .len = strlen(text)};
    while (token->len > 0 && is_blank(token->data[token->len - 1])) {
        token->len--;
    }
    if (token->len == 0) {
        return error_set(error, ERROR_NOT_AUTHED, "invalid token: it is empty");
    }
    return bearer_token_is_valid(*token) ||
           error_set(error, ERROR_NOT_AUTHED,
                     "invalid token: characters outside visible ASCII, or over 4096 bytes");
}
