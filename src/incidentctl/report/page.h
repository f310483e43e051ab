/* The parts of the page, and what they are made of. */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_PAGE_H
#define INCIDENTS_INCIDENTCTL_REPORT_PAGE_H

#include "base/buffer.h"
#include "incidentctl/report/report.h"

/* What a reader is not told in full is said in a sentence of this length at most. */
enum { PAGE_SENTENCE_MAX = 320 };

void page_put(struct buffer *out, const char *text);

/* Figures: what people read, and exactly in an attribute. */
void page_put_number(struct buffer *out, double value);
void page_put_duration(struct buffer *out, double seconds);
void page_put_number_cell(struct buffer *out, double value);
void page_put_duration_cell(struct buffer *out, double seconds);
void page_put_times_cells(struct buffer *out, const struct report_times *times);

/* YYYY-MM-DD, or with HH:MM. */
void page_put_time(struct buffer *out, const char *time);

/* Begins a row of a table by its period. */
void page_put_period_cell(struct buffer *out, const struct report_period *period);

/* What stands in the place of a priority that is missing or empty. */
const char *page_name_of(const struct report_group *group);

/* A section with its heading; attributes may be empty. */
void page_open_section(struct buffer *out, const char *id, const char *attributes, const char *heading);

/* A table of figures; columns are its headings, parted by bars. Where it is too wide it scrolls by itself,
 * also by keys. */
void page_open_table(struct buffer *out, const char *caption, const char *columns);
void page_close_table(struct buffer *out);

/* "The last 53 of 120 weeks. " or nothing. */
void page_say_capped(char sentence[PAGE_SENTENCE_MAX], const char *which, size_t count, double total,
                     const char *what);

/* Sections in page_figures.c */
void page_put_weeks(struct buffer *out, const struct report *report);
void page_put_months(struct buffer *out, const struct report *report);
void page_put_services(struct buffer *out, const struct report *report);
void page_put_priorities(struct buffer *out, const struct report *report);
void page_put_causes(struct buffer *out, const struct report *report);

/* Sections in page_lists.c */
void page_put_open(struct buffer *out, const struct report *report);
void page_put_longest(struct buffer *out, const struct report *report);
void page_put_suspicious(struct buffer *out, const struct report *report);

#endif
