/* The report as a summary for the terminal. */
#include <limits.h>
#include <math.h>
#include <string.h>
#include <wchar.h>

#include "incidentctl/report/report.h"
#include "incidentctl/report/scale.h"
#include "base/utf8.h"

enum { SERVICES_SHOWN = 10, OPEN_SHOWN = 5, PRIORITY_MAX_COLUMNS = 8, NAME_MAX_COLUMNS = 32, BAR_MIN = 8 };

struct terminal {
    FILE *stream;
    int columns;
    bool with_blocks;
};

/* East Asian wide characters and emoji, as Unicode's EastAsianWidth has them by blocks. */
static bool is_wide(uint32_t point)
{
    static const uint32_t blocks[][2] = {{0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},
                                         {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},
                                         {0xff00, 0xff60},   {0xffe0, 0xffe6},   {0x1f300, 0x1f64f},
                                         {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd}};

    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (point >= blocks[i][0] && point <= blocks[i][1]) {
            return true;
        }
    }
    return false;
}

/* The columns of a character that is printed; a locale other than UTF-8 knows ASCII alone. */
static int width_of(uint32_t point)
{
    int width = wcwidth((wchar_t)point);

    return width >= 0 ? width : is_wide(point) ? 2 : 1;
}

/* As much of a text as so many columns have room for, and how many it takes. Printed where a stream is given.
 */
static int fit_text(const char *text, int room, FILE *stream)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t left = strlen(text);
    int used = 0;

    while (left > 0) {
        size_t len = utf8_sequence(at, left);
        uint32_t point = len == 0 ? 0 : utf8_code_point(at, len);
        bool is_hidden = utf8_is_control(point);
        int width = is_hidden ? 1 : width_of(point);

        len = len == 0 ? 1 : len;
        if (used + width > room) {
            break;
        }
        if (stream != NULL) {
            fwrite(is_hidden ? "?" : (const char *)at, 1, is_hidden ? 1 : len, stream);
        }
        used += width;
        at += len;
        left -= len;
    }
    return used;
}

/* As much of it as there is room for, with a mark where it is cut; how many columns it takes. */
static int print_text(const struct terminal *terminal, const char *text, int room)
{
    int used;

    if (!terminal->with_blocks || fit_text(text, INT_MAX, NULL) <= room) {
        return fit_text(text, room, terminal->stream);
    }
    used = fit_text(text, room - 1, terminal->stream);
    fputs("\xe2\x80\xa6", terminal->stream);
    return used + 1;
}

static void print_cell(const struct terminal *terminal, const char *text, int width)
{
    int used = print_text(terminal, text, width);

    fprintf(terminal->stream, "%*s", width - used, "");
}

/* A bar of one to so many columns. */
static void print_bar(const struct terminal *terminal, double value, double max, int room)
{
    int len = max > 0 ? (int)fmax(round(value / max * room), 1) : 0;

    for (int i = 0; i < len; i++) {
        fputs(terminal->with_blocks ? "\xe2\x96\x88" : "#", terminal->stream);
    }
}

/* Right-aligned; a dash is one column wide and three bytes long. */
static void print_right(const struct terminal *terminal, const char *text, int width)
{
    int columns = 0;

    for (const char *c = text; *c != '\0'; c++) {
        columns += ((unsigned char)*c & 0xc0) != 0x80;
    }
    fprintf(terminal->stream, "%*s%s", width > columns ? width - columns : 0, "", text);
}

static void print_number(const struct terminal *terminal, double value, int width)
{
    char text[SCALE_TEXT_MAX];

    scale_number(value, text);
    print_right(terminal, text, width);
}

static void print_duration(const struct terminal *terminal, double seconds, int width)
{
    char text[SCALE_TEXT_MAX];

    scale_duration(seconds, text);
    print_right(terminal, text, width);
}

/* The mean and the number of incidents give way on a narrow terminal. */
static bool has_room_for_mean(const struct terminal *terminal)
{
    return terminal->columns >= 52;
}

static bool has_room_for_number(const struct terminal *terminal)
{
    return terminal->columns >= 62;
}

static void print_heading(const struct terminal *terminal, const struct report *report, const char *title)
{
    const char *const filters[][2] = {{"service", report->service}, {"priority", report->priority}};
    const char *name = title == NULL || *title == '\0' ? "Incidents" : title;
    int room = terminal->columns - (int)(strlen("As of  ()") + strlen(report->as_of));
    int zone = fit_text(report->time_zone, room, NULL), used = print_text(terminal, name, terminal->columns);

    fprintf(terminal->stream, "%s %s (", used + 2 + zone <= room ? ", as of" : "\nAs of", report->as_of);
    print_text(terminal, report->time_zone, room);
    fputs(")\n", terminal->stream);
    for (size_t i = 0; i < 2; i++) {
        if (filters[i][1] != NULL) {
            fprintf(terminal->stream, "Of the %s ", filters[i][0]);
            print_text(terminal, filters[i][1], terminal->columns - 20);
            fputc('\n', terminal->stream);
        }
    }
    if (report->since != NULL) {
        fprintf(terminal->stream, "Started since %s;\nopen or suspicious, whenever it started\n",
                report->since);
    }
}

static void print_totals(const struct terminal *terminal, const struct report *report)
{
    fputs("\n  incidents  ", terminal->stream);
    print_number(terminal, report->all.incidents, 10);
    fputs("\n  resolved   ", terminal->stream);
    print_number(terminal, report->all.times.incidents, 10);
    fputs("\n  open now   ", terminal->stream);
    print_number(terminal, report->recent.open, 10);
    fputs("\n  suspicious ", terminal->stream);
    print_number(terminal, report->suspicious_total, 10);
    fputc('\n', terminal->stream);
    for (size_t i = 0; i < report->reason_count; i++) {
        print_number(terminal, report->reasons[i].incidents, 6);
        fputc(' ', terminal->stream);
        print_text(terminal, report->reasons[i].reason, terminal->columns - 7);
        fputc('\n', terminal->stream);
    }
}

static void print_percent(const struct terminal *terminal, double percent, int width)
{
    char text[SCALE_TEXT_MAX] = "\xe2\x80\x93";

    if (!isnan(percent)) {
        snprintf(text, sizeof text, "%.0f %%", percent);
    }
    print_right(terminal, text, width);
}

typedef void print_function(const struct terminal *terminal, double value, int width);

/* The last 90 days, or since then, beside the time before, as long. */
static void print_change(const struct terminal *terminal, const struct report *report, const char *name,
                         double now, double before, print_function *print)
{
    enum report_unit unit = print == print_percent    ? REPORT_SHARE
                            : print == print_duration ? REPORT_DURATION
                                                      : REPORT_COUNT;
    struct report_change change = report_change(report, now, before, unit);
    char text[REPORT_CHANGE_MAX];

    print_cell(terminal, name, 16);
    print(terminal, now, 12);
    print(terminal, before, 12);
    if (has_room_for_mean(terminal)) {
        report_describe_change(&change, text);
        print_right(terminal, text, 12);
    }
    fputc('\n', terminal->stream);
}

static void print_changes(const struct terminal *terminal, const struct report *report)
{
    const struct report_totals *now = &report->recent, *before = &report->before;

    fprintf(terminal->stream, "\nStarted         %s%s\n",
            report->since != NULL ? "  since then      before" : "last 90 days   90 before",
            has_room_for_mean(terminal) ? "      change" : "");
    print_change(terminal, report, "  incidents", now->incidents, before->incidents, print_number);
    print_change(terminal, report, "  median", now->times.median, before->times.median, print_duration);
    print_change(terminal, report, "  p90", now->times.p90, before->times.p90, print_duration);
    print_change(terminal, report, "  out of hours", report_share_out_of_hours(now),
                 report_share_out_of_hours(before), print_percent);
    print_change(terminal, report, "  open", now->open, before->open, print_number);
    if (!report->before_is_whole && report->week_total > 0) {
        fputs("No change is shown: the time before\nbegan before the first incident.\n", terminal->stream);
    }
}

static void print_times_row(const struct terminal *terminal, const char *name,
                            const struct report_times *times)
{
    print_cell(terminal, name, 16);
    if (has_room_for_number(terminal)) {
        print_number(terminal, times->incidents, 10);
    }
    if (has_room_for_mean(terminal)) {
        print_duration(terminal, times->mean, 12);
    }
    print_duration(terminal, times->median, 12);
    print_duration(terminal, times->p90, 12);
    fputc('\n', terminal->stream);
}

static void print_times(const struct terminal *terminal, const struct report *report)
{
    fprintf(terminal->stream, "\nTime to resolve %s%s      median         p90\n",
            has_room_for_number(terminal) ? " incidents" : "",
            has_room_for_mean(terminal) ? "        mean" : "");
    print_times_row(terminal, report->since != NULL ? "  since then" : "  at any time", &report->all.times);
}

static const char *name_of(const struct report_group *group)
{
    return group->name == NULL ? "(none)" : *group->name == '\0' ? "\"\"" : group->name;
}

/* How wide the names are at most, up to a third of the line. */
static int names_width(const struct terminal *terminal, const struct report_group *groups, size_t count)
{
    int most = terminal->columns / 3 < NAME_MAX_COLUMNS ? terminal->columns / 3 : NAME_MAX_COLUMNS,
        widest = 8;

    for (size_t i = 0; i < count; i++) {
        int columns = fit_text(name_of(&groups[i]), most, NULL);

        widest = columns > widest ? columns : widest;
    }
    return widest < most ? widest : most;
}

static void print_more(const struct terminal *terminal, double total, size_t shown)
{
    if (total > (double)shown) {
        fputs("  and ", terminal->stream);
        print_number(terminal, total - (double)shown, 0);
        fputs(" more\n", terminal->stream);
    }
}

/* What the bar of a group is of, in seconds. */
enum measure { MEASURE_UNDER_ONE, MEASURE_MEDIAN, MEASURE_MEAN };

static double value_of(const struct report_group *group, enum measure measure)
{
    return measure == MEASURE_UNDER_ONE ? group->minutes * 60
           : measure == MEASURE_MEDIAN  ? group->times.median
                                        : group->times.mean;
}

static void print_groups(const struct terminal *terminal, const struct report_group *groups, size_t count,
                         enum measure measure)
{
    int names = names_width(terminal, groups, count), room = terminal->columns - names - 30;
    double max = 0;

    for (size_t i = 0; i < count; i++) {
        max = fmax(max, value_of(&groups[i], measure));
    }
    for (size_t i = 0; i < count; i++) {
        double value = value_of(&groups[i], measure);

        fputs("  ", terminal->stream);
        print_cell(terminal, name_of(&groups[i]), names);
        print_number(terminal, groups[i].incidents, 10);
        print_duration(terminal, value, 14);
        if (room >= BAR_MIN && value > 0) {
            fputs("  ", terminal->stream);
            print_bar(terminal, value, max, room);
        }
        fputc('\n', terminal->stream);
    }
}

static void print_group_heading(const struct terminal *terminal, const char *heading,
                                const struct report_group *groups, size_t count, const char *measure)
{
    fputc('\n', terminal->stream);
    print_cell(terminal, heading, 2 + names_width(terminal, groups, count));
    print_right(terminal, "incidents", 10);
    print_right(terminal, measure, 14);
    fputc('\n', terminal->stream);
}

static void print_services(const struct terminal *terminal, const struct report *report)
{
    size_t count = report->service_count < SERVICES_SHOWN ? report->service_count : SERVICES_SHOWN;

    if (count > 0) {
        print_group_heading(terminal, "Services", report->services, count, "under one");
        print_groups(terminal, report->services, count, MEASURE_UNDER_ONE);
        print_more(terminal, report->service_total, count);
    }
}

static void print_priorities(const struct terminal *terminal, const struct report *report)
{
    if (report->priority_count > 0) {
        print_group_heading(terminal, "Priority", report->priorities, report->priority_count, "median");
        print_groups(terminal, report->priorities, report->priority_count, MEASURE_MEDIAN);
        print_more(terminal, report->priority_total, report->priority_count);
    }
}

/* How wide the priorities are at most, up to the room that they have. */
static int priorities_width(const struct report *report, size_t count)
{
    int widest = 1;

    for (size_t i = 0; i < count; i++) {
        int columns = report->open[i].priority == NULL
                          ? 1
                          : fit_text(report->open[i].priority, PRIORITY_MAX_COLUMNS, NULL);

        widest = columns > widest ? columns : widest;
    }
    return widest;
}

static void print_open(const struct terminal *terminal, const struct report *report)
{
    size_t count = report->open_count < OPEN_SHOWN ? report->open_count : OPEN_SHOWN;
    int priorities = priorities_width(report, count);

    if (count > 0) {
        fputs("\nOpen, by priority and age\n", terminal->stream);
    }
    for (size_t i = 0; i < count; i++) {
        const struct report_incident *incident = &report->open[i];
        int used = 2 + 12 + 2 + priorities + 2;

        fputs("  ", terminal->stream);
        print_duration(terminal, incident->seconds, 12);
        fputs("  ", terminal->stream);
        print_cell(terminal, incident->priority == NULL ? "-" : incident->priority, priorities);
        fputs("  ", terminal->stream);
        used += print_text(terminal, incident->source_id, terminal->columns - used);
        if (incident->name != NULL && used + 2 + BAR_MIN < terminal->columns) {
            fputs("  ", terminal->stream);
            print_text(terminal, incident->name, terminal->columns - used - 2);
        }
        fputc('\n', terminal->stream);
    }
    print_more(terminal, report->recent.open, count);
}

static void print_causes(const struct terminal *terminal, const struct report *report)
{
    if (report->cause_count > 0) {
        print_group_heading(terminal, "Cause", report->causes, report->cause_count, "mean");
        print_groups(terminal, report->causes, report->cause_count, MEASURE_MEAN);
        print_more(terminal, report->cause_total, report->cause_count);
    }
}

void report_write_text(const struct report *report, const char *title, int columns, bool with_blocks,
                       FILE *stream)
{
    struct terminal terminal = {.stream = stream, .columns = columns, .with_blocks = with_blocks};

    print_heading(&terminal, report, title);
    print_totals(&terminal, report);
    print_changes(&terminal, report);
    print_times(&terminal, report);
    print_services(&terminal, report);
    print_priorities(&terminal, report);
    print_causes(&terminal, report);
    print_open(&terminal, report);
}
