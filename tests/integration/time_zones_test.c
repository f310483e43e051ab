/* Days, weeks and months in every time zone: one rule in all views of schema reporting, and names alone. */
#include "harness/fixture.h"

#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

enum { SQL_MAX = 4096 };

static struct stack stack;

static void check(const char *sql, const char *expected)
{
    const char *found = stack_query(&stack, sql);

    if (strcmp(found, expected) != 0) {
        fail_msg("%s gave\n%s\nnot\n%s", sql, found, expected);
    }
}

static void use_zone(const char *zone)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SET reporting.time_zone = '%s'", zone);
    stack_query(&stack, sql);
}

static void store(const char *id, const char *started_at, const char *resolved_at)
{
    char sql[SQL_MAX];

    snprintf(sql, sizeof sql,
             "INSERT INTO intake.incident (reference_id, priority, started_at, resolved_at, services, "
             "created_at, updated_at) VALUES ('%s', 'P1', %s, %s, '[[\"s\", null]]', now(), now())",
             id, started_at, resolved_at);
    stack_query(&stack, sql);
}

/* Every change of the clocks from 2000 to 2040 in temporary table change: its zone, the instant, how far the
 * clock is ahead of UTC before and after. Looked for in steps of two weeks, in which no zone has changed
 * twice, then by halves. */
static void find_changes(void)
{
    stack_query(
        &stack,
        "CREATE TEMP TABLE change AS WITH RECURSIVE span (zone, low, high, ahead) AS ("
        "SELECT name, at - interval '14 days', at, before FROM (SELECT name, at, "
        "(at AT TIME ZONE name) - (at AT TIME ZONE 'UTC') AS ahead, "
        "lag((at AT TIME ZONE name) - (at AT TIME ZONE 'UTC')) OVER (PARTITION BY name ORDER BY at) AS "
        "before "
        "FROM pg_timezone_names, generate_series(timestamptz '1999-12-29 00:00Z', '2040-01-14', '14 days') "
        "at "
        "WHERE name NOT LIKE 'posix/%' AND name NOT LIKE 'right/%') s WHERE before <> ahead "
        "UNION ALL SELECT zone, CASE WHEN same THEN middle ELSE low END, CASE WHEN same THEN high ELSE "
        "middle "
        "END, ahead FROM (SELECT *, (middle AT TIME ZONE zone) - (middle AT TIME ZONE 'UTC') = ahead AS same "
        "FROM (SELECT *, low + date_trunc('second', (high - low) / 2) AS middle FROM span "
        "WHERE high - low > interval '1 second') h) m) "
        "SELECT zone, high AS at, ahead AS before, (high AT TIME ZONE zone) - (high AT TIME ZONE 'UTC') AS "
        "after FROM span WHERE high - low <= interval '1 second'");
}

static void start(void)
{
    stack_query(&stack, "SET jit = off");
    find_changes();
}

/* Worked out by hand: Azores' clocks go back from 1:00 to 0:00 at 01:00Z, so that the 26th begins at 00:00Z,
 * for it is 0:00 then, and has 25 hours, until 01:00Z of the 27th. */
static void the_hour_that_azores_repeats_after_midnight_is_of_the_new_day(void **state)
{
    use_zone("Atlantic/Azores");
    store("a", "'2025-10-26 00:20Z'", "'2025-10-26 00:50Z'");
    store("b", "'2025-10-25 23:59:59.999999Z'", "'2025-10-26 00:00Z'");
    check("SELECT string_agg(concat_ws(' ', period, starts_at AT TIME ZONE 'UTC', ends_at AT TIME ZONE "
          "'UTC'), ', ' ORDER BY period) FROM reporting.days WHERE period < '2025-10-27'",
          "2025-10-25 2025-10-25 00:00:00 2025-10-26 00:00:00, "
          "2025-10-26 2025-10-26 00:00:00 2025-10-27 01:00:00");
    check("SELECT string_agg(concat_ws(' ', period, opened, resolved), ', ' ORDER BY period) "
          "FROM reporting.opened_and_resolved_by_day WHERE opened + resolved > 0",
          "2025-10-25 1 0, 2025-10-26 1 2");
    check("SELECT string_agg(concat_ws(' ', period, starts_at AT TIME ZONE 'UTC', incidents, mean_seconds), "
          "', ' ORDER BY period) FROM reporting.time_to_resolve_by_priority_and_day",
          "2025-10-25 2025-10-25 00:00:00 1 1e-06, 2025-10-26 2025-10-26 00:00:00 1 1800");
    check("SELECT string_agg(concat_ws(' ', period, incidents), ', ' ORDER BY period) "
          "FROM reporting.time_to_resolve_by_service_and_day",
          "2025-10-25 1, 2025-10-26 1");
    check("SELECT string_agg(concat_ws(' ', period, incidents), ', ' ORDER BY period) "
          "FROM reporting.time_to_resolve_by_day WHERE incidents > 0",
          "2025-10-25 1, 2025-10-26 1");
}

/* A date that clocks have passed over is no day; Samoa had no 30th of December in 2011. */
static void a_day_that_never_was_has_no_row(void **state)
{
    use_zone("Pacific/Apia");
    store("a", "'2011-12-30 09:59:59Z'", "'2011-12-30 10:00Z'"); /* 23:59:59 of the 29th, 0:00 of the 31st */
    check("SELECT string_agg(concat_ws(' ', period, opened, resolved), ', ' ORDER BY period) "
          "FROM reporting.opened_and_resolved_by_day WHERE period < '2012-01-02'",
          "2011-12-29 1 0, 2011-12-31 0 1, 2012-01-01 0 0");
}

/* A day begins at the first instant of its date, and days are told from one another by that alone. */
static void days_begin_at_their_first_midnight_around_every_change_of_every_zone(void **state)
{
    check("SELECT count(*) > 15000 AND count(DISTINCT zone) > 250 FROM change", "t");
    stack_query(
        &stack,
        "CREATE TEMP TABLE midnight AS SELECT c.*, local, reporting.first_instant(local, zone) AS instant "
        "FROM change c, LATERAL (SELECT date_trunc('day', at AT TIME ZONE 'UTC' + before) AS day) d, "
        "generate_series(day - interval '1 day', day + interval '2 days', interval '1 day') local");
    /* Clocks show that time or, where they pass over it, a later one, and a moment before an earlier one. */
    check("SELECT string_agg(format('%s %s', zone, local), ', ') FROM midnight WHERE instant AT TIME ZONE "
          "zone < local OR (instant - interval '1 microsecond') AT TIME ZONE zone >= local",
          "");
    /* None shows it sooner: the last moment before a change is the latest that clocks go on to. */
    check("SELECT string_agg(format('%s %s', zone, local), ', ') FROM midnight WHERE instant >= at "
          "AND (at - interval '1 microsecond') AT TIME ZONE zone >= local",
          "");
    check("SELECT string_agg(format('%s %s', zone, local), ', ') FROM (SELECT *, lead(instant) OVER "
          "(PARTITION BY zone, at ORDER BY local) AS next FROM midnight) m WHERE next < instant",
          "");
    /* There are some of which AT TIME ZONE says otherwise. */
    check("SELECT count(DISTINCT zone) > 15 FROM midnight WHERE instant <> local AT TIME ZONE zone", "t");
}

/* The periods of every view, with their numbers of incidents, each against those of the views days, weeks and
 * months by their beginnings and ends. */
static void expect_one_rule(const char *unit)
{
    static const struct {
        const char *view, *incidents;
    } views[] = {{"time_to_resolve_by_", "incidents"},
                 {"time_to_resolve_by_priority_and_", "incidents"},
                 {"time_to_resolve_by_service_and_", "incidents"},
                 {"opened_and_resolved_by_", "opened"}};
    char expected[SQL_MAX * 16], sql[SQL_MAX];

    snprintf(sql, sizeof sql,
             "SELECT string_agg(concat_ws(' ', period, starts_at, n), ', ' ORDER BY period) FROM "
             "(SELECT period, starts_at, count(*) AS n FROM reporting.%ss JOIN "
             "reporting.plausible_incidents i ON i.started_at >= starts_at AND i.started_at < ends_at "
             "GROUP BY 1, 2) p",
             unit);
    snprintf(expected, sizeof expected, "%s", stack_query(&stack, sql));
    assert_true(strlen(expected) > 0 && strlen(expected) < sizeof expected - 1);
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        snprintf(sql, sizeof sql,
                 "SELECT string_agg(concat_ws(' ', period, starts_at, %s), ', ' ORDER BY period) FROM "
                 "reporting.%s%s WHERE %s > 0",
                 views[i].incidents, views[i].view, unit, views[i].incidents);
        check(sql, expected);
    }
    snprintf(sql, sizeof sql,
             "SELECT (SELECT string_agg(concat_ws(' ', period, n), ', ' ORDER BY period) FROM (SELECT "
             "period, count(*) AS n FROM reporting.%ss JOIN reporting.plausible_incidents i ON "
             "i.resolved_at >= starts_at AND i.resolved_at < ends_at GROUP BY 1) p) = (SELECT "
             "string_agg(concat_ws(' ', period, resolved), ', ' ORDER BY period) FROM "
             "reporting.opened_and_resolved_by_%s WHERE resolved > 0)",
             unit, unit);
    check(sql, "t");
}

/* Those where a midnight comes twice, or the date goes back, or a day never was; each with incidents around
 * every change. */
static void all_views_have_one_rule_where_clocks_change_at_midnight(void **state)
{
    static const struct {
        const char *zone, *since;
    } zones[] = {{"Atlantic/Azores", "2024-01-01"},
                 {"America/Havana", "2024-01-01"},
                 {"America/St_Johns", "2010-10-01"},
                 {"Antarctica/Casey", "2020-01-01"}};

    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        char sql[SQL_MAX];

        stack_query(&stack, "TRUNCATE intake.incident");
        use_zone(zones[i].zone);
        snprintf(
            sql, sizeof sql,
            "INSERT INTO intake.incident (reference_id, priority, started_at, resolved_at, services, "
            "created_at, updated_at) SELECT row_number() OVER (), 'P', at + around, at + around + interval "
            "'40 minutes', '[[\"s\", null]]', now(), now() FROM change, unnest('{-1:30,-1:00,-0:59,-0:30,"
            "-0:00:00.000001,0:00,0:01,0:30,0:59,1:00,1:30}'::interval[]) around "
            "WHERE zone = '%s' AND at BETWEEN '%s' AND now() - interval '1 day'",
            zones[i].zone, zones[i].since);
        stack_query(&stack, sql);
        stack_query(&stack, "ANALYZE intake.incident");
        expect_one_rule("day");
        expect_one_rule("week");
        expect_one_rule("month");
    }
}

static void only_names_are_time_zones(void **state)
{
    static const char *const good[] = {
        "UTC", "Europe/Berlin", "europe/berlin", "Etc/GMT-2", "America/Port-au-Prince", "EST5EDT", "GMT"};
    static const char *const bad[] = {
        "UTC+2",         "Mars",      "CEST",         "+02:00",
        "<x>-2",         "Foo/Bar+2", "Mars/Olympus", "CET-1CEST,M3.5.0/2,M10.5.0/3",
        "Europe/Berlin "};

    store("a", "'2024-01-01Z'", "NULL");
    stack_query(&stack, "UPDATE intake.incident SET started_at = now() - interval '1 hour'");
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        use_zone(good[i]);
        check("SELECT count(*) > 0 FROM reporting.days", "t");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        PGresult *result;

        use_zone(bad[i]);
        result = PQexec(stack.owner, "SELECT count(*) FROM reporting.days");
        if (PQresultStatus(result) != PGRES_FATAL_ERROR) {
            fail_msg("%s is taken for a time zone", bad[i]);
        }
        assert_string_equal(PQresultErrorField(result, PG_DIAG_SQLSTATE), "22023");
        if (strcmp(bad[i], "UTC+2") == 0) {
            assert_non_null(strstr(PQresultErrorField(result, PG_DIAG_MESSAGE_HINT), "Etc/GMT-2"));
        }
        PQclear(result);
    }
}

static void clean(void)
{
    stack_query(&stack, "RESET reporting.time_zone");
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_MIGRATED, .start = start, .clean = clean};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(the_hour_that_azores_repeats_after_midnight_is_of_the_new_day),
        cmocka_unit_test(a_day_that_never_was_has_no_row),
        cmocka_unit_test(days_begin_at_their_first_midnight_around_every_change_of_every_zone),
        cmocka_unit_test(all_views_have_one_rule_where_clocks_change_at_midnight),
        cmocka_unit_test(only_names_are_time_zones),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
