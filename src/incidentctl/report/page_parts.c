/* What the parts of the page are made of. */
#include "incidentctl/report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "incidentctl/report/html.h"
#include "incidentctl/report/scale.h"

void page_put(struct buffer *out, const char *text)
{
    buffer_append_text(out, text);
}

/* A figure: what people read, and exactly in an attribute. */
static void put_data(struct buffer *out, double value, const char *shown)
{
    if (isnan(value)) {
        page_put(out, shown);
    } else {
        buffer_append_format(out, "<data value=\"%.15g\">%s</data>", value, shown);
    }
}

void page_put_number(struct buffer *out, double value)
{
    char text[SCALE_TEXT_MAX];

    scale_number(value, text);
    put_data(out, value, text);
}

void page_put_duration(struct buffer *out, double seconds)
{
    char text[SCALE_TEXT_MAX];

    scale_duration(seconds, text);
    put_data(out, seconds, text);
}

void page_put_number_cell(struct buffer *out, double value)
{
    page_put(out, "<td>");
    page_put_number(out, value);
    page_put(out, "</td>");
}

void page_put_duration_cell(struct buffer *out, double seconds)
{
    page_put(out, "<td>");
    page_put_duration(out, seconds);
    page_put(out, "</td>");
}

void page_put_times_cells(struct buffer *out, const struct report_times *times)
{
    page_put_number_cell(out, times->incidents);
    page_put_duration_cell(out, times->mean);
    page_put_duration_cell(out, times->median);
    page_put_duration_cell(out, times->p90);
}

void page_open_section(struct buffer *out, const char *id, const char *class, const char *heading)
{
    buffer_append_format(out, "<section%s aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n", class, id, id,
                         heading);
}

/* A table of figures; columns are its headings, parted by bars. Where it is too wide it scrolls by itself,
 * also by keys. */
void page_open_table(struct buffer *out, const char *caption, const char *columns)
{
    buffer_append_format(out,
                         "<div class=\"scroll\" role=\"region\" aria-label=\"%s\" tabindex=\"0\">\n<table>\n"
                         "<caption>%s</caption>\n<thead><tr>",
                         caption, caption);
    while (*columns != '\0') {
        size_t len = strcspn(columns, "|");

        buffer_append_format(out, "<th scope=\"col\">%.*s</th>", (int)len, columns);
        columns += len + (columns[len] == '|');
    }
    page_put(out, "</tr></thead>\n<tbody>\n");
}

void page_close_table(struct buffer *out)
{
    page_put(out, "</tbody>\n</table>\n</div>\n");
}

/* The date and the time each as one: neither is broken over two lines. */
void page_put_time(struct buffer *out, const char *time)
{
    size_t day = strcspn(time, " ");

    buffer_append_format(out, "<time>%.*s</time>", (int)day, time);
    if (time[day] == ' ') {
        buffer_append_format(out, " <time>%s</time>", time + day + 1);
    }
}

void page_put_period_cell(struct buffer *out, const struct report_period *period)
{
    page_put(out, "<tr><th scope=\"row\">");
    page_put_time(out, period->start);
    page_put(out, period->is_whole ? "</th>" : " <span class=\"soft whole\">not whole</span></th>");
}

const char *page_name_of(const struct report_group *group)
{
    return group->name == NULL ? "(none)" : *group->name == '\0' ? "\"\"" : group->name;
}

/* "The last 53 of 120 weeks. " or nothing. */
void page_say_capped(char sentence[PAGE_SENTENCE_MAX], const char *which, size_t count, double total,
                     const char *what)
{
    char number[SCALE_TEXT_MAX];

    sentence[0] = '\0';
    if (total > (double)count) {
        scale_number(total, number);
        snprintf(sentence, PAGE_SENTENCE_MAX, "The %s %zu of %s %s. ", which, count, number, what);
    }
}
