/* A whole installation for a test: its own Postgres, worker and nginx, on sockets in its own directory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "harness/http.h"
#include "harness/stack.h"

enum { START_TIMEOUT_MS = 60000, ARGUMENTS_MAX = 16 };

static const char service[] = "scripts/service";

/* scripts/test says where the programs are, and starts every test in the project's directory. */
static const char *build_directory(void)
{
    const char *build = getenv("BUILD");

    if (build == NULL) {
        fail_msg("BUILD must name the directory with the programs, such as build/release");
    }
    return build;
}

static void make_directory(struct stack *stack)
{
    snprintf(stack->directory, sizeof stack->directory, "/tmp/incidents-test.XXXXXX");
    assert_non_null(mkdtemp(stack->directory));
    if (geteuid() == 0) { /* servers run as postgres then: scripts/service */
        struct passwd *user = getpwnam("postgres");

        assert_non_null(user);
        assert_int_equal(chown(stack->directory, user->pw_uid, user->pw_gid), 0);
    }
}

void stack_start_postgres(struct stack *stack, const char *arguments)
{
    char data[128], log[128], url[STACK_PATH_MAX], setting[256];
    const char *const argv[] = {service, "postgres", data, stack->directory, NULL};
    const char *const environment[] = {setting, NULL};
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;

    snprintf(data, sizeof data, "%s/data", stack->directory);
    snprintf(log, sizeof log, "%s/postgres.log", stack->directory);
    snprintf(url, sizeof url, "postgresql:///postgres?host=%s&user=postgres", stack->directory);
    snprintf(setting, sizeof setting, "PG_ARGUMENTS=%s", arguments == NULL ? "" : arguments);
    stack->postgres = process_start(argv, environment, log);
    while (PQping(url) != PQPING_OK) {
        if (clock_now_ms() > deadline) {
            fail_msg("Postgres does not start: see %s", log);
        }
        /* After a SIGKILL its memory is in use until the last of its sessions has noticed. */
        if (process_wait(stack->postgres, 20) >= 0) {
            stack->postgres = process_start(argv, environment, log);
        }
    }
}

void stack_stop_postgres(struct stack *stack, int signal_number)
{
    process_stop(stack->postgres, signal_number);
    stack->postgres = 0;
}

static void run_as_superuser(const struct stack *stack, const char *sql)
{
    char url[STACK_PATH_MAX];
    PGconn *connection;
    PGresult *result;

    snprintf(url, sizeof url, "postgresql:///postgres?host=%s&user=postgres", stack->directory);
    connection = PQconnectdb(url);
    result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    }
    PQclear(result);
    PQfinish(connection);
}

static void fill_in(struct stack *stack)
{
    const char *build = build_directory();
    char *here = getcwd(NULL, 0);

    assert_non_null(here);
    snprintf(stack->program, sizeof stack->program, "%s/%s/incidents.fcgi", here, build);
    snprintf(stack->control, sizeof stack->control, "%s/%s/incidentctl", here, build);
    free(here);
    snprintf(stack->owner_url, sizeof stack->owner_url,
             "postgresql:///incidents?host=%s&user=incidents_owner", stack->directory);
    snprintf(stack->worker_url, sizeof stack->worker_url,
             "postgresql:///incidents?host=%s&user=incidents_fcgi", stack->directory);
    snprintf(stack->nginx_socket, sizeof stack->nginx_socket, "%s/nginx.sock", stack->directory);
    snprintf(stack->worker_socket, sizeof stack->worker_socket, "%s/worker.sock", stack->directory);
    snprintf(stack->worker_log, sizeof stack->worker_log, "%s/worker.log", stack->directory);
}

/* A server that is there already, migrated, with the worker's role: make citus-test names it. */
static bool use_given_server(struct stack *stack)
{
    const char *server = getenv("TEST_SERVER");

    if (server == NULL) {
        return false;
    }
    snprintf(stack->owner_url, sizeof stack->owner_url, "postgresql:///incidents?%s&user=incidents_owner",
             server);
    snprintf(stack->worker_url, sizeof stack->worker_url, "postgresql:///incidents?%s&user=incidents_fcgi",
             server);
    stack->owner = PQconnectdb(stack->owner_url);
    assert_int_equal(PQstatus(stack->owner), CONNECTION_OK);
    return true;
}

static void make_database(struct stack *stack)
{
    /* A crash of the test machine loses nothing that matters; durability is not what most tests are about. */
    stack_start_postgres(stack, "-c fsync=off");
    run_as_superuser(stack, "CREATE ROLE incidents_owner LOGIN CREATEROLE");
    run_as_superuser(stack, "CREATE DATABASE incidents OWNER incidents_owner");
    stack->owner = PQconnectdb(stack->owner_url);
    assert_int_equal(PQstatus(stack->owner), CONNECTION_OK);
}

void stack_start_empty(struct stack *stack)
{
    *stack = (struct stack){0};
    make_directory(stack);
    fill_in(stack);
    make_database(stack);
}

/* Whether the worker has taken its signals into its own hands, proc(5): before that, one would just end it. A
 * shell that it is started behind blocks them for times, too. */
static bool waits_for_sigterm(pid_t worker)
{
    char path[64], *status;
    const char *line;
    bool waits;

    snprintf(path, sizeof path, "/proc/%d/status", (int)worker);
    status = read_whole_file(path);
    line = strstr(status, "SigBlk:");
    waits = line != NULL &&
            strncmp(status, "Name:\tincidents.fcgi\n", strlen("Name:\tincidents.fcgi\n")) == 0 &&
            (strtoull(line + strlen("SigBlk:"), NULL, 16) >> (SIGTERM - 1) & 1) != 0;
    free(status);
    return waits;
}

void stack_start_worker(struct stack *stack, const char *const settings[])
{
    const char *const argv[] = {service, "worker", stack->worker_socket, stack->program, NULL};
    const char *environment[ARGUMENTS_MAX] = {0};
    char url[STACK_PATH_MAX + 16];
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;
    size_t count = 0;

    snprintf(url, sizeof url, "DATABASE_URL=%s", stack->worker_url);
    environment[count++] = url;
    for (size_t i = 0; settings != NULL && settings[i] != NULL; i++) {
        assert_true(count < ARGUMENTS_MAX - 1);
        environment[count++] = settings[i];
    }
    unlink(stack->worker_socket); /* the one that appears must be the new worker's */
    stack->worker = process_start(argv, environment, stack->worker_log);
    while (!http_is_listening(stack->worker_socket) || !waits_for_sigterm(stack->worker)) {
        if (clock_now_ms() > deadline || process_wait(stack->worker, 5) >= 0) {
            fail_msg("the worker does not start: see %s", stack->worker_log);
        }
    }
}

/* Stops the worker; its exit status. Its log is shown where that is not 0. */
static int end_worker(struct stack *stack)
{
    int status = process_stop(stack->worker, SIGTERM);

    stack->worker = 0;
    if (status != 0) {
        char *log = read_whole_file(stack->worker_log);

        fprintf(stderr, "%s\nthe worker ended with status %d\n", log, status);
        free(log);
    }
    return status;
}

void stack_stop_worker(struct stack *stack)
{
    assert_int_equal(end_worker(stack), 0);
}

void stack_start_nginx(struct stack *stack)
{
    char listen[160], log[128];
    const char *const argv[] = {service, "nginx", stack->directory, listen, stack->worker_socket, NULL};
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;

    snprintf(listen, sizeof listen, "unix:%s", stack->nginx_socket);
    snprintf(log, sizeof log, "%s/nginx.log", stack->directory);
    stack->nginx = process_start(argv, NULL, log);
    while (!http_is_listening(stack->nginx_socket)) {
        if (clock_now_ms() > deadline || process_wait(stack->nginx, 10) >= 0) {
            fail_msg("nginx does not start: see %s", log);
        }
    }
}

void stack_start_migrated(struct stack *stack)
{
    *stack = (struct stack){0};
    make_directory(stack);
    fill_in(stack);
    if (!use_given_server(stack)) {
        make_database(stack);
        assert_int_equal(stack_control(stack, NULL, "migrate", NULL)->status, 0);
        stack_query(stack, "CREATE ROLE incidents_fcgi LOGIN IN ROLE incidents_worker");
    }
    stack_create_token(stack, "good", "upsert,delete", stack->token);
}

void stack_start(struct stack *stack, const char *const settings[])
{
    stack_start_migrated(stack);
    stack_start_worker(stack, settings);
    stack_start_nginx(stack);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

/* cmocka counts nothing that fails in a group's teardown, where this is called: so it ends the program
 * itself. */
void stack_stop(struct stack *stack)
{
    bool ok = true;

    PQfinish(stack->owner);
    if (stack->nginx != 0 && process_stop(stack->nginx, SIGQUIT) != 0) {
        fprintf(stderr, "nginx did not end cleanly\n");
        ok = false;
    }
    if (stack->worker != 0) {
        ok = end_worker(stack) == 0 && ok;
    }
    if (stack->postgres != 0 && process_stop(stack->postgres, SIGINT) != 0) {
        fprintf(stderr, "Postgres did not end cleanly\n");
        ok = false;
    }
    nftw(stack->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (!ok) {
        exit(EXIT_FAILURE);
    }
}

const struct outcome *stack_control(struct stack *stack, const char *input, const char *first, ...)
{
    const char *argv[ARGUMENTS_MAX] = {stack->control, first};
    char url[STACK_PATH_MAX + 16];
    const char *const environment[] = {url, NULL};
    size_t count = 2;
    va_list arguments;

    va_start(arguments, first);
    while (count < ARGUMENTS_MAX - 1 && (argv[count] = va_arg(arguments, const char *)) != NULL) {
        count++;
    }
    va_end(arguments);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack->owner_url);
    return process_run(argv, environment, input, input == NULL ? 0 : strlen(input));
}

void stack_create_token(struct stack *stack, const char *label, const char *scope,
                        char token[STACK_TOKEN_MAX])
{
    const struct outcome *outcome =
        stack_control(stack, NULL, "token", "create", "--label", label, "--scope", scope, NULL);

    if (outcome->status != 0) {
        fail_msg("token create: %s", outcome->err);
    }
    assert_true(outcome->out_len > 1 && outcome->out_len < STACK_TOKEN_MAX);
    memcpy(token, outcome->out, outcome->out_len);
    token[outcome->out_len - 1] = '\0'; /* the newline */
}

PGresult *stack_rows(struct stack *stack, const char *sql, const char *value)
{
    PGresult *result = PQexecParams(stack->owner, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);
    ExecStatusType status;

    if (PQstatus(stack->owner) != CONNECTION_OK) { /* the test has stopped Postgres in between */
        PQclear(result);
        PQreset(stack->owner);
        result = PQexecParams(stack->owner, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);
    }
    status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        PQclear(result);
        fail_msg("%s: %s", sql, PQerrorMessage(stack->owner));
    }
    return result;
}

const char *stack_query_for(struct stack *stack, const char *sql, const char *value)
{
    static char *text;
    PGresult *result = stack_rows(stack, sql, value);

    free(text);
    text = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    assert_non_null(text);
    PQclear(result);
    return text;
}

const char *stack_query(struct stack *stack, const char *sql)
{
    return stack_query_for(stack, sql, NULL);
}

void stack_name_metrics(struct stack_metrics *metrics)
{
    snprintf(metrics->token, sizeof metrics->token, "metrics-%s-%d", program_invocation_short_name,
             (int)getpid());
    snprintf(metrics->setting, sizeof metrics->setting, "INCIDENTS_METRICS_TOKEN=%s", metrics->token);
    snprintf(metrics->authorization, sizeof metrics->authorization, "Bearer %s", metrics->token);
}

/* Their name has the hash of the token's hash in it. */
size_t stack_remove_metrics(const char *metrics_token)
{
    char token_hash[DIGEST_HEX_SIZE], hash[DIGEST_HEX_SIZE], pattern[64];
    size_t count;
    glob_t found;

    digest_sha256((struct slice){.data = metrics_token, .len = strlen(metrics_token)}, token_hash);
    digest_sha256((struct slice){.data = token_hash, .len = strlen(token_hash)}, hash);
    snprintf(pattern, sizeof pattern, "/dev/shm/incidents-*-%.16s-*", hash);
    if (glob(pattern, 0, NULL, &found) != 0) {
        return 0;
    }
    count = found.gl_pathc;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(unlink(found.gl_pathv[i]), 0);
    }
    globfree(&found);
    return count;
}

char *read_whole_file(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = NULL;
    size_t size = 0;

    if (file == NULL) {
        return strdup("");
    }
    if (getdelim(&text, &size, '\0', file) < 0) {
        free(text);
        text = strdup("");
    }
    fclose(file);
    return text;
}

char *await_in_file(const char *path, const char *text)
{
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;
    char *content = read_whole_file(path);

    while (strstr(content, text) == NULL) {
        if (clock_now_ms() > deadline) {
            fail_msg("%s has no \"%s\": %s", path, text, content);
        }
        free(content);
        clock_sleep_ms(5);
        content = read_whole_file(path);
    }
    return content;
}

static void signal_postgres(const struct stack *stack, int signal_number)
{
    char *end;

    assert_int_equal(kill(stack->postgres, signal_number), 0);
    for (const char *pid = stack->paused; *pid != '\0'; pid = *end == ' ' ? end + 1 : end) {
        kill((pid_t)strtol(pid, &end, 10), signal_number);
    }
}

void stack_pause_postgres(struct stack *stack)
{
    snprintf(stack->paused, sizeof stack->paused, "%s",
             stack_query(stack, "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity "
                                "WHERE usename = 'incidents_fcgi'"));
    signal_postgres(stack, SIGSTOP);
}

bool stack_pause_session(struct stack *stack, int nth)
{
    char sql[256];

    snprintf(sql, sizeof sql,
             "SELECT (array_agg(pid ORDER BY backend_start))[1 + %d %% count(*)::integer] "
             "FROM pg_stat_activity WHERE usename = 'incidents_fcgi' HAVING count(*) > 0",
             nth);
    snprintf(stack->paused, sizeof stack->paused, "%s", stack_query(stack, sql));
    return stack->paused[0] != '\0' && kill((pid_t)strtol(stack->paused, NULL, 10), SIGSTOP) == 0;
}

void stack_pause_postgres_for(struct stack *stack, int ms)
{
    stack_pause_postgres(stack);
    clock_sleep_ms(ms);
    stack_resume_postgres(stack);
}

void stack_pause_session_for(struct stack *stack, int nth, int ms)
{
    while (!stack_pause_session(stack, nth)) {
        clock_sleep_ms(1);
    }
    clock_sleep_ms(ms);
    stack_resume_postgres(stack);
}

void stack_resume_postgres(struct stack *stack)
{
    if (stack->postgres > 0) {
        signal_postgres(stack, SIGCONT);
    }
    stack->paused[0] = '\0';
}

size_t stack_count_in_log(const struct stack *stack, const char *text)
{
    char path[STACK_PATH_MAX], *log;
    size_t count = 0;

    snprintf(path, sizeof path, "%s/postgres.log", stack->directory);
    log = read_whole_file(path);
    for (const char *found = log; (found = strstr(found, text)) != NULL; found++) {
        count++;
    }
    free(log);
    return count;
}

PGconn *stack_hold(const struct stack *stack, const char *sql)
{
    PGconn *holder = PQconnectdb(stack->owner_url);

    PQclear(PQexec(holder, "BEGIN"));
    PQclear(PQexec(holder, sql));
    assert_int_equal(PQtransactionStatus(holder), PQTRANS_INTRANS);
    return holder;
}

void stack_let_go(PGconn *holder)
{
    PQclear(PQexec(holder, "ROLLBACK"));
    PQfinish(holder);
}

void stack_await_lock_wait(struct stack *stack)
{
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;
    /* Of Citus, a session waits on the node that has the row. */
    const char *sql = *stack_query(stack, "SELECT to_regclass('citus_lock_waits')") != '\0'
                          ? "SELECT waiting_gpid FROM citus_lock_waits"
                          : "SELECT pid FROM pg_locks WHERE NOT granted";

    while (*stack_query(stack, sql) == '\0') {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(2);
    }
}

void stack_make_operations(struct stack *stack)
{
    stack_query(stack, "CREATE SCHEMA IF NOT EXISTS test");
    stack_query(
        stack,
        "CREATE FUNCTION test.operations(items jsonb) RETURNS intake.operation[] LANGUAGE sql AS $$ "
        "SELECT coalesce(array_agg(ROW ((o).operation, (o).token_hash, (o).scope, (o).given, (o).started_at, "
        "(o).resolved_at, (o).reference_id, (o).name, (o).priority, (o).source_url, "
        "nullif((o).services, '[]'), (o).metadata)::intake.operation ORDER BY place), '{}') "
        "FROM jsonb_array_elements(items) WITH ORDINALITY AS _ (item, place), LATERAL (SELECT "
        "jsonb_populate_record(NULL::intake.operation, '{\"operation\":\"upsert\","
        "\"started_at\":\"2024-01-01 00:00:00+00\"}'::jsonb || jsonb_build_object("
        "'token_hash', coalesce((SELECT token_hash::text FROM intake.api_token "
        "WHERE label = coalesce(item->>'as', 'good')), '\\x00'), "
        "'scope', CASE item->>'operation' WHEN 'ping' THEN NULL ELSE coalesce(item->>'operation', 'upsert') "
        "END, "
        "'given', (SELECT coalesce(sum(bit), 0) FROM (VALUES ('resolved_at', 1), ('name', 2), "
        "('priority', 4), ('source_url', 8), ('services', 16), ('metadata', 32)) AS argument (key, bit) "
        "WHERE item ? key)) || item) AS o) AS record $$");
}
