/* Whole bodies, by each method's way of reading: what is taken can be encoded, and its encoding is JSON. The
 * first byte chooses the method. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "model/json.h"
#include "store/item.h"

static void check_encoding(const struct item *item)
{
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, (struct slice){.data = item->json.data, .len = item->json.len});
    do {
        MUST(json_next(&reader, &token) != JSON_INVALID);
    } while (token.event != JSON_END_OF_TEXT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct incident incident;
    struct item item;
    struct error error = {.code = ERROR_NONE};
    struct slice body;
    bool is_read, is_encoded;

    if (size == 0) {
        return 0;
    }
    body = (struct slice){.data = (const char *)data + 1, .len = size - 1};
    is_read = data[0] % 3 == 2
                  ? incident_read_reference(body, &incident, &error)
                  : incident_read(body, data[0] % 3 == 0 ? DIALECT_UPSERT : DIALECT_SYNC, &incident, &error);
    MUST(is_read == (error.code == ERROR_NONE));
    if (is_read) {
        is_encoded =
            data[0] % 3 == 2 ? item_delete(&item, "00", &incident) : item_upsert(&item, "00", &incident);
        MUST(is_encoded && strlen(incident.reference_id) <= IDENTIFIER_BYTES_MAX &&
             *incident.reference_id != '\0');
        check_encoding(&item);
        item_free(&item);
    } else {
        MUST(*error.message != '\0');
    }
    incident_free(&incident);
    return 0;
}
