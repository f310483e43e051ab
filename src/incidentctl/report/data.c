/* The report's figures, from the views of schema reporting. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/report/report.h"
#include "incidentctl/support/session.h"

/* Stored text can be a megabyte. */
#define CUT(column, most)                                                                                    \
    "CASE WHEN char_length(" column ") > " #most " THEN left(" column ", " #most ") || '…' ELSE " column     \
    " END"

#define MINUTES_ "YYYY-MM-DD HH24:MI"

/* The columns that read_times takes, as the views time_to_resolve... compute them; `t` has the seconds. */
#define TIMES                                                                                                \
    "count(t.seconds), avg(t.seconds), percentile_cont(0.5) WITHIN GROUP (ORDER BY t.seconds),"              \
    " percentile_cont(0.9) WITHIN GROUP (ORDER BY t.seconds)"
#define SECONDS "date_part('epoch', i.resolved_at - i.started_at) AS seconds"

/* $1 is the time since when incidents count, in each of them. They are written so that Citus can run them
 * too: aggregates over incidents stand in FROM, where a period's incidents are joined to the period and not
 * looked up in a LATERAL, and the time zone is joined where a column of incidents is read in it
 * (migrations/0003_reporting.sql). */
static const char facts_sql[] = "SELECT time_zone(), to_char(now() AT TIME ZONE time_zone(), '" MINUTES_ "'),"
                                " CASE WHEN $1::timestamptz > '-infinity' THEN to_char($1::timestamptz AT "
                                "TIME ZONE time_zone(), '" MINUTES_ "') END,"
                                " n.incidents, n.resolved, o.total, s.total, w.total, m.total"
                                " FROM (SELECT count(*) AS incidents, count(i.resolved_at) AS resolved FROM "
                                "plausible_incidents i WHERE i.started_at >= $1) n,"
                                " (SELECT count(*) AS total FROM open_now) o,"
                                " (SELECT count(DISTINCT s.id) AS total FROM suspicious s) s,"
                                " (SELECT count(*) AS total FROM weeks w WHERE w.ends_at > $1) w,"
                                " (SELECT count(*) AS total FROM months m WHERE m.ends_at > $1) m";

static const char times_sql[] =
    "SELECT " TIMES " FROM (SELECT " SECONDS " FROM plausible_incidents i WHERE i.started_at >= $1) t";

static const char recent_sql[] = "SELECT " TIMES " FROM (SELECT " SECONDS " FROM plausible_incidents i"
                                 " WHERE i.started_at >= greatest($1, now() - interval '3 months')) t";

/* As opened_and_resolved_by_week. */
static const char weeks_sql[] =
    "WITH shown AS MATERIALIZED (SELECT l.*, row_number() OVER (ORDER BY l.period)::integer AS number"
    " FROM (SELECT * FROM weeks w WHERE w.ends_at > $1 ORDER BY w.period DESC LIMIT $2) l),"
    " starts AS MATERIALIZED (SELECT array_agg(s.starts_at ORDER BY s.number) AS times FROM shown s)"
    " SELECT w.period, coalesce(o.opened, 0), coalesce(r.resolved, 0) FROM shown w"
    " LEFT JOIN (SELECT width_bucket(i.started_at, s.times) AS number, count(*) AS opened"
    " FROM starts s JOIN plausible_incidents i ON i.started_at >= greatest(s.times[1], $1)"
    " GROUP BY 1) o USING (number)"
    " LEFT JOIN (SELECT width_bucket(i.resolved_at, s.times) AS number, count(*) AS resolved"
    " FROM starts s JOIN plausible_incidents i ON i.resolved_at >= s.times[1] AND i.started_at >= $1"
    " GROUP BY 1) r USING (number) ORDER BY 1";

/* As time_to_resolve_by_month. Where an index yields incidents in the order of a month, each is on another
 * page: twice the time. So they are read once, and each finds its month by the times at which months start,
 * of which one ends where the next begins. */
static const char months_sql[] =
    "WITH shown AS MATERIALIZED (SELECT l.*, row_number() OVER (ORDER BY l.period)::integer AS number"
    " FROM (SELECT * FROM months m WHERE m.ends_at > $1 ORDER BY m.period DESC LIMIT $2) l),"
    " starts AS MATERIALIZED (SELECT array_agg(s.starts_at ORDER BY s.number) AS times FROM shown s)"
    " SELECT m.period, coalesce(v.incidents, 0), v.mean, v.median, v.p90 FROM shown m"
    " LEFT JOIN (SELECT t.number, " TIMES
    " FROM (SELECT width_bucket(i.started_at, s.times) AS number, " SECONDS
    " FROM starts s JOIN plausible_incidents i ON i.started_at >= greatest(s.times[1], $1)) t"
    " GROUP BY 1) v (number, incidents, mean, median, p90) USING (number) ORDER BY 1";

/* As services and time_to_resolve_by_service. */
static const char services_sql[] = "SELECT " CUT(
    "n.service",
    200) ", s.incidents, s.open, s.minutes, s.timed, s.mean, s.median, s.p90,"
         " s.total FROM (SELECT g.*, (SELECT sum(date_part('epoch', upper(piece) - lower(piece))) / 60"
         " FROM unnest(g.times) piece) AS minutes, count(*) OVER () AS total FROM ("
         "SELECT t.identifier, count(*), count(*) FILTER (WHERE t.resolved_at IS NULL), " TIMES ","
         " range_agg(tstzrange(t.started_at, coalesce(t.resolved_at, now()))) FROM (SELECT w.identifier,"
         " w.started_at, w.resolved_at, date_part('epoch', w.resolved_at - w.started_at) AS seconds"
         " FROM incident_with_service w WHERE w.started_at >= $1 ORDER BY 1, 2) t GROUP BY 1)"
         " g (identifier, incidents, open, timed, mean, median, p90, times)) s"
         " LEFT JOIN service_names n USING (identifier)"
         " ORDER BY s.minutes DESC, s.incidents DESC, s.identifier LIMIT $2";

/* As time_to_resolve_by_priority. The most frequent ones, in the order of their names. */
static const char priorities_sql[] = "SELECT " CUT(
    "p.priority",
    60) ", p.incidents, p.open, NULL, p.timed, p.mean, p.median, p.p90, p.total"
        " FROM (SELECT t.priority COLLATE \"C\", count(*), count(*) FILTER (WHERE t.resolved_at IS NULL),"
        " " TIMES ", count(*) OVER () FROM (SELECT i.*, " SECONDS " FROM plausible_incidents i"
        " WHERE i.started_at >= $1) t GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $2)"
        " p (priority, incidents, open, timed, mean, median, p90, total) ORDER BY 1";

static const char open_sql[] =
    "SELECT " CUT("o.source_id", 200) ", " CUT("o.name", 200) ", " CUT("o.priority", 60) ", " CUT(
        "o.services", 200) ","
                           " CASE WHEN octet_length(o.source_url) <= 2000 THEN o.source_url END,"
                           " to_char(o.started_at AT TIME ZONE z.zone, '" MINUTES_ "'), o.age_seconds"
                           " FROM open_now o CROSS JOIN time_zone() z (zone) ORDER BY o.age_seconds DESC, "
                           "o.source_id LIMIT $1";

static const char reasons_sql[] =
    "SELECT reason, count(*) FROM suspicious GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $1";

/* A result that the report keeps. limit is what the statement's last parameter is; 0 where it has none. */
static PGresult *ask(PGconn *session, struct report *report, const char *sql, const char *since, int limit)
{
    char most[16];
    const char *const both[] = {since, most};
    PGresult *result;

    (void)snprintf(most, sizeof most, "%d", limit);
    result = session_query(session, sql, (since != NULL) + (limit > 0), since != NULL ? both : both + 1);
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

/* TIMES, from that column on. */
static struct report_times times_at(const PGresult *result, int row, int column)
{
    return (struct report_times){.incidents = number_at(result, row, column),
                                 .mean = number_at(result, row, column + 1),
                                 .median = number_at(result, row, column + 2),
                                 .p90 = number_at(result, row, column + 3)};
}

static bool read_totals(PGconn *session, const char *since, struct report *report, bool since_given)
{
    PGresult *facts = ask(session, report, facts_sql, since, 0);
    PGresult *times = facts == NULL ? NULL : ask(session, report, times_sql, since, 0);
    PGresult *recent = times == NULL ? NULL : ask(session, report, recent_sql, since, 0);

    if (recent == NULL) {
        return false;
    }
    report->time_zone = text_at(facts, 0, 0);
    report->as_of = text_at(facts, 0, 1);
    report->since = since_given ? text_at(facts, 0, 2) : NULL;
    report->incidents = number_at(facts, 0, 3);
    report->resolved = number_at(facts, 0, 4);
    report->open_total = number_at(facts, 0, 5);
    report->suspicious = number_at(facts, 0, 6);
    report->week_total = number_at(facts, 0, 7);
    report->month_total = number_at(facts, 0, 8);
    report->times = times_at(times, 0, 0);
    report->recent = times_at(recent, 0, 0);
    return true;
}

static bool read_periods(PGconn *session, const char *since, struct report *report)
{
    PGresult *weeks = ask(session, report, weeks_sql, since, REPORT_WEEKS_MAX);
    PGresult *months = weeks == NULL ? NULL : ask(session, report, months_sql, since, REPORT_MONTHS_MAX);

    if (months == NULL) {
        return false;
    }
    for (int row = 0; row < PQntuples(weeks); row++) {
        report->weeks[report->week_count++] = (struct report_period){.start = text_at(weeks, row, 0),
                                                                     .opened = number_at(weeks, row, 1),
                                                                     .resolved = number_at(weeks, row, 2)};
    }
    for (int row = 0; row < PQntuples(months); row++) {
        report->months[report->month_count++] =
            (struct report_period){.start = text_at(months, row, 0), .times = times_at(months, row, 1)};
    }
    return true;
}

/* Reads services or priorities; at most `most` of them. */
static bool read_groups(PGconn *session, const char *sql, const char *since, struct report *report,
                        struct report_group *groups, int most, size_t *count, double *total)
{
    PGresult *result = ask(session, report, sql, since, most);

    for (int row = 0; result != NULL && row < PQntuples(result); row++) {
        groups[(*count)++] = (struct report_group){.name = text_at(result, row, 0),
                                                   .incidents = number_at(result, row, 1),
                                                   .open = number_at(result, row, 2),
                                                   .minutes = number_at(result, row, 3),
                                                   .times = times_at(result, row, 4)};
        *total = number_at(result, row, 8);
    }
    return result != NULL;
}

static bool read_open_and_suspicious(PGconn *session, struct report *report)
{
    PGresult *open = ask(session, report, open_sql, NULL, REPORT_OPEN_MAX);
    PGresult *reasons = open == NULL ? NULL : ask(session, report, reasons_sql, NULL, REPORT_REASONS_MAX);

    if (reasons == NULL) {
        return false;
    }
    for (int row = 0; row < PQntuples(open); row++) {
        report->open[report->open_count++] = (struct report_open){.source_id = text_at(open, row, 0),
                                                                  .name = text_at(open, row, 1),
                                                                  .priority = text_at(open, row, 2),
                                                                  .services = text_at(open, row, 3),
                                                                  .url = text_at(open, row, 4),
                                                                  .started = text_at(open, row, 5),
                                                                  .age = number_at(open, row, 6)};
    }
    for (int row = 0; row < PQntuples(reasons); row++) {
        report->reasons[report->reason_count++] = (struct report_reason){
            .reason = text_at(reasons, row, 0), .incidents = number_at(reasons, row, 1)};
    }
    return true;
}

static bool has_views(PGconn *session)
{
    PGresult *result =
        session_query(session, "SELECT to_regclass('reporting.open_now') IS NOT NULL", 0, NULL);
    bool found = result != NULL && *PQgetvalue(result, 0, 0) == 't';

    if (result != NULL && !found) {
        (void)fputs(
            "incidentctl: the views that the report reads are not there: incidentctl migrate makes them\n",
            stderr);
    }
    PQclear(result);
    return found;
}

/* A setting of ours takes any text; time_zone() refuses what is no name. */
static bool set_time_zone(PGconn *session, const char *time_zone)
{
    PGresult *result =
        session_query(session, "SELECT set_config('reporting.time_zone', $1::text, true)", 1, &time_zone);

    PQclear(result);
    return result != NULL && session_run(session, "SELECT time_zone()");
}

bool report_read(PGconn *session, const char *since, const char *time_zone, struct report *report)
{
    const char *from = since != NULL ? since : "-infinity";
    bool ok;

    *report = (struct report){0};
    if (!session_run(session, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")) {
        return false;
    }
    ok = has_views(session) && session_run(session, "SET LOCAL search_path = reporting, pg_temp") &&
         session_run(session, "SET LOCAL jit = off") && session_run(session, "SET LOCAL datestyle = ISO") &&
         (time_zone == NULL || set_time_zone(session, time_zone)) &&
         read_totals(session, from, report, since != NULL) && read_periods(session, from, report) &&
         read_groups(session, services_sql, from, report, report->services, REPORT_SERVICES_MAX,
                     &report->service_count, &report->service_total) &&
         read_groups(session, priorities_sql, from, report, report->priorities, REPORT_PRIORITIES_MAX,
                     &report->priority_count, &report->priority_total) &&
         read_open_and_suspicious(session, report);
    return session_run(session, ok ? "COMMIT" : "ROLLBACK") && ok;
}

void report_free(struct report *report)
{
    for (size_t i = 0; i < report->result_count; i++) {
        PQclear(report->results[i]);
    }
    *report = (struct report){0};
}
