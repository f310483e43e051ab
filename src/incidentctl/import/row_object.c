/* The rows of a CSV file as objects of texts. */
#include "incidentctl/import/row_object.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "incidentctl/import/columns.h"
#include "incidentctl/support/print_error.h"

enum { KEY_BYTES_MAX = 64 * 1024 };

static bool make_key(struct slice cell, jv *key)
{
    struct buffer name;
    bool ok;

    buffer_init(&name, KEY_BYTES_MAX);
    column_append_key(&name, cell);
    ok = !name.failed;
    *key = ok ? jv_string_sized(name.data == NULL ? "" : name.data, (int)name.len) : jv_invalid();
    buffer_free(&name);
    return ok;
}

bool row_objects_set_header(struct row_objects *objects, const struct csv_row *header)
{
    csv_row_init(&objects->row);
    objects->row.delimiter = header->delimiter;
    objects->columns = calloc(header->count, sizeof objects->columns[0]);
    if (objects->columns == NULL) {
        return print_error("out of memory for the columns");
    }
    for (size_t i = 0; i < header->count; i++) {
        struct row_column *column = &objects->columns[i];

        objects->count++;
        if (!make_key(header->cells[i].text, &column->key)) {
            return print_error("the name of a column is over 64 KiB");
        }
        for (size_t j = 0; j < i; j++) {
            if (jv_equal(jv_copy(objects->columns[j].key), jv_copy(column->key))) {
                objects->columns[j].is_repeated = column->is_repeated = true;
            }
        }
    }
    return true;
}

void row_objects_free(struct row_objects *objects)
{
    for (size_t i = 0; i < objects->count; i++) {
        jv_free(objects->columns[i].key);
    }
    free(objects->columns);
    csv_row_free(&objects->row);
    *objects = (struct row_objects){0};
}

bool row_split(struct csv_row *row, struct slice text, size_t count, struct error *error)
{
    const char *fault;

    if (!utf8_is_valid(text.data, text.len)) {
        return error_set(error, ERROR_INVALID_JSON, "the row is not UTF-8");
    }
    fault = csv_split(row, text);
    if (fault != NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row %s", fault);
    }
    if (row->count != count) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "the row has %zu cells where the header has %zu",
                         row->count, count);
    }
    return true;
}

static jv add_text(jv object, const struct row_column *column, jv text)
{
    jv texts;

    if (!column->is_repeated) {
        return jv_object_set(object, jv_copy(column->key), text);
    }
    texts = jv_object_get(jv_copy(object), jv_copy(column->key));
    object = jv_object_set(object, jv_copy(column->key), jv_null()); /* else appending copies all texts */
    if (!jv_is_valid(texts)) {
        jv_free(texts);
        texts = jv_array();
    }
    return jv_object_set(object, jv_copy(column->key), jv_array_append(texts, text));
}

bool row_objects_read(struct row_objects *objects, struct slice text, jv *object, struct error *error)
{
    if (!row_split(&objects->row, text, objects->count, error)) {
        return false;
    }
    *object = jv_object();
    for (size_t i = 0; i < objects->count; i++) {
        struct slice cell = objects->row.cells[i].text;

        if (cell.len > 0) {
            *object = add_text(*object, &objects->columns[i], jv_string_sized(cell.data, (int)cell.len));
        }
    }
    return true;
}
