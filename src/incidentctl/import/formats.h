/* The formats that an import knows. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_FORMATS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_FORMATS_H

#include <jq.h>
#include <stdbool.h>
#include <stddef.h>

enum format_kind {
    FORMAT_JSONL, /* ours, which go through no filter */
    FORMAT_JSON,
    FORMAT_CSV,
    FORMAT_FILTERED, /* by share/incidents/import/NAME.jq, or the caller's own filter */
    FORMAT_DX,       /* the same, with two more tables */
};

struct format {
    const char *name;
    enum format_kind kind;
    const char *const *dates; /* how its times may be written beside ISO 8601, as times.h has it; or NULL */
};

/* NULL where there is none of that name. */
const struct format *format_by_name(const char *name);

/* The caller's own filter. */
extern const struct format format_of_caller;

bool format_is_filtered(const struct format *format);

/* Says on standard error that no format has that name, and which one is meant or which there are. False. */
bool format_print_misspelt(const char *name);

/* Whether web APIs give its records, in pages or one by one. */
bool format_is_page(const struct format *format);

/* The incident within an answer that has one alone, {"data": {...}}, or the record itself. Takes the record.
 */
jv format_unwrap(jv record);

/* What a record is by its names, which is freed; of our own it is `own`. NULL where nobody knows. */
const struct format *format_recognise(jv record, const struct format *own);

/* Says what an input has, and what was looked for. names is an array of texts, which is freed; what they are
 * the names of is a word in the plural. Always false. */
bool format_print_unknown(const char *input, const char *what, jv names);

#endif
