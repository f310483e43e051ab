/* Sending a request over HTTP through nginx, or as a CGI server does, and taking the response apart. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness/http.h"

static _Thread_local CURL *curl;

bool http_is_listening(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool listening;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    listening = connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return listening;
}

static void append(char *text, size_t size, const char *data, size_t len)
{
    size_t used = strlen(text);

    if (len > size - used - 1) {
        len = size - used - 1;
    }
    memcpy(text + used, data, len);
    text[used + len] = '\0';
}

static size_t take_header(char *data, size_t size, size_t count, void *context)
{
    struct http_response *response = context;

    if (strncmp(data, "HTTP/", 5) == 0) {
        response->head[0] = '\0'; /* an interim response (100 Continue) came before */
    } else {
        append(response->head, sizeof response->head, data, size * count);
    }
    return size * count;
}

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct http_response *response = context;

    append(response->body, sizeof response->body, data, size * count);
    return size * count;
}

static size_t body_length(const struct call *call)
{
    if (call->body == NULL) {
        return 0;
    }
    return call->body_len > 0 ? call->body_len : strlen(call->body);
}

static const char *authorization_of(const struct stack *stack, const struct call *call, char *buffer,
                                    size_t size)
{
    if (call->authorization != NULL) {
        return call->authorization;
    }
    snprintf(buffer, size, "Bearer %s", stack->token);
    return buffer;
}

static const char content_type[] = "Content-Type";

static bool is_content_type(const char *header)
{
    size_t len = sizeof content_type - 1;

    return strncasecmp(header, content_type, len) == 0 && header[len] == ':';
}

static bool has_content_type(const struct call *call)
{
    for (size_t i = 0; i < HTTP_HEADERS_MAX && call->headers[i] != NULL; i++) {
        if (is_content_type(call->headers[i])) {
            return true;
        }
    }
    return false;
}

static struct curl_slist *make_headers(const struct stack *stack, const struct call *call)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    char value[8192], line[8192 + 32];
    const char *authorization = authorization_of(stack, call, value, sizeof value);

    if (*authorization != '\0') {
        snprintf(line, sizeof line, "Authorization: %s", authorization);
        headers = curl_slist_append(headers, line);
    }
    if (!has_content_type(call)) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
    }
    for (size_t i = 0; i < HTTP_HEADERS_MAX && call->headers[i] != NULL; i++) {
        headers = curl_slist_append(headers, call->headers[i]);
    }
    return headers;
}

static void parse_body(struct http_response *response)
{
    response->json = response->body[0] == '\0' ? NULL : json_tokener_parse(response->body);
}

void http_through_nginx(struct stack *stack, const struct call *call, struct http_response *response)
{
    const char *verb = call->verb == NULL ? "POST" : call->verb;
    struct curl_slist *headers = make_headers(stack, call);
    char url[1024];
    long status = 0;
    CURLcode code;

    *response = (struct http_response){0};
    if (curl == NULL) {
        curl = curl_easy_init();
        assert_non_null(curl);
    }
    curl_easy_reset(curl);
    snprintf(url, sizeof url, "http://localhost/api/%s%s%s", call->path, call->query == NULL ? "" : "?",
             call->query == NULL ? "" : call->query);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, stack->nginx_socket);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, response);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, response);
    if (call->body != NULL || strcmp(verb, "POST") == 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body_length(call));
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body == NULL ? "" : call->body);
    }
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(verb, "HEAD") == 0 ? 1L : 0L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, verb);
    code = curl_easy_perform(curl);
    if (code == CURLE_OK) {
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    response->status = (int)status; /* 0: no response came */
    curl_slist_free_all(headers);
    parse_body(response);
}

void http_close(void)
{
    if (curl != NULL) {
        curl_easy_cleanup(curl);
        curl = NULL;
    }
}

enum { VARIABLES_MAX = 32, VARIABLE_SIZE = 8192 };

/* The environment of a CGI program, RFC 3875 section 4.1. */
struct cgi_environment {
    char text[VARIABLES_MAX][VARIABLE_SIZE];
    const char *entries[VARIABLES_MAX + 1];
    size_t count;
};

static void set_variable(struct cgi_environment *environment, const char *name, const char *value)
{
    assert_true(environment->count < VARIABLES_MAX);
    snprintf(environment->text[environment->count], VARIABLE_SIZE, "%s=%s", name, value);
    environment->entries[environment->count] = environment->text[environment->count];
    environment->count++;
}

/* A header becomes HTTP_NAME, in capitals, '-' as '_'; Content-Type has a variable of its own. */
static void set_header(struct cgi_environment *environment, const char *header)
{
    char name[128] = "HTTP_";
    size_t len = is_content_type(header) ? 0 : 5;

    for (; *header != ':' && *header != '\0'; header++) {
        name[len++] = *header == '-' ? '_' : (char)toupper((unsigned char)*header);
    }
    name[len] = '\0';
    set_variable(environment, name, *header == '\0' ? "" : header + 1 + strspn(header + 1, " "));
}

/* Splits CGI's answer (RFC 3875 section 6) into status, head and body. */
static void split_response(const struct outcome *outcome, struct http_response *response)
{
    const char *blank = strstr(outcome->out, "\r\n\r\n");

    if (blank != NULL && strncmp(outcome->out, "Status: ", 8) == 0) {
        response->status = atoi(outcome->out + 8);
        append(response->head, sizeof response->head, outcome->out, (size_t)(blank - outcome->out) + 2);
        append(response->body, sizeof response->body, blank + 4, strlen(blank + 4));
    }
}

const struct outcome *http_run_cgi(struct stack *stack, const struct call *call,
                                   const char *const environment[], struct http_response *response)
{
    static struct cgi_environment variables;
    const char *const argv[] = {stack->program, NULL};
    const struct outcome *outcome;
    char value[VARIABLE_SIZE - 64];
    const char *authorization = authorization_of(stack, call, value, sizeof value);

    variables = (struct cgi_environment){.count = 0};
    set_variable(&variables, "GATEWAY_INTERFACE", "CGI/1.1");
    set_variable(&variables, "SERVER_PROTOCOL", "HTTP/1.1");
    set_variable(&variables, "REQUEST_METHOD", call->verb == NULL ? "POST" : call->verb);
    set_variable(&variables, "QUERY_STRING", call->query == NULL ? "" : call->query);
    set_variable(&variables, "SCRIPT_NAME", "/cgi-bin/incidents.fcgi");
    set_variable(&variables, "DATABASE_URL", stack->worker_url);
    if (*authorization != '\0') {
        set_variable(&variables, "HTTP_AUTHORIZATION", authorization);
    }
    if (!has_content_type(call)) {
        set_variable(&variables, "CONTENT_TYPE", "application/json");
    }
    for (size_t i = 0; i < HTTP_HEADERS_MAX && call->headers[i] != NULL; i++) {
        set_header(&variables, call->headers[i]);
    }
    snprintf(value, sizeof value, "/%s", call->path);
    set_variable(&variables, "PATH_INFO", value);
    snprintf(value, sizeof value, "%zu", body_length(call));
    set_variable(&variables, "CONTENT_LENGTH", value);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i++) {
        assert_true(variables.count < VARIABLES_MAX);
        variables.entries[variables.count++] = environment[i];
    }
    variables.entries[variables.count] = NULL;

    *response = (struct http_response){0};
    outcome = process_run_bare(argv, variables.entries, call->body, body_length(call));
    split_response(outcome, response);
    parse_body(response);
    return outcome;
}

void http_as_cgi(struct stack *stack, const struct call *call, struct http_response *response)
{
    const struct outcome *outcome = http_run_cgi(stack, call, NULL, response);

    if (outcome->status != 0) { /* a leak that the sanitizer found, among others */
        fail_msg("the CGI program ended with status %d: %s", outcome->status, outcome->err);
    }
}

int http_status(struct stack *stack, http_transport *transport, const struct call *call)
{
    struct http_response response;

    transport(stack, call, &response);
    http_response_free(&response);
    return response.status;
}

const char *http_expect(struct stack *stack, http_transport *transport, const struct call *call, int status)
{
    static char action[16];
    struct http_response response;

    transport(stack, call, &response);
    if (response.status != status) {
        fail_msg("%s should be answered %d, was answered %d: %s (the body was %.200s)", call->path, status,
                 response.status, response.body, call->body == NULL ? "" : call->body);
    }
    snprintf(action, sizeof action, "%s", http_response_text(&response, "action"));
    http_response_free(&response);
    return action;
}

const char *http_post(struct stack *stack, const char *path, const char *body, int status)
{
    return http_expect(stack, http_through_nginx, &(struct call){.path = path, .body = body}, status);
}

int http_upsert(struct stack *stack, const char *reference_id)
{
    char body[1200];

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    return http_status(stack, http_through_nginx, &(struct call){.path = "incidents.upsert", .body = body});
}

void http_response_free(struct http_response *response)
{
    json_object_put(response->json);
    response->json = NULL;
}

const char *http_response_header(const struct http_response *response, const char *name, char *buffer,
                                 size_t size)
{
    size_t len = strlen(name);

    for (const char *line = response->head; *line != '\0';) {
        const char *end = strpbrk(line, "\r\n");

        if (end == NULL) {
            end = line + strlen(line);
        }
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            const char *value = line + len + 1 + strspn(line + len + 1, " ");

            snprintf(buffer, size, "%.*s", (int)(end - value), value);
            return buffer;
        }
        line = end + strspn(end, "\r\n");
    }
    return NULL;
}

const char *http_response_text(const struct http_response *response, const char *member)
{
    struct json_object *value;

    if (!json_object_is_type(response->json, json_type_object) ||
        !json_object_object_get_ex(response->json, member, &value)) {
        return "";
    }
    return json_object_get_string(value);
}
