/* DX's tables incident_services and incident_metadata. Columns:
 * https://docs.getdx.com/schema/incident_services and https://docs.getdx.com/schema/incident_metadata. */
#include "incidentctl/import/dx.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/import/columns.h"
#include "incidentctl/import/row_object.h"
#include "incidentctl/import/source.h"
#include "incidentctl/support/print_error.h"

static const size_t TEXTS_MAX = (size_t)16 * 1024 * 1024 * 1024;

/* Offsets of NUL-terminated texts in the table's memory. */
struct dx_row {
    size_t incident; /* ascending as the file has them */
    size_t first;    /* the service's identifier; the metadata's key */
    size_t second;   /* the service's name, the metadata's value; 0 for none */
    bool is_used;
};

/* Where a table's columns stand; NONE where it has no such one. */
struct dx_columns {
    size_t incident, first, second, count;
};

static const size_t NONE = SIZE_MAX;

static const char *name_of(enum dx_table kind)
{
    return kind == DX_SERVICES ? "incident_services" : "incident_metadata";
}

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

/* Keeps a text with a NUL behind it. */
static size_t keep(struct dx_rows *rows, struct slice text)
{
    size_t at = rows->texts.len;

    buffer_append_slice(&rows->texts, text);
    buffer_append(&rows->texts, "", 1);
    return at;
}

static bool add_row(struct dx_rows *rows, struct slice incident, struct slice first, struct slice second)
{
    struct dx_row row = {.is_used = false};

    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity == 0 ? 1024 : rows->capacity * 2;
        struct dx_row *grown = realloc(rows->rows, capacity * sizeof *grown);

        if (grown == NULL) {
            return false;
        }
        rows->rows = grown;
        rows->capacity = capacity;
    }
    row.incident = keep(rows, incident);
    row.first = keep(rows, first);
    row.second = second.len > 0 ? keep(rows, second) : 0;
    rows->rows[rows->count++] = row;
    return !rows->texts.failed;
}

static struct slice cell_at(const struct csv_row *row, size_t column)
{
    return column == NONE ? (struct slice){.data = "", .len = 0} : row->cells[column].text;
}

static bool read_row(struct dx_rows *rows, enum dx_table kind, const struct dx_columns *columns,
                     struct csv_row *row, struct slice text, struct error *error)
{
    struct slice incident, first, second;

    if (!row_split(row, text, columns->count, error)) {
        return false;
    }
    if (memchr(text.data, '\0', text.len) != NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row has a NUL byte");
    }
    incident = cell_at(row, columns->incident);
    first = cell_at(row, columns->first);
    second = cell_at(row, columns->second);
    if (kind == DX_SERVICES && first.len == 0) { /* an older row: the service value is all that was sent */
        first = second;
        second.len = 0;
    }
    if (incident.len == 0 || first.len == 0) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row lacks incident_id or %s",
                         kind == DX_METADATA ? "key" : "identifier");
    }
    return add_row(rows, incident, first, second) || error_set(error, ERROR_INTERNAL, "out of memory");
}

static size_t find_column(const struct csv_row *header, const char *name)
{
    size_t column = column_find(header, name);

    return column < header->count ? column : NONE;
}

static bool read_header(struct csv_row *header, enum dx_table kind, const char *path, struct slice text,
                        struct dx_columns *columns)
{
    bool ok = csv_split(header, text) == NULL;

    if (ok) {
        columns->count = header->count;
        columns->incident = find_column(header, "incident_id");
        columns->first = find_column(header, kind == DX_SERVICES ? "identifier" : "key");
        columns->second = find_column(header, kind == DX_SERVICES ? "service" : "value");
        ok = columns->incident != NONE &&
             (kind == DX_SERVICES ? columns->first != NONE || columns->second != NONE
                                  : columns->first != NONE && columns->second != NONE);
    }
    return ok ||
           print_error("%s is not DX's table %s: its first line must name the columns", path, name_of(kind));
}

static int compare_rows(const void *one, const void *other, void *texts)
{
    const struct dx_row *a = one, *b = other;
    int difference = strcmp((char *)texts + a->incident, (char *)texts + b->incident);

    return difference != 0 ? difference : (a->incident > b->incident) - (a->incident < b->incident);
}

static bool read_rows(struct dx_rows *rows, enum dx_table kind, struct source *source)
{
    struct source_record record;
    enum source_result result;
    struct dx_columns columns;
    struct csv_row row;
    bool ok = true, has_header = false;

    csv_row_init(&row);
    while ((result = source_next(source, &record)) == SOURCE_RECORD) {
        struct error error = {.code = ERROR_NONE};

        if (!has_header) {
            row.delimiter = source->rows.delimiter;
            has_header = read_header(&row, kind, source->name, record.text, &columns);
            if (!has_header) {
                break;
            }
        } else if (!read_row(rows, kind, &columns, &row, record.text, &error)) {
            fprintf(stderr, "%s:%llu: %s\n", source->name, (unsigned long long)record.line, error.message);
            ok = false;
        }
    }
    csv_row_free(&row);
    if (result == SOURCE_BROKEN) {
        print_error("unable to read %s: %s", source->name, source->fault);
    }
    return ok && has_header && result == SOURCE_END;
}

bool dx_rows_read(struct dx_rows *rows, enum dx_table table, const char *path)
{
    struct source source;
    bool ok;

    *rows = (struct dx_rows){0};
    buffer_init(&rows->texts, TEXTS_MAX);
    buffer_append(&rows->texts, "", 1); /* so that 0 is no text's place */
    ok = source_open(&source, path, -1);
    if (ok) {
        source_set_kind(&source, SOURCE_ROWS, false);
        ok = read_rows(rows, table, &source);
    }
    source_close(&source);
    if (ok && rows->count > 0) {
        qsort_r(rows->rows, rows->count, sizeof rows->rows[0], compare_rows, rows->texts.data);
    }
    return ok;
}

static const char *text_at(const struct dx_rows *rows, size_t at)
{
    return rows->texts.data + at;
}

/* The rows of an incident: the first of them, and their number, which are used from now on. */
static size_t find_rows(struct dx_rows *rows, const char *incident, size_t *count)
{
    size_t low = 0, high = rows->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(text_at(rows, rows->rows[middle].incident), incident) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *count = 0;
    while (low + *count < rows->count &&
           strcmp(text_at(rows, rows->rows[low + *count].incident), incident) == 0) {
        rows->rows[low + *count].is_used = true;
        *count += 1;
    }
    return low;
}

static jv service_of(const struct dx_rows *rows, const struct dx_row *row)
{
    jv service = jv_object_set(jv_object(), jv_string("identifier"), jv_string(text_at(rows, row->first)));

    return row->second != 0 && strcmp(text_at(rows, row->second), text_at(rows, row->first)) != 0
               ? jv_object_set(service, jv_string("name"), jv_string(text_at(rows, row->second)))
               : service;
}

static jv metadata_of(const struct dx_rows *rows, const struct dx_row *row)
{
    jv value = row->second != 0 ? jv_string(text_at(rows, row->second)) : jv_null();

    return jv_object_set(jv_object_set(jv_object(), jv_string("key"), jv_string(text_at(rows, row->first))),
                         jv_string("value"), value);
}

jv dx_add_rows(struct dx_rows *rows, enum dx_table table, jv incident, jv id)
{
    jv text = jv_get_kind(id) == JV_KIND_STRING ? id : jv_dump_string(id, 0);
    size_t count, first = find_rows(rows, jv_string_value(text), &count);
    jv added = jv_array();

    jv_free(text);
    for (size_t i = first; i < first + count; i++) {
        const struct dx_row *row = &rows->rows[i];

        added = jv_array_append(added, table == DX_SERVICES ? service_of(rows, row) : metadata_of(rows, row));
    }
    if (count == 0) {
        jv_free(added);
        return incident;
    }
    return jv_object_set(incident, jv_string(name_of(table)), added);
}
