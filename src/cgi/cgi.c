/* Plain CGI: one request, from the environment and standard input (RFC 3875). */
#include "cgi/cgi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/exchange.h"
#include "api/router.h"
#include "base/log.h"
#include "store/store.h"

enum { CHUNK_BYTES = 16 * 1024 };

bool started_as_cgi(void)
{
    return getenv("GATEWAY_INTERFACE") != NULL || getenv("REQUEST_METHOD") != NULL;
}

/* Whether the input may hold a body whose length the server did not give. A GET and a HEAD have one only if
 * the server says so, because their input may never end. */
static bool may_have_body(const char *verb)
{
    return verb == NULL || (strcmp(verb, "GET") != 0 && strcmp(verb, "HEAD") != 0) ||
           getenv("HTTP_TRANSFER_ENCODING") != NULL;
}

/* No more than CONTENT_LENGTH bytes may be read (RFC 3875 section 4.2). If a server gives none (a chunked
 * body, or HTTP/2), or no number, the body ends with the input. */
static size_t bytes_to_read(const char *const variables[REQUEST_VARIABLES])
{
    int64_t length;

    if (!request_read_content_length(variables[CONTENT_LENGTH], &length) || length == CONTENT_LENGTH_NONE) {
        return may_have_body(variables[REQUEST_METHOD]) ? BODY_DRAIN_MAX : 0;
    }
    return length < BODY_DRAIN_MAX ? (size_t)length : BODY_DRAIN_MAX;
}

/* Reads what there is, at most len bytes; 0 at the end, -1 where it broke, or nothing came for so long. */
static ssize_t read_input(char *data, size_t len, int timeout_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

    for (;;) {
        int ready = poll(&input, 1, timeout_ms);
        ssize_t got = ready > 0 ? read(STDIN_FILENO, data, len) : -1;

        if (ready == 0 || got >= 0 || errno != EINTR) {
            return got;
        }
    }
}

static bool read_body(struct stream *body, size_t wanted, int timeout_ms)
{
    char chunk[CHUNK_BYTES];
    ssize_t got = 1;

    while (got > 0 && body->total < wanted) {
        size_t left = wanted - body->total;

        got = read_input(chunk, left < sizeof chunk ? left : sizeof chunk, timeout_ms);
        if (got > 0) {
            stream_append(body, chunk, (size_t)got);
        }
    }
    return got >= 0;
}

static void begin(struct exchange *exchange, struct stream *body, int timeout_ms)
{
    const char *variables[REQUEST_VARIABLES];
    bool has_ended;

    for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
        variables[i] = getenv(request_variable_name((enum request_variable)i));
    }
    has_ended = read_body(body, bytes_to_read(variables), timeout_ms);
    exchange_begin(exchange, variables, body);
    if (!has_ended) {
        exchange->request.body_state = BODY_CUT_SHORT;
    }
}

static bool write_output(struct slice response)
{
    size_t written = 0;

    while (written < response.len) {
        ssize_t n = write(STDOUT_FILENO, response.data + written, response.len - written);

        if (n < 0 && errno != EINTR) {
            log_error("unable to write the response: %s", strerror(errno));
            return false;
        }
        written += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool end(struct exchange *exchange)
{
    struct buffer out;
    bool ok;

    buffer_init(&out, RESPONSE_MAX);
    ok = write_output(exchange_end(exchange, &out));
    buffer_free(&out);
    return ok;
}

/* Has this process itself ask the database; the store, which is to be stopped behind the response. */
static struct store *ask_database(const struct settings *settings, struct store_op *op)
{
    struct store *store = store_start(settings, NULL);

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
    struct exchange exchange;
    struct stream body;
    bool ok;

    stream_init(&body, settings->body_limit);
    begin(&exchange, &body, settings->body_timeout_ms);
    if (router_dispatch(&exchange)) {
        store = ask_database(settings, &exchange.op);
    }
    ok = end(&exchange);
    stream_free(&body);
    if (store != NULL) {
        store_stop(store);
    }
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* The body is read: mod_cgid and others cut or lose the response of a program that leaves it unread. */
void cgi_refuse(void)
{
    struct exchange exchange;
    struct stream body;

    stream_init(&body, 0);
    begin(&exchange, &body, SETTINGS_BODY_TIMEOUT_MS);
    op_check(&(struct store_op){.outcome = OP_FAILED}, NULL, &exchange.error);
    end(&exchange);
    stream_free(&body);
}
