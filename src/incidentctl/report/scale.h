/* Numbers as reports and their charts show them: axes with round numbers, durations in units that suit them.
 */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_SCALE_H
#define INCIDENTS_INCIDENTCTL_REPORT_SCALE_H

#include <stddef.h>

enum { SCALE_TICKS_MAX = 6, SCALE_TEXT_MAX = 40 };

enum scale_kind { SCALE_COUNT, SCALE_SECONDS };

/* An axis from 0 to at least the largest value. */
struct scale {
    double ticks[SCALE_TICKS_MAX]; /* in what is measured: a number, or seconds */
    size_t count;                  /* at least 2; the last tick is the axis's end */
    double unit_size;              /* how many of them the labels' unit is */
    const char *unit;              /* "seconds" to "days"; "" for a number */
};

/* Chooses the ticks for values up to max: steps of 1, 2 and 5 and their tens, whole ones for a number, and
 * those of a clock for seconds. What is no positive number counts as 1. */
void scale_fit(struct scale *scale, enum scale_kind kind, double max);

/* A tick's label, in the scale's unit and without it. */
void scale_label(const struct scale *scale, double value, char text[SCALE_TEXT_MAX]);

/* A whole number with commas, 15,292; a dash for NAN. */
void scale_number(double value, char text[SCALE_TEXT_MAX]);

/* As many seconds as scale_duration shows; NAN for NAN. */
double scale_round_duration(double seconds);

/* Seconds as people say them: 95 s, 95 min, 3 h 20 min, 4 d 9 h, 1,200 d; a dash for NAN. */
void scale_duration(double seconds, char text[SCALE_TEXT_MAX]);

#endif
