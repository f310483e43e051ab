/* The records of an import: from the input to the window, and what is said of them when they are done. */
#include <stdio.h>
#include <string.h>

#include "incidentctl/import/import.h"
#include "incidentctl/import/explain.h"
#include "incidentctl/import/plausible.h"
#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"

enum { MESSAGE_BYTES_MAX = 8192 };

static void count_stored(struct import *import, const struct window_record *record)
{
    import->valid++;
    import->created += record->outcome == OP_CREATED;
    import->updated += record->outcome == OP_UPDATED;
    import->unchanged += record->outcome == OP_UNCHANGED;
    import->suspicious +=
        !times_are_plausible(&record->incident, record->outcome == OP_CREATED || import->options->is_dry_run,
                             import->now_micros, import->longest_seconds);
}

/* Says what is wrong with an incident, and notes it for the file of rejects. */
static void complain(struct import *import, const struct window_record *record)
{
    const struct slice said = {.data = record->error.message, .len = strlen(record->error.message)};
    bool is_lost = record->error.code == ERROR_REQUEST_TOO_LARGE && import->rejects.file != NULL;
    bool is_shown = complaints_add(&import->complaints, &record->error);
    struct buffer message;

    buffer_init(&message, MESSAGE_BYTES_MAX);
    buffer_append_format(&message, "line %llu: %s: ", (unsigned long long)record->line,
                         error_code_text(record->error.code));
    append_shown(&message, said, said.len);
    if (!import->has_invalid && message.data != NULL) { /* the record's first */
        snprintf(import->reason, sizeof import->reason, "%s", message.data);
    }
    if (is_shown) {
        progress_clear(&import->progress);
        fprintf(stderr, "%s:%s%s\n", import->source.name, message.data + sizeof "line " - 1,
                is_lost ? " (and is not in the file of rejects)" : "");
    }
    buffer_free(&message);
}

/* Keeps a record that has an invalid incident. False where that fails. */
static bool reject(struct import *import, const struct window_record *record)
{
    if (record->error.code != ERROR_REQUEST_TOO_LARGE &&
        !rejects_add(&import->rejects, record->text,
                     (struct slice){.data = import->reason, .len = strlen(import->reason)})) {
        return false;
    }
    import->is_cut = import->is_cut || record->is_last;
    return true;
}

static void count(struct import *import, const struct window_record *record)
{
    if (record->state == WINDOW_STORED) {
        count_stored(import, record);
    } else if (record->state == WINDOW_LEFT_OUT) {
        import->left_out++;
    } else {
        complain(import, record);
        import->invalid++;
        import->has_invalid = true;
    }
    import->done++;
}

/* An incident is done, and all before it are. Behind an invalid record that could not be kept none is: the
 * next import begins with that one. */
void import_take_done(void *context, const struct window_record *record)
{
    struct import *import = context;

    if (import->rejects.failed) {
        return;
    }
    count(import, record);
    if (!record->ends_record) {
        return;
    }
    if (import->has_invalid && !reject(import, record)) {
        import->invalid -= record->state == WINDOW_INVALID;
        import->done--;
        return;
    }
    import->has_invalid = false;
    import->records_done++;
    import->bytes_done = record->end;
}

static enum window_state validate(struct import *import, struct slice body, struct window_record *record)
{
    bool is_valid = incident_read(body, RULES_UPSERT, &record->incident, &record->error);

    if ((is_valid || record->error.code != ERROR_INVALID_JSON) &&
        (import->source.kind != SOURCE_ROWS || format_is_filtered(import->adapter.format))) {
        unknown_keys_count(&import->unknown_keys, body);
    }
    if (!is_valid) {
        explain_value(&record->error, import->adapter.unadjusted,
                      import->source.kind == SOURCE_ROWS ? &import->adapter.table : NULL);
        if (format_is_filtered(import->adapter.format)) {
            explain_filter(&record->error, import->adapter.format->name);
        }
        return WINDOW_INVALID;
    }
    if (!import->options->is_dry_run && !op_upsert(&record->op, import->token_hash, &record->incident)) {
        error_set(&record->error, ERROR_INTERNAL, "out of memory");
        return WINDOW_INVALID;
    }
    incident_trim(&record->incident);
    return import->options->is_dry_run ? WINDOW_STORED : WINDOW_UNDERWAY;
}

/* The records of the window that one of the input becomes: each incident, or what is wrong with it, or that
 * it has none. The last one keeps the text, and ends the record. */
struct taking {
    struct import *import;
    const struct source_record *read;
    struct window_record *last; /* not added yet, because it may be the last */
};

static struct window_record *next_record(struct taking *taking)
{
    struct window_record *record = window_record_new(&taking->import->window);

    if (record != NULL) {
        record->line = taking->read->line;
        record->end = taking->read->end;
        if (taking->last != NULL) {
            window_add(&taking->import->window, taking->last);
        }
        taking->last = record;
        taking->import->read++;
    }
    return record;
}

static bool take_incidents(struct taking *taking)
{
    struct import *import = taking->import;
    struct error error = {.code = ERROR_NONE};
    enum filtered filtered = FILTERED_INVALID;
    struct slice body;

    if (taking->read->is_too_large) {
        error_set(&error, ERROR_REQUEST_TOO_LARGE, "the record is over 16 MiB");
    } else if (adapter_begin(&import->adapter, import->source.kind, taking->read, &error)) {
        while ((filtered = adapter_next(&import->adapter, &body, &error)) == FILTERED_OUTPUT) {
            struct window_record *record = next_record(taking);

            if (record == NULL) {
                return false;
            }
            record->state = validate(import, body, record);
            if (record->state == WINDOW_INVALID) {
                explain_encoding(&record->error, taking->read->text, import->source.path);
            }
        }
    }
    if (filtered == FILTERED_INVALID || taking->last == NULL) {
        struct window_record *record = next_record(taking);

        if (record == NULL) {
            return false;
        }
        record->state = filtered == FILTERED_INVALID ? WINDOW_INVALID : WINDOW_LEFT_OUT;
        record->error = error;
        explain_encoding(&record->error, taking->read->text, import->source.path);
    }
    return true;
}

bool import_take_record(struct import *import, const struct source_record *read)
{
    struct taking taking = {.import = import, .read = read};
    bool ok = take_incidents(&taking);

    if (taking.last != NULL) {
        ok = ok && window_record_set_text(taking.last, read->text);
        taking.last->is_last = read->is_last;
        taking.last->ends_record = ok;
        window_add(&import->window, taking.last);
    }
    import->records += ok;
    return ok || print_error("out of memory");
}

/* Passes over a record that an earlier import has done. DX's tables shall know that it is there. */
void import_skip_record(struct import *import, const struct source_record *read)
{
    struct error unused;

    import->skipped++;
    import->bytes_done = read->end;
    if (import->adapter.format->kind == FORMAT_DX && !read->is_too_large) {
        adapter_begin(&import->adapter, import->source.kind, read, &unused);
    }
}
