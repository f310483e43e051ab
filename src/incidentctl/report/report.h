/* The report: what is in it, and its two forms. */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_REPORT_H
#define INCIDENTS_INCIDENTCTL_REPORT_REPORT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/buffer.h"

/* How much of it there is at most, however much is stored. */
enum {
    REPORT_WEEKS_MAX = 53,
    REPORT_MONTHS_MAX = 24,
    REPORT_SERVICES_MAX = 15,
    REPORT_PRIORITIES_MAX = 15,
    REPORT_OPEN_MAX = 100,
    REPORT_REASONS_MAX = 8,
    REPORT_RESULTS_MAX = 16,
};

/* Times to resolve, in seconds; NAN where there are no incidents. */
struct report_times {
    double incidents; /* those that the times are of */
    double mean;
    double median;
    double p90;
};

/* A week or a month. Weeks have the two counts, months the times. */
struct report_period {
    const char *start; /* its first day, YYYY-MM-DD */
    double opened;
    double resolved;
    struct report_times times;
};

/* A service, or a priority. */
struct report_group {
    const char *name; /* NULL: the incidents without a priority */
    double incidents;
    double open;
    double minutes; /* under an incident; of services alone */
    struct report_times times;
};

struct report_open {
    const char *source_id;
    const char *name; /* this and the next three may be NULL */
    const char *priority;
    const char *services;
    const char *url;
    const char *started; /* YYYY-MM-DD HH:MM */
    double age;          /* seconds */
};

struct report_reason {
    const char *reason;
    double incidents;
};

/* The figures. Texts are stored data, cut where they are long; they live until report_free. Each list has how
 * many of it are here (_count) and how many there are (_total). */
struct report {
    const char *time_zone;
    const char *as_of; /* YYYY-MM-DD HH:MM */
    const char *since; /* the same; NULL: everything */
    double incidents;
    double resolved;
    double suspicious;
    struct report_times times;
    struct report_times recent; /* of the last three months */
    struct report_period weeks[REPORT_WEEKS_MAX], months[REPORT_MONTHS_MAX];
    struct report_group services[REPORT_SERVICES_MAX], priorities[REPORT_PRIORITIES_MAX];
    struct report_open open[REPORT_OPEN_MAX];
    struct report_reason reasons[REPORT_REASONS_MAX];
    size_t week_count, month_count, service_count, priority_count, open_count, reason_count;
    double week_total, month_total, service_total, priority_total, open_total;
    PGresult *results[REPORT_RESULTS_MAX]; /* which hold the texts */
    size_t result_count;
};

/* Reads the figures of the incidents that started since then (as Postgres reads a timestamptz; NULL: of all),
 * all on one snapshot. What is open or suspicious is so whenever it started. time_zone is that of weeks and
 * months; NULL: the session's. False, with a message on standard error, where that fails; report_free in
 * either case. */
bool report_read(PGconn *session, const char *since, const char *time_zone, struct report *report);

void report_free(struct report *report);

/* Appends the report as one HTML page, which is well-formed XML too. */
void report_write_html(const struct report *report, struct buffer *out); /* admin/report_html.c */

/* Prints a summary in lines of that many columns, control characters in names as '?'. with_blocks: bars are
 * U+2588 rather than '#'. */
void report_write_text(const struct report *report, int columns, bool with_blocks,
                       FILE *stream); /* admin/report_text.c */

#endif
