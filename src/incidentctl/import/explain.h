/* Why a record is invalid, in more words than a client of the API gets: whoever imports has the file. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_EXPLAIN_H
#define INCIDENTS_INCIDENTCTL_IMPORT_EXPLAIN_H

#include "base/buffer.h"
#include "base/error.h"
#include "incidentctl/import/csv_table.h"

/* Adds to the sentence of an error, which names an argument, its value in the body, and the column that it
 * came from where rows are bodies (NULL: they are not). */
void explain_value(struct error *error, struct slice body, const struct csv_table *table);

/* Where a filter has made no reference_id: that it looked for other names than the record has. */
void explain_filter(struct error *error, const char *format);

/* What makes UTF-8 of the files of Windows. */
#define ICONV_LATIN "iconv -f WINDOWS-1252 -t UTF-8"

/* Where a record is no UTF-8: the byte, and what makes UTF-8 of the file, which is standard input where path
 * is NULL. Other errors stay as they are. */
void explain_encoding(struct error *error, struct slice record, const char *path);

#endif
