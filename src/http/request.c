/* Making a request out of a web server's variables and a stream of bytes. */
#include "http/request.h"

#include <string.h>
#include <sys/random.h>

#include "base/hex.h"

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
    /* Those of one length end differently, most of them: fewer calls of memcmp. */
    for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
        const struct slice *known = &variable_names[i];

        if (known->len == name.len && known->data[name.len - 1] == name.data[name.len - 1] &&
            memcmp(known->data, name.data, name.len) == 0) {
            return i;
        }
    }
    return REQUEST_VARIABLES;
}

const char *request_variable_name(enum request_variable variable)
{
    return variable_names[variable].data;
}

void stream_init(struct stream *stream, size_t max)
{
    stream->total = 0;
    buffer_init(&stream->bytes, max);
}

void stream_free(struct stream *stream)
{
    stream->total = 0;
    buffer_free(&stream->bytes);
}

void stream_reset(struct stream *stream, size_t keep)
{
    stream->total = 0;
    buffer_reset(&stream->bytes, keep);
}

void stream_append(struct stream *stream, const char *data, size_t len)
{
    stream->total += len;
    if (stream_is_over_limit(stream)) {
        buffer_free(&stream->bytes);
    } else {
        buffer_append(&stream->bytes, data, len);
    }
}

bool stream_is_over_limit(const struct stream *stream)
{
    return stream->total > stream->bytes.max;
}

static const char *or_empty(const char *value)
{
    return value != NULL ? value : "";
}

/* The contract: PATH_INFO where it is set and not empty, else SCRIPT_NAME; its last segment. */
static const char *find_method(const char *path_info, const char *script_name)
{
    const char *path = *path_info != '\0' ? path_info : script_name;
    const char *slash = strrchr(path, '/');

    return slash == NULL ? path : slash + 1;
}

static const char *find_authorization(const char *const variables[REQUEST_VARIABLES])
{
    for (size_t i = HTTP_AUTHORIZATION; i <= REDIRECT_REDIRECT_HTTP_AUTHORIZATION; i++) {
        if (*or_empty(variables[i]) != '\0') {
            return variables[i];
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
        memset(random, 0, sizeof random); /* an id is no secret: better one that repeats than no response */
    }
    hex_encode(random, sizeof random, id);
}

bool request_read_content_length(const char *text, int64_t *length)
{
    enum { DIGITS_MAX = 18 };
    int64_t value = 0;

    *length = CONTENT_LENGTH_NONE;
    if (text == NULL || *text == '\0' || strcmp(text, "-1") == 0) {
        return true;
    }
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (i == DIGITS_MAX || text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (text[i] - '0');
    }
    *length = value;
    return true;
}

static enum body_state judge_body(const struct stream *body, const char *content_length)
{
    int64_t declared;

    if (stream_is_over_limit(body)) {
        return BODY_TOO_LARGE;
    }
    if (body->bytes.failed) {
        return BODY_NO_MEMORY;
    }
    return request_read_content_length(content_length, &declared) &&
                   (declared == CONTENT_LENGTH_NONE || (uint64_t)declared == body->total)
               ? BODY_COMPLETE
               : BODY_CUT_SHORT;
}

const char *request_client(const char *const variables[REQUEST_VARIABLES])
{
    const char *client = or_empty(variables[REMOTE_ADDR]);

    return is_printable(client, CLIENT_ADDRESS_MAX) ? client : "";
}

void request_init(struct request *request, const char *const variables[REQUEST_VARIABLES],
                  const struct stream *body)
{
    const char *id = or_empty(variables[HTTP_X_REQUEST_ID]);

    *request = (struct request){
        .verb = or_empty(variables[REQUEST_METHOD]),
        .method = find_method(or_empty(variables[PATH_INFO]), or_empty(variables[SCRIPT_NAME])),
        .authorization = find_authorization(variables),
        .content_type = or_empty(variables[CONTENT_TYPE]),
        .content_encoding = or_empty(variables[HTTP_CONTENT_ENCODING]),
        .client = request_client(variables),
        .body = {.data = ""},
        .body_state = judge_body(body, variables[CONTENT_LENGTH]),
        .body_limit = body->bytes.max,
    };
    if (request->body_state == BODY_COMPLETE && body->total > 0) {
        request->body = (struct slice){.data = body->bytes.data, .len = body->bytes.len};
    }
    if (is_printable(id, REQUEST_ID_MAX)) {
        memcpy(request->id, id, strlen(id) + 1);
    } else {
        make_id(request->id);
    }
}
