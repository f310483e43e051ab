/* A CSV file whose columns are the arguments of incidents.upsert: its rows as JSON. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_CSV_TABLE_H
#define INCIDENTS_INCIDENTCTL_IMPORT_CSV_TABLE_H

#include <stdbool.h>

#include "incidentctl/support/csv.h"
#include "incidentctl/import/json.h"
#include "base/error.h"

enum column_role {
    COLUMN_LEFT_OUT,
    COLUMN_MEMBER,        /* a member of the object, as text */
    COLUMN_SERVICES,      /* identifiers, separated */
    COLUMN_SERVICES_JSON, /* the argument itself, as JSON */
    COLUMN_METADATA,      /* an object, as JSON */
    COLUMN_METADATA_LEAF, /* one value of the metadata, as text, by the column's path */
};

struct csv_table_column {
    enum column_role role;
    char *name;  /* of the member; of a leaf the path behind "metadata." */
    char *title; /* as the header has it */
    bool is_met; /* csv_check_metadata's: the row's JSON has this leaf */
};

struct csv_table {
    const char *separator; /* of services; borrowed, */
    const char *input;     /* as is the name of the file, for messages */
    struct csv_row row;
    struct csv_table_column *columns;
    size_t count;
    struct leaf *leaves;                    /* as many as columns */
    struct csv_table_column **leaf_columns; /* those of a leaf, by name */
    size_t leaf_count;
    struct buffer texts; /* the leaves' JSON */
};

void csv_table_init(struct csv_table *table, const char *separator);
void csv_table_free(struct csv_table *table);

/* Takes a header whose columns are the arguments of incidents.upsert. Those that are not are named on
 * standard error and left out. False, with a message there, where columns are missing or exclude each other.
 */
bool csv_table_set_arguments(struct csv_table *table, const char *input, const struct csv_row *header);

/* The first column of that role; NULL where the header has none. */
const struct csv_table_column *csv_table_find_column(const struct csv_table *table, enum column_role role);

/* Appends a row as one JSON object. An empty cell without quotes has no member. Where a row has services or
 * metadata both as JSON and as text, the JSON is taken, and the text must agree. False with the reason where
 * the row is invalid. */
bool csv_table_read(struct csv_table *table, struct slice text, struct buffer *json, struct error *error);

#endif
