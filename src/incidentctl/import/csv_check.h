/* Services and metadata that a row of CSV has twice: as JSON, which is taken, and as text, as an export
 * writes it for readers. Where somebody has edited only one of them, the row is refused. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_CSV_CHECK_H
#define INCIDENTS_INCIDENTCTL_IMPORT_CSV_CHECK_H

#include "incidentctl/import/csv_table.h"

/* Whether the cell of identifiers, if the header has one, says what the JSON does. The JSON is valid. False
 * with the columns' names and what each has. */
bool csv_check_services(struct csv_table *table, struct slice json, struct error *error);

/* The same of the cells of metadata's leaves. A leaf without a column is fine. */
bool csv_check_metadata(struct csv_table *table, struct slice json, struct error *error);

#endif
