/* The web server as incidentctl doctor sees it: real requests to the URL that clients use, by curl(1), which
 * speaks TLS, proxies and HTTP as they do. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "incidentctl/doctor/web.h"
#include "incidentctl/token.h"
#include "http/bearer.h"
#include "base/digest.h"

enum { NO_CURL = 127, RESPONSE_MAX = 4096, LARGE_BODY = 1000 * 1000 };

static const char subject[] = "web server";

/* A response: curl's exit status, the HTTP status, "HEADER: VALUE" of what tells most about it, the beginning
 * of the body, or of curl's error message. */
struct response {
    int curl;
    int status;
    char header[256];
    char body[RESPONSE_MAX];
};

/* In the child: curl with its configuration, the token in it, from a descriptor; the token must not stand in
 * the list of processes. */
static void run_curl(int configuration, int output, int errors)
{
    static char *const arguments[] = {"curl", "--disable", "--config", "-", NULL};

    if (dup2(configuration, STDIN_FILENO) >= 0 && dup2(output, STDOUT_FILENO) >= 0 &&
        dup2(errors, STDERR_FILENO) >= 0) {
        execvp(arguments[0], arguments);
    }
    _exit(NO_CURL);
}

static int temporary_file(const char *name)
{
    return memfd_create(name, 0);
}

static void read_text(int file, char *text, size_t size)
{
    ssize_t len = pread(file, text, size - 1, 0);

    text[len < 0 ? 0 : len] = '\0';
}

/* Takes the HTTP status and a header from the last line of standard error; an error message of curl stands
 * before it. */
static void read_response(int output, int errors, struct response *response)
{
    char text[RESPONSE_MAX];
    char *last;

    read_text(errors, text, sizeof text);
    last = strrchr(text, '\n');
    if (last != NULL) {
        char *header = last + 1;

        response->status = (int)strtol(last + 1, &header, 10);
        snprintf(response->header, sizeof response->header, "%s", header);
        *last = '\0';
    }
    read_text(output, response->body, sizeof response->body);
    if (response->curl != 0 && response->body[0] == '\0') {
        snprintf(response->body, sizeof response->body, "%s", text);
    }
}

/* In curl's configuration a quoted text has escapes. */
static void write_authorization(int configuration, const char *token)
{
    dprintf(configuration, "header = \"Authorization: Bearer ");
    for (; *token != '\0'; token++) {
        dprintf(configuration, "%s%c", *token == '"' || *token == '\\' ? "\\" : "", *token);
    }
    dprintf(configuration, "\"\n");
}

/* Sends one request. body is a descriptor's number, or -1 for a GET. */
static struct response send_request(const struct doctor *doctor, const char *method, const char *token,
                                    int body)
{
    struct response response = {.curl = NO_CURL};
    int configuration = temporary_file("configuration"), output = temporary_file("output"),
        errors = temporary_file("errors"), status = 0;
    const char *slash = doctor->url[strlen(doctor->url) - 1] == '/' ? "" : "/";
    pid_t child;

    if (configuration < 0 || output < 0 || errors < 0) {
        return response;
    }
    dprintf(configuration,
            "url = \"%s%s%s\"\nsilent\nshow-error\nmax-time = 20\ngloboff\nmax-filesize = 1000000\n"
            "write-out = \"%%{stderr}\\n%%{http_code} %%{content_type}%%{redirect_url}\"\n",
            doctor->url, slash, method);
    if (token != NULL) {
        write_authorization(configuration, token);
    }
    if (body >= 0) {
        dprintf(configuration, "data-binary = \"@/proc/self/fd/%d\"\n", body);
    }
    lseek(configuration, 0, SEEK_SET);
    child = fork();
    if (child == 0) {
        run_curl(configuration, output, errors);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
        continue;
    }
    response.curl = child > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : NO_CURL;
    read_response(output, errors, &response);
    close(configuration);
    close(output);
    close(errors);
    return response;
}

static bool is_ours(const struct response *response)
{
    return strncmp(response->body, "{\"ok\":", 6) == 0;
}

/* The bytes of the base URL in that of a method; 0 if it is none. */
static size_t base_of_method(const char *url)
{
    static const char *const methods[] = {"/incidents.upsert", "/incidents.delete", "/incidents.sync"};
    size_t len = strlen(url);

    len -= len > 0 && url[len - 1] == '/' ? 1 : 0;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        size_t method = strlen(methods[i]);

        if (len > method && strncmp(url + len - method, methods[i], method) == 0) {
            return len - method + 1;
        }
    }
    return 0;
}

/* The worker alone returns 405 for a GET of incidents.upsert. */
static bool is_a_methods(const struct response *response)
{
    return response->status == 405 && is_ours(response);
}

/* Whether clients may append a method's name. healthz is at the root as well where our configuration is
 * included, and the worker looks at the last segment of a path alone; so either URL looks right. */
static bool check_url(struct doctor *doctor)
{
    const char *slash = doctor->url[strlen(doctor->url) - 1] == '/' ? "" : "/";
    size_t base = base_of_method(doctor->url);
    struct response response;

    if (base > 0) {
        checks_report(doctor, FINDING_PROBLEM, subject,
                      "leave the method out, here and in the settings of clients",
                      "%s names a method: the base URL is %.*s", doctor->url, (int)base, doctor->url);
        return false;
    }
    response = send_request(doctor, "incidents.upsert", NULL, -1);
    if (response.curl != 0 || is_a_methods(&response)) {
        return true;
    }
    response = send_request(doctor, "api/incidents.upsert", NULL, -1);
    if (!is_a_methods(&response)) {
        return true;
    }
    checks_report(doctor, FINDING_PROBLEM, subject,
                  "name it with /api/ at its end, here and in the settings of clients",
                  "%s lacks /api/: methods are at %s%sapi/", doctor->url, doctor->url, slash);
    return false;
}

/* What to do about an exit status of curl(1). */
static const char *curl_advice(int status)
{
    static const struct {
        int status;
        const char *advice;
    } advices[] = {
        {3, "correct --url; it is like https://your.host/api/"},
        {6, "the host's name is misspelt, or DNS does not have it"},
        {7, "the web server does not run, or listens on another address or port, or a firewall is between"},
        {28, "nothing came in 20 s: a firewall, the wrong host, or a worker that stands still"},
        {35, "TLS fails: does that port speak TLS, or is it http://?"},
        {52, "the server closes the connection: does that port speak TLS, so that it is https://?"},
        {56, "the server resets the connection: does that port speak TLS, so that it is https://?"},
        {60,
         "the certificate is expired, for another name, or of an authority that this machine does not know: "
         "clients refuse it too"},
    };

    for (size_t i = 0; i < sizeof advices / sizeof advices[0]; i++) {
        if (advices[i].status == status) {
            return advices[i].advice;
        }
    }
    return "does the web server run, and is that its name and port?";
}

/* What to do about a response to healthz that is not the worker's 200. */
static const char *health_advice(const struct response *response)
{
    switch (response->status) {
    case 301:
    case 302:
    case 307:
    case 308:
        return "give the URL that it leads to, most likely with https://; clients need it as well";
    case 401:
    case 403:
    case 407:
        return "something before the worker wants a password or refuses this address (auth_basic, allow, a "
               "proxy): "
               "take it away for this path, as the worker checks tokens itself";
    case 500:
    case 502:
    case 503:
    case 504:
        return "it does not reach the worker: does that run, and may the web server's user write to its "
               "socket "
               "(ls -l /run/incidents) or execute it? Its error log has the reason";
    default:
        break;
    }
    return is_ours(response)
               ? "correct --url: it ends where a method's name begins, as in https://your.host/api/"
               : "its configuration does not hand this path on: is ours included, in the right server or "
                 "virtual "
                 "host, and was it reloaded? The URL ends where a method's name begins, as in "
                 "https://your.host/api/";
}

/* Whether the worker is reached; false where further checks are of no use. */
static bool check_health(struct doctor *doctor)
{
    struct response response = send_request(doctor, "healthz", NULL, -1);

    if (response.curl == NO_CURL) {
        checks_report(doctor, FINDING_NOTE, subject, "apt-get install curl", "curl is not installed");
    } else if (response.curl != 0) {
        checks_report(doctor, FINDING_PROBLEM, subject, curl_advice(response.curl), "%s", response.body);
    } else if (response.status == 200 && is_ours(&response)) {
        checks_report(doctor, FINDING_OK, subject, NULL, "hands requests on to the worker");
        return true;
    } else if (is_ours(&response)) {
        checks_report(doctor, FINDING_PROBLEM, subject, health_advice(&response), "healthz returns %d: %s",
                      response.status, response.body);
    } else {
        checks_report(doctor, FINDING_PROBLEM, subject, health_advice(&response),
                      "healthz returns %d, not by the worker:%s", response.status, response.header);
    }
    return false;
}

static void check_readiness(struct doctor *doctor)
{
    struct response response = send_request(doctor, "readyz", NULL, -1);

    if (response.curl == 0 && response.status == 200) {
        checks_report(doctor, FINDING_OK, "worker", NULL,
                      "reaches its database, and finds the schema that it needs");
    } else {
        checks_report(doctor, FINDING_PROBLEM, "worker",
                      "its log says why: journalctl -u incidents, or the web server's error log",
                      "readyz returns %d: %s", response.status, response.body);
    }
}

/* Makes a token that is valid for as long as this takes. */
static bool create_token(struct doctor *doctor, char token[TOKEN_SIZE])
{
    char hash[DIGEST_HEX_SIZE];
    const char *value = hash;
    PGresult *result;
    bool ok;

    if (doctor->owner == NULL || !token_make(token)) {
        return false;
    }
    digest_sha256((struct slice){.data = token, .len = strlen(token)}, hash);
    result = PQexecParams(
        doctor->owner,
        "INSERT INTO intake.api_token (token_hash, prefix, label, scopes, expires_at) VALUES "
        "(decode($1, 'hex'), 'doctor', 'incidentctl doctor', '{upsert}', now() + interval '2 minutes')",
        1, NULL, &value, NULL, NULL, 0);
    ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return ok;
}

static void delete_token(struct doctor *doctor, const char *token)
{
    char hash[DIGEST_HEX_SIZE];
    const char *value = hash;

    digest_sha256((struct slice){.data = token, .len = strlen(token)}, hash);
    PQclear(PQexecParams(doctor->owner, "DELETE FROM intake.api_token WHERE token_hash = decode($1, 'hex')",
                         1, NULL, &value, NULL, NULL, 0));
}

/* Looks at the response to a request whose body is no incident, so that nothing is stored: with a valid token
 * it is refused for its body, or for the token's scope, without one for the token. */
static void check_authorization(struct doctor *doctor, const char *token, bool is_temporary)
{
    int body = temporary_file("body");
    struct response response;

    dprintf(body, "{}");
    response = send_request(doctor, "incidents.upsert", token, body);
    close(body);
    if ((response.status == 422 || response.status == 403) && is_ours(&response)) {
        checks_report(doctor, FINDING_OK, subject, NULL, "hands the Authorization header on");
    } else if (response.status == 401 && is_ours(&response)) {
        checks_report(
            doctor, FINDING_PROBLEM, subject,
            "under Apache, CGIPassAuth On or the SetEnvIf line; elsewhere, auth_basic off, and no proxy "
            "before "
            "it that takes the header for itself. Or the worker has another database than this one",
            is_temporary
                ? "a valid token does not arrive at the worker: the Authorization header is lost on the way"
                : "the token of INCIDENTS_TOKEN is not valid, or does not arrive at the worker");
    } else {
        checks_report(doctor, FINDING_PROBLEM, subject, "the worker's log has the reason",
                      "incidents.upsert returns %d: %s", response.status, response.body);
    }
}

static void check_large_body(struct doctor *doctor, const char *token)
{
    int body = temporary_file("body");
    struct response response;

    for (int i = 0; i < LARGE_BODY / 1000; i++) {
        dprintf(body, "%1000s", "");
    }
    response = send_request(doctor, "incidents.upsert", token, body);
    close(body);
    if (response.status == 413 || response.status == 500) {
        checks_report(doctor, FINDING_WARNING, subject,
                      "client_max_body_size of nginx, LimitRequestBody of Apache, FcgidMaxRequestLen of "
                      "mod_fcgid (which "
                      "returns 500), INCIDENTS_BODY_LIMIT of the worker",
                      "a body of a megabyte gets %d", response.status);
    } else if (response.status == 422 && is_ours(&response)) {
        checks_report(doctor, FINDING_OK, subject, NULL, "lets a body of a megabyte through");
    } else {
        checks_report(doctor, FINDING_PROBLEM, subject, "the worker's log has the reason",
                      "a body of a megabyte gets %d: %s", response.status, response.body);
    }
}

/* Both, with a token. A large body is of no use where the small one did not come through. */
static void check_with(struct doctor *doctor, const char *token, bool is_temporary)
{
    int problems = doctor->problems;

    check_authorization(doctor, token, is_temporary);
    if (doctor->problems == problems) {
        check_large_body(doctor, token);
    }
}

void web_check(struct doctor *doctor)
{
    const char *given = getenv("INCIDENTS_TOKEN");
    char temporary[TOKEN_SIZE];

    if (doctor->url == NULL) {
        checks_report(doctor, FINDING_NOTE, subject, "name the base URL: --url https://your.host/api/",
                      "not checked");
        return;
    }
    if (!check_url(doctor) || !check_health(doctor)) {
        return;
    }
    check_readiness(doctor);
    if (given != NULL && bearer_token_is_valid((struct slice){.data = given, .len = strlen(given)})) {
        check_with(doctor, given, false);
    } else if (create_token(doctor, temporary)) {
        check_with(doctor, temporary, true);
        delete_token(doctor, temporary);
    } else {
        checks_report(
            doctor, FINDING_NOTE, subject,
            "run it with the owner's DATABASE_URL, or a token as INCIDENTS_TOKEN, in the environment",
            "a token is needed to check whether it hands the Authorization header on");
    }
}
