/* What analysts see: the views of schema reporting on small sets of data whose figures were worked out by
 * hand, and every statement of docs/reporting.md and grafana/incidents.json. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/fixture.h"

enum { ROWS_MAX = 8192, SQL_MAX = 8192 };

static struct stack stack;
static PGconn *analyst; /* a member of incidents_reader, with reporting as its search_path */

/* Runs as the analyst what may be several statements; the last one's result, to clear. */
static PGresult *run(const char *sql)
{
    PGresult *result = PQexec(analyst, sql);
    ExecStatusType status = PQresultStatus(result);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(analyst));
    }
    return result;
}

/* The rows, fields parted by '|', each row's end a newline; NULL is "-". Good until the next call. */
static const char *rows(const char *sql)
{
    static char text[ROWS_MAX];
    PGresult *result = run(sql);
    size_t len = 0;

    text[0] = '\0';
    for (int row = 0; row < PQntuples(result); row++) {
        for (int column = 0; column < PQnfields(result); column++) {
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", column == 0 ? "" : "|",
                                    PQgetisnull(result, row, column) ? "-" : PQgetvalue(result, row, column));
            assert_true(len < sizeof text - 1);
        }
        text[len++] = '\n';
        text[len] = '\0';
    }
    PQclear(result);
    return text;
}

static void check(const char *sql, const char *expected)
{
    const char *found = rows(sql);

    if (strcmp(found, expected) != 0) {
        fail_msg("%s gave\n%snot\n%s", sql, found, expected);
    }
}

/* Stores an incident. Times are SQL: literals or expressions; services are a JSON array as the API takes it.
 */
static void store(const char *id, const char *priority, const char *started_at, const char *resolved_at,
                  const char *services)
{
    char sql[SQL_MAX];

    snprintf(
        sql, sizeof sql,
        "INSERT INTO intake.incident (reference_id, priority, started_at, resolved_at, services, "
        "created_at, updated_at) "
        "SELECT '%s', %s%s%s, %s, %s, jsonb_agg(jsonb_build_array(service->'identifier', service->'name') "
        "ORDER BY ordinality), now(), now() "
        "FROM jsonb_array_elements($1) WITH ORDINALITY AS _(service, ordinality)",
        id, priority == NULL ? "" : "'", priority == NULL ? "NULL" : priority, priority == NULL ? "" : "'",
        started_at, resolved_at == NULL ? "NULL" : resolved_at);
    stack_query_for(&stack, sql, services == NULL ? "[]" : services);
}

#define CHECKOUT "[{\"identifier\":\"checkout\",\"name\":\"Checkout\"}]"
#define SEARCH   "[{\"identifier\":\"search\"}]"
#define BOTH     "[{\"identifier\":\"search\"},{\"identifier\":\"checkout\",\"name\":\"Checkout\"}]"

static void upsert(const char *body)
{
    http_expect(&stack, http_as_cgi, &(struct call){.path = "incidents.upsert", .body = body}, 200);
}

static void every_view_and_column_has_a_comment(void **state)
{
    assert_string_equal(
        stack_query(&stack,
                    "SELECT coalesce(string_agg(format('%s.%s', c.relname, a.attname), ' '), '') "
                    "FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum >= 0 "
                    "WHERE c.relnamespace = 'reporting'::regnamespace AND c.relkind IN ('r', 'v', 'm') "
                    "AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)"),
        "");
    assert_string_equal(stack_query(&stack, "SELECT count(*) > 20 FROM pg_class "
                                            "WHERE relnamespace = 'reporting'::regnamespace AND relkind IN "
                                            "('v', 'm')"),
                        "t");
}

static void the_shapes_are_those_of_dx(void **state)
{
    static const char columns[] =
        "SELECT string_agg(column_name || ' ' || data_type, ', ' ORDER BY ordinal_position) "
        "FROM information_schema.columns WHERE table_schema = 'reporting' AND table_name = $1";

    assert_string_equal(stack_query_for(&stack, columns, "incidents"),
                        "id bigint, name text, priority text, source text, source_id text, source_url text, "
                        "started_at timestamp with time zone, resolved_at timestamp with time zone, "
                        "started_to_resolved bigint, deleted boolean");
    assert_string_equal(stack_query_for(&stack, columns, "incident_services"),
                        "id bigint, incident_id bigint, service text, identifier text");
    assert_string_equal(stack_query_for(&stack, columns, "incident_metadata"),
                        "id bigint, incident_id bigint, key text, value text");
}

/* As DX's customers write it. */
static void sql_for_dx_runs_unchanged(void **state)
{
    store("a", "P1", "'2024-01-01 10:00Z'", "'2024-01-01 11:00:00.9Z'", BOTH);
    store("b", "P1", "'2024-01-01 10:00Z'", "'2024-01-01 13:00Z'", CHECKOUT);
    store("c", "P2", "'2024-01-08 10:00Z'", NULL, CHECKOUT);
    check("SELECT AVG(started_to_resolved)/3600 as mttr_hours FROM incidents "
          "WHERE resolved_at IS NOT NULL AND priority IN ('P1', 'P2') AND deleted = false",
          "2.0000000000000000\n");
    check("SELECT DATE_TRUNC('week', started_at)::date as week, COUNT(*) as incidents FROM incidents "
          "WHERE started_at < NOW() - INTERVAL '6 months' AND deleted = false GROUP BY week ORDER BY week",
          "2024-01-01|2\n2024-01-08|1\n");
    check("SELECT s.service, COUNT(DISTINCT i.id), AVG(i.started_to_resolved)::int FROM incidents i "
          "JOIN incident_services s ON s.incident_id = i.id GROUP BY s.service ORDER BY 1",
          "Checkout|3|7200\nsearch|1|3600\n");
    check("SELECT source, source_id, source_url, name, started_to_resolved, deleted FROM incidents "
          "ORDER BY source_id",
          "api|a|-|-|3600|f\napi|b|-|-|10800|f\napi|c|-|-|-|f\n");
}

static void nothing_stored_gives_no_rows_and_no_error(void **state)
{
    check("SELECT * FROM time_to_resolve", "0|-|-|-\n");
    check("SELECT * FROM time_to_resolve_by_day", "");
    check("SELECT * FROM time_to_resolve_by_month", "");
    check("SELECT * FROM time_to_resolve_by_service", "");
    check("SELECT * FROM time_to_resolve_by_priority_and_week", "");
    check("SELECT * FROM opened_and_resolved_by_week", "");
    check("SELECT * FROM services", "");
    check("SELECT * FROM open_now", "");
    check("SELECT * FROM suspicious", "");
    check("SELECT * FROM incident_metadata", "");
}

static void ids_outlive_updates(void **state)
{
    char before[ROWS_MAX];
    static const char ids[] = "SELECT 'incident', id, source_id FROM incidents "
                              "UNION ALL SELECT 'service', id, identifier FROM incident_services "
                              "WHERE identifier <> 'gone' AND identifier <> 'new' "
                              "UNION ALL SELECT 'metadata', id, key FROM incident_metadata WHERE key = 'a.b' "
                              "ORDER BY 1, 3";

    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":{\"b\":1},\"c\":2},"
           "\"services\":[{\"identifier\":\"gone\"},{\"identifier\":\"stays\"},{\"identifier\":\"too\"}]}");
    snprintf(before, sizeof before, "%s", rows(ids));
    assert_int_equal(strncmp(before, "incident|", 9), 0);
    upsert("{\"reference_id\":\"other\",\"started_at\":\"2024-01-01\"}");
    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-02\",\"resolved_at\":\"2024-01-03\","
           "\"name\":\"n\",\"metadata\":{\"a\":{\"b\":\"changed\"},\"d\":2},"
           "\"services\":[{\"identifier\":\"too\",\"name\":\"Too\"},{\"identifier\":\"new\"},"
           "{\"identifier\":\"stays\"}]}");
    stack_query(&stack, "DELETE FROM intake.incident WHERE reference_id = 'other'");
    check(ids, before);
    check("SELECT s.identifier FROM incidents i JOIN incident_services s ON s.incident_id = i.id "
          "WHERE i.source_id = 'one' ORDER BY 1",
          "new\nstays\ntoo\n");
    check("SELECT count(*) = count(DISTINCT id) FROM incident_services", "t\n");
}

#define HISTORY_CREATED                                                                                      \
    "{\"name\": \"N\", \"metadata\": {\"n\": 1.10}, \"priority\": null, "                                    \
    "\"services\": [[\"s\", \"S\"], [\"t\", null]], \"source_url\": null, "                                  \
    "\"started_at\": \"2024-01-01T10:00:00.500000Z\", \"resolved_at\": null, \"reference_id\": \"h\"}"
#define HISTORY_UPDATED                                                                                      \
    "{\"name\": \"N\", \"metadata\": null, \"priority\": \"P1\", \"services\": [], \"source_url\": null, "   \
    "\"started_at\": \"2024-01-01T10:00:00.500000Z\", \"resolved_at\": \"2024-01-02T00:00:00.000000Z\", "    \
    "\"reference_id\": \"h\"}"

static void the_history_shows_incidents_as_json(void **state)
{
    stack_query(&stack, "SELECT intake.enable_history(true)");
    PQclear(run("SET TimeZone = 'Asia/Tokyo'"));
    upsert("{\"reference_id\":\"h\",\"started_at\":\"2024-01-01T10:00:00.5Z\",\"name\":\"N\","
           "\"services\":[{\"identifier\":\"s\",\"name\":\"S\"},{\"identifier\":\"t\"}],\"metadata\":{\"n\":"
           "1.10}}");
    upsert("{\"reference_id\":\"h\",\"started_at\":\"2024-01-01T10:00:00.5Z\",\"services\":[],"
           "\"priority\":\"P1\",\"resolved_at\":\"2024-01-02\",\"metadata\":null}");
    stack_query(&stack, "SELECT intake.enable_history(false)");
    check("SELECT action, before, after FROM incident_history WHERE source_id = 'h' ORDER BY change_id",
          "created|-|" HISTORY_CREATED "\nupdated|" HISTORY_CREATED "|" HISTORY_UPDATED "\n");
    PQclear(run("SET TimeZone = 'UTC'"));
}

static void metadata_is_flattened(void **state)
{
    upsert("{\"reference_id\":\"m\",\"started_at\":\"2024-01-01\",\"metadata\":{"
           "\"cause\":{\"kind\":\"deploy\",\"by\":{\"who\":\"x\"},\"empty\":{}},"
           "\"cause-kind\":\"other\",\"0\":{\"1\":\"digits\"},\"none\":null,\"yes\":true,"
           "\"big\":18446744073709551616,\"exact\":1.10,\"list\":[1,{\"a\":null},[]],\"empty\":[],"
           "\"text\":\"a|b \\\"c\\\" \\u00e9\",\"blank\":\"\"}}");
    upsert("{\"reference_id\":\"n\",\"started_at\":\"2024-01-01\",\"metadata\":{}}");
    upsert("{\"reference_id\":\"o\",\"started_at\":\"2024-01-01\"}");
    check("SELECT key, value FROM incident_metadata ORDER BY key COLLATE \"C\"",
          "0.1|digits\n"
          "big|18446744073709551616\n"
          "blank|\n"
          "cause-kind|other\n"
          "cause.by.who|x\n"
          "cause.empty|{}\n"
          "cause.kind|deploy\n"
          "empty|[]\n"
          "exact|1.10\n"
          "list|[1, {\"a\": null}, []]\n"
          "none|-\n"
          "text|a|b \"c\" \xc3\xa9\n"
          "yes|true\n");
    check("SELECT i.source_id FROM incidents i JOIN incident_metadata m ON m.incident_id = i.id "
          "WHERE m.key = 'cause.kind' AND m.value = 'deploy'",
          "m\n");
}

/* The API refuses a key with a period; who writes one by hand gets both values, under the same key. */
static void keys_that_flatten_to_the_same_both_stay(void **state)
{
    store("a", NULL, "'2024-01-01Z'", NULL, NULL);
    stack_query(&stack, "UPDATE intake.incident SET metadata = '{\"a.b\": 1, \"a\": {\"b\": 2}}'");
    check("SELECT key, value FROM incident_metadata ORDER BY value", "a.b|1\na.b|2\n");
    check("SELECT count(DISTINCT id) FROM incident_metadata", "2\n");
}

static void names_may_hold_anything(void **state)
{
    upsert(
        "{\"reference_id\":\"x' OR 1=1 --\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-01T01\","
        "\"priority\":\"P1 \\\"\\u2620\\\"\",\"services\":[{\"identifier\":\"a,b\\n\",\"name\":\"\"},"
        "{\"identifier\":\"\\ud83d\\ude00\",\"name\":\"O'Neill %s {x}\"}]}");
    check("SELECT priority, incidents FROM time_to_resolve_by_priority", "P1 \"\xe2\x98\xa0\"|1\n");
    check("SELECT identifier, service, incidents, minutes FROM services ORDER BY identifier",
          "a,b\n|a,b\n|1|60\n\xf0\x9f\x98\x80|O'Neill %s {x}|1|60\n");
    check("SELECT source_id FROM incidents", "x' OR 1=1 --\n");
}

static void times_to_resolve_are_right(void **state)
{
    store("one", "P1", "'2024-03-01 10:00Z'", "'2024-03-01 10:01:40Z'", CHECKOUT); /* 100 s */
    check("SELECT * FROM time_to_resolve", "1|100|100|100\n");
    store("two", "P2", "'2024-03-02 10:00Z'", "'2024-03-02 10:03:20Z'", BOTH); /* 200 s */
    /* 100 + 0.5 and 0.9 of the way to 200 */
    check("SELECT * FROM time_to_resolve", "2|150|150|190\n");
    store("zero", NULL, "'2024-03-03 10:00Z'", "'2024-03-03 10:00Z'", NULL);
    store("negative", "P1", "'2024-03-04 10:00Z'", "'2024-03-04 09:00Z'", CHECKOUT);
    store("open", "P1", "now() - interval '1 hour'", NULL, CHECKOUT);
    store("tomorrow", "P1", "now() - interval '1 hour'", "now() + interval '1 day'", CHECKOUT);
    check("SELECT * FROM time_to_resolve", "2|150|150|190\n");
    store("fraction", "P1", "'2024-03-05 10:00Z'", "'2024-03-05 10:00:00.5Z'", SEARCH);
    check("SELECT * FROM time_to_resolve_by_priority ORDER BY 1", "P1|2|50.25|50.25|90.05\n" /* 0.5 and 100 */
                                                                  "P2|1|200|200|200\n");
    check("SELECT * FROM time_to_resolve_by_service ORDER BY 1",
          "checkout|Checkout|2|150|150|190\n"
          "search|search|2|100.25|100.25|180.05\n"); /* 0.5 and 200 */
    check("SELECT started_to_resolved FROM incidents WHERE source_id IN ('negative', 'open', 'zero') "
          "ORDER BY source_id",
          "-\n-\n-\n");
}

static void periods_without_incidents_have_rows_of_zero(void **state)
{
    store("a", "P1", "'2024-01-31 23:59:59.999999Z'", "'2024-03-01 00:00Z'", CHECKOUT);
    store("b", "P2", "'2024-03-31 12:00Z'", "'2024-03-31 12:10Z'", BOTH);
    check("SELECT period, opened, resolved FROM opened_and_resolved_by_month WHERE period < '2024-05-01' "
          "ORDER BY period",
          "2024-01-01|1|0\n2024-02-01|0|0\n2024-03-01|1|2\n2024-04-01|0|0\n");
    /* 2024-01-29 is a Monday. */
    check("SELECT period, opened, resolved FROM opened_and_resolved_by_week WHERE period < '2024-02-12' "
          "ORDER BY period",
          "2024-01-29|1|0\n2024-02-05|0|0\n");
    check("SELECT period, opened, resolved FROM opened_and_resolved_by_day WHERE period BETWEEN '2024-02-29' "
          "AND '2024-03-01' ORDER BY period",
          "2024-02-29|0|0\n2024-03-01|0|1\n");
    check("SELECT sum(opened), sum(resolved) FROM opened_and_resolved_by_day", "2|2\n");
    check("SELECT period, incidents, median_seconds FROM time_to_resolve_by_month WHERE period < "
          "'2024-05-01' ORDER BY period",
          "2024-01-01|1|2505600.000001\n2024-02-01|0|-\n2024-03-01|1|600\n2024-04-01|0|-\n"); /* 29 days */
    check("SELECT period, incidents FROM time_to_resolve_by_day WHERE incidents > 0 ORDER BY period",
          "2024-01-31|1\n2024-03-31|1\n");
    check("SELECT period, incidents FROM time_to_resolve_by_week WHERE incidents > 0 ORDER BY period",
          "2024-01-29|1\n2024-03-25|1\n");
    check("SELECT period, priority, incidents FROM time_to_resolve_by_priority_and_month ORDER BY 1",
          "2024-01-01|P1|1\n2024-03-01|P2|1\n");
    check("SELECT period, identifier, service, incidents, p90_seconds FROM "
          "time_to_resolve_by_service_and_week ORDER BY 1, 2",
          "2024-01-29|checkout|Checkout|1|2505600.000001\n2024-03-25|checkout|Checkout|1|600\n"
          "2024-03-25|search|search|1|600\n");
    check("SELECT max(period) = date_trunc('month', now() AT TIME ZONE 'UTC') FROM months", "t\n");
}

static void periods_follow_the_setting_and_not_the_session(void **state)
{
    static const char days[] = "SELECT period, starts_at, ends_at - starts_at FROM days "
                               "WHERE period BETWEEN '2024-03-30' AND '2024-04-01' ORDER BY period";
    static const char opened[] = "SELECT period, opened, resolved FROM opened_and_resolved_by_day "
                                 "WHERE opened + resolved > 0 ORDER BY period";

    /* Berlin's clocks go from 2:00 to 3:00 on Sunday 2024-03-31, which is 23 hours: 03-30 23:00Z to 03-31
     * 22:00Z. */
    store("a", "P", "'2024-03-30 22:59:59Z'", "'2024-03-30 23:00Z'", SEARCH);
    store("b", "P", "'2024-03-31 21:59:59Z'", "'2024-03-31 22:00Z'", SEARCH);
    check("SET TimeZone = 'Asia/Tokyo'; SELECT time_zone()", "UTC\n");
    check(opened, "2024-03-30|1|1\n2024-03-31|1|1\n");
    check("SET TimeZone = 'UTC'; SET reporting.time_zone = 'Europe/Berlin'; SELECT time_zone()",
          "Europe/Berlin\n");
    check(opened, "2024-03-30|1|0\n2024-03-31|1|1\n2024-04-01|0|1\n");
    check(days, "2024-03-30|2024-03-29 23:00:00+00|1 day\n"
                "2024-03-31|2024-03-30 23:00:00+00|23:00:00\n"
                "2024-04-01|2024-03-31 22:00:00+00|1 day\n");
    /* The week of the change is an hour shorter, and b resolved in the next one and the next month. */
    check("SELECT ends_at - starts_at FROM weeks WHERE period = '2024-03-25'", "6 days 23:00:00\n");
    check("SELECT period, opened, resolved FROM opened_and_resolved_by_week WHERE opened + resolved > 0 "
          "ORDER BY period",
          "2024-03-25|2|1\n2024-04-01|0|1\n");
    check("SELECT period, resolved FROM opened_and_resolved_by_month WHERE resolved > 0 ORDER BY period",
          "2024-03-01|1\n2024-04-01|1\n");
    check("SELECT period, incidents FROM time_to_resolve_by_day WHERE incidents > 0 ORDER BY period",
          "2024-03-30|1\n2024-03-31|1\n");
    check("SELECT period, starts_at, incidents FROM time_to_resolve_by_service_and_day ORDER BY 1",
          "2024-03-30|2024-03-29 23:00:00+00|1\n2024-03-31|2024-03-30 23:00:00+00|1\n");
    /* Midnight there is 04:00Z in summer. */
    check("SET reporting.time_zone = 'America/New_York'; SELECT period, starts_at, incidents "
          "FROM time_to_resolve_by_priority_and_day",
          "2024-03-30|2024-03-30 04:00:00+00|1\n2024-03-31|2024-03-31 04:00:00+00|1\n");
    check("RESET reporting.time_zone; SELECT time_zone()", "UTC\n");
    PQclear(run("RESET reporting.time_zone"));
}

static void open_incidents_have_an_age(void **state)
{
    store("old", "P1", "now() - interval '51 hours 30 minutes'", NULL, BOTH);
    store("new", NULL, "now() - interval '90 minutes'", NULL, NULL);
    store("resolved", "P1", "now() - interval '1 day'", "now()", CHECKOUT);
    store("future", "P1", "now() + interval '1 day'", NULL, CHECKOUT);
    check("SELECT source_id, priority, services, date_trunc('hour', age), age_seconds / 3600 FROM open_now "
          "ORDER BY age DESC",
          "old|P1|search, Checkout|2 days 03:00:00|51\nnew|-|-|01:00:00|1\n");
}

static void minutes_of_overlapping_incidents_count_once(void **state)
{
    store("a", NULL, "'2024-01-01 10:00Z'", "'2024-01-01 11:00Z'", CHECKOUT);
    store("inside", NULL, "'2024-01-01 10:10Z'", "'2024-01-01 10:20Z'", CHECKOUT);
    store("across", NULL, "'2024-01-01 10:30Z'", "'2024-01-01 11:15Z'", BOTH);
    store("touches", NULL, "'2024-01-01 11:15Z'", "'2024-01-01 11:20Z'", CHECKOUT);
    store("apart", NULL, "'2024-01-02 10:00Z'", "'2024-01-02 10:00:30Z'", CHECKOUT);
    store("zero", NULL, "'2024-01-03 10:00Z'", "'2024-01-03 10:00Z'", CHECKOUT);
    store("negative", NULL, "'2024-01-04 10:00Z'", "'2024-01-04 09:00Z'",
          "[{\"identifier\":\"negative\"},{\"identifier\":\"checkout\",\"name\":\"Checkout\"}]");
    store("future", NULL, "now() + interval '1 day'", NULL, "[{\"identifier\":\"later\"}]");
    store("open", NULL, "now() - interval '1 hour'", NULL, "[{\"identifier\":\"open\"}]");
    store("open too", NULL, "now() - interval '30 minutes'", NULL, "[{\"identifier\":\"open\"}]");
    /* 10:00 to 11:20, and half a minute */
    check("SELECT identifier, service, incidents, open, trunc(minutes::numeric, 1) FROM services ORDER BY 1",
          "checkout|Checkout|5|0|80.5\nopen|open|2|2|60.0\nsearch|search|1|0|45.0\n");
}

static void what_cannot_be_right_is_listed_with_its_reason(void **state)
{
    store("fine", NULL, "now() - interval '89 days'", NULL, NULL);
    store("fine too", NULL, "now() - interval '2400 hours'", "now() - interval '264 hours'", NULL);
    store("zero", NULL, "'2024-01-03 10:00Z'", "'2024-01-03 10:00Z'", NULL);
    store("negative", NULL, "'2024-01-04 10:00Z'", "'2024-01-04 09:59:59.999999Z'", NULL);
    store("future", NULL, "now() + interval '1 hour'", NULL, NULL);
    store("both", NULL, "now() + interval '1 hour'", "now()", NULL);
    store("forgotten", NULL, "now() - interval '91 days'", NULL, NULL);
    store("long", NULL, "now() - interval '200 days'", "now() - interval '109 days'", NULL);
    store("caesar", NULL, "'0001-01-01Z'", "'0001-01-02Z'", NULL);
    store("epoch", NULL, "'1970-01-01Z'", "'2024-01-02Z'", NULL);
    store("far", NULL, "'9999-12-31Z'", "'9999-12-31Z'", NULL);
    store("sentinel", NULL, "'2024-01-03Z'", "'9999-12-31Z'", NULL);
    check("SELECT source_id, reason FROM suspicious ORDER BY 1, 2",
          "both|resolved before it started\nboth|started in the future\ncaesar|started before 1971\n"
          "epoch|started before 1971\n"
          "far|resolved in the future\nfar|resolved in the moment it started\nfar|started in the future\n"
          "forgotten|open for more than 90 days\nfuture|started in the future\n"
          "long|lasted more than 90 days\nnegative|resolved before it started\n"
          "sentinel|resolved in the future\nzero|resolved in the moment it started\n");
    check("SELECT source_id FROM plausible_incidents ORDER BY 1", "fine\nfine too\n");
    check("SELECT source_id, started_to_resolved FROM incidents WHERE started_to_resolved IS NOT NULL",
          "fine too|7689600\n"); /* 89 days */
    /* None of them is in a figure, makes a period, or overflows. */
    check("SELECT min(period) = ((now() - interval '2400 hours') AT TIME ZONE 'UTC')::date, "
          "max(period) = (now() AT TIME ZONE 'UTC')::date FROM days",
          "t|t\n");
    check("SELECT sum(opened), sum(resolved) FROM opened_and_resolved_by_month", "2|1\n");
    check("SELECT incidents, mean_seconds FROM time_to_resolve", "1|7689600\n");
    check("SELECT sum(incidents) FROM time_to_resolve_by_priority_and_day", "1\n");
    check("SELECT source_id FROM open_now", "fine\n");
    check("SET reporting.longest_incident = '92 days'; SELECT source_id, reason FROM suspicious "
          "WHERE source_id IN ('long', 'forgotten')",
          "");
    check("SELECT incidents FROM time_to_resolve", "2\n");
    check("SET reporting.longest_incident = '1 day 12:00'; SELECT source_id, reason FROM suspicious "
          "WHERE source_id LIKE 'fine%' ORDER BY 1",
          "fine|open for more than 1 day 12:00:00\nfine too|lasted more than 1 day 12:00:00\n");
    /* 31,557,600 seconds, and not the 360 days that Postgres compares a year as. */
    check("SET reporting.longest_incident = '1 year'; SELECT longest_incident(), "
          "is_plausible(now() - interval '365 days', now(), longest_incident()), "
          "is_plausible(now() - interval '366 days', now(), longest_incident()), "
          "is_plausible(now() - interval '366 days', NULL, longest_incident())",
          "365 days 06:00:00|t|f|f\n");
    PQclear(run("RESET reporting.longest_incident"));
}

/* Postgres takes a bare number for seconds: all that lasted for a minute and a half would be suspicious. */
static void a_bound_without_a_unit_is_refused(void **state)
{
    static const char *const bounds[] = {"90", " 90.5 ", "-90", "-90 days", "0 days"};

    store("a", NULL, "'2024-01-01Z'", NULL, NULL);
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        char sql[128];
        PGresult *result;

        snprintf(sql, sizeof sql, "SET reporting.longest_incident = '%s'", bounds[i]);
        PQclear(run(sql));
        result = PQexec(analyst, "SELECT count(*) FROM plausible_incidents");
        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
        assert_non_null(strstr(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT), "'90 days'"));
        PQclear(result);
    }
    PQclear(run("RESET reporting.longest_incident"));
}

/* A broken clock says 1970: five incidents that took an hour, and a mean of 11 years. */
static void a_clock_that_lost_the_time_makes_no_mean_of_years(void **state)
{
    store("1", NULL, "'2024-01-01 10:00Z'", "'2024-01-01 11:00Z'", CHECKOUT);
    store("2", NULL, "'2024-01-02 10:00Z'", "'2024-01-02 11:00Z'", CHECKOUT);
    store("3", NULL, "'2024-01-03 10:00Z'", "'2024-01-03 11:00Z'", CHECKOUT);
    store("4", NULL, "'2024-01-04 10:00Z'", "'2024-01-04 11:00Z'", CHECKOUT);
    store("5", NULL, "'1970-01-01 00:00Z'", "'2024-01-05 11:00Z'", CHECKOUT);
    check("SELECT * FROM time_to_resolve", "4|3600|3600|3600\n");
    check("SELECT incidents, minutes FROM services", "4|240\n");
    check("SELECT min(period) FROM days", "2024-01-01\n");
}

/* Whoever is plausible has no reason against it, and whoever is not has one, whatever the times. */
static void an_incident_is_in_the_figures_or_suspicious(void **state)
{
    stack_query(
        &stack,
        "INSERT INTO intake.incident (reference_id, started_at, resolved_at, created_at, updated_at) "
        "SELECT row_number() OVER (), s, r, now(), now() FROM unnest(ARRAY['-infinity', '0001-01-01Z', "
        "'1970-12-31 23:59:59.999999Z', '1971-01-01Z', '2020-01-01Z', 'infinity']::timestamptz[] || "
        "ARRAY[now() - interval '2160 hours', now() - interval '2184 hours', now() - interval '24 hours', "
        "now(), "
        "now() "
        "+ interval '1 minute']) s, unnest(ARRAY[NULL, '-infinity', '1970-12-31 23:59:59.999999Z', "
        "'1971-01-01Z', '1971-01-02Z', 'infinity']::timestamptz[] || ARRAY[now() - interval '24 hours', "
        "now() - "
        "interval '23 hours', now(), now() + interval '1 minute']) r");
    check("SELECT count(*) FROM incidents", "110\n");
    check("SELECT count(*) FROM incidents i WHERE (SELECT count(*) FROM plausible_incidents p WHERE p.id = "
          "i.id) + (SELECT count(DISTINCT s.id) FROM suspicious s WHERE s.id = i.id) <> 1",
          "0\n");
    /* Of 1971-01-01, to the 2nd; of 90 days and of a day ago, to a day, 23 hours ago and now as they come
     * later; of a day ago and of now, open. */
    check("SELECT resolved_at IS NULL, count(*) FROM plausible_incidents GROUP BY 1 ORDER BY 1",
          "f|7\nt|2\n");
    check("SELECT count(started_to_resolved) FROM incidents WHERE id NOT IN (SELECT id FROM "
          "plausible_incidents)",
          "0\n");
}

static void a_service_has_the_name_that_it_was_last_sent_with(void **state)
{
    store("a", NULL, "'2024-01-01 10:00Z'", "'2024-01-01 10:01Z'", CHECKOUT);
    store("b", NULL, "'2024-01-02 10:00Z'", "'2024-01-02 10:01Z'", CHECKOUT);
    store("c", NULL, "'2024-01-03 10:00Z'", "'2024-01-03 10:01Z'", CHECKOUT);
    store("d", NULL, "now() - interval '1 hour'", NULL,
          "[{\"identifier\":\"checkout\"},{\"identifier\":\"Nameless\",\"name\":\"\"}]");
    check("SELECT identifier, service, incidents FROM services ORDER BY 1",
          "Nameless|Nameless|1\ncheckout|Checkout|4\n");
    check("SELECT services FROM open_now", "Checkout, Nameless\n");
    check("SELECT DISTINCT service FROM incident_services WHERE identifier = 'checkout'", "Checkout\n");
    check("SELECT service, count(*) FROM incident_with_service GROUP BY 1 ORDER BY 1",
          "Checkout|4\nNameless|1\n");
    check("SELECT service, incidents FROM time_to_resolve_by_service", "Checkout|3\n");
    check("SELECT DISTINCT service FROM time_to_resolve_by_service_and_day", "Checkout\n");
    /* The last by time, which bytes would put first; neither what was stored last, nor what starts in the
     * future, has a say. */
    store("e", NULL, "'2024-01-05 10:00Z'", "'2024-01-05 10:01Z'",
          "[{\"identifier\":\"checkout\",\"name\":\"Basket\"}]");
    store("f", NULL, "'2023-01-01 10:00Z'", "'2023-01-01 10:01Z'",
          "[{\"identifier\":\"checkout\",\"name\":\"Till\"}]");
    store("g", NULL, "now() + interval '1 hour'", NULL,
          "[{\"identifier\":\"checkout\",\"name\":\"Tomorrow\"}]");
    check("SELECT identifier, service FROM service_names ORDER BY 1", "Nameless|Nameless\ncheckout|Basket\n");
    check("SELECT service, incidents FROM services WHERE identifier = 'checkout'", "Basket|6\n");
    check("SELECT service, incidents FROM time_to_resolve_by_service_and_month ORDER BY period",
          "Basket|1\nBasket|4\n");
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    check("SELECT service FROM services_snapshot WHERE identifier = 'checkout'", "Basket\n");
}

/* Of incidents that started in the same moment, the one that was stored last. */
static void names_of_the_same_moment_go_by_when_they_were_stored(void **state)
{
    upsert("{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s\","
           "\"name\":\"Z\"}]}");
    upsert("{\"reference_id\":\"b\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s\","
           "\"name\":\"A\"}]}");
    check("SELECT service FROM service_names", "A\n");
    upsert("{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s\","
           "\"name\":\"Y\"}]}");
    check("SELECT service FROM service_names", "Y\n");
}

static void figures_are_right_at_once_and_snapshots_when_taken(void **state)
{
    PGresult *result;

    upsert(
        "{\"reference_id\":\"one\",\"started_at\":\"2024-01-01T10:00\",\"resolved_at\":\"2024-01-01T10:02\","
        "\"services\":[{\"identifier\":\"s\"}]}");
    check("SELECT mean_seconds FROM time_to_resolve", "120\n");
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-01T10:00\",\"resolved_at\":\"2024-01-01T10:"
           "04\"}");
    check("SELECT mean_seconds FROM time_to_resolve_by_month WHERE incidents > 0", "240\n");
    check("SELECT minutes FROM services", "4\n");
    check("SELECT minutes, taken_at < now() FROM services_snapshot", "2|t\n");
    check("SELECT mean_seconds FROM time_to_resolve_by_service_snapshot", "120\n");
    check("SELECT period, mean_seconds FROM time_to_resolve_by_service_and_month_snapshot",
          "2024-01-01|120\n");
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    check("SELECT minutes FROM services_snapshot", "4\n");
    result = PQexec(analyst, "SELECT refresh_snapshots()");
    assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501");
    PQclear(result);
}

/* The SQLSTATE of reading the relation as that login role, "00000" where it may. */
static const char *reading(const char *role, const char *relation)
{
    static char sqlstate[6];
    char text[STACK_PATH_MAX];
    PGconn *connection;
    PGresult *result;

    snprintf(text, sizeof text, "postgresql:///incidents?host=%s&user=%s", stack.directory, role);
    connection = PQconnectdb(text);
    snprintf(text, sizeof text, "SELECT * FROM %s", relation);
    result = PQexec(connection, text);
    snprintf(sqlstate, sizeof sqlstate, "%s",
             PQresultStatus(result) == PGRES_TUPLES_OK ? "00000"
                                                       : PQresultErrorField(result, PG_DIAG_SQLSTATE));
    PQclear(result);
    PQfinish(connection);
    return sqlstate;
}

/* The columns take any JSON, and the worker alone judges it. */
static void what_was_stored_by_hand_breaks_no_view(void **state)
{
    PGresult *views;

    stack_query(&stack, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at, "
                        "services, metadata) SELECT 'hand ' || n, now(), now(), now(), services, metadata "
                        "FROM (VALUES (1, '{}'::jsonb, '[]'::jsonb), (2, '\"s\"', '\"m\"'), (3, '1', '2'), "
                        "(4, '[]', '{}'), (5, '[1, [], {}]', 'null'), (6, 'null', '[{}]')) "
                        "AS hand (n, services, metadata)");
    views = PQexec(stack.owner,
                   "SELECT oid::regclass FROM pg_class WHERE relnamespace IN ('intake'::regnamespace, "
                   "'reporting'::regnamespace) AND relkind = 'v'");
    assert_true(PQntuples(views) > 20);
    for (int row = 0; row < PQntuples(views); row++) {
        char sql[128];

        snprintf(sql, sizeof sql, "SELECT count(v) FROM %s v", PQgetvalue(views, row, 0));
        stack_query(&stack, sql);
    }
    PQclear(views);
    assert_int_equal(stack_control(&stack, NULL, "list", NULL)->status, 0);
    assert_int_equal(stack_control(&stack, NULL, "show", "hand 1", NULL)->status, 0);
}

static void the_reader_reads_every_view_and_the_worker_none(void **state)
{
    PGresult *relations;

    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
    relations =
        PQexec(stack.owner, "SELECT oid::regclass, relnamespace::regnamespace FROM pg_class "
                            "WHERE relnamespace IN ('intake'::regnamespace, 'reporting'::regnamespace) "
                            "AND relkind IN ('r', 'v', 'm')");
    assert_true(PQntuples(relations) > 24);
    for (int row = 0; row < PQntuples(relations); row++) {
        const char *relation = PQgetvalue(relations, row, 0);
        bool is_report = strcmp(PQgetvalue(relations, row, 1), "reporting") == 0;

        if (strcmp(reading("analyst", relation), is_report ? "00000" : "42501") != 0 ||
            strcmp(reading("incidents_fcgi", relation), "42501") != 0) {
            fail_msg("%s may be read by the wrong role, or not by the right one", relation);
        }
    }
    PQclear(relations);
    assert_string_equal(reading("incidents_fcgi", "reporting.time_zone()"), "42501");
}

static void joins_use_indexes(void **state)
{
    static const char *const joins[][2] = {
        {"i.started_at > now() - interval '1 day'", "incident_started_at"},
        {"i.id = 4711", "incident_id"},
        {"i.source_id = 'i-4711'", "incident_pkey"},
    };

    stack_query(&stack,
                "INSERT INTO intake.incident (reference_id, started_at, services, created_at, updated_at) "
                "SELECT 'i-' || n, now() - interval '1 hour' * n, "
                "jsonb_build_array(jsonb_build_array('service-' || n % 5000, 'Service ' || n % "
                "5000), jsonb_build_array('service-' || (n + 1) % 5000, NULL)), now(), now() "
                "FROM generate_series(1, 20000) n");
    stack_query(&stack, "ANALYZE intake.incident");
    for (size_t i = 0; i < sizeof joins / sizeof joins[0]; i++) {
        char sql[SQL_MAX];
        const char *plan;

        snprintf(sql, sizeof sql,
                 "EXPLAIN (FORMAT JSON) SELECT i.*, s.id, s.identifier FROM reporting.incidents i "
                 "JOIN reporting.incident_services s ON s.incident_id = i.id WHERE %s",
                 joins[i][0]);
        plan = stack_query(&stack, sql);
        if (strstr(plan, joins[i][1]) == NULL || strstr(plan, "Seq Scan") != NULL) {
            fail_msg("%s: %s", sql, plan);
        }
    }
}

/* Else reports by service are sorted in one process, or keep the services of incidents that they have seen.
 */
static void the_planner_expects_about_as_many_services_as_there_are(void **state)
{
    static const char *const views[] = {"incident_services", "incident_with_service"};

    stack_query(
        &stack,
        "INSERT INTO intake.incident (reference_id, started_at, services, created_at, updated_at) "
        "SELECT 'i-' || n, now() - interval '1 hour' * n, "
        "jsonb_build_array(jsonb_build_array('a' || n % 10, NULL), '[\"b\", \"B\"]'::jsonb), now(), now() "
        "FROM generate_series(1, 20000) n");
    stack_query(&stack, "ANALYZE intake.incident");
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        char sql[SQL_MAX];
        const char *plan, *estimate;
        unsigned long rows;

        snprintf(sql, sizeof sql, "EXPLAIN (FORMAT JSON) SELECT identifier FROM reporting.%s", views[i]);
        plan = stack_query(&stack, sql);
        estimate = strstr(plan, "\"Plan Rows\": ");
        assert_non_null(estimate);
        rows = strtoul(estimate + strlen("\"Plan Rows\": "), NULL, 10);
        assert_true(rows >= 5000 && rows <= 80000);
        assert_null(strstr(plan, "Memoize"));
    }
}

static void resolving_stays_hot(void **state)
{
    /* No index, its WHERE and its expressions included, knows a column that ordinary updates change. */
    assert_string_equal(
        stack_query(&stack,
                    "SELECT count(*) FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'i' "
                    "JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid "
                    "WHERE d.refobjid = 'intake.incident'::regclass "
                    "AND a.attname NOT IN ('reference_id', 'id', 'started_at')"),
        "0");
    assert_string_equal(
        stack_query(&stack, "SELECT reloptions::text FROM pg_class WHERE oid = 'intake.incident'::regclass"),
        "{fillfactor=95}");
}

static void fill_with_sample(void)
{
    char *sql = read_whole_file("tests/cases/reporting_sample.sql");
    PGresult *result = PQexec(stack.owner, sql);

    assert_string_equal(PQresultErrorMessage(result), "");
    PQclear(result);
    free(sql);
    stack_query(&stack, "SELECT reporting.refresh_snapshots()");
}

/* Whether the names of the result's columns are the words of the line, parted by bars. */
static bool has_columns(const PGresult *result, const char *line)
{
    for (int column = 0; column < PQnfields(result); column++) {
        size_t len = strlen(PQfname(result, column));

        line += strspn(line, " |");
        if (strncmp(line, PQfname(result, column), len) != 0 || strchr(" |\n", line[len]) == NULL) {
            return false;
        }
        line += len;
    }
    return line[strspn(line, " ")] == '\n';
}

/* Every block of SQL runs; where a result stands below it, there is one, with these columns. */
static void the_statements_of_the_documentation_run(void **state)
{
    static const char opening[] = "```sql\n", response[] = "\n\n```text\n";
    char *text = read_whole_file("docs/reporting.md");
    int statements = 0, responses = 0;

    fill_with_sample();
    for (char *block = strstr(text, opening); block != NULL; block = strstr(block, opening)) {
        char *sql = block + strlen(opening), *end = strstr(sql, "\n```");
        PGresult *result;

        assert_non_null(end);
        *end = '\0';
        result = run(sql);
        statements++;
        block = end + strlen("\n```");
        if (strncmp(block, response, strlen(response)) == 0) {
            if (PQntuples(result) == 0 || !has_columns(result, block + strlen(response))) {
                fail_msg("the documentation shows another result of: %s", sql);
            }
            responses++;
        }
        PQclear(result);
    }
    free(text);
    assert_true(statements >= 12);
    assert_true(responses >= 11);
}

/* What Grafana puts in place of its macros and of the dashboard's variables. */
struct replacement {
    const char *macro, *text;
};

/* Puts the last year for Grafana's $__timeFrom() and $__timeTo(), which it replaces by quoted times in UTC,
 * and the quoted values for its variables. */
static void expand_macros(const char *sql, const char *services, const char *priorities,
                          char expanded[SQL_MAX])
{
    static const char quoted[] =
        "SELECT quote_literal(to_char((%s) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'))";
    char from[64], to[64], query[160];
    const struct replacement replacements[] = {{"$__timeFrom()", from},
                                               {"$__timeTo()", to},
                                               {"${service:sqlstring}", services},
                                               {"${priority:sqlstring}", priorities}};
    enum { REPLACEMENTS = sizeof replacements / sizeof replacements[0] };
    size_t len = 0;

    snprintf(query, sizeof query, quoted, "now() - interval '1 year'");
    snprintf(from, sizeof from, "%s", stack_query(&stack, query));
    snprintf(query, sizeof query, quoted, "now()");
    snprintf(to, sizeof to, "%s", stack_query(&stack, query));
    while (*sql != '\0') {
        size_t n = 0;

        while (n < REPLACEMENTS && strncmp(sql, replacements[n].macro, strlen(replacements[n].macro)) != 0) {
            n++;
        }
        if (n < REPLACEMENTS) {
            len += (size_t)snprintf(expanded + len, SQL_MAX - len, "%s", replacements[n].text);
            sql += strlen(replacements[n].macro);
        } else {
            expanded[len++] = *sql++;
        }
        assert_true(len < SQL_MAX - 1);
    }
    expanded[len] = '\0';
    assert_null(strchr(expanded, '$')); /* no other macro */
}

static struct json_object *member(struct json_object *object, const char *name)
{
    struct json_object *value;

    if (!json_object_object_get_ex(object, name, &value)) {
        fail_msg("there is no %s in %s", name, json_object_to_json_string(object));
    }
    return value;
}

/* As Grafana's session, which knows nothing of our settings. */
static struct json_object *open_dashboard(void)
{
    struct json_object *dashboard = json_object_from_file("grafana/incidents.json");

    assert_non_null(dashboard);
    fill_with_sample();
    PQclear(run("SET search_path = public; SET TimeZone = 'Asia/Tokyo'"));
    return dashboard;
}

static void close_dashboard(struct json_object *dashboard)
{
    json_object_put(dashboard);
    PQclear(run("SET search_path = reporting; RESET TimeZone"));
}

/* With "All", whose custom value Grafana puts there as it is. */
static void the_queries_of_the_dashboard_run(void **state)
{
    struct json_object *dashboard = open_dashboard(), *panels = member(dashboard, "panels");

    assert_true(json_object_array_length(panels) >= 6);
    for (size_t panel = 0; panel < json_object_array_length(panels); panel++) {
        struct json_object *targets = member(json_object_array_get_idx(panels, panel), "targets");

        for (size_t target = 0; target < json_object_array_length(targets); target++) {
            struct json_object *query = json_object_array_get_idx(targets, target);
            char sql[SQL_MAX];
            PGresult *result;

            expand_macros(json_object_get_string(member(query, "rawSql")), "''", "''", sql);
            result = run(sql);
            if (PQntuples(result) == 0 || PQgetisnull(result, 0, 0)) {
                fail_msg("nothing came of %s", sql);
            }
            if (strcmp(json_object_get_string(member(query, "format")), "time_series") == 0) {
                assert_string_equal(PQfname(result, 0), "time");
            }
            PQclear(result);
        }
    }
    close_dashboard(dashboard);
}

/* The first panel of that title, of one query. */
static PGresult *run_panel(struct json_object *dashboard, const char *title, const char *services,
                           const char *priorities)
{
    struct json_object *panels = member(dashboard, "panels");

    for (size_t i = 0; i < json_object_array_length(panels); i++) {
        struct json_object *panel = json_object_array_get_idx(panels, i);

        if (strcmp(json_object_get_string(member(panel, "title")), title) == 0) {
            struct json_object *target = json_object_array_get_idx(member(panel, "targets"), 0);
            char sql[SQL_MAX];

            expand_macros(json_object_get_string(member(target, "rawSql")), services, priorities, sql);
            return run(sql);
        }
    }
    fail_msg("there is no panel %s", title);
    return NULL;
}

static void expect_number(struct json_object *dashboard, const char *title, const char *services,
                          const char *priorities, const char *counted_sql)
{
    PGresult *result = run_panel(dashboard, title, services, priorities);
    const char *expected = stack_query(&stack, counted_sql);

    if (PQntuples(result) != 1 || strcmp(PQgetvalue(result, 0, 0), expected) != 0) {
        fail_msg("%s of %s, %s is %s, not %s", title, services, priorities, PQgetvalue(result, 0, 0),
                 expected);
    }
    PQclear(result);
}

/* INC-2001 and those that follow are suspicious. */
#define OF_LAST_YEAR                                                                                         \
    "SELECT count(*) FROM intake.incident WHERE started_at >= now() - interval '1 year' AND started_at < "   \
    "now() AND reference_id < 'INC-2'"

static void the_dashboard_can_be_of_some_services_and_priorities(void **state)
{
    struct json_object *dashboard = open_dashboard(),
                       *variables = member(member(dashboard, "templating"), "list");
    PGresult *result;

    for (size_t i = 0; i < json_object_array_length(variables); i++) {
        struct json_object *variable = json_object_array_get_idx(variables, i);

        if (strcmp(json_object_get_string(member(variable, "type")), "query") == 0) {
            assert_string_equal(json_object_get_string(member(variable, "allValue")), "''");
            result = run(json_object_get_string(member(variable, "query")));
            assert_string_equal(PQfname(result, 0), "__value");
            assert_int_equal(PQntuples(result), 4); /* services of the sample; P1, P2, P3 and none */
            PQclear(result);
        }
    }
    expect_number(dashboard, "Started", "''", "''", OF_LAST_YEAR);
    expect_number(dashboard, "Started", "'checkout'", "''",
                  OF_LAST_YEAR " AND services @> '[[\"checkout\"]]'");
    expect_number(dashboard, "Started", "'checkout','search'", "''",
                  OF_LAST_YEAR " AND (services @> '[[\"checkout\"]]' OR services @> '[[\"search\"]]')");
    expect_number(dashboard, "Started", "''", "'P1','(none)'",
                  OF_LAST_YEAR " AND (priority = 'P1' OR priority IS NULL)");
    expect_number(dashboard, "Started", "'login'", "'P3'",
                  OF_LAST_YEAR " AND priority = 'P3' AND services @> '[[\"login\"]]'");
    expect_number(dashboard, "Open now", "'checkout'", "''",
                  "SELECT count(*) FROM intake.incident WHERE resolved_at IS NULL AND started_at <= now() "
                  "AND services @> '[[\"checkout\"]]'");
    result = run_panel(dashboard, "By service", "'search'", "''");
    assert_int_equal(PQntuples(result), 1);
    assert_string_equal(PQgetvalue(result, 0, 0), "Search");
    PQclear(result);
    result = run_panel(dashboard, "Incidents by week", "'no such service'", "''");
    assert_true(PQntuples(result) >= 51);
    for (int row = 0; row < PQntuples(result); row++) {
        assert_string_equal(PQgetvalue(result, row, 1), "0");
        assert_string_equal(PQgetvalue(result, row, 2), "0");
    }
    PQclear(result);
    close_dashboard(dashboard);
}

/* As the report does. An incident has several reasons to be suspicious, and is one. */
static void the_dashboard_counts_an_incident_once_and_tells_services_of_one_name_apart(void **state)
{
    struct json_object *dashboard = open_dashboard();
    PGresult *result;
    int none = 0;

    stack_query(&stack,
                "INSERT INTO intake.incident (reference_id, started_at, resolved_at, services, priority, "
                "created_at, updated_at) VALUES ('INC-3001', '1970-01-01', '1970-01-01', NULL, NULL, now(), "
                "now()), ('twin-1', now() - interval '2 hours', NULL, '[[\"shop\", \"Shop\"]]', '', now(), "
                "now()), ('twin-2', now() - interval '3 hours', NULL, '[[\"shop2\", \"Shop\"]]', NULL, "
                "now(), now())");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) > 1 FROM reporting.suspicious WHERE source_id = 'INC-3001'"),
        "t");
    expect_number(dashboard, "Suspicious", "''", "''", "SELECT count(DISTINCT id) FROM reporting.suspicious");
    result = run_panel(dashboard, "By service", "'shop','shop2'", "''");
    assert_int_equal(PQntuples(result), 2);
    assert_int_equal(strncmp(PQgetvalue(result, 0, 0), "Shop (shop", 10), 0);
    assert_int_equal(strncmp(PQgetvalue(result, 1, 0), "Shop (shop", 10), 0);
    assert_string_not_equal(PQgetvalue(result, 0, 0), PQgetvalue(result, 1, 0));
    PQclear(result);
    result = run_panel(dashboard, "By priority", "''", "''");
    for (int row = 0; row < PQntuples(result); row++) {
        none += strcmp(PQgetvalue(result, row, 0), "(none)") == 0;
    }
    assert_int_equal(none, 1);
    PQclear(result);
    close_dashboard(dashboard);
}

static void connect_analyst(void)
{
    char url[STACK_PATH_MAX];

    stack_query(&stack, "CREATE ROLE analyst LOGIN IN ROLE incidents_reader");
    snprintf(url, sizeof url,
             "postgresql:///incidents?host=%s&user=analyst&options=-csearch_path%%3Dreporting"
             "%%20-cTimeZone%%3DUTC",
             stack.directory);
    analyst = PQconnectdb(url);
    assert_int_equal(PQstatus(analyst), CONNECTION_OK);
}

static void disconnect_analyst(void)
{
    PQfinish(analyst);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_MIGRATED, .start = connect_analyst, .stop = disconnect_analyst};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_view_and_column_has_a_comment),
        cmocka_unit_test(the_shapes_are_those_of_dx),
        cmocka_unit_test(sql_for_dx_runs_unchanged),
        cmocka_unit_test(nothing_stored_gives_no_rows_and_no_error),
        cmocka_unit_test(ids_outlive_updates),
        cmocka_unit_test(the_history_shows_incidents_as_json),
        cmocka_unit_test(metadata_is_flattened),
        cmocka_unit_test(keys_that_flatten_to_the_same_both_stay),
        cmocka_unit_test(names_may_hold_anything),
        cmocka_unit_test(times_to_resolve_are_right),
        cmocka_unit_test(periods_without_incidents_have_rows_of_zero),
        cmocka_unit_test(periods_follow_the_setting_and_not_the_session),
        cmocka_unit_test(open_incidents_have_an_age),
        cmocka_unit_test(minutes_of_overlapping_incidents_count_once),
        cmocka_unit_test(what_cannot_be_right_is_listed_with_its_reason),
        cmocka_unit_test(a_bound_without_a_unit_is_refused),
        cmocka_unit_test(a_clock_that_lost_the_time_makes_no_mean_of_years),
        cmocka_unit_test(an_incident_is_in_the_figures_or_suspicious),
        cmocka_unit_test(a_service_has_the_name_that_it_was_last_sent_with),
        cmocka_unit_test(names_of_the_same_moment_go_by_when_they_were_stored),
        cmocka_unit_test(figures_are_right_at_once_and_snapshots_when_taken),
        cmocka_unit_test(the_reader_reads_every_view_and_the_worker_none),
        cmocka_unit_test(what_was_stored_by_hand_breaks_no_view),
        cmocka_unit_test(joins_use_indexes),
        cmocka_unit_test(the_planner_expects_about_as_many_services_as_there_are),
        cmocka_unit_test(resolving_stays_hot),
        cmocka_unit_test(the_statements_of_the_documentation_run),
        cmocka_unit_test(the_queries_of_the_dashboard_run),
        cmocka_unit_test(the_dashboard_can_be_of_some_services_and_priorities),
        cmocka_unit_test(the_dashboard_counts_an_incident_once_and_tells_services_of_one_name_apart),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
