/* The JSON reader: its tokens lie in the text, in order, well nested; what a string spells is UTF-8; and what
 * it takes, json-c takes as well. */
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "fuzz/fuzz.h"
#include "model/json.h"

static void check_string(struct slice quoted)
{
    char *decoded = malloc(quoted.len);
    size_t len;

    MUST(decoded != NULL);
    len = json_string_decode(quoted, decoded);
    MUST(len + 2 <= quoted.len && utf8_is_valid(decoded, len));
    free(decoded);
}

static int walk(const char *text, size_t size)
{
    struct json_reader reader;
    struct json_token token;
    size_t at = 0, steps = 0;
    unsigned depth = 0;

    json_reader_init(&reader, (struct slice){.data = text, .len = size});
    for (;;) {
        enum json_event event = json_next(&reader, &token);

        MUST(++steps <= size + 2);
        if (event == JSON_INVALID) {
            MUST(reader.at <= size && reader.fault != NULL);
            return 0;
        }
        if (event == JSON_END_OF_TEXT) {
            MUST(depth == 0 && steps > 1);
            return 1;
        }
        depth -= event == JSON_OBJECT_END || event == JSON_ARRAY_END;
        MUST(token.depth == depth && depth <= JSON_DEPTH_MAX);
        depth += event == JSON_OBJECT_BEGIN || event == JSON_ARRAY_BEGIN;
        MUST(token.text.data >= text + at && token.text.data + token.text.len <= text + size &&
             token.text.len > 0);
        at = (size_t)(token.text.data + token.text.len - text);
        if (event == JSON_STRING || event == JSON_KEY) {
            check_string(token.text);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (walk((const char *)data, size) == 1) {
        struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
        struct json_object *value = json_tokener_parse_ex(tokener, (const char *)data, (int)size);

        /* A number alone may go on behind the text, for all that json-c knows. */
        MUST(json_tokener_get_error(tokener) == json_tokener_success ||
             json_tokener_get_error(tokener) == json_tokener_continue);
        json_object_put(value);
        json_tokener_free(tokener);
    }
    return 0;
}
