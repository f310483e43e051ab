/* The FastCGI parser. Nothing that a peer sends is trusted. */
#include "fastcgi/parser.h"

#include <string.h>

enum {
    OUTPUT_MAX = 8 * 1024,
    KEPT_BYTES = 4 * 1024, /* of memory of each stream, for the next request */
};

void parser_init(struct parser *parser, size_t body_limit)
{
    *parser = (struct parser){.stage = STAGE_BEGIN};
    stream_init(&parser->params, REQUEST_PARAMS_MAX);
    stream_init(&parser->body, body_limit);
    buffer_init(&parser->output, OUTPUT_MAX);
}

void parser_free(struct parser *parser)
{
    stream_free(&parser->params);
    stream_free(&parser->body);
    buffer_free(&parser->output);
}

void parser_free_body(struct parser *parser)
{
    stream_reset(&parser->body, KEPT_BYTES);
}

void parser_next(struct parser *parser)
{
    struct parser next = {
        .stage = STAGE_BEGIN, .params = parser->params, .body = parser->body, .output = parser->output};

    stream_reset(&next.params, KEPT_BYTES);
    stream_reset(&next.body, KEPT_BYTES);
    buffer_reset(&next.output, 0);
    *parser = next;
}

bool parser_is_idle(const struct parser *parser)
{
    return parser->stage == STAGE_BEGIN && parser->header_len == 0;
}

size_t parser_memory(const struct parser *parser)
{
    return parser->params.bytes.capacity + parser->body.bytes.capacity;
}

static enum parser_result fail(struct parser *parser, const char *error)
{
    parser->error = error;
    return PARSER_ERROR;
}

/* Ends the request of the record's id, for which there is no other response. */
static void end_request(struct parser *parser, int protocol_status)
{
    const FCGI_EndRequestBody body = {.protocolStatus = (unsigned char)protocol_status};

    record_append(&parser->output, FCGI_END_REQUEST, parser->id, &body, sizeof body);
}

/* ---- Names and values (section 3.4) ---- */

struct pair {
    struct slice name, value;
};

/* Reads a length of one byte or four; false where it is cut short. */
static bool read_length(struct slice *rest, size_t *length)
{
    const unsigned char *bytes = (const unsigned char *)rest->data;
    size_t size = rest->len > 0 && bytes[0] >= 0x80 ? 4 : 1;

    if (rest->len < size) {
        return false;
    }
    *length = size == 1 ? bytes[0]
                        : (size_t)(bytes[0] & 0x7f) << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 |
                              bytes[3];
    rest->data += size;
    rest->len -= size;
    return true;
}

/* Takes the next pair off; false where it is longer than what is there. */
static bool read_pair(struct slice *rest, struct pair *pair)
{
    size_t name_len, value_len;

    if (!read_length(rest, &name_len) || !read_length(rest, &value_len) || name_len > rest->len ||
        value_len > rest->len - name_len) {
        return false;
    }
    pair->name = (struct slice){.data = rest->data, .len = name_len};
    pair->value = (struct slice){.data = rest->data + name_len, .len = value_len};
    rest->data += name_len + value_len;
    rest->len -= name_len + value_len;
    return true;
}

/* Names that are not known may be left out (section 4.1). The two others that the specification has are
 * numbers of connections and requests that we have no fixed limits for. However often the name comes, its
 * value is sent once. */
static enum parser_result send_values(struct parser *parser)
{
    static const char name[] = FCGI_MPXS_CONNS, value[] = "\17\1" FCGI_MPXS_CONNS "0";
    struct slice rest = {.data = parser->whole, .len = parser->content_len};
    bool is_asked = false;
    struct pair pair;

    while (rest.len > 0) {
        if (!read_pair(&rest, &pair)) {
            return fail(parser, "a name is longer than its record");
        }
        is_asked = is_asked ||
                   (pair.name.len == sizeof name - 1 && memcmp(pair.name.data, name, pair.name.len) == 0);
    }
    record_append(&parser->output, FCGI_GET_VALUES_RESULT, 0, value, is_asked ? sizeof value - 1 : 0);
    return PARSER_INCOMPLETE;
}

/* Ends a value with a NUL: the value moves by one byte, over its name's last. A NUL within it would hide what
 * follows, of a path the method. It becomes a byte that no method, token or id has. */
static const char *end_value(struct buffer *params, struct slice value)
{
    char *text = params->data + (value.data - params->data) - 1, *nul;

    memmove(text, value.data, value.len);
    while ((nul = memchr(text, '\0', value.len)) != NULL) {
        *nul = 0x7f;
    }
    text[value.len] = '\0';
    return text;
}

/* Finds the variables that are read, of each the first. */
static enum parser_result find_variables(struct parser *parser)
{
    struct buffer *params = &parser->params.bytes;
    struct slice rest = {.data = params->data, .len = params->len};
    struct pair pair;
    int64_t length;

    if (params->failed) {
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        return fail(parser, "out of memory for its variables");
        /* LCOV_EXCL_STOP */
    }
    while (rest.len > 0) {
        size_t number;

        if (!read_pair(&rest, &pair)) {
            return fail(parser, "a variable is longer than its stream");
        }
        number = request_find_variable(pair.name);
        if (number < REQUEST_VARIABLES && parser->variables[number] == NULL) {
            parser->variables[number] = end_value(params, pair.value);
        }
    }
    if (request_read_content_length(parser->variables[CONTENT_LENGTH], &length) && length > 0) {
        parser->body_declared = (size_t)length;
    }
    return PARSER_INCOMPLETE;
}

/* ---- Records ---- */

/* Whether the record's content has room to be read as a whole. */
static bool read_whole(struct parser *parser)
{
    parser->is_read_whole = true;
    return parser->content_len <= sizeof parser->whole;
}

/* Records of requests that are not there are to be ignored (section 3.3). Only an attacker sends so many. */
static enum parser_result count_stray_record(struct parser *parser)
{
    return ++parser->stray > PARSER_STRAY_MAX ? fail(parser, "too many stray records") : PARSER_INCOMPLETE;
}

static enum parser_result begin_management(struct parser *parser)
{
    if (parser->type == FCGI_BEGIN_REQUEST) {
        return fail(parser, "a request has the id 0");
    }
    if (parser->type == FCGI_GET_VALUES && !read_whole(parser)) {
        return fail(parser, "FCGI_GET_VALUES is too long");
    }
    return count_stray_record(parser);
}

static enum parser_result begin_request(struct parser *parser)
{
    if (parser->content_len != sizeof(FCGI_BeginRequestBody)) {
        return fail(parser, "FCGI_BEGIN_REQUEST has a wrong length");
    }
    if (parser->stage == STAGE_BEGIN) {
        read_whole(parser);
        return PARSER_INCOMPLETE;
    }
    if (parser->id == parser->request_id) {
        return fail(parser, "a request begins twice");
    }
    end_request(parser, FCGI_CANT_MPX_CONN);
    return count_stray_record(parser);
}

/* Whether the record that has begun is one that may come now, and what becomes of its content. */
static enum parser_result begin_record(struct parser *parser)
{
    const FCGI_Header *header = &parser->header;

    parser->type = header->type;
    parser->id = header->requestIdB1 << 8 | header->requestIdB0;
    parser->content_len = parser->content_left =
        (size_t)(header->contentLengthB1 << 8 | header->contentLengthB0);
    parser->padding_left = header->paddingLength;
    parser->stream = NULL;
    parser->is_read_whole = false;
    if (header->version != FCGI_VERSION_1) {
        return fail(parser, "a record has another version");
    }
    if (parser->id == 0) {
        return begin_management(parser);
    }
    if (parser->type == FCGI_BEGIN_REQUEST) {
        return begin_request(parser);
    }
    if (parser->stage == STAGE_BEGIN || parser->id != parser->request_id) {
        return count_stray_record(parser);
    }
    if (parser->type == FCGI_PARAMS && parser->stage == STAGE_PARAMS) {
        parser->stream = &parser->params;
    } else if (parser->type == FCGI_STDIN && parser->stage == STAGE_BODY) {
        parser->stream = &parser->body;
    } else { /* an abort: the client is gone, or waits no longer */
        return fail(parser, parser->type == FCGI_ABORT_REQUEST ? NULL : "a record came out of place");
    }
    return PARSER_INCOMPLETE;
}

/* Takes what is there of a record's content. */
static void take_content(struct parser *parser, const char *data, size_t len)
{
    if (parser->is_read_whole) {
        memcpy(parser->whole + parser->content_len - parser->content_left, data, len);
    } else if (parser->stream != NULL) {
        parser->has_ended_early = false;
        stream_append(parser->stream, data, len);
    }
}

/* The request is refused without waiting for the rest of it. The connection is closed then. */
static enum parser_result stop_reading(struct parser *parser)
{
    parser->stage = STAGE_COMPLETE;
    parser->keep = false;
    return PARSER_COMPLETE;
}

static enum parser_result read_begin(struct parser *parser)
{
    FCGI_BeginRequestBody body;

    memcpy(&body, parser->whole, sizeof body);
    parser->request_id = parser->id;
    if ((body.roleB1 << 8 | body.roleB0) != FCGI_RESPONDER) {
        end_request(parser, FCGI_UNKNOWN_ROLE);
        parser->has_responded = true;
        return fail(parser, "a request is for another role than FCGI_RESPONDER");
    }
    parser->keep = (body.flags & FCGI_KEEP_CONN) != 0;
    parser->stage = STAGE_PARAMS;
    return PARSER_INCOMPLETE;
}

static enum parser_result end_management(struct parser *parser)
{
    const FCGI_UnknownTypeBody body = {.type = (unsigned char)parser->type};

    if (parser->type == FCGI_GET_VALUES) {
        return send_values(parser);
    }
    record_append(&parser->output, FCGI_UNKNOWN_TYPE, 0, &body, sizeof body);
    return PARSER_INCOMPLETE;
}

/* An empty record does not end a body of which more was declared: mod_fcgid 2.3.9 sends empty records before
 * and within a body that came to it in HTTP/2 without a length. Its CONTENT_LENGTH, which it counts itself,
 * is right. */
static enum parser_result end_body(struct parser *parser)
{
    if (parser->body.total < parser->body_declared) {
        parser->has_ended_early = true;
        return ++parser->early_ends > parser->body.total + PARSER_STRAY_MAX
                   ? fail(parser, "a body ends again and again")
                   : PARSER_INCOMPLETE;
    }
    parser->stage = STAGE_COMPLETE;
    return PARSER_COMPLETE;
}

static enum parser_result end_params(struct parser *parser)
{
    parser->stage = STAGE_BODY;
    return stream_is_over_limit(&parser->params) ? PARSER_INCOMPLETE : find_variables(parser);
}

/* The record is there as a whole, padding and all. An empty one ends its stream. */
static enum parser_result end_record(struct parser *parser)
{
    parser->header_len = 0;
    if (parser->id == 0) {
        return end_management(parser);
    }
    if (parser->is_read_whole) {
        return read_begin(parser);
    }
    if (parser->stream != NULL && parser->content_len == 0) {
        return parser->stream == &parser->body ? end_body(parser) : end_params(parser);
    }
    if (parser->stream != NULL && parser->stream->total > parser->stream->bytes.max * BODY_DRAIN_FACTOR) {
        return stop_reading(parser);
    }
    return PARSER_INCOMPLETE;
}

/* Takes what it can of a record, and says how much that was. */
static size_t feed_record(struct parser *parser, const char *data, size_t len)
{
    size_t wanted, taken;

    if (parser->header_len < FCGI_HEADER_LEN) {
        wanted = FCGI_HEADER_LEN - parser->header_len;
        taken = len < wanted ? len : wanted;
        memcpy((char *)&parser->header + parser->header_len, data, taken);
        parser->header_len += taken;
        return taken;
    }
    if (parser->content_left > 0) {
        taken = len < parser->content_left ? len : parser->content_left;
        take_content(parser, data, taken);
        parser->content_left -= taken;
        return taken;
    }
    taken = len < parser->padding_left ? len : parser->padding_left;
    parser->padding_left -= taken;
    return taken;
}

enum parser_result parser_end(struct parser *parser)
{
    return parser->has_ended_early ? stop_reading(parser) : PARSER_ERROR;
}

enum parser_result parser_feed(struct parser *parser, const char *data, size_t len)
{
    enum parser_result result = PARSER_INCOMPLETE;

    while (len > 0 && result == PARSER_INCOMPLETE) {
        bool had_header = parser->header_len == FCGI_HEADER_LEN;
        size_t taken = feed_record(parser, data, len);

        data += taken;
        len -= taken;
        if (parser->header_len < FCGI_HEADER_LEN) {
            break;
        }
        if (!had_header) {
            result = begin_record(parser);
        }
        if (result == PARSER_INCOMPLETE && parser->content_left == 0 && parser->padding_left == 0) {
            result = end_record(parser);
        }
    }
    if (result == PARSER_COMPLETE && len > 0) {
        parser->keep = false; /* the next request may come only behind the response */
    }
    return result;
}
