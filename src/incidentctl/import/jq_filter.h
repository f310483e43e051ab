/* A filter in the jq language, run by libjq: from one record to the bodies of upserts.
 *
 * Time and memory: a filter that takes FILTER_SECONDS_MAX of processor time for one output ends the
 * program, with a message, as libjq can't be interrupted. So does one for which the process's data grow by
 * more than 1 GiB over what they were before the first record. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_JQ_FILTER_H
#define INCIDENTS_INCIDENTCTL_IMPORT_JQ_FILTER_H

#include <jq.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum { FILTER_OUTPUTS_MAX = 1000, FILTER_SECONDS_MAX = 5 };

struct jq_filter {
    jq_state *jq;         /* NULL for none */
    struct buffer output; /* the text of the last one */
    size_t outputs;
};

/* Compiles one of those that the build embedded; $separator is that text to it. False, with a message on
 * standard error. Close it in either case. */
bool jq_filter_open_embedded(struct jq_filter *filter, const char *name, const char *separator);

/* The same for a file. */
bool jq_filter_open_file(struct jq_filter *filter, const char *path, const char *separator);

/* Frees it. One that is all zero is fine. */
void jq_filter_close(struct jq_filter *filter);

/* Says on which line the record stands that is read next, for a filter's message: the bounds hold while it is
 * read too, as a value of libjq takes much more memory than its text. */
void jq_filter_expect(uint64_t line);

/* Begins with a record, which is the filter's then, in the place of what was begun before. */
void jq_filter_start(struct jq_filter *filter, jv record);

enum filtered {
    FILTERED_OUTPUT, /* *output is JSON, valid until the next call */
    FILTERED_END,
    FILTERED_INVALID, /* *error says why; the record is over */
};

/* The next output. */
enum filtered jq_filter_next(struct jq_filter *filter, struct slice *output, struct error *error);

#endif
