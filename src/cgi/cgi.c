/* Plain CGI: one request, from the environment and standard input (RFC 3875). */
#include "cgi/cgi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/method.h"
#include "store/op_error.h"
#include "base/clock.h"
#include "base/log.h"
#include "api/exchange.h"
#include "store/store.h"

enum { ANSWER_MAX = 64 * 1024 };

bool cgi_is_wanted(void)
{
    return getenv("GATEWAY_INTERFACE") != NULL || getenv("REQUEST_METHOD") != NULL;
}

static const char *read_variable(void *context, enum request_variable_number number)
{
    (void)context;
    return getenv(request_variable_name(number));
}

static long read_stdin(void *context, char *data, size_t len)
{
    const int *timeout_ms = context;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    for (;;) {
        int ready = poll(&input, 1, *timeout_ms);
        ssize_t got;

        if (ready == 0) {
            return -1;
        }
        got = ready < 0 ? -1 : read(STDIN_FILENO, data, len);
        if (got >= 0 || errno != EINTR) {
            return got;
        }
    }
}

static bool write_stdout(struct slice answer)
{
    size_t written = 0;

    while (written < answer.len) {
        ssize_t n = write(STDOUT_FILENO, answer.data + written, answer.len - written);

        if (n < 0 && errno != EINTR) {
            log_error("unable to write the answer: %s", strerror(errno));
            return false;
        }
        written += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* Whether the input may hold a body whose length the server did not give. A GET and a HEAD have one only
 * where the server says so: nobody promises that their input ends. */
static bool may_have_body(void)
{
    const char *verb = request_look_up(read_variable, NULL, REQUEST_METHOD);

    return (strcmp(verb, "GET") != 0 && strcmp(verb, "HEAD") != 0) ||
           getenv("HTTP_TRANSFER_ENCODING") != NULL;
}

/* Whether the text says how long the body is. */
static bool is_length(const char *text)
{
    int64_t length;

    return request_read_content_length((struct slice){.data = text, .len = strlen(text)}, &length) &&
           length != CONTENT_LENGTH_NONE;
}

/* RFC 3875 section 4.2: no more than CONTENT_LENGTH bytes may be read. Where a server gives none (a chunked
 * body, or HTTP/2), or what is no number, the body ends with the input. */
static struct body_source body_of_stdin(int *timeout_ms)
{
    const char *length = request_look_up(read_variable, NULL, CONTENT_LENGTH);

    if (!is_length(length) && !may_have_body()) {
        length = "0";
    }
    return (struct body_source){.read = read_stdin, .context = timeout_ms, .content_length = length};
}

/* Has the database asked by this process itself; the store, which is to be stopped behind the answer. */
static struct store *ask_database(const struct settings *settings, struct store_op *op)
{
    struct store *store = store_start_single(settings);

    if (store == NULL) {
        op->outcome = OP_FAILED;
    } else {
        store_apply(store, op);
    }
    return store;
}

int cgi_serve(const struct settings *settings)
{
    struct store *store = NULL;
    int timeout_ms = settings->body_timeout_ms;
    struct body_source source = body_of_stdin(&timeout_ms);
    int64_t started_ms;
    struct buffer body, written;
    struct exchange exchange;
    struct exchange_answer answer;
    bool ok;

    buffer_init(&body, settings->body_limit);
    buffer_init(&written, ANSWER_MAX);
    exchange_begin(&exchange, read_variable, NULL);
    request_read_body(&exchange.request, &source, settings->body_limit, &body);
    started_ms = clock_now_ms();
    if (api_ask(&exchange)) {
        store = ask_database(settings, &exchange.op);
    }
    exchange.started_ms = started_ms;
    exchange_end(&exchange, &written, &answer);
    ok = write_stdout(answer.text);
    buffer_free(&written);
    buffer_free(&body);
    if (store != NULL) {
        store_stop(store);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* mod_cgid and others cut or lose the answer of a program that leaves its body unread. */
static void discard_body(struct request *request)
{
    int timeout_ms = SETTINGS_BODY_TIMEOUT_MS;
    struct body_source source = body_of_stdin(&timeout_ms);
    struct buffer nothing;

    buffer_init(&nothing, 0);
    request_read_body(request, &source, 0, &nothing);
    buffer_free(&nothing);
}

void cgi_refuse(void)
{
    struct request request;
    struct response response;
    struct buffer written;
    struct exchange_answer answer;
    struct error error;

    request_init(&request, read_variable, NULL);
    discard_body(&request);
    log_error("unable to answer request_id=\"%s\": the worker cannot start", request.id);
    response_init(&response, request.verb);
    (void)op_check(&(struct store_op){.outcome = OP_FAILED}, NULL, &error);
    answer_error(&response, &error);
    buffer_init(&written, ANSWER_MAX);
    exchange_write(&response, request.id, &written, &answer);
    (void)write_stdout(answer.text);
    buffer_free(&written);
    response_free(&response);
}
