/* The report: what is in it, and its forms. */
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
    REPORT_CAUSES_MAX = 15,
    REPORT_OPEN_MAX = 100,
    REPORT_LONGEST_MAX = 10,
    REPORT_SUSPICIOUS_MAX = 100,
    REPORT_REASONS_MAX = 8,
    REPORT_RESULTS_MAX = 24,
};

/* What the report is of. Texts that are NULL select nothing away. */
struct report_scope {
    const char *since;     /* as Postgres reads it */
    bool since_is_local;   /* since is a time in the report's time zone, else one with a zone of its own */
    const char *time_zone; /* of days, weeks and months; NULL: the session's */
    const char *service;   /* an identifier, or else a name: support/service.h */
    const char *priority;
};

/* Times to resolve, in seconds; NAN where there are no incidents. */
struct report_times {
    double incidents; /* those that the times are of */
    double mean;
    double median;
    double p90;
};

/* What started in a span of time. */
struct report_totals {
    double incidents;
    double open;         /* at the span's end, whenever it started */
    double out_of_hours; /* of the incidents; NAN where it was not asked for */
    struct report_times times;
};

/* A week or a month. Weeks have the two counts, months the times. */
struct report_period {
    const char *start; /* its first day, YYYY-MM-DD */
    bool is_whole;     /* else it has begun before what the report is of, or it is not over */
    double opened;
    double resolved;
    struct report_times times;
};

/* A service, a priority or a cause. */
struct report_group {
    const char *name;       /* NULL: the incidents without a priority */
    const char *identifier; /* of services alone */
    double incidents;
    double open;
    double minutes; /* under an incident; of services alone */
    struct report_times times;
};

struct report_incident {
    const char *source_id;
    const char *name;     /* this and the next three may be NULL */
    const char *priority; /* never empty */
    const char *services;
    const char *url;
    const char *started; /* YYYY-MM-DD HH:MM */
    double seconds;      /* that it took, or has been open; NAN for a suspicious one */
    bool is_open;
    const char *reasons; /* of a suspicious one */
};

struct report_reason {
    const char *reason;
    double incidents;
};

/* The figures. Texts are stored data, cut where they are long; they live until report_free. Each list has how
 * many of it are here (_count) and how many there are (_total). No figure counts a suspicious incident. */
struct report {
    const char *time_zone;
    const char *as_of;              /* YYYY-MM-DD HH:MM */
    const char *since;              /* the same; NULL: everything */
    const char *service, *priority; /* NULL: of all */
    double suspicious_total;
    struct report_totals all;            /* of everything, or since then */
    struct report_totals recent, before; /* since then, or of 90 days; and of the time before that, as long */
    const char *before_from;             /* YYYY-MM-DD HH:MM */
    bool before_is_whole; /* else it begins before the first incident: nothing to compare with */
    struct report_period weeks[REPORT_WEEKS_MAX], months[REPORT_MONTHS_MAX];
    struct report_group services[REPORT_SERVICES_MAX], priorities[REPORT_PRIORITIES_MAX],
        causes[REPORT_CAUSES_MAX];
    struct report_incident open[REPORT_OPEN_MAX], longest[REPORT_LONGEST_MAX],
        suspicious[REPORT_SUSPICIOUS_MAX];
    struct report_reason reasons[REPORT_REASONS_MAX];
    size_t week_count, month_count, service_count, priority_count, cause_count, open_count, longest_count,
        suspicious_count, reason_count;
    double week_total, month_total, service_total, priority_total, cause_total;
    PGresult *results[REPORT_RESULTS_MAX]; /* which hold the texts */
    size_t result_count;
};

/* Reads the figures of the incidents in the scope that started since then, all on one snapshot. What is open
 * or suspicious is so whenever it started. False, with a message on standard error, where that fails;
 * report_free in either case. */
bool report_read(PGconn *session, const struct report_scope *scope, struct report *report);

void report_free(struct report *report);

/* Writes one of the report's tables as CSV (RFC 4180), of any length, with a row of names. False, with a
 * message on standard error, where there is no such table or it cannot be read. */
bool report_write_csv(PGconn *session, const struct report_scope *scope, const char *table, FILE *stream);

/* How a figure has changed against the time before. */
struct report_change {
    double amount; /* percent, or of a share percentage points; NAN where there is nothing to compare with */
    bool is_points;
};

enum { REPORT_CHANGE_MAX = 48 };

enum report_unit { REPORT_COUNT, REPORT_DURATION, REPORT_SHARE };

/* Of the figures as they are shown: rounded first. */
struct report_change report_change(const struct report *report, double now, double before,
                                   enum report_unit unit);

/* "+12 %", "-1 point", or a dash. */
void report_describe_change(const struct report_change *change, char text[REPORT_CHANGE_MAX]);

/* In percent; NAN where there are no incidents. */
double report_share_out_of_hours(const struct report_totals *totals);

/* Whether there is such a table; the message says which there are. */
bool report_has_table(const char *table);

/* Appends the report as one HTML page, which is well-formed XML too. title: any text. */
void report_write_html(const struct report *report, const char *title, struct buffer *out);

/* Prints a summary in lines of that many columns, control characters in names as '?'. with_blocks: bars are
 * U+2588 rather than '#'. */
void report_write_text(const struct report *report, const char *title, int columns, bool with_blocks,
                       FILE *stream);

#endif
