/* Why a record is invalid. */
#include "incidentctl/import/explain.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "incidentctl/import/show.h"
#include "model/json.h"

enum { VALUE_BYTES = 64, COLUMN_BYTES = 64, NAME_BYTES = 32 };

/* The argument with which a sentence begins. */
static bool find_argument(const char *message, char name[NAME_BYTES])
{
    size_t len = strspn(message, "abcdefghijklmnopqrstuvwxyz_");

    if (len == 0 || len >= NAME_BYTES || message[len] != ' ') {
        return false;
    }
    memcpy(name, message, len);
    name[len] = '\0';
    return true;
}

static const char *find_title(const struct csv_table *table, const char *name)
{
    for (size_t i = 0; table != NULL && i < table->count; i++) {
        if (table->columns[i].role != COLUMN_LEFT_OUT && table->columns[i].role != COLUMN_METADATA_LEAF &&
            strcmp(table->columns[i].name, name) == 0) {
            return table->columns[i].title;
        }
    }
    return NULL;
}

static void append(struct error *error, const struct buffer *more)
{
    size_t len = strlen(error->message);

    if (more->data != NULL && !more->failed) {
        snprintf(error->message + len, sizeof error->message - len, "%s", more->data);
    }
}

void explain_value(struct error *error, struct slice body, const struct csv_table *table)
{
    char name[NAME_BYTES];
    struct json_member member = {.name = name};
    struct error unused;
    struct buffer more;
    const char *title;
    bool stray_nul;

    if (error->code == ERROR_METADATA_INVALID || !find_argument(error->message, name) ||
        !json_find_members(body, &member, 1, &stray_nul, &unused) || member.type == JSON_INVALID) {
        return;
    }
    buffer_init(&more, sizeof error->message);
    buffer_append_text(&more, ": it is ");
    append_shown(&more, member.value, VALUE_BYTES);
    title = find_title(table, name);
    if (title != NULL) {
        buffer_append_text(&more, ", in the column \"");
        append_shown(&more, (struct slice){.data = title, .len = strlen(title)}, COLUMN_BYTES);
        buffer_append_text(&more, "\"");
    }
    append(error, &more);
    buffer_free(&more);
}

void explain_filter(struct error *error, const char *format)
{
    size_t len = strlen(error->message);

    if (strcmp(error->message, "reference_id is required") == 0) {
        snprintf(error->message + len, sizeof error->message - len,
                 ": the record has nothing of which the filter of %s makes it", format);
    }
}

void explain_encoding(struct error *error, struct slice record, const char *path)
{
    const unsigned char *bytes = (const unsigned char *)record.data;
    size_t i = 0, len = 1;

    while (error->code == ERROR_INVALID_JSON && i < record.len &&
           (len = utf8_sequence(bytes + i, record.len - i)) > 0) {
        i += len;
    }
    if (error->code == ERROR_INVALID_JSON && i < record.len) {
        struct buffer more;

        error_set(error, ERROR_INVALID_JSON,
                  "the record is not UTF-8: byte %zu of it is 0x%02X; if the file is in Windows-1252 or "
                  "Latin-1, ",
                  i + 1, bytes[i]);
        buffer_init(&more, sizeof error->message);
        append_command(&more, ICONV_LATIN, path);
        append(error, &more);
        buffer_free(&more);
    }
}
