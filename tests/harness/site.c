/* A whole installation for a test: its own Postgres, worker and nginx, on sockets in its own directory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

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
#include "harness/site.h"

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

static void make_directory(struct site *site)
{
    (void)snprintf(site->directory, sizeof site->directory, "/tmp/incidents-test.XXXXXX");
    assert_non_null(mkdtemp(site->directory));
    if (geteuid() == 0) { /* servers run as postgres then: scripts/service */
        struct passwd *user = getpwnam("postgres");

        assert_non_null(user);
        assert_int_equal(chown(site->directory, user->pw_uid, user->pw_gid), 0);
    }
}

void site_start_postgres(struct site *site, const char *arguments)
{
    char data[128], log[128], url[SITE_PATH_MAX], setting[256];
    const char *const argv[] = {service, "postgres", data, site->directory, NULL};
    const char *const environment[] = {setting, NULL};
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;

    (void)snprintf(data, sizeof data, "%s/data", site->directory);
    (void)snprintf(log, sizeof log, "%s/postgres.log", site->directory);
    (void)snprintf(url, sizeof url, "postgresql:///postgres?host=%s&user=postgres", site->directory);
    (void)snprintf(setting, sizeof setting, "PG_ARGUMENTS=%s", arguments == NULL ? "" : arguments);
    site->postgres = process_start(argv, environment, log);
    while (PQping(url) != PQPING_OK) {
        if (clock_now_ms() > deadline) {
            fail_msg("Postgres does not start: see %s", log);
        }
        /* After a SIGKILL its memory is in use until the last of its sessions has noticed. */
        if (process_wait(site->postgres, 20) >= 0) {
            site->postgres = process_start(argv, environment, log);
        }
    }
}

void site_stop_postgres(struct site *site, int signal_number)
{
    (void)process_stop(site->postgres, signal_number);
    site->postgres = 0;
}

static void run_as_superuser(const struct site *site, const char *sql)
{
    char url[SITE_PATH_MAX];
    PGconn *connection;
    PGresult *result;

    (void)snprintf(url, sizeof url, "postgresql:///postgres?host=%s&user=postgres", site->directory);
    connection = PQconnectdb(url);
    result = PQexec(connection, sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    }
    PQclear(result);
    PQfinish(connection);
}

static void fill_in(struct site *site)
{
    const char *build = build_directory();
    char *here = getcwd(NULL, 0);

    assert_non_null(here);
    (void)snprintf(site->program, sizeof site->program, "%s/%s/incidents.fcgi", here, build);
    (void)snprintf(site->control, sizeof site->control, "%s/%s/incidentctl", here, build);
    free(here);
    (void)snprintf(site->owner_url, sizeof site->owner_url,
                   "postgresql:///incidents?host=%s&user=incidents_owner", site->directory);
    (void)snprintf(site->worker_url, sizeof site->worker_url,
                   "postgresql:///incidents?host=%s&user=incidents_fcgi", site->directory);
    (void)snprintf(site->nginx_socket, sizeof site->nginx_socket, "%s/nginx.sock", site->directory);
    (void)snprintf(site->worker_socket, sizeof site->worker_socket, "%s/worker.sock", site->directory);
    (void)snprintf(site->worker_log, sizeof site->worker_log, "%s/worker.log", site->directory);
}

/* A server that is there already, migrated, with the worker's role: make citus-test names it. */
static bool use_given_server(struct site *site)
{
    const char *server = getenv("TEST_SERVER");

    if (server == NULL) {
        return false;
    }
    (void)snprintf(site->owner_url, sizeof site->owner_url, "postgresql:///incidents?%s&user=incidents_owner",
                   server);
    (void)snprintf(site->worker_url, sizeof site->worker_url,
                   "postgresql:///incidents?%s&user=incidents_fcgi", server);
    site->owner = PQconnectdb(site->owner_url);
    assert_int_equal(PQstatus(site->owner), CONNECTION_OK);
    return true;
}

static void make_database(struct site *site)
{
    /* A crash of the test machine loses nothing that matters; durability is not what most tests are about. */
    site_start_postgres(site, "-c fsync=off");
    run_as_superuser(site, "CREATE ROLE incidents_owner LOGIN CREATEROLE");
    run_as_superuser(site, "CREATE DATABASE incidents OWNER incidents_owner");
    site->owner = PQconnectdb(site->owner_url);
    assert_int_equal(PQstatus(site->owner), CONNECTION_OK);
}

void site_start_empty(struct site *site)
{
    *site = (struct site){0};
    make_directory(site);
    fill_in(site);
    make_database(site);
}

/* Whether the worker has taken its signals into its own hands, proc(5): before that, one would just end it. A
 * shell that it is started behind blocks them for moments, too. */
static bool waits_for_sigterm(pid_t worker)
{
    char path[64], *status;
    const char *line;
    bool waits;

    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)worker);
    status = read_whole_file(path);
    line = strstr(status, "SigBlk:");
    waits = line != NULL &&
            strncmp(status, "Name:\tincidents.fcgi\n", strlen("Name:\tincidents.fcgi\n")) == 0 &&
            (strtoull(line + strlen("SigBlk:"), NULL, 16) >> (SIGTERM - 1) & 1) != 0;
    free(status);
    return waits;
}

void site_start_worker(struct site *site, const char *const settings[])
{
    const char *const argv[] = {service, "worker", site->worker_socket, site->program, NULL};
    const char *environment[ARGUMENTS_MAX] = {0};
    char url[SITE_PATH_MAX + 16];
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;
    size_t count = 0;

    (void)snprintf(url, sizeof url, "DATABASE_URL=%s", site->worker_url);
    environment[count++] = url;
    for (size_t i = 0; settings != NULL && settings[i] != NULL; i++) {
        assert_true(count < ARGUMENTS_MAX - 1);
        environment[count++] = settings[i];
    }
    (void)unlink(site->worker_socket); /* the one that appears must be the new worker's */
    site->worker = process_start(argv, environment, site->worker_log);
    while (!http_is_listening(site->worker_socket) || !waits_for_sigterm(site->worker)) {
        if (clock_now_ms() > deadline || process_wait(site->worker, 5) >= 0) {
            fail_msg("the worker does not start: see %s", site->worker_log);
        }
    }
}

/* Stops the worker; its exit status. Its log is shown where that is not 0. */
static int end_worker(struct site *site)
{
    int status = process_stop(site->worker, SIGTERM);

    site->worker = 0;
    if (status != 0) {
        char *log = read_whole_file(site->worker_log);

        (void)fprintf(stderr, "%s\nthe worker ended with status %d\n", log, status);
        free(log);
    }
    return status;
}

void site_stop_worker(struct site *site)
{
    assert_int_equal(end_worker(site), 0);
}

void site_start_nginx(struct site *site)
{
    char listen[160], log[128];
    const char *const argv[] = {service, "nginx", site->directory, listen, site->worker_socket, NULL};
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;

    (void)snprintf(listen, sizeof listen, "unix:%s", site->nginx_socket);
    (void)snprintf(log, sizeof log, "%s/nginx.log", site->directory);
    site->nginx = process_start(argv, NULL, log);
    while (!http_is_listening(site->nginx_socket)) {
        if (clock_now_ms() > deadline || process_wait(site->nginx, 10) >= 0) {
            fail_msg("nginx does not start: see %s", log);
        }
    }
}

void site_start(struct site *site, const char *const settings[])
{
    *site = (struct site){0};
    make_directory(site);
    fill_in(site);
    if (!use_given_server(site)) {
        make_database(site);
        assert_int_equal(site_control(site, NULL, "migrate", NULL)->status, 0);
        (void)site_query(site, "CREATE ROLE incidents_fcgi LOGIN IN ROLE incidents_worker");
    }
    site_create_token(site, "good", "upsert,delete", site->token);
    site_start_worker(site, settings);
    site_start_nginx(site);
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
void site_stop(struct site *site)
{
    bool ok = true;

    PQfinish(site->owner);
    if (site->nginx != 0 && process_stop(site->nginx, SIGQUIT) != 0) {
        (void)fprintf(stderr, "nginx did not end cleanly\n");
        ok = false;
    }
    if (site->worker != 0) {
        ok = end_worker(site) == 0 && ok;
    }
    if (site->postgres != 0 && process_stop(site->postgres, SIGINT) != 0) {
        (void)fprintf(stderr, "Postgres did not end cleanly\n");
        ok = false;
    }
    (void)nftw(site->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (!ok) {
        exit(EXIT_FAILURE);
    }
}

const struct outcome *site_control(struct site *site, const char *input, const char *first, ...)
{
    const char *argv[ARGUMENTS_MAX] = {site->control, first};
    char url[SITE_PATH_MAX + 16];
    const char *const environment[] = {url, NULL};
    size_t count = 2;
    va_list arguments;

    va_start(arguments, first);
    while (count < ARGUMENTS_MAX - 1 && (argv[count] = va_arg(arguments, const char *)) != NULL) {
        count++;
    }
    va_end(arguments);
    (void)snprintf(url, sizeof url, "DATABASE_URL=%s", site->owner_url);
    return process_run(argv, environment, input, input == NULL ? 0 : strlen(input));
}

void site_create_token(struct site *site, const char *label, const char *scope, char token[SITE_TOKEN_MAX])
{
    const struct outcome *outcome =
        site_control(site, NULL, "token", "create", "--label", label, "--scope", scope, NULL);

    if (outcome->status != 0) {
        fail_msg("token create: %s", outcome->err);
    }
    assert_true(outcome->out_len > 1 && outcome->out_len < SITE_TOKEN_MAX);
    memcpy(token, outcome->out, outcome->out_len);
    token[outcome->out_len - 1] = '\0'; /* the newline */
}

PGresult *site_rows(struct site *site, const char *sql, const char *value)
{
    PGresult *result = PQexecParams(site->owner, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);
    ExecStatusType status;

    if (PQstatus(site->owner) != CONNECTION_OK) { /* the test has stopped Postgres in between */
        PQclear(result);
        PQreset(site->owner);
        result = PQexecParams(site->owner, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);
    }
    status = PQresultStatus(result);
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        PQclear(result);
        fail_msg("%s: %s", sql, PQerrorMessage(site->owner));
    }
    return result;
}

const char *site_query_for(struct site *site, const char *sql, const char *value)
{
    static char *text;
    PGresult *result = site_rows(site, sql, value);

    free(text);
    text = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    assert_non_null(text);
    PQclear(result);
    return text;
}

const char *site_query(struct site *site, const char *sql)
{
    return site_query_for(site, sql, NULL);
}

/* Their name has the hash of the token's hash in it. */
size_t site_remove_metrics(const char *metrics_token)
{
    char token_hash[DIGEST_HEX_SIZE], hash[DIGEST_HEX_SIZE], pattern[64];
    size_t count;
    glob_t found;

    digest_sha256((struct slice){.data = metrics_token, .len = strlen(metrics_token)}, token_hash);
    digest_sha256((struct slice){.data = token_hash, .len = strlen(token_hash)}, hash);
    (void)snprintf(pattern, sizeof pattern, "/dev/shm/incidents-*-%.16s-*", hash);
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
    (void)fclose(file);
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

static void signal_postgres(const struct site *site, int signal_number)
{
    char *end;

    assert_int_equal(kill(site->postgres, signal_number), 0);
    for (const char *pid = site->paused; *pid != '\0'; pid = *end == ' ' ? end + 1 : end) {
        (void)kill((pid_t)strtol(pid, &end, 10), signal_number);
    }
}

void site_pause_postgres(struct site *site)
{
    (void)snprintf(site->paused, sizeof site->paused, "%s",
                   site_query(site, "SELECT coalesce(string_agg(pid::text, ' '), '') FROM pg_stat_activity "
                                    "WHERE usename = 'incidents_fcgi'"));
    signal_postgres(site, SIGSTOP);
}

bool site_pause_session(struct site *site, int nth)
{
    char sql[256];

    (void)snprintf(sql, sizeof sql,
                   "SELECT (array_agg(pid ORDER BY backend_start))[1 + %d %% count(*)::integer] "
                   "FROM pg_stat_activity WHERE usename = 'incidents_fcgi' HAVING count(*) > 0",
                   nth);
    (void)snprintf(site->paused, sizeof site->paused, "%s", site_query(site, sql));
    return site->paused[0] != '\0' && kill((pid_t)strtol(site->paused, NULL, 10), SIGSTOP) == 0;
}

void site_resume_postgres(struct site *site)
{
    signal_postgres(site, SIGCONT);
    site->paused[0] = '\0';
}

size_t site_count_in_log(const struct site *site, const char *text)
{
    char path[SITE_PATH_MAX], *log;
    size_t count = 0;

    (void)snprintf(path, sizeof path, "%s/postgres.log", site->directory);
    log = read_whole_file(path);
    for (const char *found = log; (found = strstr(found, text)) != NULL; found++) {
        count++;
    }
    free(log);
    return count;
}

PGconn *site_hold(const struct site *site, const char *sql)
{
    PGconn *holder = PQconnectdb(site->owner_url);

    PQclear(PQexec(holder, "BEGIN"));
    PQclear(PQexec(holder, sql));
    assert_int_equal(PQtransactionStatus(holder), PQTRANS_INTRANS);
    return holder;
}

void site_let_go(PGconn *holder)
{
    PQclear(PQexec(holder, "ROLLBACK"));
    PQfinish(holder);
}

void site_await_lock_wait(struct site *site)
{
    int64_t deadline = clock_now_ms() + START_TIMEOUT_MS;
    /* Of Citus, a session waits on the node that has the row. */
    const char *sql = *site_query(site, "SELECT to_regclass('citus_lock_waits')") != '\0'
                          ? "SELECT waiting_gpid FROM citus_lock_waits"
                          : "SELECT pid FROM pg_locks WHERE NOT granted";

    while (*site_query(site, sql) == '\0') {
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(2);
    }
}

void site_make_operations(struct site *site)
{
    (void)site_query(site, "CREATE SCHEMA IF NOT EXISTS test");
    (void)site_query(
        site,
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
