/* The FastCGI parser: it comes to the same however the bytes are cut, keeps to its limits, and each variable
 * has the value that came with its name first. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "fastcgi/parser.h"
#include "http/request.h"

enum { LIMIT = 512 };

static enum parser_result feed(struct parser *parser, const char *data, size_t size, size_t piece)
{
    enum parser_result result = PARSER_INCOMPLETE;

    parser_init(parser, LIMIT);
    for (size_t at = 0; at < size && result == PARSER_INCOMPLETE; at += piece) {
        result = parser_feed(parser, data + at, size - at < piece ? size - at : piece);
        MUST(parser_memory(parser) <= (size_t)2 * (REQUEST_PARAMS_MAX + LIMIT) + 1024);
        MUST(!parser->output.failed);
    }
    return result;
}

static int is_same(const struct buffer *a, const struct buffer *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

/* The variables' stream, as its bytes came. */
static void collect_params(const char *data, size_t size, struct buffer *params)
{
    struct parser parser;

    parser_init(&parser, LIMIT);
    for (size_t at = 0; at < size && parser.stage <= STAGE_PARAMS; at++) {
        MUST(parser_feed(&parser, data + at, 1) == PARSER_INCOMPLETE || parser.stage == STAGE_COMPLETE);
        if (parser.stage == STAGE_PARAMS && parser.params.bytes.len > params->len) {
            buffer_append(params, parser.params.bytes.data + params->len,
                          parser.params.bytes.len - params->len);
        }
    }
    parser_free(&parser);
}

static size_t take_length(const unsigned char **at)
{
    size_t length = *(*at)++;

    if (length >= 0x80) {
        length = (length & 0x7f) << 24 | (size_t)(*at)[0] << 16 | (size_t)(*at)[1] << 8 | (*at)[2];
        *at += 3;
    }
    return length;
}

/* The value that comes first with that name, in a stream that is known to be good; data is NULL where none
 * does. */
static struct slice find_first(const struct buffer *params, const char *name)
{
    const unsigned char *at = (const unsigned char *)params->data;

    while (params->len > 0 && at < (const unsigned char *)params->data + params->len) {
        size_t name_len = take_length(&at), value_len = take_length(&at);

        if (name_len == strlen(name) && memcmp(at, name, name_len) == 0) {
            return (struct slice){.data = (const char *)at + name_len, .len = value_len};
        }
        at += name_len + value_len;
    }
    return (struct slice){.data = NULL};
}

static void check_value(const char *value, struct slice first)
{
    MUST((value == NULL) == (first.data == NULL));
    MUST(value == NULL || strlen(value) == first.len);
    for (size_t i = 0; value != NULL && i < first.len; i++) {
        MUST(value[i] == (first.data[i] == '\0' ? 0x7f : first.data[i]));
    }
}

/* Each is the first of its name, and ends within the stream. */
static void check_variables(const struct parser *parser, const char *data, size_t size)
{
    struct buffer params;

    buffer_init(&params, REQUEST_PARAMS_MAX);
    if (!stream_is_over_limit(&parser->params)) {
        collect_params(data, size, &params);
    }
    for (int i = 0; i < REQUEST_VARIABLES; i++) {
        const char *value = parser->variables[i];

        check_value(value, find_first(&params, request_variable_name((enum request_variable)i)));
        MUST(value == NULL || (value >= parser->params.bytes.data &&
                               value + strlen(value) < parser->params.bytes.data + params.len));
    }
    buffer_free(&params);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct parser whole, cut;
    enum parser_result result = feed(&whole, bytes, size, size + 1);

    for (size_t piece = 1; piece < 12; piece += 5) {
        MUST(feed(&cut, bytes, size, piece) == result);
        MUST(cut.error == whole.error && cut.stage == whole.stage && cut.body.total == whole.body.total);
        MUST(is_same(&cut.params.bytes, &whole.params.bytes) && is_same(&cut.body.bytes, &whole.body.bytes));
        MUST(is_same(&cut.output, &whole.output));
        parser_free(&cut);
    }
    if (result == PARSER_COMPLETE) {
        MUST(whole.stage == STAGE_COMPLETE && whole.request_id > 0);
        MUST(whole.body.total >= whole.body_declared || whole.body.total > LIMIT * BODY_DRAIN_FACTOR ||
             stream_is_over_limit(&whole.params));
        MUST(whole.body.total > LIMIT || whole.body.bytes.len == whole.body.total);
    }
    if (result != PARSER_ERROR && whole.stage > STAGE_PARAMS) {
        check_variables(&whole, bytes, size);
    }
    parser_free(&whole);
    return 0;
}
