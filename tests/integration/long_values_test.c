/* Texts without a limit: whatever the body's limit lets in is stored and given back, in one piece. Random
 * letters, so that nothing compresses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/fixture.h"

enum { BODY_LIMIT = 1024 * 1024 };

static struct stack stack;

static char *random_letters(size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('A' + rand() % 26);
    }
    text[len] = '\0';
    return text;
}

/* Where a text may stand, and where it is then found. */
static const struct {
    const char *before;
    const char *behind;
    const char *stored;
} places[] = {
    {"\"name\":\"", "\"", "SELECT name FROM intake.incident"},
    {"\"priority\":\"", "\"", "SELECT priority FROM intake.incident"},
    {"\"source_url\":\"", "\"", "SELECT source_url FROM intake.incident"},
    {"\"services\":[{\"identifier\":\"s\",\"name\":\"", "\"}]",
     "SELECT service FROM reporting.incident_services"},
    {"\"metadata\":{\"m\":\"", "\"}", "SELECT value FROM reporting.incident_metadata"},
};

static void check_place(http_transport *transport, size_t place, size_t len)
{
    char *text = random_letters(len), *body = malloc(BODY_LIMIT + 1);
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    assert_non_null(body);
    snprintf(body, BODY_LIMIT + 1, "{\"reference_id\":\"long\",\"started_at\":\"2024-01-01\",%s%s%s}",
             places[place].before, text, places[place].behind);
    transport(&stack, &call, &response);
    if (response.status != 200 || strcmp(stack_query(&stack, places[place].stored), text) != 0) {
        fail_msg("%zu bytes in %s: %d %s", len, places[place].before, response.status, response.body);
    }
    http_response_free(&response);
    stack_query(&stack, "DELETE FROM intake.incident");
    free(text);
    free(body);
}

static void a_text_of_any_length_is_kept(void **state)
{
    /* An index's entry ends at 2,704 bytes, a page at 8,192. */
    static const size_t lengths[] = {2600, 2693, 2705, 8192, 100000, BODY_LIMIT - 200};

    for (size_t place = 0; place < sizeof places / sizeof places[0]; place++) {
        for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
            check_place(http_through_nginx, place, lengths[i]);
        }
        check_place(http_as_cgi, place, 2693);
    }
}

/* The longest keys that there may be, together in every index that has them; the name in characters of four
 * bytes, so that an index's 600 characters are as long as they can be. */
static void the_longest_keys_fit_every_index(void **state)
{
    char *id = random_letters(1024), *service = random_letters(1024), *body = malloc(BODY_LIMIT);
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;
    size_t used;

    assert_non_null(body);
    used = (size_t)snprintf(
        body, BODY_LIMIT,
        "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-02\",\"services\":"
        "[{\"identifier\":\"%s\",\"name\":\"",
        id, service);
    for (int i = 0; i < 1000; i++) {
        const char character[] = {(char)0xf0, (char)0x9f, (char)(0x80 + rand() % 0x40),
                                  (char)(0x80 + rand() % 0x40), '\0'};

        used += (size_t)snprintf(body + used, BODY_LIMIT - used, "%s", character);
    }
    snprintf(body + used, BODY_LIMIT - used, "\"}]}");
    http_through_nginx(&stack, &call, &response);
    if (response.status != 200) {
        fail_msg("%d %s", response.status, response.body);
    }
    http_response_free(&response);
    assert_string_equal(stack_query(&stack, "SELECT length(service) FROM reporting.incident_services"),
                        "1000");
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM reporting.services_snapshot"), "1");
    free(id);
    free(service);
    free(body);
}

static void turn_history_on(void)
{
    stack_control(&stack, NULL, "history", "--on", NULL);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .start = turn_history_on};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_text_of_any_length_is_kept),
        cmocka_unit_test(the_longest_keys_fit_every_index),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
