/* What nginx makes of a request: chunked bodies, connections that it keeps, and requests of all sorts side by
 * side. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi_checks.h"
#include "harness/fixture.h"

enum { LIMIT = 1024 * 1024, TIMEOUT_MS = 20000 };

static struct stack stack;

/* Appends text with every `from` replaced; there must be one. */
static void append_replaced(struct buffer *out, const char *text, const char *from, const char *to)
{
    const char *found = strstr(text, from);

    if (found == NULL) {
        fail_msg("the configuration that scripts/service wrote has no \"%s\"", from);
    }
    for (; found != NULL; found = strstr(text, from)) {
        buffer_append(out, text, (size_t)(found - text));
        buffer_append_text(out, to);
        text = found + strlen(from);
    }
    buffer_append_text(out, text);
}

struct replacement {
    const char *from;
    const char *to;
};

/* Writes a file of the running nginx anew, changed, into another directory. */
static void derive_file(const char *name, const char *directory, const struct replacement *replacements,
                        size_t count)
{
    char path[STACK_PATH_MAX];
    char *text;
    FILE *file;

    snprintf(path, sizeof path, "%s/nginx/%s", stack.directory, name);
    text = read_whole_file(path);
    for (size_t i = 0; i < count; i++) {
        struct buffer changed;

        buffer_init(&changed, LIMIT);
        append_replaced(&changed, text, replacements[i].from, replacements[i].to);
        free(text);
        text = changed.data;
    }
    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    free(text);
}

/* Starts a second nginx, as scripts/service does, with that configuration; sets up a stack to send through
 * it.
 */
static pid_t start_other_nginx(const char *directory, struct stack *other)
{
    char configuration[STACK_PATH_MAX], log[STACK_PATH_MAX], start[4 * STACK_PATH_MAX];
    const char *const argv[] = {"/bin/sh", "-c", start, NULL};
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    pid_t pid;

    snprintf(configuration, sizeof configuration, "%s/nginx.conf", directory);
    snprintf(log, sizeof log, "%s/start.log", directory);
    /* Postgres's user is the one who may use the worker's socket where root runs this. */
    snprintf(start, sizeof start,
             "PATH=$PATH:/usr/sbin; exec setpriv --pdeathsig QUIT %s -- nginx -p %s/ -c %s -e %s/error.log",
             geteuid() == 0 ? "--reuid postgres --regid postgres --init-groups" : "", directory,
             configuration, directory);
    pid = process_start(argv, NULL, log);
    *other = stack;
    snprintf(other->nginx_socket, sizeof other->nginx_socket, "%s/nginx.sock", directory);
    while (!http_is_listening(other->nginx_socket)) {
        if (clock_now_ms() > deadline_ms || process_wait(pid, 10) >= 0) {
            char *text = read_whole_file(log);

            fprintf(stderr, "%s\n", text);
            free(text);
            fail_msg("nginx does not start with %s", configuration);
        }
    }
    return pid;
}

static pid_t derive_nginx(const char *name, const struct replacement *replacements, size_t count,
                          struct stack *other)
{
    char directory[96], listen[160], include[160], old_listen[160], old_include[160];
    const struct replacement main_replacements[] = {{old_listen, listen}, {old_include, include}};

    snprintf(directory, sizeof directory, "%s/%s", stack.directory, name);
    assert_int_equal(mkdir(directory, 0700), 0);
    if (geteuid() == 0) {
        struct passwd *user = getpwnam("postgres");

        assert_non_null(user);
        assert_int_equal(chown(directory, user->pw_uid, user->pw_gid), 0);
    }
    snprintf(old_listen, sizeof old_listen, "listen unix:%s;", stack.nginx_socket);
    snprintf(listen, sizeof listen, "listen unix:%s/nginx.sock;", directory);
    snprintf(old_include, sizeof old_include, "include %s/nginx/incidents.conf;", stack.directory);
    snprintf(include, sizeof include, "include %s/incidents.conf;", directory);
    derive_file("nginx.conf", directory, main_replacements, 2);
    derive_file("incidents.conf", directory, replacements, count);
    return start_other_nginx(directory, other);
}

static void a_chunked_body_is_read_whole(void **state)
{
    static const char body[] = "{\"reference_id\":\"chunked\",\"started_at\":\"2024-01-01\"}";
    const struct call call = {
        .path = "incidents.upsert", .body = body, .headers = {"Transfer-Encoding: chunked"}};
    struct http_response response;

    http_through_nginx(&stack, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    assert_true(is_stored(&stack, "chunked"));
}

static void a_chunked_body_that_nginx_does_not_buffer_is_read_whole(void **state)
{
    static const struct replacement replacements[] = {
        {"fastcgi_request_buffering on;", "fastcgi_request_buffering off;"},
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    char *large = make_body(LIMIT), *over = make_body(LIMIT + 1);
    struct stack other;
    pid_t pid = derive_nginx("unbuffered", replacements, 2, &other);
    struct call call = {.path = "incidents.upsert", .headers = {"Transfer-Encoding: chunked"}};
    struct http_response response;

    call.body = "{\"reference_id\":\"streamed\",\"started_at\":\"2024-01-01\"}";
    http_through_nginx(&other, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    assert_true(is_stored(&stack, "streamed"));
    call.body = large;
    http_through_nginx(&other, &call, &response);
    if (response.status != 200) {
        fail_msg("a chunked body of 1 MiB was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    call.body = over;
    http_through_nginx(&other, &call, &response);
    if (response.status != 413) {
        fail_msg("a chunked body over the limit was answered %d: %s", response.status, response.body);
    }
    http_response_free(&response);
    free(large);
    free(over);
    http_close();
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
}

/* How many connections to the worker's socket are open, by the kernel's table. */
static size_t open_connections(void)
{
    char *table = read_whole_file("/proc/net/unix"), *line;
    size_t count = 0;

    for (line = strtok(table, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char state[3] = "";

        /* Num RefCount Protocol Flags Type St Inode Path; state 03 is connected. */
        if (strstr(line, stack.worker_socket) != NULL &&
            sscanf(line, "%*s %*s %*s %*s %*s %2s", state) == 1 && strcmp(state, "03") == 0) {
            count++;
        }
    }
    free(table);
    return count;
}

static void send_all_sorts(struct load_client *client)
{
    char *over = malloc(LIMIT + 1);

    memset(over, ' ', LIMIT);
    over[LIMIT] = '\0';
    for (size_t i = 0; i < 25; i++) {
        char reference_id[32], body[128];
        const struct call calls[] = {
            {.path = "incidents.upsert", .body = body},
            {.path = "incidents.upsert", .body = body, .authorization = "Bearer wrong"},
            {.path = "incidents.forge", .body = body},
            {.verb = "PUT", .path = "incidents.upsert", .body = body},
            {.path = "incidents.upsert", .body = over, .body_len = LIMIT + (i % 3 == 0 ? 1 : 0)},
            {.path = "incidents.upsert", .body = "{\"reference_id\":"},
            {.verb = "GET", .path = "healthz"},
        };
        const int statuses[] = {200, 401, 404, 405, i % 3 == 0 ? 413 : 422, 422, 200};
        size_t which = (i + client->number) % 7;
        struct http_response response;

        snprintf(reference_id, sizeof reference_id, "mixed-%zu-%zu", client->number, i);
        format_upsert(body, sizeof body, reference_id);
        if (load_send(client, &calls[which], statuses[which], &response)) {
            if (which == 0 && strcmp(http_response_text(&response, "reference_id"), reference_id) != 0) {
                load_fail(client, "%s was answered with another's response: %s", reference_id, response.body);
            } else if (statuses[which] != 200 && *http_response_text(&response, "error") == '\0') {
                load_fail(client, "%d was answered without an error code: %s", response.status,
                          response.body);
            }
        }
        http_response_free(&response);
    }
    free(over);
}

static void without_kept_connections_each_of_200_mixed_requests_gets_its_own_response(void **state)
{
    static const struct replacement replacements[] = {
        {"fastcgi_keep_conn on;", "fastcgi_keep_conn off;"},
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    struct stack other;
    pid_t pid = derive_nginx("unkept", replacements, 2, &other);

    load_run(&other, 8, send_all_sorts, NULL);
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
    check_the_worker_serves(&stack, "after connections that are not kept");
}

static void with_kept_connections_each_of_200_mixed_requests_gets_its_own_response(void **state)
{
    static const struct replacement replacements[] = {
        {"client_max_body_size 2m;", "client_max_body_size 8m;"}};
    struct stack other;
    pid_t pid = derive_nginx("kept", replacements, 1, &other);
    size_t kept;

    load_run(&other, 8, send_all_sorts, NULL);
    kept = open_connections();
    assert_int_equal(process_stop(pid, SIGQUIT), 0);
    if (kept == 0) {
        fail_msg("nginx has kept no connection: the test has tested nothing");
    }
    check_the_worker_serves(&stack, "after kept connections");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_chunked_body_is_read_whole),
        cmocka_unit_test(a_chunked_body_that_nginx_does_not_buffer_is_read_whole),
        cmocka_unit_test(without_kept_connections_each_of_200_mixed_requests_gets_its_own_response),
        cmocka_unit_test(with_kept_connections_each_of_200_mixed_requests_gets_its_own_response),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
