/* DX's tables incident_services and incident_metadata, held in memory while their incidents are read. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_DX_H
#define INCIDENTS_INCIDENTCTL_IMPORT_DX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/json.h"

/* The rows of one table, by incident. All zero is one without rows; dx_rows_free frees it. */
struct dx_rows {
    struct dx_row *rows;
    size_t count, capacity;
    struct buffer texts;
};

/* What of a row is kept. */
enum dx_table { DX_SERVICES, DX_METADATA };

/* Reads a whole CSV file. False, with messages on standard error, one for each row that is no good. */
bool dx_rows_read(struct dx_rows *rows, enum dx_table table, const char *path);
void dx_rows_free(struct dx_rows *rows);

/* How many rows no call of the two functions below has asked for. */
size_t dx_rows_unused(const struct dx_rows *rows);

/* Appends the member "services" or "metadata" to the body of an upsert, where there are rows for the
 * incident, whose number in DX is a JSON string or number. */
void dx_append_services(struct dx_rows *rows, struct slice incident, struct buffer *json);
bool dx_append_metadata(struct dx_rows *rows, struct slice incident, struct buffer *json,
                        struct error *error);

#endif
