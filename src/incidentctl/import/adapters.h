/* From what a file holds to the body of an upsert. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_ADAPTERS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_ADAPTERS_H

#include <stdbool.h>

#include "incidentctl/import/dx.h"
#include "incidentctl/import/source.h"
#include "incidentctl/import/csv_table.h"

enum import_format {
    FORMAT_UNKNOWN,
    FORMAT_JSONL,
    FORMAT_JSON,
    FORMAT_CSV,
    FORMAT_PAGERDUTY,
    FORMAT_OPSGENIE,
    FORMAT_DX,
};

/* FORMAT_UNKNOWN where there is no such word. */
enum import_format format_from_text(const char *text);

struct adapter {
    enum import_format format;
    struct csv_table table;   /* where records are rows */
    struct buffer flat, body; /* a row as JSON; what is sent */
    struct dx_rows services, metadata;
};

void adapter_init(struct adapter *adapter, enum import_format format, const char *separator);
void adapter_free(struct adapter *adapter);

/* Takes the header of a CSV file; an unknown format becomes the one whose columns it has. False, with a
 * message on standard error, where its columns do not do. */
bool adapter_take_header(struct adapter *adapter, struct slice text);

enum adapted {
    ADAPTED_GOOD,
    ADAPTED_LEFT_OUT, /* DX calls it deleted */
    ADAPTED_BAD,      /* *error says why */
};

/* Makes *body of a record. It points into the record or into the adapter, and is judged by incident_read, not
 * here. */
enum adapted adapter_apply(struct adapter *adapter, enum source_kind kind, struct slice record,
                           struct slice *body, struct error *error);

#endif
