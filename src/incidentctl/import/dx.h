/* DX's tables incident_services and incident_metadata, held in memory while their incidents are read. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_DX_H
#define INCIDENTS_INCIDENTCTL_IMPORT_DX_H

#include <jq.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* The rows of one table, by incident. All zero is one without rows; dx_rows_free frees it. */
struct dx_rows {
    struct dx_row *rows;
    size_t count, capacity;
    struct buffer texts;
};

/* What of a row is kept. */
enum dx_table { DX_SERVICES, DX_METADATA };

/* Reads a whole CSV file. False, with messages on standard error, one for each row that is invalid. */
bool dx_rows_read(struct dx_rows *rows, enum dx_table table, const char *path);
void dx_rows_free(struct dx_rows *rows);

/* How many rows no call of dx_add_rows has asked for. */
size_t dx_rows_unused(const struct dx_rows *rows);

/* Adds the rows of an incident to its object, under the name of their table; nothing where it has none. id is
 * the incident's number in DX, a string or a number; all are used up. */
jv dx_add_rows(struct dx_rows *rows, enum dx_table table, jv incident, jv id);

#endif
