/* Reading and judging the arguments: what the contract's table says, without a database. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "model/incident.h"

#define BASE(rest) "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"" rest "}"

static bool read_body(const char *body, enum dialect dialect, struct incident *incident, struct error *error)
{
    *error = (struct error){.code = ERROR_NONE};
    return incident_read((struct slice){.data = body, .len = strlen(body)}, dialect, incident, error);
}

/* The links of a body's services as JSON text, which must be readable. */
static void check_links(const char *body, enum dialect dialect, enum presence presence, const char *links)
{
    struct incident incident;
    struct error error;

    if (!read_body(body, dialect, &incident, &error)) {
        fail_msg("%s: %s", body, error.message);
    }
    assert_int_equal(incident.services.presence, presence);
    if (links != NULL) {
        assert_string_equal(json_object_to_json_string_ext(incident.services.links, JSON_C_TO_STRING_PLAIN),
                            links);
    }
    incident_free(&incident);
}

static void services_become_links_and_a_repeated_one_keeps_its_place(void **state)
{
    (void)state;
    check_links(BASE(""), DIALECT_UPSERT, PRESENCE_ABSENT, NULL);
    check_links(BASE(",\"services\":null"), DIALECT_UPSERT, PRESENCE_CLEARED, NULL);
    check_links(BASE(",\"services\":[ ]"), DIALECT_UPSERT, PRESENCE_CLEARED, "[]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"a\"}]"),
                DIALECT_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"B\"],[\"a\",null]]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"a\"},{"
                     "\"identifier\":\"b\","
                     "\"name\":\"C\"}]"),
                DIALECT_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"C\"],[\"a\",null]]");
    check_links(BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"b\"}]"),
                DIALECT_UPSERT, PRESENCE_GIVEN, "[[\"b\",\"B\"]]");
    check_links(
        BASE(",\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":\"b\",\"name\":null}]"),
        DIALECT_UPSERT, PRESENCE_GIVEN, "[[\"b\",null]]");
    check_links(BASE(",\"services\":[\"a\",\"b\",\"a\"]"), DIALECT_SYNC, PRESENCE_GIVEN,
                "[[\"a\",null],[\"b\",null]]");
}

static void a_thousand_services_are_read_and_one_more_is_refused(void **state)
{
    (void)state;
    for (size_t count = 1000; count <= 1001; count++) {
        char body[64 * 1024];
        size_t len = (size_t)snprintf(body, sizeof body,
                                      "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"services\":[");
        struct incident incident;
        struct error error;
        bool ok;

        for (size_t i = 0; i < count; i++) {
            len += (size_t)snprintf(body + len, sizeof body - len, "%s{\"identifier\":\"s%zu\"}",
                                    i == 0 ? "" : ",", i);
        }
        (void)snprintf(body + len, sizeof body - len, "]}");
        ok = read_body(body, DIALECT_UPSERT, &incident, &error);
        assert_int_equal(ok, count == 1000);
        assert_true(ok ||
                    (error.code == ERROR_INVALID_ARGUMENTS && strstr(error.message, "services") != NULL));
        incident_free(&incident);
    }
}

static void a_blank_identifier_is_refused_in_every_white_space(void **state)
{
    static const char *const blanks[] = {"",        " ",        "\\t\\n\\r",
                                         "\\u0085", "\\u00a0",  "\\u2003\\u2028",
                                         "\\u3000", "\xC2\xA0", "\xE2\x80\x89 \xE3\x80\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof blanks / sizeof blanks[0]; i++) {
        char body[128];
        struct incident incident;
        struct error error;

        (void)snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}",
                       blanks[i]);
        if (read_body(body, DIALECT_UPSERT, &incident, &error) || error.code != ERROR_INVALID_ARGUMENTS) {
            fail_msg("blank %zu was taken", i);
        }
        incident_free(&incident);
    }
}

static void delete_takes_a_string_or_an_integer_digit_by_digit(void **state)
{
    static const struct {
        const char *json;
        const char *id; /* NULL: refused */
    } cases[] = {{"\"a\"", "a"},
                 {"0", "0"},
                 {"-0", "0"},
                 {"-5", "-5"},
                 {"12345678901234567890123", "12345678901234567890123"},
                 {"1.0", NULL},
                 {"1e3", NULL},
                 {"1E3", NULL},
                 {"true", NULL},
                 {"null", NULL},
                 {"[]", NULL},
                 {"{}", NULL},
                 {"\" \"", NULL},
                 {"\"a\\u0000\"", NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[128];
        struct incident incident;
        struct error error;
        bool ok;

        (void)snprintf(body, sizeof body, "{\"reference_id\":%s}", cases[i].json);
        ok = incident_read_reference((struct slice){.data = body, .len = strlen(body)}, &incident, &error);
        if (ok != (cases[i].id != NULL) || (ok && strcmp(incident.reference_id, cases[i].id) != 0) ||
            (!ok && error.code != ERROR_INVALID_ARGUMENTS)) {
            fail_msg("reference_id %s", cases[i].json);
        }
        incident_free(&incident);
    }
}

static void delete_takes_an_integer_of_1024_digits_and_none_of_more(void **state)
{
    (void)state;
    for (int digits = IDENTIFIER_BYTES_MAX; digits <= IDENTIFIER_BYTES_MAX + 1; digits++) {
        char body[IDENTIFIER_BYTES_MAX + 64];
        struct incident incident;
        struct error error;
        bool ok;

        (void)snprintf(body, sizeof body, "{\"reference_id\":1%0*d}", digits - 1, 0);
        ok = incident_read_reference((struct slice){.data = body, .len = strlen(body)}, &incident, &error);
        assert_int_equal(ok, digits == IDENTIFIER_BYTES_MAX);
        assert_true(ok || strstr(error.message, "at most 1024 bytes") != NULL);
        incident_free(&incident);
    }
}

static void presence_tells_absent_null_and_a_value_apart(void **state)
{
    static const struct {
        const char *value; /* NULL: absent */
        enum presence text;
        enum presence metadata;
    } cases[] = {{NULL, PRESENCE_ABSENT, PRESENCE_ABSENT}, {"null", PRESENCE_CLEARED, PRESENCE_CLEARED}};
    struct incident incident;
    struct error error;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char body[256];
        const char *value = cases[i].value;

        (void)snprintf(body, sizeof body, "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"%s%s%s%s}",
                       value == NULL ? "" : ",\"name\":", value == NULL ? "" : value,
                       value == NULL ? "" : ",\"metadata\":", value == NULL ? "" : value);
        assert_true(read_body(body, DIALECT_UPSERT, &incident, &error));
        assert_int_equal(incident.name.presence, cases[i].text);
        assert_int_equal(incident.metadata.presence, cases[i].metadata);
        incident_free(&incident);
    }
    assert_true(read_body(BASE(",\"name\":\"\",\"metadata\":{\"a\":1}"), DIALECT_UPSERT, &incident, &error));
    assert_int_equal(incident.name.presence, PRESENCE_GIVEN);
    assert_int_equal(incident.metadata.json.len, strlen("{\"a\":1}"));
    incident_free(&incident);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_become_links_and_a_repeated_one_keeps_its_place),
        cmocka_unit_test(a_thousand_services_are_read_and_one_more_is_refused),
        cmocka_unit_test(a_blank_identifier_is_refused_in_every_white_space),
        cmocka_unit_test(delete_takes_a_string_or_an_integer_digit_by_digit),
        cmocka_unit_test(delete_takes_an_integer_of_1024_digits_and_none_of_more),
        cmocka_unit_test(presence_tells_absent_null_and_a_value_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
