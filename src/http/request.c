/* Making a request out of a web server's variables and a stream of bytes. */
#include "http/request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hex.h"

enum { CHUNK_BYTES = 16 * 1024 };

/* With their lengths: each variable of each request is looked for here. */
#define NAME(text)                                                                                           \
    {                                                                                                        \
        .data = (text), .len = sizeof(text) - 1                                                              \
    }
static const struct slice variable_names[REQUEST_VARIABLES] = {
    [REQUEST_METHOD] = NAME("REQUEST_METHOD"),
    [PATH_INFO] = NAME("PATH_INFO"),
    [SCRIPT_NAME] = NAME("SCRIPT_NAME"),
    [CONTENT_LENGTH] = NAME("CONTENT_LENGTH"),
    [CONTENT_TYPE] = NAME("CONTENT_TYPE"),
    [REMOTE_ADDR] = NAME("REMOTE_ADDR"),
    [HTTP_CONTENT_ENCODING] = NAME("HTTP_CONTENT_ENCODING"),
    [HTTP_X_REQUEST_ID] = NAME("HTTP_X_REQUEST_ID"),
    [HTTP_AUTHORIZATION] = NAME("HTTP_AUTHORIZATION"),
    [REDIRECT_HTTP_AUTHORIZATION] = NAME("REDIRECT_HTTP_AUTHORIZATION"),
    [REDIRECT_REDIRECT_HTTP_AUTHORIZATION] = NAME("REDIRECT_REDIRECT_HTTP_AUTHORIZATION"),
};
#undef NAME

size_t request_find_variable(struct slice name)
{
    for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
        if (variable_names[i].len == name.len && memcmp(variable_names[i].data, name.data, name.len) == 0) {
            return i;
        }
    }
    return REQUEST_VARIABLES;
}

const char *request_variable_name(enum request_variable_number number)
{
    return variable_names[number].data;
}

const char *request_look_up(request_variable *variable, void *context, enum request_variable_number number)
{
    const char *value = variable(context, number);

    return value != NULL ? value : "";
}

/* The contract: PATH_INFO where it is set and not empty, else SCRIPT_NAME; its last segment. */
static const char *find_method(request_variable *variable, void *context)
{
    const char *path = request_look_up(variable, context, PATH_INFO);
    const char *slash;

    if (*path == '\0') {
        path = request_look_up(variable, context, SCRIPT_NAME);
    }
    slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static const char *find_authorization(request_variable *variable, void *context)
{
    for (int i = HTTP_AUTHORIZATION; i <= REDIRECT_REDIRECT_HTTP_AUTHORIZATION; i++) {
        const char *value = request_look_up(variable, context, (enum request_variable_number)i);

        if (*value != '\0') {
            return value;
        }
    }
    return NULL;
}

/* Whether it is 1 to max characters of printable ASCII. */
static bool is_printable(const char *text, size_t max)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return false;
        }
    }
    return len >= 1 && len <= max;
}

static void make_id(char id[REQUEST_ID_MAX + 1])
{
    unsigned char random[16];

    if (getrandom(random, sizeof random, 0) != sizeof random) {
        memset(random, 0, sizeof random); /* an id is no secret: better one that repeats than no answer */
    }
    hex_encode(random, sizeof random, id);
}

void request_init(struct request *request, request_variable *variable, void *context)
{
    const char *id = request_look_up(variable, context, HTTP_X_REQUEST_ID);
    const char *client = request_look_up(variable, context, REMOTE_ADDR);

    *request = (struct request){
        .verb = request_look_up(variable, context, REQUEST_METHOD),
        .method = find_method(variable, context),
        .authorization = find_authorization(variable, context),
        .content_type = request_look_up(variable, context, CONTENT_TYPE),
        .content_encoding = request_look_up(variable, context, HTTP_CONTENT_ENCODING),
        .client = is_printable(client, CLIENT_ADDRESS_MAX) ? client : "",
    };
    if (is_printable(id, REQUEST_ID_MAX)) {
        memcpy(request->id, id, strlen(id) + 1);
    } else {
        make_id(request->id);
    }
}

bool request_read_content_length(struct slice text, int64_t *length)
{
    enum { DIGITS_MAX = 18 };
    int64_t value = 0;

    *length = CONTENT_LENGTH_NONE;
    if (text.len == 0 || (text.len == 2 && memcmp(text.data, "-1", 2) == 0)) {
        return true;
    }
    if (text.len > DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (text.data[i] - '0');
    }
    *length = value;
    return true;
}

static bool read_length_of(const char *content_length, int64_t *length)
{
    return request_read_content_length((struct slice){.data = content_length, .len = strlen(content_length)},
                                       length);
}

void request_set_body(struct request *request, const char *content_length, const struct buffer *body,
                      size_t total, size_t limit)
{
    int64_t declared;
    bool well_declared = read_length_of(content_length, &declared);

    request->body_limit = limit;
    request->body_state = BODY_CUT_SHORT;
    request->body = (struct slice){.data = "", .len = 0};
    if (total > limit) {
        request->body_state = BODY_TOO_LARGE;
    } else if (body->failed) {
        request->body_state = BODY_NO_MEMORY;
    } else if (well_declared && (declared == CONTENT_LENGTH_NONE || (uint64_t)declared == total)) {
        request->body_state = BODY_COMPLETE;
        if (body->len > 0) {
            request->body = (struct slice){.data = body->data, .len = body->len};
        }
    }
}

void request_read_body(struct request *request, const struct body_source *source, size_t limit,
                       struct buffer *body)
{
    size_t wanted = BODY_DRAIN_MAX, total = 0;
    char chunk[CHUNK_BYTES];
    int64_t declared;
    long got = 1;

    request->body_state = BODY_CUT_SHORT;
    request->body = (struct slice){.data = "", .len = 0};
    /* One that is no number says nothing of where the body ends: it is read to the end as well. */
    if (read_length_of(source->content_length, &declared) && declared != CONTENT_LENGTH_NONE &&
        (uint64_t)declared < wanted) {
        wanted = (size_t)declared;
    }
    while (got > 0 && total < wanted) {
        size_t len = wanted - total < sizeof chunk ? wanted - total : sizeof chunk;

        got = source->read(source->context, chunk, len);
        if (got < 0) {
            return;
        }
        total += (size_t)got;
        if (total <= limit) {
            buffer_append(body, chunk, (size_t)got);
        }
    }
    request_set_body(request, source->content_length, body, total, limit);
}
