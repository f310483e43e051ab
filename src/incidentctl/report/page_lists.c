/* The sections of the page that list incidents, with their links. */
#include <stdio.h>

#include "incidentctl/report/html.h"
#include "incidentctl/report/page.h"

/* Begins the row: the incident's name with its link, and below it its identifier and services. */
static void open_row(struct buffer *out, const struct report_incident *incident)
{
    page_put(out, "<tr><th scope=\"row\" class=\"text\">");
    html_append_link(out, incident->url,
                     incident->name != NULL && *incident->name != '\0' ? incident->name
                                                                       : incident->source_id);
    page_put(out, "<div class=\"soft\">");
    html_append_isolated(out, incident->source_id);
    if (incident->services != NULL) {
        page_put(out, " · ");
        html_append_isolated(out, incident->services);
    }
    page_put(out, "</div></th><td class=\"text\">");
    html_append_isolated(out, incident->priority == NULL ? "–" : incident->priority);
    page_put(out, "</td>");
}

static void open_list(struct buffer *out, const char *heading)
{
    buffer_append_format(out,
                         "<table>\n<thead><tr><th scope=\"col\" class=\"text\">Incident</th>"
                         "<th scope=\"col\" class=\"text\">Priority</th><th scope=\"col\">%s</th></tr>"
                         "</thead>\n<tbody>\n",
                         heading);
}

static void put_started(struct buffer *out, const struct report_incident *incident)
{
    page_put(out, "<div class=\"soft whole\">");
    page_put_time(out, incident->started);
    page_put(out, "</div>");
}

static void put_lasting(struct buffer *out, const struct report_incident *incidents, size_t count,
                        const char *heading, bool says_open)
{
    open_list(out, heading);
    for (size_t i = 0; i < count; i++) {
        open_row(out, &incidents[i]);
        page_put(out, "<td>");
        page_put_duration(out, incidents[i].seconds);
        put_started(out, &incidents[i]);
        page_put(out, says_open && incidents[i].is_open ? "<div class=\"soft\">still open</div>" : "");
        page_put(out, "</td></tr>\n");
    }
    page_put(out, "</tbody>\n</table>\n</section>\n");
}

void page_put_open(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "open", " class=\"open\"", "Open now");
    if (report->open_count == 0) {
        page_put(out, "<p>No incident is open.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "first", report->open_count, report->recent.open, "open incidents");
    buffer_append_format(
        out,
        "<p class=\"soft\">%sBy priority; of one priority, those that have been open longest "
        "come first.</p>\n",
        sentence);
    put_lasting(out, report->open, report->open_count, "Open for, since", false);
}

void page_put_longest(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "longest", " class=\"open\"", "Longest incidents");
    if (report->longest_count == 0) {
        page_put(out, "<p>No incidents.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "longest", report->longest_count, report->all.incidents, "incidents");
    buffer_append_format(out, "<p class=\"soft\">%sOpen ones up to now.</p>\n", sentence);
    put_lasting(out, report->longest, report->longest_count, "Lasted, from", true);
}

static void put_reasons(struct buffer *out, const struct report *report)
{
    page_open_table(out, "Incidents by reason", "Reason|Incidents");
    for (size_t i = 0; i < report->reason_count; i++) {
        page_put(out, "<tr><th scope=\"row\">");
        html_append(out, report->reasons[i].reason);
        page_put(out, "</th>");
        page_put_number_cell(out, report->reasons[i].incidents);
        page_put(out, "</tr>\n");
    }
    page_close_table(out);
}

void page_put_suspicious(struct buffer *out, const struct report *report)
{
    char sentence[PAGE_SENTENCE_MAX];

    page_open_section(out, "suspicious", " class=\"open\"", "Suspicious");
    if (report->suspicious_count == 0) {
        page_put(out, "<p>No incident has times that cannot be right.</p>\n</section>\n");
        return;
    }
    page_say_capped(sentence, "last", report->suspicious_count, report->suspicious_total,
                    "suspicious incidents");
    buffer_append_format(out,
                         "<p class=\"soft\">%sTheir times cannot be right, so no figure on this page counts "
                         "them.</p>\n",
                         sentence);
    put_reasons(out, report);
    open_list(out, "Why, started");
    for (size_t i = 0; i < report->suspicious_count; i++) {
        open_row(out, &report->suspicious[i]);
        page_put(out, "<td>");
        html_append(out, report->suspicious[i].reasons);
        put_started(out, &report->suspicious[i]);
        page_put(out, "</td></tr>\n");
    }
    page_put(out, "</tbody>\n</table>\n</section>\n");
}
