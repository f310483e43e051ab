/* The report's figures, from the views of schema reporting. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/report/query.h"
#include "incidentctl/report/report.h"
#include "incidentctl/report/scale.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/session.h"

enum { IDENTIFIERS_BYTES_MAX = 1024 * 1024 };

/* A result that the report keeps. limit is the parameter behind the scope; 0 where there is none. With cuts,
 * there is one more: long texts are cut. */
static PGresult *ask(PGconn *session, struct report *report, const char *sql, const struct query_scope *scope,
                     int limit, bool cuts)
{
    char most[16];
    const char *const values[] = {scope->from, scope->identifiers, scope->priority, most, "true"};
    PGresult *result;

    snprintf(most, sizeof most, "%d", limit);
    result = session_query(session, sql, 3 + (limit > 0) + cuts, values);
    if (result != NULL) {
        report->results[report->result_count++] = result;
    }
    return result;
}

static const char *text_at(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}

static double number_at(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NAN : strtod(PQgetvalue(result, row, column), NULL);
}

static bool flag_at(const PGresult *result, int row, int column)
{
    return *PQgetvalue(result, row, column) == 't';
}

/* The number of those resolved, mean, median and 90th percentile, from that column on. */
static struct report_times times_at(const PGresult *result, int row, int column)
{
    return (struct report_times){.incidents = number_at(result, row, column),
                                 .mean = number_at(result, row, column + 1),
                                 .median = number_at(result, row, column + 2),
                                 .p90 = number_at(result, row, column + 3)};
}

/* As it is printed. */
static double round_as_shown(double value, enum report_unit unit)
{
    return unit == REPORT_DURATION ? scale_round_duration(value) : rint(value);
}

struct report_change report_change(const struct report *report, double now, double before,
                                   enum report_unit unit)
{
    bool is_share = unit == REPORT_SHARE, is_known;

    now = round_as_shown(now, unit);
    before = round_as_shown(before, unit);
    is_known = report->before_is_whole && !isnan(now) && (is_share ? !isnan(before) : before > 0);
    return (struct report_change){.amount = !is_known  ? NAN
                                            : is_share ? now - before
                                                       : 100 * (now - before) / before,
                                  .is_points = is_share};
}

void report_describe_change(const struct report_change *change, char text[REPORT_CHANGE_MAX])
{
    double shown = round(change->amount);

    if (isnan(shown)) {
        snprintf(text, REPORT_CHANGE_MAX, "\xe2\x80\x93");
        return;
    }
    snprintf(text, REPORT_CHANGE_MAX, "%s%.0f %s",
             shown > 0   ? "+"
             : shown < 0 ? "-"
                         : "",
             fabs(shown),
             !change->is_points   ? "%"
             : fabs(shown) == 1.0 ? "point"
                                  : "points");
}

double report_share_out_of_hours(const struct report_totals *totals)
{
    return totals->incidents > 0 ? 100 * totals->out_of_hours / totals->incidents : NAN;
}

static struct report_totals totals_at(const PGresult *result, int row)
{
    return (struct report_totals){.incidents = number_at(result, row, 1),
                                  .times = times_at(result, row, 2),
                                  .out_of_hours = number_at(result, row, 6),
                                  .open = number_at(result, row, 7)};
}

static bool read_totals(PGconn *session, const struct query_scope *scope, struct report *report)
{
    PGresult *facts = ask(session, report, query_facts, scope, 0, false);
    PGresult *totals = facts == NULL ? NULL : ask(session, report, query_totals, scope, 0, false);

    if (totals == NULL) {
        return false;
    }
    report->time_zone = text_at(facts, 0, 0);
    report->as_of = text_at(facts, 0, 1);
    report->since = text_at(facts, 0, 2);
    report->before_from = text_at(facts, 0, 3);
    report->suspicious_total = number_at(facts, 0, 4);
    report->week_total = number_at(facts, 0, 5);
    report->month_total = number_at(facts, 0, 6);
    report->before_is_whole = flag_at(facts, 0, 7);
    report->all = totals_at(totals, 0);
    report->recent = totals_at(totals, 1);
    report->before = totals_at(totals, 2);
    return true;
}

static bool read_periods(PGconn *session, const struct query_scope *scope, struct report *report)
{
    PGresult *weeks = ask(session, report, query_weeks, scope, REPORT_WEEKS_MAX, false);
    PGresult *months =
        weeks == NULL ? NULL : ask(session, report, query_months, scope, REPORT_MONTHS_MAX, false);

    if (months == NULL) {
        return false;
    }
    for (int row = 0; row < PQntuples(weeks); row++) {
        report->weeks[report->week_count++] = (struct report_period){.start = text_at(weeks, row, 0),
                                                                     .opened = number_at(weeks, row, 1),
                                                                     .resolved = number_at(weeks, row, 2),
                                                                     .is_whole = flag_at(weeks, row, 3)};
    }
    for (int row = 0; row < PQntuples(months); row++) {
        report->months[report->month_count++] = (struct report_period){.start = text_at(months, row, 0),
                                                                       .times = times_at(months, row, 1),
                                                                       .is_whole = flag_at(months, row, 5)};
    }
    return true;
}

/* Reads services, priorities or causes; at most `most` of them. */
static bool read_groups(PGconn *session, const char *sql, const struct query_scope *scope,
                        struct report *report, struct report_group *groups, int most, size_t *count,
                        double *total)
{
    PGresult *result = ask(session, report, sql, scope, most, sql != query_services);

    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        groups[(*count)++] =
            (struct report_group){.name = text_at(result, row, 0),
                                  .incidents = number_at(result, row, 1),
                                  .open = number_at(result, row, 2),
                                  .minutes = number_at(result, row, 3),
                                  .times = times_at(result, row, 4),
                                  .identifier = PQnfields(result) > 9 ? text_at(result, row, 9) : NULL};
        *total = number_at(result, row, 8);
    }
    return result != NULL;
}

static struct report_incident incident_at(const PGresult *result, int row)
{
    return (struct report_incident){.source_id = text_at(result, row, 1),
                                    .name = text_at(result, row, 2),
                                    .priority =
                                        *PQgetvalue(result, row, 3) == '\0' ? NULL : text_at(result, row, 3),
                                    .services = text_at(result, row, 4),
                                    .url = text_at(result, row, 5),
                                    .started = text_at(result, row, 6),
                                    .seconds = number_at(result, row, 8),
                                    .is_open = flag_at(result, row, 9),
                                    .reasons = text_at(result, row, 10)};
}

/* A row of query_incidents: of one of the lists, or a service's name. */
static void take_row(struct report *report, const PGresult *result, int row)
{
    const char *list = PQgetvalue(result, row, 0);

    if (strcmp(list, "names") == 0) {
        for (size_t i = 0; i < report->service_count; i++) {
            if (strcmp(report->services[i].identifier, PQgetvalue(result, row, 1)) == 0) {
                report->services[i].name = PQgetvalue(result, row, 2);
            }
        }
    } else if (strcmp(list, "open") == 0) {
        report->open[report->open_count++] = incident_at(result, row);
    } else if (strcmp(list, "longest") == 0) {
        report->longest[report->longest_count++] = incident_at(result, row);
    } else {
        report->suspicious[report->suspicious_count++] = incident_at(result, row);
    }
}

/* The identifiers of the report's services as an array that Postgres reads. */
static void append_identifiers(const struct report *report, struct buffer *out)
{
    buffer_append_text(out, "{");
    for (size_t i = 0; i < report->service_count; i++) {
        buffer_append_text(out, i == 0 ? "\"" : ",\"");
        for (const char *c = report->services[i].identifier; *c != '\0'; c++) {
            if (*c == '"' || *c == '\\') {
                buffer_append_text(out, "\\");
            }
            buffer_append(out, c, 1);
        }
        buffer_append_text(out, "\"");
    }
    buffer_append(out, "}", sizeof "}"); /* with its end */
}

/* Behind the services, whose names come along. */
static bool read_incidents(PGconn *session, const struct query_scope *scope, struct report *report)
{
    char open[16], longest[16], suspicious[16];
    struct buffer identifiers;
    PGresult *result;

    snprintf(open, sizeof open, "%d", REPORT_OPEN_MAX);
    snprintf(longest, sizeof longest, "%d", REPORT_LONGEST_MAX);
    snprintf(suspicious, sizeof suspicious, "%d", REPORT_SUSPICIOUS_MAX);
    buffer_init(&identifiers, IDENTIFIERS_BYTES_MAX);
    append_identifiers(report, &identifiers);
    if (identifiers.failed) {
        buffer_free(&identifiers);
        return print_error("unable to make the report: out of memory");
    }
    const char *const values[] = {scope->from, scope->identifiers, scope->priority,  open,
                                  longest,     suspicious,         identifiers.data, "true"};
    result = session_query(session, query_incidents, 8, values);
    buffer_free(&identifiers);
    if (result == NULL) {
        return false;
    }
    report->results[report->result_count++] = result;
    for (int row = 0; row < PQntuples(result); row++) {
        take_row(report, result, row);
    }
    return true;
}

static bool read_reasons(PGconn *session, const struct query_scope *scope, struct report *report)
{
    PGresult *reasons = ask(session, report, query_reasons, scope, REPORT_REASONS_MAX, false);

    for (int row = 0; reasons != NULL && row < PQntuples(reasons); row++) {
        report->reasons[report->reason_count++] = (struct report_reason){
            .reason = text_at(reasons, row, 0), .incidents = number_at(reasons, row, 1)};
    }
    return reasons != NULL;
}

/* Beyond the transaction, as the results of the statements. */
static bool keep_service(struct report *report, struct query_scope *settled)
{
    if (settled->service.result != NULL) {
        report->service = settled->service.title;
        report->results[report->result_count++] = settled->service.result;
        settled->service.result = NULL;
    }
    return true;
}

bool report_read(PGconn *session, const struct report_scope *scope, struct report *report)
{
    struct query_scope settled;
    bool ok;

    *report = (struct report){.priority = scope->priority};
    if (scope->priority != NULL && *scope->priority == '\0') {
        report->priority = "(none)";
    }
    ok = query_begin(session, scope, &settled) && keep_service(report, &settled) &&
         read_totals(session, &settled, report) && read_periods(session, &settled, report) &&
         read_groups(session, query_services, &settled, report, report->services, REPORT_SERVICES_MAX,
                     &report->service_count, &report->service_total) &&
         read_groups(session, query_priorities, &settled, report, report->priorities, REPORT_PRIORITIES_MAX,
                     &report->priority_count, &report->priority_total) &&
         read_groups(session, query_causes, &settled, report, report->causes, REPORT_CAUSES_MAX,
                     &report->cause_count, &report->cause_total) &&
         read_incidents(session, &settled, report) && read_reasons(session, &settled, report);
    return query_end(session, &settled, ok);
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->result_count; i++) {
        PQclear(report->results[i]);
    }
    *report = (struct report){0};
}
