/* The HTTP contract, row by row: the same cases through nginx and as plain CGI. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/json_texts.h"
#include "cases/timestamps.h"
#include "harness/contract.h"
#include "harness/fixture.h"

static struct stack stack;
static http_transport *transport;
/* Through the long lists of texts: as CGI each takes a process, and what judges them is the same. */
static size_t text_step;
/* "Bearer ..." of a token with that scope alone. */
static char upsert_only[STACK_TOKEN_MAX + 8], delete_only[STACK_TOKEN_MAX + 8];

/* A request and what must come back. Fields that are NULL or 0 are not looked at. */
struct contract_case {
    const char *what;
    const char *path;
    const char *body;
    const char *verb;
    const char *authorization;
    int status;
    const char *error;
    const char *names; /* what the message must contain */
    const char *action;
    const char *reference_id;
};

/* Checks what every response must be, whatever it says (contract: Errors, Headers). */
static void check_form(const char *what, const struct http_response *response)
{
    char value[256];
    struct json_object *ok = NULL;

    if (!json_object_is_type(response->json, json_type_object) ||
        !json_object_object_get_ex(response->json, "ok", &ok) ||
        json_object_get_boolean(ok) != (response->status == 200)) {
        fail_msg("%s: the body is no JSON object with the right ok: %d %s", what, response->status,
                 response->body);
    }
    if (response->status != 200 && (*http_response_text(response, "error") == '\0' ||
                                    *http_response_text(response, "message") == '\0')) {
        fail_msg("%s: error and message are missing: %s", what, response->body);
    }
    if (http_response_header(response, "Content-Type", value, sizeof value) == NULL ||
        strcmp(value, "application/json") != 0) {
        fail_msg("%s: Content-Type is wrong: %s", what, response->head);
    }
    if (http_response_header(response, "Cache-Control", value, sizeof value) == NULL ||
        strcmp(value, "no-store") != 0) {
        fail_msg("%s: Cache-Control is wrong: %s", what, response->head);
    }
    if (http_response_header(response, "X-Request-Id", value, sizeof value) == NULL || *value == '\0') {
        fail_msg("%s: there is no X-Request-Id: %s", what, response->head);
    }
    if (response->status == 401 &&
        (http_response_header(response, "WWW-Authenticate", value, sizeof value) == NULL ||
         strcmp(value, "Bearer") != 0)) {
        fail_msg("%s: 401 without WWW-Authenticate: Bearer", what);
    }
    if (response->status == 503 &&
        http_response_header(response, "Retry-After", value, sizeof value) == NULL) {
        fail_msg("%s: 503 without Retry-After", what);
    }
}

static void check_text(const char *what, const struct http_response *response, const char *member,
                       const char *wanted)
{
    if (wanted != NULL && strcmp(http_response_text(response, member), wanted) != 0) {
        fail_msg("%s: %s should be %s: %d %s", what, member, wanted, response->status, response->body);
    }
}

static void run_case(const struct contract_case *c)
{
    struct call call = {.verb = c->verb, .path = c->path, .body = c->body, .authorization = c->authorization};
    struct http_response response;

    transport(&stack, &call, &response);
    if (response.status != c->status) {
        fail_msg("%s: status should be %d, is %d: %s", c->what, c->status, response.status, response.body);
    }
    check_form(c->what, &response);
    check_text(c->what, &response, "error", c->error);
    check_text(c->what, &response, "action", c->action);
    check_text(c->what, &response, "reference_id", c->reference_id);
    if (c->names != NULL && strstr(http_response_text(&response, "message"), c->names) == NULL) {
        fail_msg("%s: the message should name %s: %s", c->what, c->names, response.body);
    }
    http_response_free(&response);
}

static void run_cases(const struct contract_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        run_case(&cases[i]);
    }
}

#define RUN(cases) run_cases(cases, sizeof cases / sizeof cases[0])

/* Sends an upsert, which must succeed with that action. */
static void upsert(const char *body, const char *action)
{
    struct contract_case c = {
        .what = body, .path = "incidents.upsert", .body = body, .status = 200, .action = action};

    run_case(&c);
}

#define BODY(rest) "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"" rest "}"

static void each_method_responses_as_the_contract_says(void **state)
{
    /* clang-format off */
    static const struct contract_case cases[] = {
        {.what = "upsert creates", .path = "incidents.upsert", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-01\"}", .status = 200, .action = "created", .reference_id = "m1"},
        {.what = "upsert again", .path = "incidents.upsert", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-01\"}", .status = 200, .action = "unchanged", .reference_id = "m1"},
        {.what = "upsert changes", .path = "incidents.upsert", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\"}", .status = 200, .action = "updated", .reference_id = "m1"},
        {.what = "sync is an upsert", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":[\"a\",\"b\"]}", .status = 200, .action = "updated", .reference_id = "m1"},
        {.what = "sync again", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":[\"a\",\"b\"]}", .status = 200, .action = "unchanged"},
        {.what = "sync with no service", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":[]}", .status = 200, .action = "updated"},
        {.what = "sync without services", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\"}", .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "sync with null services", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":null}", .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "sync with objects", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":[\"a\",{\"identifier\":\"b\"}]}", .status = 200, .action = "updated"},
        {.what = "sync with numbers", .path = "incidents.sync", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-02\",\"services\":[\"a\",2]}", .status = 422, .error = "invalid_arguments", .names = "services[1]"},
        {.what = "delete", .path = "incidents.delete", .body = "{\"reference_id\":\"m1\"}", .status = 200, .action = "deleted", .reference_id = "m1"},
        {.what = "delete again", .path = "incidents.delete", .body = "{\"reference_id\":\"m1\"}", .status = 200, .action = "not_found", .reference_id = "m1"},
        {.what = "delete an integer", .path = "incidents.delete", .body = "{\"reference_id\":12345678901234567890123}", .status = 200, .action = "not_found", .reference_id = "12345678901234567890123"},
        {.what = "delete with other arguments", .path = "incidents.delete", .body = "{\"reference_id\":\"m1\",\"source\":[1,{}]}", .status = 200, .action = "not_found"},
        {.what = "created anew", .path = "incidents.upsert", .body = "{\"reference_id\":\"m1\",\"started_at\":\"2024-01-01\"}", .status = 200, .action = "created"},
        {.what = "healthz", .path = "healthz", .verb = "GET", .authorization = "", .status = 200},
        {.what = "readyz", .path = "readyz", .verb = "GET", .authorization = "", .status = 200},
    };
    /* clang-format on */

    RUN(cases);
}

static void each_error_has_its_code_and_status(void **state)
{
    /* clang-format off */
    const struct contract_case cases[] = {
        {.what = "no token", .path = "incidents.upsert", .body = BODY(""), .authorization = "", .status = 401, .error = "not_authed"},
        {.what = "another scheme", .path = "incidents.upsert", .body = BODY(""), .authorization = "Basic YTpi", .status = 401, .error = "not_authed"},
        {.what = "no token behind the scheme", .path = "incidents.upsert", .body = BODY(""), .authorization = "Bearer ", .status = 401, .error = "not_authed"},
        {.what = "a token in two words", .path = "incidents.upsert", .body = BODY(""), .authorization = "Bearer a b", .status = 401, .error = "not_authed"},
        {.what = "an unknown token", .path = "incidents.upsert", .body = BODY(""), .authorization = "Bearer inct_0000000000000000000000000000000000000000000", .status = 401, .error = "not_authed"},
        {.what = "upsert without its scope", .path = "incidents.upsert", .body = BODY(""), .authorization = delete_only, .status = 403, .error = "not_permitted"},
        {.what = "sync without its scope", .path = "incidents.sync", .body = BODY(""), .authorization = delete_only, .status = 403, .error = "not_permitted"},
        {.what = "delete without its scope", .path = "incidents.delete", .body = BODY(""), .authorization = upsert_only, .status = 403, .error = "not_permitted"},
        {.what = "delete with its scope", .path = "incidents.delete", .body = "{\"reference_id\":\"none\"}", .authorization = delete_only, .status = 200, .action = "not_found"},
        {.what = "not JSON", .path = "incidents.upsert", .body = "{", .status = 422, .error = "invalid_json"},
        {.what = "no body", .path = "incidents.upsert", .status = 422, .error = "invalid_json"},
        {.what = "not an object", .path = "incidents.upsert", .body = "[]", .status = 422, .error = "invalid_arguments"},
        {.what = "null", .path = "incidents.delete", .body = "null", .status = 422, .error = "invalid_arguments"},
        {.what = "a wrong type", .path = "incidents.upsert", .body = BODY(",\"name\":1"), .status = 422, .error = "invalid_arguments", .names = "name"},
        {.what = "a wrong timestamp", .path = "incidents.upsert", .body = BODY(",\"resolved_at\":\"soon\""), .status = 422, .error = "invalid_timestamp", .names = "resolved_at"},
        {.what = "wrong metadata", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a.b\":1}"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "no such method", .path = "incidents.merge", .body = BODY(""), .status = 404, .error = "unknown_method"},
        {.what = "a method in capitals", .path = "Incidents.Upsert", .body = BODY(""), .status = 404, .error = "unknown_method"},
        {.what = "an empty method", .path = "", .body = BODY(""), .status = 404, .error = "unknown_method"},
        {.what = "a method and a slash", .path = "incidents.upsert/", .body = BODY(""), .status = 404, .error = "unknown_method"},
        {.what = "the wrong verb", .path = "incidents.upsert", .verb = "GET", .status = 405, .error = "method_not_allowed"},
        {.what = "PUT", .path = "incidents.upsert", .verb = "PUT", .body = BODY(""), .status = 405, .error = "method_not_allowed"},
        {.what = "DELETE", .path = "incidents.delete", .verb = "DELETE", .status = 405, .error = "method_not_allowed"},
        {.what = "POST to healthz", .path = "healthz", .body = "", .status = 405, .error = "method_not_allowed"},
        {.what = "POST to readyz", .path = "readyz", .body = "", .status = 405, .error = "method_not_allowed"},
    };
    /* clang-format on */

    RUN(cases);
}

static void a_405_names_the_verb_that_is_allowed(void **state)
{
    static const struct {
        const char *path;
        const char *verb;
        const char *allow;
    } cases[] = {{"incidents.upsert", "GET", "POST"}, {"incidents.delete", "PATCH", "POST"},
                 {"incidents.sync", "PUT", "POST"},   {"incidents.upsert", "HEAD", "POST"},
                 {"healthz", "POST", "GET, HEAD"},    {"readyz", "PUT", "GET, HEAD"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.path = cases[i].path, .verb = cases[i].verb, .body = ""};
        struct http_response response;
        char allow[64];

        transport(&stack, &call, &response);
        assert_int_equal(response.status, 405);
        assert_non_null(http_response_header(&response, "Allow", allow, sizeof allow));
        assert_string_equal(allow, cases[i].allow);
        http_response_free(&response);
    }
}

/* Each row has the fault of its step and those of all later ones: only the first may be reported. */
static void checks_run_in_the_order_of_the_contract(void **state)
{
#define LATER_METADATA   "\"metadata\":{\"a b\":1}"
#define LATER_TIMESTAMPS "\"resolved_at\":1," LATER_METADATA
#define LATER_TYPES      "\"services\":{}," LATER_TIMESTAMPS
    /* clang-format off */
    const struct contract_case cases[] = {
        {.what = "method before verb", .path = "nothing", .verb = "PUT", .body = "{", .authorization = "", .status = 404, .error = "unknown_method"},
        {.what = "verb before token", .path = "incidents.upsert", .verb = "PUT", .body = "{", .authorization = "", .status = 405, .error = "method_not_allowed"},
        {.what = "token before JSON", .path = "incidents.upsert", .body = "{", .authorization = "", .status = 401, .error = "not_authed"},
        {.what = "unknown token before JSON", .path = "incidents.upsert", .body = "{", .authorization = "Bearer unknown-token", .status = 401, .error = "not_authed"},
        {.what = "scope before JSON", .path = "incidents.upsert", .body = "{", .authorization = delete_only, .status = 403, .error = "not_permitted"},
        {.what = "scope before JSON, delete", .path = "incidents.delete", .body = "{", .authorization = upsert_only, .status = 403, .error = "not_permitted"},
        {.what = "JSON before reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":1.5," LATER_TYPES "}}", .status = 422, .error = "invalid_json"},
        {.what = "reference_id before started_at", .path = "incidents.upsert", .body = "{\"reference_id\":1.5," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "started_at's presence before types", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"name\":1," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "started_at"},
        {.what = "name first", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"x\",\"source_url\":1,\"priority\":1,\"name\":1," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "name"},
        {.what = "then priority", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"x\",\"source_url\":1,\"priority\":1," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "priority"},
        {.what = "then source_url", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"x\",\"source_url\":1," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "source_url"},
        {.what = "then services", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"x\"," LATER_TYPES "}", .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "then started_at", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"x\"," LATER_TIMESTAMPS "}", .status = 422, .error = "invalid_timestamp", .names = "started_at"},
        {.what = "then resolved_at", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"2024-01-01\"," LATER_TIMESTAMPS "}", .status = 422, .error = "invalid_timestamp", .names = "resolved_at"},
        {.what = "then metadata", .path = "incidents.upsert", .body = "{\"reference_id\":\"o\",\"started_at\":\"2024-01-01\"," LATER_METADATA "}", .status = 422, .error = "metadata_invalid", .names = "metadata"},
    };
    /* clang-format on */

    RUN(cases);
}

static char *filled(const char *before, char byte, size_t count, const char *after)
{
    size_t before_len = strlen(before), after_len = strlen(after);
    char *text = malloc(before_len + count + after_len + 1);

    assert_non_null(text);
    memcpy(text, before, before_len);
    memset(text + before_len, byte, count);
    memcpy(text + before_len + count, after, after_len + 1);
    return text;
}

static void a_body_at_the_limit_is_read_and_one_byte_more_is_refused(void **state)
{
    static const char good[] = "{\"reference_id\":\"size\",\"started_at\":\"2024-01-01\"}";
    char *at_limit = filled(good, ' ', 1024 * 1024 - strlen(good), "");
    char *over = filled(good, ' ', 1024 * 1024 + 1 - strlen(good), "");
    const struct contract_case cases[] = {
        {.what = "at the limit",
         .path = "incidents.upsert",
         .body = at_limit,
         .status = 200,
         .action = "created"},
        {.what = "one byte more",
         .path = "incidents.upsert",
         .body = over,
         .status = 413,
         .error = "request_too_large"},
    };

    RUN(cases);
    free(at_limit);
    free(over);
}

/* nginx lets through what is a little over the worker's limit, so that this holds behind it too. */
static void the_token_comes_before_the_size(void **state)
{
    char *over = filled("", 'x', 1024 * 1024 + 1, "");
    struct contract_case c = {.what = "too large without a token",
                              .path = "incidents.upsert",
                              .body = over,
                              .authorization = "Bearer unknown-token",
                              .status = 401,
                              .error = "not_authed"};

    run_case(&c);
    free(over);
}

static void reference_id_is_kept_byte_for_byte(void **state)
{
    static const char *const ids[] = {"plain",
                                      " blanks around ",
                                      "\xC3\xA9\xF0\x9F\x94\xA5",
                                      "e\xCC\x81",
                                      "a/b?c=d&e#f",
                                      "'; DROP TABLE intake.incident; --",
                                      "%s%n",
                                      "\\",
                                      "quote\"d",
                                      "\x7f"};

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        struct json_object *body = json_object_new_object();
        struct contract_case c = {
            .what = ids[i], .path = "incidents.upsert", .status = 200, .action = "created"};

        json_object_object_add(body, "reference_id", json_object_new_string(ids[i]));
        json_object_object_add(body, "started_at", json_object_new_string("2024-01-01"));
        c.body = json_object_to_json_string(body);
        c.reference_id = ids[i];
        run_case(&c);
        assert_string_equal(
            stack_query_for(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = $1", ids[i]),
            "1");
        c.path = "incidents.delete";
        c.action = "deleted";
        run_case(&c);
        json_object_put(body);
    }
}

static void identifiers_may_have_1024_bytes_and_no_more(void **state)
{
    char *fits = filled("{\"started_at\":\"2024-01-01\",\"reference_id\":\"", 'i', 1024,
                        "\",\"services\":[{\"identifier\":\"s\"}]}");
    char *fits_in_service =
        filled("{\"started_at\":\"2024-01-01\",\"reference_id\":\"s\",\"services\":[\"", 's', 1024, "\"]}");
    char *long_id = filled("{\"started_at\":\"2024-01-01\",\"reference_id\":\"", 'i', 1025, "\"}");
    char *long_integer = filled("{\"started_at\":\"2024-01-01\",\"reference_id\":", '9', 1025, "}");
    char *long_string =
        filled("{\"started_at\":\"2024-01-01\",\"reference_id\":\"l\",\"services\":[\"", 's', 1025, "\"]}");
    char *long_service =
        filled("{\"started_at\":\"2024-01-01\",\"reference_id\":\"l\",\"services\":[{\"identifier\":\"s\"},"
               "{\"identifier\":\"",
               's', 1025, "\"}]}");
    const struct contract_case cases[] = {
        {.what = "1024", .path = "incidents.upsert", .body = fits, .status = 200, .action = "created"},
        {.what = "1024 in a service",
         .path = "incidents.upsert",
         .body = fits_in_service,
         .status = 200,
         .action = "created"},
        {.what = "1025 digits",
         .path = "incidents.upsert",
         .body = long_integer,
         .status = 422,
         .error = "invalid_arguments",
         .names = "reference_id"},
        {.what = "1025 in a service that is a string",
         .path = "incidents.upsert",
         .body = long_string,
         .status = 422,
         .error = "invalid_arguments",
         .names = "services[0]"},
        {.what = "1025 in a delete",
         .path = "incidents.delete",
         .body = long_id,
         .status = 422,
         .error = "invalid_arguments",
         .names = "reference_id"},
        {.what = "1025",
         .path = "incidents.upsert",
         .body = long_id,
         .status = 422,
         .error = "invalid_arguments",
         .names = "reference_id"},
        {.what = "1025 in a service",
         .path = "incidents.upsert",
         .body = long_service,
         .status = 422,
         .error = "invalid_arguments",
         .names = "services[1].identifier"},
    };

    RUN(cases);
    free(fits);
    free(fits_in_service);
    free(long_integer);
    free(long_string);
    free(long_id);
    free(long_service);
}

#define KEY_63 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"

static void each_argument_is_judged_by_its_rule(void **state)
{
    /* clang-format off */
    static const struct contract_case cases[] = {
        {.what = "no reference_id", .path = "incidents.upsert", .body = "{\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "blank reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":\" \\t\",\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "integer reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":123456789012345678901234567890,\"started_at\":\"2024-01-01\"}", .status = 200, .action = "created", .reference_id = "123456789012345678901234567890"},
        {.what = "the same as a string", .path = "incidents.upsert", .body = "{\"reference_id\":\"123456789012345678901234567890\",\"started_at\":\"2024-01-01\"}", .status = 200, .action = "unchanged", .reference_id = "123456789012345678901234567890"},
        {.what = "integer reference_id in sync", .path = "incidents.sync", .body = "{\"reference_id\":-7,\"started_at\":\"2024-01-01\",\"services\":[]}", .status = 200, .action = "created", .reference_id = "-7"},
        {.what = "fraction as reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":1.0,\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "exponent in reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":1e3,\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "null reference_id", .path = "incidents.upsert", .body = "{\"reference_id\":null,\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "blanks alone, beyond ASCII", .path = "incidents.upsert", .body = "{\"reference_id\":\"\\u2003\\u00a0\",\"started_at\":\"2024-01-01\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "no started_at", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\"}", .status = 422, .error = "invalid_arguments", .names = "started_at"},
        {.what = "null started_at", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":null}", .status = 422, .error = "invalid_arguments", .names = "started_at"},
        {.what = "number started_at", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":1704108153}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not an epoch number"},
        {.what = "epoch number as a string", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"1420452191104\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not an epoch number"},
        {.what = "a time with UTC", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"2023-07-25 13:34:49 UTC\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not a time with the name of a zone (UTC is Z)"},
        {.what = "an RFC 2822 date", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"Tue, 25 Jul 2023 13:34:49 +0000\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not an RFC 2822 date"},
        {.what = "a US date", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"01/02/2024\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not a US date"},
        {.what = "30 February", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"2024-02-30\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at names a date that does not exist"},
        {.what = "month 13", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"2024-13-01T00:00:00Z\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at names a date that does not exist"},
        {.what = "words", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"soon\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z"},
        {.what = "a 12-hour clock", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"2026-01-01 11:22 PM\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z, not a time of a 12-hour clock (11 PM is 23:00)"},
        {.what = "the midnight behind year 9999", .path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"9999-12-31T24:00\"}", .status = 422, .error = "invalid_timestamp", .names = "started_at must lie in the years 0001 to 9999, in UTC"},
        {.what = "1 BC in UTC", .path = "incidents.upsert", .body = BODY(",\"resolved_at\":\"0001-01-01T00:00+01:00\""), .status = 422, .error = "invalid_timestamp", .names = "resolved_at must lie in the years 0001 to 9999, in UTC"},
        {.what = "30 February in resolved_at", .path = "incidents.upsert", .body = BODY(",\"resolved_at\":\"2024-02-30T00:00:00Z\""), .status = 422, .error = "invalid_timestamp", .names = "resolved_at names a date that does not exist"},
        {.what = "empty resolved_at", .path = "incidents.upsert", .body = BODY(",\"resolved_at\":\"\""), .status = 422, .error = "invalid_timestamp", .names = "resolved_at"},
        {.what = "false resolved_at", .path = "incidents.upsert", .body = BODY(",\"resolved_at\":false"), .status = 422, .error = "invalid_timestamp", .names = "resolved_at"},
        {.what = "array priority", .path = "incidents.upsert", .body = BODY(",\"priority\":[]"), .status = 422, .error = "invalid_arguments", .names = "priority"},
        {.what = "object source_url", .path = "incidents.upsert", .body = BODY(",\"source_url\":{}"), .status = 422, .error = "invalid_arguments", .names = "source_url"},
        {.what = "true name", .path = "incidents.upsert", .body = BODY(",\"name\":true"), .status = 422, .error = "invalid_arguments", .names = "name"},
        {.what = "string services", .path = "incidents.upsert", .body = BODY(",\"services\":\"a\""), .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "strings in services", .path = "incidents.upsert", .body = "{\"reference_id\":\"strings\",\"started_at\":\"2024-01-01\",\"services\":[\"a\",{\"identifier\":\"b\",\"name\":\"B\",\"id\":7},\"a\"]}", .status = 200, .action = "created"},
        {.what = "the same as objects", .path = "incidents.upsert", .body = "{\"reference_id\":\"strings\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"a\"},{\"identifier\":\"b\"},{\"identifier\":\"b\",\"name\":\"B\"}]}", .status = 200, .action = "unchanged"},
        {.what = "number in services", .path = "incidents.upsert", .body = BODY(",\"services\":[\"a\",1]"), .status = 422, .error = "invalid_arguments", .names = "services[1] must be an object or a string"},
        {.what = "blank string in services", .path = "incidents.upsert", .body = BODY(",\"services\":[\"a\",\" \"]"), .status = 422, .error = "invalid_arguments", .names = "services[1] must be a non-empty string"},
        {.what = "no identifier", .path = "incidents.upsert", .body = BODY(",\"services\":[{\"identifier\":\"a\"},{\"name\":\"b\"}]"), .status = 422, .error = "invalid_arguments", .names = "services[1].identifier"},
        {.what = "blank identifier", .path = "incidents.upsert", .body = BODY(",\"services\":[{\"identifier\":\"\"}]"), .status = 422, .error = "invalid_arguments", .names = "services[0].identifier"},
        {.what = "number as a service's name", .path = "incidents.upsert", .body = BODY(",\"services\":[{\"identifier\":\"a\",\"name\":1}]"), .status = 422, .error = "invalid_arguments", .names = "services[0].name"},
        {.what = "string metadata", .path = "incidents.upsert", .body = BODY(",\"metadata\":\"a\""), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "array metadata", .path = "incidents.upsert", .body = BODY(",\"metadata\":[1]"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "empty key", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"\":1}"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "dotted key far down", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a\":[{\"b.c\":1}]}"), .status = 422, .error = "metadata_invalid", .names = "unlike \"b.c\""},
        {.what = "control characters in a key", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a\\n\\u009b\":1}"), .status = 422, .error = "metadata_invalid", .names = "unlike \"a\\u000a\\u009b\""},
        {.what = "controls of direction in a key", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a\u202E\\u2028b\":1}"), .status = 422, .error = "metadata_invalid", .names = "unlike \"a\\u202e\\u2028b\""},
        {.what = "a long key", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"" KEY_63 "\u00e9\":1}"), .status = 422, .error = "metadata_invalid", .names = "unlike \"" KEY_63 "...\""},
        {.what = "number beyond a double", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a\":1e400}"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "null metadata", .path = "incidents.upsert", .body = "{\"reference_id\":\"no metadata\",\"started_at\":\"2024-01-01\",\"metadata\":null}", .status = 200, .action = "created"},
        {.what = "an empty array as metadata", .path = "incidents.upsert", .body = "{\"reference_id\":\"no metadata\",\"started_at\":\"2024-01-01\",\"metadata\":[]}", .status = 200, .action = "unchanged"},
        {.what = "\\u0000 in metadata", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"a\":\"\\u0000\"}"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "\\u0000 in a metadata key", .path = "incidents.upsert", .body = BODY(",\"metadata\":{\"\\u0000\":1}"), .status = 422, .error = "metadata_invalid", .names = "metadata"},
        {.what = "\\u0000 in name", .path = "incidents.upsert", .body = BODY(",\"name\":\"a\\u0000\""), .status = 422, .error = "invalid_arguments", .names = "name"},
        {.what = "\\u0000 in a service's name", .path = "incidents.upsert", .body = BODY(",\"services\":[{\"identifier\":\"a\",\"name\":\"\\u0000\"}]"), .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "\\u0000 in an ignored key of a service", .path = "incidents.upsert", .body = BODY(",\"services\":[{\"identifier\":\"a\",\"x\\u0000\":1}]"), .status = 422, .error = "invalid_arguments", .names = "services"},
        {.what = "\\u0000 in an ignored key", .path = "incidents.upsert", .body = BODY(",\"a\\u0000\":1"), .status = 422, .error = "invalid_arguments"},
        {.what = "\\u0000 in reference_id", .path = "incidents.delete", .body = "{\"reference_id\":\"a\\u0000\"}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "delete without reference_id", .path = "incidents.delete", .body = "{}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "delete a fraction", .path = "incidents.delete", .body = "{\"reference_id\":1.5}", .status = 422, .error = "invalid_arguments", .names = "reference_id"},
        {.what = "unknown arguments are ignored", .path = "incidents.upsert", .body = BODY(",\"source_name\":\"pagerduty\",\"x\":[{}]"), .status = 200},
        {.what = "empty strings are kept", .path = "incidents.upsert", .body = "{\"reference_id\":\"empty\",\"started_at\":\"2024-01-01\",\"name\":\"\",\"priority\":\"\",\"source_url\":\"\"}", .status = 200, .action = "created"},
        {.what = "a repeated key: the last counts", .path = "incidents.upsert", .body = "{\"reference_id\":1,\"reference_id\":\"last\",\"started_at\":\"x\",\"started_at\":\"2024-01-01\"}", .status = 200, .action = "created", .reference_id = "last"},
        {.what = "resolved before started", .path = "incidents.upsert", .body = "{\"reference_id\":\"early\",\"started_at\":\"2024-01-02\",\"resolved_at\":\"2024-01-01\"}", .status = 200, .action = "created"},
    };
    /* clang-format on */

    RUN(cases);
    assert_string_equal(stack_query(&stack, "SELECT name = '' AND priority = '' AND source_url = '' FROM "
                                            "intake.incident WHERE reference_id = 'empty'"),
                        "t");
}

static void services_are_stored_in_the_order_sent_and_each_once(void **state)
{
    upsert("{\"reference_id\":\"svc\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"z\","
           "\"name\":\"Z\"},"
           "{\"identifier\":\"a\",\"name\":null,\"extra\":{}},{\"identifier\":\"z\",\"name\":\"later\"},"
           "{\"identifier\":\"m\"}]}",
           "created");
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(format('%s:%s=%s', position, identifier, name), ' ' ORDER BY "
                            "position) FROM intake.incident_service WHERE reference_id = 'svc'"),
        "1:z=later 2:a= 3:m=");
}

/* Every test begins with an empty database. */
/* Go's programs write their zero time for none. */
static void the_zero_time_of_go_opens_an_incident_again(void **state)
{
    static const char *const zeros[] = {"0001-01-01T00:00:00Z", "0001-01-01T05:30:00+05:30", "0001-W01-1",
                                        "0001-001T00:00"};

    for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
        char body[256];

        snprintf(body, sizeof body,
                 "{\"reference_id\":\"zero\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"%s\"}",
                 zeros[i]);
        upsert("{\"reference_id\":\"zero\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-02\"}",
               i == 0 ? "created" : "updated");
        upsert(body, "updated");
        upsert("{\"reference_id\":\"zero\",\"started_at\":\"2024-01-01\",\"resolved_at\":null}", "unchanged");
        assert_string_equal(stack_query(&stack, "SELECT resolved_at IS NULL FROM intake.incident WHERE "
                                                "reference_id = 'zero'"),
                            "t");
    }
}

/* Sends a character in each place of a text; `spelt` is how. */
static void upsert_character(const char *spelt, const char *action)
{
    char body[512];

    snprintf(body, sizeof body,
             "{\"reference_id\":\"r%s\",\"started_at\":\"2024-01-01\",\"name\":\"%s\",\"priority\":\"%s\","
             "\"source_url\":\"%s\",\"services\":[{\"identifier\":\"s%s\",\"name\":\"%s\"}],"
             "\"metadata\":{\"k\":\"%s\"}}",
             spelt, spelt, spelt, spelt, spelt, spelt, spelt);
    upsert(body, action);
}

/* Every scalar value is walked in incident_test; these are the edges, and some of the 32,768 that json-c
 * takes for U+FFFD. */
static void a_character_means_the_same_in_utf8_and_as_an_escape(void **state)
{
    static const struct {
        const char *escape;
        const char *utf8;
        const char *code_point; /* decimal */
    } cases[] = {
        {"\\u0041", "A", "65"},
        {"\\u007f", "\x7F", "127"},
        {"\\u0080", "\xC2\x80", "128"},
        {"\\u07fF", "\xDF\xBF", "2047"},
        {"\\u0800", "\xE0\xA0\x80", "2048"},
        {"\\ud7ff", "\xED\x9F\xBF", "55295"},
        {"\\uE000", "\xEE\x80\x80", "57344"},
        {"\\ufffd", "\xEF\xBF\xBD", "65533"},
        {"\\uffff", "\xEF\xBF\xBF", "65535"},
        {"\\ud800\\udc00", "\xF0\x90\x80\x80", "65536"},
        {"\\uD836\\uDC00", "\xF0\x9D\xA0\x80", "120832"},
        {"\\ud837\\udf00", "\xF0\x9D\xBC\x80", "122624"},
        {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", "128512"},
        {"\\ud876\\udc00", "\xF0\xAD\xA0\x80", "186368"},
        {"\\ud877\\udfff", "\xF0\xAD\xBF\xBF", "188415"},
        {"\\udbff\\udfff", "\xF4\x8F\xBF\xBF", "1114111"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        upsert_character(cases[i].escape, "created");
        upsert_character(cases[i].utf8, "unchanged");
        if (strcmp(stack_query_for(
                       &stack,
                       "SELECT bool_and(c IN (chr($1::int), 'r' || chr($1::int), 's' || chr($1::int))) "
                       "FROM intake.incident i JOIN intake.incident_service s USING (reference_id), "
                       "unnest(ARRAY[i.reference_id, i.name, i.priority, i.source_url, s.identifier, "
                       "s.name, i.metadata->>'k']) c",
                       cases[i].code_point),
                   "t") != 0) {
            fail_msg("%s is not stored as itself", cases[i].escape);
        }
        stack_query(&stack, "TRUNCATE intake.incident");
    }
}

/* The arguments that may be absent or null, and what each of three values looks like in a request and in SQL.
 */
struct optional_argument {
    const char *name;
    const char *first;  /* JSON */
    const char *second; /* JSON, different */
    const char *empty;  /* JSON besides null that clears, or NULL */
    const char *sql;    /* an expression over intake.incident i */
    const char *first_sql;
    const char *second_sql;
    const char *cleared_sql;
};

#define SERVICES_SQL                                                                                         \
    "(SELECT string_agg(s.identifier || '=' || coalesce(s.name, ''), ',' ORDER BY s.position) "              \
    "FROM intake.incident_service s WHERE s.reference_id = i.reference_id)"

static const struct optional_argument optional_arguments[] = {
    {"name", "\"one\"", "\"two\"", NULL, "i.name", "one", "two", ""},
    {"priority", "\"P1\"", "\"P2\"", NULL, "i.priority", "P1", "P2", ""},
    {"source_url", "\"u:1\"", "\"u:2\"", NULL, "i.source_url", "u:1", "u:2", ""},
    {"resolved_at", "\"2024-02-01\"", "\"2024-03-01T01:00+01:00\"", NULL, "i.resolved_at AT TIME ZONE 'UTC'",
     "2024-02-01 00:00:00", "2024-03-01 00:00:00", ""},
    {"services", "[{\"identifier\":\"a\",\"name\":\"A\"},{\"identifier\":\"b\"}]", "[{\"identifier\":\"b\"}]",
     "[]", SERVICES_SQL, "a=A,b=", "b=", ""},
    {"metadata", "{\"k\":{\"x\":1.10}}", "{\"l\":[]}", "{}", "i.metadata", "{\"k\": {\"x\": 1.10}}",
     "{\"l\": []}", ""},
    {"metadata", "{\"k\":1}", "{\"k\":2}", "[]", "i.metadata", "{\"k\": 1}", "{\"k\": 2}", ""},
};

/* Sends started_at and, unless NULL, the argument; checks the action and what is then stored. */
static void step(const struct optional_argument *argument, const char *json, const char *action,
                 const char *stored)
{
    char body[512], sql[512];

    snprintf(body, sizeof body, "{\"reference_id\":\"grid\",\"started_at\":\"2024-01-01\"%s%s%s%s}",
             json == NULL ? "" : ",\"", json == NULL ? "" : argument->name,
             json == NULL ? "" : "\":", json == NULL ? "" : json);
    upsert(body, action);
    snprintf(sql, sizeof sql, "SELECT %s FROM intake.incident i WHERE reference_id = 'grid'", argument->sql);
    if (strcmp(stack_query(&stack, sql), stored) != 0) {
        fail_msg("after %s: %s should be %s, is %s", body, argument->name, stored, stack_query(&stack, sql));
    }
}

static void forget(void)
{
    stack_query(&stack, "DELETE FROM intake.incident WHERE reference_id = 'grid'");
}

static void absent_keeps_null_clears_and_a_value_replaces(void **state)
{
    for (size_t i = 0; i < sizeof optional_arguments / sizeof optional_arguments[0]; i++) {
        const struct optional_argument *a = &optional_arguments[i];

        /* the first call */
        forget();
        step(a, NULL, "created", a->cleared_sql);
        forget();
        step(a, "null", "created", a->cleared_sql);
        if (a->empty != NULL) {
            forget();
            step(a, a->empty, "created", a->cleared_sql);
        }
        forget();
        step(a, a->first, "created", a->first_sql);

        /* a later call, on a value */
        step(a, NULL, "unchanged", a->first_sql);
        step(a, a->first, "unchanged", a->first_sql);
        step(a, a->second, "updated", a->second_sql);
        step(a, "null", "updated", a->cleared_sql);

        /* a later call, on nothing */
        step(a, NULL, "unchanged", a->cleared_sql);
        step(a, "null", "unchanged", a->cleared_sql);
        step(a, a->second, "updated", a->second_sql);
        if (a->empty != NULL) {
            step(a, a->empty, "updated", a->cleared_sql);
            step(a, a->empty, "unchanged", a->cleared_sql);
        }
    }
    forget();
}

/* started_at, the seventh argument, must be there on every call and is replaced by it. */
static void started_at_is_required_on_later_calls_too(void **state)
{
    static const struct contract_case missing = {.what = "a later call without started_at",
                                                 .path = "incidents.upsert",
                                                 .body = "{\"reference_id\":\"again\",\"name\":\"n\"}",
                                                 .status = 422,
                                                 .error = "invalid_arguments",
                                                 .names = "started_at"};

    upsert("{\"reference_id\":\"again\",\"started_at\":\"2024-01-01\"}", "created");
    run_case(&missing);
    upsert("{\"reference_id\":\"again\",\"started_at\":\"2024-01-01T00:00:00+00:00\"}", "unchanged");
    upsert("{\"reference_id\":\"again\",\"started_at\":\"2024-01-03\"}", "updated");
    assert_string_equal(stack_query(&stack, "SELECT started_at AT TIME ZONE 'UTC' FROM intake.incident WHERE "
                                            "reference_id = 'again'"),
                        "2024-01-03 00:00:00");
}

/* jsonb calls 1.1 and 1.10 equal; the contract keeps every digit. */
static void a_number_with_other_digits_is_a_change(void **state)
{
    upsert("{\"reference_id\":\"digits\",\"started_at\":\"2024-01-01\",\"metadata\":{\"n\":1.1}}", "created");
    upsert("{\"reference_id\":\"digits\",\"started_at\":\"2024-01-01\",\"metadata\":{\"n\":1.10}}",
           "updated");
    assert_string_equal(
        stack_query(&stack, "SELECT metadata->>'n' FROM intake.incident WHERE reference_id = 'digits'"),
        "1.10");
}

static void updated_at_moves_with_a_change_and_created_at_never(void **state)
{
    char before[64];

    upsert("{\"reference_id\":\"times\",\"started_at\":\"2024-01-01\"}", "created");
    assert_string_equal(
        stack_query(&stack,
                    "SELECT created_at = updated_at FROM intake.incident WHERE reference_id = 'times'"),
        "t");
    snprintf(before, sizeof before, "%s",
             stack_query(&stack, "SELECT created_at FROM intake.incident WHERE reference_id = 'times'"));
    upsert("{\"reference_id\":\"times\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"a\"}]}",
           "updated");
    assert_string_equal(
        stack_query_for(
            &stack,
            "SELECT updated_at > created_at AND created_at = $1::timestamptz FROM intake.incident WHERE "
            "reference_id = 'times'",
            before),
        "t");
}

static void every_json_text_is_judged_as_a_whole_body(void **state)
{
    for (size_t i = 0; i < json_text_count; i += text_step) {
        const struct json_text *text = &json_texts[i];
        struct call call = {.path = "incidents.upsert", .body = text->text, .body_len = text->len};
        struct http_response response;
        const char *error;

        transport(&stack, &call, &response);
        error = http_response_text(&response, "error");
        if (response.status != 422 ||
            (strcmp(error, "invalid_json") == 0) != (text->verdict == TEXT_INVALID)) {
            fail_msg("%s: %d %s", text->what, response.status, response.body);
        }
        http_response_free(&response);
    }
}

static void every_accepted_metadata_value_comes_back_equal(void **state)
{
    static const char before[] =
        "{\"reference_id\":\"texts\",\"started_at\":\"2024-01-01\",\"metadata\":{\"v\":";
    static const char *const errors[] = {[IN_METADATA_ACCEPTED] = "",
                                         [IN_METADATA_METADATA_INVALID] = "metadata_invalid",
                                         [IN_METADATA_INVALID_JSON] = "invalid_json"};

    for (size_t i = 0; i < json_text_count; i += text_step) {
        const struct json_text *text = &json_texts[i];
        size_t before_len = strlen(before);
        char *body = malloc(before_len + text->len + 3);
        struct call call = {.path = "incidents.upsert", .body_len = before_len + text->len + 2};
        struct http_response response;

        assert_non_null(body);
        memcpy(body, before, before_len);
        memcpy(body + before_len, text->text, text->len);
        memcpy(body + before_len + text->len, "}}", 3);
        call.body = body;
        transport(&stack, &call, &response);
        if (response.status != (text->in_metadata == IN_METADATA_ACCEPTED ? 200 : 422) ||
            strcmp(http_response_text(&response, "error"), errors[text->in_metadata]) != 0) {
            fail_msg("%s in metadata: %d %s", text->what, response.status, response.body);
        }
        if (text->in_metadata == IN_METADATA_ACCEPTED) {
            char *value = strndup(text->text, text->len);

            /* As text, not as jsonb: every digit counts. */
            if (strcmp(
                    stack_query_for(&stack,
                                    "SELECT (metadata->'v')::text = ($1::jsonb)::text FROM intake.incident "
                                    "WHERE reference_id = 'texts'",
                                    value),
                    "t") != 0) {
                fail_msg(
                    "%s came back different: %s", text->what,
                    stack_query(&stack, "SELECT metadata FROM intake.incident WHERE reference_id = 'texts'"));
            }
            free(value);
        }
        free(body);
        http_response_free(&response);
    }
}

static void every_readable_timestamp_is_stored_exactly(void **state)
{
    for (size_t i = 0; i < timestamp_case_count; i += text_step) {
        const struct timestamp_case *c = &timestamp_cases[i];
        struct json_object *body = json_object_new_object();
        struct call call = {.path = "incidents.upsert"};
        struct http_response response;

        json_object_object_add(body, "reference_id", json_object_new_string("timestamps"));
        json_object_object_add(body, "started_at", json_object_new_string(c->text));
        json_object_object_add(body, "resolved_at", json_object_new_string(c->text));
        call.body = json_object_to_json_string(body);
        transport(&stack, &call, &response);
        if (response.status != (c->utc == NULL ? 422 : 200) ||
            strcmp(http_response_text(&response, "error"), c->utc == NULL ? "invalid_timestamp" : "") != 0) {
            fail_msg("timestamp \"%s\": %d %s", c->text, response.status, response.body);
        }
        if (c->utc != NULL &&
            strcmp(stack_query_for(&stack,
                                   "SELECT started_at = $1::timestamptz AND resolved_at IS NOT DISTINCT FROM "
                                   "nullif($1::timestamptz, '0001-01-01Z') " /* Go's zero time: open */
                                   "FROM intake.incident WHERE reference_id = 'timestamps'",
                                   c->utc),
                   "t") != 0) {
            fail_msg("timestamp \"%s\" should be %s, is %s", c->text, c->utc,
                     stack_query(&stack,
                                 "SELECT started_at FROM intake.incident WHERE reference_id = 'timestamps'"));
        }
        json_object_put(body);
        http_response_free(&response);
    }
}

static void the_request_id_is_the_clients_where_it_can_be(void **state)
{
    static const struct {
        const char *sent;
        bool kept;
    } cases[] = {
        {"abc-123", true}, {"with blanks \"and\" quotes", true}, {"\xC3\xA9", false}, {"tab\there", false}};
    char *longest = filled("", 'x', 128, ""), *too_long = filled("", 'x', 129, "");

    for (size_t i = 0; i < 2 + sizeof cases / sizeof cases[0]; i++) {
        const char *sent = i == 0 ? longest : i == 1 ? too_long : cases[i - 2].sent;
        bool kept = i == 0 || (i > 1 && cases[i - 2].kept);
        char header[256], received[256];
        struct call call = {.path = "healthz", .verb = "GET", .headers = {header}};
        struct http_response response;

        snprintf(header, sizeof header, "X-Request-Id: %s", sent);
        transport(&stack, &call, &response);
        assert_int_equal(response.status, 200);
        assert_non_null(http_response_header(&response, "X-Request-Id", received, sizeof received));
        if ((strcmp(received, sent) == 0) != kept) {
            fail_msg("X-Request-Id %s was answered with %s", sent, received);
        }
        http_response_free(&response);
    }
    free(longest);
    free(too_long);
}

static void the_content_type_does_not_matter(void **state)
{
    static const char *const types[] = {"Content-Type: application/x-www-form-urlencoded",
                                        "Content-Type: text/plain",
                                        "Content-Type: application/json; charset=latin1", "Content-Type:"};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct call call = {.path = "incidents.upsert", .body = BODY(""), .headers = {types[i]}};
        struct http_response response;

        transport(&stack, &call, &response);
        if (response.status != 200) {
            fail_msg("%s: %d %s", types[i], response.status, response.body);
        }
        http_response_free(&response);
    }
}

/* But for a metadata key that is refused. */
static void an_error_echoes_nothing_of_the_request(void **state)
{
    static const char *const bodies[] = {"{\"sEcReT", "{\"reference_id\":\"r\",\"started_at\":\"sEcReT\"}",
                                         BODY(",\"metadata\":{\"a.b\":\"sEcReT\",\"sEcReT\":1}"),
                                         BODY(",\"services\":[{\"identifier\":7,\"sEcReT\":1}]"),
                                         "\"sEcReT\""};

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct call call = {.path = "incidents.upsert", .body = bodies[i]};
        struct http_response response;

        transport(&stack, &call, &response);
        assert_int_equal(response.status, 422);
        assert_null(strstr(response.body, "sEcReT"));
        http_response_free(&response);
    }
}

static void arguments_in_the_query_string_change_nothing(void **state)
{
    static const char *const queries[] = {"--check", "token+create", "--version", "reference_id=x",
                                          "-d+allow_url_include"};

    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        struct call call = {.path = "incidents.upsert", .body = "{}", .query = queries[i]};
        struct http_response response;

        transport(&stack, &call, &response);
        assert_int_equal(response.status, 422);
        assert_string_equal(http_response_text(&response, "error"), "invalid_arguments");
        http_response_free(&response);
    }
}

static void make_tokens(void)
{
    char token[STACK_TOKEN_MAX];

    stack_create_token(&stack, "upsert only", "upsert", token);
    snprintf(upsert_only, sizeof upsert_only, "Bearer %s", token);
    stack_create_token(&stack, "delete only", "delete", token);
    snprintf(delete_only, sizeof delete_only, "Bearer %s", token);
}

static int run_contract(const char *name, http_transport *how, size_t every)
{
    const struct fixture fixture = {.name = name, .stack = &stack, .start = make_tokens};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(each_method_responses_as_the_contract_says),
        cmocka_unit_test(each_error_has_its_code_and_status),
        cmocka_unit_test(a_405_names_the_verb_that_is_allowed),
        cmocka_unit_test(checks_run_in_the_order_of_the_contract),
        cmocka_unit_test(a_body_at_the_limit_is_read_and_one_byte_more_is_refused),
        cmocka_unit_test(the_token_comes_before_the_size),
        cmocka_unit_test(reference_id_is_kept_byte_for_byte),
        cmocka_unit_test(identifiers_may_have_1024_bytes_and_no_more),
        cmocka_unit_test(each_argument_is_judged_by_its_rule),
        cmocka_unit_test(the_zero_time_of_go_opens_an_incident_again),
        cmocka_unit_test(a_character_means_the_same_in_utf8_and_as_an_escape),
        cmocka_unit_test(services_are_stored_in_the_order_sent_and_each_once),
        cmocka_unit_test(absent_keeps_null_clears_and_a_value_replaces),
        cmocka_unit_test(started_at_is_required_on_later_calls_too),
        cmocka_unit_test(a_number_with_other_digits_is_a_change),
        cmocka_unit_test(updated_at_moves_with_a_change_and_created_at_never),
        cmocka_unit_test(every_json_text_is_judged_as_a_whole_body),
        cmocka_unit_test(every_accepted_metadata_value_comes_back_equal),
        cmocka_unit_test(every_readable_timestamp_is_stored_exactly),
        cmocka_unit_test(the_request_id_is_the_clients_where_it_can_be),
        cmocka_unit_test(the_content_type_does_not_matter),
        cmocka_unit_test(an_error_echoes_nothing_of_the_request),
        cmocka_unit_test(arguments_in_the_query_string_change_nothing),
    };

    transport = how;
    text_step = every;
    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}

int contract_through_nginx(void)
{
    return run_contract("the contract through nginx", http_through_nginx, 1);
}

int contract_as_cgi(void)
{
    return run_contract("the contract as plain CGI", http_as_cgi, 8);
}
