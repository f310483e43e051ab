/* A CSV file with a header: its rows as JSON. */
#include "incidentctl/import/csv_table.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/json.h"

static const size_t TEXTS_MAX = (size_t)128 * 1024 * 1024;
static const char metadata_prefix[] = "metadata.";

void csv_table_init(struct csv_table *table, const char *separator)
{
    *table = (struct csv_table){.separator = separator};
    csv_row_init(&table->row);
    buffer_init(&table->texts, TEXTS_MAX);
}

void csv_table_free(struct csv_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        free(table->columns[i].name);
    }
    free(table->columns);
    free(table->leaves);
    csv_row_free(&table->row);
    buffer_free(&table->texts);
    csv_table_init(table, table->separator);
}

static bool is_passed_over(char byte)
{
    return byte == ' ' || byte == '_' || byte == '-';
}

/* Whether a header's cell is that name, by and large: exports spell createdAt, created_at and Created At. */
static bool names_agree(struct slice cell, const char *name)
{
    size_t i = 0;

    for (;;) {
        while (i < cell.len && is_passed_over(cell.data[i])) {
            i++;
        }
        while (is_passed_over(*name)) {
            name++;
        }
        if (i == cell.len || *name == '\0') {
            return i == cell.len && *name == '\0';
        }
        if (tolower((unsigned char)cell.data[i++]) != tolower((unsigned char)*name++)) {
            return false;
        }
    }
}

bool row_has(const struct csv_row *row, const char *name)
{
    for (size_t i = 0; i < row->count; i++) {
        if (names_agree(row->cells[i].text, name)) {
            return true;
        }
    }
    return false;
}

/* The name as it stands in the file, but for what would command a terminal. */
static bool print_error(const char *what, struct slice name)
{
    (void)fprintf(stderr, "incidentctl: %s \"", what);
    for (size_t i = 0; i < name.len && i < 200; i++) {
        unsigned char byte = (unsigned char)name.data[i];
        bool is_c1 = byte == 0xC2 && i + 1 < name.len && (unsigned char)name.data[i + 1] < 0xA0;

        (void)fputc(byte < 0x20 || byte == 0x7F || is_c1 ? '?' : byte, stderr);
        i += is_c1;
    }
    (void)fputs("\"\n", stderr);
    return false;
}

static bool make_columns(struct csv_table *table, size_t count)
{
    table->columns = calloc(count, sizeof table->columns[0]);
    table->leaves = calloc(count, sizeof table->leaves[0]);
    table->count = table->columns != NULL && table->leaves != NULL ? count : 0;
    return table->count > 0 || print_error("out of memory for the columns", (struct slice){.data = ""});
}

static bool set_column(struct csv_table *table, size_t i, enum column_role role, struct slice name)
{
    table->columns[i] = (struct csv_table_column){.role = role, .name = strndup(name.data, name.len)};
    if (table->columns[i].name == NULL) {
        return print_error("out of memory for the column", name);
    }
    for (size_t j = 0; role != COLUMN_LEFT_OUT && j < i; j++) {
        if (table->columns[j].role == role && strcmp(table->columns[j].name, table->columns[i].name) == 0) {
            return print_error("the header has two columns for", name);
        }
    }
    return true;
}

static enum column_role role_of(struct slice name)
{
    static const struct {
        const char *name;
        enum column_role role;
    } arguments[] = {
        {"reference_id", COLUMN_MEMBER}, {"started_at", COLUMN_MEMBER}, {"resolved_at", COLUMN_MEMBER},
        {"name", COLUMN_MEMBER},         {"priority", COLUMN_MEMBER},   {"source_url", COLUMN_MEMBER},
        {"services", COLUMN_SERVICES},   {"metadata", COLUMN_METADATA},
    };

    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        if (strlen(arguments[i].name) == name.len && memcmp(arguments[i].name, name.data, name.len) == 0) {
            return arguments[i].role;
        }
    }
    return name.len >= sizeof metadata_prefix &&
                   memcmp(name.data, metadata_prefix, sizeof metadata_prefix - 1) == 0
               ? COLUMN_METADATA_LEAF
               : COLUMN_LEFT_OUT;
}

/* Whether the columns leave one place for each value of the metadata. */
static bool check_metadata(struct csv_table *table)
{
    struct error error;
    struct buffer unused;
    size_t count = 0;
    bool is_whole = false, ok;

    for (size_t i = 0; i < table->count; i++) {
        is_whole = is_whole || table->columns[i].role == COLUMN_METADATA;
        if (table->columns[i].role == COLUMN_METADATA_LEAF) {
            table->leaves[count++] =
                (struct leaf){.path = table->columns[i].name, .json = {.data = "0", .len = 1}};
        }
    }
    buffer_init(&unused, TEXTS_MAX);
    sort_leaves(table->leaves, count);
    ok = append_leaves(&unused, table->leaves, count, &error) && !(is_whole && count > 0);
    buffer_free(&unused);
    return ok || print_error("the header has columns that exclude each other below",
                             (struct slice){.data = "metadata", .len = 8});
}

bool csv_table_set_arguments(struct csv_table *table, const struct csv_row *header)
{
    if (!row_has(header, "reference_id") || !row_has(header, "started_at")) {
        return print_error("the header lacks a column that every incident needs:",
                           row_has(header, "reference_id")
                               ? (struct slice){.data = "started_at", .len = 10}
                               : (struct slice){.data = "reference_id", .len = 12});
    }
    if (!make_columns(table, header->count)) {
        return false;
    }
    for (size_t i = 0; i < header->count; i++) {
        struct slice name = header->cells[i].text;
        enum column_role role = role_of(name);
        size_t prefix = role == COLUMN_METADATA_LEAF ? sizeof metadata_prefix - 1 : 0;

        if (role == COLUMN_LEFT_OUT) {
            (void)print_error("note: nothing is known of this column, it is left out:", name);
        }
        if (!set_column(table, i, role,
                        (struct slice){.data = name.data + prefix, .len = name.len - prefix})) {
            return false;
        }
    }
    return check_metadata(table);
}

bool csv_table_set_aliases(struct csv_table *table, const struct csv_row *header, const struct alias *aliases)
{
    if (!make_columns(table, header->count)) {
        return false;
    }
    for (size_t i = 0; i < header->count; i++) {
        const struct alias *alias = aliases;
        struct slice name = {.data = "", .len = 0};

        while (alias->column != NULL && !names_agree(header->cells[i].text, alias->column)) {
            alias++;
        }
        if (alias->column != NULL) {
            name = (struct slice){.data = alias->member, .len = strlen(alias->member)};
        }
        if (!set_column(table, i, alias->column != NULL ? COLUMN_MEMBER : COLUMN_LEFT_OUT, name)) {
            return false;
        }
    }
    return true;
}

static void append_services(const struct csv_table *table, struct slice cell, struct buffer *json)
{
    size_t len = strlen(table->separator);
    bool is_first = true;

    append_member_name(json, "services", 8);
    buffer_append_text(json, "[");
    for (;;) {
        const char *end = memmem(cell.data, cell.len, table->separator, len);
        size_t size = end == NULL ? cell.len : (size_t)(end - cell.data);

        buffer_append_text(json, is_first ? "{" : ",{");
        append_text_member(json, "identifier", (struct slice){.data = cell.data, .len = size});
        buffer_append_text(json, "}");
        if (end == NULL) {
            break;
        }
        cell = (struct slice){.data = end + len, .len = cell.len - size - len};
        is_first = false;
    }
    buffer_append_text(json, "]");
}

/* The leaves' JSON, one behind the other in table->texts, which moves as it grows: so their data comes last.
 */
static bool append_metadata(struct csv_table *table, struct buffer *json, struct error *error)
{
    size_t count = 0, at = 0;

    buffer_reset(&table->texts, (size_t)64 * 1024);
    for (size_t i = 0; i < table->count; i++) {
        const struct csv_cell *cell = &table->row.cells[i];

        if (table->columns[i].role == COLUMN_METADATA_LEAF && (cell->is_quoted || cell->text.len > 0)) {
            size_t before = table->texts.len;

            buffer_append_json_string(&table->texts, cell->text.data, cell->text.len);
            table->leaves[count++] =
                (struct leaf){.path = table->columns[i].name, .json.len = table->texts.len - before};
        }
    }
    if (table->texts.failed) {
        return error_set(error, ERROR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        table->leaves[i].json.data = table->texts.data + at;
        at += table->leaves[i].json.len;
    }
    if (count == 0) {
        return true;
    }
    sort_leaves(table->leaves, count);
    append_member_name(json, "metadata", 8);
    return append_leaves(json, table->leaves, count, error);
}

static bool split(struct csv_table *table, struct slice text, struct error *error)
{
    const char *fault;

    if (!utf8_is_valid(text.data, text.len)) {
        return error_set(error, ERROR_INVALID_JSON, "the row is not valid UTF-8");
    }
    fault = csv_split(&table->row, text);
    if (fault != NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row %s", fault);
    }
    if (table->row.count != table->count) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row has %zu cells where the header has %zu",
                         table->row.count, table->count);
    }
    return true;
}

/* The cell must be one JSON text, so that nothing behind its end becomes a member of the incident. */
static bool append_whole_metadata(struct slice cell, struct buffer *json, struct error *error)
{
    struct json_reader reader;
    struct json_token token;
    enum json_event event;

    json_reader_init(&reader, cell);
    do {
        event = json_next(&reader, &token);
    } while (event != JSON_END_OF_TEXT && event != JSON_INVALID);
    if (event == JSON_INVALID) {
        return error_set(error, ERROR_INVALID_JSON, "metadata is not valid JSON: %s", reader.fault);
    }
    append_json_member(json, "metadata", cell);
    return true;
}

bool csv_table_read(struct csv_table *table, struct slice text, struct buffer *json, struct error *error)
{
    if (!split(table, text, error)) {
        return false;
    }
    buffer_append_text(json, "{");
    for (size_t i = 0; i < table->count; i++) {
        const struct csv_table_column *column = &table->columns[i];
        const struct csv_cell *cell = &table->row.cells[i];

        if (!cell->is_quoted && cell->text.len == 0) {
            continue;
        }
        if (column->role == COLUMN_MEMBER) {
            append_text_member(json, column->name, cell->text);
        } else if (column->role == COLUMN_SERVICES) {
            append_services(table, cell->text, json);
        } else if (column->role == COLUMN_METADATA && !append_whole_metadata(cell->text, json, error)) {
            return false;
        }
    }
    if (!append_metadata(table, json, error)) {
        return false;
    }
    buffer_append_text(json, "}");
    return !json->failed || error_set(error, ERROR_INTERNAL, "out of memory");
}
