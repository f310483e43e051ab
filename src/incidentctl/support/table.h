/* What a command prints: a table for people, or JSON for scripts. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_TABLE_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_TABLE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct table;

/* What a cell is in JSON; in a table all are text. */
enum column_type {
    COLUMN_TEXT,
    COLUMN_TIME, /* as ISO 8601, cut to its date where a terminal is narrow */
    COLUMN_NUMBER,
    COLUMN_LIST /* comma-separated words, an array in JSON */
};

struct column {
    const char *name;
    enum column_type type;
    size_t least_width; /* to which it may be cut where a terminal is narrow; 0: never */
};

/* An empty table; the columns must outlive it. NULL when out of memory. */
struct table *table_new(const struct column *columns, size_t count);

/* Adds a row of as many cells as there are columns, copied; NULL is an empty cell, null in JSON. False when
 * out of memory. */
bool table_add(struct table *table, const char *const *cells);

/* Prints all rows. In a table on a terminal that is too narrow, columns that may be cut are, the last first;
 * then times to their dates. Where that is not enough, each row is a few lines: its first cell, and the
 * others with their names. What may not be cut is always whole, so that it can be copied. In a table, control
 * characters are shown as '?', so that no stored text can command the terminal. False when it could not be
 * written. */
bool table_print(const struct table *table, bool as_json, FILE *stream);

void table_free(struct table *table);

enum { TABLE_COLUMNS_MAX = 16 };

/* Prints that many rows of a result as table_print does; it has a field for each of the columns, at most
 * TABLE_COLUMNS_MAX. False when out of memory, or when it could not be written. */
bool table_print_result(const PGresult *result, int rows, const struct column *columns, bool as_json,
                        FILE *stream);

/* Prints a JSON array of a result's rows, each an object that Postgres has written. False when it could not
 * be written. Not by json-c, which would not keep every digit of metadata's numbers. */
bool table_print_json_rows(const PGresult *result, FILE *stream);

/* Prints a text with its control characters (utf8_is_control) as '?'. */
void table_print_text(const char *text, FILE *stream);

#endif
