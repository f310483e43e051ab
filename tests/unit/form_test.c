/* Forms: the JSON that they mean, and what is wrong with those that mean none. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "model/form.h"
#include "model/json.h"

#define BYTES(text) text, sizeof text - 1

static void a_form_is_said_as_json(void **state)
{
    static const struct {
        struct slice form;
        const char *json;
    } cases[] = {
        {{BYTES("a=1")}, "{\"a\":\"1\"}"},
        {{BYTES("a=1&b=2")}, "{\"a\":\"1\",\"b\":\"2\"}"},
        {{BYTES("a=x&a=y")}, "{\"a\":\"x\",\"a\":\"y\"}"},
        {{BYTES("a=")}, "{\"a\":\"\"}"},
        {{BYTES("a")}, "{\"a\":\"\"}"},
        {{BYTES("=")}, "{\"\":\"\"}"},
        {{BYTES("&&a=1&")}, "{\"a\":\"1\"}"},
        {{BYTES("&")}, "{}"},
        {{BYTES("")}, "{}"},
        {{BYTES("a=b=c")}, "{\"a\":\"b=c\"}"},
        {{BYTES("a+b=c+%2B%20d")}, "{\"a b\":\"c + d\"}"},
        {{BYTES("%61=%26%3d%C3%a9\xF0\x9F\x94\xA5")}, "{\"a\":\"&=\xC3\xA9\xF0\x9F\x94\xA5\"}"},
        {{BYTES("a=%22%5C%0A%01")}, "{\"a\":\"\\\"\\\\\\n\\u0001\"}"},
        {{BYTES("a=%00\0")}, "{\"a\":\"\\u0000\\u0000\"}"},
        {{BYTES("\1")}, "{\"\\u0001\":\"\"}"},
        {{BYTES("services=[\"a\"]&metadata=%7B%22x%22:1.10%7D")},
         "{\"services\":[\"a\"],\"metadata\":{\"x\":1.10}}"},
        {{BYTES("services=&metadata")}, "{\"services\":null,\"metadata\":null}"},
        {{BYTES("s%65rvices=+null+")}, "{\"services\": null }"},
        {{BYTES("Services=[&meta=]")}, "{\"Services\":\"[\",\"meta\":\"]\"}"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error;
        struct buffer json;

        if (!form_to_json(cases[i].form, &json, &error) || strcmp(json.data, cases[i].json) != 0) {
            fail_msg("%s should be %s, is %s: %s", cases[i].form.data, cases[i].json, json.data,
                     error.message);
        }
        buffer_free(&json);
    }
}

static void what_is_no_form_is_named(void **state)
{
    static const struct {
        struct slice form;
        const char *message;
    } cases[] = {
        {{BYTES("a=%")}, "hexadecimal"},
        {{BYTES("a=%4")}, "hexadecimal"},
        {{BYTES("a=%4&b=1")}, "hexadecimal"},
        {{BYTES("a=%g0")}, "hexadecimal"},
        {{BYTES("a=%0g")}, "hexadecimal"},
        {{BYTES("a=%0\0")}, "hexadecimal"},
        {{BYTES("%=1")}, "hexadecimal"},
        {{BYTES("a=100%")}, "hexadecimal"},
        {{BYTES("a=\xC3")}, "not UTF-8"},
        {{BYTES("a=%C3&b=%A9")}, "not UTF-8"},
        {{BYTES("%ff=1")}, "not UTF-8"},
        {{BYTES("a=%ED%A0%80")}, "not UTF-8"},
        {{BYTES("services=a")}, "services in a form must be JSON"},
        {{BYTES("services=[1")}, "services in a form must be JSON"},
        {{BYTES("metadata={} {}")}, "metadata in a form must be JSON"},
        {{BYTES("metadata=null,\"reference_id\":\"x\"")}, "metadata in a form must be JSON"},
        {{BYTES("services=[&metadata=]")}, "services in a form must be JSON"},
        {{BYTES("metadata=+")}, "metadata in a form must be JSON"},
        {{BYTES("metadata=\"%5Cud800\"")}, "metadata in a form must be JSON"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error error;
        struct buffer json;

        if (form_to_json(cases[i].form, &json, &error) || error.code != ERROR_INVALID_JSON ||
            strstr(error.message, cases[i].message) == NULL) {
            fail_msg("%s should be refused with %s: %s", cases[i].form.data, cases[i].message, error.message);
        }
        buffer_free(&json);
    }
}

/* Any bytes at all: a form that is read means one valid JSON object, and there is room for all that it can
 * become. */
static void whatever_is_read_is_valid_json(void **state)
{
    static const char letters[] = "a=&+%0aA\1\"\\\xC3\xA9{}[]";
    char form[40];

    srand(7);
    for (int i = 0; i < 200000; i++) {
        size_t len = (size_t)rand() % sizeof form;
        struct error error;
        struct buffer json;

        for (size_t at = 0; at < len; at++) {
            form[at] = letters[(size_t)rand() % (sizeof letters - 1)];
        }
        if (form_to_json((struct slice){.data = form, .len = len}, &json, &error)) {
            bool stray_nul;

            assert_true(json_find_members((struct slice){.data = json.data, .len = json.len}, NULL, 0,
                                          &stray_nul, &error));
        } else {
            assert_int_equal(error.code, ERROR_INVALID_JSON);
        }
        buffer_free(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_form_is_said_as_json),
        cmocka_unit_test(what_is_no_form_is_named),
        cmocka_unit_test(whatever_is_read_is_valid_json),
    };

    return cmocka_run_group_tests_name("forms", tests, NULL, NULL);
}
