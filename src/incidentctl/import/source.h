/* Where an import's records come from: a file or a pipe, of which a piece at a time is in memory. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_SOURCE_H
#define INCIDENTS_INCIDENTCTL_IMPORT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "incidentctl/support/csv.h"
#include "base/buffer.h"

/* A record of more bytes than this is found and passed over, never held. */
static const size_t SOURCE_RECORD_MAX = (size_t)16 * 1024 * 1024;

/* What a record is. */
enum source_kind {
    SOURCE_LINES,  /* a line that is not blank */
    SOURCE_ROWS,   /* of CSV: lines, but for line ends in quotes; one without a text is none */
    SOURCE_VALUES, /* JSON: a text, or an element of one that is an array; texts follow one another */
};

enum source_result {
    SOURCE_RECORD,
    SOURCE_END,
    SOURCE_STOPPED, /* stop_fd became readable while more was to be read */
    SOURCE_BROKEN,  /* source->fault says why nothing can be read from here on, on which line source->line */
};

struct source_record {
    struct slice text; /* verbatim, without a line end behind it; valid until the next call */
    uint64_t line;     /* on which it begins, from 1 */
    uint64_t end;      /* bytes of the input up to its end */
    bool is_too_large; /* the text is empty then */
    bool is_last;      /* the input ends with it, without the end that a record has: perhaps in its middle */
};

/* Set it up with source_open; the fields are its own, but for those that its functions' comments name. */
struct source {
    const char *name; /* as messages have it */
    const char *path; /* NULL for standard input */
    int fd;
    int stop_fd;
    uint64_t size; /* of the whole input in bytes; 0 where that is not known */
    enum source_kind kind;
    char *data;
    size_t start, len, capacity; /* what is in memory and not consumed: data[start .. len) */
    bool is_at_end;
    bool has_begun;
    char newline;      /* '\r' where the first line ends with that alone */
    char delimiter;    /* of cells; 0: what the header has most of */
    uint64_t line;     /* of data[start] */
    uint64_t consumed; /* bytes before data[start] */
    bool is_oversized; /* the record at start is, and its beginning was let go */
    struct csv_scanner rows;
    struct {
        enum { VALUES_OUTSIDE, VALUES_BEFORE_ELEMENT, VALUES_BEHIND_ELEMENT } at;
        bool is_wrapped;
        size_t seen; /* of the record at start */
        unsigned depth;
        bool in_string, is_escaped;
        size_t string_at, string_len; /* the last string, by its offset in the record */
        bool behind_colon;
    } values;
    bool looks_into_wrappers;
    const char *fault;
    char fault_of_text[512]; /* one that names the file */
};

/* Opens a file by its path, "-" for standard input. False, with a message on standard error, where that
 * fails. Close it in either case. stop_fd is polled while the input is waited for; -1 for none. */
bool source_open(struct source *source, const char *path, int stop_fd);
void source_close(struct source *source);

/* What stands before the reason in a file of rejects: of JSON, a string of its own before each record. */
#define SOURCE_REASON "import_error: "

/* Guesses the kind by the first bytes, which stay unread: JSON begins with [ or {, and where the first line
 * is a whole object, or the second begins with {, lines are meant. False where nothing could be read:
 * SOURCE_STOPPED or SOURCE_BROKEN. */
enum source_result source_guess(struct source *source, enum source_kind *kind);

/* Says what a record is, before the first is read. Of JSON objects with an array called "incidents", "data",
 * "result", "issues" or "records" the elements of that are the records where looks_into_wrappers: they are
 * pages, as web APIs give them. */
void source_set_kind(struct source *source, enum source_kind kind, bool looks_into_wrappers);

enum source_result source_next(struct source *source, struct source_record *record);

/* The first line that is neither blank nor a reason of a file of rejects, as far as it is in memory, where
 * source_guess has looked. */
struct slice source_first_line(const struct source *source);

/* --- Shared by source.c and source_begin.c */

/* Reads more; SOURCE_RECORD stands for: there is more, SOURCE_END for: there is no more. */
enum source_result source_fill(struct source *source);

/* Says why nothing can be read from here on. */
enum source_result source_break(struct source *source, const char *why);

bool source_is_space(char byte);

#endif
