/* Making a request out of a web server's variables and a stream of bytes. */
#include "gateway/request.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/hex.h"

enum {
    DRAIN_FACTOR =
        16, /* a body is thrown away up to so many times the limit; beyond, the connection is closed */
    CHUNK_BYTES = 16 * 1024,
};

static const char *value_or_empty(const char *value)
{
    return value != NULL ? value : "";
}

/* The contract: PATH_INFO where it is set and not empty, else SCRIPT_NAME; its last segment. */
static const char *find_method(request_variable *variable, void *context)
{
    const char *path = value_or_empty(variable(context, "PATH_INFO"));
    const char *slash;

    if (*path == '\0') {
        path = value_or_empty(variable(context, "SCRIPT_NAME"));
    }
    slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/* Apache moves the header to REDIRECT_..., once for each internal redirect. */
static const char *find_authorization(request_variable *variable, void *context)
{
    static const char *const names[] = {"HTTP_AUTHORIZATION", "REDIRECT_HTTP_AUTHORIZATION",
                                        "REDIRECT_REDIRECT_HTTP_AUTHORIZATION"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = variable(context, names[i]);

        if (value != NULL && *value != '\0') {
            return value;
        }
    }
    return NULL;
}

static bool is_usable_id(const char *id)
{
    size_t len = strlen(id);

    for (size_t i = 0; i < len; i++) {
        if (id[i] < 0x20 || id[i] > 0x7e) {
            return false;
        }
    }
    return len >= 1 && len <= REQUEST_ID_MAX;
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
    const char *id = value_or_empty(variable(context, "HTTP_X_REQUEST_ID"));

    *request = (struct request){
        .verb = value_or_empty(variable(context, "REQUEST_METHOD")),
        .method = find_method(variable, context),
        .authorization = find_authorization(variable, context),
    };
    if (is_usable_id(id)) {
        memcpy(request->id, id, strlen(id) + 1);
    } else {
        make_id(request->id);
    }
}

/* Reads CONTENT_LENGTH: digits alone (RFC 9110 section 8.6). SIZE_MAX stands for none given; false where it
 * is no number, or one that no body of ours will ever have. */
static bool read_content_length(const char *text, size_t *length)
{
    *length = SIZE_MAX;
    if (text == NULL || *text == '\0') {
        return true;
    }
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > 18) {
        return false;
    }
    *length = (size_t)strtoull(text, NULL, 10);
    return true;
}

bool request_read_body(struct request *request, const struct body_source *source, size_t limit,
                       struct buffer *body)
{
    size_t declared, wanted, total = 0;
    bool well_declared = read_content_length(source->content_length, &declared);

    request->body_state = BODY_CUT_SHORT;
    request->body = (struct slice){.data = "", .len = 0};
    if (!well_declared && !source->ends_by_itself) {
        return false; /* nobody knows where it ends */
    }
    wanted = source->ends_by_itself ? SIZE_MAX : declared;

    while (total < wanted) {
        char chunk[CHUNK_BYTES];
        size_t len = wanted - total < sizeof chunk ? wanted - total : sizeof chunk;
        long got = source->read(source->context, chunk, len);

        if (got < 0) {
            return false;
        }
        if (got == 0) {
            break;
        }
        total += (size_t)got;
        if (total <= limit) {
            buffer_append(body, chunk, (size_t)got);
        } else if (total > limit * DRAIN_FACTOR) {
            request->body_state = BODY_TOO_LARGE;
            return false;
        }
    }

    if (total > limit) {
        request->body_state = BODY_TOO_LARGE;
    } else if (body->failed) {
        request->body_state = BODY_NO_MEMORY;
    } else if (well_declared && (declared == SIZE_MAX || declared == total)) {
        request->body_state = BODY_COMPLETE;
        if (body->len > 0) {
            request->body = (struct slice){.data = body->data, .len = body->len};
        }
    }
    return true;
}
