/* From what a file holds to the bodies of upserts. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_ADAPTER_H
#define INCIDENTS_INCIDENTCTL_IMPORT_ADAPTER_H

#include <stdbool.h>

#include "incidentctl/import/csv_table.h"
#include "incidentctl/import/dx.h"
#include "incidentctl/import/formats.h"
#include "incidentctl/import/jq_filter.h"
#include "incidentctl/import/jq_value.h"
#include "incidentctl/import/row_object.h"
#include "incidentctl/import/source.h"
#include "incidentctl/import/times.h"

struct adapter {
    const struct format *format; /* NULL until a header tells */
    const char *separator;       /* borrowed */
    struct jq_filter filter;
    struct csv_table table;     /* where rows are bodies */
    struct row_objects objects; /* where they go through the filter */
    struct jq_keys keys;        /* of records of JSON that do */
    struct buffer flat;         /* a row as a body */
    struct times times;         /* the caller sets what he asked for */
    struct buffer adjusted;     /* a body with other times, */
    struct slice unadjusted;    /* and the last as it was before: its values are what people look for */
    struct dx_rows services, metadata;
    struct slice body; /* of the record that was begun, where no filter makes it */
    bool is_given;
};

void adapter_init(struct adapter *adapter, const char *separator);
void adapter_free(struct adapter *adapter);

/* Sets the format, and compiles its filter, which is that file where the caller has one of his own. False,
 * with a message on standard error. */
bool adapter_set_format(struct adapter *adapter, const struct format *format, const char *filter_path);

/* Takes the header of a CSV file; a format that is not known becomes the one whose columns it has. False,
 * with a message on standard error, where its columns do not do. */
bool adapter_take_header(struct adapter *adapter, const struct source *source, struct slice text);

/* Begins with a record. False with the reason. */
bool adapter_begin(struct adapter *adapter, enum source_kind kind, const struct source_record *record,
                   struct error *error);

/* The next body of an upsert that the record has. It points into the record or into the adapter, and is
 * validated by incident_read, not here. */
enum filtered adapter_next(struct adapter *adapter, struct slice *body, struct error *error);

#endif
