/* The group roles: what each may do, and that those of one database get at no other. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "harness/fixture.h"

static struct stack stack;

static const char call[] = "SELECT intake.apply_batch(intake.schema_version(), '{}')";

static void url_of(char url[STACK_PATH_MAX], const char *database, const char *role)
{
    snprintf(url, STACK_PATH_MAX, "postgresql:///%s?host=%s&user=%s&options=-cclient_min_messages%%3Dwarning",
             database, stack.directory, role);
}

/* Runs a statement as that login role; its SQLSTATE, "00000" where it went well. */
static const char *sqlstate_in(const char *database, const char *role, const char *sql)
{
    static char sqlstate[6];
    char url[STACK_PATH_MAX];
    PGconn *connection;
    PGresult *result;
    const char *field;

    url_of(url, database, role);
    connection = PQconnectdb(url);
    if (PQstatus(connection) != CONNECTION_OK) {
        fail_msg("%s", PQerrorMessage(connection));
    }
    result = PQexec(connection, sql);
    field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(sqlstate, sizeof sqlstate, "%s", field == NULL ? "00000" : field);
    PQclear(result);
    PQfinish(connection);
    return sqlstate;
}

static const char *sqlstate_as(const char *role, const char *sql)
{
    return sqlstate_in("incidents", role, sql);
}

static void as_superuser(const char *statement)
{
    if (strcmp(sqlstate_as("postgres", statement), "00000") != 0) {
        fail_msg("%s", statement);
    }
}

/* incidentctl migrate, with those arguments, in another database of the same server. */
static const struct outcome *migrate_in(const char *database, const char *a, const char *b, const char *c,
                                        const char *d)
{
    char usual[STACK_PATH_MAX];
    const struct outcome *outcome;

    memcpy(usual, stack.owner_url, sizeof usual);
    url_of(stack.owner_url, database, "incidents_owner");
    outcome = stack_control(&stack, NULL, "migrate", a, b, c, d, NULL);
    memcpy(stack.owner_url, usual, sizeof usual);
    return outcome;
}

static void migrate(void)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "migrate", NULL);

    if (outcome->status != 0) {
        fail_msg("migrate: %s", outcome->err);
    }
}

static void the_worker_may_call_its_functions_and_nothing_else(void **state)
{
    static const char *const forbidden[] = {
        "SELECT * FROM intake.incident",
        "SELECT * FROM intake.api_token",
        "SELECT * FROM intake.incident_service",
        "SELECT * FROM intake.migration",
        "SELECT * FROM intake.group_role",
        "SELECT * FROM intake.incident_change",
        "SELECT * FROM reporting.incident_history",
        "SELECT intake.enable_history(true)",
        "SELECT intake.name_roles('w', NULL)",
        "SELECT intake.delete_incidents('{a}', '{b}')",
        "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) VALUES ('', '', 'x', '{upsert}')",
        "UPDATE intake.incident SET name = 'x'",
        "DELETE FROM intake.incident",
        "TRUNCATE intake.incident CASCADE",
        "CREATE TABLE intake.mine ()",
        "CREATE FUNCTION intake.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    };

    migrate();
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    assert_string_equal(sqlstate_as("w", "SELECT intake.schema_version()"), "00000");
    assert_string_equal(sqlstate_as("w", call), "00000");
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (strcmp(sqlstate_as("w", forbidden[i]), "42501") != 0) {
            fail_msg("the worker's role was not forbidden: %s", forbidden[i]);
        }
    }
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc "
                            "WHERE pronamespace IN ('intake'::regnamespace, 'reporting'::regnamespace) "
                            "AND has_function_privilege('w', oid, 'EXECUTE')"),
        "apply_batch schema_version");
}

static void the_reader_sees_the_reporting_views_alone(void **state)
{
    static const char *const forbidden[] = {"SELECT * FROM intake.incident",
                                            "SELECT * FROM intake.incident_service",
                                            "SELECT * FROM intake.incident_change",
                                            "SELECT * FROM intake.api_token",
                                            "SELECT intake.timestamp_text(now())",
                                            "SELECT reporting.refresh_snapshots()",
                                            "SELECT intake.apply_batch(intake.schema_version(), '{}')"};

    migrate();
    stack_query(&stack, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    stack_query(&stack, "CREATE VIEW reporting.later AS SELECT reference_id FROM intake.incident");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM reporting.later"), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM reporting.incident_history"), "00000");
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (strcmp(sqlstate_as("r", forbidden[i]), "42501") != 0) {
            fail_msg("the readers' role was not forbidden: %s", forbidden[i]);
        }
    }
}

static void run_all(const char *const *statements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        as_superuser(statements[i]);
    }
}

/* Takes from PUBLIC what guides to hardening do, and gives the owner by name what a migration needs. */
static void harden(void)
{
    static const char *const statements[] = {
        "ALTER DEFAULT PRIVILEGES FOR ROLE incidents_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE incidents_owner REVOKE USAGE ON TYPES FROM PUBLIC",
        "REVOKE ALL ON DATABASE incidents FROM PUBLIC",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "REVOKE USAGE ON LANGUAGE plpgsql, sql FROM PUBLIC",
        "GRANT USAGE ON LANGUAGE plpgsql, sql TO incidents_owner",
    };

    run_all(statements, sizeof statements / sizeof statements[0]);
}

static void soften(void)
{
    static const char *const statements[] = {
        "ALTER DEFAULT PRIVILEGES FOR ROLE incidents_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE incidents_owner GRANT USAGE ON TYPES TO PUBLIC",
        "GRANT CONNECT, TEMP ON DATABASE incidents TO PUBLIC",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
        "REVOKE USAGE ON LANGUAGE plpgsql, sql FROM incidents_owner",
        "GRANT USAGE ON LANGUAGE plpgsql, sql TO PUBLIC",
    };

    run_all(statements, sizeof statements / sizeof statements[0]);
}

static void every_view_responses(const char *reader)
{
    PGresult *views = stack_rows(&stack,
                                 "SELECT 'SELECT * FROM reporting.' || quote_ident(relname) FROM pg_class "
                                 "WHERE relnamespace = 'reporting'::regnamespace AND relkind IN ('v', 'm')",
                                 NULL);

    assert_true(PQntuples(views) > 20);
    for (int i = 0; i < PQntuples(views); i++) {
        const char *sqlstate = sqlstate_as(reader, PQgetvalue(views, i, 0));

        if (strcmp(sqlstate, "00000") != 0) {
            fail_msg("%s: %s", PQgetvalue(views, i, 0), sqlstate);
        }
    }
    PQclear(views);
}

static void a_hardened_server_takes_nothing_from_the_roles(void **state)
{
    harden();
    migrate();
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    stack_query(&stack, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    stack_create_token(&stack, "hardened", "upsert", stack.token);
    stack_query(&stack, "SELECT intake.enable_history(true)");
    stack_query(&stack,
                "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at, services) "
                "VALUES ('h', now(), now(), now(), '[[\"s\", null]]')");
    stack_query(&stack, "SELECT intake.delete_incidents('{h}', '{x}')"); /* a row of history */
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    stack_query(&stack, "SELECT reporting.refresh_snapshots()"); /* concurrently, now that there are some */
    assert_string_equal(sqlstate_as("w", call), "00000");
    assert_string_equal(sqlstate_as("w", "SELECT intake.apply_batch(intake.schema_version(), ARRAY["
                                         "ROW ('ping', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, "
                                         "NULL, NULL)::intake.operation])"),
                        "00000");
    assert_string_equal(sqlstate_as("r", "SELECT reporting.time_zone()"), "00000");
    every_view_responses("r");
    soften();
}

static void nor_does_one_that_is_hardened_later(void **state)
{
    migrate();
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    stack_query(&stack, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    harden();
    as_superuser("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA intake, reporting FROM PUBLIC");
    as_superuser("REVOKE ALL ON TYPE intake.operation, intake.incident_state FROM PUBLIC");
    assert_string_equal(sqlstate_as("w", call), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT FROM reporting.incident_history"), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT FROM reporting.time_to_resolve_by_day"), "00000");
    soften();
}

/* As on shared hosting: the owner may create no role, and the worker is the owner. */
static void one_role_may_serve_for_all(void **state)
{
    char worker_url[STACK_PATH_MAX];
    struct call upsert = {.path = "incidents.upsert",
                          .body = "{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\"}"};
    struct http_response response;

    as_superuser("ALTER ROLE incidents_owner NOCREATEROLE");
    migrate();
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM pg_roles WHERE rolname = 'incidents_worker'"), "0");
    stack_create_token(&stack, "one", "upsert", stack.token);
    memcpy(worker_url, stack.worker_url, sizeof worker_url);
    memcpy(stack.worker_url, stack.owner_url, sizeof worker_url);
    http_as_cgi(&stack, &upsert, &response);
    memcpy(stack.worker_url, worker_url, sizeof worker_url);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
}

static void a_group_that_is_made_later_gets_its_rights_at_the_next_run(void **state)
{
    as_superuser("ALTER ROLE incidents_owner NOCREATEROLE");
    migrate();
    as_superuser("CREATE ROLE incidents_worker");
    as_superuser("CREATE ROLE w LOGIN IN ROLE incidents_worker");
    assert_string_equal(sqlstate_as("w", call), "42501");
    migrate();
    assert_string_equal(sqlstate_as("w", call), "00000");
}

/* As after psql --file=roles.sql with a dump of PostgreSQL 15: the groups are a superuser's. From 16 on the
 * owner, CREATEROLE though it has, adds no worker before the statement of docs/operations.md, and does so
 * behind it. */
static void the_owner_adds_a_worker_where_a_superuser_made_the_groups(void **state)
{
    static const char grant[] =
        "GRANT incidents_worker, incidents_reader TO incidents_owner WITH ADMIN OPTION;";
    static const char add[] = "CREATE ROLE w LOGIN IN ROLE incidents_worker";
    char *page = read_whole_file("docs/operations.md");

    assert_non_null(strstr(page, grant));
    free(page);
    as_superuser("CREATE ROLE incidents_worker");
    as_superuser("CREATE ROLE incidents_reader");
    migrate();
    assert_string_equal(sqlstate_as("incidents_owner", add),
                        PQserverVersion(stack.owner) >= 160000 ? "42501" : "00000");
    as_superuser("DROP ROLE IF EXISTS w");
    as_superuser(grant);
    assert_string_equal(sqlstate_as("incidents_owner", add), "00000");
    assert_string_equal(sqlstate_as("w", call), "00000");
}

/* What is not the owner's is not the owner's to give. */
static void what_others_put_into_reporting_is_left_to_them(void **state)
{
    migrate();
    as_superuser("CREATE TABLE reporting.calendar (day date)");
    as_superuser("CREATE FUNCTION reporting.holiday() RETURNS integer LANGUAGE sql AS 'SELECT 1'");
    migrate();
    assert_int_equal(stack_control(&stack, NULL, "migrate", "--reader-role", "other_reader", NULL)->status,
                     0);
    assert_string_equal(stack_query(&stack, "SELECT has_table_privilege('other_reader', "
                                            "'reporting.calendar', 'SELECT')"),
                        "f");
}

static void each_database_of_a_server_has_group_roles_of_its_own(void **state)
{
    const struct outcome *outcome;

    migrate();
    as_superuser("CREATE DATABASE staging OWNER incidents_owner");

    /* The usual names are the first one's. */
    for (int is_dry = 0; is_dry < 2; is_dry++) {
        outcome = migrate_in("staging", is_dry ? "--dry-run" : NULL, NULL, NULL, NULL);
        assert_int_equal(outcome->status, 1);
        assert_non_null(strstr(outcome->err, "incidents_worker has rights in another database"));
        assert_non_null(strstr(outcome->err, "server, incidents;"));
        assert_non_null(strstr(outcome->err, "--worker-role NAME --reader-role NAME"));
    }
    assert_int_equal(migrate_in("staging", "--worker-role", "staging_worker", NULL, NULL)->status, 1);
    assert_string_equal(sqlstate_in("staging", "incidents_owner", "SELECT 'intake'::regnamespace"), "3F000");

    outcome = migrate_in("staging", "--worker-role", "staging_worker", "--reader-role", "staging_reader");
    assert_string_equal(outcome->err, "");
    assert_int_equal(outcome->status, 0);
    assert_int_equal(migrate_in("staging", NULL, NULL, NULL, NULL)->status, 0); /* which remembers */
    migrate();

    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    stack_query(&stack, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    stack_query(&stack, "CREATE ROLE staging_w LOGIN IN ROLE staging_worker");
    stack_query(&stack, "CREATE ROLE staging_r LOGIN IN ROLE staging_reader");
    assert_string_equal(sqlstate_in("incidents", "w", call), "00000");
    assert_string_equal(sqlstate_in("staging", "staging_w", call), "00000");
    assert_string_equal(sqlstate_in("staging", "w", call), "42501");
    assert_string_equal(sqlstate_in("incidents", "staging_w", call), "42501");
    assert_string_equal(sqlstate_in("incidents", "r", "SELECT FROM reporting.incidents"), "00000");
    assert_string_equal(sqlstate_in("staging", "staging_r", "SELECT FROM reporting.incidents"), "00000");
    assert_string_equal(sqlstate_in("staging", "r", "SELECT FROM reporting.incidents"), "42501");
    assert_string_equal(sqlstate_in("incidents", "staging_r", "SELECT FROM reporting.incidents"), "42501");
}

static void two_databases_share_group_roles_where_they_are_named(void **state)
{
    migrate();
    as_superuser("CREATE DATABASE shared OWNER incidents_owner");
    assert_int_equal(
        migrate_in("shared", "--worker-role", "incidents_worker", "--reader-role", "incidents_reader")
            ->status,
        0);
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    assert_string_equal(sqlstate_in("shared", "w", call), "00000");
}

/* The files as psql runs them, up to the first that fails; what that one said, "" where none did. */
static const char *run_with_psql(const char *database, const char *options)
{
    static const char script[] = "for file in migrations/0*.sql; do "
                                 "psql -qX -v ON_ERROR_STOP=1 -d \"$0\" -f \"$file\" || exit 1; done";
    char url[STACK_PATH_MAX];
    const char *const argv[] = {"/bin/sh", "-c", script, url, NULL};
    const char *const environment[] = {options, NULL};
    const struct outcome *outcome;

    /* Without options of its own, which would count before those of the environment. */
    snprintf(url, sizeof url, "postgresql:///%s?host=%s&user=incidents_owner", database, stack.directory);
    outcome = process_run(argv, environment, NULL, 0);
    assert_int_equal(outcome->status == 0, *outcome->err == '\0');
    return outcome->err;
}

static void psql_alone_takes_the_names_from_settings(void **state)
{
    assert_string_equal(run_with_psql("incidents", "PGOPTIONS="), "");
    as_superuser("CREATE DATABASE staging OWNER incidents_owner");
    assert_non_null(strstr(run_with_psql("staging", "PGOPTIONS="), "--worker-role NAME --reader-role NAME"));
    as_superuser("DROP DATABASE staging");
    as_superuser("CREATE DATABASE staging OWNER incidents_owner");
    assert_string_equal(run_with_psql("staging", "PGOPTIONS=-c incidents.worker_role=staging_worker "
                                                 "-c incidents.reader_role=staging_reader"),
                        "");
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE staging_worker");
    assert_string_equal(sqlstate_in("staging", "w", call), "00000");
    assert_string_equal(sqlstate_in("incidents", "w", call), "42501");
}

/* The old ones can be dropped, which Postgres refuses as long as a role has a right anywhere. */
static void other_names_move_the_rights(void **state)
{
    static const char odd[] = "Ops; \"quoted\" 'worker' %I";

    migrate();
    assert_int_equal(stack_control(&stack, NULL, "migrate", "--worker-role", odd, NULL)->status, 0);
    stack_query(&stack, "DROP ROLE incidents_worker");
    assert_int_equal(stack_control(&stack, NULL, "migrate", "--reader-role", "analysts", NULL)->status, 0);
    stack_query(&stack, "DROP ROLE incidents_reader");
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(role_name, '|' ORDER BY purpose) FROM intake.group_role"),
        "analysts|Ops; \"quoted\" 'worker' %I");
    migrate();
    stack_query(&stack, "CREATE ROLE w LOGIN IN ROLE \"Ops; \"\"quoted\"\" 'worker' %I\"");
    stack_query(&stack, "CREATE ROLE r LOGIN IN ROLE analysts");
    assert_string_equal(sqlstate_as("w", call), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT FROM reporting.incident_history"), "00000");

    /* They change places. */
    assert_int_equal(
        stack_control(&stack, NULL, "migrate", "--worker-role", "analysts", "--reader-role", odd, NULL)
            ->status,
        0);
    assert_string_equal(sqlstate_as("w", call), "42501");
    assert_string_equal(sqlstate_as("r", call), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT FROM reporting.incidents"), "42501");
    assert_string_equal(sqlstate_as("w", "SELECT FROM reporting.incident_history"), "00000");
    migrate();
    assert_int_equal(stack_control(&stack, NULL, "migrate", "--worker-role", "incidents_worker",
                                   "--reader-role", "incidents_reader", NULL)
                         ->status,
                     0);
    stack_query(&stack, "DROP ROLE analysts, \"Ops; \"\"quoted\"\" 'worker' %I\"");
}

static void names_that_cannot_be_a_group_are_refused(void **state)
{
    static const struct {
        const char *option, *name;
        int status;
    } cases[] = {
        {"--worker-role", "public", 2},
        {"--reader-role", "none", 2},
        {"--worker-role", "pg_monitor", 2},
        {"--worker-role", "", 2},
        {"--reader-role", "a234567890b234567890c234567890d234567890e234567890f234567890g234", 2},
        {"--worker-role", "incidents_owner", 1},  /* whose rights would be taken back one day */
        {"--worker-role", "incidents_reader", 1}, /* the readers' */
    };

    migrate();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome =
            stack_control(&stack, NULL, "migrate", cases[i].option, cases[i].name, NULL);

        if (outcome->status != cases[i].status || *outcome->err == '\0') {
            fail_msg("%s '%s': status %d", cases[i].option, cases[i].name, outcome->status);
        }
    }
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(role_name, ' ' ORDER BY purpose) FROM intake.group_role"),
        "incidents_reader incidents_worker");
    assert_int_equal(stack_control(&stack, NULL, "migrate", "--status", "--worker-role", "x", NULL)->status,
                     2);
}

/* Back to one empty database, an owner who may create roles, and nobody else. */
static void remove_schema_and_roles(void)
{
    as_superuser("DROP SCHEMA IF EXISTS intake, reporting CASCADE");
    as_superuser("DROP DATABASE IF EXISTS staging");
    as_superuser("DROP DATABASE IF EXISTS shared");
    as_superuser(
        "DO $$ DECLARE r text; BEGIN FOR r IN SELECT rolname FROM pg_roles "
        "WHERE rolname NOT IN ('postgres', 'incidents_owner') AND rolname NOT LIKE 'pg\\_%' LOOP "
        "EXECUTE format('DROP OWNED BY %1$I', r); EXECUTE format('DROP ROLE %1$I', r); END LOOP; END $$");
    as_superuser("ALTER ROLE incidents_owner CREATEROLE"); /* from 16 on it may not do so itself */
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_EMPTY, .clean = remove_schema_and_roles};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_worker_may_call_its_functions_and_nothing_else),
        cmocka_unit_test(the_reader_sees_the_reporting_views_alone),
        cmocka_unit_test(a_hardened_server_takes_nothing_from_the_roles),
        cmocka_unit_test(nor_does_one_that_is_hardened_later),
        cmocka_unit_test(one_role_may_serve_for_all),
        cmocka_unit_test(a_group_that_is_made_later_gets_its_rights_at_the_next_run),
        cmocka_unit_test(the_owner_adds_a_worker_where_a_superuser_made_the_groups),
        cmocka_unit_test(what_others_put_into_reporting_is_left_to_them),
        cmocka_unit_test(each_database_of_a_server_has_group_roles_of_its_own),
        cmocka_unit_test(two_databases_share_group_roles_where_they_are_named),
        cmocka_unit_test(psql_alone_takes_the_names_from_settings),
        cmocka_unit_test(other_names_move_the_rights),
        cmocka_unit_test(names_that_cannot_be_a_group_are_refused),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
