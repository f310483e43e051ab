/* Whole bodies, by each method's way of reading: what is taken can be encoded, and its encoding is a record
 * of intake.operation as Postgres reads one. The first byte chooses the method. */
#include <arpa/inet.h>
#include <string.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "model/json.h"
#include "store/binary.h"
#include "store/op.h"

enum { VERSION_OF_JSONB = 1 };

/* The columns of intake.operation. */
static const struct {
    enum binary_type type;
    bool is_always_there;
} columns[] = {
    {BINARY_TEXT, true},         {BINARY_BYTEA, true},        {BINARY_TEXT, true},   {BINARY_INT4, true},
    {BINARY_TIMESTAMPTZ, false}, {BINARY_TIMESTAMPTZ, false}, {BINARY_TEXT, true},   {BINARY_TEXT, false},
    {BINARY_TEXT, false},        {BINARY_TEXT, false},        {BINARY_JSONB, false}, {BINARY_JSONB, false},
};

enum { COLUMNS = sizeof columns / sizeof columns[0] };

static int32_t take_number(struct slice *bytes)
{
    uint32_t number;

    MUST(bytes->len >= sizeof number);
    memcpy(&number, bytes->data, sizeof number);
    bytes->data += sizeof number;
    bytes->len -= sizeof number;
    return (int32_t)ntohl(number);
}

static void check_json(struct slice text)
{
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, text);
    do {
        MUST(json_next(&reader, &token) != JSON_INVALID);
    } while (token.event != JSON_END_OF_TEXT);
}

static void check_value(enum binary_type type, struct slice value)
{
    switch (type) {
    case BINARY_BYTEA:
        MUST(value.len == 1); /* "00" */
        break;
    case BINARY_INT4:
        MUST(value.len == 4);
        break;
    case BINARY_TEXT:
        MUST(utf8_is_valid(value.data, value.len) && memchr(value.data, '\0', value.len) == NULL);
        break;
    case BINARY_TIMESTAMPTZ:
        MUST(value.len == 8);
        break;
    case BINARY_JSONB:
        MUST(value.len > 1 && value.data[0] == VERSION_OF_JSONB);
        check_json((struct slice){.data = value.data + 1, .len = value.len - 1});
        break;
    }
}

static void check_encoding(const struct store_op *op)
{
    struct slice bytes = {.data = op->record.data, .len = op->record.len};

    MUST(take_number(&bytes) == COLUMNS);
    for (size_t i = 0; i < COLUMNS; i++) {
        int32_t length;

        MUST(take_number(&bytes) == (int32_t)columns[i].type);
        length = take_number(&bytes);
        MUST(length >= (columns[i].is_always_there ? 0 : -1) && (length < 0 || (size_t)length <= bytes.len));
        if (length >= 0) {
            check_value(columns[i].type, (struct slice){.data = bytes.data, .len = (size_t)length});
            bytes.data += length;
            bytes.len -= (size_t)length;
        }
    }
    MUST(bytes.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct incident incident;
    struct store_op op;
    struct error error = {.code = ERROR_NONE};
    struct slice body;
    bool is_read, is_encoded;

    if (size == 0) {
        return 0;
    }
    body = (struct slice){.data = (const char *)data + 1, .len = size - 1};
    is_read = data[0] % 3 == 2
                  ? incident_read_reference(body, &incident, &error)
                  : incident_read(body, data[0] % 3 == 0 ? RULES_UPSERT : RULES_SYNC, &incident, &error);
    MUST(is_read == (error.code == ERROR_NONE));
    if (is_read) {
        is_encoded = data[0] % 3 == 2 ? op_delete(&op, "00", &incident) : op_upsert(&op, "00", &incident);
        MUST(is_encoded && strlen(incident.reference_id) <= IDENTIFIER_BYTES_MAX &&
             *incident.reference_id != '\0');
        check_encoding(&op);
        op_free(&op);
    } else {
        MUST(*error.message != '\0');
    }
    incident_free(&incident);
    return 0;
}
