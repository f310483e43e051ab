/* Numbers as reports and their charts show them. */
#include "incidentctl/report/scale.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MINUTE = 60, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const double STEPS_MAX = SCALE_TICKS_MAX - 1;

/* The smallest of 1, 2, 5, 10, 20 ... with which max takes no more steps than there may be. */
static double decimal_step(double max)
{
    double step = 1;

    for (int i = 0; max / step > STEPS_MAX; i++) {
        step *= i % 3 == 1 ? 2.5 : 2;
    }
    return step;
}

static double clock_step(double max)
{
    static const int steps[] = {1,           2,           5,           10,         15,
                                30,          MINUTE,      2 * MINUTE,  5 * MINUTE, 10 * MINUTE,
                                15 * MINUTE, 20 * MINUTE, 30 * MINUTE, HOUR,       2 * HOUR,
                                3 * HOUR,    6 * HOUR,    12 * HOUR,   DAY};

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (max / steps[i] <= STEPS_MAX) {
            return steps[i];
        }
    }
    return decimal_step(max / (double)DAY) * (double)DAY;
}

static void choose_unit(struct scale *scale, double max)
{
    static const struct {
        double below;
        double size;
        const char *name;
    } units[] = {{2 * MINUTE, 1, "seconds"},
                 {2 * HOUR, MINUTE, "minutes"},
                 {3 * DAY, HOUR, "hours"},
                 {INFINITY, DAY, "days"}};
    size_t i = 0;

    while (max > units[i].below) {
        i++;
    }
    scale->unit_size = units[i].size;
    scale->unit = units[i].name;
}

void scale_fit(struct scale *scale, enum scale_kind kind, double max)
{
    double step;

    *scale = (struct scale){.unit_size = 1, .unit = ""};
    max = isfinite(max) && max > 0 ? max : 1;
    if (kind == SCALE_SECONDS) {
        choose_unit(scale, max);
    }
    step = kind == SCALE_SECONDS ? clock_step(max) : decimal_step(max);
    do {
        scale->ticks[scale->count] = step * (double)scale->count;
        scale->count++;
    } while (scale->count < SCALE_TICKS_MAX && scale->ticks[scale->count - 1] < max);
    if (scale->count < 2) {
        scale->ticks[scale->count++] = step;
    }
}

void scale_label(const struct scale *scale, double value, char text[SCALE_TEXT_MAX])
{
    double shown = value / scale->unit_size;

    if (shown == floor(shown)) {
        scale_number(shown, text);
    } else {
        snprintf(text, SCALE_TEXT_MAX, "%.3g", shown);
    }
}

void scale_number(double value, char text[SCALE_TEXT_MAX])
{
    char digits[SCALE_TEXT_MAX / 2];
    size_t len, at = 0;

    if (isnan(value)) {
        snprintf(text, SCALE_TEXT_MAX, "\xe2\x80\x93");
        return;
    }
    snprintf(digits, sizeof digits, "%.0f", fabs(value));
    len = strlen(digits);
    if (value <= -0.5) {
        text[at++] = '-';
    }
    for (size_t i = 0; i < len; i++) {
        text[at++] = digits[i];
        if (i + 1 < len && (len - 1 - i) % 3 == 0) {
            text[at++] = ',';
        }
    }
    text[at] = '\0';
}

/* "4 d 9 h": so many of the small unit, of which `many` make one of the large. */
static void two_units(long long smalls, int many, const char *large, const char *small,
                      char text[SCALE_TEXT_MAX])
{
    int len = snprintf(text, SCALE_TEXT_MAX, "%lld %s", smalls / many, large);

    if (smalls % many != 0 && len > 0 && len < SCALE_TEXT_MAX) {
        snprintf(text + len, (size_t)(SCALE_TEXT_MAX - len), " %lld %s", smalls % many, small);
    }
}

double scale_round_duration(double seconds)
{
    double minutes = round(seconds / (double)MINUTE), hours = round(seconds / (double)HOUR);

    return round(seconds) < 2 * MINUTE ? round(seconds)
           : minutes < 48 * 60         ? minutes * (double)MINUTE
           : hours < 100 * 24          ? hours * (double)HOUR
                                       : round(seconds / (double)DAY) * (double)DAY;
}

void scale_duration(double seconds, char text[SCALE_TEXT_MAX])
{
    double shown = scale_round_duration(seconds);
    char number[SCALE_TEXT_MAX];

    if (isnan(seconds)) {
        scale_number(seconds, text);
    } else if (shown < 2 * MINUTE) {
        snprintf(text, SCALE_TEXT_MAX, "%.0f s", shown);
    } else if (shown < 2 * HOUR) {
        snprintf(text, SCALE_TEXT_MAX, "%.0f min", shown / (double)MINUTE);
    } else if (shown < 2 * DAY) {
        two_units((long long)(shown / (double)MINUTE), 60, "h", "min", text);
    } else if (shown < 100 * DAY) {
        two_units((long long)(shown / (double)HOUR), 24, "d", "h", text);
    } else {
        scale_number(shown / (double)DAY, number);
        snprintf(text, SCALE_TEXT_MAX, "%.*s d", SCALE_TEXT_MAX - 3, number);
    }
}
