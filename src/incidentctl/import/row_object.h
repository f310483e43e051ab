/* The rows of a CSV file as objects of texts, for filters. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_ROW_OBJECT_H
#define INCIDENTS_INCIDENTCTL_IMPORT_ROW_OBJECT_H

#include <jq.h>
#include <stdbool.h>

#include "base/error.h"
#include "incidentctl/support/csv.h"

/* All zero is one without columns; row_objects_free frees it. */
struct row_objects {
    struct csv_row row;
    struct row_column {
        jv key; /* as column_append_key makes it */
        bool is_repeated;
    } * columns;
    size_t count;
};

/* Takes a header. False with a message on standard error. */
bool row_objects_set_header(struct row_objects *objects, const struct csv_row *header);

void row_objects_free(struct row_objects *objects);

/* Makes an object of a row: a cell is a text, an empty one is not there, and of a column whose name the
 * header repeats there is an array of texts. False with the reason; else free the object. */
bool row_objects_read(struct row_objects *objects, struct slice text, jv *object, struct error *error);

/* Splits a row, which must have so many cells, and be UTF-8. False with the reason. */
bool row_split(struct csv_row *row, struct slice text, size_t count, struct error *error);

#endif
