/* Forms: what is read means one JSON object, which fits in the room that it was given, however deep it is. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "model/form.h"
#include "model/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error error = {.code = ERROR_NONE};
    struct buffer json;
    bool stray_nul;

    if (form_to_json((struct slice){.data = (const char *)data, .len = size}, &json, &error)) {
        MUST(json_find_members((struct slice){.data = json.data, .len = json.len}, NULL, 0, &stray_nul,
                               &error) ||
             strstr(error.message, "nested") != NULL);
    } else {
        MUST(error.code == ERROR_INVALID_JSON && error.message[0] != '\0');
    }
    buffer_free(&json);
    return 0;
}
