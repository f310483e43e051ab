/* incidentctl migrate, the roles, and a worker that meets another schema. */
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
#include "harness/http.h"

static struct site site;

static const char file[] = "migrations/0001_initial.sql";

static int migrate(void)
{
    return site_control(&site, NULL, "migrate", NULL)->status;
}

/* Runs the file as psql does; its exit status. */
static int run_with_psql(void)
{
    const char *const argv[] = {"/usr/bin/psql", "-qX", "-v", "ON_ERROR_STOP=1", "-f", file,
                                site.owner_url,  NULL};

    return process_run(argv, NULL, NULL, 0)->status;
}

static bool schema_exists(void)
{
    return strcmp(site_query(&site, "SELECT to_regnamespace('intake') IS NOT NULL"), "t") == 0;
}

static void status_and_dry_run_change_nothing(void **state)
{
    const struct outcome *outcome = site_control(&site, NULL, "migrate", "--status", NULL);

    (void)state;
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "pending"));
    outcome = site_control(&site, NULL, "migrate", "--dry-run", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "would apply migration 1 (initial)"));
    assert_false(schema_exists());
}

static void migrating_records_version_and_checksum_and_again_does_nothing(void **state)
{
    const struct outcome *outcome;
    struct json_object *rows, *value;

    (void)state;
    assert_int_equal(migrate(), 0);
    assert_string_equal(
        site_query(&site, "SELECT count(*) FROM intake.migration WHERE version = 1 AND name = 'initial' "
                          "AND length(checksum) = 64"),
        "1");
    outcome = site_control(&site, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "up to date"));
    outcome = site_control(&site, NULL, "migrate", "--status", "--json", NULL);
    rows = json_tokener_parse(outcome->out);
    assert_true(json_object_is_type(rows, json_type_array));
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "state", &value));
    assert_string_equal(json_object_get_string(value), "applied");
    json_object_put(rows);
}

static void several_at_once_migrate_once(void **state)
{
    char url[SITE_PATH_MAX + 16], log[128];
    const char *const argv[] = {site.control, "migrate", NULL};
    const char *const environment[] = {url, NULL};
    pid_t pids[8];

    (void)state;
    (void)snprintf(url, sizeof url, "DATABASE_URL=%s", site.owner_url);
    (void)snprintf(log, sizeof log, "%s/migrate.log", site.directory);
    for (size_t i = 0; i < 8; i++) {
        pids[i] = process_start(argv, environment, log);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(process_wait(pids[i], 30000), 0);
    }
    assert_string_equal(site_query(&site, "SELECT count(*) = max(version) FROM intake.migration"), "t");
}

static void psql_may_run_the_file_and_incidentctl_takes_note(void **state)
{
    (void)state;
    assert_int_equal(run_with_psql(), 0);
    assert_string_equal(site_query(&site, "SELECT checksum IS NULL FROM intake.migration"), "t");
    assert_int_not_equal(run_with_psql(), 0); /* a second time changes nothing */
    assert_int_equal(migrate(), 0);
    assert_string_equal(site_query(&site, "SELECT length(checksum) FROM intake.migration"), "64");
}

static void a_changed_or_unknown_migration_is_refused(void **state)
{
    const struct outcome *outcome;

    (void)state;
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "UPDATE intake.migration SET checksum = repeat('0', 64)");
    outcome = site_control(&site, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "migration 1 (initial)"));
    assert_non_null(strstr(outcome->err, "changed"));
    (void)site_query(&site, "UPDATE intake.migration SET checksum = NULL");
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "INSERT INTO intake.migration (version, name) VALUES (99, 'from the future')");
    outcome = site_control(&site, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "migration 99"));
    outcome = site_control(&site, NULL, "migrate", "--status", NULL);
    assert_non_null(strstr(outcome->out, "unknown"));
}

static void a_migration_that_fails_leaves_nothing_of_itself(void **state)
{
    const struct outcome *outcome;

    (void)state;
    (void)site_query(&site, "CREATE SCHEMA intake");
    outcome = site_control(&site, NULL, "migrate", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "nothing of it was kept"));
    assert_string_equal(
        site_query(&site, "SELECT count(*) FROM pg_class WHERE relnamespace = 'intake'::regnamespace"), "0");
    (void)site_query(&site, "DROP SCHEMA intake");

    assert_int_equal(migrate(), 0);
}

static void as_superuser(const char *statement)
{
    char url[SITE_PATH_MAX];
    PGconn *superuser;
    PGresult *result;

    (void)snprintf(url, sizeof url, "postgresql:///incidents?host=%s&user=postgres", site.directory);
    superuser = PQconnectdb(url);
    result = PQexec(superuser, statement);
    assert_string_equal(PQresultErrorMessage(result), "");
    PQclear(result);
    PQfinish(superuser);
}

/* Runs a statement as that login role; its SQLSTATE, "00000" where it went well. */
static const char *sqlstate_as(const char *role, const char *sql)
{
    static char sqlstate[6];
    char url[SITE_PATH_MAX];
    PGconn *connection;
    PGresult *result;
    const char *field;

    (void)snprintf(url, sizeof url, "postgresql:///incidents?host=%s&user=%s", site.directory, role);
    connection = PQconnectdb(url);
    result = PQexec(connection, sql);
    field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    (void)snprintf(sqlstate, sizeof sqlstate, "%s", field == NULL ? "00000" : field);
    PQclear(result);
    PQfinish(connection);
    return sqlstate;
}

static void the_worker_may_call_its_functions_and_nothing_else(void **state)
{
    static const char *const forbidden[] = {
        "SELECT * FROM intake.incident",
        "SELECT * FROM intake.api_token",
        "SELECT * FROM intake.incident_service",
        "SELECT * FROM intake.migration",
        "SELECT * FROM intake.incident_change",
        "SELECT * FROM intake.incident_image",
        "SELECT * FROM reporting.incident_history",
        "SELECT intake.keep_history(true)",
        "SELECT intake.delete_incidents('{a}', '{b}')",
        "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) VALUES ('', '', 'x', '{upsert}')",
        "UPDATE intake.incident SET name = 'x'",
        "DELETE FROM intake.incident",
        "TRUNCATE intake.incident CASCADE",
        "CREATE TABLE intake.mine ()",
        "CREATE FUNCTION intake.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    };

    (void)state;
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    assert_string_equal(sqlstate_as("w", "SELECT intake.schema_version()"), "00000");
    assert_string_equal(sqlstate_as("w", "SELECT intake.apply_batch(intake.schema_version(), '[]')"),
                        "00000");
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) {
        if (strcmp(sqlstate_as("w", forbidden[i]), "42501") != 0) {
            fail_msg("the worker's role was not forbidden: %s", forbidden[i]);
        }
    }
    assert_string_equal(
        site_query(
            &site,
            "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc "
            "WHERE pronamespace = 'intake'::regnamespace AND has_function_privilege('w', oid, 'EXECUTE')"),
        "apply_batch schema_version");
    (void)site_query(&site, "DROP ROLE w");
}

/* A session plans a statement once, and may do so while the tables are empty and known to be. */
static void check_plans(bool keeps_history)
{
    static const char fill[] =
        "SELECT count(*) FROM generate_series(1, 40) batch, LATERAL intake.apply_batch("
        "intake.schema_version(), (SELECT jsonb_agg(jsonb_build_object('op', 'upsert', 'token', repeat('ab', "
        "32), "
        "'reference_id', batch % 30 || '-' || i, 'started_at', '2024-01-01', 'name', 'n' || batch, "
        "'services', jsonb_build_array(jsonb_build_array('s' || batch, null)))) "
        "FROM generate_series(1, 64) i))";
    PGconn *session;
    PGresult *result;

    assert_int_equal(migrate(), 0);
    (void)site_query_for(&site, "SELECT intake.keep_history($1::boolean)", keeps_history ? "on" : "off");
    (void)site_query(&site, "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) "
                            "VALUES (decode(repeat('ab', 32), 'hex'), 'x', 'x', '{upsert}')");
    (void)site_query(&site, "VACUUM ANALYZE intake.incident");
    (void)site_query(&site, "VACUUM ANALYZE intake.incident_service");
    session = PQconnectdb(site.owner_url);
    result = PQexec(session, fill);
    assert_string_equal(PQresultErrorMessage(result), "");
    assert_string_equal(PQgetvalue(result, 0, 0), "2560");
    PQclear(result);
    PQfinish(session); /* which reports its counters */
    while (strcmp(site_query(&site, "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'incident'"),
                  "1920") != 0) {
        clock_sleep_ms(20);
    }
    /* A few entries for each item. Every batch that read the whole index would take 60,000. */
    assert_true(strtol(site_query(&site, "SELECT max(idx_tup_read) FROM pg_stat_user_indexes "
                                         "WHERE relname LIKE 'incident%'"),
                       NULL, 10) < 30000);
    assert_string_equal(site_query(&site, "SELECT count(*) FROM intake.incident_change"),
                        keeps_history ? "2560" : "0");
}

static void plans_that_were_made_on_empty_tables_hold_as_they_grow(void **state)
{
    (void)state;
    check_plans(false);
}

static void so_do_those_that_keep_history(void **state)
{
    (void)state;
    check_plans(true);
}

static void the_reader_sees_the_reporting_views_alone(void **state)
{
    (void)state;
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    (void)site_query(&site, "CREATE VIEW reporting.later AS SELECT reference_id FROM intake.incident");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM reporting.later"), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM reporting.incident_history"), "00000");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM intake.incident"), "42501");
    assert_string_equal(sqlstate_as("r", "SELECT * FROM intake.incident_change"), "42501");
    assert_string_equal(sqlstate_as("r", "SELECT intake.apply_batch(intake.schema_version(), '[]')"),
                        "42501");
    (void)site_query(&site, "DROP ROLE r");
}

/* Nothing in the database may name the groups any more. */
static const char drop_groups[] =
    "DO $$ DECLARE r text; BEGIN "
    "FOR r IN SELECT rolname FROM pg_roles WHERE rolname IN ('incidents_worker', 'incidents_reader') LOOP "
    "EXECUTE format('REVOKE CONNECT ON DATABASE incidents FROM %1$I', r); "
    "EXECUTE format('DROP ROLE %1$I', r); END LOOP; END $$";

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

    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        as_superuser(statements[i]);
    }
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

    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        as_superuser(statements[i]);
    }
}

static void a_hardened_server_takes_nothing_from_the_roles(void **state)
{
    PGresult *views;

    (void)state;
    harden();
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "CREATE ROLE w LOGIN IN ROLE incidents_worker");
    (void)site_query(&site, "CREATE ROLE r LOGIN IN ROLE incidents_reader");
    site_create_token(&site, "hardened", "upsert", site.token);
    (void)site_query(&site, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                            "VALUES ('h', now(), now(), now())");
    (void)site_query(&site, "SELECT reporting.refresh_snapshots()");
    (void)site_query(&site,
                     "SELECT reporting.refresh_snapshots()"); /* concurrently, now that there are some */
    assert_string_equal(sqlstate_as("w", "SELECT intake.apply_batch(intake.schema_version(), '[]')"),
                        "00000");
    assert_string_equal(sqlstate_as("r", "SELECT reporting.time_zone()"), "00000");
    views = site_rows(&site,
                      "SELECT 'SELECT * FROM reporting.' || quote_ident(relname) FROM pg_class "
                      "WHERE relnamespace = 'reporting'::regnamespace AND relkind IN ('v', 'm')",
                      NULL);
    assert_true(PQntuples(views) > 20);
    for (int i = 0; i < PQntuples(views); i++) {
        const char *sqlstate = sqlstate_as("r", PQgetvalue(views, i, 0));

        if (strcmp(sqlstate, "00000") != 0) {
            fail_msg("%s: %s", PQgetvalue(views, i, 0), sqlstate);
        }
    }
    PQclear(views);
    (void)site_query(&site, "DROP ROLE w, r");
    soften();
}

/* As after psql --file=roles.sql with a dump of PostgreSQL 15: the groups are a superuser's. From 16 on the
 * owner, CREATEROLE though it has, adds no worker before the statement of docs/operations.md, and does so
 * behind it. */
static void the_owner_adds_a_worker_where_a_superuser_made_the_groups(void **state)
{
    static const char grant[] =
        "GRANT incidents_worker, incidents_reader TO incidents_owner WITH ADMIN OPTION;";
    static const char add[] = "CREATE ROLE w LOGIN IN ROLE incidents_worker";
    bool from_16_on = PQserverVersion(site.owner) >= 160000;
    char *page = read_whole_file("docs/operations.md");

    (void)state;
    assert_non_null(strstr(page, grant));
    free(page);
    as_superuser(drop_groups);
    as_superuser("CREATE ROLE incidents_worker");
    as_superuser("CREATE ROLE incidents_reader");
    assert_int_equal(migrate(), 0);
    assert_string_equal(sqlstate_as("incidents_owner", add), from_16_on ? "42501" : "00000");
    as_superuser("DROP ROLE IF EXISTS w");
    as_superuser(grant);
    assert_string_equal(sqlstate_as("incidents_owner", add), "00000");
    assert_string_equal(sqlstate_as("w", "SELECT intake.schema_version()"), "00000");
    as_superuser("DROP ROLE w");
}

/* As on shared hosting: the owner may create no role, and the worker is the owner. */
static void one_role_may_serve_for_all(void **state)
{
    char worker_url[SITE_PATH_MAX];
    struct call call = {.path = "incidents.upsert",
                        .body = "{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\"}"};
    struct answer answer;

    (void)state;
    (void)site_query(&site, drop_groups);
    as_superuser("ALTER ROLE incidents_owner NOCREATEROLE"); /* from 16 on it may not do so itself */
    assert_int_equal(migrate(), 0);
    assert_string_equal(site_query(&site, "SELECT count(*) FROM pg_roles WHERE rolname = 'incidents_worker'"),
                        "0");
    site_create_token(&site, "one", "upsert", site.token);
    (void)snprintf(worker_url, sizeof worker_url, "%s", site.worker_url);
    (void)snprintf(site.worker_url, sizeof site.worker_url, "%s", site.owner_url);
    http_as_cgi(&site, &call, &answer);
    (void)snprintf(site.worker_url, sizeof site.worker_url, "%s", worker_url);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
}

/* What an administrator does by hand, too, leaves no service without its incident. */
static void services_go_with_their_incident(void **state)
{
    static const char identifiers[] =
        "SELECT coalesce(string_agg(identifier, ' ' ORDER BY identifier), '') FROM intake.incident_service";

    (void)state;
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                            "SELECT 'i' || n, now(), now(), now() FROM generate_series(1, 4) n");
    (void)site_query(&site, "INSERT INTO intake.incident_service (reference_id, identifier, position) "
                            "SELECT 'i' || n, 's' || n, 1 FROM generate_series(1, 4) n");
    (void)site_query(&site, "DELETE FROM intake.incident WHERE reference_id IN ('i1', 'i3')");
    assert_string_equal(site_query(&site, identifiers), "s2 s4");
    (void)site_query(&site, "DO $$ BEGIN UPDATE intake.incident SET reference_id = 'other'; "
                            "RAISE 'it was renamed'; EXCEPTION WHEN restrict_violation THEN END $$");
    (void)site_query(&site, "UPDATE intake.incident SET reference_id = reference_id");
    (void)site_query(&site, "DO $$ BEGIN TRUNCATE intake.incident; "
                            "RAISE 'it was emptied'; EXCEPTION WHEN restrict_violation THEN END $$");
    (void)site_query(&site, "TRUNCATE intake.incident, intake.incident_service");
    assert_string_equal(site_query(&site, identifiers), "");
}

static int status_of_upsert(void)
{
    struct call call = {.path = "incidents.upsert",
                        .body = "{\"reference_id\":\"v\",\"started_at\":\"2024-01-01\"}"};
    struct answer answer;
    char retry_after[16];
    int status;

    http_through_nginx(&site, &call, &answer);
    status = answer.status;
    assert_true(status == 200 ||
                answer_header(&answer, "Retry-After", retry_after, sizeof retry_after) != NULL);
    answer_free(&answer);
    return status;
}

static void a_worker_that_meets_another_schema_says_so_and_recovers(void **state)
{
    char *log;

    (void)state;
    (void)site_query(&site, "CREATE ROLE incidents_fcgi LOGIN");
    (void)snprintf(site.token, sizeof site.token, "no-token-yet-at-all");
    site_start_worker(&site, NULL);
    site_start_nginx(&site);
    assert_int_equal(status_of_upsert(), 503); /* older: there is no schema */
    assert_int_equal(migrate(), 0);
    (void)site_query(&site, "GRANT incidents_worker TO incidents_fcgi");
    site_create_token(&site, "schema", "upsert", site.token);
    assert_int_equal(status_of_upsert(), 200);

    /* An upgrade migrates first: the worker that still runs goes on. */
    (void)site_query(&site, "INSERT INTO intake.migration (version, name) VALUES (98, 'newer')");
    assert_int_equal(status_of_upsert(), 200);
    (void)site_query(&site, "DELETE FROM intake.migration WHERE version = 98");

    /* One that is newer than the schema must not. */
    (void)site_query(&site, "UPDATE intake.migration SET version = -version WHERE version > 1");
    assert_int_equal(status_of_upsert(), 503);
    (void)site_query(&site, "UPDATE intake.migration SET version = -version WHERE version < 0");
    assert_int_equal(status_of_upsert(), 200);

    log = read_whole_file(site.worker_log);
    assert_non_null(strstr(log, "schema"));
    assert_non_null(strstr(log, "this database has schema version 1, the program needs"));
    free(log);
    assert_int_equal(process_stop(site.nginx, SIGQUIT), 0);
    site.nginx = 0;
    site_stop_worker(&site);
}

/* All but the newest, as psql runs them. */
static void migrate_to_the_version_before(void)
{
    static const char script[] = "for file in $(ls migrations/*.sql | head -n -1); do "
                                 "psql -qX -v ON_ERROR_STOP=1 -d \"$0\" -f \"$file\" || exit 1; done";
    const char *const argv[] = {"/bin/sh", "-c", script, site.owner_url, NULL};

    assert_int_equal(process_run(argv, NULL, NULL, 0)->status, 0);
}

/* It waits for a row while the functions that it has still to call are replaced. */
static void a_batch_under_way_outlives_the_migration(void **state)
{
    static const char call[] =
        "SELECT outcome FROM intake.apply_batch(intake.schema_version(), (SELECT jsonb_build_array("
        "jsonb_build_object('op', 'upsert', 'token', encode(token_hash, 'hex'), 'reference_id', 'under way', "
        "'started_at', '2024-01-01', 'name', 'new', 'services', '[[\"a\",null]]'::jsonb)) "
        "FROM intake.api_token WHERE label = 'way'))";
    PGconn *holder, *caller;
    PGresult *result;

    (void)state;
    migrate_to_the_version_before();
    (void)site_query(&site, "INSERT INTO intake.api_token (token_hash, prefix, label, scopes) "
                            "VALUES (sha256('way'), 'way', 'way', ARRAY['upsert'])");
    (void)site_query(&site, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                            "VALUES ('under way', '2024-01-01', now(), now())");
    (void)site_query(&site, "ALTER FUNCTION intake.apply_batch SET lock_timeout = '20s'");
    holder = site_hold(&site, "SELECT FROM intake.incident FOR UPDATE");
    caller = PQconnectdb(site.owner_url);
    assert_int_equal(PQsendQuery(caller, call), 1);
    site_await_lock_wait(&site);
    assert_int_equal(migrate(), 0);
    site_let_go(holder);
    result = PQgetResult(caller);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQresultErrorMessage(result));
    }
    assert_string_equal(PQgetvalue(result, 0, 0), "updated");
    PQclear(result);
    PQfinish(caller);
    assert_string_equal(site_query(&site, "SELECT i.name || s.identifier FROM intake.incident i "
                                          "JOIN intake.incident_service s USING (reference_id)"),
                        "newa");
}

static int start(void **state)
{
    (void)state;
    site_start_empty(&site);
    return 0;
}

/* Back to an empty database with an owner who may create roles. */
static int empty(void **state)
{
    (void)state;
    (void)site_query(&site, "SET client_min_messages = warning");
    (void)site_query(&site, "DROP SCHEMA IF EXISTS intake, reporting CASCADE");
    as_superuser("ALTER ROLE incidents_owner CREATEROLE");
    return 0;
}

static int finish(void **state)
{
    (void)state;
    http_close();
    site_stop(&site);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup(test, empty)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(status_and_dry_run_change_nothing),
        CASE(migrating_records_version_and_checksum_and_again_does_nothing),
        CASE(several_at_once_migrate_once),
        CASE(psql_may_run_the_file_and_incidentctl_takes_note),
        CASE(a_batch_under_way_outlives_the_migration),
        CASE(a_changed_or_unknown_migration_is_refused),
        CASE(a_migration_that_fails_leaves_nothing_of_itself),
        CASE(the_worker_may_call_its_functions_and_nothing_else),
        CASE(plans_that_were_made_on_empty_tables_hold_as_they_grow),
        CASE(so_do_those_that_keep_history),
        CASE(services_go_with_their_incident),
        CASE(the_reader_sees_the_reporting_views_alone),
        CASE(a_hardened_server_takes_nothing_from_the_roles),
        CASE(a_worker_that_meets_another_schema_says_so_and_recovers),
        CASE(the_owner_adds_a_worker_where_a_superuser_made_the_groups),
        CASE(one_role_may_serve_for_all),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
