/* The file that takes an import's invalid records, verbatim, so that it can be mended and imported itself.
 * The reason stands beside each: of rows in a column before all others, of JSON in a string of its own before
 * the record. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_REJECTS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_REJECTS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/buffer.h"
#include "incidentctl/import/source.h"

#define REJECTS_COLUMN "import_error"

struct rejects {
    const char *path; /* borrowed */
    FILE *file;
    enum source_kind kind;
    char delimiter; /* of rows */
    char *header;   /* of rows; written before the first */
    size_t header_len;
    bool has_reasons; /* the rows of the input have that column first */
    bool is_new;      /* this import made the file */
    off_t end;        /* of what is whole */
    bool is_empty;
    bool failed; /* a record did not go in, and no more shall */
};

/* Makes the file for records of the source. One that holds something already is added to where `resumes`, and
 * else refused, as is the source itself. False, with a message on standard error. */
bool rejects_open(struct rejects *rejects, const char *path, const struct source *source, bool resumes);

/* The header that rows stand below. False when out of memory. */
bool rejects_set_header(struct rejects *rejects, struct slice header);

/* Adds a record and why it is there, UTF-8 in one line. False, with a message on standard error, where that
 * fails: then nothing of it is in the file. */
bool rejects_add(struct rejects *rejects, struct slice record, struct slice reason);

/* Ends the file, and removes it where it is empty. False, with a message on standard error, where that fails,
 * and where a record could not be added. One that is all zero is fine. */
bool rejects_close(struct rejects *rejects);

#endif
