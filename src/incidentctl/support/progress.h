/* How far a long command has come: a bar on a terminal, a line now and then elsewhere; on standard error. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_PROGRESS_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_terminal;
    bool is_drawn;  /* the bar stands in the terminal's last line */
    uint64_t total; /* bytes, or records */
    int64_t started_ms;
    int64_t next_ms; /* no sooner is anything shown */
};

/* Starts the time; total is 0 where the end is not known. */
void progress_start(struct progress *progress, uint64_t total);

/* Shows so many records as done, and so much of the total, unless something was shown just now. */
void progress_show(struct progress *progress, uint64_t records, uint64_t done);

/* Shows how long it has taken, where there is nothing to count; on a terminal alone. */
void progress_show_wait(struct progress *progress);

/* Takes the bar away, before another line is written and at the end. */
void progress_clear(struct progress *progress);

#endif
