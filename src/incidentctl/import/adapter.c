/* From what a file holds to the bodies of upserts: by the names of the API, or by a filter. */
#include "incidentctl/import/adapter.h"

#include "base/utf8.h"
#include "incidentctl/import/columns.h"
#include "incidentctl/import/explain.h"
#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"

enum { KEEP_BYTES = 256 * 1024 };

void adapter_init(struct adapter *adapter, const char *separator)
{
    *adapter = (struct adapter){.separator = separator};
    csv_table_init(&adapter->table, separator);
    jq_keys_init(&adapter->keys);
    buffer_init(&adapter->flat, 8 * SOURCE_RECORD_MAX);
    buffer_init(&adapter->adjusted, 8 * SOURCE_RECORD_MAX);
}

void adapter_free(struct adapter *adapter)
{
    jq_filter_close(&adapter->filter);
    csv_table_free(&adapter->table);
    row_objects_free(&adapter->objects);
    jq_keys_free(&adapter->keys);
    buffer_free(&adapter->flat);
    buffer_free(&adapter->adjusted);
    dx_rows_free(&adapter->services);
    dx_rows_free(&adapter->metadata);
}

bool adapter_set_format(struct adapter *adapter, const struct format *format, const char *filter_path)
{
    adapter->format = format;
    adapter->times.more_formats = format->dates;
    if (filter_path != NULL) {
        return jq_filter_open_file(&adapter->filter, filter_path, adapter->separator);
    }
    return !format_is_filtered(format) ||
           jq_filter_open_embedded(&adapter->filter, format->name, adapter->separator);
}

/* What a header is. Ours needs no filter to be known. */
static const struct format *recognise(struct row_objects *objects, const struct csv_row *header)
{
    const struct format *own = format_by_name("csv");
    jv record;

    if (column_find(header, "reference_id") < header->count) {
        return own;
    }
    record = jv_object();
    for (size_t i = 0; i < objects->count; i++) {
        record = jv_object_set(record, jv_copy(objects->columns[i].key), jv_string(""));
    }
    return format_recognise(record, own);
}

static bool print_unknown(const char *name, const struct csv_row *header)
{
    jv names = jv_array();

    for (size_t i = 0; i < header->count; i++) {
        names = jv_array_append(names,
                                jv_string_sized(header->cells[i].text.data, (int)header->cells[i].text.len));
    }
    return format_print_unknown(name, "columns", names);
}

static bool print_foreign_header(const struct source *source)
{
    struct buffer command;

    buffer_init(&command, 1024);
    append_command(&command, ICONV_LATIN, source->path);
    print_error("%s: the first row, the header, is not valid UTF-8: if the file is in Windows-1252 or "
                "Latin-1, %s",
                source->name, command.data == NULL ? ICONV_LATIN : command.data);
    buffer_free(&command);
    return false;
}

bool adapter_take_header(struct adapter *adapter, const struct source *source, struct slice text)
{
    struct csv_row header;
    const char *fault;
    bool ok;

    csv_row_init(&header);
    header.delimiter = source->rows.delimiter;
    if (!utf8_is_valid(text.data, text.len)) {
        return print_foreign_header(source);
    }
    fault = csv_split(&header, text);
    ok = (fault == NULL || print_error("%s: the first row, the header, %s", source->name, fault)) &&
         row_objects_set_header(&adapter->objects, &header);
    if (ok && adapter->format == NULL) {
        const struct format *format = recognise(&adapter->objects, &header);

        ok =
            format != NULL ? adapter_set_format(adapter, format, NULL) : print_unknown(source->name, &header);
    }
    ok = ok && (format_is_filtered(adapter->format) ||
                csv_table_set_arguments(&adapter->table, source->name, &header));
    csv_row_free(&header);
    return ok;
}

static jv add_tables(struct adapter *adapter, jv object)
{
    jv id;

    if (adapter->format->kind != FORMAT_DX || jv_get_kind(object) != JV_KIND_OBJECT) {
        return object;
    }
    id = jv_object_get(jv_copy(object), jv_string("id"));
    if (jv_is_valid(id)) {
        object = dx_add_rows(&adapter->services, DX_SERVICES, object, jv_copy(id));
        object = dx_add_rows(&adapter->metadata, DX_METADATA, object, jv_copy(id));
    }
    jv_free(id);
    return object;
}

bool adapter_begin(struct adapter *adapter, enum source_kind kind, const struct source_record *record,
                   struct error *error)
{
    jv object;

    if (format_is_filtered(adapter->format)) {
        jq_filter_expect(record->line);
        if (!(kind == SOURCE_ROWS ? row_objects_read(&adapter->objects, record->text, &object, error)
                                  : jq_value_read(record->text, &adapter->keys, &object, error))) {
            return false;
        }
        if (kind != SOURCE_ROWS && format_is_page(adapter->format)) {
            object = format_unwrap(object);
        }
        jq_filter_start(&adapter->filter, add_tables(adapter, object));
        return true;
    }
    adapter->is_given = false;
    adapter->body = record->text;
    if (kind == SOURCE_ROWS) {
        buffer_reset(&adapter->flat, KEEP_BYTES);
        if (!csv_table_read(&adapter->table, record->text, &adapter->flat, error)) {
            return false;
        }
        adapter->body = (struct slice){.data = adapter->flat.data, .len = adapter->flat.len};
    }
    return true;
}

static enum filtered next_body(struct adapter *adapter, struct slice *body, struct error *error)
{
    if (format_is_filtered(adapter->format)) {
        return jq_filter_next(&adapter->filter, body, error);
    }
    if (adapter->is_given) {
        return FILTERED_END;
    }
    adapter->is_given = true;
    *body = adapter->body;
    return FILTERED_OUTPUT;
}

enum filtered adapter_next(struct adapter *adapter, struct slice *body, struct error *error)
{
    enum filtered filtered = next_body(adapter, body, error);

    adapter->unadjusted = *body;
    if (filtered == FILTERED_OUTPUT && times_are_odd(&adapter->times)) {
        *body = times_adjust(&adapter->times, *body, &adapter->adjusted);
    }
    return filtered;
}
