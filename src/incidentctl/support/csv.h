/* CSV as RFC 4180 has it: rows are found in a stream, and split into cells. Lines may end with LF as well,
 * and another delimiter than the comma, and CR alone as a line's end, may be asked for. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_CSV_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"

enum { CSV_CELLS_MAX = 10000 };

/* Whether cells may be told apart by that byte: it is no quote, line end or NUL. */
bool csv_may_delimit(char byte);

/* Where a search for a row's end stands; state and at are zero at the beginning of a row. */
struct csv_scanner {
    enum { CSV_AT_CELL, CSV_IN_PLAIN, CSV_IN_QUOTES, CSV_AFTER_QUOTE } state;
    size_t at;      /* bytes of the text that were looked at */
    char delimiter; /* 0 for a comma */
    char newline;   /* 0 for LF */
};

/* Looks for the end of the row that the text begins with. True with the row's length, its line end included;
 * false where the text ends before: call again with a longer text. A line end in quotes ends no row. */
bool csv_scan(struct csv_scanner *scanner, struct slice text, size_t *row_len);

struct csv_cell {
    struct slice text; /* without its quotes */
    bool is_quoted;
};

/* Set it up with csv_row_init; the cells point into the text that was split, or into the row's own memory. */
struct csv_row {
    struct csv_cell *cells;
    size_t count;
    size_t capacity;
    struct buffer unescaped;
    char delimiter; /* 0 for a comma */
};

void csv_row_init(struct csv_row *row);
void csv_row_free(struct csv_row *row);

/* Splits a whole row, its line end there or not, in the place of what the row held before. NULL, or what is
 * wrong with it, as the end of a sentence that begins with "the row". */
const char *csv_split(struct csv_row *row, struct slice text);

#endif
