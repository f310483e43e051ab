/* One request to the database, encoded as intake.apply_batch takes it. */
#include "store/op.h"

#include <string.h>

#include "base/hex.h"
#include "model/json.h"
#include "store/binary.h"

/* Far more than a body of the largest size that can be configured takes. */
static const size_t RECORD_MAX = (size_t)256 * 1024 * 1024;

/* Room for one of a usual length at once. */
enum { RECORD_TYPICAL = 512 };

enum { COLUMNS = 12 }; /* of intake.operation */

static const char *const operation_names[] = {
    [OP_UPSERT] = "upsert", [OP_DELETE] = "delete", [OP_AUTHORIZE] = "authorize", [OP_PING] = "ping"};

static const char *const scope_names[] = {[SCOPE_UPSERT] = "upsert", [SCOPE_DELETE] = "delete"};

static const struct {
    const char *text;
    enum op_outcome outcome;
} outcomes[] = {
    {"created", OP_CREATED}, {"updated", OP_UPDATED},       {"unchanged", OP_UNCHANGED},
    {"deleted", OP_DELETED}, {"not_found", OP_NOT_FOUND},   {"authorized", OP_AUTHORIZED},
    {"ready", OP_READY},     {"not_authed", OP_NOT_AUTHED}, {"not_permitted", OP_NOT_PERMITTED},
};

enum op_outcome op_outcome_from_text(struct slice text)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (text.len == strlen(outcomes[i].text) && memcmp(text.data, outcomes[i].text, text.len) == 0) {
            return outcomes[i].outcome;
        }
    }
    return OP_FAILED;
}

const char *op_outcome_text(enum op_outcome outcome)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (outcome == outcomes[i].outcome) {
            return outcomes[i].text;
        }
    }
    return NULL;
}

/* What intake.operation's column "given" has for each optional argument. */
enum given {
    GIVEN_RESOLVED_AT = 1,
    GIVEN_NAME = 2,
    GIVEN_PRIORITY = 4,
    GIVEN_SOURCE_URL = 8,
    GIVEN_SERVICES = 16,
    GIVEN_METADATA = 32,
};

static const struct incident nothing; /* every argument is absent */

static struct slice slice_of(const char *text)
{
    return (struct slice){.data = text, .len = strlen(text)};
}

static void append_hash(struct buffer *record, const char *hex)
{
    char bytes[TOKEN_HASH_HEX / 2];
    size_t count = 0;

    if (hex == NULL) {
        binary_append_null(record, BINARY_BYTEA);
        return;
    }
    for (; count < sizeof bytes && hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        bytes[count++] = (char)(hex_value(hex[0]) << 4 | hex_value(hex[1]));
    }
    binary_append_bytes(record, BINARY_BYTEA, (struct slice){.data = bytes, .len = count});
}

static void append_text(struct buffer *record, const char *text)
{
    if (text == NULL) {
        binary_append_null(record, BINARY_TEXT);
    } else {
        binary_append_bytes(record, BINARY_TEXT, slice_of(text));
    }
}

static void append_argument(struct buffer *record, const struct text_argument *argument)
{
    size_t field;

    if (argument->presence != PRESENCE_GIVEN) {
        binary_append_null(record, BINARY_TEXT);
        return;
    }
    field = binary_begin_field(record, BINARY_TEXT);
    if (buffer_reserve(record, argument->json.len)) {
        record->len += json_string_decode(argument->json, record->data + record->len);
        record->data[record->len] = '\0';
    }
    binary_end_field(record, field);
}

static void append_timestamp(struct buffer *record, const struct timestamp_argument *argument)
{
    if (argument->presence == PRESENCE_GIVEN) {
        binary_append_timestamp(record, argument->micros);
    } else {
        binary_append_null(record, BINARY_TIMESTAMPTZ);
    }
}

/* jsonb_recv wants the version of its format before the text. */
static size_t begin_jsonb(struct buffer *record)
{
    size_t field = binary_begin_field(record, BINARY_JSONB);

    buffer_append(record, "\1", 1);
    return field;
}

/* A string of json-c's, or null. */
static void append_string(struct buffer *record, struct json_object *string)
{
    if (string == NULL) {
        buffer_append_text(record, "null");
    } else {
        buffer_append_json_string(record, json_object_get_string(string),
                                  (size_t)json_object_get_string_len(string));
    }
}

/* An array of an identifier and a name. Not written by json-c: where that has no memory for a piece of a
 * text, it goes on with the next and says nothing. */
static void append_link(struct buffer *record, struct json_object *link)
{
    buffer_append_text(record, "[");
    append_string(record, json_object_array_get_idx(link, 0));
    buffer_append_text(record, ",");
    append_string(record, json_object_array_get_idx(link, 1));
    buffer_append_text(record, "]");
}

static void append_services(struct buffer *record, const struct services_argument *services)
{
    size_t field,
        count = services->presence == PRESENCE_GIVEN ? json_object_array_length(services->links) : 0;

    if (count == 0) {
        binary_append_null(record, BINARY_JSONB);
        return;
    }
    field = begin_jsonb(record);
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(record, i == 0 ? "[" : ",");
        append_link(record, json_object_array_get_idx(services->links, i));
    }
    buffer_append_text(record, "]");
    binary_end_field(record, field);
}

static void append_metadata(struct buffer *record, const struct text_argument *metadata)
{
    size_t field;

    if (metadata->presence != PRESENCE_GIVEN) {
        binary_append_null(record, BINARY_JSONB);
        return;
    }
    field = begin_jsonb(record);
    buffer_append_slice(record, metadata->json);
    binary_end_field(record, field);
}

static int32_t given_by(const struct incident *incident)
{
    return (incident->resolved_at.presence != PRESENCE_ABSENT ? GIVEN_RESOLVED_AT : 0) |
           (incident->name.presence != PRESENCE_ABSENT ? GIVEN_NAME : 0) |
           (incident->priority.presence != PRESENCE_ABSENT ? GIVEN_PRIORITY : 0) |
           (incident->source_url.presence != PRESENCE_ABSENT ? GIVEN_SOURCE_URL : 0) |
           (incident->services.presence != PRESENCE_ABSENT ? GIVEN_SERVICES : 0) |
           (incident->metadata.presence != PRESENCE_ABSENT ? GIVEN_METADATA : 0);
}

/* Sets the operation up with a record of intake.operation, column by column. */
static bool encode(struct store_op *op, enum op_kind operation, const char *token_hash, const char *scope,
                   const struct incident *incident)
{
    struct buffer *record = &op->record;

    *op = (struct store_op){.outcome = OP_PENDING, .reference_id = incident->reference_id};
    buffer_init(record, RECORD_MAX);
    (void)buffer_reserve(record, RECORD_TYPICAL);
    binary_append_int32(record, COLUMNS);
    append_text(record, operation_names[operation]);
    append_hash(record, token_hash);
    append_text(record, scope);
    binary_append_integer(record, given_by(incident));
    append_timestamp(record, &incident->started_at);
    append_timestamp(record, &incident->resolved_at);
    append_text(record, incident->reference_id);
    append_argument(record, &incident->name);
    append_argument(record, &incident->priority);
    append_argument(record, &incident->source_url);
    append_services(record, &incident->services);
    append_metadata(record, &incident->metadata);
    return !record->failed;
}

bool op_upsert(struct store_op *op, const char *token_hash, const struct incident *incident)
{
    return encode(op, OP_UPSERT, token_hash, scope_names[SCOPE_UPSERT], incident);
}

bool op_delete(struct store_op *op, const char *token_hash, const struct incident *incident)
{
    return encode(op, OP_DELETE, token_hash, scope_names[SCOPE_DELETE], incident);
}

bool op_authorize(struct store_op *op, const char *token_hash, enum scope scope)
{
    return encode(op, OP_AUTHORIZE, token_hash, scope_names[scope], &nothing);
}

bool op_ping(struct store_op *op)
{
    return encode(op, OP_PING, NULL, NULL, &nothing);
}

void op_free(struct store_op *op)
{
    buffer_free(&op->record);
}
