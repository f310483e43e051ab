/* Tokens: made, taken over, limited, ended and renewed, each with effect on the very next request, and never
 * in the clear. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/fixture.h"

static struct stack stack;

/* Sends a harmless request with that token; the response's status, its body in the static buffer. */
static char last_body[HTTP_BODY_MAX];

static int status_with(const char *token, const char *path)
{
    char authorization[5000];
    struct call call = {.path = path,
                        .body = "{\"reference_id\":\"t\",\"started_at\":\"2024-01-01\"}",
                        .authorization = authorization};
    struct http_response response;
    int status;

    snprintf(authorization, sizeof authorization, "Bearer %s", token);
    http_through_nginx(&stack, &call, &response);
    status = response.status;
    snprintf(last_body, sizeof last_body, "%s", response.body);
    http_response_free(&response);
    return status;
}

static void a_scope_lets_through_its_own_methods_alone(void **state)
{
    char upsert[STACK_TOKEN_MAX], delete[STACK_TOKEN_MAX];

    stack_create_token(&stack, "scope u", "upsert", upsert);
    stack_create_token(&stack, "scope d", "delete", delete);
    assert_int_equal(status_with(upsert, "incidents.upsert"), 200);
    assert_int_equal(status_with(upsert, "incidents.delete"), 403);
    assert_int_equal(status_with(delete, "incidents.upsert"), 403);
    assert_int_equal(status_with(delete, "incidents.delete"), 200);
}

static void revoking_takes_effect_on_the_next_request(void **state)
{
    char token[STACK_TOKEN_MAX], id[32];

    stack_create_token(&stack, "revoked", "upsert", token);
    assert_int_equal(status_with(token, "incidents.upsert"), 200);
    assert_int_equal(stack_control(&stack, NULL, "token", "revoke", "revoked", NULL)->status, 0);
    assert_int_equal(status_with(token, "incidents.upsert"), 401);
    assert_int_equal(stack_control(&stack, NULL, "token", "revoke", "revoked", NULL)->status, 1);

    stack_create_token(&stack, "revoked", "upsert", token); /* the label is free again */
    snprintf(id, sizeof id, "%s", stack_query(&stack, "SELECT max(token_id) FROM intake.api_token"));
    assert_int_equal(status_with(token, "incidents.upsert"), 200);
    assert_int_equal(stack_control(&stack, NULL, "token", "revoke", "--id", id, NULL)->status, 0);
    assert_int_equal(status_with(token, "incidents.upsert"), 401);
}

/* As far as the tokens of that label can tell; they must last for no longer, and not much shorter. */
static void an_hour_passes(const char *label)
{
    assert_string_equal(
        stack_query_for(&stack,
                        "WITH passed AS (UPDATE intake.api_token "
                        "SET expires_at = expires_at - interval '1 hour' WHERE label = $1 AND "
                        "expires_at - clock_timestamp() BETWEEN '50 min' AND '60 min' "
                        "RETURNING 1) SELECT count(*) FROM passed",
                        label),
        "1");
}

static void an_expired_token_is_as_good_as_unknown(void **state)
{
    const struct outcome *outcome;
    char token[STACK_TOKEN_MAX], expired[HTTP_BODY_MAX];

    outcome = stack_control(&stack, NULL, "token", "create", "--label", "short", "--expires", "1h", NULL);
    assert_int_equal(outcome->status, 0);
    snprintf(token, sizeof token, "%.*s", (int)outcome->out_len - 1, outcome->out);
    assert_int_equal(status_with(token, "incidents.upsert"), 200);
    an_hour_passes("short");
    assert_int_equal(status_with(token, "incidents.upsert"), 401);
    snprintf(expired, sizeof expired, "%s", last_body);
    assert_int_equal(status_with("nobody-has-this-token", "incidents.upsert"), 401);
    assert_string_equal(last_body, expired);
}

static void rotating_keeps_the_old_token_good_for_the_grace_period(void **state)
{
    const struct outcome *outcome;
    char old[STACK_TOKEN_MAX], renewed[STACK_TOKEN_MAX];

    stack_create_token(&stack, "rotated", "upsert", old);
    outcome = stack_control(&stack, NULL, "token", "rotate", "rotated", "--grace", "1h", NULL);
    assert_int_equal(outcome->status, 0);
    snprintf(renewed, sizeof renewed, "%.*s", (int)outcome->out_len - 1, outcome->out);
    assert_string_not_equal(old, renewed);
    assert_int_equal(status_with(old, "incidents.upsert"), 200);
    assert_int_equal(status_with(renewed, "incidents.upsert"), 200);
    assert_int_equal(status_with(renewed, "incidents.delete"), 403); /* the scopes stay */
    an_hour_passes("rotated");
    assert_int_equal(status_with(old, "incidents.upsert"), 401);
    assert_int_equal(status_with(renewed, "incidents.upsert"), 200);
    assert_int_equal(stack_control(&stack, NULL, "token", "rotate", "rotated", "--grace", "0s", NULL)->status,
                     0);
    assert_int_equal(status_with(renewed, "incidents.upsert"), 401);
}

static void a_token_that_clients_hold_is_taken_over_from_standard_input(void **state)
{
    static const char held[] = "dx_held-by.clients~for/years+=!";
    static const char *const refused[] = {"",
                                          "\n",
                                          "short",
                                          "has a space in the middle",
                                          "control\x01"
                                          "character-here",
                                          "\xC3\xA9-not-ascii-at-all-here"};

    assert_int_equal(status_with(held, "incidents.upsert"), 401);
    assert_int_equal(
        stack_control(&stack, "dx_held-by.clients~for/years+=!\n", "token", "import", "--label", "held", NULL)
            ->status,
        0);
    assert_int_equal(status_with(held, "incidents.upsert"), 200);
    assert_int_equal(stack_control(&stack, held, "token", "import", "--label", "held again", NULL)->status,
                     1);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        const struct outcome *outcome =
            stack_control(&stack, refused[i], "token", "import", "--label", "bad", NULL);

        if (outcome->status == 0 || strstr(outcome->err, "standard input") == NULL) {
            fail_msg("\"%s\" was taken over, or the error does not name it: %s", refused[i], outcome->err);
        }
    }
}

static void wrong_arguments_are_refused_by_name(void **state)
{
    static const struct {
        const char *arguments[6];
        const char *names;
        int status;
    } cases[] = {
        {{"create", NULL}, "--label", 2},
        {{"create", "--label", "x", "--scope", "admin", NULL}, "--scope", 2},
        {{"create", "--label", "x", "--scope", "", NULL}, "--scope", 2},
        {{"create", "--label", "x", "--scope", "upsert,", NULL}, "--scope", 2},
        {{"create", "--label", "x", "--expires", "soon", NULL}, "--expires", 2},
        {{"create", "--label", "x", "--expires", "0s", NULL}, "--expires", 2},
        {{"create", "--label", "x", "--expires", "2024-01-01", NULL}, "in the future", 2},
        {{"create", "--label", "good", NULL}, "label", 1},
        {{"create", "--label", "a\nb", NULL}, "--label", 2},
        {{"rotate", "good", NULL}, "--grace", 2},
        {{"rotate", "nobody", "--grace", "1h", NULL}, "label", 1},
        {{"revoke", NULL}, "label", 2},
        {{"revoke", "--id", "x", NULL}, "--id", 2},
        {{"list", "--grace", "1h", NULL}, "list", 2},
        {{"nothing", NULL}, "create", 2},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *a = cases[i].arguments;
        const struct outcome *outcome =
            stack_control(&stack, "", "token", a[0], a[0] == NULL ? NULL : a[1], a[1] == NULL ? NULL : a[2],
                          a[1] == NULL || a[2] == NULL ? NULL : a[3],
                          a[1] == NULL || a[2] == NULL || a[3] == NULL ? NULL : a[4], NULL);

        if (outcome->status != cases[i].status || strstr(outcome->err, cases[i].names) == NULL ||
            outcome->out_len != 0) {
            fail_msg("case %zu: status %d, error %s", i, outcome->status, outcome->err);
        }
    }
}

static void list_is_a_table_for_people_and_json_for_scripts(void **state)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "token", "list", NULL);
    struct json_object *rows, *label, *scopes, *token_state;

    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "label"));
    assert_non_null(strstr(outcome->out, "good"));
    assert_null(strstr(outcome->out, stack.token));
    outcome = stack_control(&stack, NULL, "token", "list", "--json", NULL);
    assert_int_equal(outcome->status, 0);
    rows = json_tokener_parse(outcome->out);
    assert_true(json_object_is_type(rows, json_type_array) && json_object_array_length(rows) > 0);
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "label", &label));
    assert_string_equal(json_object_get_string(label), "good");
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "scopes", &scopes));
    assert_int_equal(json_object_array_length(scopes), 2);
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "state", &token_state));
    assert_string_equal(json_object_get_string(token_state), "valid");
    json_object_put(rows);
}

static void a_token_in_the_query_string_or_the_body_is_none(void **state)
{
    char query[256], body[512];
    struct call call = {.path = "incidents.upsert", .authorization = "", .query = query, .body = body};
    struct http_response response;

    snprintf(query, sizeof query, "access_token=%s", stack.token);
    snprintf(body, sizeof body, "{\"token\":\"%s\",\"access_token\":\"%s\"}", stack.token, stack.token);
    http_as_cgi(&stack, &call, &response);
    assert_int_equal(response.status, 401);
    http_response_free(&response);
}

static void the_scheme_is_read_in_any_case(void **state)
{
    static const char *const schemes[] = {"bearer", "BEARER", "BeArEr  "};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        char authorization[256];
        struct call call = {
            .path = "incidents.delete", .body = "{\"reference_id\":1}", .authorization = authorization};
        struct http_response response;

        snprintf(authorization, sizeof authorization, "%s %s", schemes[i], stack.token);
        http_through_nginx(&stack, &call, &response);
        assert_int_equal(response.status, 200);
        http_response_free(&response);
    }
}

static void the_last_use_is_written_at_most_once_a_minute(void **state)
{
    static const char query[] = "SELECT last_used_at FROM intake.api_token WHERE label = 'good'";
    char first[64];

    stack_query(&stack, "UPDATE intake.api_token SET last_used_at = NULL WHERE label = 'good'");
    assert_int_equal(status_with(stack.token, "incidents.upsert"), 200);
    snprintf(first, sizeof first, "%s", stack_query(&stack, query));
    assert_string_not_equal(first, "");
    assert_int_equal(status_with(stack.token, "incidents.upsert"), 200);
    assert_string_equal(stack_query(&stack, query), first);
}

/* Runs last: everything above has used tokens, good ones and bad ones. */
static void no_token_stands_in_the_clear_anywhere(void **state)
{
    static const char *const logs[] = {"worker.log", "postgres.log", "nginx.log", "nginx/error.log",
                                       "nginx/access.log"};

    clock_sleep_ms(1500); /* nginx writes its access log once a second */
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        char path[256], *text;

        snprintf(path, sizeof path, "%s/%s", stack.directory, logs[i]);
        text = read_whole_file(path);
        if (strstr(text, stack.token) != NULL || strstr(text, "dx_held-by.clients") != NULL) {
            fail_msg("%s has a token in it", path);
        }
        free(text);
    }
    assert_string_equal(
        stack_query_for(&stack,
                        "SELECT count(*) FROM intake.api_token t WHERE position($1 IN t::text) > 0 "
                        "OR position(encode(convert_to($1, 'UTF8'), 'hex') IN t::text) > 0",
                        stack.token),
        "0");
    assert_string_equal(
        stack_query_for(&stack,
                        "SELECT token_hash = sha256(convert_to($1, 'UTF8')) FROM intake.api_token "
                        "WHERE label = 'good'",
                        stack.token),
        "t");
}

static void scopes_may_be_given_one_by_one(void **state)
{
    assert_int_equal(stack_control(&stack, NULL, "token", "create", "--label", "both", "--scope", "upsert",
                                   "--scope", "delete", NULL)
                         ->status,
                     0);
    assert_string_equal(stack_query(&stack, "SELECT scopes FROM intake.api_token WHERE label = 'both'"),
                        "{upsert,delete}");
    assert_int_equal(
        stack_control(&stack, NULL, "token", "create", "--label", "one", "--scope", "delete", NULL)->status,
        0);
    assert_string_equal(stack_query(&stack, "SELECT scopes FROM intake.api_token WHERE label = 'one'"),
                        "{delete}");
    assert_int_equal(stack_control(&stack, NULL, "token", "create", "--label", "none", "--scope", "upsert",
                                   "--scope", "read", NULL)
                         ->status,
                     2);
}

/* Which of two values is meant nobody knows: any command's option with a value, but for --scope. */
static void an_option_that_is_repeated_is_named(void **state)
{
    static const char *const commands[][8] = {
        {"token", "create", "--label", "a", "--label", "b"},
        {"token", "create", "--label", "a", "--expires", "1d", "--expires", "2d"},
        {"token", "rotate", "good", "--grace", "1d", "--grace", "2d"},
        {"token", "revoke", "--id", "1", "--id", "2"},
        {"list", "--service", "a", "--service", "b"},
        {"list", "--limit", "1", "--limit", "2"},
        {"export", "--format", "csv", "--format", "jsonl"},
        {"purge", "--before", "1d", "--before", "2d"},
        {"history", "--purge", "--before", "1d", "--before", "2d"},
        {"import", "--format", "json", "--format", "csv", "-"},
        {"report", "--since", "1d", "--since", "2d"},
        {"doctor", "--socket", "/a", "--socket", "/b"},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const char *const *c = commands[i];
        const struct outcome *outcome =
            stack_control(&stack, NULL, c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], NULL);

        if (outcome->status != 2 || strstr(outcome->err, " was given twice; which value is meant?") == NULL) {
            fail_msg("%s %s: %d %s", c[0], c[1], outcome->status, outcome->err);
        }
    }
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.api_token WHERE label IN ('a', 'b')"), "0");
}

/* As psql shows them: what a server says beyond its one sentence is often what helps. */
static void details_and_hints_of_the_server_are_shown(void **state)
{
    const struct outcome *outcome;

    stack_query(&stack, "CREATE FUNCTION intake.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN RAISE 'no' USING DETAIL = 'the detail', HINT = 'the hint'; END $$");
    stack_query(&stack, "CREATE TRIGGER refuse BEFORE INSERT ON intake.api_token FOR EACH ROW "
                        "EXECUTE FUNCTION intake.refuse()");
    outcome = stack_control(&stack, NULL, "token", "create", "--label", "refused", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "in the database: no\nDETAIL:  the detail\nHINT:  the hint\n"));
    stack_query(&stack, "DROP TRIGGER refuse ON intake.api_token");
    stack_query(&stack, "DROP FUNCTION intake.refuse()");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_scope_lets_through_its_own_methods_alone),
        cmocka_unit_test(revoking_takes_effect_on_the_next_request),
        cmocka_unit_test(an_expired_token_is_as_good_as_unknown),
        cmocka_unit_test(rotating_keeps_the_old_token_good_for_the_grace_period),
        cmocka_unit_test(a_token_that_clients_hold_is_taken_over_from_standard_input),
        cmocka_unit_test(wrong_arguments_are_refused_by_name),
        cmocka_unit_test(list_is_a_table_for_people_and_json_for_scripts),
        cmocka_unit_test(a_token_in_the_query_string_or_the_body_is_none),
        cmocka_unit_test(the_scheme_is_read_in_any_case),
        cmocka_unit_test(the_last_use_is_written_at_most_once_a_minute),
        cmocka_unit_test(scopes_may_be_given_one_by_one),
        cmocka_unit_test(an_option_that_is_repeated_is_named),
        cmocka_unit_test(details_and_hints_of_the_server_are_shown),
        cmocka_unit_test(no_token_stands_in_the_clear_anywhere),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
