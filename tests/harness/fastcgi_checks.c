/* What a test of the worker's FastCGI socket expects. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/fastcgi_checks.h"

enum { TIMEOUT_MS = 20000, QUIET_MS = 300 };

void format_upsert(char *body, size_t size, const char *reference_id)
{
    snprintf(body, size, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
}

char *make_body(size_t len)
{
    static const char start[] = "{\"reference_id\":\"sized\",\"started_at\":\"2024-01-01\"";
    char *body = malloc(len + 1);

    assert_non_null(body);
    memset(body, ' ', len);
    memcpy(body, start, sizeof start - 1);
    body[len - 1] = '}';
    body[len] = '\0';
    return body;
}

bool is_stored(struct stack *stack, const char *reference_id)
{
    return strcmp(stack_query_for(stack, "SELECT count(*) FROM intake.incident WHERE reference_id = $1",
                                  reference_id),
                  "1") == 0;
}

size_t count_incidents(struct stack *stack)
{
    return strtoul(stack_query(stack, "SELECT count(*) FROM intake.incident"), NULL, 10);
}

size_t count_like(struct stack *stack, const char *pattern)
{
    return strtoul(
        stack_query_for(stack, "SELECT count(*) FROM intake.incident WHERE reference_id LIKE $1", pattern),
        NULL, 10);
}

void check_nothing_is_stored(struct stack *stack, const char *what)
{
    size_t count = count_incidents(stack);

    if (count != 0) {
        fail_msg("%s: %zu incidents were stored, \"%s\" among them", what, count,
                 stack_query(stack, "SELECT reference_id FROM intake.incident LIMIT 1"));
    }
}

void check_the_worker_serves(struct stack *stack, const char *what)
{
    const struct fastcgi_request request = {.path = "incidents.delete",
                                            .body = "{\"reference_id\":\"none\"}"};
    struct http_response response;

    if (process_wait(stack->worker, 0) >= 0) {
        stack->worker = 0;
        fail_msg("%s: the worker has ended, see %s", what, stack->worker_log);
    }
    if (fastcgi_exchange(stack, &request, &response) != FASTCGI_ANSWERED || response.status != 200) {
        fail_msg("%s: the worker does not serve any more: %d %s", what, response.status, response.body);
    }
    http_response_free(&response);
}

void check_response(const char *what, enum fastcgi_end end, const struct http_response *response, int status)
{
    if (end != FASTCGI_ANSWERED) {
        fail_msg("%s: no response came, but %s", what,
                 end == FASTCGI_CLOSED ? "the connection's end" : "silence, or bytes that are no FastCGI");
    }
    if (response->status != status) {
        fail_msg("%s: should be answered %d, was answered %d: %s", what, status, response->status,
                 response->body);
    }
    if (response->json == NULL) {
        fail_msg("%s: the response is not JSON: %s", what, response->body);
    }
}

void check_exchange(struct stack *stack, const char *what, const struct fastcgi_request *request, int status)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_exchange(stack, request, &response);

    check_response(what, end, &response, status);
    http_response_free(&response);
}

void expect_response(const char *what, int fd, int status)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, TIMEOUT_MS, &response);

    check_response(what, end, &response, status);
    http_response_free(&response);
}

void expect_no_response(const char *what, int fd)
{
    struct http_response response;
    enum fastcgi_end end = fastcgi_receive(fd, QUIET_MS, &response);

    if (end == FASTCGI_ANSWERED || end == FASTCGI_BROKEN) {
        fail_msg("%s: a response came that belongs to no request: %d %s", what, response.status,
                 response.body);
    }
    http_response_free(&response);
}

void expect_no_success(struct stack *stack, const char *what, const void *data, size_t len)
{
    int fd = fastcgi_connect(stack->worker_socket);
    struct http_response response;
    enum fastcgi_end end;

    fastcgi_send(fd, data, len);
    shutdown(fd, SHUT_WR);
    while ((end = fastcgi_receive(fd, TIMEOUT_MS, &response)) == FASTCGI_ANSWERED) {
        if (response.status == 200) {
            fail_msg("%s: was answered 200: %s", what, response.body);
        }
        http_response_free(&response);
    }
    if (end != FASTCGI_CLOSED) {
        fail_msg("%s: the worker keeps a connection on which nothing more can come", what);
    }
    close(fd);
}
