/* A CSV file with a header: its rows as JSON. */
#include "incidentctl/import/csv_table.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "incidentctl/import/columns.h"
#include "incidentctl/import/csv_check.h"
#include "incidentctl/import/rejects.h"
#include "incidentctl/import/row_object.h"
#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"
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
        free(table->columns[i].title);
    }
    free(table->columns);
    free(table->leaves);
    free(table->leaf_columns);
    csv_row_free(&table->row);
    buffer_free(&table->texts);
    csv_table_init(table, table->separator);
}

/* The name as it stands in the file, but for what would command a terminal. */
static bool complain(const struct csv_table *table, const char *what, struct slice name)
{
    struct buffer shown;

    buffer_init(&shown, 4096);
    append_shown(&shown, name, SHOWN_BYTES_MAX);
    print_error("%s: %s \"%s\"", table->input, what, shown.data == NULL ? "" : shown.data);
    buffer_free(&shown);
    return false;
}

static bool make_columns(struct csv_table *table, size_t count)
{
    table->columns = calloc(count, sizeof table->columns[0]);
    table->leaves = calloc(count, sizeof table->leaves[0]);
    table->leaf_columns = calloc(count, sizeof table->leaf_columns[0]);
    table->count = table->columns != NULL && table->leaves != NULL && table->leaf_columns != NULL ? count : 0;
    return table->count > 0 || complain(table, "out of memory for the columns", (struct slice){.data = ""});
}

static bool set_column(struct csv_table *table, size_t i, enum column_role role, struct slice name,
                       struct slice title)
{
    table->columns[i] = (struct csv_table_column){
        .role = role, .name = strndup(name.data, name.len), .title = strndup(title.data, title.len)};
    if (table->columns[i].name == NULL || table->columns[i].title == NULL) {
        return complain(table, "out of memory for the column", name);
    }
    for (size_t j = 0; role != COLUMN_LEFT_OUT && j < i; j++) {
        if (table->columns[j].role == role && strcmp(table->columns[j].name, table->columns[i].name) == 0) {
            return complain(table, "the header has two columns for", name);
        }
    }
    return true;
}

/* The argument that a column is: source_id is what our own export, and DX, call the reference_id. */
static const struct argument {
    const char *column, *name;
    enum column_role role;
} arguments[] = {
    {"reference_id", "reference_id", COLUMN_MEMBER},
    {"source_id", "reference_id", COLUMN_MEMBER},
    {"started_at", "started_at", COLUMN_MEMBER},
    {"resolved_at", "resolved_at", COLUMN_MEMBER},
    {"name", "name", COLUMN_MEMBER},
    {"priority", "priority", COLUMN_MEMBER},
    {"source_url", "source_url", COLUMN_MEMBER},
    {"services", "services", COLUMN_SERVICES},
    {"services_json", "services", COLUMN_SERVICES_JSON},
    {"metadata", "metadata", COLUMN_METADATA},
};

/* The role of a column, and what of its name its member has. The keys of metadata are taken as they are. */
static enum column_role role_of(struct slice *name)
{
    size_t prefix = sizeof metadata_prefix - 1;

    for (size_t i = 0; i < sizeof arguments / sizeof arguments[0]; i++) {
        if (column_is(*name, arguments[i].column)) {
            *name = (struct slice){.data = arguments[i].name, .len = strlen(arguments[i].name)};
            return arguments[i].role;
        }
    }
    if (name->len > prefix && strncasecmp(name->data, metadata_prefix, prefix) == 0) {
        *name = (struct slice){.data = name->data + prefix, .len = name->len - prefix};
        return COLUMN_METADATA_LEAF;
    }
    return COLUMN_LEFT_OUT;
}

static int compare_names(const void *one, const void *other)
{
    const struct csv_table_column *const *a = one, *const *b = other;

    return strcmp((*a)->name, (*b)->name);
}

/* Whether the columns leave one place for each value of the metadata. Those of an export need not: it has the
 * metadata as JSON too. */
static bool check_metadata(struct csv_table *table)
{
    struct error error;
    struct buffer unused;
    bool is_whole = false, ok;

    for (size_t i = 0; i < table->count; i++) {
        is_whole = is_whole || table->columns[i].role == COLUMN_METADATA;
        if (table->columns[i].role == COLUMN_METADATA_LEAF) {
            table->leaves[table->leaf_count] =
                (struct leaf){.path = table->columns[i].name, .json = {.data = "0", .len = 1}};
            table->leaf_columns[table->leaf_count++] = &table->columns[i];
        }
    }
    qsort(table->leaf_columns, table->leaf_count, sizeof table->leaf_columns[0], compare_names);
    buffer_init(&unused, TEXTS_MAX);
    sort_leaves(table->leaves, table->leaf_count);
    ok = is_whole || append_leaves(&unused, table->leaves, table->leaf_count, &error);
    buffer_free(&unused);
    return ok || complain(table, "the header has columns that exclude each other below",
                          (struct slice){.data = "metadata", .len = 8});
}

static bool check_required(const struct csv_table *table, const struct csv_row *header)
{
    bool has_id = column_find(header, "reference_id") < header->count ||
                  column_find(header, "source_id") < header->count;
    bool has_start = column_find(header, "started_at") < header->count;

    return (has_id && has_start) || complain(table, "the header lacks a column that every incident needs:",
                                             has_id ? (struct slice){.data = "started_at", .len = 10}
                                                    : (struct slice){.data = "reference_id", .len = 12});
}

bool csv_table_set_arguments(struct csv_table *table, const char *input, const struct csv_row *header)
{
    enum { UNKNOWN_SHOWN = 20 };
    size_t unknown = 0;

    table->input = input;
    if (!check_required(table, header) || !make_columns(table, header->count)) {
        return false;
    }
    table->row.delimiter = header->delimiter;
    for (size_t i = 0; i < header->count; i++) {
        struct slice name = header->cells[i].text;
        enum column_role role = role_of(&name);

        if (role == COLUMN_LEFT_OUT && !column_is(name, REJECTS_COLUMN) && unknown++ < UNKNOWN_SHOWN) {
            complain(table, "note: nothing is known of this column, it is left out:", name);
        }
        if (!set_column(table, i, role, name, header->cells[i].text)) {
            return false;
        }
    }
    if (unknown > UNKNOWN_SHOWN) {
        print_error("%s: note: nor is anything known of %zu other columns", table->input,
                    unknown - UNKNOWN_SHOWN);
    }
    return check_metadata(table);
}

static bool is_there(const struct csv_cell *cell)
{
    return cell->is_quoted || cell->text.len > 0;
}

const struct csv_table_column *csv_table_find_column(const struct csv_table *table, enum column_role role)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->columns[i].role == role) {
            return &table->columns[i];
        }
    }
    return NULL;
}

/* The row's cell in the one column of that role, where it is there; else NULL. */
static const struct csv_cell *find_cell(const struct csv_table *table, enum column_role role)
{
    const struct csv_table_column *column = csv_table_find_column(table, role);
    const struct csv_cell *cell = column == NULL ? NULL : &table->row.cells[column - table->columns];

    return cell != NULL && is_there(cell) ? cell : NULL;
}

static struct slice without_blanks(struct slice text)
{
    while (text.len > 0 && isspace((unsigned char)text.data[0])) {
        text = (struct slice){.data = text.data + 1, .len = text.len - 1};
    }
    while (text.len > 0 && isspace((unsigned char)text.data[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Blanks around a separator are nobody's, and a separator at the end separates nothing. */
static void append_identifiers(const struct csv_table *table, struct slice cell, struct buffer *json)
{
    size_t len = strlen(table->separator);
    bool is_first = true;
    const char *end;

    append_member_name(json, "services", 8);
    buffer_append_text(json, "[");
    do {
        struct slice piece = cell;

        end = memmem(cell.data, cell.len, table->separator, len);
        if (end != NULL) {
            piece.len = (size_t)(end - cell.data);
            cell = (struct slice){.data = end + len, .len = cell.len - piece.len - len};
        }
        piece = without_blanks(piece);
        if (end == NULL && piece.len == 0) {
            break;
        }
        buffer_append_text(json, is_first ? "{" : ",{");
        append_text_member(json, "identifier", piece);
        buffer_append_text(json, "}");
        is_first = false;
    } while (end != NULL);
    buffer_append_text(json, "]");
}

/* The leaves' JSON, one behind the other in table->texts, which moves as it grows: so their data comes last.
 */
static bool append_metadata_leaves(struct csv_table *table, struct buffer *json, struct error *error)
{
    size_t count = 0, at = 0;

    buffer_reset(&table->texts, (size_t)64 * 1024);
    for (size_t i = 0; i < table->count; i++) {
        const struct csv_cell *cell = &table->row.cells[i];

        if (table->columns[i].role == COLUMN_METADATA_LEAF && is_there(cell)) {
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

/* The cell must be one JSON text, so that nothing behind its end becomes a member of the incident. */
static bool check_json(struct slice cell, const char *column, struct error *error)
{
    struct json_reader reader;

    json_reader_init(&reader, cell);
    return json_read_to_end(&reader) ||
           error_set(error, ERROR_INVALID_JSON, "%s is not valid JSON: %s", column, reader.fault);
}

static bool append_services(struct csv_table *table, struct buffer *json, struct error *error)
{
    const struct csv_cell *whole = find_cell(table, COLUMN_SERVICES_JSON);
    const struct csv_cell *identifiers = find_cell(table, COLUMN_SERVICES);

    if (whole != NULL) {
        if (!check_json(whole->text, "services_json", error) ||
            !csv_check_services(table, whole->text, error)) {
            return false;
        }
        append_json_member(json, "services", whole->text);
    } else if (identifiers != NULL) {
        append_identifiers(table, identifiers->text, json);
    }
    return true;
}

static bool append_metadata(struct csv_table *table, struct buffer *json, struct error *error)
{
    const struct csv_cell *whole = find_cell(table, COLUMN_METADATA);

    if (whole == NULL) {
        return append_metadata_leaves(table, json, error);
    }
    if (!check_json(whole->text, "metadata", error) || !csv_check_metadata(table, whole->text, error)) {
        return false;
    }
    append_json_member(json, "metadata", whole->text);
    return true;
}

bool csv_table_read(struct csv_table *table, struct slice text, struct buffer *json, struct error *error)
{
    if (!row_split(&table->row, text, table->count, error)) {
        return false;
    }
    buffer_append_text(json, "{");
    for (size_t i = 0; i < table->count; i++) {
        const struct csv_cell *cell = &table->row.cells[i];

        if (table->columns[i].role == COLUMN_MEMBER && is_there(cell)) {
            append_text_member(json, table->columns[i].name, cell->text);
        }
    }
    if (!append_services(table, json, error) || !append_metadata(table, json, error)) {
        return false;
    }
    buffer_append_text(json, "}");
    return !json->failed || error_set(error, ERROR_INTERNAL, "out of memory");
}
