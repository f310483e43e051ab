/* The log: what a request's line says, and what the journal takes from a line's beginning. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fixture.h"

static struct stack stack;

/* ---- the lines ---- */

static const char *member(struct json_object *line, const char *name)
{
    struct json_object *value = NULL;

    return json_object_object_get_ex(line, name, &value) ? json_object_get_string(value) : NULL;
}

/* The first line with that text; NULL where there is none. The caller frees it. */
static char *find_line(const char *log, const char *text)
{
    for (const char *line = log; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        char *copy = strndup(line, len);

        assert_non_null(copy);
        if (strstr(copy, text) != NULL) {
            return copy;
        }
        free(copy);
        line += len + (line[len] == '\n' ? 1 : 0);
    }
    return NULL;
}

/* The priority in angle brackets that a line begins with; 0 for none. */
static int priority_of(const char *line)
{
    return line[0] == '<' && isdigit((unsigned char)line[1]) && line[2] == '>' ? line[1] - '0' : 0;
}

static bool has_time(const char *line)
{
    return strncmp(line, "20", 2) == 0 || strncmp(line, "{\"time\":", 8) == 0;
}

/* ---- the journal ---- */

/* JOURNAL_STREAM as systemd would set it, were that file what it made for standard error. */
static void name_stream(const char *path, char variable[64])
{
    struct stat status;

    assert_int_equal(stat(path, &status), 0);
    snprintf(variable, 64, "JOURNAL_STREAM=%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
}

static void send_upsert(const char *id, const char *body, int status)
{
    char header[64];
    struct call call = {.path = "incidents.upsert", .body = body, .headers = {header}};
    struct http_response response;

    snprintf(header, sizeof header, "X-Request-Id: %s", id);
    http_through_nginx(&stack, &call, &response);
    if (response.status != status) {
        fail_msg("%s: status should be %d, is %d: %s", id, status, response.status, response.body);
    }
    http_response_free(&response);
}

/* A request that is answered well, one that is refused, and one that fails because of a value that the
 * database does not take, which the store warns of. */
static void send_three(const char *id)
{
    stack_query(&stack, "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$BEGIN RAISE SQLSTATE '22000' USING MESSAGE = 'of no use'; END$$");
    stack_query(&stack, "CREATE TRIGGER refuse BEFORE INSERT ON intake.incident FOR EACH ROW "
                        "WHEN (NEW.reference_id = 'bad') EXECUTE FUNCTION public.refuse()");
    send_upsert(id, "{\"reference_id\":\"good\",\"started_at\":\"2024-01-01\"}", 200);
    send_upsert(id, "{\"reference_id\":\"good\",\"started_at\":\"soon\"}", 422);
    send_upsert(id, "{\"reference_id\":\"bad\",\"started_at\":\"2024-01-01\"}", 500);
    stack_query(&stack, "DROP TRIGGER refuse ON intake.incident");
    stack_query(&stack, "DROP FUNCTION public.refuse()");
}

static void check_line(const char *log, const char *text, int priority, bool timed)
{
    char *line = find_line(log, text);

    if (line == NULL || priority_of(line) != priority || has_time(line) != timed) {
        fail_msg("the line with %s should have priority %d and %s time: %s", text, priority,
                 timed ? "a" : "no", line == NULL ? log : line);
    }
    free(line);
}

static void check_format(const char *format)
{
    bool is_json = strcmp(format, "json") == 0;
    char stream[64], format_setting[64], refusal[128];
    const char *const settings[] = {stream, format_setting, NULL};
    char *log;

    snprintf(format_setting, sizeof format_setting, "INCIDENTS_LOG_FORMAT=%s", format);
    stack_stop_worker(&stack);
    name_stream(stack.worker_log, stream);
    stack_start_worker(&stack, settings);
    send_three(format);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
    log = read_whole_file(stack.worker_log);
    check_line(log, is_json ? "\"outcome\":\"created\"" : "outcome=created", 6, false);
    check_line(log, is_json ? "\"outcome\":\"invalid_timestamp\"" : "outcome=invalid_timestamp", 6, false);
    check_line(log, is_json ? "\"outcome\":\"internal_error\"" : "outcome=internal_error", 3, false);
    snprintf(refusal, sizeof refusal,
             is_json ? "request_id=\\\"%s\\\": unable to store a value: of no use"
                     : "request_id=\"%s\": unable to store a value: of no use",
             format);
    check_line(log, refusal, 4, false);
    check_line(log, is_json ? "{\"level\":\"info\",\"message\":\"serving FastCGI" : "<6>serving FastCGI", 6,
               false);
    free(log);
    assert_int_equal(truncate(stack.worker_log, 0), 0);
    stack_query(&stack, "TRUNCATE intake.incident");
}

static void each_line_has_its_priority_in_the_journal(void **state)
{
    check_format("text");
    check_format("json");
}

/* Whoever was started with a standard error of its own has inherited the variable. */
static void a_start_names_what_is_started(void **state)
{
    char line[STACK_PATH_MAX + 128], path[STACK_PATH_MAX], url[STACK_PATH_MAX + 32],
        setting[STACK_PATH_MAX + 32];
    const char *const settings[] = {setting, url, "INCIDENTS_DB_POOL_SIZE=3", NULL};
    FILE *file;

    snprintf(path, sizeof path, "%s/worker.settings", stack.directory);
    snprintf(setting, sizeof setting, "INCIDENTS_SETTINGS=%s", path);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.worker_url);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0644), 0);
    assert_int_equal(fclose(file), 0);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    snprintf(line, sizeof line,
             "serving FastCGI: version " VERSION ", pid %ld, settings file %s, db_pool_size=3\n",
             (long)stack.worker, path);
    free(await_in_file(stack.worker_log, line));
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
}

static void what_is_not_the_journals_has_no_priority(void **state)
{
    static const struct call call = {.path = "healthz", .verb = "GET"};
    static const char *const streams[] = {"JOURNAL_STREAM=1:1", "JOURNAL_STREAM=", "JOURNAL_STREAM=8"};

    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        const char *const environment[] = {streams[i], NULL};
        struct http_response response;
        const struct outcome *outcome = http_run_cgi(&stack, &call, environment, &response);

        assert_int_equal(response.status, 200);
        http_response_free(&response);
        check_line(outcome->err, "outcome=ok", 0, true);
    }
}

/* Runs one request with its standard error, which the journal reads, in a file, and returns what that then
 * has. The caller frees it. */
static char *run_in_journal(const char *setting)
{
    static const char script[] =
        "exec 2>\"$1\" && JOURNAL_STREAM=$(stat -c %d:%i \"$1\") && export JOURNAL_STREAM && exec \"$2\"";
    char path[STACK_PATH_MAX];
    const char *const argv[] = {"/bin/sh", "-c", script, "sh", path, stack.program, NULL};
    const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1",
                                       "REQUEST_METHOD=GET",
                                       "PATH_INFO=/healthz",
                                       "PATH=/usr/bin:/bin",
                                       setting,
                                       NULL};

    snprintf(path, sizeof path, "%s/journal", stack.directory);
    process_run_bare(argv, environment, NULL, 0);
    return read_whole_file(path);
}

static void a_wrong_setting_is_an_error_in_the_journal(void **state)
{
    char *log = run_in_journal("INCIDENTS_LGO=stderr");

    check_line(log, "INCIDENTS_LGO is not a setting", 3, false);
    free(log);
}

static void a_file_has_times_and_no_priorities_whatever_standard_error_is(void **state)
{
    char setting[STACK_PATH_MAX], path[STACK_PATH_MAX], *log, *journal;

    snprintf(path, sizeof path, "%s/file.log", stack.directory);
    snprintf(setting, sizeof setting, "INCIDENTS_LOG=%s/file.log", stack.directory);
    journal = run_in_journal(setting);
    log = read_whole_file(path);
    assert_string_equal(journal, "");
    check_line(log, "outcome=ok", 0, true);
    free(log);
    free(journal);
}

/* libpq prints it to standard error, which may be one that nobody reads. */
static void what_libpq_prints_is_a_line_of_the_log(void **state)
{
    static const char printed[] = " warning WARNING: password file ";
    char passwords[STACK_PATH_MAX + 16], setting[STACK_PATH_MAX + 16], path[STACK_PATH_MAX];
    const char *const settings[] = {setting, passwords, NULL};
    FILE *file;

    snprintf(path, sizeof path, "%s/passwords", stack.directory);
    snprintf(passwords, sizeof passwords, "PGPASSFILE=%s", path);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0644), 0);
    assert_int_equal(fclose(file), 0);
    snprintf(path, sizeof path, "%s/printed.log", stack.directory);
    snprintf(setting, sizeof setting, "INCIDENTS_LOG=%s", path);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    send_upsert("printed", "{\"reference_id\":\"printed\",\"started_at\":\"2024-01-01\"}", 200);
    free(await_in_file(path, printed));
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
}

/* ---- a request's line ---- */

/* Sends a request as CGI from that client and returns its line of the log. */
static struct json_object *line_of(const struct call *call, const char *client, const char *setting,
                                   int status, char message[256])
{
    char address[128];
    const char *const environment[] = {"INCIDENTS_LOG_FORMAT=json", address, setting, NULL};
    const struct outcome *outcome;
    struct json_object *line;
    struct http_response response;
    char *text;

    snprintf(address, sizeof address, "REMOTE_ADDR=%s", client);
    outcome = http_run_cgi(&stack, call, environment, &response);
    if (response.status != status) {
        fail_msg("%s: status should be %d, is %d: %s", call->path, status, response.status, response.body);
    }
    snprintf(message, 256, "%s", http_response_text(&response, "message"));
    http_response_free(&response);
    text = find_line(outcome->err, "\"request_id\"");
    assert_non_null(text);
    line = json_tokener_parse(text);
    assert_true(json_object_is_type(line, json_type_object));
    free(text);
    return line;
}

static void an_errors_line_has_the_sentence_and_the_client(void **state)
{
    static const struct {
        struct call call;
        const char *setting;
        int status;
        const char *level;
        const char *message;
    } cases[] = {
        {{.path = "nothing", .body = "{}"}, NULL, 404, "info", "unknown method"},
        {{.path = "incidents.upsert", .verb = "GET"}, NULL, 405, "info", "incidents.upsert"},
        {{.path = "incidents.upsert", .body = "{", .authorization = ""},
         NULL,
         401,
         "info",
         "no Authorization"},
        {{.path = "incidents.upsert", .body = "{", .authorization = "Basic eDp5"},
         NULL,
         401,
         "info",
         "scheme"},
        {{.path = "incidents.upsert", .body = "{", .authorization = "Bearer sEcReT-0"},
         NULL,
         401,
         "info",
         "invalid token"},
        {{.path = "incidents.upsert", .body = "{"}, NULL, 422, "info", ""},
        {{.path = "incidents.upsert", .body = "{\"reference_id\":\"r\"}"}, NULL, 422, "info", "started_at"},
        {{.path = "incidents.upsert", .body = "{\"reference_id\":\"r\",\"started_at\":\"sEcReT\"}"},
         NULL,
         422,
         "info",
         "started_at"},
        {{.path = "incidents.upsert",
          .body = "{\"reference_id\":\"r\",\"started_at\":\"2024-01-01\",\"metadata\":{\"\\u001b[31m\\nred\":"
                  "1}}"},
         NULL,
         422,
         "info",
         "red"},
        {{.path = "readyz", .verb = "GET"}, "DATABASE_URL=postgresql://127.0.0.1:1/", 503, "error", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[256];
        struct json_object *line =
            line_of(&cases[i].call, "2001:db8::7", cases[i].setting, cases[i].status, message);

        assert_non_null(strstr(message, cases[i].message));
        assert_string_equal(member(line, "message"), message);
        assert_string_equal(member(line, "client"), "2001:db8::7");
        assert_string_equal(member(line, "level"), cases[i].level);
        assert_null(strstr(json_object_to_json_string(line), "sEcReT"));
        assert_int_equal(strcspn(message, "\n\x1b"), strlen(message));
        json_object_put(line);
    }
}

static void a_good_requests_line_has_neither(void **state)
{
    static const struct call call = {.path = "healthz", .verb = "GET"};
    char message[256];
    struct json_object *line = line_of(&call, "192.0.2.7", NULL, 200, message);

    assert_null(member(line, "message"));
    assert_null(member(line, "client"));
    json_object_put(line);
}

static void what_can_be_no_address_is_none(void **state)
{
    static const struct call call = {.path = "nothing", .verb = "GET"};
    static const char *const addresses[] = {
        "", "1\n2", "1\x1b[31m", "\xC3\xA9",
        "12345678901234567890123456789012345678901234567890123456789012345" /* one more than 64 */};

    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        char message[256];
        struct json_object *line = line_of(&call, addresses[i], NULL, 404, message);

        assert_null(member(line, "client"));
        json_object_put(line);
    }
}

/* Whose client broke is told by the label, of a token that has ended too. Its first 63 bytes, without half a
 * character; incidentctl makes none that is longer. */
static void a_revoked_tokens_line_has_the_beginning_of_its_label(void **state)
{
    char token[STACK_TOKEN_MAX], authorization[STACK_TOKEN_MAX + 8], message[256], cut[63] = "";
    const struct call call = {.path = "incidents.delete", .body = "{", .authorization = authorization};
    struct json_object *line;

    for (int i = 0; i < 31; i++) {
        memcpy(cut + 2 * i, "\xC3\xA9", 2);
    }
    stack_create_token(&stack, "revoked", "delete", token);
    stack_query(&stack, "UPDATE intake.api_token SET label = repeat('\xC3\xA9', 40), revoked_at = now() "
                        "WHERE label = 'revoked'");
    snprintf(authorization, sizeof authorization, "Bearer %s", token);
    line = line_of(&call, "192.0.2.7", NULL, 401, message);
    assert_string_equal(member(line, "token"), cut);
    assert_string_equal(message, "invalid token: unknown, expired or revoked");
    json_object_put(line);
}

/* nginx, which is asked over a socket of its own here, calls any client of such a socket so. */
static void the_client_is_known_behind_nginx_too(void **state)
{
    char *log;

    send_upsert("behind", "{", 422);
    log = await_in_file(stack.worker_log, "request_id=\"behind\"");
    check_line(log, "request_id=\"behind\" method=incidents.upsert status=422 outcome=invalid_json", 0, true);
    check_line(log, "client=\"unix:\"", 0, true);
    free(log);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_client_is_known_behind_nginx_too),
        cmocka_unit_test(each_line_has_its_priority_in_the_journal),
        cmocka_unit_test(a_start_names_what_is_started),
        cmocka_unit_test(what_is_not_the_journals_has_no_priority),
        cmocka_unit_test(what_libpq_prints_is_a_line_of_the_log),
        cmocka_unit_test(a_wrong_setting_is_an_error_in_the_journal),
        cmocka_unit_test(a_file_has_times_and_no_priorities_whatever_standard_error_is),
        cmocka_unit_test(an_errors_line_has_the_sentence_and_the_client),
        cmocka_unit_test(a_good_requests_line_has_neither),
        cmocka_unit_test(what_can_be_no_address_is_none),
        cmocka_unit_test(a_revoked_tokens_line_has_the_beginning_of_its_label),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
