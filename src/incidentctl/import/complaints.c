/* What an import says of invalid records. */
#include "incidentctl/import/complaints.h"

#include <stdio.h>
#include <string.h>

#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"

/* The sentence with "#" for each number and "..." for what stands in quotes: the same for the same mistake.
 */
static void make_kind(const char *message, char kind[COMPLAINT_KIND_BYTES])
{
    size_t len = 0;

    while (*message != '\0' && len + 6 < COMPLAINT_KIND_BYTES) {
        size_t digits = strspn(message, "0123456789");

        if (*message == '"') {
            const char *end = strchr(message + 1, '"');

            memcpy(kind + len, "\"...\"", 5);
            len += 5;
            message = end != NULL ? end + 1 : message + strlen(message);
        } else if (digits > 0) {
            kind[len++] = '#';
            message += digits;
        } else {
            kind[len++] = *message++;
        }
    }
    kind[len] = '\0';
}

static struct complaint_kind *find_kind(struct complaints *complaints, const struct error *error)
{
    char text[COMPLAINT_KIND_BYTES];
    struct complaint_kind *kind;

    make_kind(error->message, text);
    for (size_t i = 0; i < complaints->count; i++) {
        kind = &complaints->kinds[i];
        if (kind->code == error->code && strcmp(kind->text, text) == 0) {
            return kind;
        }
    }
    if (complaints->count == COMPLAINT_KINDS_MAX) {
        kind = &complaints->kinds[COMPLAINT_KINDS_MAX];
        kind->code = ERROR_NONE;
        snprintf(kind->first, sizeof kind->first, "other mistakes");
        return kind;
    }
    kind = &complaints->kinds[complaints->count++];
    kind->code = error->code;
    memcpy(kind->text, text, sizeof text);
    snprintf(kind->first, sizeof kind->first, "%s", error->message);
    return kind;
}

bool complaints_add(struct complaints *complaints, const struct error *error)
{
    return ++find_kind(complaints, error)->count <= COMPLAINTS_OF_A_KIND;
}

void complaints_print_rest(const struct complaints *complaints)
{
    for (size_t i = 0; i <= COMPLAINT_KINDS_MAX; i++) {
        const struct complaint_kind *kind = &complaints->kinds[i];
        const struct slice text = {.data = kind->first, .len = strlen(kind->first)};
        struct buffer shown;

        if (kind->count > COMPLAINTS_OF_A_KIND) {
            buffer_init(&shown, 4096);
            append_shown(&shown, text, text.len);
            print_error("%llu more like the first: %s%s%s",
                        (unsigned long long)(kind->count - COMPLAINTS_OF_A_KIND),
                        kind->code == ERROR_NONE ? "" : error_code_text(kind->code),
                        kind->code == ERROR_NONE ? "" : ": ", shown.data);
            buffer_free(&shown);
        }
    }
}

bool complaints_have(const struct complaints *complaints, enum error_code code)
{
    for (size_t i = 0; i < complaints->count; i++) {
        if (complaints->kinds[i].code == code) {
            return true;
        }
    }
    return false;
}
