/* One operation on the database. */
#include "store/op.h"

#include <string.h>

#include "base/hex.h"
#include "model/json.h"
#include "store/binary.h"

/* Far more than the largest body that can be configured needs. */
static const size_t RECORD_MAX = (size_t)256 * 1024 * 1024;

/* Reserved at once. */
enum { RECORD_TYPICAL = 512 };

enum { COLUMNS = 12 }; /* of intake.operation */

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

/* The bits of intake.operation's column "given". */
enum given {
    GIVEN_RESOLVED_AT = 1,
    GIVEN_NAME = 2,
    GIVEN_PRIORITY = 4,
    GIVEN_SOURCE_URL = 8,
    GIVEN_SERVICES = 16,
    GIVEN_METADATA = 32,
};

static const struct incident nothing; /* every argument is absent */

static void append_hash(struct buffer *record, const char *hex)
{
    char bytes[TOKEN_HASH_HEX / 2];
    struct slice hash = {.data = hex == NULL ? NULL : bytes};

    for (; hex != NULL && hash.len < sizeof bytes && hex[0] != '\0' && hex[1] != '\0'; hex += 2) {
        bytes[hash.len++] = (char)(hex_value(hex[0]) << 4 | hex_value(hex[1]));
    }
    binary_append_bytes(record, BINARY_BYTEA, hash);
}

static void append_text(struct buffer *record, const char *text)
{
    binary_append_bytes(record, BINARY_TEXT,
                        (struct slice){.data = text, .len = text == NULL ? 0 : strlen(text)});
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

/* jsonb_recv expects the version of its format before the text. */
static size_t begin_jsonb(struct buffer *record)
{
    size_t field = binary_begin_field(record, BINARY_JSONB);

    buffer_append(record, "\1", 1);
    return field;
}

/* A json-c string, or null. */
static void append_string(struct buffer *record, struct json_object *string)
{
    if (string == NULL) {
        buffer_append_text(record, "null");
    } else {
        buffer_append_json_string(record, json_object_get_string(string),
                                  (size_t)json_object_get_string_len(string));
    }
}

/* An array of an identifier and a name. json-c does not write it: out of memory for a piece of a text, it
 * would silently leave it out. */
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

/* The record of intake.operation, column by column. */
static bool encode(struct store_op *op, const char *operation, const char *token_hash, const char *scope,
                   const struct incident *incident)
{
    struct buffer *record = &op->record;

    *op = (struct store_op){.outcome = OP_PENDING, .reference_id = incident->reference_id};
    buffer_init(record, RECORD_MAX);
    buffer_reserve(record, RECORD_TYPICAL);
    binary_append_int32(record, COLUMNS);
    append_text(record, operation);
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
    return encode(op, "upsert", token_hash, "upsert", incident);
}

bool op_delete(struct store_op *op, const char *token_hash, const struct incident *incident)
{
    return encode(op, "delete", token_hash, "delete", incident);
}

bool op_authorize(struct store_op *op, const char *token_hash, enum scope scope)
{
    return encode(op, "authorize", token_hash, scope == SCOPE_UPSERT ? "upsert" : "delete", &nothing);
}

bool op_ping(struct store_op *op)
{
    return encode(op, "ping", NULL, NULL, &nothing);
}

void op_prepare(struct store_op *op, int64_t deadline_ms, void (*done)(void *context), void *context)
{
    op->done = done;
    op->context = context;
    op->deadline_ms = deadline_ms;
    op->outcome = OP_PENDING;
    op->attempts = 0;
    op->orphaned_count = 0;
    op->entry = (struct queue_entry){0};
}

void op_free(struct store_op *op)
{
    buffer_free(&op->record);
}

/* ---- Errors ---- */

/* The client can only wait, and report it to the service's administrator. */
static const char *unavailability(enum op_reason reason)
{
    switch (reason) {
    case REASON_LOGIN:
        return "the database refuses this service's login";
    case REASON_PRIVILEGE:
        return "the role of this service lacks a privilege in the database";
    case REASON_SCHEMA:
        return "the database has a schema that does not fit this version of the service";
    case REASON_WRITE_FAILED:
        return "the database cannot write at present";
    case REASON_QUEUE_FULL:
        return "the database cannot be reached in time, because too many requests wait for it";
    case REASON_NONE:
    case REASON_SIZE:
        break;
    }
    return "the database cannot be reached in time";
}

static bool refuse_as_defect(struct error *error)
{
    return error_set(error, ERROR_INTERNAL,
                     "an internal error occurred; the log has it under the request id");
}

/* The error does not name the value. The model has checked all but what only a jsonb knows, so
 * without metadata it is a defect: an index, trigger or constraint that was added. */
static bool refuse_unstorable(const struct store_op *op, const struct incident *incident, struct error *error)
{
    if (incident == NULL || incident->metadata.presence != PRESENCE_GIVEN) {
        return refuse_as_defect(error);
    }
    if (op->reason == REASON_SIZE) {
        return error_set(error, ERROR_METADATA_INVALID,
                         "metadata is more than the database can hold as one value (256 MB)");
    }
    return error_set(error, ERROR_METADATA_INVALID, "metadata holds a value that cannot be stored");
}

bool op_check(const struct store_op *op, const struct incident *incident, struct error *error)
{
    switch (op->outcome) {
    case OP_CREATED:
    case OP_UPDATED:
    case OP_UNCHANGED:
    case OP_DELETED:
    case OP_NOT_FOUND:
    case OP_AUTHORIZED:
    case OP_READY:
        return true;
    case OP_NOT_AUTHED:
        return error_set(error, ERROR_NOT_AUTHED, "invalid token: unknown, expired or revoked");
    case OP_NOT_PERMITTED:
        return error_set(error, ERROR_NOT_PERMITTED, "the token lacks the scope that this method needs");
    case OP_UNAVAILABLE:
        return error_set(error, ERROR_SERVICE_UNAVAILABLE, "%s; it is safe to send the request again",
                         unavailability(op->reason));
    case OP_INVALID_VALUE:
        return refuse_unstorable(op, incident, error);
    case OP_PENDING:
    case OP_FAILED:
        break;
    }
    return refuse_as_defect(error);
}
