/* The records of FastCGI, from a peer that nothing is believed of. */
#include "gateway/guard.h"

#include <string.h>

#include "gateway/request.h"

enum { BEGIN_BYTES = 8, REPLIES_MAX = 8 * 1024 };

void guard_init(struct guard *guard, size_t body_limit)
{
    *guard = (struct guard){.body_limit = body_limit};
    buffer_init(&guard->params, GUARD_PARAMS_MAX);
    buffer_init(&guard->body, body_limit);
    buffer_init(&guard->replies, REPLIES_MAX);
}

void guard_free(struct guard *guard)
{
    buffer_free(&guard->params);
    buffer_free(&guard->body);
    buffer_free(&guard->replies);
}

void guard_free_body(struct guard *guard)
{
    buffer_free(&guard->body);
}

void guard_next(struct guard *guard)
{
    size_t body_limit = guard->body_limit;

    guard_free(guard);
    guard_init(guard, body_limit);
}

bool guard_is_idle(const struct guard *guard)
{
    return guard->stage == GUARD_BEGIN && guard->header_len == 0;
}

size_t guard_holds(const struct guard *guard)
{
    return guard->params.capacity + guard->body.capacity;
}

static enum guard_verdict broken(struct guard *guard, const char *fault)
{
    guard->fault = fault;
    return GUARD_BROKEN;
}

/* ---- Records of ours ---- */

static void reply_end(struct guard *guard, int id, int protocol_status)
{
    const unsigned char content[8] = {0, 0, 0, 0, (unsigned char)protocol_status};

    record_append(&guard->replies, RECORD_END_REQUEST, id, content, sizeof content);
}

const char *guard_variable(const struct guard *guard, enum request_variable_number number)
{
    return guard->variables[number] == 0 ? NULL : guard->params.data + guard->variables[number] - 1;
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

static bool is_value_named(struct slice name, const char *text)
{
    return name.len == strlen(text) && memcmp(name.data, text, name.len) == 0;
}

/* Names that are not known may be left out (section 4.1). The two others that the specification has are
 * numbers of connections and requests that we have no fixed limits for. However often the name comes, it is
 * answered once. */
static enum guard_verdict answer_get_values(struct guard *guard)
{
    static const char name[] = "FCGI_MPXS_CONNS", value[] = "\17\1FCGI_MPXS_CONNS0";
    struct slice rest = {.data = guard->kept, .len = guard->kept_len};
    bool is_asked = false;
    struct pair pair;

    while (rest.len > 0) {
        if (!read_pair(&rest, &pair)) {
            return broken(guard, "names that are longer than their record");
        }
        is_asked = is_asked || is_value_named(pair.name, name);
    }
    record_append(&guard->replies, RECORD_GET_VALUES_RESULT, 0, value, is_asked ? sizeof value - 1 : 0);
    return GUARD_MORE;
}

static size_t declared_length(struct slice text)
{
    int64_t length;

    return request_read_content_length(text, &length) && length > 0 ? (size_t)length : 0;
}

/* Keeps a value, ended by a NUL. One within it would end it for whoever reads it and hide what comes behind:
 * of a path, the method that was asked for. It becomes a byte that stands in no method, token or id either.
 */
static void keep_value(struct buffer *values, struct slice value)
{
    size_t start = values->len;

    buffer_append_slice(values, value);
    for (size_t i = start; i < values->len; i++) {
        if (values->data[i] == '\0') {
            values->data[i] = 0x7f;
        }
    }
    buffer_append(values, "", 1);
}

/* Of all variables keeps the values of those that are read, of each the first. */
static enum guard_verdict pick_variables(struct guard *guard)
{
    struct slice rest = {.data = guard->params.data, .len = guard->params.len};
    struct buffer values;
    struct pair pair;

    if (guard->params.failed) {
        return broken(guard, "variables that there is no memory for");
    }
    buffer_init(&values, GUARD_PARAMS_MAX);
    (void)buffer_reserve(&values, guard->params.len); /* all at once: a value takes no more than its pair */
    while (rest.len > 0) {
        size_t number;

        if (!read_pair(&rest, &pair)) {
            buffer_free(&values);
            return broken(guard, "variables that are longer than their stream");
        }
        number = request_find_variable(pair.name);
        if (number < REQUEST_VARIABLES && guard->variables[number] == 0) {
            guard->variables[number] = values.len + 1;
            keep_value(&values, pair.value);
            if (number == CONTENT_LENGTH) {
                guard->body_declared = declared_length(pair.value);
            }
        }
    }
    buffer_free(&guard->params);
    guard->params = values;
    return values.failed ? broken(guard, "variables that there is no memory for") : GUARD_MORE;
}

/* ---- Records of the peer's ---- */

static int header_number(const struct guard *guard, size_t at)
{
    return guard->header[at] << 8 | guard->header[at + 1];
}

static int header_type(const struct guard *guard)
{
    return guard->header[1];
}

static int header_id(const struct guard *guard)
{
    return header_number(guard, 2);
}

static bool keep_content(struct guard *guard)
{
    guard->content = GUARD_KEPT;
    guard->kept_len = 0;
    return guard->content_left <= sizeof guard->kept;
}

/* Application records of requests that are not there are to be ignored (section 3.3); so many of them are
 * sent by none but who wants to keep us busy. */
static enum guard_verdict count_stray_record(struct guard *guard)
{
    return ++guard->aside > GUARD_ASIDE_MAX ? broken(guard, "too many records that belong to no request")
                                            : GUARD_MORE;
}

static enum guard_verdict judge_management(struct guard *guard)
{
    if (header_type(guard) == RECORD_BEGIN_REQUEST) {
        return broken(guard, "a request of number 0");
    }
    if (header_type(guard) == RECORD_GET_VALUES && !keep_content(guard)) {
        return broken(guard, "too long a list of names");
    }
    return count_stray_record(guard);
}

static enum guard_verdict judge_begin(struct guard *guard)
{
    if (guard->content_left != BEGIN_BYTES) {
        return broken(guard, "a beginning of a wrong length");
    }
    if (guard->stage == GUARD_BEGIN) {
        (void)keep_content(guard);
        return GUARD_MORE;
    }
    if (header_id(guard) == guard->request_id) {
        return broken(guard, "a request that begins twice");
    }
    reply_end(guard, header_id(guard), RECORD_CANT_MPX_CONN);
    return count_stray_record(guard);
}

/* Whether the record that has begun is one that may come now, and what its content is. */
static enum guard_verdict judge_header(struct guard *guard)
{
    guard->content_left = (size_t)header_number(guard, 4);
    guard->padding_left = guard->header[6];
    guard->content = GUARD_SKIPPED;
    if (guard->header[0] != RECORD_VERSION_1) {
        return broken(guard, "a record of another version");
    }
    if (header_id(guard) == 0) {
        return judge_management(guard);
    }
    if (header_type(guard) == RECORD_BEGIN_REQUEST) {
        return judge_begin(guard);
    }
    if (guard->stage == GUARD_BEGIN || header_id(guard) != guard->request_id) {
        return count_stray_record(guard);
    }
    if (header_type(guard) == RECORD_PARAMS && guard->stage == GUARD_PARAMS) {
        guard->content = GUARD_TO_PARAMS;
        return GUARD_MORE;
    }
    if (header_type(guard) == RECORD_STDIN && guard->stage == GUARD_BODY) {
        guard->content = GUARD_TO_BODY;
        return GUARD_MORE;
    }
    return broken(guard, header_type(guard) == RECORD_ABORT_REQUEST
                             ? NULL /* the client is gone, or waits no longer */
                             : "a record that has no place where it came");
}

static void take_params(struct guard *guard, const char *data, size_t len)
{
    guard->params_total += len;
    if (guard->params_total <= GUARD_PARAMS_MAX) {
        buffer_append(&guard->params, data, len);
    } else {
        buffer_free(&guard->params);
    }
}

static void take_body(struct guard *guard, const char *data, size_t len)
{
    guard->has_ended_early = false;
    guard->body_total += len;
    if (guard->body_total <= guard->body_limit) {
        buffer_append(&guard->body, data, len);
    } else {
        buffer_free(&guard->body);
    }
}

/* Takes what is there of a record's content. */
static void take_content(struct guard *guard, const char *data, size_t len)
{
    switch (guard->content) {
    case GUARD_KEPT:
        memcpy(guard->kept + guard->kept_len, data, len);
        guard->kept_len += len;
        break;
    case GUARD_TO_PARAMS:
        take_params(guard, data, len);
        break;
    case GUARD_TO_BODY:
        take_body(guard, data, len);
        break;
    case GUARD_SKIPPED:
        break;
    }
}

/* The request is refused; the rest of it is not worth waiting for, and the connection is closed behind it. */
static enum guard_verdict give_up_reading(struct guard *guard)
{
    guard->stage = GUARD_COMPLETE;
    guard->keep = false;
    return GUARD_REQUEST;
}

/* Section 5.1: a role in two bytes, flags, and five reserved bytes. */
static enum guard_verdict begin_request(struct guard *guard)
{
    const unsigned char *content = (const unsigned char *)guard->kept;

    guard->request_id = header_id(guard);
    if ((content[0] << 8 | content[1]) != RECORD_RESPONDER) {
        reply_end(guard, guard->request_id, RECORD_UNKNOWN_ROLE);
        guard->is_refused = true;
        return broken(guard, "a request for another role than a responder's");
    }
    guard->keep = (content[2] & RECORD_KEEP_CONN) != 0;
    guard->stage = GUARD_PARAMS;
    return GUARD_MORE;
}

static enum guard_verdict end_management(struct guard *guard)
{
    const char content[8] = {(char)header_type(guard)};

    if (header_type(guard) == RECORD_GET_VALUES) {
        return answer_get_values(guard);
    }
    record_append(&guard->replies, RECORD_UNKNOWN_TYPE, 0, content, sizeof content);
    return GUARD_MORE;
}

/* An empty record does not end a body of which more was declared: mod_fcgid 2.3.9 sends empty records before
 * and within a body that came to it in HTTP/2 without a length. Its CONTENT_LENGTH, which it counts itself,
 * is right. */
static enum guard_verdict end_body(struct guard *guard)
{
    if (guard->body_total < guard->body_declared) {
        guard->has_ended_early = true;
        return ++guard->early_ends > guard->body_total + GUARD_ASIDE_MAX
                   ? broken(guard, "a body that ends again and again")
                   : GUARD_MORE;
    }
    guard->stage = GUARD_COMPLETE;
    return GUARD_REQUEST;
}

/* A stream ends with an empty record. */
static enum guard_verdict end_stream(struct guard *guard)
{
    if (guard->content == GUARD_TO_BODY) {
        return end_body(guard);
    }
    guard->stage = GUARD_BODY;
    return guard->params_total > GUARD_PARAMS_MAX ? GUARD_MORE : pick_variables(guard);
}

/* The record is there as a whole, padding and all. */
static enum guard_verdict end_record(struct guard *guard)
{
    bool is_empty = header_number(guard, 4) == 0;

    guard->header_len = 0;
    if (header_id(guard) == 0) {
        return end_management(guard);
    }
    switch (guard->content) {
    case GUARD_KEPT:
        return begin_request(guard);
    case GUARD_TO_PARAMS:
    case GUARD_TO_BODY:
        if (is_empty) {
            return end_stream(guard);
        }
        break;
    case GUARD_SKIPPED:
        break;
    }
    if (guard->body_total > guard->body_limit * BODY_DRAIN_FACTOR ||
        guard->params_total > (size_t)GUARD_PARAMS_MAX * BODY_DRAIN_FACTOR) {
        return give_up_reading(guard);
    }
    return GUARD_MORE;
}

/* Takes what it can of a record, and says how much that was. */
static size_t feed_record(struct guard *guard, const char *data, size_t len)
{
    size_t wanted, taken;

    if (guard->header_len < RECORD_HEADER_BYTES) {
        wanted = RECORD_HEADER_BYTES - guard->header_len;
        taken = len < wanted ? len : wanted;
        memcpy(guard->header + guard->header_len, data, taken);
        guard->header_len += taken;
        return taken;
    }
    if (guard->content_left > 0) {
        taken = len < guard->content_left ? len : guard->content_left;
        take_content(guard, data, taken);
        guard->content_left -= taken;
        return taken;
    }
    taken = len < guard->padding_left ? len : guard->padding_left;
    guard->padding_left -= taken;
    return taken;
}

enum guard_verdict guard_end(struct guard *guard)
{
    return guard->has_ended_early ? give_up_reading(guard) : GUARD_BROKEN;
}

enum guard_verdict guard_feed(struct guard *guard, const char *data, size_t len)
{
    enum guard_verdict verdict = GUARD_MORE;

    while (len > 0 && verdict == GUARD_MORE) {
        bool had_header = guard->header_len == RECORD_HEADER_BYTES;
        size_t taken = feed_record(guard, data, len);

        data += taken;
        len -= taken;
        if (guard->header_len < RECORD_HEADER_BYTES) {
            break;
        }
        if (!had_header) {
            verdict = judge_header(guard);
        }
        if (verdict == GUARD_MORE && guard->content_left == 0 && guard->padding_left == 0) {
            verdict = end_record(guard);
        }
    }
    if (verdict == GUARD_REQUEST && len > 0) {
        guard->keep = false; /* the next request may come only behind the answer */
    }
    return verdict;
}
