/* Keys of bodies that are no arguments of an upsert. */
#include "incidentctl/import/unknown_keys.h"

#include <stdbool.h>
#include <string.h>

#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"
#include "model/incident.h"

static void count(struct unknown_keys *unknown, struct slice key)
{
    key.len = key.len < UNKNOWN_KEY_BYTES ? key.len : UNKNOWN_KEY_BYTES;
    for (size_t i = 0; i < unknown->count; i++) {
        if (unknown->keys[i].len == key.len && memcmp(unknown->keys[i].name, key.data, key.len) == 0) {
            unknown->keys[i].count++;
            return;
        }
    }
    if (unknown->count == UNKNOWN_KEYS_MAX) {
        unknown->others++;
        return;
    }
    memcpy(unknown->keys[unknown->count].name, key.data, key.len);
    unknown->keys[unknown->count].len = key.len;
    unknown->keys[unknown->count++].count = 1;
}

/* The quote that ends the string which begins before `at`. */
static const char *find_string_end(const char *at, const char *end)
{
    for (;;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *before = quote;

        while (before > at && before[-1] == '\\') {
            before--;
        }
        if (quote == NULL || (quote - before) % 2 == 0) {
            return quote;
        }
        at = quote + 1;
    }
}

/* The body is valid JSON, so that strings and brackets are all there is to look at: a string of
 * the outermost object behind which a colon stands is a key. */
void unknown_keys_count(struct unknown_keys *unknown, struct slice body)
{
    const char *at = body.data, *end = body.data + body.len;
    struct slice string = {.data = NULL, .len = 0};
    size_t depth = 0;

    for (; at < end; at++) {
        if (*at == '"') {
            const char *close = find_string_end(at + 1, end);

            if (close == NULL) {
                return;
            }
            string = (struct slice){.data = at + 1, .len = (size_t)(close - at - 1)};
            at = close;
        } else if (*at == ':' && depth == 1 && !incident_has_argument(string)) {
            count(unknown, string);
        } else {
            depth += *at == '{' || *at == '[';
            depth -= *at == '}' || *at == ']';
        }
    }
}

void unknown_keys_print(const struct unknown_keys *unknown)
{
    for (size_t i = 0; i < unknown->count; i++) {
        struct buffer shown;

        buffer_init(&shown, 1024);
        append_shown(&shown, (struct slice){.data = unknown->keys[i].name, .len = unknown->keys[i].len},
                     UNKNOWN_KEY_BYTES);
        print_error("note: nothing is known of the key \"%s\" of %llu incident%s: it is left out",
                    shown.data == NULL ? "" : shown.data, (unsigned long long)unknown->keys[i].count,
                    unknown->keys[i].count == 1 ? "" : "s");
        buffer_free(&shown);
    }
    if (unknown->others > 0) {
        print_error("note: nor is anything known of other keys, %llu of them",
                    (unsigned long long)unknown->others);
    }
}
