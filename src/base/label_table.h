/* Labels in memory that several processes share, each in a row of its own, so that something can be counted
 * by label. The number of rows is bounded, whatever comes. */
#ifndef INCIDENTS_BASE_LABEL_TABLE_H
#define INCIDENTS_BASE_LABEL_TABLE_H

#include <stdatomic.h>
#include <stddef.h>

enum { LABEL_TABLE_ROWS = 64, LABEL_TABLE_BYTES = 64 };

/* All zeros is an empty one. */
struct label_table {
    struct label_row {
        atomic_int state;
        char text[LABEL_TABLE_BYTES];
    } rows[LABEL_TABLE_ROWS];
};

/* The row of the label, which enters it where it is not there yet; LABEL_TABLE_ROWS where no row is free. A
 * label is known by its first 63 bytes, cut before a character that is not whole or not UTF-8. No system
 * call and no lock. */
size_t label_table_find(struct label_table *table, const char *label);

/* The label of that row; NULL: it has none. Where two processes enter a label at the same moment, or one is
 * killed in the middle of it, two rows may have the same: add them up. */
const char *label_table_text(const struct label_table *table, size_t row);

#endif
