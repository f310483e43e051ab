/* What an import reads: its format, its header, and DX's other tables. */
#include <stdio.h>
#include <string.h>

#include "incidentctl/import/import.h"
#include "incidentctl/import/jq_value.h"
#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"
#include "model/json.h"

static bool print_unreadable(const struct import *import, enum source_result result)
{
    return print_error("unable to read %s: %s", import->source.name,
                       result == SOURCE_BROKEN ? import->source.fault : "interrupted");
}

/* Whether a record is for our own readers: it has what ours have, or is no JSON, which they say best. */
static bool is_own(struct slice record)
{
    struct json_member member = {.name = "reference_id"};
    struct error error;
    bool stray_nul;

    return !json_find_members(record, &member, 1, &stray_nul, &error) ? error.code == ERROR_INVALID_JSON
                                                                      : member.type != JSON_INVALID;
}

/* The same for a first line, which may be broken, or two pages of an API without a line end between them:
 * then what is in memory tells. */
static bool are_own_lines(const struct source *source)
{
    static const char name[] = "\"reference_id\"";
    struct slice line = source_first_line(source);
    struct json_member member = {.name = "reference_id"};
    struct error error;
    bool stray_nul;

    return json_find_members(line, &member, 1, &stray_nul, &error)
               ? member.type != JSON_INVALID
               : memmem(line.data, (size_t)(source->data + source->len - line.data), name, sizeof name - 1) !=
                     NULL;
}

/* Finds out by a record of JSON what it is. NULL, with a message on standard error, where nobody knows. */
static const struct format *recognise(const struct import *import, struct slice text,
                                      const struct format *own)
{
    const struct format *format;
    struct error error;
    jv record;

    if (is_own(text) || !jq_value_read(text, NULL, &record, &error)) {
        return own;
    }
    format = format_recognise(jv_copy(record), own);
    if (format == NULL) { /* what is within an answer is a vendor's alone */
        format = format_recognise(format_unwrap(jv_copy(record)), NULL);
    }
    if (format == NULL) {
        format_print_unknown(import->source.name, "names",
                             jv_get_kind(record) == JV_KIND_OBJECT ? jv_keys_unsorted(jv_copy(record))
                                                                   : jv_array());
    }
    jv_free(record);
    return format;
}

/* The same by the first record, which is kept. */
static const struct format *recognise_first(struct import *import)
{
    const struct format *own = format_by_name("json"), *format = own;
    enum source_result result;

    source_set_kind(&import->source, SOURCE_VALUES, true);
    result = import_next_record(import, &import->first);
    import->has_first = result == SOURCE_RECORD;
    if (result == SOURCE_STOPPED || result == SOURCE_BROKEN) {
        print_unreadable(import, result);
        return NULL;
    }
    if (import->has_first && import->first.is_too_large) {
        print_error("unable to tell the format of %s: its first record is over 16 MiB; name it by --format",
                    import->source.name);
        return NULL;
    }
    if (import->has_first) {
        format = recognise(import, import->first.text, own);
    }
    import->source.looks_into_wrappers = format != own;
    return format;
}

/* Finds out what the input is, by how it begins: the format is NULL where a CSV header will tell. */
static bool find_format(struct import *import, enum source_kind *kind, const struct format **format)
{
    enum source_result result = source_guess(&import->source, kind);
    const struct format *lines = format_by_name("jsonl");

    if (result != SOURCE_RECORD) {
        return print_unreadable(import, result);
    }
    *format = NULL;
    if (*kind == SOURCE_ROWS) {
        return true;
    }
    if (*kind == SOURCE_LINES && are_own_lines(&import->source)) {
        *format = lines;
        return true;
    }
    *kind = SOURCE_VALUES; /* a line may be a whole page */
    *format = recognise_first(import);
    return *format != NULL;
}

static bool set_format(struct import *import)
{
    const struct format *format = import->options->format;
    enum source_kind kind = SOURCE_ROWS;

    if (format == NULL) {
        if (!find_format(import, &kind, &format)) {
            return false;
        }
    } else if (format_is_filtered(format)) {
        enum source_result result = source_guess(&import->source, &kind);

        if (result != SOURCE_RECORD) {
            return print_unreadable(import, result);
        }
        kind = kind == SOURCE_LINES ? SOURCE_VALUES : kind; /* as above */
    } else {
        kind = format->kind == FORMAT_CSV     ? SOURCE_ROWS
               : format->kind == FORMAT_JSONL ? SOURCE_LINES
                                              : SOURCE_VALUES;
    }
    source_set_kind(&import->source, kind, format != NULL && format_is_page(format));
    if (import->source.fault != NULL) {
        return print_unreadable(import, SOURCE_BROKEN);
    }
    return format == NULL || adapter_set_format(&import->adapter, format, import->options->jq);
}

static bool take_header(struct import *import)
{
    struct source_record header;
    enum source_result result;

    if (import->source.kind != SOURCE_ROWS) {
        return true;
    }
    result = source_next(&import->source, &header);
    if (result == SOURCE_RECORD && !header.is_too_large) {
        return adapter_take_header(&import->adapter, &import->source, header.text) &&
               (import->options->rejects == NULL || rejects_set_header(&import->rejects, header.text));
    }
    if (result == SOURCE_END) { /* nothing at all */
        return import->adapter.format != NULL ||
               adapter_set_format(&import->adapter, format_by_name("csv"), NULL);
    }
    return print_error("unable to read the header of %s", import->source.name);
}

/* DX's other tables, which make sense with its first alone. */
static bool take_tables(struct import *import)
{
    const struct import_options *options = import->options;

    if (import->adapter.format == NULL || import->adapter.format->kind != FORMAT_DX) {
        if (options->services == NULL && options->metadata == NULL) {
            return true;
        }
        fprintf(stderr, "incidentctl: --services and --metadata are tables of DX, and %s is none\n",
                import->source.name);
        return false;
    }
    if (options->services == NULL || options->metadata == NULL) {
        fprintf(stderr, "incidentctl: note: without %s the incidents come without their %s\n",
                options->services == NULL ? "--services" : "--metadata",
                options->services == NULL ? "services" : "metadata");
    }
    return (options->services == NULL ||
            dx_rows_read(&import->adapter.services, DX_SERVICES, options->services)) &&
           (options->metadata == NULL ||
            dx_rows_read(&import->adapter.metadata, DX_METADATA, options->metadata));
}

/* Whether it is why the record behind it was rejected, which is for its reader alone. */
static bool is_reason(const struct source *source, struct slice text)
{
    static const char begin[] = "\"" SOURCE_REASON;

    return source->kind != SOURCE_ROWS && text.len >= sizeof begin - 1 &&
           memcmp(text.data, begin, sizeof begin - 1) == 0;
}

enum source_result import_next_record(struct import *import, struct source_record *record)
{
    enum source_result result;

    if (import->has_first) {
        import->has_first = false;
        *record = import->first;
        return SOURCE_RECORD;
    }
    do {
        result = source_next(&import->source, record);
    } while (result == SOURCE_RECORD && is_reason(&import->source, record->text));
    return result;
}

bool import_open_input(struct import *import)
{
    const struct import_options *options = import->options;

    adapter_init(&import->adapter, options->separator);
    import->adapter.times.time_zone = options->time_zone;
    import->adapter.times.date_format = options->date_format;
    if (!source_open(&import->source, options->path, -1)) {
        return false;
    }
    import->source.delimiter = options->delimiter;
    return set_format(import) &&
           (options->rejects == NULL ||
            rejects_open(&import->rejects, options->rejects, &import->source, options->skip > 0)) &&
           take_header(import) && take_tables(import);
}
