/* Charts as SVG elements within HTML. */
#include "incidentctl/report/chart.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/report/html.h"
#include "base/utf8.h"

/* Blue and orange are told apart by who sees no red or no green; each has 4.5:1 against its paper. */
#define LIGHT "--paper:#ffffff;--ink:#1b1f24;--soft:#57606a;--grid:#d8dee4;--one:#0072b2;--two:#b34f00"

const char chart_style[] =
    ":root{" LIGHT "}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#14181d;--ink:#e6edf3;--soft:#a3adb8;--grid:#323a43;"
    "--one:#56b4e9;--two:#f0a04b}}\n"
    "@media print{:root{" LIGHT "}}\n"
    ".chart{background:var(--paper)}\n"
    ".chart text{font:13px "
    "system-ui,sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums;unicode-bidi:isolate}\n"
    ".chart .name{fill:var(--ink)}\n"
    ".chart .grid{stroke:var(--grid);stroke-width:1}\n"
    ".chart .base{stroke:var(--soft);stroke-width:1}\n"
    ".chart .bar0{fill:var(--one)}\n"
    ".chart .bar1{fill:var(--two)}\n"
    ".chart .part0,.chart .part1{fill:var(--paper);stroke:var(--one);stroke-width:2}\n"
    ".chart .part1{stroke:var(--two)}\n"
    ".chart .line0,.chart .line1{fill:none;stroke:var(--one);stroke-width:2;stroke-linejoin:round}\n"
    ".chart .line1{stroke:var(--two)}\n"
    ".chart .hover{fill:transparent}\n"
    ".chart .hover:hover{fill:var(--soft);fill-opacity:.12}\n";

/* The space between an axis and the edges. */
struct frame {
    double width, height;
    double left, top, right, bottom; /* of the plot, from the upper left corner */
};

static const struct {
    const char *name;
    double width;
} widths[] = {[CHART_WIDE] = {"wide", 760}, [CHART_NARROW] = {"narrow", 358}};

enum { ROW_HEIGHT = 28, NAME_HEIGHT = 20 };
static const double HEADER_HEIGHT = 24, BAR_HEIGHT = 14, CHAR_WIDTH = 7, GAP = 6;

static void open_chart(struct buffer *out, const struct chart_caption *caption, enum chart_width width,
                       double height)
{
    const char *name = widths[width].name;

    buffer_append_format(out,
                         "<svg class=\"chart %s\" id=\"%s-%s\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
                         "aria-labelledby=\"%s-%s-title %s-%s-desc\">\n",
                         name, caption->id, name, widths[width].width, height, caption->id, name, caption->id,
                         name);
    buffer_append_format(out, "<title id=\"%s-%s-title\">%s</title>\n<desc id=\"%s-%s-desc\">%s</desc>\n",
                         caption->id, name, caption->title, caption->id, name, caption->description);
}

static void close_chart(struct buffer *out)
{
    buffer_append_text(out, "</svg>\n");
}

static void draw_text(struct buffer *out, double x, double y, const char *anchor, const char *text)
{
    buffer_append_format(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    html_append(out, text);
    buffer_append_text(out, "</text>\n");
}

static const char *mark_of(bool is_whole)
{
    return is_whole ? "bar" : "part";
}

static void draw_bar(struct buffer *out, int series, bool is_whole, double x, double y, double width,
                     double height)
{
    buffer_append_format(out, "<rect class=\"%s%d\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n",
                         mark_of(is_whole), series, x, y, width, height);
}

/* Circles mark the first series, squares the second: colour alone says nothing to some. */
static void draw_marker(struct buffer *out, int series, bool is_whole, double x, double y, double size)
{
    if (series == 0) {
        buffer_append_format(out, "<circle class=\"%s0\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>\n",
                             mark_of(is_whole), x, y, size);
    } else {
        draw_bar(out, series, is_whole, x - size, y - size, 2 * size, 2 * size);
    }
}

/* The series' names with the marks that they have, and below them what the axis measures. */
static void draw_legend(struct buffer *out, const struct chart_history *chart, const struct frame *frame,
                        const char *unit)
{
    double x = frame->left;

    for (int series = 0; series < CHART_SERIES; series++) {
        bool is_line = series == 1 || chart->lines;

        if (chart->series[series] == NULL) {
            continue;
        }
        if (is_line) {
            buffer_append_format(out, "<path class=\"line%d\" d=\"M%.1f 10h18\"/>\n", series, x);
            draw_marker(out, series, true, x + 9, 10, 3);
        } else {
            draw_bar(out, series, true, x + 3, 4, 12, 12);
        }
        draw_text(out, x + 24, 14.5, "start", chart->series[series]);
        x += 24 + CHAR_WIDTH * (double)strlen(chart->series[series]) + 24;
    }
    draw_text(out, 0, 36, "start", unit);
}

static double height_of(const struct frame *frame, const struct scale *scale, double value)
{
    return value / scale->ticks[scale->count - 1] * (frame->bottom - frame->top);
}

static void draw_value_axis(struct buffer *out, const struct frame *frame, const struct scale *scale)
{
    char text[SCALE_TEXT_MAX];

    for (size_t i = 0; i < scale->count; i++) {
        double y = frame->bottom - height_of(frame, scale, scale->ticks[i]);

        scale_label(scale, scale->ticks[i], text);
        buffer_append_format(out, "<path class=\"%s\" d=\"M%.1f %.1fH%.1f\"/>\n", i == 0 ? "base" : "grid",
                             frame->left, y, frame->right);
        draw_text(out, frame->left - 8, y + 4.5, "end", text);
    }
}

static double slot_width(const struct frame *frame, size_t count)
{
    return (frame->right - frame->left) / (double)count;
}

/* The room that a month has at least: weeks are of a month for about four and a third slots. */
static double month_width(const struct chart_history *chart, const struct frame *frame)
{
    size_t months = 0;

    for (size_t i = 0; i < chart->count; i++) {
        months += i == 0 || strncmp(chart->periods[i].start, chart->periods[i - 1].start, 7) != 0;
    }
    return (frame->right - frame->left) / (double)(months == 0 ? 1 : months);
}

/* Whether the next month begins so soon that its name would stand upon that of the period's. */
static bool is_crowded(const struct chart_history *chart, size_t period, double slot)
{
    size_t next = period + 1;

    while (next < chart->count && strncmp(chart->periods[next].start, chart->periods[period].start, 7) == 0) {
        next++;
    }
    return next < chart->count && slot * (double)(next - period) < 30;
}

/* Whether the next year begins so soon that its number would stand upon that of the period's. */
static bool is_year_crowded(const struct chart_history *chart, size_t period, double slot)
{
    size_t next = period + 1;

    while (next < chart->count && strncmp(chart->periods[next].start, chart->periods[period].start, 4) == 0) {
        next++;
    }
    return next < chart->count && slot * (double)(next - period) < 40;
}

/* Names each month where its first period begins, by a letter where there is no room for three, and below
 * the first name and each January the year. */
static void draw_time_axis(struct buffer *out, const struct chart_history *chart, const struct frame *frame)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    double slot = slot_width(frame, chart->count);
    int letters = month_width(chart, frame) < 32 ? 1 : 3;
    const char *last = "";
    long last_year = 0;

    for (size_t i = 0; i < chart->count; i++) {
        const char *start = chart->periods[i].start;
        long year = strtol(start, NULL, 10), month = strtol(start + 5, NULL, 10);
        double x = frame->left + slot * ((double)i + 0.5);
        bool gives_way = is_crowded(chart, i, slot / (letters == 3 ? 1 : 0.4));
        const char *anchor = gives_way ? "end" : "middle";
        char name[4];

        if (strncmp(start, last, 7) == 0 || month < 1 || month > 12) {
            continue;
        }
        last = start;
        x -= gives_way ? 5 : 0; /* the next begins close by */
        snprintf(name, sizeof name, "%.*s", letters, months[month - 1]);
        draw_text(out, x, frame->bottom + 18, anchor, name);
        if (year != last_year && !is_year_crowded(chart, i, slot)) {
            buffer_append_format(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%ld</text>\n", x,
                                 frame->bottom + 34, anchor, year);
            last_year = year;
        }
    }
}

static void draw_bars(struct buffer *out, const struct chart_history *chart, const struct frame *frame,
                      const struct scale *scale)
{
    double slot = slot_width(frame, chart->count), width = fmin(slot * 0.7, 32);

    for (size_t i = 0; i < chart->count; i++) {
        double height = height_of(frame, scale, chart->periods[i].values[0]);

        if (height > 0) {
            draw_bar(out, 0, !chart->periods[i].is_part, frame->left + slot * ((double)i + 0.5) - width / 2,
                     frame->bottom - height, width, height);
        }
    }
}

static void draw_line(struct buffer *out, const struct chart_history *chart, int series,
                      const struct frame *frame, const struct scale *scale)
{
    double slot = slot_width(frame, chart->count);
    bool is_drawing = false;

    buffer_append_format(out, "<path class=\"line%d\" d=\"M0 0", series);
    for (size_t i = 0; i < chart->count; i++) {
        double value = chart->periods[i].values[series];

        if (!isnan(value)) {
            buffer_append_format(out, "%c%.1f %.1f", is_drawing ? 'L' : 'M',
                                 frame->left + slot * ((double)i + 0.5),
                                 frame->bottom - height_of(frame, scale, value));
        }
        is_drawing = !isnan(value);
    }
    buffer_append_text(out, "\"/>\n");
    for (size_t i = 0; i < chart->count; i++) {
        double value = chart->periods[i].values[series];

        if (!isnan(value)) {
            draw_marker(out, series, !chart->periods[i].is_part, frame->left + slot * ((double)i + 0.5),
                        frame->bottom - height_of(frame, scale, value), slot < 9 ? 2 : 3);
        }
    }
}

static void write_value(enum scale_kind kind, double value, char text[SCALE_TEXT_MAX])
{
    if (kind == SCALE_SECONDS) {
        scale_duration(value, text);
    } else {
        scale_number(value, text);
    }
}

/* What a pointer that rests on a period is told. */
static void draw_hovers(struct buffer *out, const struct chart_history *chart, const struct frame *frame)
{
    double slot = slot_width(frame, chart->count);
    char text[SCALE_TEXT_MAX];

    for (size_t i = 0; i < chart->count; i++) {
        const struct chart_period *period = &chart->periods[i];

        buffer_append_format(
            out, "<rect class=\"hover\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>%s%s",
            frame->left + slot * (double)i, frame->top, slot, frame->bottom - frame->top, period->start,
            period->is_part ? ", not whole: " : ": ");
        for (int series = 0; series < CHART_SERIES; series++) {
            if (chart->series[series] != NULL) {
                buffer_append_format(out, "%s%s ", series == 1 && chart->series[0] != NULL ? ", " : "",
                                     chart->series[series]);
                write_value(chart->kind, period->values[series], text);
                buffer_append_text(out, text);
            }
        }
        buffer_append_text(out, "</title></rect>\n");
    }
}

static void draw_series(struct buffer *out, const struct chart_history *chart, const struct frame *frame,
                        const struct scale *scale)
{
    if (chart->series[0] != NULL && chart->lines) {
        draw_line(out, chart, 0, frame, scale);
    } else if (chart->series[0] != NULL) {
        draw_bars(out, chart, frame, scale);
    }
    if (chart->series[1] != NULL) {
        draw_line(out, chart, 1, frame, scale);
    }
}

void chart_draw_history(struct buffer *out, const struct chart_history *chart, enum chart_width width)
{
    bool has_both = chart->series[0] != NULL && chart->series[1] != NULL;
    struct frame frame = {
        .width = widths[width].width, .height = has_both ? 270 : 220, .left = 52, .top = 48};
    struct scale scale;
    double max = 0;

    frame.right = frame.width - 8;
    frame.bottom = frame.height - 42;
    for (size_t i = 0; i < chart->count; i++) {
        for (int series = 0; series < CHART_SERIES; series++) {
            if (chart->series[series] != NULL) {
                max = fmax(max, chart->periods[i].values[series]); /* fmax passes over NAN */
            }
        }
    }
    scale_fit(&scale, chart->kind, max);
    open_chart(out, &chart->caption, width, frame.height);
    draw_legend(out, chart, &frame, chart->kind == SCALE_SECONDS ? scale.unit : chart->unit);
    draw_value_axis(out, &frame, &scale);
    if (chart->count > 0) {
        draw_time_axis(out, chart, &frame);
        draw_series(out, chart, &frame, &scale);
        draw_hovers(out, chart, &frame);
    }
    close_chart(out);
}

/* Where a ranking's parts stand. A narrow one has the names above the bars. */
struct grid {
    double name_width;
    double column[CHART_COLUMNS]; /* their left edges */
    double bar[CHART_COLUMNS];    /* the longest bar's width, where its value has room behind it */
    double row_height, bar_top;   /* from the row's upper edge */
    double overhang;              /* of the base line above and below the bars */
};

static const struct grid grids[] = {
    [CHART_WIDE] = {240, {252, 470}, {150, 140}, ROW_HEIGHT, 7, 7},
    [CHART_NARROW] = {358, {0, 122}, {62, 74}, ROW_HEIGHT + NAME_HEIGHT, NAME_HEIGHT + 4, 4},
};

/* Appends as much of a text as so many characters have room for; wide ones count twice. */
static void append_cut(struct buffer *out, const char *text, double width)
{
    char kept[512];
    size_t len = 0, left = strlen(text);
    double room = width / CHAR_WIDTH;

    while (left > 0) {
        size_t step = utf8_sequence((const unsigned char *)text + len, left);

        step = step == 0 ? 1 : step;
        room -= step >= 3 ? 2 : 1;
        if (room < (left == step ? 0 : 1) || len + step + sizeof "…" > sizeof kept) {
            break;
        }
        len += step;
        left -= step;
    }
    snprintf(kept, sizeof kept, "%.*s%s", (int)len, text, left > 0 ? "…" : "");
    html_append(out, kept);
}

/* In an SVG of its own, which cuts off what is wider than it looked. */
static void draw_name(struct buffer *out, const char *name, double y, double width)
{
    buffer_append_format(
        out, "<svg x=\"0\" y=\"%.1f\" width=\"%.1f\" height=\"22\"><text class=\"name\" x=\"0\" y=\"16\">", y,
        width);
    append_cut(out, name, width);
    buffer_append_text(out, "</text></svg>\n");
}

enum { CELL_TEXT_MAX = 2 * SCALE_TEXT_MAX + 4 };

/* "22 min / 3 h 2 min": the value, and its reach where it has one. */
static void write_cell(const struct chart_ranking *chart, const struct chart_row *row, int column,
                       char text[CELL_TEXT_MAX])
{
    char value[SCALE_TEXT_MAX], reach[SCALE_TEXT_MAX];

    write_value(chart->kinds[column], row->values[column], value);
    write_value(chart->kinds[column], row->reach, reach);
    snprintf(text, CELL_TEXT_MAX, "%s%s%s", value, column == 1 && !isnan(row->reach) ? " / " : "",
             column == 1 && !isnan(row->reach) ? reach : "");
}

/* The longest bar's width: behind it the longest value ends before the next column, or the chart, does. */
static double bar_width(const struct chart_ranking *chart, int column, const struct grid *grid, double width)
{
    double end = column + 1 < CHART_COLUMNS ? grid->column[column + 1] - GAP : width, longest = 0;
    char text[CELL_TEXT_MAX];

    for (size_t i = 0; i < chart->count; i++) {
        write_cell(chart, &chart->rows[i], column, text);
        longest = fmax(longest, CHAR_WIDTH * (double)strlen(text));
    }
    return fmax(fmin(grid->bar[column], end - grid->column[column] - GAP - longest), 16);
}

/* A column's bar, its reach and its value. scale: of its values to widths. */
static void draw_cell(struct buffer *out, const struct chart_ranking *chart, const struct chart_row *row,
                      int column, const struct grid *grid, double y, double scale)
{
    char text[CELL_TEXT_MAX];
    double value = row->values[column], x = grid->column[column], end = x,
           middle = y + grid->bar_top + BAR_HEIGHT / 2;

    buffer_append_format(out, "<path class=\"base\" d=\"M%.1f %.1fV%.1f\"/>\n", x,
                         y + grid->bar_top - grid->overhang, y + grid->bar_top + BAR_HEIGHT + grid->overhang);
    if (!isnan(value)) {
        end = x + fmax(value * scale, 1.5);
        draw_bar(out, column, true, x, y + grid->bar_top, end - x, BAR_HEIGHT);
    }
    if (column == 1 && !isnan(row->reach)) {
        double reach = x + fmax(row->reach * scale, end - x);

        buffer_append_format(out, "<path class=\"line1\" d=\"M%.1f %.1fH%.1fm0 -5v10\"/>\n", end, middle,
                             reach);
        end = reach;
    }
    write_cell(chart, row, column, text);
    buffer_append_format(out, "<text x=\"%.1f\" y=\"%.1f\">%s</text>\n", end + GAP, middle + 4.5, text);
}

static double largest(const struct chart_ranking *chart, int column)
{
    double max = 0;

    for (size_t i = 0; i < chart->count; i++) {
        max = fmax(max, fmax(chart->rows[i].values[column], column == 1 ? chart->rows[i].reach : NAN));
    }
    return max;
}

void chart_draw_ranking(struct buffer *out, const struct chart_ranking *chart, enum chart_width width)
{
    const struct grid *grid = &grids[width];
    double scale[CHART_COLUMNS];
    double height = HEADER_HEIGHT + grid->row_height * (double)chart->count + 4;

    open_chart(out, &chart->caption, width, height);
    for (int column = 0; column < CHART_COLUMNS; column++) {
        double max = largest(chart, column);

        scale[column] = max > 0 ? bar_width(chart, column, grid, widths[width].width) / max : 0;
        draw_text(out, grid->column[column], 14.5, "start", chart->columns[column]);
    }
    for (size_t i = 0; i < chart->count; i++) {
        double y = HEADER_HEIGHT + grid->row_height * (double)i;

        draw_name(out, chart->rows[i].label, y + (width == CHART_WIDE ? 2 : 0), grid->name_width);
        for (int column = 0; column < CHART_COLUMNS; column++) {
            draw_cell(out, chart, &chart->rows[i], column, grid, y, scale[column]);
        }
    }
    close_chart(out);
}
