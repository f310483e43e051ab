/* What a body is taken for: JSON, a form, or something that the response can name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/body.h"

#define FORM "application/x-www-form-urlencoded"

static struct request request_of(const char *content_type, const char *content_encoding, const char *body,
                                 size_t len)
{
    return (struct request){
        .content_type = content_type, .content_encoding = content_encoding, .body = {body, len}};
}

static void a_form_is_what_is_called_so_and_does_not_begin_like_json(void **state)
{
    static const struct {
        const char *content_type, *body;
        bool is_form;
    } cases[] = {
        {FORM, "reference_id=1", true},
        {"Application/X-WWW-Form-URLencoded; charset=utf-8", "reference_id=1", true},
        {" \t" FORM "\t;charset=utf-8", "reference_id=1", true},
        {FORM, "&", true},
        {FORM, "null", true},
        {FORM, "1", true},
        {FORM, "{", false},
        {FORM, " \r\n\t{\"reference_id\":1}", false},
        {FORM, "[1]", false},
        {FORM, "\"a\"", false},
        {FORM, "\v{", true}, /* which JSON has not among its white space */
        {FORM, "", false},
        {FORM, " \n", false},
        {FORM "2", "reference_id=1", false},
        {"x" FORM, "reference_id=1", false},
        {"text/plain", "reference_id=1", false},
        {"application/json", "reference_id=1", false},
        {"multipart/form-data; boundary=x", "reference_id=1", false},
        {"", "reference_id=1", false},
        {FORM, "\xEF\xBB\xBFreference_id=1", false},
        {FORM, "\x1F\x8B\x08", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request request = request_of(cases[i].content_type, "", cases[i].body, strlen(cases[i].body));

        if (body_is_form(&request) != cases[i].is_form) {
            fail_msg("%s: \"%s\" is taken for %s", cases[i].content_type, cases[i].body,
                     cases[i].is_form ? "JSON" : "a form");
        }
    }
}

static void what_is_neither_is_named_where_it_is_known(void **state)
{
#define BYTES(text) text, sizeof text - 1
    static const struct {
        const char *content_type, *content_encoding;
        const char *body;
        size_t len;
        const char *message; /* NULL: it is not known */
    } cases[] = {
        {"", "", BYTES(""), "the body is empty"},
        {FORM, "gzip", BYTES(" \r\n\t"), "the body is empty"},
        {"", "gzip", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "GZip", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "br", BYTES("x"), "the body is compressed (Content-Encoding: br): send it as it is"},
        {"", "zstd", BYTES("\x28\xB5\x2F\xFD"),
         "the body is compressed (Content-Encoding: zstd): send it as it is"},
        {FORM, "deflate", BYTES("a=1"),
         "the body is compressed (Content-Encoding: deflate): send it as it is"},
        {"", "", BYTES("\x1F\x8B\x08"), "the body is compressed (gzip): send it as it is"},
        {"", "GZIP", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "gzip, br", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "identity,br", BYTES("x"), "the body is compressed (Content-Encoding: br): send it as it is"},
        {"", "gzip;q=1", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "gzip ; q=1", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", " x-gzip\t", BYTES("x"), "the body is compressed (Content-Encoding: x-gzip): send it as it is"},
        {"", ", \t,gzip", BYTES("x"), "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"", "identity", BYTES("x"), NULL},
        {"", "identity, utf-8,", BYTES("x"), NULL},
        {"", "gzip2", BYTES("x"), NULL},
        {"", "gzi", BYTES("x"), NULL},
        {"", "pgzip", BYTES("x"), NULL},
        {"", "utf-8", BYTES("x"), NULL},
        {"", "sEcReT", BYTES("x"), NULL},
        {"", "", BYTES("\xEF\xBB\xBF{}"), "the body begins with a byte-order mark: send it without"},
        {"", "", BYTES("\xEF\xBB"), NULL},
        {"", "", BYTES("\xFF\xFE{\0}\0"), "the body is UTF-16: send UTF-8"},
        {"", "", BYTES("\xFE\xFF\0{\0}"), "the body is UTF-16: send UTF-8"},
        {"", "", BYTES("{\0}\0"), "the body is UTF-16: send UTF-8"},
        {"", "", BYTES("\0{\0}"), "the body is UTF-16: send UTF-8"},
        {FORM, "", BYTES("a\0=\0"), "the body is UTF-16: send UTF-8"},
        {"", "", BYTES("\xFF\xFE\0\0{\0\0\0"), "the body is UTF-32: send UTF-8"},
        {"", "", BYTES("\0\0\xFE\xFF\0\0\0{"), "the body is UTF-32: send UTF-8"},
        {"", "", BYTES("{\0\0\0}\0\0\0"), "the body is UTF-32: send UTF-8"},
        {"", "", BYTES("\0\0\0{\0\0\0}"), "the body is UTF-32: send UTF-8"},
        {"", "", BYTES("{\0}"), NULL},
        {"", "", BYTES("\0\0\0\0"), NULL},
        {"multipart/form-data; boundary=x", "", BYTES("--x\r\n"),
         "the body is a form (multipart/form-data): send JSON"},
        {"Multipart/Form-Data", "", BYTES("--x\r\n"), "the body is a form (multipart/form-data): send JSON"},
        {"multipart/mixed", "", BYTES("--x\r\n"), NULL},
        {"application/json", "", BYTES("reference_id=1"),
         "the body is a form and its Content-Type is not " FORM ": send JSON"},
        {"", "", BYTES("reference_id=1"),
         "the body is a form and its Content-Type is not " FORM ": send JSON"},
        {"", "", BYTES("="), NULL},
        {"", "", BYTES("a b=1"), NULL},
        {"", "", BYTES("reference_id"), NULL},
        {FORM, "", BYTES("reference_id=1"), NULL},
        {"", "", BYTES("{\"reference_id\":1"), NULL},
        {"", "", BYTES("x"), NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct request request =
            request_of(cases[i].content_type, cases[i].content_encoding, cases[i].body, cases[i].len);
        struct error error = {.code = ERROR_NONE, .message = "as it was"};
        bool is_known = body_describe(&request, &error);

        if (is_known != (cases[i].message != NULL) ||
            strcmp(error.message, is_known ? cases[i].message : "as it was") != 0) {
            fail_msg("case %zu should be: %s\nis: %s", i, cases[i].message, error.message);
        }
        assert_int_equal(error.code, is_known ? ERROR_INVALID_JSON : ERROR_NONE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_what_is_called_so_and_does_not_begin_like_json),
        cmocka_unit_test(what_is_neither_is_named_where_it_is_known),
    };

    return cmocka_run_group_tests_name("bodies", tests, NULL, NULL);
}
