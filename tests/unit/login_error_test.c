/* The SQLSTATE in what libpq says of a refused connection. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/login_error.h"

static void a_refusal_is_taken_apart(void **state)
{
    static const struct {
        const char *verbose;
        const char *message;
        const char *sqlstate;
    } cases[] = {
        {"connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  28P01: no\nLOCATION:  "
         "auth_failed, auth.c:338\n",
         "connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  no", "28P01"},
        /* With TLS, then without; in the server's language; with more lines. */
        {"failed: FATAL:  28000: one\nLOCATION:  x\nfailed: ВАЖНО:  28P01: two\nDETAIL:  three\nLOCATION:  "
         "x\n",
         "failed: FATAL:  one\nfailed: ВАЖНО:  two\nDETAIL:  three", "28P01"},
        /* Nobody has answered. */
        {"connection to server at \"::1\", port 5432 failed: Connection refused\n\tIs the server running?\n",
         "connection to server at \"::1\", port 5432 failed: Connection refused\n\tIs the server running?",
         ""},
        {"no answer in time", "no answer in time", ""},
        {"FATAL:  2800: four\n", "FATAL:  2800: four", ""},
        {"FATAL:  280000: six\n", "FATAL:  280000: six", ""},
        {"FATAL:  28p01: small\n", "FATAL:  28p01: small", ""},
        {"FATAL:  28P01", "FATAL:  28P01", ""},
        {"", "", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[512], sqlstate[SQLSTATE_SIZE];

        login_error_read(cases[i].verbose, message, sizeof message, sqlstate);
        assert_string_equal(message, cases[i].message);
        assert_string_equal(sqlstate, cases[i].sqlstate);
    }
}

static void a_message_that_is_too_long_is_cut(void **state)
{
    static const char verbose[] = "failed: FATAL:  28P01: password\nDETAIL:  there is more\n";

    (void)state;
    for (size_t size = 1; size < sizeof verbose; size++) {
        char message[sizeof verbose], sqlstate[SQLSTATE_SIZE];

        login_error_read(verbose, message, size, sqlstate);
        assert_true(strlen(message) < size);
        assert_int_equal(
            strncmp("failed: FATAL:  password\nDETAIL:  there is more", message, strlen(message)), 0);
        assert_string_equal(sqlstate, "28P01");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refusal_is_taken_apart),
        cmocka_unit_test(a_message_that_is_too_long_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
