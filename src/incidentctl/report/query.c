/* The statements that the report's figures come from, and what the scope of a report means. */
#include "incidentctl/report/query.h"

#include <stdio.h>

#include "incidentctl/support/print_error.h"
#include "incidentctl/support/session.h"

/* They are written so that Citus can run them too: aggregates over incidents stand in FROM, where a period's
 * incidents are joined to the period and not looked up in a LATERAL, and the time zone is joined where a
 * column of incidents is read in it (migrations/0003_reporting.sql). A column named "-" is the page's alone.
 */

/* Stored text can be a megabyte: the page has so much of it, where the parameter that is a flag says so. */
#define CUT(column, most, flag)                                                                              \
    "CASE WHEN " flag "::boolean AND char_length(" column ") > " #most " THEN left(" column ", " #most       \
    ") || '…' ELSE " column " END"

#define MINUTES_ "YYYY-MM-DD HH24:MI"

/* Incident i is of the service and the priority that are asked for. */
#define MATCHES(i)                                                                                           \
    "($2::text[] IS NULL OR jsonb_path_exists(" i ".services_json, 'strict $[*] ? (@[0] == $service[*])',"   \
    " jsonb_build_object('service', $2::text[]), true)) AND ($3::text IS NULL OR coalesce(" i                \
    ".priority, '') = $3)"

/* The incidents that the report is of. */
#define INCIDENTS                                                                                            \
    "(SELECT p.* FROM plausible_incidents p WHERE p.started_at >= $1::timestamptz AND " MATCHES("p") ")"

/* As the views time_to_resolve... compute them; `t` has the seconds. */
#define TIMES                                                                                                \
    "count(t.seconds) AS resolved, avg(t.seconds) AS mean_seconds,"                                          \
    " percentile_cont(0.5) WITHIN GROUP (ORDER BY t.seconds) AS median_seconds,"                             \
    " percentile_cont(0.9) WITHIN GROUP (ORDER BY t.seconds) AS p90_seconds"
#define SECONDS "date_part('epoch', i.resolved_at - i.started_at) AS seconds"

/* An interval in hours and less: days are of 23 to 25 hours by TimeZone, which is the client's. */
#define HOURS(interval) "make_interval(secs => extract(epoch FROM " interval ")::float8)"

/* The time since then, or 90 days, and as much time before it. Nothing tells whether either is whole where it
 * begins before the first incident. */
#define SPAN                                                                                                 \
    "span AS MATERIALIZED (SELECT s.*, s.since >= f.started_at AS since_is_whole, s.before >= f.started_at"  \
    " AS before_is_whole FROM (SELECT r.since, r.since - " HOURS(                                            \
        "now() - r.since") " AS before FROM (SELECT"                                                         \
                           " CASE WHEN $1::timestamptz > '-infinity' THEN $1::timestamptz"                   \
                           " ELSE now() - interval '2160 hours' END AS since) r) s LEFT JOIN"                \
                           " (SELECT p.started_at FROM plausible_incidents p ORDER BY 1 LIMIT 1) f ON true)"

const char query_facts[] =
    "WITH " SPAN ", doubted AS MATERIALIZED (SELECT * FROM suspicious) SELECT time_zone(), to_char(now() AT "
    "TIME ZONE time_zone(), '" MINUTES_ "'),"
    " CASE WHEN $1::timestamptz > '-infinity' THEN to_char($1::timestamptz AT TIME ZONE time_zone(),"
    " '" MINUTES_ "') END, to_char(a.before AT TIME ZONE time_zone(), '" MINUTES_ "'),"
    " s.total, w.total, m.total, coalesce(a.before_is_whole, false) FROM span a,"
    " (SELECT count(DISTINCT s.id) AS total FROM doubted s WHERE " MATCHES(
        "s") ") s,"
             " (SELECT count(*) AS total FROM weeks w WHERE w.ends_at > $1) w,"
             " (SELECT count(*) AS total FROM months m WHERE m.ends_at > $1) m";

/* Of all that is plausible, and of each span. */
#define FIGURES                                                                                              \
    "figures AS (SELECT 0 AS number, count(*) AS incidents, " TIMES ", NULL::bigint AS out_of_hours"         \
    " FROM (SELECT " SECONDS " FROM " INCIDENTS " i) t"                                                      \
    " UNION ALL SELECT t.number, count(*), " TIMES                                                           \
    ", count(*) FILTER (WHERE extract(isodow FROM t.local) > 5"                                              \
    " OR extract(hour FROM t.local) NOT BETWEEN 8 AND 17)"                                                   \
    " FROM (SELECT CASE WHEN i.started_at >= s.since THEN 1 ELSE 2 END AS number, " SECONDS                  \
    ", i.started_at AT TIME ZONE z.zone AS local FROM span s JOIN plausible_incidents i"                     \
    " ON i.started_at >= s.before AND " MATCHES("i") " CROSS JOIN time_zone() z (zone)) t GROUP BY 1)"

/* Those of a view that may have been open when the time before ended. */
#define FROM_THEN(view)                                                                                      \
    " FROM span s CROSS JOIN longest_incident() l (longest) JOIN " view                                      \
    " i ON i.started_at >= s.since - " HOURS("l.longest")

#define OPEN                                                                                                 \
    "open AS (SELECT count(*) FILTER (WHERE i.resolved_at IS NULL) AS now, count(*) FILTER (WHERE"           \
    " i.started_at < s.since AND (i.resolved_at IS NULL OR i.resolved_at >= s.since)) AS then" FROM_THEN(    \
        "plausible_incidents") " AND " MATCHES("i") ")"

/* What is suspicious now, because it has been open for too long, was not yet so when the time before ended.
 * Such an incident has one reason, and so one row. */
#define DOUBTED                                                                                              \
    "doubted AS (SELECT count(*) AS then" FROM_THEN(                                                         \
        "suspicious") " AND i.started_at < s.since AND i.started_at >= '1971-01-01 00:00Z' AND "             \
                      "(i.resolved_at IS NULL"                                                               \
                      " OR i.resolved_at >= s.since AND i.resolved_at <= now()) AND " MATCHES("i") ")"

const char query_totals[] =
    "WITH " SPAN ", " FIGURES ", " OPEN ", " DOUBTED
    " SELECT n.span, coalesce(f.incidents, 0) AS incidents, coalesce(f.resolved, 0) AS resolved,"
    " f.mean_seconds, f.median_seconds, f.p90_seconds,"
    " CASE WHEN n.number > 0 THEN coalesce(f.out_of_hours, 0) END AS out_of_hours,"
    " CASE WHEN n.number = 2 THEN o.then + d.then ELSE o.now END AS open_at_end,"
    " CASE n.number WHEN 0 THEN true WHEN 1 THEN s.since_is_whole ELSE s.before_is_whole END AS is_whole"
    " FROM (VALUES (0, 'all'), (1, 'recent'), (2, 'before')) n (number, span)"
    " LEFT JOIN figures f USING (number) CROSS JOIN open o CROSS JOIN doubted d CROSS JOIN span s"
    " ORDER BY n.number";

/* The last ones, and the times at which they start, of which one ends where the next begins. An index yields
 * incidents in the order of a period each on another page, which takes twice the time: so they are read once,
 * and each finds its period by these times. */
#define SHOWN(periods)                                                                                       \
    "first AS MATERIALIZED (SELECT p.started_at FROM plausible_incidents p ORDER BY 1 LIMIT 1),"             \
    " shown AS MATERIALIZED (SELECT l.*, row_number() OVER (ORDER BY l.period)::integer AS number"           \
    " FROM (SELECT * FROM " periods " w WHERE w.ends_at > $1 ORDER BY w.period DESC LIMIT $4) l),"           \
    " starts AS MATERIALIZED (SELECT array_agg(s.starts_at ORDER BY s.number) AS times FROM shown s)"
#define IS_WHOLE "w.ends_at <= now() AND w.starts_at >= greatest($1, f.started_at) AS is_whole"

/* As opened_and_resolved_by_week: what was resolved since then counts, whenever it started. */
const char query_weeks[] = "WITH " SHOWN(
    "weeks") " SELECT w.period AS week_from, coalesce(o.opened, 0) AS opened,"
             " coalesce(r.resolved, 0) AS resolved, " IS_WHOLE " FROM shown w CROSS JOIN first f"
             " LEFT JOIN (SELECT width_bucket(i.started_at, s.times) AS number, count(*) AS opened"
             " FROM starts s JOIN " INCIDENTS " i ON i.started_at >= s.times[1] GROUP BY 1) o USING (number)"
             " LEFT JOIN (SELECT width_bucket(i.resolved_at, s.times) AS number, count(*) AS resolved"
             " FROM starts s JOIN plausible_incidents i ON i.resolved_at >= greatest(s.times[1], $1) "
             "AND " MATCHES("i") " GROUP BY 1) r USING (number)"
                                 " ORDER BY 1";

/* As time_to_resolve_by_month. */
const char query_months[] =
    "WITH " SHOWN("months") " SELECT w.period AS month_from, coalesce(v.resolved, 0) AS resolved,"
                            " v.mean_seconds, v.median_seconds, v.p90_seconds, " IS_WHOLE
                            " FROM shown w CROSS JOIN first f"
                            " LEFT JOIN (SELECT t.number, " TIMES
                            " FROM (SELECT width_bucket(i.started_at, s.times) AS number,"
                            " " SECONDS " FROM starts s JOIN " INCIDENTS
                            " i ON i.started_at >= s.times[1]) t GROUP BY 1) v"
                            " USING (number) ORDER BY 1";

/* As services and time_to_resolve_by_service, with the name or without: it takes a look at all incidents. In
 * the order of their starts, the incidents are hashed by service, and range_agg has nothing to sort; only
 * those services that are shown have their percentiles. */
#define SERVICES(name, names)                                                                                \
    "SELECT " name " AS service, s.incidents, s.open, s.minutes, v.resolved, v.mean_seconds,"                \
    " v.median_seconds, v.p90_seconds, s.total AS \"-\", s.identifier FROM (SELECT g.identifier,"            \
    " g.incidents, g.open, g.seconds, (SELECT sum(date_part('epoch', upper(piece) - lower(piece))) / 60"     \
    " FROM unnest(g.times) piece) AS minutes, count(*) OVER () AS total FROM ("                              \
    "SELECT t.identifier, count(*) AS incidents, count(*) FILTER (WHERE t.resolved_at IS NULL) AS open,"     \
    " array_agg(t.seconds) AS seconds, range_agg(tstzrange(t.started_at, coalesce(t.resolved_at, now()))) "  \
    "AS times"                                                                                               \
    " FROM (SELECT i.identifier, i.started_at, i.resolved_at, " SECONDS " FROM incident_with_service i"      \
    " WHERE i.started_at >= $1::timestamptz AND ($2::text[] IS NULL OR i.identifier = ANY ($2))"             \
    " AND ($3::text IS NULL OR coalesce(i.priority, '') = $3) ORDER BY 2) t GROUP BY 1) g"                   \
    " ORDER BY minutes DESC, g.incidents DESC, g.identifier LIMIT $4) s"                                     \
    " CROSS JOIN LATERAL (SELECT " TIMES " FROM unnest(s.seconds) t (seconds)) v" names                      \
    " ORDER BY s.minutes DESC, s.incidents DESC, s.identifier"

const char query_services[] = SERVICES("NULL", "");
const char query_named_services[] = SERVICES("n.service", " LEFT JOIN service_names n USING (identifier)");

/* As time_to_resolve_by_priority, but for the page an empty priority is none. The most frequent ones, in the
 * order of their names; hashed, as services are.
 */
const char query_priorities[] = "SELECT " CUT(
    "p.priority", 60,
    "$5") " AS priority, p.incidents, p.open, NULL AS \"-\", v.resolved,"
          " v.mean_seconds, v.median_seconds, v.p90_seconds, p.total AS \"-\""
          " FROM (SELECT CASE WHEN $5::boolean THEN nullif(t.priority, '') ELSE t.priority END COLLATE \"C\" "
          "AS priority,"
          " count(*) AS incidents,"
          " count(*) FILTER (WHERE t.resolved_at IS NULL) AS open, array_agg(t.seconds) AS seconds,"
          " count(*) OVER () AS total FROM (SELECT i.*, " SECONDS " FROM " INCIDENTS " i) t"
          " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $4) p"
          " CROSS JOIN LATERAL (SELECT " TIMES " FROM unnest(p.seconds) t (seconds)) v ORDER BY p.priority";

/* What docs/reporting.md asks metadata for. */
const char query_causes[] = "SELECT " CUT(
    "c.cause", 60,
    "$5") " AS cause, c.incidents, c.open, NULL AS \"-\", c.resolved, c.mean_seconds,"
          " NULL AS \"-\", NULL AS \"-\", c.total AS \"-\""
          " FROM (SELECT t.cause, count(*) AS incidents, count(*) FILTER (WHERE t.resolved_at IS NULL) AS "
          "open,"
          " count(t.seconds) AS resolved, avg(t.seconds) AS mean_seconds, count(*) OVER () AS total"
          " FROM (SELECT i.metadata_json #>> '{cause,kind}' COLLATE \"C\" AS cause, i.resolved_at, " SECONDS
          " FROM " INCIDENTS " i) t WHERE t.cause IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $4) c"
          " ORDER BY c.incidents DESC, c.cause";

/* One statement for the three lists, and for the names of services, which take a look at all incidents. */
#define LISTED(list, rows) "SELECT '" list "' AS list, row_number() OVER () AS number, l.* FROM (" rows ") l"
#define COLUMNS            "i.source_id, i.name, i.priority, i.source_url, i.started_at, i.services_json"

/* clang-format breaks each string at a column of its own. */
/* clang-format off */
const char query_incidents[] =
    "WITH names AS MATERIALIZED (SELECT n.identifier, n.service FROM service_names n), listed"
    " AS MATERIALIZED ("
    LISTED("open",
        "SELECT " COLUMNS
        ", date_part('epoch', now() - i.started_at) AS seconds, true AS is_open, NULL::text"
        " AS reasons FROM plausible_incidents i WHERE i.resolved_at IS NULL AND "
        MATCHES("i") " ORDER BY nullif(i.priority, '') COLLATE \"C\" NULLS LAST, i.started_at, i.source_id LIMIT $4")
    " UNION ALL " LISTED("longest",
        "SELECT " COLUMNS
        ", date_part('epoch', coalesce(i.resolved_at, now()) - i.started_at), i.resolved_at IS NULL,"
        " NULL::text FROM "
        INCIDENTS " i ORDER BY 7 DESC, i.source_id LIMIT $5")
    " UNION ALL " LISTED("suspicious",
        "SELECT " COLUMNS
        ", NULL::float8, i.resolved_at IS NULL, string_agg(i.reason, ', ' ORDER BY i.reason)"
        " FROM suspicious i WHERE "
        MATCHES("i") " GROUP BY i.id, " COLUMNS
        ", i.resolved_at ORDER BY i.started_at DESC, i.source_id LIMIT $6")
    ") SELECT l.list AS \"-\", " CUT("l.source_id", 200, "$8") " AS source_id, " CUT("l.name", 200, "$8")
    " AS name, "
    CUT("l.priority", 60, "$8") " AS priority, " CUT("v.services", 200, "$8")
    " AS services, CASE WHEN octet_length(l.source_url) <= 2000 OR NOT $8::boolean THEN l.source_url END"
    " AS source_url, to_char(l.started_at AT TIME ZONE z.zone, '"
    MINUTES_
    "') AS started, l.number AS \"-\", l.seconds, l.is_open, l.reasons FROM listed l LEFT"
    " JOIN (SELECT e.list, e.number, string_agg(n.service, ', ' ORDER BY e.position) AS services"
    " FROM (SELECT i.list, i.number, (s.service->>0) COLLATE \"C\" AS identifier, s.position"
    " FROM listed i CROSS JOIN LATERAL jsonb_array_elements(CASE WHEN jsonb_typeof(i.services_json) ="
    " 'array' THEN i.services_json END) WITH ORDINALITY AS s (service, position)"
    " WHERE jsonb_typeof(s.service) = 'array') e JOIN names n USING (identifier) GROUP BY 1, 2) v"
    " USING (list, number) CROSS JOIN time_zone() z (zone) UNION ALL SELECT 'names', n.identifier, "
    CUT("n.service", 200, "$8") " || CASE WHEN n.bearers > 1 THEN ' (' || " CUT("n.identifier", 60, "$8")
    " || ')' ELSE '' END, NULL, NULL, NULL, NULL, 0, NULL, NULL, NULL"
    " FROM (SELECT n.*, count(*) OVER (PARTITION BY n.service) AS bearers FROM names n) n"
    " WHERE n.identifier = ANY ($7::text[]) ORDER BY 1, 8";
/* clang-format on */

const char query_reasons[] =
    "WITH doubted AS MATERIALIZED (SELECT * FROM suspicious) SELECT i.reason, count(*) AS incidents"
    " FROM doubted i WHERE $1::timestamptz IS NOT NULL AND " MATCHES(
        "i") " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $4";

/* A setting of ours takes any text; time_zone() refuses what is no name, but takes each Region/City unread.
 */
static bool set_time_zone(PGconn *session, const char *time_zone)
{
    PGresult *result =
        time_zone == NULL ? NULL
                          : session_query(session, "SELECT set_config('reporting.time_zone', $1::text, true)",
                                          1, &time_zone);

    PQclear(result);
    if ((time_zone != NULL && result == NULL) || !session_run(session, "SELECT time_zone()")) {
        return false;
    }
    if (!session_run(session, "SELECT now() AT TIME ZONE time_zone()")) {
        fputs("HINT:  Names are like Europe/Berlin; the view pg_timezone_names has all of them.\n", stderr);
        return false;
    }
    return true;
}

static bool is_known_priority(PGconn *session, const char *priority)
{
    PGresult *result;
    bool is_known;

    if (priority == NULL) {
        return true;
    }
    result = session_query(
        session, "SELECT EXISTS (SELECT FROM incidents i WHERE coalesce(i.priority, '') = $1::text)", 1,
        &priority);
    is_known = result != NULL && *PQgetvalue(result, 0, 0) == 't';
    if (result != NULL && !is_known) {
        print_error("no incident has the priority that --priority gives; an empty one is of those without");
    }
    PQclear(result);
    return is_known;
}

static bool settle(PGconn *session, const struct report_scope *scope, struct query_scope *settled)
{
    /* A text first: a parameter has the type of its first cast, and a timestamp becomes a timestamptz by the
     * client's TimeZone. */
    static const char sql[] = "SELECT t.since, t.since > now() FROM (SELECT CASE WHEN $2::boolean"
                              " THEN first_instant($1::text::timestamp, time_zone())"
                              " ELSE coalesce($1::text::timestamptz, '-infinity') END AS since) t";
    const char *const values[] = {scope->since, scope->since_is_local ? "true" : "false"};
    PGresult *result = session_query(session, sql, 2, values);

    settled->result = result;
    if (result == NULL) {
        return false;
    }
    if (*PQgetvalue(result, 0, 1) == 't') {
        return print_error("--since lies in the future: a report is of what has been");
    }
    settled->from = PQgetvalue(result, 0, 0);
    settled->priority = scope->priority;
    if (!is_known_priority(session, scope->priority)) {
        return false;
    }
    if (scope->service == NULL) {
        return true;
    }
    if (!service_find(session, scope->service, &settled->service)) {
        return false;
    }
    settled->identifiers = settled->service.identifiers;
    return settled->service.names != NULL ||
           print_error("no incident has the service that --service names, by its identifier or its name");
}

bool query_begin(PGconn *session, const struct report_scope *scope, struct query_scope *settled)
{
    *settled = (struct query_scope){0};
    return session_run(session, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") &&
           session_run(session, "SELECT FROM reporting.plausible_incidents LIMIT 0") &&
           session_run(session, "SET LOCAL search_path = reporting, pg_temp") &&
           session_run(session, "SET LOCAL jit = off") && session_run(session, "SET LOCAL datestyle = ISO") &&
           set_time_zone(session, scope->time_zone) && settle(session, scope, settled);
}

bool query_end(PGconn *session, struct query_scope *settled, bool ok)
{
    PQclear(settled->result);
    PQclear(settled->service.result);
    settled->result = settled->service.result = NULL;
    return PQtransactionStatus(session) == PQTRANS_IDLE
               ? ok
               : session_run(session, ok ? "COMMIT" : "ROLLBACK") && ok;
}
