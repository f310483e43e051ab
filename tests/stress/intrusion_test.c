/* No one in: what a bad token, a database role with ideas of its own, text that means to be SQL or a line of
 * a log, and another process of the same machine can find out or bring about. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "schema_version.h"

enum { ALIKE = 4 };

static struct stack stack;
static char passwords_settings[STACK_PATH_MAX + 64];

/* Tokens that are no good any more, or never were. All have the form of a good one. */
static char bad_tokens[ALIKE][STACK_TOKEN_MAX];
static const char *const bad_kinds[ALIKE] = {"unknown", "expired", "revoked",
                                             "unknown, but for its last letter good"};

static void make_bad_tokens(void)
{
    size_t len = strlen(stack.token);

    for (size_t i = 0; i < ALIKE; i++) {
        memcpy(bad_tokens[i], stack.token, len + 1);
    }
    for (size_t i = 3; i < len; i++) {
        bad_tokens[0][i] = stack.token[i] == 'a' ? 'b' : 'a';
    }
    stack_create_token(&stack, "expired", "upsert", bad_tokens[1]);
    stack_query(&stack, "UPDATE intake.api_token SET created_at = now() - interval '2 days', "
                        "expires_at = now() - interval '1 day' WHERE label = 'expired'");
    stack_create_token(&stack, "revoked", "upsert", bad_tokens[2]);
    assert_int_equal(stack_control(&stack, NULL, "token", "revoke", "revoked", NULL)->status, 0);
    bad_tokens[3][len - 1] = stack.token[len - 1] == 'a' ? 'b' : 'a';
}

/* A response's head and body, without the one line that time alone changes. It must be not_authed. */
static void send_with(const char *authorization, const char *body, char *text, size_t size)
{
    struct call call = {.path = "incidents.upsert",
                        .body = body,
                        .authorization = authorization,
                        .headers = {"X-Request-Id: the-same-for-all"}};
    struct http_response response;
    char *date, *end;

    http_through_nginx(&stack, &call, &response);
    assert_string_equal(http_response_text(&response, "error"), "not_authed");
    date = strstr(response.head, "Date: ");
    assert_non_null(date);
    end = strchr(date, '\n');
    assert_non_null(end);
    memmove(date, end + 1, strlen(end + 1) + 1);
    snprintf(text, size, "%d\n%s\n%.2000s", response.status, response.head, response.body);
    http_response_free(&response);
}

static const char good_body[] = "{\"reference_id\":\"intruder\",\"started_at\":\"2024-01-01\"}";

/* Each of them whatever the body is; and that there is no token the caller knows already. */
static void tokens_that_are_no_good_all_get_the_same_response(void **state)
{
    static const char *const without[] = {"", "Basic dXNlcjpwYXNz", "Bearer "};
    static const char *const bodies[] = {good_body, "{\"reference_id\":1}", "[", ""};

    char first[8192], other[8192];

    send_with("Bearer unknown", good_body, first, sizeof first);
    for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
        for (size_t i = 0; i < ALIKE; i++) {
            char authorization[sizeof bad_tokens + sizeof "Bearer "];

            snprintf(authorization, sizeof authorization, "Bearer %s", bad_tokens[i]);
            send_with(authorization, bodies[b], other, sizeof other);
            assert_string_equal(other, first);
        }
    }
    for (size_t i = 0; i < sizeof without / sizeof without[0]; i++) {
        send_with(without[i], good_body, first, sizeof first);
        for (size_t b = 0; b < sizeof bodies / sizeof bodies[0]; b++) {
            send_with(without[i], bodies[b], other, sizeof other);
            assert_string_equal(other, first);
        }
    }
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = 'intruder'"), "0");
}

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int compare_doubles(const void *one, const void *other)
{
    double a = *(const double *)one, b = *(const double *)other;

    return (a > b) - (a < b);
}

/* Which of them it is must not show in the time either. They are sent in turn, so that what else the machine
 * does falls on all of them; the medians may then differ by what a machine under load makes of that, and no
 * more. */
static void and_take_the_same_time(void **state)
{
    size_t count = (size_t)stress_amount(400, 20000);
    double *took = calloc(ALIKE * count, sizeof *took), least = 1e9, most = 0;

    assert_non_null(took);
    for (size_t i = 0; i < count; i++) {
        for (size_t kind = 0; kind < ALIKE; kind++) {
            char authorization[sizeof bad_tokens + sizeof "Bearer "];
            struct call call = {
                .path = "incidents.upsert", .body = good_body, .authorization = authorization};
            struct http_response response;
            double begun;

            snprintf(authorization, sizeof authorization, "Bearer %s", bad_tokens[kind]);
            begun = seconds();
            http_through_nginx(&stack, &call, &response);
            took[kind * count + i] = seconds() - begun;
            assert_int_equal(response.status, 401);
            http_response_free(&response);
        }
    }
    figures_table("How long it takes to refuse a token, us", "token|sent|1 %|median|99 %");
    for (size_t kind = 0; kind < ALIKE; kind++) {
        double *these = took + kind * count, median;

        qsort(these, count, sizeof *these, compare_doubles);
        median = these[count / 2];
        figures_row("%s|%zu|%.0f|%.0f|%.0f", bad_kinds[kind], count, these[count / 100] * 1e6, median * 1e6,
                    these[count - 1 - count / 100] * 1e6);
        least = median < least ? median : least;
        most = median > most ? median : most;
    }
    free(took);
    assert_true(most < 1.5 * least);
}

/* Runs statements as whoever the session is, and returns the first value of the last one, or the SQLSTATE. */
static const char *run_as(PGconn *session, const char *sql)
{
    static char text[1024];
    PGresult *result = PQexec(session, sql);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    snprintf(text, sizeof text, "%s",
             state != NULL           ? state
             : PQntuples(result) > 0 ? PQgetvalue(result, 0, 0)
                                     : "");
    PQclear(result);
    return text;
}

/* A session of that role, which uses its password nowhere: Postgres trusts its socket here. */
static PGconn *session_of(const char *role)
{
    char url[STACK_PATH_MAX];
    PGconn *session;

    snprintf(url, sizeof url, "postgresql:///incidents?host=%s&user=%s", stack.directory, role);
    session = PQconnectdb(url);
    assert_int_equal(PQstatus(session), CONNECTION_OK);
    return session;
}

/* A schema full of things that have the names of what our functions use, and note who calls them. Whoever
 * looks there first runs them with the rights of the schema's owner. */
static const char trap[] =
    "CREATE SCHEMA trap;"
    "CREATE TABLE trap.caught (who text, what text);"
    "GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT ALL ON trap.caught TO PUBLIC;"
    "CREATE FUNCTION trap.note(what text) RETURNS boolean LANGUAGE plpgsql AS"
    "  $$BEGIN INSERT INTO trap.caught VALUES (current_user, what); RETURN true; END$$;"
    "CREATE FUNCTION trap.same(text, text) RETURNS boolean LANGUAGE sql AS $$SELECT trap.note('= text')$$;"
    "CREATE FUNCTION trap.same(bytea, bytea) RETURNS boolean LANGUAGE sql AS $$SELECT trap.note('= bytea')$$;"
    "CREATE FUNCTION trap.same(integer, integer) RETURNS boolean LANGUAGE sql AS $$SELECT trap.note('= "
    "integer')$$;"
    "CREATE FUNCTION trap.same(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS"
    "  $$SELECT trap.note('> timestamptz')$$;"
    "CREATE FUNCTION trap.has(jsonb, text) RETURNS boolean LANGUAGE sql AS $$SELECT trap.note('? jsonb')$$;"
    "CREATE FUNCTION trap.item(jsonb, text) RETURNS text LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('->> jsonb') THEN 'upsert' END$$;"
    "CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.same);"
    "CREATE OPERATOR trap.= (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = trap.same);"
    "CREATE OPERATOR trap.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.same);"
    "CREATE OPERATOR trap.< (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.same);"
    "CREATE OPERATOR trap.> (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = trap.same);"
    "CREATE OPERATOR trap.< (LEFTARG = timestamptz, RIGHTARG = timestamptz, FUNCTION = trap.same);"
    "CREATE FUNCTION trap.both(integer, integer) RETURNS integer LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('& integer') THEN 0 END$$;"
    "CREATE OPERATOR trap.& (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.both);"
    "CREATE OPERATOR trap.? (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = trap.has);"
    "CREATE OPERATOR trap.->> (LEFTARG = jsonb, RIGHTARG = text, FUNCTION = trap.item);"
    "CREATE FUNCTION trap.decode(text, text) RETURNS bytea LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('decode') THEN ''::bytea END$$;"
    "CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('clock_timestamp') THEN pg_catalog.now() END$$;"
    "CREATE FUNCTION trap.jsonb_array_elements(jsonb) RETURNS SETOF jsonb LANGUAGE sql AS"
    "  $$SELECT $1 WHERE trap.note('jsonb_array_elements')$$;"
    "CREATE FUNCTION trap.unnest(intake.operation[]) RETURNS SETOF intake.operation LANGUAGE sql AS"
    "  $$SELECT $1[1] WHERE trap.note('unnest')$$;"
    "CREATE FUNCTION trap.current_setting(text) RETURNS text LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('current_setting') THEN 'false' END$$;"
    "CREATE FUNCTION trap.to_char(timestamp, text) RETURNS text LANGUAGE sql AS"
    "  $$SELECT CASE WHEN trap.note('to_char') THEN 'x' END$$;"
    "CREATE FUNCTION trap.pg_advisory_xact_lock(bigint) RETURNS void LANGUAGE sql AS"
    "  $$SELECT trap.note('pg_advisory_xact_lock')$$;"
    "CREATE TABLE trap.incident (LIKE intake.incident);"
    "CREATE TABLE trap.api_token AS SELECT * FROM intake.api_token;";

static void expect_nobody_caught(const char *by)
{
    const char *caught = stack_query(
        &stack, "SELECT coalesce(string_agg(DISTINCT who || ' in ' || what, ', '), '') FROM trap.caught");

    if (*caught != '\0') {
        fail_msg("%s was led into the trap: %s", by, caught);
    }
}

static void a_batch(char *call, size_t size, const char *token)
{
    snprintf(call, size,
             "SELECT outcomes[1] FROM intake.apply_batch(%d, ARRAY[ROW ('upsert', "
             "pg_catalog.sha256('%s'), 'upsert', 16, '2024-01-01', NULL, 'trapped', NULL, NULL, NULL, "
             "'[[\"a\",null]]', NULL)::intake.operation], attempt => 77, orphaned => '{76}')",
             SCHEMA_VERSION, token);
}

static void nobody_elses_functions_and_operators_run_with_our_rights(void **state)
{
    PGconn *hostile;
    char call[1024], version[16], token[STACK_TOKEN_MAX];

    snprintf(version, sizeof version, "%d", SCHEMA_VERSION);
    stack_query(&stack, "CREATE ROLE hostile LOGIN IN ROLE incidents_worker");
    PQclear(PQexec(stack.owner, trap));
    assert_string_equal(PQerrorMessage(stack.owner), "");
    hostile = session_of("hostile");
    assert_string_equal(run_as(hostile, "SET search_path = trap, pg_temp, pg_catalog"), "");
    assert_string_equal(run_as(hostile, "CREATE TEMP TABLE incident (reference_id text)"), "");
    assert_string_equal(run_as(hostile, "CREATE TEMP TABLE _ (item text)"), "");
    /* The trap works: */
    assert_string_equal(run_as(hostile, "SELECT 'a'::text = 'b'::text"), "t");
    assert_string_equal(run_as(hostile, "SELECT pg_catalog.count(*) FROM trap.caught"), "1");
    stack_query(&stack, "TRUNCATE trap.caught");

    a_batch(call, sizeof call, "no such token");
    assert_string_equal(run_as(hostile, call), "not_authed");
    expect_nobody_caught("apply_batch, with a bad token,");
    stack_create_token(&stack, "trapped", "upsert",
                       token); /* which a failing statement's line of the log has */
    a_batch(call, sizeof call, token);
    assert_string_equal(run_as(hostile, call), "created");
    assert_string_equal(run_as(hostile, call), "unchanged");
    expect_nobody_caught("apply_batch");
    assert_string_equal(run_as(hostile, "SELECT intake.schema_version()"), version);
    expect_nobody_caught("schema_version");

    /* Without a search path of its own it would go there, and fail or worse: */
    stack_query(&stack, "ALTER FUNCTION intake.apply_batch RESET search_path");
    assert_string_not_equal(run_as(hostile, call), "unchanged");
    stack_query(&stack, "ALTER FUNCTION intake.apply_batch SET search_path = pg_catalog, pg_temp");
    stack_query(&stack, "TRUNCATE trap.caught");
    assert_string_equal(
        stack_query(
            &stack,
            "SELECT string_agg(identifier, ',') FROM intake.incident_service WHERE reference_id = 'trapped'"),
        "a");
    PQfinish(hostile);
}

static void incidentctl_is_not_led_into_a_trap_either(void **state)
{
    static const char *const commands[][4] = {{"list", NULL},
                                              {"show", "trapped", NULL},
                                              {"token", "list", NULL},
                                              {"export", NULL},
                                              {"report", NULL},
                                              {"history", "--on", NULL},
                                              {"history", "trapped", NULL},
                                              {"migrate", "--status", NULL},
                                              {"delete", "trapped", NULL},
                                              {"history", "--off", NULL}};

    assert_int_equal(http_upsert(&stack, "trapped"), 200);
    stack_query(&stack, "ALTER ROLE incidents_owner SET search_path = trap, pg_catalog");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct outcome *outcome =
            stack_control(&stack, NULL, commands[i][0], commands[i][1], commands[i][2], commands[i][3], NULL);

        if (outcome->status != 0) {
            fail_msg("%s %s: %s", commands[i][0], commands[i][1] == NULL ? "" : commands[i][1], outcome->err);
        }
        expect_nobody_caught(commands[i][0]);
    }
    stack_query(&stack, "ALTER ROLE incidents_owner RESET search_path");
    stack_query(&stack, "SET client_min_messages = warning");
    stack_query(&stack, "DROP SCHEMA trap CASCADE");
}

/* What has the owner's rights when others call it, or is called where others' objects may be looked up first.
 */
static void every_function_with_the_owners_rights_says_where_it_looks(void **state)
{
    assert_string_equal(
        stack_query(&stack, "SELECT coalesce(string_agg(oid::regprocedure::text, ', '), '') FROM pg_proc "
                            "WHERE pronamespace IN ('intake'::regnamespace, 'reporting'::regnamespace) "
                            "AND prosecdef AND NOT 'search_path=pg_catalog, pg_temp' = ANY (proconfig)"),
        "");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'intake'::regnamespace "
                            "AND prosecdef"),
        "1");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM pg_proc WHERE pronamespace IN "
                                            "('intake'::regnamespace) AND proacl IS NULL"),
                        "0"); /* null would be: everybody may execute it */
}

/* Text that would be something else in a statement, a pattern or a path: it is stored and found as what it
 * is. */
static void nothing_of_a_request_becomes_sql(void **state)
{
    static const char *const texts[] = {
        "'; DROP TABLE intake.incident CASCADE; --",
        "\\'; SELECT pg_sleep(10); --",
        "$$; DROP SCHEMA intake; $$",
        "%",
        "_",
        "{\\\"a\\\"}",
        "(,)",
        "NULL",
        "' || (SELECT token_hash FROM intake.api_token) || '",
        "--",
        "-rf",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char *body = NULL;
        struct json_object *text = json_object_new_string(texts[i]);
        const char *quoted = json_object_to_json_string(text);
        struct call call = {.path = "incidents.upsert"};
        struct http_response response;
        const struct outcome *outcome;

        assert_true(asprintf(&body,
                             "{\"reference_id\":%s,\"started_at\":\"2024-01-01\",\"name\":%s,\"priority\":%s,"
                             "\"services\":[{\"identifier\":%s,\"name\":%s}],\"metadata\":{\"k\":%s}}",
                             quoted, quoted, quoted, quoted, quoted, quoted) > 0);
        call.body = body;
        http_through_nginx(&stack, &call, &response);
        assert_int_equal(response.status, 200);
        http_response_free(&response);
        assert_string_equal(
            stack_query_for(&stack,
                            "SELECT count(*) FROM intake.incident i JOIN intake.incident_service s "
                            "USING (reference_id) WHERE reference_id = $1 AND i.name = $1 "
                            "AND priority = $1 AND s.identifier = $1 AND s.name = $1 "
                            "AND metadata->>'k' = $1",
                            texts[i]),
            "1");
        outcome = stack_control(&stack, NULL, "list", "--json", "--service", texts[i], "--priority", texts[i],
                                NULL);
        assert_int_equal(outcome->status, 0);
        assert_non_null(strstr(outcome->out, quoted));
        assert_null(
            strstr(strstr(outcome->out, "\"reference_id\"") + 1, "\"reference_id\"")); /* and no other */
        outcome = stack_control(&stack, NULL, "delete", "--", texts[i], NULL);
        assert_int_equal(outcome->status, 0);
        assert_string_equal(
            stack_query_for(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = $1", texts[i]),
            "0");
        json_object_put(text);
        free(body);
    }
}

/* Every process's arguments, as ps shows them to everybody. */
static bool is_in_process_list(const char *secret)
{
    DIR *processes = opendir("/proc");
    const struct dirent *entry;
    bool found = false;

    assert_non_null(processes);
    while (!found && (entry = readdir(processes)) != NULL) {
        char path[300], arguments[8192];
        FILE *file;
        size_t len;

        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        file = fopen(path, "re");
        if (file == NULL) {
            continue;
        }
        len = fread(arguments, 1, sizeof arguments, file);
        fclose(file);
        found = memmem(arguments, len, secret, strlen(secret)) != NULL;
    }
    closedir(processes);
    return found;
}

static void secrets_are_not_in_the_process_list(void **state)
{
    assert_true(is_in_process_list(stack.directory)); /* Postgres is told it: the list is read */
    assert_false(is_in_process_list("pass-word-of-the-worker"));
    assert_false(is_in_process_list(stack.token));
}

/* The kernel gives the entries of a process that may not be dumped to root (proc(5)): no core is written, and
 * no other process of the same user may read its memory or environment. */
static void there_is_no_core_dump_and_no_look_into_the_worker(void **state)
{
    char path[64];
    struct stat entry, program;

    snprintf(path, sizeof path, "/proc/%d/environ", (int)stack.worker);
    assert_int_equal(stat(path, &entry), 0);
    assert_int_equal(entry.st_uid, 0);
    snprintf(path, sizeof path, "/proc/%d", (int)stack.postgres); /* who runs as the same user, and may */
    assert_int_equal(stat(path, &program), 0);
    if (program.st_uid == 0) {
        fail_msg("the servers of a test should not run as root");
    }
}

static void the_sockets_and_files_are_for_whom_they_are_meant(void **state)
{
    struct stat status;
    char path[256];

    assert_int_equal(stat(stack.worker_socket, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0660);
    snprintf(path, sizeof path, "%s/a.log", stack.directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void no_log_has_a_secret(void **state)
{
    static const char *const logs[] = {"a.log",     "worker.log",      "postgres.log",
                                       "nginx.log", "nginx/error.log", "nginx/access.log"};
    size_t read = 0;

    clock_sleep_ms(1500); /* nginx writes its access log once a second */
    for (size_t i = 0; i < sizeof logs / sizeof logs[0]; i++) {
        char path[256], *text;

        snprintf(path, sizeof path, "%s/%s", stack.directory, logs[i]);
        text = read_whole_file(path);
        read += strlen(text);
        for (size_t bad = 0; bad < ALIKE; bad++) {
            assert_null(strstr(text, bad_tokens[bad]));
        }
        assert_null(strstr(text, stack.token));
        assert_null(strstr(text, "pass-word-of-the-worker"));
        free(text);
    }
    assert_true(read > 1000);
}

/* The worker with a password in its settings and a log of its own. */
static void start_worker_with_secrets(void)
{
    static const char *settings[3];
    static char log[STACK_PATH_MAX + 32];

    stack_stop_worker(&stack);
    stack_query(&stack, "ALTER ROLE incidents_fcgi PASSWORD 'pass-word-of-the-worker'");
    snprintf(passwords_settings, sizeof passwords_settings,
             "DATABASE_URL=%s&password=pass-word-of-the-worker", stack.worker_url);
    snprintf(log, sizeof log, "INCIDENTS_LOG=%s/a.log", stack.directory);
    settings[0] = passwords_settings;
    settings[1] = log;
    stack_start_worker(&stack, settings);
    make_bad_tokens();
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .start = start_worker_with_secrets};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(tokens_that_are_no_good_all_get_the_same_response),
        cmocka_unit_test(and_take_the_same_time),
        cmocka_unit_test(nobody_elses_functions_and_operators_run_with_our_rights),
        cmocka_unit_test(incidentctl_is_not_led_into_a_trap_either),
        cmocka_unit_test(every_function_with_the_owners_rights_says_where_it_looks),
        cmocka_unit_test(nothing_of_a_request_becomes_sql),
        cmocka_unit_test(secrets_are_not_in_the_process_list),
        cmocka_unit_test(there_is_no_core_dump_and_no_look_into_the_worker),
        cmocka_unit_test(the_sockets_and_files_are_for_whom_they_are_meant),
        cmocka_unit_test(no_log_has_a_secret),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
