/* What a client is told of a database that is there and will not serve: who must mend what, and never that an
 * argument is at fault which the request does not have. Plain CGI, so that each request finds out by itself,
 * and the worker behind nginx. */
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

static const char *const settings[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=2000", NULL};

#define SEND_AGAIN "; it is safe to send the request again"

static const char refuses_login[] = "the database refuses this service's login" SEND_AGAIN;
static const char lacks_right[] = "the role of this service lacks a privilege in the database" SEND_AGAIN;
static const char other_schema[] =
    "the database has a schema that does not fit this version of the service" SEND_AGAIN;
static const char cannot_store[] = "the database cannot write at present" SEND_AGAIN;
static const char unreachable[] = "the database cannot be reached in time" SEND_AGAIN;
static const char defect[] = "an internal error occurred; the log has it under the request id";
static const char no_metadata[] = "metadata holds a value that cannot be stored";

static void check(const struct http_response *response, int status, const char *error, const char *message)
{
    if (response->status != status || strcmp(http_response_text(response, "error"), error) != 0 ||
        strcmp(http_response_text(response, "message"), message) != 0) {
        fail_msg("%d %s, not \"%s\"", response->status, response->body, message);
    }
}

static void check_as_cgi(const char *url, const struct call *call, const char *message)
{
    struct stack other = stack;
    struct http_response response;

    snprintf(other.worker_url, sizeof other.worker_url, "%s", url);
    http_run_cgi(&other, call, settings, &response);
    check(&response, 503, "service_unavailable", message);
    http_response_free(&response);
}

/* That an upsert and readyz are both told so, as plain CGI over that connection. */
static void check_cgi(const char *url, const char *message)
{
    check_as_cgi(url,
                 &(struct call){.path = "incidents.upsert",
                                .body = "{\"reference_id\":\"u\",\"started_at\":\"2024-01-01\"}"},
                 message);
    check_as_cgi(url, &(struct call){.path = "readyz", .verb = "GET", .authorization = ""}, message);
}

static void response_to(const char *body, struct http_response *response)
{
    struct call call = {.path = "incidents.upsert", .body = body};

    http_through_nginx(&stack, &call, response);
}

static int status_of(const char *body)
{
    struct http_response response;

    response_to(body, &response);
    http_response_free(&response);
    return response.status;
}

/* That the worker says so, and what it says of it in its log; and that it serves again. */
static void check_worker(const char *message, const char *logged)
{
    struct http_response response;

    response_to("{\"reference_id\":\"w\",\"started_at\":\"2024-01-01\"}", &response);
    check(&response, 503, "service_unavailable", message);
    http_response_free(&response);
    free(await_in_file(stack.worker_log, logged));
}

static void check_recovery(void)
{
    int64_t deadline = clock_now_ms() + 60000;

    while (status_of("{\"reference_id\":\"w\",\"started_at\":\"2024-01-01\"}") != 200) {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(50);
    }
}

/* The server's URL with another user, and a password where there is one. */
static const char *url_of(const char *user, const char *password)
{
    static char url[STACK_PATH_MAX];

    snprintf(url, sizeof url, "host=%s dbname=incidents user=%s%s%s", stack.directory, user,
             password == NULL ? "" : " password=", password == NULL ? "" : password);
    return url;
}

static void a_refused_login_is_told(void **state)
{
    check_cgi(url_of("nobody_has_made_it", NULL), refuses_login);
    stack_query(&stack, "CREATE ROLE barred LOGIN PASSWORD 'right' IN ROLE incidents_worker");
    stack_query(&stack, "ALTER ROLE barred NOLOGIN");
    check_cgi(url_of("barred", NULL), refuses_login);
}

static bool is_let_in(const char *user)
{
    PGconn *connection = PQconnectdb(url_of(user, NULL));
    bool is_in = PQstatus(connection) == CONNECTION_OK;

    PQfinish(connection);
    return is_in;
}

/* The server asks one role for a password. */
static void a_wrong_password_is_told(void **state)
{
    char statement[STACK_PATH_MAX], *rules;
    const char *path;
    FILE *file;

    stack_query(&stack, "CREATE ROLE guarded LOGIN PASSWORD 'right' IN ROLE incidents_worker");
    snprintf(statement, sizeof statement, "%s/data/pg_hba.conf", stack.directory);
    path = statement;
    rules = read_whole_file(path);
    file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fprintf(file, "local all guarded scram-sha-256\n%s", rules) > 0);
    assert_int_equal(fclose(file), 0);
    free(rules);
    assert_int_equal(kill(stack.postgres, SIGHUP), 0);
    for (int64_t deadline = clock_now_ms() + 60000; is_let_in("guarded"); clock_sleep_ms(20)) {
        assert_true(clock_now_ms() < deadline);
    }
    check_cgi(url_of("guarded", "wrong"), refuses_login);
    check_cgi(url_of("guarded", NULL), refuses_login);
}

static void a_missing_right_is_told(void **state)
{
    static const char *const rights[][2] = {
        {"REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA intake FROM incidents_worker",
         "permission denied for function apply_batch"},
        {"REVOKE USAGE ON SCHEMA intake FROM incidents_worker", "permission denied for schema intake"},
    };

    for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++) {
        stack_query(&stack, rights[i][0]);
        check_cgi(stack.worker_url, lacks_right);
        check_worker(lacks_right, rights[i][1]);
        stack_query(&stack, "SELECT intake.grant_roles()");
        check_recovery();
    }
    stack_query(&stack, "REVOKE CONNECT ON DATABASE incidents FROM PUBLIC, incidents_worker");
    check_cgi(stack.worker_url, lacks_right);
    stack_query(&stack, "SELECT intake.grant_roles()");
    check_recovery();
}

static void an_older_schema_is_told(void **state)
{
    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version > 2");
    check_cgi(stack.worker_url, other_schema);
    check_worker(other_schema, "this database has schema version 2, the program needs");
    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version < 0");
    check_recovery();
}

/* After a logical replication, which does not carry sequences over. */
static void a_sequence_behind_the_history_is_told(void **state)
{
    assert_int_equal(stack_control(&stack, NULL, "history", "--on", NULL)->status, 0);
    assert_int_equal(status_of("{\"reference_id\":\"w\",\"started_at\":\"2024-01-02\"}"), 200);
    stack_query(&stack, "ALTER TABLE intake.incident_change ALTER change_id RESTART WITH 1");
    check_worker(cannot_store, "the sequence of the history's key is behind its table (incidentctl doctor)");
    stack_query(&stack, "ALTER TABLE intake.incident_change ALTER change_id RESTART WITH 1000");
    check_recovery();
    assert_int_equal(stack_control(&stack, NULL, "history", "--off", NULL)->status, 0);
}

/* Somebody's own index cannot hold a value. Which it was the SQLSTATE does not say: metadata may be to blame
 * where the request has some that is not empty, and nothing else. */
static void metadata_alone_is_blamed_for_what_the_database_refuses(void **state)
{
    static const struct {
        const char *extra;
        int status;
        const char *error;
        const char *message;
    } cases[] = {
        {"", 500, "internal_error", defect},
        {",\"metadata\":null", 500, "internal_error", defect},
        {",\"metadata\":{}", 500, "internal_error", defect},
        {",\"services\":[\"a\"]", 500, "internal_error", defect},
        {",\"metadata\":{\"a\":1}", 422, "metadata_invalid", no_metadata},
    };
    char body[8192], name[4000];

    for (size_t i = 0; i < sizeof name - 1; i++) {
        name[i] = (char)('a' + rand() % 26);
    }
    name[sizeof name - 1] = '\0';
    stack_query(&stack, "CREATE INDEX mine ON intake.incident (name)");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_response response;

        snprintf(body, sizeof body,
                 "{\"reference_id\":\"n\",\"started_at\":\"2024-01-01\",\"name\":\"%s\"%s}", name,
                 cases[i].extra);
        response_to(body, &response);
        check(&response, cases[i].status, cases[i].error, cases[i].message);
        http_response_free(&response);
    }
    stack_query(&stack, "DROP INDEX intake.mine");
    assert_int_equal(status_of(body), 200);
}

/* pgpool-II sends a SELECT to a standby where it believes that it writes nothing; a comment before it says
 * otherwise. */
static void statements_that_write_begin_with_a_comment(void **state)
{
    check_recovery();
    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who then sees its statements */
    assert_string_equal(stack_query(&stack,
                                    "SELECT count(*) > 0 AND bool_and(query LIKE '/* writes */ SELECT %') "
                                    "FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND query <> ''"),
                        "t"); /* a connection may be open that has asked nothing yet */
    stack_query(&stack, "REVOKE incidents_fcgi FROM incidents_owner");
}

/* How many statements of incidentctl's are in Postgres's log; all must begin so, too. */
static size_t count_commented(const char *log)
{
    static const char marked[] = "\nby:incidentctl:LOG:  ", commented[] = "execute <unnamed>: /* writes */ ";
    size_t count = 0;

    for (const char *line = log; (line = strstr(line, marked)) != NULL; count++) {
        line += sizeof marked - 1;
        if (strncmp(line, commented, sizeof commented - 1) != 0) {
            fail_msg("no comment stands before %.200s", line);
        }
    }
    return count;
}

static void control(const char *first, const char *second, const char *third, const char *fourth,
                    const char *fifth)
{
    const struct outcome *outcome = stack_control(&stack, "y\n", first, second, third, fourth, fifth, NULL);

    if (outcome->status != 0) {
        fail_msg("incidentctl %s ends with %d: %s", first, outcome->status, outcome->err);
    }
}

static void statements_of_incidentctl_that_write_begin_with_a_comment(void **state)
{
    char path[STACK_PATH_MAX], *log;

    stack_stop_postgres(&stack, SIGINT);
    stack_start_postgres(&stack, "-c fsync=off -c log_statement=all -c log_line_prefix=by:%a:");
    check_recovery();
    control("token", "create", "--label", "short-lived", NULL);
    control("token", "revoke", "short-lived", NULL, NULL);
    control("history", "--on", NULL, NULL, NULL);
    control("delete", "w", NULL, NULL, NULL);
    control("purge", "--before", "2100-01-01", "--yes", NULL);
    control("history", "--purge", "--before", "2100-01-01", "--yes");
    control("history", "--off", NULL, NULL, NULL);
    snprintf(path, sizeof path, "%s/postgres.log", stack.directory);
    log = read_whole_file(path);
    assert_true(count_commented(log) > 7);
    free(log);
    stack_stop_postgres(&stack, SIGINT);
    stack_start_postgres(&stack, "-c fsync=off");
    check_recovery();
}

static void a_stopped_database_is_told(void **state)
{
    stack_stop_postgres(&stack, SIGINT);
    check_cgi(stack.worker_url, unreachable);
    check_worker(unreachable, "unable to connect to the database");
    stack_start_postgres(&stack, "-c fsync=off");
    check_recovery();
}

/* Holds the one connection that the role may have, for about a second. */
static PGconn *hold_only_connection(void)
{
    PGconn *holder = PQconnectdb(url_of("single", NULL));

    assert_int_equal(PQstatus(holder), CONNECTION_OK);
    assert_int_equal(PQsendQuery(holder, "SELECT pg_sleep(1), pg_terminate_backend(pg_backend_pid())"), 1);
    return holder;
}

/* As on shared hosts, which allow few: what was made up for is no error. */
static void a_cgi_program_that_is_refused_a_connection_and_then_served_logs_no_error(void **state)
{
    enum { TRIES = 20 };
    static const char *const patient[] = {"INCIDENTS_REQUEST_TIMEOUT_MS=30000", NULL};
    struct call call = {.path = "incidents.upsert",
                        .body = "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\"}"};
    struct stack other = stack;
    size_t refused = 0;

    stack_query(&stack, "CREATE ROLE single LOGIN IN ROLE incidents_worker CONNECTION LIMIT 1");
    snprintf(other.worker_url, sizeof other.worker_url, "%s", url_of("single", NULL));
    for (int i = 0; i < TRIES && refused == 0; i++) { /* it may come too late to be refused */
        PGconn *holder = hold_only_connection();
        const struct outcome *outcome;
        struct http_response response;

        outcome = http_run_cgi(&other, &call, patient, &response);
        assert_int_equal(response.status, 200);
        assert_null(strstr(outcome->err, " error "));
        http_response_free(&response);
        PQfinish(holder);
        refused = stack_count_in_log(&stack, "too many connections for role \"single\"");
        assert_true(refused == 0 || strstr(outcome->err, "too many connections for role") != NULL);
    }
    assert_true(refused > 0);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .settings = settings};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_refused_login_is_told),
        cmocka_unit_test(a_wrong_password_is_told),
        cmocka_unit_test(a_missing_right_is_told),
        cmocka_unit_test(an_older_schema_is_told),
        cmocka_unit_test(a_sequence_behind_the_history_is_told),
        cmocka_unit_test(metadata_alone_is_blamed_for_what_the_database_refuses),
        cmocka_unit_test(statements_that_write_begin_with_a_comment),
        cmocka_unit_test(statements_of_incidentctl_that_write_begin_with_a_comment),
        cmocka_unit_test(a_cgi_program_that_is_refused_a_connection_and_then_served_logs_no_error),
        cmocka_unit_test(a_stopped_database_is_told),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
