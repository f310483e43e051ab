/* incidentctl report: of which incidents it is, its changes against the time before, its lists and its tables
 * as CSV, by data whose figures were worked out by hand. */
#include "harness/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/page.h"

enum { SQL_MAX = 2048 };

static struct stack stack;

/* Times are SQL; services are a JSON array of pairs; cause may be NULL. */
static void store(const char *id, const char *priority, const char *started_at, const char *resolved_at,
                  const char *services, const char *cause)
{
    char sql[SQL_MAX];

    snprintf(
        sql, sizeof sql,
        "INSERT INTO intake.incident (reference_id, name, priority, source_url, started_at, resolved_at, "
        "services, metadata, created_at, updated_at) VALUES ('%s', 'Name of %s', %s%s%s, "
        "'https://x.example/%s', %s, %s, '%s', CASE WHEN '%s' <> '' THEN jsonb_build_object('cause', "
        "jsonb_build_object('kind', '%s')) END, now(), now())",
        id, id, priority == NULL ? "" : "'", priority == NULL ? "NULL" : priority,
        priority == NULL ? "" : "'", id, started_at, resolved_at == NULL ? "NULL" : resolved_at,
        services == NULL ? "[]" : services, cause == NULL ? "" : cause, cause == NULL ? "" : cause);
    stack_query(&stack, sql);
}

#define CHECKOUT "[[\"checkout\", \"Checkout\"]]"
#define BOTH     "[[\"search\", null], [\"checkout\", \"Checkout\"]]"

static const char *report(const char *option, const char *value, const char *more, const char *its)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "report", option, value, more, its, NULL);

    assert_string_equal(outcome->err, "");
    assert_int_equal(outcome->status, 0);
    return outcome->out;
}

static void expect_csv(const char *table, const char *more, const char *its, const char *expected)
{
    const char *found = report("--csv", table, more, its);

    if (strcmp(found, expected) != 0) {
        fail_msg("--csv %s gave\n%snot\n%s", table, found, expected);
    }
}

/* A figure of the table that comes first, of the last 90 days: 2, before: 3, change: 4 (without --since). */
static void expect_figure(int row, int column, const char *expected)
{
    char xpath[128];

    snprintf(xpath, sizeof xpath, "string(//main/div[1]//tbody/tr[%d]/td[%d])", row, column);
    page_expect(xpath, expected);
}

/* Of noon on Wednesday of the last week, so that no change of the clocks and no weekend is near. */
#define WEDNESDAY(days)                                                                                      \
    "date_trunc('week', now()) - interval '4 days' - interval '12 hours' - interval '" days " days'"

static void each_key_figure_has_its_change_against_the_time_before(void **state)
{
    /* Of the last 90 days: 3, resolved in 60 and 120 min; of the 90 before: 2, in 60 min each. */
    store("a", "P1", "now() - interval '10 days'", "now() - interval '10 days' + interval '60 minutes'", NULL,
          NULL);
    store("b", "P1", "now() - interval '20 days'", "now() - interval '20 days' + interval '120 minutes'",
          NULL, NULL);
    store("c", "P1", "now() - interval '35 days'", NULL, NULL, NULL);
    store("d", "P1", "now() - interval '100 days'", "now() - interval '100 days' + interval '60 minutes'",
          NULL, NULL);
    store("e", "P1", "now() - interval '110 days'", "now() - interval '110 days' + interval '60 minutes'",
          NULL, NULL);
    /* Open when these 90 days began; too long ago to have started in the 90 before; and tomorrow's end. */
    store("f", "P1", "now() - interval '130 days'", "now() - interval '60 days'", NULL, NULL);
    store("g", "P1", "now() - interval '190 days'", "now() - interval '189 days'", NULL, NULL);
    store("h", "P1", "now() - interval '1 day'", "now() + interval '1 day'", NULL, NULL);
    page_make(&stack, NULL);
    expect_figure(1, 1, "7");
    expect_figure(1, 2, "3");
    expect_figure(1, 3, "3");
    expect_figure(1, 4, "0 %");
    expect_figure(2, 1, "6"); /* resolved by now: tomorrow's is not, and is suspicious */
    expect_figure(2, 2, "2");
    expect_figure(2, 3, "3");
    expect_figure(2, 4, "–"); /* those of the time before have had more time */
    page_expect("string(//main/div[1]//tbody/tr[2]/th)", "Resolved of these, by now");
    page_expect("contains(//main/p[1], 'incidents that started in it: 3')", "true");
    expect_figure(3, 2, "1");
    expect_figure(3, 3, "1"); /* f */
    expect_figure(4, 2, "90 min");
    expect_figure(5, 2, "90 min");
    expect_figure(5, 3, "60 min"); /* 60, 60 and 70 days */
    expect_figure(5, 4, "+50 %");
    page_expect("string(//dl/div[1]/dd[1])", "1");
    page_expect("string(//dl/div[5]/dd[1])", "1");
    assert_null(strstr(page, "3 months"));
    page_make(&stack, "--since", "15d", NULL);
    expect_figure(1, 1, "1");
    expect_figure(1, 2, "1");     /* b: the 15 days before */
    expect_figure(5, 3, "-50 %"); /* 60 min, 120 before */
    assert_null(strstr(page, "months ago"));
    assert_null(strstr(page, "ast 3 months"));
    assert_null(strstr(page, "90 days</th>"));
    assert_null(strstr(report(NULL, NULL, NULL, NULL), "3 months"));
    assert_non_null(strstr(report("--since", "15d", NULL, NULL), "since then      before"));
}

/* What has been open for too long by now, or was in the end, was plausible then. */
static void what_was_open_then_is_judged_by_the_rule_of_that_day(void **state)
{
    store("first", NULL, "now() - interval '300 days'", "now() - interval '299 days'", NULL, NULL);
    store("long", "P1", "now() - interval '100 days'", NULL, CHECKOUT, NULL);
    store("lasted", "P2", "now() - interval '170 days'", "now() - interval '10 days'", NULL, NULL);
    store("too long then", NULL, "now() - interval '181 days'", NULL, NULL, NULL);
    store("over", NULL, "now() - interval '100 days'", "now() - interval '95 days'", NULL, NULL);
    store("future", NULL, "now() - interval '100 days'", "now() + interval '1 day'", NULL, NULL);
    store("clock", NULL, "'1970-01-01Z'", NULL, NULL, NULL);
    store("now", NULL, "now() - interval '20 days'", NULL, NULL, NULL);
    page_make(&stack, NULL);
    expect_figure(3, 1, "1");
    expect_figure(3, 2, "1");
    expect_figure(3, 3, "2");
    page_make(&stack, "--since", "30d", NULL);
    expect_figure(3, 2, "1"); /* long */
    page_make(&stack, "--service", "Checkout", "--priority", "P1", NULL);
    expect_figure(3, 3, "1");
}

/* A resolution counts in its week, whenever its incident started. */
static void weeks_since_then_have_all_their_resolutions(void **state)
{
    store("before", "P1", WEDNESDAY("30"), WEDNESDAY("0"), NULL, NULL);
    store("other", "P2", WEDNESDAY("31"), WEDNESDAY("0"), NULL, NULL);
    store("in it", "P1", WEDNESDAY("1"), WEDNESDAY("0"), NULL, NULL);
    store("over", "P1", WEDNESDAY("30"), WEDNESDAY("28"), NULL, NULL);
    page_make(&stack, "--since", "20d", NULL);
    page_expect("sum(//section[@aria-labelledby='weeks']//tbody/tr/td[1]/data/@value)", "1");
    page_expect("sum(//section[@aria-labelledby='weeks']//tbody/tr/td[2]/data/@value)", "3");
    page_expect("string(//dl/div[2]/dd[1])", "1");
    assert_non_null(strstr(report("--csv", "weeks", "--since", "20d"), ",1,3,t\r\n"));
    page_make(&stack, "--since", "20d", "--priority", "P1", NULL);
    page_expect("sum(//section[@aria-labelledby='weeks']//tbody/tr/td[2]/data/@value)", "2");
}

/* 17 min 40 s and 18 min 20 s are both 18 min, and no change; 17 min 29 s are 17. */
static void changes_agree_with_the_figures_as_shown(void **state)
{
    store("a", NULL, "now() - interval '10 days'", "now() - interval '10 days' + interval '1060 s'", NULL,
          NULL);
    store("b", NULL, "now() - interval '100 days'", "now() - interval '100 days' + interval '1100 s'", NULL,
          NULL);
    store("first", NULL, "now() - interval '190 days'", "now() - interval '189 days'", NULL, NULL);
    page_make(&stack, NULL);
    expect_figure(5, 2, "18 min");
    expect_figure(5, 3, "18 min");
    expect_figure(5, 4, "0 %");
    stack_query(&stack, "UPDATE intake.incident SET resolved_at = started_at + interval '1049 s' "
                        "WHERE reference_id = 'a'");
    page_make(&stack, NULL);
    expect_figure(5, 2, "17 min");
    expect_figure(5, 4, "-6 %");
}

/* What began before the first incident cannot be compared with. */
static void a_change_needs_a_whole_time_before(void **state)
{
    store("a", NULL, "now() - interval '10 days'", "now() - interval '9 days'", NULL, NULL);
    store("b", NULL, "now() - interval '170 days'", "now() - interval '169 days'", NULL, NULL);
    page_make(&stack, NULL);
    expect_figure(1, 3, "1");
    expect_figure(1, 4, "–");
    page_expect("contains(//main/p[1], 'it is not whole')", "true");
    assert_non_null(strstr(report(NULL, NULL, NULL, NULL), "No change is shown"));
    store("c", NULL, "now() - interval '190 days'", "now() - interval '189 days'", NULL, NULL);
    page_make(&stack, NULL);
    expect_figure(1, 4, "0 %");
    page_expect("contains(//main/p[1], 'whole')", "false");
    assert_null(strstr(report(NULL, NULL, NULL, NULL), "No change is shown"));
}

/* Summer time has begun in these 90 days, or in those before, by a client's time zone, which has no say. */
static void spans_are_as_long_in_every_time_zone_of_clients(void **state)
{
    static const char *const days[] = {"45", "135"};
    char sql[256], zone[64] = "UTC";

    store("in", NULL, "now() - interval '2159.5 hours'", "now() - interval '1 day'", NULL, NULL);
    store("out", NULL, "now() - interval '2160.5 hours'", "now() - interval '1000 hours'", NULL, NULL);
    store("before", NULL, "now() - interval '4319.5 hours'", "now() - interval '2159.75 hours'", NULL, NULL);
    store("first", NULL, "now() - interval '4320.5 hours'", "now() - interval '4000 hours'", NULL, NULL);
    for (size_t i = 0; i <= sizeof days / sizeof days[0]; i++) {
        if (i > 0) {
            snprintf(sql, sizeof sql,
                     "SELECT format('AAA0BBB,J%%s,J%%s', least(extract(doy FROM now() - interval '%s days'), "
                     "365), least(extract(doy FROM now() + interval '45 days'), 365))",
                     days[i - 1]);
            snprintf(zone, sizeof zone, "%s", stack_query(&stack, sql));
        }
        setenv("PGTZ", zone, 1);
        page_make(&stack, NULL);
        expect_figure(1, 2, "1");
        expect_figure(1, 3, "2");
        expect_figure(3, 3, "2"); /* "out" and "before" were open then */
        page_make(&stack, "--since", "90d", NULL);
        expect_figure(1, 2, "2");
    }
    unsetenv("PGTZ");
}

/* Monday 8:00 and 17:59 are in hours; 7:59, 18:00 and a Saturday's noon are not: 3 of 5. */
static void out_of_hours_is_a_share_of_what_started(void **state)
{
    static const char *const times[] = {"0 8:00", "0 17:59:59", "0 7:59:59", "0 18:00", "5 12:00"};

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        char id[8], at[256], to[300];

        snprintf(id, sizeof id, "%zu", i);
        snprintf(
            at, sizeof at,
            "(date_trunc('week', now() AT TIME ZONE 'Europe/Berlin') - interval '7 days' + interval '%s') "
            "AT TIME ZONE 'Europe/Berlin'",
            times[i]);
        snprintf(to, sizeof to, "%s + interval '1 minute'", at);
        store(id, NULL, at, to, NULL, NULL);
    }
    page_make(&stack, "--time-zone", "Europe/Berlin", NULL);
    expect_figure(7, 2, "60 %");
    assert_non_null(
        strstr(report("--time-zone", "Europe/Berlin", NULL, NULL), "  out of hours          60 %"));
    page_expect("string(//dl/div[4]/dd[1])", "60 %");
}

static void open_incidents_come_by_priority_and_then_by_age(void **state)
{
    store("young", "P1", "now() - interval '1 hour'", NULL, BOTH, NULL);
    store("old", "P1", "now() - interval '2 hours'", NULL, NULL, NULL);
    store("oldest", "P2", "now() - interval '3 days'", NULL, NULL, NULL);
    store("none", NULL, "now() - interval '4 days'", NULL, NULL, NULL);
    store("forgotten", "P1", "now() - interval '91 days'", NULL, CHECKOUT, NULL);
    page_make(&stack, NULL);
    page_expect("concat(//section[@aria-labelledby='open']//tbody/tr[1]//a, ', ', "
                "//section[@aria-labelledby='open']//tbody/tr[2]//a, ', ', "
                "//section[@aria-labelledby='open']//tbody/tr[3]//a, ', ', "
                "//section[@aria-labelledby='open']//tbody/tr[4]//a)",
                "Name of old, Name of young, Name of oldest, Name of none");
    page_expect("count(//section[@aria-labelledby='open']//tbody/tr)", "4");
    page_expect("string(//section[@aria-labelledby='open']//tbody/tr[2]//div/bdi[2])", "search, Checkout");
    /* The forgotten one is among the suspicious, with its link and the reason. */
    page_expect("string(//section[@aria-labelledby='suspicious']//a/@href)", "https://x.example/forgotten");
    page_expect("substring(//section[@aria-labelledby='suspicious']/table//td[2], 1, 26)",
                "open for more than 90 days");
    page_expect("concat(//section[@aria-labelledby='longest']//tbody/tr[1]//a, ', ', "
                "//section[@aria-labelledby='longest']//tbody/tr[2]//a)",
                "Name of none, Name of oldest");
}

static void causes_are_counted(void **state)
{
    store("a", NULL, WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", NULL, "deploy");
    store("b", NULL, WEDNESDAY("1"), WEDNESDAY("1") " + interval '20 minutes'", NULL, "deploy");
    store("c", NULL, "now() - interval '1 hour'", NULL, NULL, "load");
    store("d", NULL, "'1970-01-01Z'", "now() - interval '1 hour'", NULL, "clock");
    expect_csv("causes", NULL, NULL,
               "cause,incidents,open,resolved,mean_seconds\r\ndeploy,2,0,2,900\r\nload,1,1,0,\r\n");
    page_make(&stack, NULL);
    page_expect("string(//section[@aria-labelledby='causes']//tbody/tr[1]/td[4])", "15 min");
}

static void a_report_can_be_of_a_service_or_a_priority(void **state)
{
    store("a", "P1", WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", BOTH, "deploy");
    store("b", "P2", WEDNESDAY("1"), WEDNESDAY("1") " + interval '20 minutes'", CHECKOUT, "deploy");
    store("c", "P1", "now() - interval '1 hour'", NULL, CHECKOUT, NULL);
    store("d", "P1", "now() - interval '2 hours'", NULL, "[[\"search\", null]]", NULL);
    store("e", "P1", "now() + interval '2 hours'", NULL, CHECKOUT, NULL);
    page_make(&stack, "--service", "Checkout", "--title", "Money <team>", NULL);
    page_expect("string(//h1)", "Money <team>");
    page_expect("string(//dl/div[2]/dd[1])", "3");
    page_expect("string(//dl/div[1]/dd[1])", "1");
    page_expect("count(//section[@aria-labelledby='open']//tbody/tr)", "1");
    page_expect("count(//section[@aria-labelledby='services']//tbody/tr)", "1");
    page_expect("string(//section[@aria-labelledby='services']//tbody/tr/td[1])", "3");
    page_expect("sum(//section[@aria-labelledby='weeks']//tbody/tr/td[1]/data/@value)", "3");
    page_expect("string(//dl/div[5]/dd[1])", "1");
    page_expect("contains(//header, 'Of the service Checkout alone')", "true");
    page_make(&stack, "--service", "checkout", "--priority", "P2", NULL);
    page_expect("contains(//header, 'Of the service Checkout (checkout) alone')", "true");
    page_expect("string(//dl/div[2]/dd[1])", "1");
    page_expect("string(//dl/div[1]/dd[1])", "0");
    page_expect("count(//section[@aria-labelledby='suspicious']//tbody/tr)", "0");
    expect_csv("priorities", "--service", "search",
               "priority,incidents,open,resolved,mean_seconds,median_seconds,p90_seconds\r\n"
               "P1,2,1,1,600,600,600\r\n");
}

/* The page and the terminal show both as (none); CSV tells them apart. */
static void an_empty_priority_is_none(void **state)
{
    store("a", "", WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", NULL, NULL);
    store("b", NULL, WEDNESDAY("1"), WEDNESDAY("1") " + interval '30 minutes'", NULL, NULL);
    store("c", "P1", "now() - interval '1 hour'", NULL, NULL, NULL);
    store("d", "", "now() - interval '2 hours'", NULL, NULL, NULL);
    page_make(&stack, NULL);
    page_expect("count(//section[@aria-labelledby='priorities']//tbody/tr)", "2");
    page_expect("string(//section[@aria-labelledby='priorities']//tbody/tr[2]/th)", "(none)");
    page_expect("string(//section[@aria-labelledby='priorities']//tbody/tr[2]/td[1])", "3");
    page_expect("string(//section[@aria-labelledby='priorities']//tbody/tr[2]/td[5])", "20 min");
    page_expect("string(//section[@aria-labelledby='open']//tbody/tr[2]//a)", "Name of d");
    page_expect("string(//section[@aria-labelledby='open']//tbody/tr[2]/td[1])", "–");
    assert_non_null(strstr(report(NULL, NULL, NULL, NULL), "  (none)           3        20 min"));
    assert_non_null(strstr(report("--csv", "priorities", NULL, NULL),
                           "\r\n\"\",2,1,1,600,600,600\r\nP1,1,1,0,,,\r\n,1,0,1,1800,1800,1800\r\n"));
    page_make(&stack, "--priority", "", NULL);
    page_expect("string(//dl/div[2]/dd[1])", "3");
    page_expect("contains(//header, 'Of the priority (none) alone')", "true");
}

static void every_table_comes_as_csv(void **state)
{
    store("a,\"1\"", "P1", WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", BOTH, NULL);
    expect_csv(
        "services", NULL, NULL,
        "service,incidents,open,minutes,resolved,mean_seconds,median_seconds,p90_seconds,identifier\r\n"
        "Checkout,1,0,10,1,600,600,600,checkout\r\nsearch,1,0,10,1,600,600,600,search\r\n");
    expect_csv("figures", NULL, NULL,
               "span,incidents,resolved,mean_seconds,median_seconds,p90_seconds,out_of_hours,open_at_end,is_"
               "whole\r\n"
               "all,1,1,600,600,600,,0,t\r\nrecent,1,1,600,600,600,0,0,f\r\nbefore,0,0,,,,0,0,f\r\n");
}

static const char *const all_tables[] = {"weeks",      "months",     "longest", "open",
                                         "suspicious", "priorities", "causes",  "reasons"};

static void tables_of_nothing_have_their_names(void **state)
{
    for (size_t i = 0; i < sizeof all_tables / sizeof all_tables[0]; i++) {
        const char *found = report("--csv", all_tables[i], NULL, NULL);

        assert_ptr_equal(strstr(found, "\r\n") + 2, found + strlen(found));
        assert_non_null(strchr(found, ','));
    }
}

/* The page and the terminal cut it, and say so. */
static void long_texts_are_whole_in_csv(void **state)
{
    char longest[301], priority[81], expected[1024];

    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    memset(priority, 'p', sizeof priority - 1);
    priority[sizeof priority - 1] = '\0';
    store(longest, priority, "now() - interval '1 hour'", NULL, NULL, priority);
    snprintf(expected, sizeof expected, "\r\n%s,Name of %s,%s,", longest, longest, priority);
    assert_non_null(strstr(report("--csv", "open", NULL, NULL), expected));
    snprintf(expected, sizeof expected, "\r\n%s,1,", priority);
    assert_non_null(strstr(report("--csv", "priorities", NULL, NULL), expected));
    assert_non_null(strstr(report("--csv", "causes", NULL, NULL), expected));
    page_make(&stack, NULL);
    page_expect("string-length(//section[@aria-labelledby='open']//tbody/tr/th/bdi | "
                "//section[@aria-labelledby='open']//tbody/tr/th/a)",
                "201");
    setenv("LC_ALL", "C.UTF-8", 1);
    assert_non_null(strstr(report(NULL, NULL, NULL, NULL), "  ppppppp…  nnnn"));
    unsetenv("LC_ALL");
}

static void services_of_one_name_are_told_apart(void **state)
{
    store("a", NULL, WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", CHECKOUT, NULL);
    store("b", NULL, WEDNESDAY("1"), WEDNESDAY("1") " + interval '20 minutes'", "[[\"P1\", \"Checkout\"]]",
          NULL);
    store("c", NULL, WEDNESDAY("2"), WEDNESDAY("2") " + interval '5 minutes'", "[[\"s\", \"Search\"]]", NULL);
    page_make(&stack, NULL);
    page_expect("concat(//section[@aria-labelledby='services']//tbody/tr[1]/th, ', ', "
                "//section[@aria-labelledby='services']//tbody/tr[2]/th, ', ', "
                "//section[@aria-labelledby='services']//tbody/tr[3]/th)",
                "Checkout (P1), Checkout (checkout), Search");
}

static void an_incident_that_is_open_says_so_among_the_longest(void **state)
{
    store("open", NULL, "now() - interval '3 days'", NULL, NULL, NULL);
    store("done", NULL, "now() - interval '3 days'", "now() - interval '1 day'", NULL, NULL);
    page_make(&stack, NULL);
    page_expect("concat(//section[@aria-labelledby='longest']//tbody/tr[1]/td[2]/div[2], ', ', "
                "count(//section[@aria-labelledby='longest']//tbody/tr[2]/td[2]/div))",
                "still open, 1");
}

static void times_of_nothing_are_no_charts(void **state)
{
    store("open", "P2", "now() - interval '3 days'", NULL, NULL, NULL);
    page_make(&stack, NULL);
    page_expect("count(//section[@aria-labelledby='months']//*[local-name()='svg'])", "0");
    page_expect("contains(//section[@aria-labelledby='months'], 'No incident that started')", "true");
    assert_non_null(strstr(report(NULL, NULL, NULL, NULL), "  P2  open"));
    stack_query(&stack, "UPDATE intake.incident SET resolved_at = now()");
    page_make(&stack, NULL);
    page_expect("count(//section[@aria-labelledby='months']/*[local-name()='svg'])", "4");
}

/* Midnight in Berlin is 23:00Z of the day before. The client's time zone has no say. */
static void a_date_is_one_of_the_time_zone(void **state)
{
    static const struct {
        const char *since, *incidents;
    } cases[] = {{"2026-01-01", "2"},        {"2026-01-01T00:00:00.000001", "1"}, {"2026-01-01T00:00Z", "0"},
                 {"2025-12-31T23:00Z", "2"}, {"2026-01-01T00:00+01:00", "2"},     {"20260101", "2"},
                 {"2025-W01-1", "3"}};

    store("before", NULL, "'2025-12-31 22:59:59Z'", "'2026-01-01Z'", NULL, NULL);
    store("at", NULL, "'2025-12-31 23:00Z'", "'2026-01-01Z'", NULL, NULL);
    store("after", NULL, "'2025-12-31 23:59:59Z'", "'2026-01-01Z'", NULL, NULL);
    setenv("PGTZ", "America/St_Johns", 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        page_make(&stack, "--since", cases[i].since, "--time-zone", "Europe/Berlin", NULL);
        page_expect("string(//dl/div[2]/dd[1])", cases[i].incidents);
    }
    unsetenv("PGTZ");
}

static void the_first_and_the_last_period_are_marked_as_not_whole(void **state)
{
    store("a", NULL, "date_trunc('week', now()) - interval '19 days'",
          "date_trunc('week', now()) - interval '18 days'", NULL, NULL); /* a Wednesday */
    page_make(&stack, NULL);
    page_expect("count(//section[@aria-labelledby='weeks']//tbody/tr)", "4");
    page_expect("count(//section[@aria-labelledby='weeks']//tbody/tr/th[span='not whole'])", "2");
    page_expect("count(//section[@aria-labelledby='weeks']//tbody/tr[1 or last()]/th/span)", "2");
    page_expect("count(//section[@aria-labelledby='weeks']//svg[1]/*[@class='part0'])", "1");
    page_expect("count(//section[@aria-labelledby='weeks']//svg[1]/*[@class='part1'])", "2");
    page_make(&stack, "--since", "2000-01-03", NULL); /* a Monday, but nothing was stored then */
    page_expect("count(//section[@aria-labelledby='weeks']//tbody/tr/th[span='not whole'])", "2");
}

/* Two names of eight columns each take as much room. */
static void wide_characters_take_two_columns(void **state)
{
    const char *found, *wide, *narrow;

    store("a", "支払処理", WEDNESDAY("0"), WEDNESDAY("0") " + interval '10 minutes'", NULL, NULL);
    store("b", "abcdefgh", WEDNESDAY("1"), WEDNESDAY("1") " + interval '20 minutes'", NULL, NULL);
    for (int i = 0; i < 2; i++) {
        setenv("LC_ALL", i == 0 ? "C.UTF-8" : "C", 1);
        found = report(NULL, NULL, NULL, NULL);
        wide = strstr(found, "支払処理");
        narrow = strstr(found, "abcdefgh");
        assert_non_null(wide);
        assert_non_null(narrow);
        assert_int_equal(strspn(wide + strlen("支払処理"), " "), strspn(narrow + 8, " "));
    }
    unsetenv("LC_ALL");
}

static void what_no_report_can_be_of_is_refused(void **state)
{
    static const struct {
        const char *option, *value, *names;
        int status;
    } cases[] = {{"--time-zone", "UTC+2", "Etc/GMT-2", 1},
                 {"--time-zone", "CEST", "CEST", 1},
                 {"--time-zone", "Europe/Nowhere", "pg_timezone_names", 1},
                 {"--service", "nowhere", "--service", 1},
                 {"--priority", "P9", "--priority", 1},
                 {"--since", "2999-01-01", "--since", 1},
                 {"--since", "2999-01-01T00:00Z", "--since", 1},
                 {"--csv", "incidents", "suspicious", 2}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome =
            stack_control(&stack, NULL, "report", cases[i].option, cases[i].value, NULL);

        assert_int_equal(outcome->status, cases[i].status);
        assert_non_null(strstr(outcome->err, cases[i].names));
        assert_string_equal(outcome->out, "");
    }
    assert_int_equal(stack_control(&stack, NULL, "report", "--csv", "weeks", "--html", "-", NULL)->status, 2);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(each_key_figure_has_its_change_against_the_time_before),
        cmocka_unit_test(what_was_open_then_is_judged_by_the_rule_of_that_day),
        cmocka_unit_test(weeks_since_then_have_all_their_resolutions),
        cmocka_unit_test(changes_agree_with_the_figures_as_shown),
        cmocka_unit_test(a_change_needs_a_whole_time_before),
        cmocka_unit_test(spans_are_as_long_in_every_time_zone_of_clients),
        cmocka_unit_test(out_of_hours_is_a_share_of_what_started),
        cmocka_unit_test(open_incidents_come_by_priority_and_then_by_age),
        cmocka_unit_test(causes_are_counted),
        cmocka_unit_test(a_report_can_be_of_a_service_or_a_priority),
        cmocka_unit_test(an_empty_priority_is_none),
        cmocka_unit_test(every_table_comes_as_csv),
        cmocka_unit_test(tables_of_nothing_have_their_names),
        cmocka_unit_test(long_texts_are_whole_in_csv),
        cmocka_unit_test(services_of_one_name_are_told_apart),
        cmocka_unit_test(an_incident_that_is_open_says_so_among_the_longest),
        cmocka_unit_test(times_of_nothing_are_no_charts),
        cmocka_unit_test(a_date_is_one_of_the_time_zone),
        cmocka_unit_test(the_first_and_the_last_period_are_marked_as_not_whole),
        cmocka_unit_test(wide_characters_take_two_columns),
        cmocka_unit_test(what_no_report_can_be_of_is_refused),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
