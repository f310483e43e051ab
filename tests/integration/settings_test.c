/* The settings: where they may stand, and that a wrong one is an error that names it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fixture.h"

static struct stack stack;

static const struct outcome *check_with(const char *first, const char *second)
{
    const char *const argv[] = {stack.program, "--check", NULL};
    const char *const environment[] = {first, second, NULL};

    return process_run_bare(argv, environment, NULL, 0);
}

/* Writes the settings file; the setting that names it. */
static const char *write_file(const char *text)
{
    static char setting[256];
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/settings", stack.directory);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    snprintf(setting, sizeof setting, "INCIDENTS_SETTINGS=%s", path);
    return setting;
}

static void a_wrong_setting_is_named(void **state)
{
    static const char *const wrong[] = {
        "INCIDENTS_BODY_LIMIT=1023",
        "INCIDENTS_BODY_LIMIT=1m",
        "INCIDENTS_BODY_TIMEOUT_MS=99",
        "INCIDENTS_REQUEST_TIMEOUT_MS=-5",
        "INCIDENTS_REQUEST_TIMEOUT_MS= 5000",
        "INCIDENTS_PROCESSES=0",
        "INCIDENTS_PROCESSES=65",
        "INCIDENTS_PROCESSES=99999999999999999999",
        "INCIDENTS_DB_POOL_SIZE=two",
        "INCIDENTS_BATCH_MAX=1001",
        "INCIDENTS_QUEUE_MAX=0x10",
        "INCIDENTS_DB_POOL_SIZ=4",
        "INCIDENTS_CONNECTIONS=4",
        "INCIDENTS_DEADLINE_MS=5000",
        "INCIDENTS_THREADS=2",
        "INCIDENTS_LOG=log",
        "INCIDENTS_LOG_FORMAT=xml",
        "INCIDENTS_METRICS_TOKEN=short",
        "INCIDENTS_METRICS_TOKEN=with a space in it",
        "DATABASE_URL=postgresql://[",
        "INCIDENTS_SETTINGS=/nonexistent/settings",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const struct outcome *outcome = check_with(wrong[i], NULL);
        char name[64];

        snprintf(name, sizeof name, "%.*s", (int)strcspn(wrong[i], "="), wrong[i]);
        if (outcome->status != 1 || strstr(outcome->err, name) == NULL) {
            fail_msg("%s: status %d, %s", wrong[i], outcome->status, outcome->err);
        }
    }
}

static void a_wrong_line_of_the_file_is_named(void **state)
{
    static const struct {
        const char *text;
        const char *names;
    } cases[] = {
        {"# fine\n\nINCIDENTS_DB_POOL_SIZE=4\nnonsense\n", "line 4: it is not of the form NAME=value"},
        {"INCIDENTS_COLOUR=red\n", "line 1: INCIDENTS_COLOUR is not a setting\n"},
        {"INCIDENTS_DB_POOL_SIZ=4\n",
         "INCIDENTS_DB_POOL_SIZ is not a setting; did you mean INCIDENTS_DB_POOL_SIZE?\n"},
        {"INCIDENT_DB_POOL_SIZE=4\n",
         "INCIDENT_DB_POOL_SIZE is not a setting; did you mean INCIDENTS_DB_POOL_SIZE?\n"},
        {"DB_POOL_SIZE=4\n", "DB_POOL_SIZE is not a setting; did you mean INCIDENTS_DB_POOL_SIZE?\n"},
        {"\nDATABASE_URI=x\n", "line 2: DATABASE_URI is not a setting; did you mean DATABASE_URL?\n"},
        {"PGHOTS=/tmp\n", "PGHOTS is not a setting; did you mean PGHOST?\n"},
        {"INCIDENTS_CGI_PERSIST_MS=60000\n", "line 1: INCIDENTS_CGI_PERSIST_MS is no longer a setting: plain "
                                             "CGI serves each request by itself; remove it\n"},
        {"\nINCIDENTS_THREADS=2\n",
         "line 2: INCIDENTS_THREADS is no longer a setting: a worker is one thread, and "
         "INCIDENTS_PROCESSES says how many workers there are\n"},
        {"\nINCIDENTS_CONNECTIONS=2\n", "line 2: INCIDENTS_CONNECTIONS is no longer a setting: it is called "
                                        "INCIDENTS_DB_POOL_SIZE now\n"},
        {"INCIDENTS_DEADLINE_MS=8000\n", "line 1: INCIDENTS_DEADLINE_MS is no longer a setting: it is called "
                                         "INCIDENTS_REQUEST_TIMEOUT_MS now\n"},
        {"PATH=/tmp\n", "line 1: PATH is not a setting\n"},
        {"incidents_db_pool_size=4\n",
         "line 1: incidents_db_pool_size is not a setting; did you mean INCIDENTS_DB_POOL_SIZE?\n"},
        {"export DATABASE_URL=x\n",
         "line 1: what stands before = is not the name of a setting; there must be no space"},
        {"INCIDENTS_DB_POOL_SIZE=2\nINCIDENTS_DB_POOL_SIZE=4\n",
         "line 2: INCIDENTS_DB_POOL_SIZE stands in line 1 already"},
        {"#\nINCIDENTS_DB_POOL_SIZE=many\n", "line 2: INCIDENTS_DB_POOL_SIZE must be a whole number"},
        {"\nINCIDENTS_LOG_FORMAT=xml\n", "line 2: INCIDENTS_LOG_FORMAT must be text or json"},
        {"\nDATABASE_URL=postgresql://[\n", "line 2: DATABASE_URL is not a PostgreSQL"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *setting = write_file(cases[i].text);
        const struct outcome *outcome = check_with(setting, NULL);

        if (outcome->status != 1 || strstr(outcome->err, cases[i].names) == NULL ||
            strstr(outcome->err, strchr(setting, '=') + 1) == NULL) {
            fail_msg("case %zu: status %d, %s", i, outcome->status, outcome->err);
        }
    }
}

/* What every option of libpq is called in the environment may stand in the file, whatever libpq's version. */
static void every_variable_of_libpq_may_stand_in_the_file(void **state)
{
    static const char *const others[] = {"PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ", "PGDATESTYLE"};
    PQconninfoOption *options = PQconndefaults();
    char text[8192] = "";
    size_t count = 0;
    const struct outcome *outcome;

    assert_non_null(options);
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->envvar != NULL) {
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s=\n", option->envvar);
            count++;
        }
    }
    PQconninfoFree(options);
    assert_true(count > 10);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s=\n", others[i]);
    }
    snprintf(text + strlen(text), sizeof text - strlen(text), "INCIDENTS_REQUEST_TIMEOUT_MS=200\n");
    outcome = check_with(write_file(text), NULL);
    assert_null(strstr(outcome->err, "line "));
    assert_non_null(strstr(outcome->out, "INCIDENTS_REQUEST_TIMEOUT_MS=200"));
}

/* The environment's names are named too, with what was meant, or what has become of them. */
static void a_misspelt_name_in_the_environment_is_named(void **state)
{
    assert_non_null(
        strstr(check_with("INCIDENTS_REQUEST_TIMEOUT=5000", NULL)->err,
               "INCIDENTS_REQUEST_TIMEOUT is not a setting; did you mean INCIDENTS_REQUEST_TIMEOUT_MS?"));
    assert_non_null(
        strstr(check_with("INCIDENTS_FLAVOUR=5000", NULL)->err, "INCIDENTS_FLAVOUR is not a setting\n"));
    assert_non_null(strstr(check_with("INCIDENTS_CGI_PERSIST_MS=0", NULL)->err,
                           "INCIDENTS_CGI_PERSIST_MS is no longer a setting: plain CGI"));
    assert_non_null(
        strstr(check_with("INCIDENTS_THREADS=2", NULL)->err,
               "INCIDENTS_THREADS is no longer a setting: a worker is one thread, and INCIDENTS_PROCESSES"));
    assert_non_null(
        strstr(check_with("INCIDENTS_CONNECTIONS=2", NULL)->err,
               "INCIDENTS_CONNECTIONS is no longer a setting: it is called INCIDENTS_DB_POOL_SIZE now\n"));
    assert_non_null(strstr(
        check_with("INCIDENTS_DEADLINE_MS=8000", NULL)->err,
        "INCIDENTS_DEADLINE_MS is no longer a setting: it is called INCIDENTS_REQUEST_TIMEOUT_MS now\n"));
}

static void check_shows_the_settings_and_whether_the_database_is_ready(void **state)
{
    char text[1024];
    const char *end;
    const struct outcome *outcome;

    snprintf(text, sizeof text,
             "# a comment\r\nPGHOST='%s'\r\nPGDATABASE=\"incidents\"\nPGUSER=incidents_fcgi\n"
             "INCIDENTS_DB_POOL_SIZE=7\nINCIDENTS_BATCH_MAX=5",
             stack.directory);
    outcome = check_with(write_file(text), "INCIDENTS_BATCH_MAX=6"); /* the environment wins */
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "INCIDENTS_DB_POOL_SIZE=7"));
    assert_non_null(strstr(outcome->out, "INCIDENTS_BATCH_MAX=6"));
    assert_non_null(strstr(outcome->out, "database: ready"));

    outcome = check_with("DATABASE_URL=postgresql://u:s3cret@/x?host=/nonexistent",
                         "INCIDENTS_REQUEST_TIMEOUT_MS=200");
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->out, "database: NOT ready: unable to connect to the database: "));
    end = strstr(outcome->out, "No such file or directory"); /* libpq says more in a second line */
    assert_non_null(end);
    assert_string_equal(strchr(end, '\n'), "\n");
    assert_null(strstr(outcome->out, "s3cret"));
    assert_null(strstr(outcome->err, "s3cret"));
}

static void a_service_file_of_libpq_serves_too(void **state)
{
    char path[128], text[256], service_file[160];
    FILE *file;

    snprintf(path, sizeof path, "%s/services", stack.directory);
    snprintf(text, sizeof text, "[mine]\nhost=%s\ndbname=incidents\nuser=incidents_fcgi\n", stack.directory);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    snprintf(service_file, sizeof service_file, "PGSERVICEFILE=%s", path);
    assert_int_equal(check_with(service_file, "PGSERVICE=mine")->status, 0);
}

static void a_cgi_program_with_a_wrong_setting_responds_500_and_logs_its_name(void **state)
{
    const char *const argv[] = {stack.program, NULL};
    static const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
                                              "PATH_INFO=/healthz", "INCIDENTS_DB_POOL_SIZE=none", NULL};
    const struct outcome *outcome = process_run_bare(argv, environment, NULL, 0);

    assert_int_equal(strncmp(outcome->out, "Status: 500 ", 12), 0);
    assert_non_null(strstr(outcome->out, "\"error\":\"internal_error\""));
    assert_null(strstr(outcome->out, "INCIDENTS_DB_POOL_SIZE"));
    assert_non_null(strstr(outcome->err, "INCIDENTS_DB_POOL_SIZE"));
}

/* RFC 3875 section 4.4: the words of a query string without '=' arrive as arguments. */
static void a_query_string_cannot_pass_arguments(void **state)
{
    static const char *const words[][3] = {{"--check", NULL, NULL},
                                           {"--version", NULL, NULL},
                                           {"--help", NULL, NULL},
                                           {"token", "create", NULL}};
    static const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
                                              "PATH_INFO=/healthz", NULL};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        const char *const argv[] = {stack.program, words[i][0], words[i][1], NULL};
        const struct outcome *outcome = process_run_bare(argv, environment, NULL, 0);

        assert_int_equal(outcome->status, 0);
        assert_int_equal(strncmp(outcome->out, "Status: 200 ", 12), 0);
        assert_non_null(strstr(outcome->out, "\r\n\r\n{\"ok\":true}"));
    }
}

static void the_method_is_the_last_segment_of_path_info_or_script_name(void **state)
{
    static const struct {
        const char *path_info;
        const char *script_name;
    } cases[] = {{"PATH_INFO=/healthz", "SCRIPT_NAME=/cgi-bin/incidents.fcgi"},
                 {"PATH_INFO=/deep/mount/healthz", "SCRIPT_NAME=/x"},
                 {"PATH_INFO=", "SCRIPT_NAME=/api/healthz"},
                 {"UNRELATED=1", "SCRIPT_NAME=/healthz"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const argv[] = {stack.program, NULL};
        const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
                                           cases[i].path_info, cases[i].script_name, NULL};

        assert_int_equal(strncmp(process_run_bare(argv, environment, NULL, 0)->out, "Status: 200 ", 12), 0);
    }
}

static void authorization_is_found_where_apache_moves_it(void **state)
{
    static const char *const names[] = {"HTTP_AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION",
                                        "REDIRECT_REDIRECT_HTTP_AUTHORIZATION", "HTTP_X_AUTHORIZATION"};
    static const char body[] = "{\"reference_id\":\"moved\"}";

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char authorization[256], url[STACK_PATH_MAX + 16];
        const char *const argv[] = {stack.program, NULL};
        const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1",
                                           "REQUEST_METHOD=POST",
                                           "PATH_INFO=/incidents.delete",
                                           "CONTENT_LENGTH=24",
                                           authorization,
                                           url,
                                           NULL};

        snprintf(authorization, sizeof authorization, "%s=Bearer %s", names[i], stack.token);
        snprintf(url, sizeof url, "DATABASE_URL=%s", stack.worker_url);
        assert_int_equal(strncmp(process_run_bare(argv, environment, body, strlen(body))->out,
                                 i < 3 ? "Status: 200 " : "Status: 401 ", 12),
                         0);
    }
}

/* Has the body sent as plain CGI with that CONTENT_LENGTH. */
static void send_as_cgi(const char *body, const char *length, const char *status)
{
    char authorization[256], url[STACK_PATH_MAX + 16];
    const char *const argv[] = {stack.program, NULL};
    const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1",
                                       "REQUEST_METHOD=POST",
                                       "PATH_INFO=/incidents.upsert",
                                       length,
                                       authorization,
                                       url,
                                       NULL};
    const struct outcome *outcome;

    snprintf(authorization, sizeof authorization, "HTTP_AUTHORIZATION=Bearer %s", stack.token);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.worker_url);
    outcome = process_run_bare(argv, environment, body, strlen(body));
    if (strncmp(outcome->out, status, strlen(status)) != 0) {
        fail_msg("%s is not answered %s but %s", length, status, outcome->out);
    }
}

static void a_body_that_is_shorter_than_its_length_is_not_processed(void **state)
{
    static const char body[] = "{\"reference_id\":\"cut\",\"started_at\":\"2024-01-01\"}";
    static const char *const lengths[] = {"CONTENT_LENGTH=1000", "CONTENT_LENGTH=-2", "CONTENT_LENGTH=4x",
                                          "CONTENT_LENGTH=99999999999999999999"};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        send_as_cgi(body, lengths[i], "Status: 422 ");
    }
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = 'cut'"), "0");
}

static void a_body_without_a_length_ends_with_the_input(void **state)
{
    static const char body[] = "{\"reference_id\":\"unmeasured\",\"started_at\":\"2024-01-01\"}";
    static const char *const lengths[] = {"NO_LENGTH=", "CONTENT_LENGTH=", "CONTENT_LENGTH=-1"};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        send_as_cgi(body, lengths[i], "Status: 200 ");
    }
}

/* The response must come while the input is open, as nothing promises that it ever ends: `<>` makes the
 * program its own writer. The limit is generous, and less than the program waits for its input. */
static void expect_response_with_open_input(const char *verb, const char *length, const char *setting,
                                            const char *status)
{
    char method[32], fifo[STACK_PATH_MAX];
    const char *const argv[] = {"/usr/bin/timeout",     "40",          "/bin/sh", "-c",
                                "exec \"$0\" <>\"$1\"", stack.program, fifo,      NULL};
    const char *const environment[] = {
        "GATEWAY_INTERFACE=CGI/1.1", method, "PATH_INFO=/healthz", length, setting, NULL};
    const struct outcome *outcome;

    snprintf(method, sizeof method, "REQUEST_METHOD=%s", verb);
    snprintf(fifo, sizeof fifo, "%s/open-input", stack.directory);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    outcome = process_run_bare(argv, environment, NULL, 0);
    unlink(fifo);
    if (strncmp(outcome->out, status, strlen(status)) != 0) {
        fail_msg("%s with %s is not answered %s but %s (%d)", verb, length, status, outcome->out,
                 outcome->status);
    }
}

static void a_get_without_a_length_does_not_wait_for_the_input(void **state)
{
    static const char *const lengths[] = {"NO_LENGTH=", "CONTENT_LENGTH=", "CONTENT_LENGTH=-1",
                                          "CONTENT_LENGTH=4x", "CONTENT_LENGTH=99999999999999999999"};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        expect_response_with_open_input("GET", lengths[i], "INCIDENTS_DB_POOL_SIZE=2", "Status: 200 ");
        expect_response_with_open_input("HEAD", lengths[i], "INCIDENTS_DB_POOL_SIZE=2", "Status: 200 ");
        expect_response_with_open_input("GET", lengths[i], "INCIDENTS_DB_POOL_SIZE=many", "Status: 500 ");
    }
}

/* Sends an upsert with an id that wants quoting, and the wrong token. */
static void send_odd_request(void)
{
    struct call call = {.path = "incidents.upsert",
                        .body = "{}",
                        .authorization = "Bearer nobody",
                        .headers = {"X-Request-Id: a\"b\\\\c"}};
    struct http_response response;

    http_through_nginx(&stack, &call, &response);
    assert_int_equal(response.status, 401);
    http_response_free(&response);
}

static const char *member(struct json_object *line, const char *name)
{
    struct json_object *value = NULL;

    return json_object_object_get_ex(line, name, &value) ? json_object_get_string(value) : "";
}

/* How many lines the file has about the odd request; each line must be one JSON object. */
static int count_odd_requests(const char *path)
{
    char *text = await_in_file(path, "not_authed"), *rest = text;
    int count = 0;

    for (char *line; (line = strtok_r(rest, "\n", &rest)) != NULL;) {
        struct json_object *parsed = json_tokener_parse(line);

        assert_true(json_object_is_type(parsed, json_type_object));
        assert_string_not_equal(member(parsed, "time"), "");
        assert_string_not_equal(member(parsed, "level"), "");
        if (strcmp(member(parsed, "outcome"), "not_authed") == 0) {
            assert_string_equal(member(parsed, "request_id"), "a\"b\\\\c");
            assert_string_equal(member(parsed, "status"), "401");
            assert_string_equal(member(parsed, "method"), "incidents.upsert");
            assert_string_not_equal(member(parsed, "queue_ms"), "");
            assert_string_not_equal(member(parsed, "database_ms"), "");
            count++;
        }
        json_object_put(parsed);
    }
    free(text);
    return count;
}

static void the_log_goes_to_a_file_as_json_and_follows_its_name(void **state)
{
    char setting[192], path[128], moved[160];
    const char *const settings[] = {setting, "INCIDENTS_LOG_FORMAT=json", NULL};
    struct stat status;

    snprintf(path, sizeof path, "%s/json.log", stack.directory);
    snprintf(moved, sizeof moved, "%s.1", path);
    snprintf(setting, sizeof setting, "INCIDENTS_LOG=%s", path);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    send_odd_request();
    assert_int_equal(count_odd_requests(path), 1);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(rename(path, moved), 0);
    clock_sleep_ms(1100);
    send_odd_request();
    assert_int_equal(count_odd_requests(path), 1);
    assert_int_equal(count_odd_requests(moved), 1);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
}

/* In a mount namespace of its own, where /dev has nothing but a log, which is ours. The mount must not reach
 * the machine's namespace: what holds /dev is made private. In a chroot unshare can't do that, for it asks
 * for /. */
static void the_log_goes_to_syslog(void **state)
{
    static const char script[] = "if mountpoint -q /dev; then holder=/dev; else holder=/; fi; "
                                 "mount --make-private $holder && mount --bind \"$1\" /dev || exit 77; "
                                 "exec \"$2\"";
    char directory[96], line[512];
    const char *const argv[] = {"/usr/bin/unshare",
                                "--mount",
                                "--propagation=unchanged",
                                geteuid() == 0 ? "--mount" : "--map-root-user",
                                "/bin/sh",
                                "-c",
                                script,
                                "sh",
                                directory,
                                stack.program,
                                NULL};
    static const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1",  "REQUEST_METHOD=GET",
                                              "PATH_INFO=/healthz",         "INCIDENTS_LOG=syslog",
                                              "HTTP_X_REQUEST_ID=sys%slog", NULL};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const struct outcome *outcome;
    ssize_t len;

    snprintf(directory, sizeof directory, "%s/dev", stack.directory);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/log", directory);
    assert_int_equal(mkdir(directory, 0755), 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    outcome = process_run_bare(argv, environment, NULL, 0);
    if (outcome->status == 77 || strncmp(outcome->err, "unshare: ", 9) == 0) {
        print_message("a /dev of its own is not to be had here: %s", outcome->err);
        close(fd);
        skip();
    }
    if (strncmp(outcome->out, "Status: 200 ", 12) != 0 || outcome->err_len > 0) {
        fail_msg("status %d: %s%s", outcome->status, outcome->out, outcome->err);
    }
    len = recv(fd, line, sizeof line - 1, 0);
    assert_true(len > 0);
    line[len] = '\0';
    assert_int_equal(strncmp(line, "<30>", 4),
                     0); /* RFC 5424 section 6.2.1: facility daemon, severity info */
    assert_non_null(strstr(line, "incidents.fcgi"));
    assert_non_null(strstr(line, "request_id=\"sys%slog\" method=healthz status=200"));
    close(fd);
}

static void a_log_that_cannot_be_opened_is_named(void **state)
{
    const char *const argv[] = {stack.program, NULL};
    const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
                                       "PATH_INFO=/healthz", "INCIDENTS_LOG=/nonexistent/log", NULL};
    const struct outcome *outcome = process_run_bare(argv, environment, NULL, 0);

    assert_int_equal(outcome->status, 1);
    assert_int_equal(strncmp(outcome->out, "Status: 500 ", 12), 0);
    assert_non_null(strstr(outcome->err, "/nonexistent/log"));
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_wrong_setting_is_named),
        cmocka_unit_test(a_wrong_line_of_the_file_is_named),
        cmocka_unit_test(every_variable_of_libpq_may_stand_in_the_file),
        cmocka_unit_test(a_misspelt_name_in_the_environment_is_named),
        cmocka_unit_test(check_shows_the_settings_and_whether_the_database_is_ready),
        cmocka_unit_test(a_service_file_of_libpq_serves_too),
        cmocka_unit_test(a_cgi_program_with_a_wrong_setting_responds_500_and_logs_its_name),
        cmocka_unit_test(a_query_string_cannot_pass_arguments),
        cmocka_unit_test(the_method_is_the_last_segment_of_path_info_or_script_name),
        cmocka_unit_test(authorization_is_found_where_apache_moves_it),
        cmocka_unit_test(the_log_goes_to_a_file_as_json_and_follows_its_name),
        cmocka_unit_test(the_log_goes_to_syslog),
        cmocka_unit_test(a_log_that_cannot_be_opened_is_named),
        cmocka_unit_test(a_body_that_is_shorter_than_its_length_is_not_processed),
        cmocka_unit_test(a_body_without_a_length_ends_with_the_input),
        cmocka_unit_test(a_get_without_a_length_does_not_wait_for_the_input),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
