/* The hash of a token is the token's, whatever was asked for before. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "api/token_hash.h"

static void expect(const char *token, size_t len)
{
    struct slice slice = {.data = token, .len = len};
    char expected[DIGEST_HEX_SIZE];

    digest_sha256(slice, expected);
    assert_string_equal(token_hash(slice), expected);
}

static void each_token_has_its_own(void **state)
{
    static const char *const tokens[] = {"inct_first",  "inct_first", "inct_firsu", "jnct_first",
                                         "inct_firstt", "t",          "inct_first", "",
                                         "inct_first"};

    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        expect(tokens[i], strlen(tokens[i]));
    }
}

static void a_token_of_any_length_has_one(void **state)
{
    char token[400];

    memset(token, 'a', sizeof token);
    for (size_t len = 0; len <= sizeof token; len++) {
        expect(token, len);
        expect(token, len);
    }
    for (size_t len = sizeof token; len-- > 0;) {
        expect(token, len);
    }
}

/* They share the last byte, and so a place. */
static void a_token_that_differs_anywhere_is_another(void **state)
{
    char token[128], other[128];

    memset(token, 'x', sizeof token);
    for (size_t at = 0; at < sizeof token; at++) {
        memcpy(other, token, sizeof other);
        other[at] = 'y';
        expect(token, sizeof token);
        expect(other, sizeof other);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_token_has_its_own),
        cmocka_unit_test(a_token_of_any_length_has_one),
        cmocka_unit_test(a_token_that_differs_anywhere_is_another),
    };

    return cmocka_run_group_tests_name("token_hash", tests, NULL, NULL);
}
