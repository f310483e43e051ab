/* One run of incidentctl import: what it is asked, and where it stands. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_IMPORT_H
#define INCIDENTS_INCIDENTCTL_IMPORT_IMPORT_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "incidentctl/import/adapter.h"
#include "incidentctl/import/complaints.h"
#include "incidentctl/import/rejects.h"
#include "incidentctl/import/source.h"
#include "incidentctl/import/unknown_keys.h"
#include "incidentctl/import/window.h"
#include "incidentctl/support/progress.h"

enum { REASON_BYTES = 1024 };

/* The label of the token that an import makes itself. */
extern const char import_token_label[];

struct import_options {
    const char *path;
    const struct format *format; /* NULL where it is to be found out */
    const char *jq;              /* the caller's own filter */
    const char *separator;
    const char *time_zone;   /* of times that have none; NULL: UTC */
    const char *date_format; /* as times.h has it; NULL for none */
    char delimiter;          /* 0: what the header has most of */
    const char *services;    /* DX's other tables */
    const char *metadata;
    const char *rejects;
    uint64_t skip;
    bool is_dry_run;
};

struct import {
    const struct import_options *options;
    struct source source;
    struct source_record first; /* read to find out the format, and kept */
    bool has_first;
    struct adapter adapter;
    struct rejects rejects;
    struct window window;
    struct settings settings;
    struct loop loop;
    struct store *store;
    struct progress progress;
    char token_hash[DIGEST_HEX_SIZE]; /* empty where there is no token */
    int signals;                      /* a signalfd */
    sigset_t former_signals;
    bool is_interrupted;
    uint64_t skipped;
    uint64_t records; /* behind those skipped; a filter may make several incidents of one */
    uint64_t records_done;
    uint64_t read;    /* incidents, and records that have none */
    uint64_t done;    /* of these, how many are, in order */
    bool is_cut;      /* the last record is invalid, and the input ends in it */
    bool has_invalid; /* the record whose incidents are being done has an invalid one */
    uint64_t created, updated, unchanged, valid, left_out, invalid;
    uint64_t bytes_done;
    struct complaints complaints;
    struct unknown_keys unknown_keys;
    char reason[REASON_BYTES]; /* why the record whose incidents are being done is invalid */
    uint64_t suspicious;       /* of the valid */
    int64_t now_micros, longest_seconds;
};

/* Runs it. The status of the process. */
int import_file(const struct import_options *options);

/* --- database.c: each is false with a message on standard error. */

/* Makes the token that the store needs. */
bool import_make_token(struct import *import);

/* Takes it back, where there is one. */
void import_remove_token(struct import *import);

bool import_start_store(struct import *import);

/* --- input.c */

/* Opens the input and the file of rejects, finds out the format, and reads what stands before the records:
 * header and tables. False, with a message on standard error. */
bool import_open_input(struct import *import);

/* The next record, as source_next gives it. */
enum source_result import_next_record(struct import *import, struct source_record *record);

/* --- records.c */

/* Takes a record to the window, as the incidents that it becomes. False when out of memory. */
bool import_take_record(struct import *import, const struct source_record *read);

/* Passes over a record that an earlier import has done. DX's tables shall know that it is there. */
void import_skip_record(struct import *import, const struct source_record *read);

/* The window's callback: an incident is done, and all before it are. */
void import_take_done(void *context, const struct window_record *record);

#endif
