/* The report as one HTML page: no script, nothing from elsewhere, and well-formed XML, so that a strict
 * parser can check it. */
#include "incidentctl/report/page.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "incidentctl/report/chart.h"
#include "incidentctl/report/html.h"

static const char style[] =
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:52rem;background:var(--paper);color:var(--ink);"
    "font:1rem/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}\n"
    "h1{margin:0;font-size:1.75rem;line-height:1.2}\n"
    "h2{margin:2.5rem 0 .25rem;font-size:1.25rem;line-height:1.3}\n"
    "p{margin:.25rem 0 .75rem}\n"
    ".soft{color:var(--soft);font-size:.875rem}\n"
    "a{color:var(--one);text-decoration:underline}\n"
    "a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid "
    "var(--two);outline-offset:2px}\n"
    "nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin:.75rem 0 0;padding:0;list-style:none}\n"
    "nav a{display:inline-block;padding:.2rem 0}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9rem,1fr));gap:.75rem;margin:1.5rem "
    "0}\n"
    ".tiles div{padding:.75rem 1rem;border:1px solid var(--grid);border-radius:.5rem}\n"
    ".tiles dt{color:var(--soft);font-size:.875rem}\n"
    ".tiles dd{margin:0;font-size:1.375rem;line-height:1.3}\n"
    ".tiles dd.soft{font-size:.875rem;line-height:1.5}\n"
    "table{width:100%;border-collapse:collapse;font-size:.875rem}\n"
    "caption{text-align:start;color:var(--soft)}\n"
    "th,td{padding:.375rem .5rem .375rem 0;border-bottom:1px solid "
    "var(--grid);text-align:end;vertical-align:top;"
    "font-weight:400}\n"
    "thead th{color:var(--soft);vertical-align:bottom;overflow-wrap:normal}\n"
    "th:first-child{text-align:start}\n"
    "data,time,.whole{white-space:nowrap}\n"
    "tbody th:not(.text){overflow-wrap:normal}\n"
    ".scroll{overflow-x:auto}\n"
    ".text{min-width:6rem;text-align:start}\n.open td.text,.open th+th.text{min-width:0}\n"
    ".open td,.open th{padding-right:1rem}\n"
    "tr>:last-child{padding-right:0}\n"
    "summary{cursor:pointer;padding:.35rem 0}\n"
    "@media (max-width:22rem){.whole{white-space:normal}}\n"
    ".chart{display:block;width:100%;height:auto;margin:.75rem 0}\n"
    ".narrow{display:none}\n"
    "@media screen and (max-width:43.99rem){.wide{display:none}.narrow{display:block;max-width:28rem}"
    "table{font-size:.8125rem}th,td{padding-right:.375rem}}\n"
    "@media screen and (max-width:29rem){.tiles div:last-child:nth-child(odd){grid-column:1/-1}"
    ".scroll table{font-size:.75rem}.scroll th,.scroll td{padding-right:.25rem}.scroll "
    ".soft{font-size:inherit}}\n"
    "@media print{body{max-width:none;padding:0;font-size:.875rem}nav,details:not([open]){display:none}"
    "section,tr,p{break-inside:avoid}section.open{break-inside:auto}h2,h2+p{break-after:avoid}"
    ".scroll{break-inside:avoid}.tiles{grid-template-columns:repeat(5,1fr)}}\n";

static const char *title_of(const char *title)
{
    return title == NULL || *title == '\0' ? "Incidents" : title;
}

static void put_head(struct buffer *out, const struct report *report, const char *title)
{
    page_put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                  "'unsafe-inline'; base-uri 'none'; form-action 'none'\"/>\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
                  "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
                  "<meta name=\"referrer\" content=\"no-referrer\"/>\n<title>");
    html_append(out, title_of(title));
    page_put(out, ", ");
    html_append(out, report->as_of);
    buffer_append_format(out, "</title>\n<style>\n%s</style>\n<style>\n%s</style>\n</head>\n<body>\n",
                         chart_style, style);
}

static void put_filter(struct buffer *out, const char *name, const char *value)
{
    if (value != NULL) {
        buffer_append_format(out, " Of the %s ", name);
        html_append_isolated(out, value);
        page_put(out, " alone.");
    }
}

static void put_header(struct buffer *out, const struct report *report, const char *title)
{
    static const struct {
        const char *id, *name;
    } links[] = {{"weeks", "Weeks"},           {"months", "Time to resolve"}, {"services", "Services"},
                 {"priorities", "Priorities"}, {"causes", "Causes"},          {"longest", "Longest"},
                 {"open", "Open now"},         {"suspicious", "Suspicious"}};

    page_put(out, "<header>\n<h1>");
    html_append_isolated(out, title_of(title));
    page_put(out, "</h1>\n<p class=\"soft\">As of ");
    page_put_time(out, report->as_of);
    page_put(out, ", time zone ");
    html_append_isolated(out, report->time_zone);
    page_put(out, ".");
    if (report->since != NULL) {
        page_put(out, " Those that started since ");
        page_put_time(out, report->since);
        page_put(out, "; what is resolved per week, open or suspicious, whenever it started.");
    }
    put_filter(out, "service", report->service);
    put_filter(out, "priority", report->priority);
    page_put(out, "</p>\n<nav aria-label=\"Parts of this page\"><ul>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        buffer_append_format(out, "<li><a href=\"#%s\">%s</a></li>", links[i].id, links[i].name);
    }
    page_put(out, "</ul></nav>\n</header>\n");
}

static void put_change(struct buffer *out, const struct report_change *change)
{
    char text[REPORT_CHANGE_MAX];

    report_describe_change(change, text);
    if (isnan(change->amount)) {
        page_put(out, text);
    } else {
        buffer_append_format(out, "<data value=\"%.15g\">%s</data>", change->amount, text);
    }
}

static void put_percent(struct buffer *out, double percent)
{
    if (isnan(percent)) {
        page_put(out, "\xe2\x80\x93");
    } else {
        buffer_append_format(out, "<data value=\"%.15g\">%.0f %%</data>", percent, percent);
    }
}

static void open_tile(struct buffer *out, const char *name)
{
    buffer_append_format(out, "<div><dt>%s</dt><dd>", name);
}

static void put_tiles(struct buffer *out, const struct report *report)
{
    const char *span = report->since != NULL ? "since then" : "in the last 90 days";
    struct report_change change =
        report_change(report, report->recent.times.median, report->before.times.median, REPORT_DURATION);

    page_put(out, "<dl class=\"tiles\">\n");
    open_tile(out, "Open now");
    page_put_number(out, report->recent.open);
    page_put(out, report->since != NULL ? "</dd><dd class=\"soft\">at the start: "
                                        : "</dd><dd class=\"soft\">90 days ago: ");
    page_put_number(out, report->before.open);
    page_put(out, "</dd></div>\n");
    open_tile(out, "Incidents");
    page_put_number(out, report->all.incidents);
    page_put(out, "</dd><dd class=\"soft\">");
    page_put_number(out, report->all.times.incidents);
    page_put(out, " resolved</dd></div>\n");
    open_tile(out, "Median time to resolve");
    page_put_duration(out, report->recent.times.median);
    buffer_append_format(out, "</dd><dd class=\"soft\">%s; change: ", span);
    put_change(out, &change);
    page_put(out, "</dd></div>\n");
    open_tile(out, "Out of hours");
    put_percent(out, report_share_out_of_hours(&report->recent));
    buffer_append_format(out, "</dd><dd class=\"soft\">of what started %s</dd></div>\n", span);
    open_tile(out, "Suspicious");
    page_put_number(out, report->suspicious_total);
    page_put(out, "</dd><dd class=\"soft\">in no figure: their times cannot be right</dd></div>\n</dl>\n");
}

typedef void put_function(struct buffer *out, double value);

static enum report_unit unit_of(put_function *put)
{
    return put == put_percent ? REPORT_SHARE : put == page_put_duration ? REPORT_DURATION : REPORT_COUNT;
}

/* A key figure: of everything where nothing bounds it, lately, before that, and by how much it changed. */
static void put_figure(struct buffer *out, const struct report *report, const char *name,
                       const double values[3], put_function *put)
{
    struct report_change change = report_change(report, values[1], values[2], unit_of(put));

    buffer_append_format(out, "<tr><th scope=\"row\">%s</th>", name);
    for (int i = report->since != NULL ? 1 : 0; i < 3; i++) {
        page_put(out, "<td>");
        put(out, values[i]);
        page_put(out, "</td>");
    }
    page_put(out, "<td>");
    put_change(out, &change);
    page_put(out, "</td></tr>\n");
}

/* Of those that started then. It has no change: those of the time before have had more time. */
static void put_resolved(struct buffer *out, const struct report *report)
{
    const struct report_totals *const spans[] = {&report->all, &report->recent, &report->before};

    page_put(out, "<tr><th scope=\"row\">Resolved of these, by now</th>");
    for (int i = report->since != NULL ? 1 : 0; i < 3; i++) {
        page_put(out, "<td>");
        page_put_number(out, spans[i]->times.incidents);
        page_put(out, "</td>");
    }
    page_put(out, "<td>\xe2\x80\x93</td></tr>\n");
}

static void put_figures(struct buffer *out, const struct report *report)
{
    const struct report_totals *all = &report->all, *now = &report->recent, *before = &report->before;

    page_open_table(out, "Key figures, and the time before, as long",
                    report->since != NULL ? "Started|Since then|Before|Change"
                                          : "Started|At any time|Last 90 days|90 days before|Change");
    put_figure(out, report, "Incidents", (double[]){all->incidents, now->incidents, before->incidents},
               page_put_number);
    put_resolved(out, report);
    put_figure(out, report, "Open at the end", (double[]){all->open, now->open, before->open},
               page_put_number);
    put_figure(out, report, "Mean time to resolve",
               (double[]){all->times.mean, now->times.mean, before->times.mean}, page_put_duration);
    put_figure(out, report, "Median", (double[]){all->times.median, now->times.median, before->times.median},
               page_put_duration);
    put_figure(out, report, "90th percentile", (double[]){all->times.p90, now->times.p90, before->times.p90},
               page_put_duration);
    put_figure(out, report, "Out of hours",
               (double[]){NAN, report_share_out_of_hours(now), report_share_out_of_hours(before)},
               put_percent);
    page_close_table(out);
    page_put(out, "<p class=\"soft\">The time before began at ");
    page_put_time(out, report->before_from);
    page_put(out, "; incidents that started in it: ");
    page_put_number(out, before->incidents);
    page_put(out, report->before_is_whole || report->week_total == 0
                      ? "."
                      : ". It began before the first incident: it is not whole, so no change is shown.");
    page_put(out, " Its incidents have had more time to be resolved, so their number is not compared.");
    page_put(out, " Out of hours: started before 8 or from 18 o&#39;clock, on a Saturday or a Sunday.</p>\n");
}

void report_write_html(const struct report *report, const char *title, struct buffer *out)
{
    put_head(out, report, title);
    put_header(out, report, title);
    page_put(out, "<main>\n");
    put_tiles(out, report);
    put_figures(out, report);
    page_put_weeks(out, report);
    page_put_months(out, report);
    page_put_services(out, report);
    page_put_priorities(out, report);
    page_put_causes(out, report);
    page_put_longest(out, report);
    page_put_open(out, report);
    page_put_suspicious(out, report);
    page_put(out, "</main>\n<footer><p class=\"soft\">incidentctl report, " VERSION
                  "</p></footer>\n</body>\n</html>\n");
}
