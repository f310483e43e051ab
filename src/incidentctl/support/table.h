/* What a listing command prints: a table for people, or JSON for scripts. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_TABLE_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_TABLE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct listing;

/* What a cell is in JSON; in a table all are text. */
enum column_type { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_LIST /* comma-separated words, an array in JSON */ };

struct column {
    const char *name;
    enum column_type type;
};

/* An empty listing; the columns must outlive it. NULL when out of memory. */
struct listing *listing_new(const struct column *columns, size_t count);

/* Adds a row of as many cells as there are columns, copied; NULL is an empty cell, null in JSON. False when
 * out of memory. */
bool listing_add(struct listing *listing, const char *const *cells);

/* Prints all rows. In a table, control characters are shown as '?', so that no stored text can command the
 * terminal. False when it could not be written. */
bool listing_print(const struct listing *listing, bool as_json, FILE *stream);

void listing_free(struct listing *listing);

enum { LISTING_COLUMNS_MAX = 16 };

/* Prints that many rows of a result as a table; it has a field for each of the columns, at most
 * LISTING_COLUMNS_MAX. False when out of memory, or when it could not be written. */
bool listing_print_result(const PGresult *result, int rows, const struct column *columns, FILE *stream);

/* Prints a JSON array of a result's rows, each an object that Postgres has written. False when it could not
 * be written. json-c is not asked: it would not keep every digit of metadata's numbers. */
bool listing_print_json_rows(const PGresult *result, FILE *stream);

/* Prints a text with its control characters (utf8_is_control) as '?'. */
void listing_print_text(const char *text, FILE *stream);

#endif
