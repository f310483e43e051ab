/* The Authorization header: which tokens are found in it, and what is said where there is none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "http/bearer.h"

static void a_token_is_found_whatever_blanks_are_around_it(void **state)
{
    static const char *const headers[] = {
        "Bearer t0k.en",       "bearer t0k.en",        "BEARER t0k.en",   "Bearer   t0k.en",
        "Bearer\tt0k.en",      "Bearer \t t0k.en",     "\tBearer t0k.en", " \t Bearer t0k.en",
        "Bearer t0k.en \t\t ", "\t bEaReR\tt0k.en\t ",
    };

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct error error = {.code = ERROR_NONE};
        struct slice token;

        if (!bearer_token(headers[i], &token, &error)) {
            fail_msg("no token in \"%s\": %s", headers[i], error.message);
        }
        assert_int_equal(token.len, 6);
        assert_memory_equal(token.data, "t0k.en", 6);
    }
}

static void what_is_no_token_is_named(void **state)
{
    static const struct {
        const char *header;
        const char *message;
    } cases[] = {
        {NULL, "no Authorization header"},
        {"", "another scheme"},
        {" ", "another scheme"},
        {"Basic YTpi", "another scheme"},
        {"inct_0123", "another scheme"},
        {"Bearerinct_0123", "another scheme"},
        {"Bear inct_0123", "another scheme"},
        {"Token token=inct_0123", "another scheme"},
        {"Bearer:inct_0123", "another scheme"},
        {"Bearer", "it is empty"},
        {"Bearer \t", "it is empty"},
        {"Bearer a b", "visible ASCII"},
        {"Bearer a\tb", "visible ASCII"},
        {"Bearer a\x7f", "visible ASCII"},
        {"Bearer \xC3\xA9", "visible ASCII"},
        {"Bearer a\n", "visible ASCII"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error = {.code = ERROR_NONE};
        struct slice token;

        assert_false(bearer_token(cases[i].header, &token, &error));
        assert_int_equal(error.code, ERROR_NOT_AUTHED);
        if (strstr(error.message, cases[i].message) == NULL) {
            fail_msg("\"%s\" should be answered with %s: %s", cases[i].header, cases[i].message,
                     error.message);
        }
    }
}

static void a_token_ends_at_its_limit(void **state)
{
    static const char scheme[] = "Bearer ";
    char *header = malloc(sizeof scheme + BEARER_TOKEN_MAX + 1);
    struct error error = {.code = ERROR_NONE};
    struct slice token;

    assert_non_null(header);
    memcpy(header, scheme, sizeof scheme - 1);
    memset(header + sizeof scheme - 1, 'x', BEARER_TOKEN_MAX + 1);
    header[sizeof scheme - 1 + BEARER_TOKEN_MAX] = '\0';
    assert_true(bearer_token(header, &token, &error));
    assert_int_equal(token.len, BEARER_TOKEN_MAX);
    header[sizeof scheme - 1 + BEARER_TOKEN_MAX] = 'x';
    header[sizeof scheme + BEARER_TOKEN_MAX] = '\0';
    assert_false(bearer_token(header, &token, &error));
    free(header);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_found_whatever_blanks_are_around_it),
        cmocka_unit_test(what_is_no_token_is_named),
        cmocka_unit_test(a_token_ends_at_its_limit),
    };

    return cmocka_run_group_tests_name("the bearer token", tests, NULL, NULL);
}
