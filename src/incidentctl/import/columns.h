/* The names of a CSV file's columns, which exports spell in many ways. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_COLUMNS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "incidentctl/support/csv.h"

/* Whether a header's cell is that name: createdAt, created_at, Created-At and "created at " are one. */
bool column_is(struct slice cell, const char *name);

/* The first column of that name; the number of cells where there is none. */
size_t column_find(const struct csv_row *header, const char *name);

/* Appends the name as filters have it: lower case, one "_" between words: created_at for all of those above,
 * custom_field_severity for "Custom field (Severity)". Letters of other alphabets stay as they are. */
void column_append_key(struct buffer *key, struct slice cell);

#endif
