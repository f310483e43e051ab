/* The report as a summary for the terminal. */
#include <math.h>
#include <string.h>
#include <wchar.h>

#include "incidentctl/report/report.h"
#include "incidentctl/report/scale.h"
#include "base/utf8.h"

enum { SERVICES_SHOWN = 10, OPEN_SHOWN = 5, NAME_MAX_COLUMNS = 32, BAR_MIN = 8 };

struct terminal {
    FILE *stream;
    int columns;
    bool with_blocks;
};

/* Prints as much of a text as so many columns have room for, and says how many it took. */
static int print_text(const struct terminal *terminal, const char *text, int room)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t left = strlen(text);
    int used = 0;

    while (left > 0) {
        size_t len = utf8_sequence(at, left);
        uint32_t point = len == 0 ? 0 : utf8_code_point(at, len);
        bool is_hidden = utf8_is_control(point);
        int width = is_hidden ? 1 : wcwidth((wchar_t)point);

        width = width < 0 ? 1 : width; /* the locale does not know it */
        len = len == 0 ? 1 : len;
        if (used + width > room) {
            break;
        }
        (void)fwrite(is_hidden ? "?" : (const char *)at, 1, is_hidden ? 1 : len, terminal->stream);
        used += width;
        at += len;
        left -= len;
    }
    return used;
}

static void print_cell(const struct terminal *terminal, const char *text, int width)
{
    int used = print_text(terminal, text, width);

    (void)fprintf(terminal->stream, "%*s", width - used, "");
}

/* A bar of one to so many columns. */
static void print_bar(const struct terminal *terminal, double value, double max, int room)
{
    int len = max > 0 ? (int)fmax(round(value / max * room), 1) : 0;

    for (int i = 0; i < len; i++) {
        (void)fputs(terminal->with_blocks ? "\xe2\x96\x88" : "#", terminal->stream);
    }
}

/* Right-aligned; a dash is one column wide and three bytes long. */
static void print_right(const struct terminal *terminal, const char *text, int width)
{
    int columns = 0;

    for (const char *c = text; *c != '\0'; c++) {
        columns += ((unsigned char)*c & 0xc0) != 0x80;
    }
    (void)fprintf(terminal->stream, "%*s%s", width > columns ? width - columns : 0, "", text);
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

static void print_totals(const struct terminal *terminal, const struct report *report)
{
    (void)fprintf(terminal->stream, "Incidents, as of %s (", report->as_of);
    (void)print_text(terminal, report->time_zone, 40);
    (void)fputs(")\n", terminal->stream);
    if (report->since != NULL) {
        (void)fprintf(terminal->stream,
                      "Those that started since %s;\nwhat is open or suspicious, whenever it did\n",
                      report->since);
    }
    (void)fputs("\n  incidents  ", terminal->stream);
    print_number(terminal, report->incidents, 10);
    (void)fputs("\n  resolved   ", terminal->stream);
    print_number(terminal, report->resolved, 10);
    (void)fputs("\n  open now   ", terminal->stream);
    print_number(terminal, report->open_total, 10);
    (void)fputs("\n  suspicious ", terminal->stream);
    print_number(terminal, report->suspicious, 10);
    (void)fputc('\n', terminal->stream);
    for (size_t i = 0; i < report->reason_count; i++) {
        print_number(terminal, report->reasons[i].incidents, 8);
        (void)fprintf(terminal->stream, " %s\n", report->reasons[i].reason);
    }
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
    (void)fputc('\n', terminal->stream);
}

static void print_times(const struct terminal *terminal, const struct report *report)
{
    (void)fprintf(terminal->stream, "\nTime to resolve %s%s      median         p90\n",
                  has_room_for_number(terminal) ? " incidents" : "",
                  has_room_for_mean(terminal) ? "        mean" : "");
    print_times_row(terminal, report->since != NULL ? "  since then" : "  at any time", &report->times);
    print_times_row(terminal, "  last 3 months", &report->recent);
}

/* How wide the names are at most, by their bytes, and up to a third of the line. */
static int names_width(const struct terminal *terminal, const struct report_group *groups, size_t count)
{
    int most = terminal->columns / 3 < NAME_MAX_COLUMNS ? terminal->columns / 3 : NAME_MAX_COLUMNS,
        widest = 8;

    for (size_t i = 0; i < count; i++) {
        int columns = (int)strlen(groups[i].name == NULL ? "none" : groups[i].name);

        widest = columns > widest ? columns : widest;
    }
    return widest < most ? widest : most;
}

static void print_more(const struct terminal *terminal, double total, size_t shown)
{
    if (total > (double)shown) {
        (void)fputs("  and ", terminal->stream);
        print_number(terminal, total - (double)shown, 0);
        (void)fputs(" more\n", terminal->stream);
    }
}

static void print_groups(const struct terminal *terminal, const struct report_group *groups, size_t count,
                         bool are_services)
{
    int names = names_width(terminal, groups, count), room = terminal->columns - names - 30;
    double max = 0;

    for (size_t i = 0; i < count; i++) {
        max = fmax(max, are_services ? groups[i].minutes : groups[i].times.median);
    }
    for (size_t i = 0; i < count; i++) {
        double value = are_services ? groups[i].minutes : groups[i].times.median;

        (void)fputs("  ", terminal->stream);
        print_cell(terminal, groups[i].name == NULL ? "none" : groups[i].name, names);
        print_number(terminal, groups[i].incidents, 10);
        print_duration(terminal, are_services ? value * 60 : value, 14);
        if (room >= BAR_MIN && value > 0) {
            (void)fputs("  ", terminal->stream);
            print_bar(terminal, value, max, room);
        }
        (void)fputc('\n', terminal->stream);
    }
}

static void print_group_heading(const struct terminal *terminal, const char *heading,
                                const struct report_group *groups, size_t count, const char *measure)
{
    (void)fputc('\n', terminal->stream);
    print_cell(terminal, heading, 2 + names_width(terminal, groups, count));
    print_right(terminal, "incidents", 10);
    print_right(terminal, measure, 14);
    (void)fputc('\n', terminal->stream);
}

static void print_services(const struct terminal *terminal, const struct report *report)
{
    size_t count = report->service_count < SERVICES_SHOWN ? report->service_count : SERVICES_SHOWN;

    if (count > 0) {
        print_group_heading(terminal, "Services", report->services, count, "under one");
        print_groups(terminal, report->services, count, true);
        print_more(terminal, report->service_total, count);
    }
}

static void print_priorities(const struct terminal *terminal, const struct report *report)
{
    if (report->priority_count > 0) {
        print_group_heading(terminal, "Priority", report->priorities, report->priority_count, "median");
        print_groups(terminal, report->priorities, report->priority_count, false);
        print_more(terminal, report->priority_total, report->priority_count);
    }
}

static void print_open(const struct terminal *terminal, const struct report *report)
{
    size_t count = report->open_count < OPEN_SHOWN ? report->open_count : OPEN_SHOWN;

    if (count > 0) {
        (void)fputs("\nOpen longest\n", terminal->stream);
    }
    for (size_t i = 0; i < count; i++) {
        const struct report_open *incident = &report->open[i];
        int used = 2 + 12 + 2;

        (void)fputs("  ", terminal->stream);
        print_duration(terminal, incident->age, 12);
        (void)fputs("  ", terminal->stream);
        used += print_text(terminal, incident->source_id, terminal->columns - used);
        if (incident->name != NULL && used + 2 + BAR_MIN < terminal->columns) {
            (void)fputs("  ", terminal->stream);
            (void)print_text(terminal, incident->name, terminal->columns - used - 2);
        }
        (void)fputc('\n', terminal->stream);
    }
    print_more(terminal, report->open_total, count);
}

void report_write_text(const struct report *report, int columns, bool with_blocks, FILE *stream)
{
    struct terminal terminal = {.stream = stream, .columns = columns, .with_blocks = with_blocks};

    print_totals(&terminal, report);
    print_times(&terminal, report);
    print_services(&terminal, report);
    print_priorities(&terminal, report);
    print_open(&terminal, report);
}
