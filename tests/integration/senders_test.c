/* What real senders do, and what their authors are told, through nginx and as plain CGI: HEAD, the spellings
 * of an Authorization header, bodies that are not JSON, and the sentence of each error. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "harness/fixture.h"

#define METRICS_TOKEN "0123456789abcdef-senders"

static struct stack stack;
static http_transport *send_call;

static const char *const settings[] = {"INCIDENTS_METRICS_TOKEN=" METRICS_TOKEN, NULL};

/* With the settings that the worker has. */
static void as_cgi(struct stack *where, const struct call *call, struct http_response *response)
{
    const struct outcome *outcome = http_run_cgi(where, call, settings, response);

    if (outcome->status != 0) {
        fail_msg("the CGI program ended with status %d: %s", outcome->status, outcome->err);
    }
}

/* Sends and checks the status; the response is freed by the caller. */
static void send_for(const struct call *call, int status, const char *what, struct http_response *response)
{
    send_call(&stack, call, response);
    if (response->status != status) {
        fail_msg("%s: status should be %d, is %d: %s", what, status, response->status, response->body);
    }
}

static void check_error(const struct call *call, const char *what, int status, const char *error,
                        const char *message)
{
    struct http_response response;

    send_for(call, status, what, &response);
    if (strcmp(http_response_text(&response, "error"), error) != 0 ||
        strstr(http_response_text(&response, "message"), message) == NULL) {
        fail_msg("%s: should be answered with %s, %s: %s", what, error, message, response.body);
    }
    http_response_free(&response);
}

/* ---- HEAD ---- */

/* The header lines of a response but for its id, and for what servers say of the time and the connection. */
static void keep_what_must_be_alike(const struct http_response *response, char kept[HTTP_HEAD_MAX])
{
    size_t len = 0;

    for (const char *line = response->head; *line != '\0';) {
        const char *end = strchr(line, '\n') + 1;

        if (strncmp(line, "Date:", 5) != 0 && strncmp(line, "X-Request-Id:", 13) != 0) {
            memcpy(kept + len, line, (size_t)(end - line));
            len += (size_t)(end - line);
        }
        line = end;
    }
    kept[len] = '\0';
}

static void head_is_get_without_the_body(void **state)
{
    static const struct {
        const char *path, *authorization;
        int status;
    } cases[] = {
        {"healthz", "", 200}, {"readyz", "", 200},           {"metrics", "Bearer " METRICS_TOKEN, 200},
        {"metrics", "", 401}, {"incidents.upsert", "", 405}, {"nothing", "", 404},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.path = cases[i].path, .verb = "GET", .authorization = cases[i].authorization};
        char to_get[HTTP_HEAD_MAX], to_head[HTTP_HEAD_MAX], length[32];
        struct http_response response;

        send_for(&call, cases[i].status, "GET", &response);
        assert_true(response.body[0] != '\0');
        keep_what_must_be_alike(&response, to_get);
        http_response_free(&response);
        call.verb = "HEAD";
        send_for(&call, cases[i].status, "HEAD", &response);
        assert_string_equal(response.body, "");
        keep_what_must_be_alike(&response, to_head);
        assert_non_null(http_response_header(&response, "Content-Length", length, sizeof length));
        http_response_free(&response);
        if (strcmp(cases[i].path, "metrics") != 0 || cases[i].status != 200) { /* they change */
            assert_string_equal(to_head, to_get);
        }
    }
}

/* nginx may keep the connection to the worker, where a body too much would be the next response's beginning.
 */
static void what_follows_head_is_answered_as_ever(void **state)
{
    static const struct call head = {.path = "healthz", .verb = "HEAD"};
    static const struct call upsert = {.path = "incidents.upsert",
                                       .body = "{\"reference_id\":\"h\",\"started_at\":\"2024-01-01\"}"};

    for (int i = 0; i < 5; i++) {
        struct http_response response;

        send_for(&head, 200, "HEAD", &response);
        http_response_free(&response);
        send_for(&upsert, 200, "the next", &response);
        assert_string_equal(http_response_text(&response, "reference_id"), "h");
        http_response_free(&response);
    }
}

/* ---- verbs and bodies ---- */

static void method_and_verb_decide_whatever_the_body_is(void **state)
{
    static const struct {
        const char *path, *verb, *headers[HTTP_HEADERS_MAX];
        int status;
    } cases[] = {
        {"healthz", "GET", {NULL}, 200},
        {"readyz", "GET", {"Content-Encoding: gzip"}, 200},
        {"incidents.upsert", "GET", {NULL}, 405},
        {"incidents.upsert", "PUT", {NULL}, 405},
        {"incidents.delete", "DELETE", {NULL}, 405},
        {"nothing", "PATCH", {NULL}, 404},
        {"healthz", "GET", {"Transfer-Encoding: chunked"}, 200},
        {"incidents.upsert", "PUT", {"Transfer-Encoding: chunked"}, 405},
        {"healthz", "PUT", {"Transfer-Encoding: chunked"}, 405},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.path = cases[i].path, .verb = cases[i].verb, .body = "[\x01 no JSON"};
        struct http_response response;

        memcpy(call.headers, cases[i].headers, sizeof call.headers);
        send_for(&call, cases[i].status, cases[i].verb, &response);
        http_response_free(&response);
    }
}

/* What mod_cgid makes of a chunked request: no length, and the body up to the end of the input. */
static void a_chunked_body_as_cgi_changes_no_verdict(void **state)
{
    static const char *const chunked[] = {"CONTENT_LENGTH=", "HTTP_TRANSFER_ENCODING=chunked", NULL};
    static const struct {
        struct call call;
        int status;
    } cases[] = {
        {{.path = "incidents.upsert", .verb = "PUT", .body = "{}"}, 405},
        {{.path = "nothing", .verb = "PUT", .body = "{}"}, 404},
        {{.path = "healthz", .verb = "GET", .body = "{}"}, 200},
        {{.path = "incidents.delete", .body = "{\"reference_id\":\"none\"}"}, 200},
        {{.path = "incidents.delete", .body = "{\"reference_id\":"}, 422},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response;
        const struct outcome *outcome = http_run_cgi(&stack, &cases[i].call, chunked, &response);

        assert_int_equal(outcome->status, 0);
        assert_int_equal(response.status, cases[i].status);
        http_response_free(&response);
    }
}

/* ---- Authorization ---- */

static void blanks_around_scheme_and_token_are_passed_over(void **state)
{
    static const char *const spellings[][2] = {{"Bearer ", ""},   {"bearer  ", ""},        {"Bearer\t", ""},
                                               {"\tBearer ", ""}, {"\t \tBEARER \t ", ""}, {"Bearer ", "\t "},
                                               {" Bearer ", ""}};

    for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
        char authorization[STACK_TOKEN_MAX + 32];
        struct call call = {.path = "incidents.delete",
                            .body = "{\"reference_id\":\"none\"}",
                            .authorization = authorization};
        struct http_response response;

        snprintf(authorization, sizeof authorization, "%s%s%s", spellings[i][0], stack.token,
                 spellings[i][1]);
        send_for(&call, 200, authorization, &response);
        http_response_free(&response);
    }
}

static void not_authed_says_what_is_missing(void **state)
{
    static const struct {
        const char *authorization, *message;
    } cases[] = {
        {"", "no Authorization header arrived"},
        {"Basic YTpi", "another scheme than Bearer"},
        {"inct_000", "another scheme than Bearer"},
        {"Bearer a b", "invalid token"},
        {"Bearer inct_0000000000000000000000000000000000000000000",
         "invalid token: unknown, expired or revoked"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.path = "incidents.delete", .body = "{", .authorization = cases[i].authorization};

        check_error(&call, cases[i].authorization, 401, "not_authed", cases[i].message);
    }
}

/* Unknown, expired and revoked are one to a caller. */
static void a_token_that_is_not_good_any_more_is_as_one_that_never_was(void **state)
{
    static const char *const ends[] = {"expires_at = clock_timestamp()", "revoked_at = clock_timestamp()"};
    static const char message[] = "invalid token: unknown, expired or revoked";

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char token[STACK_TOKEN_MAX], authorization[STACK_TOKEN_MAX + 8], label[16], sql[128];
        struct call call = {.path = "incidents.delete", .body = "{", .authorization = authorization};

        snprintf(label, sizeof label, "%c ends %zu", send_call == as_cgi ? 'c' : 'n', i);
        stack_create_token(&stack, label, "delete", token);
        snprintf(authorization, sizeof authorization, "Bearer %s", token);
        check_error(&call, "while it is good", 422, "invalid_json", "");
        snprintf(sql, sizeof sql, "UPDATE intake.api_token SET %s WHERE label = '%s'", ends[i], label);
        stack_query(&stack, sql);
        check_error(&call, ends[i], 401, "not_authed", message);
    }
}

static void a_token_of_the_database_is_not_the_one_for_metrics(void **state)
{
    static const struct call call = {.path = "metrics", .verb = "GET"};

    check_error(&call, "metrics", 401, "not_authed", "INCIDENTS_METRICS_TOKEN");
}

/* ---- sentences ---- */

static void unknown_method_names_those_that_there_are(void **state)
{
    static const struct call call = {.path = "incidents.create", .body = "{}"};

    check_error(&call, "an unknown method", 404, "unknown_method",
                "incidents.upsert, incidents.delete, incidents.sync, healthz, readyz, metrics");
}

static void a_body_that_is_no_json_is_named(void **state)
{
#define BYTES(text) text, sizeof text - 1
    static const struct {
        const char *header;
        const char *body;
        size_t len;
        const char *message;
    } cases[] = {
        {"Content-Type: application/json", BYTES(" \n"), "the body is empty"},
        {"Content-Encoding: gzip", BYTES("\x1F\x8B\x08\x00\x01"),
         "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"Content-Encoding: br", BYTES("\x0B\x01\x80"),
         "the body is compressed (Content-Encoding: br): send it as it is"},
        {"Content-Encoding: GZIP;q=1, br", BYTES("\x0B\x01\x80"),
         "the body is compressed (Content-Encoding: gzip): send it as it is"},
        {"Content-Encoding: sEcReT", BYTES("\x1F\x8B\x08\x00\x01"),
         "the body is compressed (gzip): send it as it is"},
        {"Content-Type: application/json", BYTES("\xEF\xBB\xBF{\"reference_id\":1}"),
         "the body begins with a byte-order mark"},
        {"Content-Type: application/json", BYTES("\xFF\xFE{\0\"\0"), "the body is UTF-16"},
        {"Content-Type: application/json", BYTES("{\0\"\0r\0"), "the body is UTF-16"},
        {"Content-Type: multipart/form-data; boundary=x", BYTES("--x\r\nContent-Disposition: form-data"),
         "the body is a form (multipart/form-data): send JSON"},
        {"Content-Type: text/plain", BYTES("reference_id=1&started_at=2024-01-01"),
         "the body is a form and its Content-Type is not application/x-www-form-urlencoded"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct call call = {.path = "incidents.upsert",
                            .body = cases[i].body,
                            .body_len = cases[i].len,
                            .headers = {cases[i].header}};

        check_error(&call, cases[i].message, 422, "invalid_json", cases[i].message);
        call.authorization = "Bearer unknown-token"; /* the token comes first */
        check_error(&call, cases[i].message, 401, "not_authed", "");
    }
}

/* What says otherwise does not matter where the body is JSON. */
static void json_is_read_whatever_the_headers_call_it(void **state)
{
    static const char *const headers[] = {"Content-Encoding: gzip", "Content-Encoding: identity",
                                          "Content-Encoding: utf-8",
                                          "Content-Type: multipart/form-data; boundary=x"};

    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct call call = {
            .path = "incidents.delete", .body = "{\"reference_id\":\"none\"}", .headers = {headers[i]}};
        struct http_response response;

        send_for(&call, 200, headers[i], &response);
        http_response_free(&response);
    }
}

/* ---- forms ---- */

#define FORM_TYPE "Content-Type: application/x-www-form-urlencoded"

/* Sends a form and checks the status, and the error's code or the action. */
static void send_form(const char *path, const char *body, int status, const char *said)
{
    struct call call = {.path = path, .body = body, .headers = {FORM_TYPE "; charset=UTF-8"}};
    struct http_response response;

    send_for(&call, status, body, &response);
    if (strcmp(http_response_text(&response, status == 200 ? "action" : "error"), said) != 0) {
        fail_msg("%s should be answered with %s: %s", body, said, response.body);
    }
    http_response_free(&response);
}

static void a_form_is_read_as_its_arguments(void **state)
{
    static const char stored[] =
        "SELECT concat_ws('|', name, priority, source_url, started_at AT TIME ZONE 'UTC', "
        "resolved_at AT TIME ZONE 'UTC', metadata, "
        "(SELECT string_agg(identifier || '=' || coalesce(s.name, ''), ',' ORDER BY position) "
        "FROM intake.incident_service s WHERE s.reference_id = i.reference_id)) "
        "FROM intake.incident i WHERE reference_id = 'f 1&' || chr(233)";
    static const char first[] =
        "reference_id=f+1%26%C3%a9&started_at=2024-01-01T00%3A00%3A00%2B02:00&name=a+b%2Bc&priority="
        "&source_url=x%3Dy&resolved_at=2024-01-02&metadata=%7B%22n%22:1.10%7D&source_name=ignored"
        "&services=%5B%22s%22,%7B%22identifier%22:%22t%22,%22name%22:%22T%22%7D%5D";

    send_form("incidents.upsert", first, 200, "created");
    assert_string_equal(stack_query(&stack, stored),
                        "a b+c||x=y|2023-12-31 22:00:00|2024-01-02 00:00:00|{\"n\": 1.10}|s=,t=T");
    send_form("incidents.upsert", first, 200, "unchanged");
    send_form("incidents.upsert",
              "reference_id=f+1%26%C3%A9&started_at=2024-01-01&name=&metadata=&services=", 200, "updated");
    assert_string_equal(stack_query(&stack, stored), "||x=y|2024-01-01 00:00:00|2024-01-02 00:00:00");
    send_form("incidents.sync", "reference_id=f+1%26%C3%A9&started_at=2024-01-01&services=[%22a%22]", 200,
              "updated");
    assert_string_equal(stack_query(&stack, stored), "||x=y|2024-01-01 00:00:00|2024-01-02 00:00:00|a=");
    send_form("incidents.delete", "reference_id=f+1%26%C3%A9", 200, "deleted");
    send_form("incidents.delete", "reference_id=7&reference_id=f+1%26%C3%A9", 200, "not_found");
}

static void what_is_wrong_with_a_form_is_told_by_the_same_codes(void **state)
{
    static const struct {
        const char *path, *body, *error;
    } cases[] = {
        {"incidents.upsert", "started_at=2024-01-01", "invalid_arguments"},
        {"incidents.upsert", "reference_id=&started_at=2024-01-01", "invalid_arguments"},
        {"incidents.upsert", "reference_id=f", "invalid_arguments"},
        {"incidents.upsert", "reference_id=f&started_at=soon", "invalid_timestamp"},
        {"incidents.upsert", "reference_id=f&started_at=", "invalid_timestamp"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&resolved_at=", "invalid_timestamp"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&name=%C3", "invalid_json"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&name=%4", "invalid_json"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&name=100%25%zz", "invalid_json"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&services=a", "invalid_json"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&metadata={", "invalid_json"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&services={}", "invalid_arguments"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&metadata=[1]", "metadata_invalid"},
        {"incidents.upsert", "reference_id=f&started_at=2024-01-01&metadata={%22a.b%22:1}",
         "metadata_invalid"},
        {"incidents.sync", "reference_id=f&started_at=2024-01-01", "invalid_arguments"},
        {"incidents.delete", "id=f", "invalid_arguments"},
        {"incidents.delete", "null", "invalid_arguments"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        send_form(cases[i].path, cases[i].body, 422, cases[i].error);
    }
}

static void json_that_is_called_a_form_is_json(void **state)
{
    send_form("incidents.delete", " \r\n\t{\"reference_id\":\"a+b%20\"}", 200, "not_found");
    send_form("incidents.delete", "{\"reference_id\":", 422, "invalid_json");
    send_form("incidents.delete", "[]", 422, "invalid_arguments");
    send_form("incidents.delete", "\"a\"", 422, "invalid_arguments");
    send_form("incidents.delete", "", 422, "invalid_json");
}

/* The token comes first, and arguments in the query string are none. */
static void a_form_takes_nothing_from_elsewhere(void **state)
{
    static const struct call unknown = {.path = "incidents.upsert",
                                        .body = "name=%zz",
                                        .authorization = "Bearer unknown-token",
                                        .headers = {FORM_TYPE}};
    static const struct call query = {.path = "incidents.delete",
                                      .body = "reference_id=",
                                      .query = "reference_id=f",
                                      .headers = {FORM_TYPE}};

    check_error(&unknown, "an unknown token", 401, "not_authed", "");
    check_error(&query, "arguments in the query string", 422, "invalid_arguments", "reference_id");
}

/* A body in which the database finds fault that has no metadata: no argument is blamed for it. */
static void an_error_of_the_database_is_blamed_on_no_argument_that_is_not_there(void **state)
{
    static const struct call with = {
        .path = "incidents.upsert",
        .body = "{\"reference_id\":\"odd\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":1}}"};
    static const struct call changed = {
        .path = "incidents.upsert",
        .body = "{\"reference_id\":\"odd\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":2}}"};
    static const struct call without = {.path = "incidents.upsert",
                                        .body = "{\"reference_id\":\"odd\",\"started_at\":\"2024-01-02\"}"};
    static const struct call deleting = {.path = "incidents.delete", .body = "{\"reference_id\":\"odd\"}"};
    struct http_response response;

    send_for(&with, 200, "while nothing is refused", &response);
    http_response_free(&response);
    stack_query(&stack, "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$BEGIN RAISE SQLSTATE '22000' USING MESSAGE = 'no'; END$$");
    stack_query(&stack, "CREATE TRIGGER refuse BEFORE INSERT OR UPDATE OR DELETE ON intake.incident "
                        "FOR EACH ROW EXECUTE FUNCTION public.refuse()");
    check_error(&changed, "with metadata", 422, "metadata_invalid", "metadata");
    check_error(&without, "without metadata", 500, "internal_error", "internal error");
    check_error(&deleting, "a delete", 500, "internal_error", "internal error");
    stack_query(&stack, "DROP FUNCTION public.refuse() CASCADE");
    stack_query(&stack, "DELETE FROM intake.incident WHERE reference_id = 'odd'");
}

/* nginx's own limit lies above the worker's here: else nginx would answer. */
static void request_too_large_says_the_limit(void **state)
{
    static const char *const limits[] = {"INCIDENTS_BODY_LIMIT=2048", NULL};
    static char body[2049];
    static const struct call call = {.path = "incidents.upsert", .body = body, .body_len = sizeof body};
    struct http_response response;

    memset(body, ' ', sizeof body);
    if (send_call == as_cgi) {
        http_run_cgi(&stack, &call, limits, &response);
        assert_int_equal(response.status, 413);
        assert_string_equal(http_response_text(&response, "message"),
                            "the body is over the limit of 2048 bytes");
        http_response_free(&response);
    } else {
        stack_stop_worker(&stack);
        stack_start_worker(&stack, limits);
        check_error(&call, "2049 bytes", 413, "request_too_large",
                    "the body is over the limit of 2048 bytes");
    }
}

int main(void)
{
    static const struct fixture through_nginx = {.name = "senders through nginx",
                                                 .stack = &stack,
                                                 .settings = settings,
                                                 .metrics_token = METRICS_TOKEN};
    static const struct fixture as_plain_cgi = {.name = "senders as plain CGI",
                                                .stack = &stack,
                                                .settings = settings,
                                                .metrics_token = METRICS_TOKEN};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(head_is_get_without_the_body),
        cmocka_unit_test(what_follows_head_is_answered_as_ever),
        cmocka_unit_test(method_and_verb_decide_whatever_the_body_is),
        cmocka_unit_test(a_chunked_body_as_cgi_changes_no_verdict),
        cmocka_unit_test(blanks_around_scheme_and_token_are_passed_over),
        cmocka_unit_test(not_authed_says_what_is_missing),
        cmocka_unit_test(a_token_that_is_not_good_any_more_is_as_one_that_never_was),
        cmocka_unit_test(a_token_of_the_database_is_not_the_one_for_metrics),
        cmocka_unit_test(unknown_method_names_those_that_there_are),
        cmocka_unit_test(a_body_that_is_no_json_is_named),
        cmocka_unit_test(json_is_read_whatever_the_headers_call_it),
        cmocka_unit_test(a_form_is_read_as_its_arguments),
        cmocka_unit_test(what_is_wrong_with_a_form_is_told_by_the_same_codes),
        cmocka_unit_test(json_that_is_called_a_form_is_json),
        cmocka_unit_test(a_form_takes_nothing_from_elsewhere),
        cmocka_unit_test(an_error_of_the_database_is_blamed_on_no_argument_that_is_not_there),
        cmocka_unit_test(request_too_large_says_the_limit),
    };
    int failed;

    send_call = http_through_nginx;
    failed = fixture_run(&through_nginx, cases, sizeof cases / sizeof cases[0]);
    send_call = as_cgi;
    failed += fixture_run(&as_plain_cgi, cases, sizeof cases / sizeof cases[0]);
    return failed;
}
