/* DX's tables incident_services and incident_metadata. Columns:
 * https://docs.getdx.com/schema/incident_services and https://docs.getdx.com/schema/incident_metadata. */
#include "incidentctl/import/dx.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/import/source.h"
#include "incidentctl/import/csv_table.h"

static const size_t TEXTS_MAX = (size_t)16 * 1024 * 1024 * 1024;

/* Offsets of NUL-terminated texts in the table's memory: JSON, but for what is said to be without quotes. */
struct dx_row {
    size_t incident; /* without quotes; ascending as the file has them */
    size_t first;    /* the service's identifier; the metadata's key, without quotes */
    size_t second;   /* the service's name, the metadata's value; 0 for none */
    bool is_used;
};

static const struct alias services_columns[] = {
    {"incident_id", "incident_id"}, {"identifier", "first"}, {"service", "second"}, {NULL, NULL}};
static const struct alias metadata_columns[] = {
    {"incident_id", "incident_id"}, {"key", "first"}, {"value", "second"}, {NULL, NULL}};

void dx_rows_free(struct dx_rows *rows)
{
    free(rows->rows);
    buffer_free(&rows->texts);
    *rows = (struct dx_rows){0};
}

size_t dx_rows_unused(const struct dx_rows *rows)
{
    size_t unused = 0;

    for (size_t i = 0; i < rows->count; i++) {
        unused += !rows->rows[i].is_used;
    }
    return unused;
}

static struct slice without_quotes(struct slice json)
{
    return json.len >= 2 && json.data[0] == '"' ? (struct slice){.data = json.data + 1, .len = json.len - 2}
                                                : json;
}

/* Keeps a text with a NUL behind it. */
static size_t keep(struct dx_rows *rows, struct slice text)
{
    size_t at = rows->texts.len;

    buffer_append_slice(&rows->texts, text);
    buffer_append(&rows->texts, "", 1);
    return at;
}

static bool add_row(struct dx_rows *rows, enum dx_table table, const struct json_member *members)
{
    struct dx_row row;
    const struct json_member *first = &members[1], *second = &members[2];

    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 1024 : rows->capacity * 2;
        struct dx_row *grown = realloc(rows->rows, capacity * sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        rows->rows = grown;
        rows->capacity = capacity;
    }
    if (table == DX_SERVICES && first->type == JSON_INVALID) {
        first = second; /* an older row: the service value is all that was sent */
    }
    row.incident = keep(rows, without_quotes(members[0].value));
    row.first = keep(rows, table == DX_METADATA ? without_quotes(first->value) : first->value);
    row.second = second->type != JSON_INVALID && first != second ? keep(rows, second->value) : 0;
    row.is_used = false;
    rows->rows[rows->count++] = row;
    return !rows->texts.failed;
}

static bool read_row(struct dx_rows *rows, enum dx_table kind, struct csv_table *table, struct slice text,
                     struct buffer *json, struct error *error)
{
    struct json_member members[] = {{.name = "incident_id"}, {.name = "first"}, {.name = "second"}};
    bool stray_nul;

    buffer_reset(json, (size_t)64 * 1024);
    if (!csv_table_read(table, text, json, error) ||
        !json_find_members((struct slice){.data = json->data, .len = json->len}, members, 3, &stray_nul,
                           error)) {
        return false;
    }
    if (members[0].type == JSON_INVALID ||
        (members[1].type == JSON_INVALID && (kind == DX_METADATA || members[2].type == JSON_INVALID))) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row lacks incident_id or %s",
                         kind == DX_METADATA ? "key" : "identifier");
    }
    return add_row(rows, kind, members) || error_set(error, ERROR_INTERNAL, "out of memory");
}

static bool read_header(struct csv_table *table, enum dx_table kind, const char *path, struct slice text)
{
    const struct alias *columns = kind == DX_SERVICES ? services_columns : metadata_columns;
    struct csv_row header;
    bool ok;

    csv_row_init(&header);
    ok = csv_split(&header, text) == NULL && row_has(&header, "incident_id") &&
         (kind == DX_SERVICES ? row_has(&header, "identifier") || row_has(&header, "service")
                              : row_has(&header, "key") && row_has(&header, "value"));
    if (!ok) {
        (void)fprintf(stderr, "incidentctl: %s is not DX's table %s: its first line must name the columns\n",
                      path, kind == DX_SERVICES ? "incident_services" : "incident_metadata");
    }
    ok = ok && csv_table_set_aliases(table, &header, columns);
    csv_row_free(&header);
    return ok;
}

static int compare_rows(const void *one, const void *other, void *texts)
{
    const struct dx_row *a = one, *b = other;
    int difference = strcmp((char *)texts + a->incident, (char *)texts + b->incident);

    return difference != 0 ? difference : (a->incident > b->incident) - (a->incident < b->incident);
}

static bool read_rows(struct dx_rows *rows, enum dx_table kind, struct source *source,
                      struct csv_table *table)
{
    struct source_record record;
    enum source_result result;
    struct buffer json;
    bool ok = true, has_header = false;

    buffer_init(&json, 4 * SOURCE_RECORD_MAX);
    while ((result = source_next(source, &record)) == SOURCE_RECORD) {
        struct error error = {.code = ERROR_NONE};

        if (!has_header) {
            has_header = read_header(table, kind, source->name, record.text);
            if (!has_header) {
                break;
            }
        } else if (!read_row(rows, kind, table, record.text, &json, &error)) {
            (void)fprintf(stderr, "%s:%llu: %s\n", source->name, (unsigned long long)record.line,
                          error.message);
            ok = false;
        }
    }
    buffer_free(&json);
    if (result == SOURCE_BROKEN) {
        (void)fprintf(stderr, "incidentctl: unable to read %s: %s\n", source->name, source->fault);
    }
    return ok && has_header && result == SOURCE_END;
}

bool dx_rows_read(struct dx_rows *rows, enum dx_table table, const char *path)
{
    struct source source;
    struct csv_table columns;
    bool ok;

    *rows = (struct dx_rows){0};
    buffer_init(&rows->texts, TEXTS_MAX);
    buffer_append(&rows->texts, "", 1); /* so that 0 is no text's place */
    csv_table_init(&columns, ";");
    ok = source_open(&source, path, -1);
    if (ok) {
        source_set_kind(&source, SOURCE_ROWS, false);
        ok = read_rows(rows, table, &source, &columns);
    }
    source_close(&source);
    csv_table_free(&columns);
    if (ok && rows->count > 0) {
        qsort_r(rows->rows, rows->count, sizeof rows->rows[0], compare_rows, rows->texts.data);
    }
    return ok;
}

static const char *text_at(const struct dx_rows *rows, size_t at)
{
    return rows->texts.data + at;
}

static struct slice slice_at(const struct dx_rows *rows, size_t at)
{
    return (struct slice){.data = text_at(rows, at), .len = strlen(text_at(rows, at))};
}

/* The rows of an incident: the first of them, and their number, which are used from now on. */
static size_t find_rows(struct dx_rows *rows, struct slice incident, size_t *count)
{
    size_t low = 0, high = rows->count;

    incident = without_quotes(incident);
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const char *text = text_at(rows, rows->rows[middle].incident);
        int difference = strncmp(text, incident.data, incident.len);

        if (difference < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *count = 0;
    while (low + *count < rows->count) {
        struct slice text = slice_at(rows, rows->rows[low + *count].incident);

        if (text.len != incident.len || memcmp(text.data, incident.data, text.len) != 0) {
            break;
        }
        rows->rows[low + *count].is_used = true;
        *count += 1;
    }
    return low;
}

void dx_append_services(struct dx_rows *rows, struct slice incident, struct buffer *json)
{
    size_t count, first = find_rows(rows, incident, &count);

    if (count == 0) {
        return;
    }
    append_member_name(json, "services", 8);
    for (size_t i = first; i < first + count; i++) {
        const struct dx_row *row = &rows->rows[i];

        buffer_append_text(json, i == first ? "[{" : ",{");
        append_json_member(json, "identifier", slice_at(rows, row->first));
        if (row->second != 0 && strcmp(text_at(rows, row->second), text_at(rows, row->first)) != 0) {
            append_json_member(json, "name", slice_at(rows, row->second));
        }
        buffer_append_text(json, "}");
    }
    buffer_append_text(json, "]");
}

bool dx_append_metadata(struct dx_rows *rows, struct slice incident, struct buffer *json, struct error *error)
{
    size_t count, first = find_rows(rows, incident, &count);
    struct leaf *leaves;
    bool ok;

    if (count == 0) {
        return true;
    }
    leaves = calloc(count, sizeof *leaves);
    if (leaves == NULL) {
        return error_set(error, ERROR_INTERNAL, "out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const struct dx_row *row = &rows->rows[first + i];

        leaves[i].path = text_at(rows, row->first);
        leaves[i].json =
            row->second != 0 ? slice_at(rows, row->second) : (struct slice){.data = "null", .len = 4};
    }
    sort_leaves(leaves, count);
    append_member_name(json, "metadata", 8);
    ok = append_leaves(json, leaves, count, error);
    free(leaves);
    return ok;
}
