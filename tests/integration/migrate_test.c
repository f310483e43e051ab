/* incidentctl migrate, what it leaves, and a worker that meets another schema. Whom it lets do what:
 * roles_test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/fixture.h"

static struct stack stack;

static const char file[] = "migrations/0001_tables.sql";

static int migrate(void)
{
    return stack_control(&stack, NULL, "migrate", NULL)->status;
}

/* Runs the file as psql does; its exit status. */
static int run_with_psql(void)
{
    const char *const argv[] = {"/usr/bin/psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", file,
                                stack.owner_url, NULL};

    return process_run(argv, NULL, NULL, 0)->status;
}

static bool schema_exists(void)
{
    return strcmp(stack_query(&stack, "SELECT to_regnamespace('intake') IS NOT NULL"), "t") == 0;
}

static void status_and_dry_run_change_nothing(void **state)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "migrate", "--status", NULL);

    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "pending"));
    outcome = stack_control(&stack, NULL, "migrate", "--dry-run", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "would apply migration 1 (tables)"));
    assert_false(schema_exists());
}

static void migrating_records_version_and_checksum_and_again_does_nothing(void **state)
{
    const struct outcome *outcome;
    struct json_object *rows, *value;

    assert_int_equal(migrate(), 0);
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.migration WHERE version = 1 AND name = 'tables' "
                            "AND length(checksum) = 64"),
        "1");
    outcome = stack_control(&stack, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "up to date"));
    outcome = stack_control(&stack, NULL, "migrate", "--status", "--json", NULL);
    rows = json_tokener_parse(outcome->out);
    assert_true(json_object_is_type(rows, json_type_array));
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "state", &value));
    assert_string_equal(json_object_get_string(value), "applied");
    json_object_put(rows);
}

static void several_at_once_migrate_once(void **state)
{
    char url[STACK_PATH_MAX + 16], log[128];
    const char *const argv[] = {stack.control, "migrate", NULL};
    const char *const environment[] = {url, NULL};
    pid_t pids[8];

    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    snprintf(log, sizeof log, "%s/migrate.log", stack.directory);
    for (size_t i = 0; i < 8; i++) {
        pids[i] = process_start(argv, environment, log);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(process_wait(pids[i], 30000), 0);
    }
    assert_string_equal(stack_query(&stack, "SELECT count(*) = max(version) FROM intake.migration"), "t");
}

static void psql_may_run_the_file_and_incidentctl_takes_note(void **state)
{
    assert_int_equal(run_with_psql(), 0);
    assert_string_equal(stack_query(&stack, "SELECT checksum IS NULL FROM intake.migration"), "t");
    assert_int_not_equal(run_with_psql(), 0); /* a second time changes nothing */
    assert_int_equal(migrate(), 0);
    assert_string_equal(stack_query(&stack, "SELECT length(checksum) FROM intake.migration"), "64");
}

static void a_changed_or_unknown_migration_is_refused(void **state)
{
    const struct outcome *outcome;

    assert_int_equal(migrate(), 0);
    stack_query(&stack, "UPDATE intake.migration SET checksum = repeat('0', 64)");
    outcome = stack_control(&stack, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "migration 1 (tables)"));
    assert_non_null(strstr(outcome->err, "changed"));
    stack_query(&stack, "UPDATE intake.migration SET checksum = NULL");
    assert_int_equal(migrate(), 0);
    stack_query(&stack, "INSERT INTO intake.migration (version, name) VALUES (99, 'from the future')");
    outcome = stack_control(&stack, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "migration 99"));
    outcome = stack_control(&stack, NULL, "migrate", "--status", NULL);
    assert_non_null(strstr(outcome->out, "unknown"));
}

static void a_migration_that_fails_leaves_nothing_of_itself(void **state)
{
    const struct outcome *outcome;

    stack_query(&stack, "CREATE SCHEMA intake");
    outcome = stack_control(&stack, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "nothing of it was kept"));
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM pg_class WHERE relnamespace = 'intake'::regnamespace"),
        "0");
    stack_query(&stack, "DROP SCHEMA intake");

    assert_int_equal(migrate(), 0);
}

static void as_superuser(const char *statement)
{
    char url[STACK_PATH_MAX];
    PGconn *superuser;
    PGresult *result;

    snprintf(url, sizeof url, "postgresql:///incidents?host=%s&user=postgres", stack.directory);
    superuser = PQconnectdb(url);
    result = PQexec(superuser, statement);
    assert_string_equal(PQresultErrorMessage(result), "");
    PQclear(result);
    PQfinish(superuser);
}

/* A session plans a statement once, and may do so while the tables are empty and known to be. */
static void check_plans(bool keeps_history)
{
    static const char fill[] =
        "SELECT count(*) FROM generate_series(1, 40) batch, LATERAL (SELECT unnest(b.outcomes) FROM "
        "intake.apply_batch(intake.schema_version(), (SELECT array_agg(ROW ('upsert', decode(repeat('ab', "
        "32), "
        "'hex'), 'upsert', 2 + 16, '2024-01-01', NULL, batch % 30 || '-' || i, 'n' || batch, NULL, NULL, "
        "jsonb_build_array(jsonb_build_array('s' || batch, null)), NULL)::intake.operation) "
        "FROM generate_series(1, 64) i)) b) outcomes";
    PGconn *session;
    PGresult *result;

    assert_int_equal(migrate(), 0);
    stack_query_for(&stack, "SELECT intake.enable_history($1::boolean)", keeps_history ? "on" : "off");
    stack_query(&stack, "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) "
                        "VALUES (decode(repeat('ab', 32), 'hex'), 'x', 'x', '{upsert}')");
    stack_query(&stack, "VACUUM ANALYZE intake.incident");
    session = PQconnectdb(stack.owner_url);
    result = PQexec(session, fill);
    assert_string_equal(PQresultErrorMessage(result), "");
    assert_string_equal(PQgetvalue(result, 0, 0), "2560");
    PQclear(result);
    PQfinish(session); /* which reports its counters */
    while (strcmp(stack_query(&stack, "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'incident'"),
                  "1920") != 0) {
        clock_sleep_ms(20);
    }
    /* A few entries for each item. Every batch that read the whole index would take 60,000. */
    assert_true(strtol(stack_query(&stack, "SELECT max(idx_tup_read) FROM pg_stat_user_indexes "
                                           "WHERE relname LIKE 'incident%'"),
                       NULL, 10) < 30000);
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident_change"),
                        keeps_history ? "2560" : "0");
}

static void plans_that_were_made_on_empty_tables_hold_as_they_grow(void **state)
{
    check_plans(false);
}

static void so_do_those_that_keep_history(void **state)
{
    check_plans(true);
}

static int status_of_upsert(void)
{
    struct call call = {.path = "incidents.upsert",
                        .body = "{\"reference_id\":\"v\",\"started_at\":\"2024-01-01\"}"};
    struct http_response response;
    char retry_after[16];
    int status;

    http_through_nginx(&stack, &call, &response);
    status = response.status;
    assert_true(status == 200 ||
                http_response_header(&response, "Retry-After", retry_after, sizeof retry_after) != NULL);
    http_response_free(&response);
    return status;
}

static void a_worker_that_meets_another_schema_says_so_and_recovers(void **state)
{
    stack_query(&stack, "CREATE ROLE incidents_fcgi LOGIN");
    snprintf(stack.token, sizeof stack.token, "no-token-yet-at-all");
    stack_start_worker(&stack, NULL);
    stack_start_nginx(&stack);
    assert_int_equal(status_of_upsert(), 503); /* older: there is no schema */
    assert_int_equal(migrate(), 0);
    stack_query(&stack, "GRANT incidents_worker TO incidents_fcgi");
    stack_create_token(&stack, "schema", "upsert", stack.token);
    assert_int_equal(status_of_upsert(), 200);

    /* An upgrade migrates first: the worker that still runs goes on. */
    stack_query(&stack, "INSERT INTO intake.migration (version, name) VALUES (98, 'newer')");
    assert_int_equal(status_of_upsert(), 200);
    stack_query(&stack, "DELETE FROM intake.migration WHERE version = 98");

    /* One that is newer than the schema must not. */
    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version > 1");
    assert_int_equal(status_of_upsert(), 503);
    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version < 0");
    assert_int_equal(status_of_upsert(), 200);

    free(await_in_file(stack.worker_log, "this database has schema version 1, the program needs"));
    assert_int_equal(process_stop(stack.nginx, SIGQUIT), 0);
    stack.nginx = 0;
    stack_stop_worker(&stack);
}

/* It waits for a row while the functions that it has still to call are replaced, as a migration does. */
static void a_batch_under_way_outlives_a_migration(void **state)
{
    static const char call[] =
        "SELECT outcomes[1] FROM intake.apply_batch(intake.schema_version(), (SELECT ARRAY[ROW ('upsert', "
        "token_hash, 'upsert', 2 + 16, '2024-01-01', NULL, 'under way', 'new', NULL, NULL, '[[\"a\", "
        "null]]', "
        "NULL)::intake.operation] FROM intake.api_token WHERE label = 'way'))";
    static const char migration[] =
        "DO $$ DECLARE f regprocedure; BEGIN "
        "FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = 'intake'::regnamespace LOOP "
        "EXECUTE pg_get_functiondef(f); END LOOP; "
        "INSERT INTO intake.migration (version, name) SELECT max(version) + 1, 'next' FROM intake.migration; "
        "PERFORM intake.grant_roles(); END $$";
    PGconn *holder, *caller;
    PGresult *result;

    assert_int_equal(migrate(), 0);
    stack_query(&stack, "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) "
                        "VALUES (sha256('way'), 'way', 'way', ARRAY['upsert'])");
    stack_query(&stack, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                        "VALUES ('under way', '2024-01-01', now(), now())");
    stack_query(&stack, "SELECT intake.enable_history(true)"); /* which calls more functions */
    stack_query(&stack, "ALTER FUNCTION intake.apply_batch SET lock_timeout = '20s'");
    holder = stack_hold(&stack, "SELECT FROM intake.incident FOR UPDATE");
    caller = PQconnectdb(stack.owner_url);
    assert_int_equal(PQsendQuery(caller, call), 1);
    stack_await_lock_wait(&stack);
    stack_query(&stack, migration);
    stack_let_go(holder);
    result = PQgetResult(caller);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQresultErrorMessage(result));
    }
    assert_string_equal(PQgetvalue(result, 0, 0), "updated");
    PQclear(result);
    PQfinish(caller);
    assert_string_equal(stack_query(&stack, "SELECT i.name || s.identifier FROM intake.incident i "
                                            "JOIN intake.incident_service s USING (reference_id)"),
                        "newa");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident_change"), "1");
}

static void run_script(const char *path)
{
    const char *const argv[] = {"/usr/bin/psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", path,
                                stack.owner_url, NULL};
    const struct outcome *outcome = process_run(argv, NULL, NULL, 0);

    if (outcome->status != 0) {
        fail_msg("%s: %s", path, outcome->err);
    }
}

/* How its incidents move: move_test. */
static void a_database_of_version_0_1_is_refused(void **state)
{
    static const char *const arguments[] = {NULL, "--status", "--dry-run"};

    run_script("tests/cases/version_0_1.sql");
    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        const struct outcome *outcome = stack_control(&stack, NULL, "migrate", arguments[i], NULL);

        assert_int_equal(outcome->status, 1);
        assert_non_null(strstr(outcome->err, "made by version 0.1"));
        assert_non_null(strstr(outcome->err, "docs/operations.md, \"Moving from 0.1\""));
        assert_string_equal(outcome->out, "");
    }
    assert_string_equal(stack_query(&stack, "SELECT max(version) FROM intake.migration"), "9");
}

/* Back to an empty database with an owner who may create roles. */
static void remove_schema(void)
{
    stack_query(&stack, "SET client_min_messages = warning");
    stack_query(&stack, "DROP SCHEMA IF EXISTS intake, reporting CASCADE");
    as_superuser("ALTER ROLE incidents_owner CREATEROLE");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_EMPTY, .clean = remove_schema};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(status_and_dry_run_change_nothing),
        cmocka_unit_test(migrating_records_version_and_checksum_and_again_does_nothing),
        cmocka_unit_test(several_at_once_migrate_once),
        cmocka_unit_test(psql_may_run_the_file_and_incidentctl_takes_note),
        cmocka_unit_test(a_batch_under_way_outlives_a_migration),
        cmocka_unit_test(a_changed_or_unknown_migration_is_refused),
        cmocka_unit_test(a_migration_that_fails_leaves_nothing_of_itself),
        cmocka_unit_test(plans_that_were_made_on_empty_tables_hold_as_they_grow),
        cmocka_unit_test(so_do_those_that_keep_history),
        cmocka_unit_test(a_database_of_version_0_1_is_refused),
        cmocka_unit_test(a_worker_that_meets_another_schema_says_so_and_recovers),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
