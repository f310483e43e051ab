/* The report as one HTML page: no script, nothing from elsewhere, and well-formed XML, so that a strict
 * parser can check it. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "incidentctl/report/chart.h"
#include "incidentctl/report/html.h"
#include "incidentctl/report/report.h"

/* What a reader is not told in full is said in a sentence of this length at most. */
enum { SENTENCE_MAX = 320 };

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
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.75rem;margin:1.5rem "
    "0}\n"
    ".tiles div{padding:.75rem 1rem;border:1px solid var(--grid);border-radius:.5rem}\n"
    ".tiles dt{color:var(--soft);font-size:.875rem}\n"
    ".tiles dd{margin:0;font-size:1.625rem;line-height:1.3}\n"
    ".tiles dd.soft{font-size:.875rem}\n"
    "table{width:100%;border-collapse:collapse;font-size:.875rem}\n"
    "caption{text-align:start;color:var(--soft)}\n"
    "th,td{padding:.375rem .5rem .375rem 0;border-bottom:1px solid "
    "var(--grid);text-align:end;vertical-align:top;"
    "font-weight:400}\n"
    "thead th{color:var(--soft);vertical-align:bottom;overflow-wrap:normal}\n"
    "th:first-child{text-align:start}\n"
    "data{white-space:nowrap}\n"
    "tbody th:not(.text){overflow-wrap:normal}\n"
    ".scroll{overflow-x:auto}\n"
    ".text{min-width:6rem;text-align:start}\n.open td.text{min-width:0}\n"
    ".open td,.open th{padding-right:1rem}\n"
    "tr>:last-child{padding-right:0}\n"
    ".open span{white-space:nowrap}\n"
    "summary{cursor:pointer;padding:.35rem 0}\n"
    ".chart{display:block;width:100%;height:auto;margin:.75rem 0}\n"
    ".narrow{display:none}\n"
    "@media screen and (max-width:43.99rem){.wide{display:none}.narrow{display:block;max-width:28rem}"
    "td data{white-space:normal}}\n"
    "@media print{body{max-width:none;padding:0;font-size:.875rem}nav,details:not([open]){display:none}"
    "section,tr{break-inside:avoid}section.open{break-inside:auto}h2{break-after:avoid}}\n";

static void put(struct buffer *out, const char *text)
{
    buffer_append_text(out, text);
}

/* A figure: what people read, and exactly in an attribute. */
static void put_data(struct buffer *out, double value, const char *shown)
{
    if (isnan(value)) {
        put(out, shown);
    } else {
        buffer_append_format(out, "<data value=\"%.15g\">%s</data>", value, shown);
    }
}

static void put_number(struct buffer *out, double value)
{
    char text[SCALE_TEXT_MAX];

    scale_number(value, text);
    put_data(out, value, text);
}

static void put_duration(struct buffer *out, double seconds)
{
    char text[SCALE_TEXT_MAX];

    scale_duration(seconds, text);
    put_data(out, seconds, text);
}

static void put_number_cell(struct buffer *out, double value)
{
    put(out, "<td>");
    put_number(out, value);
    put(out, "</td>");
}

static void put_duration_cell(struct buffer *out, double seconds)
{
    put(out, "<td>");
    put_duration(out, seconds);
    put(out, "</td>");
}

static void put_times_cells(struct buffer *out, const struct report_times *times)
{
    put_number_cell(out, times->incidents);
    put_duration_cell(out, times->mean);
    put_duration_cell(out, times->median);
    put_duration_cell(out, times->p90);
}

static void open_section(struct buffer *out, const char *id, const char *class, const char *heading)
{
    buffer_append_format(out, "<section%s aria-labelledby=\"%s\">\n<h2 id=\"%s\">%s</h2>\n", class, id, id,
                         heading);
}

/* A table of figures; columns are its headings, parted by bars. Where it is too wide it scrolls by itself,
 * also by keys. */
static void open_table(struct buffer *out, const char *caption, const char *columns)
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
    put(out, "</tr></thead>\n<tbody>\n");
}

static void close_table(struct buffer *out)
{
    put(out, "</tbody>\n</table>\n</div>\n");
}

static void put_head(struct buffer *out, const struct report *report)
{
    put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
             "'unsafe-inline'; "
             "base-uri 'none'; form-action 'none'\"/>\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
             "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
             "<meta name=\"referrer\" content=\"no-referrer\"/>\n<title>Incidents, ");
    html_append(out, report->as_of);
    buffer_append_format(out, "</title>\n<style>\n%s</style>\n<style>\n%s</style>\n</head>\n<body>\n",
                         chart_style, style);
}

static void put_header(struct buffer *out, const struct report *report)
{
    static const struct {
        const char *id, *name;
    } links[] = {{"weeks", "Weeks"},           {"months", "Time to resolve"}, {"services", "Services"},
                 {"priorities", "Priorities"}, {"open", "Open now"},          {"suspicious", "Suspicious"}};

    put(out, "<header>\n<h1>Incidents</h1>\n<p class=\"soft\">As of ");
    html_append(out, report->as_of);
    put(out, ", time zone ");
    html_append_isolated(out, report->time_zone);
    if (report->since != NULL) {
        put(out, ". Those that started since ");
        html_append(out, report->since);
        put(out, "; what is open or suspicious, whenever it started");
    }
    put(out, ".</p>\n<nav aria-label=\"Parts of this page\"><ul>");
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        buffer_append_format(out, "<li><a href=\"#%s\">%s</a></li>", links[i].id, links[i].name);
    }
    put(out, "</ul></nav>\n</header>\n");
}

static void open_tile(struct buffer *out, const char *name)
{
    buffer_append_format(out, "<div><dt>%s</dt><dd>", name);
}

static void put_tiles(struct buffer *out, const struct report *report)
{
    put(out, "<dl class=\"tiles\">\n");
    open_tile(out, "Open now");
    put_number(out, report->open_total);
    put(out, "</dd>");
    if (report->open_count > 0) {
        put(out, "<dd class=\"soft\">the longest for ");
        put_duration(out, report->open[0].age);
        put(out, "</dd>");
    }
    put(out, "</div>\n");
    open_tile(out, "Incidents");
    put_number(out, report->incidents);
    put(out, "</dd><dd class=\"soft\">");
    put_number(out, report->resolved);
    put(out, " resolved</dd></div>\n");
    open_tile(out, "Time to resolve");
    put_duration(out, report->recent.median);
    put(out, "</dd><dd class=\"soft\">median of the last 3 months; ");
    put_duration(out, report->times.median);
    put(out, " in all</dd></div>\n");
    open_tile(out, "Suspicious");
    put_number(out, report->suspicious);
    put(out, "</dd><dd class=\"soft\">with times to look at</dd></div>\n</dl>\n");
}

static void put_times(struct buffer *out, const struct report *report)
{
    open_table(out, "Time to resolve: from the start to the resolution",
               "Started|Incidents|Mean|Median|90th percentile");
    buffer_append_format(out, "<tr><th scope=\"row\">%s</th>",
                         report->since != NULL ? "Since then" : "At any time");
    put_times_cells(out, &report->times);
    put(out, "</tr>\n<tr><th scope=\"row\">Last 3 months</th>");
    put_times_cells(out, &report->recent);
    put(out, "</tr>\n");
    close_table(out);
}

/* "The last 53 of 120 weeks. " or nothing. */
static void say_capped(char sentence[SENTENCE_MAX], const char *which, size_t count, double total,
                       const char *what)
{
    char number[SCALE_TEXT_MAX];

    sentence[0] = '\0';
    if (total > (double)count) {
        scale_number(total, number);
        (void)snprintf(sentence, SENTENCE_MAX, "The %s %zu of %s %s. ", which, count, number, what);
    }
}

/* Charts and tables of the same figures. A screen reader says the chart's description, and the table follows.
 */
static void draw_history(struct buffer *out, const struct chart_history *chart)
{
    chart_draw_history(out, chart, CHART_WIDE);
    chart_draw_history(out, chart, CHART_NARROW);
}

static void draw_ranking(struct buffer *out, const struct chart_ranking *chart)
{
    chart_draw_ranking(out, chart, CHART_WIDE);
    chart_draw_ranking(out, chart, CHART_NARROW);
}

static void draw_weeks(struct buffer *out, const struct report *report)
{
    struct chart_period periods[REPORT_WEEKS_MAX];
    char description[SENTENCE_MAX];
    struct chart_history chart = {
        .caption = {.id = "chart-weeks", .title = "Incidents opened and resolved per week"},
        .kind = SCALE_COUNT,
        .unit = "incidents",
        .series = {"opened", "resolved"},
        .periods = periods,
        .count = report->week_count};
    double opened = 0, resolved = 0, most = 0;

    for (size_t i = 0; i < report->week_count; i++) {
        const struct report_period *week = &report->weeks[i];

        periods[i] = (struct chart_period){.start = week->start, .values = {week->opened, week->resolved}};
        opened += week->opened;
        resolved += week->resolved;
        most = fmax(most, week->opened);
    }
    (void)snprintf(description, sizeof description,
                   "%zu weeks from %s. Bars: opened, %.0f in all and at most %.0f in a week. Line: resolved, "
                   "%.0f in all. "
                   "The table below has the figures.",
                   report->week_count, report->weeks[0].start, opened, most, resolved);
    chart.caption.description = description;
    draw_history(out, &chart);
}

static void put_weeks(struct buffer *out, const struct report *report)
{
    char sentence[SENTENCE_MAX];

    open_section(out, "weeks", "", "Opened and resolved per week");
    if (report->week_count == 0) {
        put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    say_capped(sentence, "last", report->week_count, report->week_total, "weeks");
    buffer_append_format(out,
                         "<p class=\"soft\">%sWeeks begin on Monday, and the last one is not over. What is "
                         "resolved counts in the "
                         "week of its resolution.</p>\n",
                         sentence);
    draw_weeks(out, report);
    put(out, "<details><summary>Figures per week</summary>\n");
    open_table(out, "Incidents per week", "Week from|Opened|Resolved");
    for (size_t i = 0; i < report->week_count; i++) {
        buffer_append_format(out, "<tr><th scope=\"row\">%s</th>", report->weeks[i].start);
        put_number_cell(out, report->weeks[i].opened);
        put_number_cell(out, report->weeks[i].resolved);
        put(out, "</tr>\n");
    }
    close_table(out);
    put(out, "</details>\n</section>\n");
}

static void draw_months(struct buffer *out, const struct report *report)
{
    struct chart_period periods[REPORT_MONTHS_MAX];
    const struct report_times *last = NULL;
    char description[SENTENCE_MAX], median[SCALE_TEXT_MAX], p90[SCALE_TEXT_MAX];
    struct chart_history chart = {.caption = {.id = "chart-months", .title = "Time to resolve per month"},
                                  .kind = SCALE_SECONDS,
                                  .lines = true,
                                  .series = {"median", "90th percentile"},
                                  .periods = periods,
                                  .count = report->month_count};

    for (size_t i = 0; i < report->month_count; i++) {
        const struct report_times *times = &report->months[i].times;

        periods[i] =
            (struct chart_period){.start = report->months[i].start, .values = {times->median, times->p90}};
        last = times->incidents > 0 ? times : last;
    }
    scale_duration(last == NULL ? NAN : last->median, median);
    scale_duration(last == NULL ? NAN : last->p90, p90);
    (void)snprintf(description, sizeof description,
                   "%zu months from %s. The last with resolved incidents: median %s, 90th percentile %s. The "
                   "table below has "
                   "the figures.",
                   report->month_count, report->months[0].start, median, p90);
    chart.caption.description = description;
    draw_history(out, &chart);
}

static void put_months(struct buffer *out, const struct report *report)
{
    char sentence[SENTENCE_MAX];

    open_section(out, "months", "", "Time to resolve per month");
    if (report->month_count == 0) {
        put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    say_capped(sentence, "last", report->month_count, report->month_total, "months");
    buffer_append_format(
        out,
        "<p class=\"soft\">%sHalf of a month&#39;s incidents took no longer than the median, nine of ten no "
        "longer "
        "than the 90th percentile. Months are those in which the incidents started, so the last ones still "
        "move.</p>\n",
        sentence);
    draw_months(out, report);
    put(out, "<details><summary>Figures per month</summary>\n");
    open_table(out, "Time to resolve per month", "Month from|Resolved|Mean|Median|90th percentile");
    for (size_t i = 0; i < report->month_count; i++) {
        buffer_append_format(out, "<tr><th scope=\"row\">%s</th>", report->months[i].start);
        put_times_cells(out, &report->months[i].times);
        put(out, "</tr>\n");
    }
    close_table(out);
    put(out, "</details>\n</section>\n");
}

static const char *name_of(const struct report_group *group)
{
    return group->name == NULL ? "none" : *group->name == '\0' ? "\"\"" : group->name;
}

static void draw_services(struct buffer *out, const struct report *report)
{
    struct chart_row rows[REPORT_SERVICES_MAX];
    struct chart_ranking chart = {
        .caption =
            {.id = "chart-services",
             .title = "Services",
             .description =
                 "For each service a bar for its incidents and one for the time under an incident. The table "
                 "below has the figures."},
        .columns = {"incidents", "time under an incident"},
        .kinds = {SCALE_COUNT, SCALE_SECONDS},
        .rows = rows,
        .count = report->service_count};

    for (size_t i = 0; i < report->service_count; i++) {
        const struct report_group *service = &report->services[i];

        rows[i] = (struct chart_row){
            .label = name_of(service), .values = {service->incidents, service->minutes * 60}, .reach = NAN};
    }
    draw_ranking(out, &chart);
}

static void put_services(struct buffer *out, const struct report *report)
{
    char sentence[SENTENCE_MAX];

    open_section(out, "services", "", "Services");
    if (report->service_count == 0) {
        put(out, "<p>No incidents with services.</p>\n</section>\n");
        return;
    }
    say_capped(sentence, "first", report->service_count, report->service_total, "services");
    buffer_append_format(out,
                         "<p class=\"soft\">%sBy the time that each was under an incident: two at once count "
                         "once, and open ones "
                         "up to now.</p>\n",
                         sentence);
    draw_services(out, report);
    put(out, "<details><summary>Figures per service</summary>\n");
    open_table(out, "Services", "Service|Incidents|Open|Minutes|Median|90th percentile");
    for (size_t i = 0; i < report->service_count; i++) {
        const struct report_group *service = &report->services[i];

        put(out, "<tr><th scope=\"row\" class=\"text\">");
        html_append_isolated(out, name_of(service));
        put(out, "</th>");
        put_number_cell(out, service->incidents);
        put_number_cell(out, service->open);
        put_number_cell(out, service->minutes);
        put_duration_cell(out, service->times.median);
        put_duration_cell(out, service->times.p90);
        put(out, "</tr>\n");
    }
    close_table(out);
    put(out, "</details>\n</section>\n");
}

static void draw_priorities(struct buffer *out, const struct report *report)
{
    struct chart_row rows[REPORT_PRIORITIES_MAX];
    struct chart_ranking chart = {
        .caption = {.id = "chart-priorities",
                    .title = "Priorities",
                    .description = "For each priority a bar for its incidents, and one for the median time "
                                   "to resolve with a line "
                                   "up to the 90th percentile. The table below has the figures."},
        .columns = {"incidents", "median / 90th percentile"},
        .kinds = {SCALE_COUNT, SCALE_SECONDS},
        .rows = rows,
        .count = report->priority_count};

    for (size_t i = 0; i < report->priority_count; i++) {
        const struct report_group *priority = &report->priorities[i];

        rows[i] = (struct chart_row){.label = name_of(priority),
                                     .values = {priority->incidents, priority->times.median},
                                     .reach = priority->times.p90};
    }
    draw_ranking(out, &chart);
}

static void put_priorities(struct buffer *out, const struct report *report)
{
    char sentence[SENTENCE_MAX];

    open_section(out, "priorities", "", "Priorities");
    if (report->priority_count == 0) {
        put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    say_capped(sentence, "most frequent", report->priority_count, report->priority_total, "priorities");
    buffer_append_format(out,
                         "<p class=\"soft\">%sTimes to resolve: the bar is the median, the thin line goes on "
                         "to the 90th percentile.</p>\n",
                         sentence);
    draw_priorities(out, report);
    put(out, "<details><summary>Figures per priority</summary>\n");
    open_table(out, "Priorities", "Priority|Incidents|Open|Resolved|Mean|Median|90th percentile");
    for (size_t i = 0; i < report->priority_count; i++) {
        const struct report_group *priority = &report->priorities[i];

        put(out, "<tr><th scope=\"row\" class=\"text\">");
        html_append_isolated(out, name_of(priority));
        put(out, "</th>");
        put_number_cell(out, priority->incidents);
        put_number_cell(out, priority->open);
        put_times_cells(out, &priority->times);
        put(out, "</tr>\n");
    }
    close_table(out);
    put(out, "</details>\n</section>\n");
}

static void put_open_row(struct buffer *out, const struct report_open *incident)
{
    size_t day = strcspn(incident->started, " ");

    put(out, "<tr><th scope=\"row\" class=\"text\">");
    html_append_link(out, incident->url,
                     incident->name != NULL && *incident->name != '\0' ? incident->name
                                                                       : incident->source_id);
    put(out, "<div class=\"soft\">");
    html_append_isolated(out, incident->source_id);
    if (incident->services != NULL) {
        put(out, " · ");
        html_append_isolated(out, incident->services);
    }
    put(out, "</div></th><td class=\"text\">");
    html_append_isolated(out, incident->priority == NULL ? "–" : incident->priority);
    put(out, "</td><td>");
    put_duration(out, incident->age);
    buffer_append_format(out, "<div class=\"soft\"><span>%.*s</span>%s</div></td></tr>\n", (int)day,
                         incident->started, incident->started + day);
}

static void put_open(struct buffer *out, const struct report *report)
{
    char sentence[SENTENCE_MAX];

    open_section(out, "open", " class=\"open\"", "Open now");
    if (report->open_count == 0) {
        put(out, "<p>No incident is open.</p>\n</section>\n");
        return;
    }
    say_capped(sentence, "first", report->open_count, report->open_total, "open incidents");
    buffer_append_format(out, "<p class=\"soft\">%sThose that have been open longest come first.</p>\n",
                         sentence);
    put(out, "<table>\n<thead><tr><th scope=\"col\" class=\"text\">Incident</th><th scope=\"col\" "
             "class=\"text\">Priority</th>"
             "<th scope=\"col\">Open for, since</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < report->open_count; i++) {
        put_open_row(out, &report->open[i]);
    }
    put(out, "</tbody>\n</table>\n</section>\n");
}

static void put_suspicious(struct buffer *out, const struct report *report)
{
    open_section(out, "suspicious", "", "Suspicious");
    if (report->reason_count == 0) {
        put(out, "<p>No incident has times that want a look.</p>\n</section>\n");
        return;
    }
    put(out, "<p class=\"soft\">Their times cannot be right, or want a look; the view reporting.suspicious "
             "lists them. "
             "No time to resolve counts an incident that was resolved before it started.</p>\n");
    open_table(out, "Incidents by reason", "Reason|Incidents");
    for (size_t i = 0; i < report->reason_count; i++) {
        put(out, "<tr><th scope=\"row\">");
        html_append(out, report->reasons[i].reason);
        put(out, "</th>");
        put_number_cell(out, report->reasons[i].incidents);
        put(out, "</tr>\n");
    }
    close_table(out);
    put(out, "</section>\n");
}

void report_write_html(const struct report *report, struct buffer *out)
{
    put_head(out, report);
    put_header(out, report);
    put(out, "<main>\n");
    put_tiles(out, report);
    put_times(out, report);
    put_weeks(out, report);
    put_months(out, report);
    put_services(out, report);
    put_priorities(out, report);
    put_open(out, report);
    put_suspicious(out, report);
    put(out, "</main>\n<footer><p class=\"soft\">incidentctl report, " VERSION
             "</p></footer>\n</body>\n</html>\n");
}
