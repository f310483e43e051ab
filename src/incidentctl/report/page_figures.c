/* The sections of the page with charts, and the tables of the same figures. */
#include <math.h>
#include <stdio.h>

#include "incidentctl/report/chart.h"
#include "incidentctl/report/html.h"
#include "incidentctl/report/page.h"

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
    char description[PAGE_SENTENCE_MAX];
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

        periods[i] = (struct chart_period){
            .start = week->start, .values = {week->opened, week->resolved}, .is_part = !week->is_whole};
        opened += week->opened;
        resolved += week->resolved;
        most = fmax(most, week->opened);
    }
    snprintf(description, sizeof description,
             "%zu weeks from %s. Bars: opened, %.0f in all and at most %.0f in a week. Line: resolved, "
             "%.0f in all. "
             "The table below has the figures.",
             report->week_count, report->weeks[0].start, opened, most, resolved);
    chart.caption.description = description;
    draw_history(out, &chart);
}

void page_put_weeks(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "weeks", "", "Opened and resolved per week");
    if (report->week_count == 0) {
        page_put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "last", report->week_count, report->week_total, "weeks");
    buffer_append_format(
        out,
        "<p class=\"soft\">%sWeeks begin on Monday. What is resolved counts in the week of "
        "its resolution. In outline: the last week is not over, or the first not whole.</p>\n",
        sentence);
    draw_weeks(out, report);
    page_put(out, "<details><summary>Figures per week</summary>\n");
    page_open_table(out, "Incidents per week", "Week from|Opened|Resolved");
    for (size_t i = 0; i < report->week_count; i++) {
        page_put_period_cell(out, &report->weeks[i]);
        page_put_number_cell(out, report->weeks[i].opened);
        page_put_number_cell(out, report->weeks[i].resolved);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
    page_put(out, "</details>\n</section>\n");
}

/* One of the two, each on an axis of its own: beside a 90th percentile of days, no median of minutes can be
 * read. */
static void draw_months(struct buffer *out, const struct report *report, int series)
{
    static const char *const names[CHART_SERIES] = {"median", "90th percentile"};
    static const char *const ids[CHART_SERIES] = {"chart-months-median", "chart-months-p90"};
    struct chart_period periods[REPORT_MONTHS_MAX];
    double last = NAN;
    char description[PAGE_SENTENCE_MAX], title[64], text[SCALE_TEXT_MAX];
    struct chart_history chart = {.caption = {.id = ids[series], .title = title, .description = description},
                                  .kind = SCALE_SECONDS,
                                  .lines = true,
                                  .periods = periods,
                                  .count = report->month_count};

    chart.series[series] = names[series];
    for (size_t i = 0; i < report->month_count; i++) {
        const struct report_times *times = &report->months[i].times;

        periods[i] = (struct chart_period){.start = report->months[i].start,
                                           .values = {times->median, times->p90},
                                           .is_part = !report->months[i].is_whole};
        last = isnan(periods[i].values[series]) ? last : periods[i].values[series];
    }
    scale_duration(last, text);
    snprintf(title, sizeof title, "Time to resolve per month, %s", names[series]);
    snprintf(description, sizeof description,
             "%zu months from %s. The last with resolved incidents: %s. The table below has the figures.",
             report->month_count, report->months[0].start, text);
    draw_history(out, &chart);
}

static bool has_times(const struct report *report)
{
    for (size_t i = 0; i < report->month_count; i++) {
        if (report->months[i].times.incidents > 0) {
            return true;
        }
    }
    return false;
}

void page_put_months(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "months", "", "Time to resolve per month");
    if (report->month_count == 0) {
        page_put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "last", report->month_count, report->month_total, "months");
    buffer_append_format(
        out,
        "<p class=\"soft\">%sHalf of a month&#39;s incidents took no longer than the median, nine of ten no "
        "longer "
        "than the 90th percentile. Months are those in which the incidents started, so the last ones still "
        "move. In outline: the last month is not over, or the first not whole.</p>\n",
        sentence);
    if (has_times(report)) {
        draw_months(out, report, 0);
        draw_months(out, report, 1);
    } else {
        page_put(out, "<p>No incident that started in these months is resolved.</p>\n");
    }
    page_put(out, "<details><summary>Figures per month</summary>\n");
    page_open_table(out, "Time to resolve per month", "Month from|Resolved|Mean|Median|90th percentile");
    for (size_t i = 0; i < report->month_count; i++) {
        page_put_period_cell(out, &report->months[i]);
        page_put_times_cells(out, &report->months[i].times);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
    page_put(out, "</details>\n</section>\n");
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

        rows[i] = (struct chart_row){.label = page_name_of(service),
                                     .values = {service->incidents, service->minutes * 60},
                                     .reach = NAN};
    }
    draw_ranking(out, &chart);
}

void page_put_services(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "services", "", "Services");
    if (report->service_count == 0) {
        page_put(out, "<p>No incidents with services.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "first", report->service_count, report->service_total, "services");
    buffer_append_format(out,
                         "<p class=\"soft\">%sBy the time that each was under an incident: two at once count "
                         "once, and open ones "
                         "up to now.</p>\n",
                         sentence);
    draw_services(out, report);
    page_put(out, "<details><summary>Figures per service</summary>\n");
    page_open_table(out, "Services", "Service|Incidents|Open|Minutes|Median|90th percentile");
    for (size_t i = 0; i < report->service_count; i++) {
        const struct report_group *service = &report->services[i];

        page_put(out, "<tr><th scope=\"row\" class=\"text\">");
        html_append_isolated(out, page_name_of(service));
        page_put(out, "</th>");
        page_put_number_cell(out, service->incidents);
        page_put_number_cell(out, service->open);
        page_put_number_cell(out, service->minutes);
        page_put_duration_cell(out, service->times.median);
        page_put_duration_cell(out, service->times.p90);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
    page_put(out, "</details>\n</section>\n");
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

        rows[i] = (struct chart_row){.label = page_name_of(priority),
                                     .values = {priority->incidents, priority->times.median},
                                     .reach = priority->times.p90};
    }
    draw_ranking(out, &chart);
}

/* Begins the row of a priority or a cause. */
static void open_group_row(struct buffer *out, const struct report_group *group)
{
    page_put(out, "<tr><th scope=\"row\" class=\"text\">");
    html_append_isolated(out, page_name_of(group));
    page_put(out, "</th>");
    page_put_number_cell(out, group->incidents);
    page_put_number_cell(out, group->open);
}

void page_put_priorities(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "priorities", "", "Priorities");
    if (report->priority_count == 0) {
        page_put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "most frequent", report->priority_count, report->priority_total, "priorities");
    buffer_append_format(out,
                         "<p class=\"soft\">%sTimes to resolve: the bar is the median, the thin line goes on "
                         "to the 90th percentile.</p>\n",
                         sentence);
    draw_priorities(out, report);
    page_put(out, "<details><summary>Figures per priority</summary>\n");
    page_open_table(out, "Priorities", "Priority|Incidents|Open|Resolved|Mean|Median|90th percentile");
    for (size_t i = 0; i < report->priority_count; i++) {
        open_group_row(out, &report->priorities[i]);
        page_put_times_cells(out, &report->priorities[i].times);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
    page_put(out, "</details>\n</section>\n");
}

void page_put_causes(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "causes", "", "Causes");
    if (report->cause_count == 0) {
        page_put(out, "<p>No incident says cause.kind in its metadata.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "most frequent", report->cause_count, report->cause_total, "causes");
    buffer_append_format(out, "<p class=\"soft\">%sAs cause.kind in the metadata of incidents says.</p>\n",
                         sentence);
    page_open_table(out, "Causes", "Cause|Incidents|Open|Resolved|Mean");
    for (size_t i = 0; i < report->cause_count; i++) {
        const struct report_group *cause = &report->causes[i];

        open_group_row(out, cause);
        page_put_number_cell(out, cause->times.incidents);
        page_put_duration_cell(out, cause->times.mean);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
    page_put(out, "</section>\n");
}
