/* incidentctl report: its figures are the views', whatever is stored, and what is stored stays text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fixture.h"
#include "harness/page.h"

enum { VALUES_MAX = 128 };

static struct stack stack;

/* Numbers out of a text that has other things as well: value="1.5" value="2" and 1.5 2 alike. */
static size_t read_numbers(const char *text, double values[VALUES_MAX])
{
    size_t count = 0;

    while (*text != '\0') {
        if (isdigit((unsigned char)*text) || (*text == '-' && isdigit((unsigned char)text[1]))) {
            char *end;

            assert_true(count < VALUES_MAX);
            values[count++] = strtod(text, &end);
            text = end;
        } else {
            text++;
        }
    }
    return count;
}

/* The figures of a column of a section's table are those that the statement gives, parted by spaces. */
static void expect_column(const char *section, int column, const char *sql)
{
    double shown[VALUES_MAX], right[VALUES_MAX];
    char xpath[256];
    size_t count;

    snprintf(xpath, sizeof xpath, "//section[@aria-labelledby='%s']//tbody/tr/td[%d]/data/@value", section,
             column);
    count = read_numbers(page_ask(xpath), shown);
    assert_int_equal(read_numbers(stack_query(&stack, sql), right), count);
    for (size_t i = 0; i < count; i++) {
        if (fabs(shown[i] - right[i]) > 1e-4 * fabs(right[i]) + 1e-9) { /* what is open goes on meanwhile */
            fail_msg("%s, column %d, row %zu: %.15g, not %.15g", section, column, i, shown[i], right[i]);
        }
    }
}

static void expect_columns_of_times(const char *section, int column, const char *view, const char *order)
{
    static const char *const names[] = {"incidents", "mean_seconds", "median_seconds", "p90_seconds"};

    for (int i = 0; i < 4; i++) {
        char sql[512];

        snprintf(sql, sizeof sql, "SELECT string_agg(v.%s::text, ' ' ORDER BY %s) FROM %s v", names[i], order,
                 view);
        expect_column(section, column + i, sql);
    }
}

/* Every table of the page against the views. */
static void expect_the_figures_of_the_views(void)
{
    double shown[VALUES_MAX], right[VALUES_MAX];
    size_t count = read_numbers(
        page_ask(
            "//main/div[1]//tbody/tr[position()=2 or (position()>3 and position()<7)]/td[1]/data/@value"),
        shown);

    assert_int_equal(
        read_numbers(
            stack_query(&stack, "SELECT concat_ws(' ', incidents, mean_seconds, median_seconds, p90_seconds) "
                                "FROM reporting.time_to_resolve"),
            right),
        count);
    for (size_t i = 0; i < count; i++) {
        assert_true(fabs(shown[i] - right[i]) <= 1e-9 * right[i]);
    }
    page_expect("string(//dl/div[1]/dd[1]/data/@value)",
                stack_query(&stack, "SELECT count(*) FROM reporting.open_now"));
    page_expect("string(//dl/div[2]/dd[1]/data/@value)",
                stack_query(&stack, "SELECT count(*) FROM reporting.plausible_incidents"));
    page_expect("string(//dl/div[5]/dd[1]/data/@value)",
                stack_query(&stack, "SELECT count(DISTINCT id) FROM reporting.suspicious"));

#define WEEKS  "(SELECT * FROM reporting.opened_and_resolved_by_week ORDER BY period DESC LIMIT 53)"
#define MONTHS "(SELECT * FROM reporting.time_to_resolve_by_month ORDER BY period DESC LIMIT 24)"
    expect_column("weeks", 1, "SELECT string_agg(opened::text, ' ' ORDER BY period) FROM " WEEKS " v");
    expect_column("weeks", 2, "SELECT string_agg(resolved::text, ' ' ORDER BY period) FROM " WEEKS " v");
    expect_columns_of_times("months", 1, MONTHS, "v.period");

#define SERVICES                                                                                             \
    "(SELECT * FROM reporting.services ORDER BY minutes DESC, incidents DESC, identifier LIMIT 15)"
    expect_column("services", 1,
                  "SELECT string_agg(incidents::text, ' ' ORDER BY minutes DESC) FROM " SERVICES " v");
    expect_column("services", 2,
                  "SELECT string_agg(open::text, ' ' ORDER BY minutes DESC) FROM " SERVICES " v");
    expect_column("services", 3,
                  "SELECT string_agg(minutes::text, ' ' ORDER BY minutes DESC) FROM " SERVICES " v");
    expect_column("services", 5,
                  "SELECT string_agg(t.p90_seconds::text, ' ' ORDER BY v.minutes DESC) FROM " SERVICES
                  " v LEFT JOIN reporting.time_to_resolve_by_service t USING (identifier)");
    expect_columns_of_times(
        "priorities", 3,
        "(SELECT p.priority, coalesce(t.incidents, 0) AS incidents, t.mean_seconds, "
        "t.median_seconds, t.p90_seconds FROM (SELECT priority COLLATE \"C\" AS priority FROM "
        "reporting.plausible_incidents GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 15) p LEFT JOIN "
        "reporting.time_to_resolve_by_priority t ON t.priority IS NOT DISTINCT FROM p.priority)",
        "v.priority");
    expect_column("suspicious", 1,
                  "SELECT string_agg(n::text, ' ' ORDER BY n DESC, reason) FROM "
                  "(SELECT reason, count(*) AS n FROM reporting.suspicious GROUP BY 1) v");
}

static void nothing_stored_makes_a_report(void **state)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "report", NULL);

    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "incidents           0"));
    page_make(&stack, NULL);
    expect_the_figures_of_the_views();
    page_expect("count(//svg[@role])", "0");
    page_expect("count(//section[p])", "8");
}

static void one_incident_makes_a_report(void **state)
{
    stack_query(&stack,
                "INSERT INTO intake.incident (reference_id, name, started_at, created_at, updated_at) "
                "VALUES ('one', 'Alone', now() - interval '72 hours', now(), now())");
    page_make(&stack, NULL);
    expect_the_figures_of_the_views();
    page_expect("count(//svg[@role])", "4"); /* no service, and nothing resolved */
    page_expect("string(//section[@aria-labelledby='open']//tr/th/bdi)", "Alone");
    page_expect("string(//section[@aria-labelledby='open']//tr/td[2]/data)", "3 d");
    stack_query(&stack, "UPDATE intake.incident SET resolved_at = now()");
    page_make(&stack, NULL);
    page_expect("count(//svg[@role])", "8");
    expect_the_figures_of_the_views();
    page_expect("string(//section[@aria-labelledby='open']/p)", "No incident is open.");
}

static void fill_with_sample(void)
{
    char *sql = read_whole_file("tests/cases/reporting_sample.sql");
    PGresult *result = PQexec(stack.owner, sql);

    assert_string_equal(PQresultErrorMessage(result), "");
    PQclear(result);
    free(sql);
}

static void the_figures_are_those_of_the_views(void **state)
{
    fill_with_sample();
    page_make(&stack, NULL);
    expect_the_figures_of_the_views();
    page_expect("count(//svg[@role])", "10");
    /* 3 are open, 10 the longest */
    page_expect("count(//a[starts-with(@href, 'https://status.example.com/incidents/')])", "13");
    page_expect("count(//a[not(starts-with(@href, '#')) and not(@rel='noopener noreferrer')])", "0");
}

static void whoever_may_read_the_views_may_make_the_report(void **state)
{
    struct stack reader = stack;

    fill_with_sample();
    snprintf(reader.owner_url, sizeof reader.owner_url, "postgresql:///incidents?host=%s&user=analyst",
             stack.directory);
    assert_int_equal(stack_control(&reader, NULL, "report", NULL)->status, 0);
}

static void a_database_without_the_views_is_named(void **state)
{
    struct stack other = stack;
    const struct outcome *outcome;

    snprintf(other.owner_url, sizeof other.owner_url, "postgresql:///postgres?host=%s&user=analyst",
             stack.directory);
    outcome = stack_control(&other, NULL, "report", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "incidentctl migrate"));
    assert_non_null(strstr(outcome->err, "The database is postgres"));
}

/* Long tails are cut, and the page says where. None is resolved between the page and what it is held against.
 */
static void a_hundred_thousand_incidents_make_a_report(void **state)
{
    stack_query(
        &stack,
        "INSERT INTO intake.incident (reference_id, priority, services, started_at, resolved_at, created_at, "
        "updated_at) "
        "SELECT 'M-' || n, 'P' || n % 30, "
        "jsonb_build_array(jsonb_build_array('s' || n::bigint * n % 97, NULL)), s, "
        "CASE WHEN n > 8000 OR n % 40 <> 0 THEN least(s + interval '1 minute' * exp(2 + n * 7919 % 1000 / "
        "150.0), "
        "now() - interval '1 second') END, s, s "
        "FROM generate_series(1, 100000) n, LATERAL (SELECT now() - interval '15 minutes' * n) t (s)");
    stack_query(&stack, "ANALYZE intake.incident");
    page_make(&stack, NULL);
    expect_the_figures_of_the_views();
    page_expect("string(//dl/div[2]/dd[1]/data)", "100,000");
    page_expect("substring-before(//section[@aria-labelledby='weeks']/p, ' of')", "The last 53");
    page_expect("substring-before(//section[@aria-labelledby='months']/p, ' of')", "The last 24");
    page_expect("substring-before(//section[@aria-labelledby='services']/p, '.')",
                "The first 15 of 49 services");
    page_expect("substring-before(//section[@aria-labelledby='priorities']/p, '.')",
                "The most frequent 15 of 30 priorities");
    page_expect("substring-before(//section[@aria-labelledby='open']/p, '.')",
                "The first 100 of 200 open incidents");
    page_expect("count(//section[@aria-labelledby='open']//tbody/tr)", "100");
}

static void since_leaves_out_what_started_before(void **state)
{
    fill_with_sample();
    page_make(&stack, "--since", "60d", NULL);
    page_expect("string(//dl/div[2]/dd[1]/data/@value)",
                stack_query(&stack,
                            "SELECT count(*) FROM reporting.plausible_incidents WHERE started_at >= now() "
                            "- interval '1440 hours'"));
    page_expect("string(//dl/div[1]/dd[1]/data/@value)", "3"); /* whenever they started */
    page_expect(
        "sum(//section[@aria-labelledby='weeks']//tbody/tr/td[1]/data/@value)",
        stack_query(
            &stack,
            "SELECT count(*) FROM reporting.plausible_incidents WHERE started_at BETWEEN now() - interval "
            "'1440 hours' AND now()"));
    page_expect(
        "sum(//section[@aria-labelledby='months']//tbody/tr/td[1]/data/@value)",
        stack_query(&stack,
                    "SELECT count(started_to_resolved) FROM reporting.incidents WHERE started_at BETWEEN "
                    "now() - interval '1440 hours' AND now()"));
    expect_column(
        "services", 1,
        "SELECT string_agg(n::text, ' ' ORDER BY minutes DESC) FROM (SELECT count(*) AS n, "
        "sum(coalesce(resolved_at, now()) - started_at) AS minutes FROM "
        "reporting.incident_with_service WHERE started_at >= now() - interval '1440 hours' GROUP BY "
        "identifier) v");
    page_make(&stack, "--since", "0d", NULL);
    page_expect("string(//dl/div[2]/dd[1]/data/@value)", "0");
    page_expect("count(//svg[@role])", "2"); /* this week, wide and narrow */
}

static void periods_are_those_of_the_time_zone(void **state)
{
    fill_with_sample();
    page_make(&stack, "--time-zone", "Pacific/Auckland", NULL);
    page_expect("string(//header/p/bdi)", "Pacific/Auckland");
    stack_query(&stack, "SET reporting.time_zone = 'Pacific/Auckland'");
    expect_the_figures_of_the_views();
    page_expect("substring-before(substring-after(//header/p, 'As of '), ' ')",
                stack_query(&stack, "SELECT (now() AT TIME ZONE 'Pacific/Auckland')::date"));
    stack_query(&stack, "RESET reporting.time_zone");
}

/* Havana puts its clocks back from one o'clock to midnight, on a first of November too: in 2026. */
static void months_begin_and_end_where_those_of_the_views_do(void **state)
{
    stack_query(&stack, "SET reporting.time_zone = 'America/Havana'");
    stack_query(
        &stack,
        "INSERT INTO intake.incident (reference_id, started_at, resolved_at, created_at, updated_at) "
        "SELECT 'B-' || n, s, s + interval '1 minute' * n, s, s FROM (SELECT row_number() OVER () AS n, "
        "m + around AS s FROM generate_series(date_trunc('month', now()) - interval '30 months', now(), "
        "'1 month') local (at), LATERAL (SELECT at::timestamp AT TIME ZONE 'America/Havana') first (m), "
        "unnest('{-1:00,-0:30,-0:00:00.000001,0:00,0:00:00.000001,0:30,1:00}'::interval[]) around) t "
        "WHERE s < now() - interval '1 day'");
    page_make(&stack, "--time-zone", "America/Havana", NULL);
    expect_the_figures_of_the_views();
    stack_query(&stack, "RESET reporting.time_zone");
}

static void wrong_arguments_are_refused_by_name(void **state)
{
    static const struct {
        const char *option, *value;
        int status;
        const char *names;
    } cases[] = {
        {"--since", "yesterday", 2, "--since"}, {"--since", "never", 2, "--since"},
        {"--time-zone", "Mars", 1, "Mars"},     {"--html", "/nowhere/at/all.html", 1, "/nowhere/at/all.html"},
        {"--html", "/dev/full", 1, "space"},    {"--cvs", "x", 2, "csv"},
        {"all", NULL, 2, "argument"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome =
            stack_control(&stack, NULL, "report", cases[i].option, cases[i].value, NULL);

        assert_int_equal(outcome->status, cases[i].status);
        assert_non_null(strstr(outcome->err, cases[i].names));
        assert_string_equal(outcome->out, "");
    }
}

static void store_hostile(void)
{
    stack_query(
        &stack,
        "INSERT INTO intake.incident (reference_id, name, priority, source_url, started_at, created_at, "
        "updated_at) "
        "SELECT 'H-' || n || U&'\\202E', CASE n WHEN 1 THEN '<script>alert(1)</script>' "
        "WHEN 2 THEN E'\" onmouseover=\"alert(2)\" ''' WHEN 3 THEN E'\\x1b[31mred\\x07\\r\\n\\u009b2J' "
        "WHEN 4 THEN U&'\\202Eolleh\\2066' WHEN 5 THEN repeat('W', 5000) WHEN 6 THEN '</title></svg><img "
        "src=x onerror=alert(6)>' "
        "WHEN 7 THEN ']]><!-- &lt;' END, "
        "'<img src=x onerror=alert(' || n || ')>', "
        "CASE n WHEN 1 THEN 'javascript:alert(1)' WHEN 2 THEN 'https://e.example/\"onmouseover=\"alert(2)' "
        "WHEN 3 THEN E'https://e.example/\\n' WHEN 4 THEN 'data:text/html,<script>alert(4)</script>' "
        "WHEN 5 THEN 'https://e.example/' || repeat('a', 5000) WHEN 6 THEN ' javascript:alert(6)' ELSE "
        "'HTTPS://e.example/<7>' END, "
        "now() - interval '1 day' * n, now(), now() FROM generate_series(1, 7) n");
    stack_query(&stack, "UPDATE intake.incident SET services = jsonb_build_array(jsonb_build_array("
                        "E'\\x1b]0;' || reference_id, '<svg onload=alert(' || started_at || ')>' || name))");
}

static void stored_text_never_becomes_markup(void **state)
{
    store_hostile();
    page_make(&stack, NULL);
    expect_the_figures_of_the_views();
    page_expect("count(//script | //img | //svg[@onload] | //comment() | //iframe | //object)", "0");
    page_expect("count(//@*[starts-with(name(), 'on') or name() = 'src' or name() = 'style'])", "0");
    page_expect("count(//section[@aria-labelledby='open']//a)", "2");
    page_expect("string(//a[contains(@href, 'onmouseover')]/@href)",
                "https://e.example/\"onmouseover=\"alert(2)");
    page_expect("string(//a[starts-with(@href, 'HTTPS')]/@href)", "HTTPS://e.example/<7>");
    page_expect("count(//section[@aria-labelledby='open']//bdi[. = '<script>alert(1)</script>'])", "1");
    page_expect("string-length(//section[@aria-labelledby='open']//tr/th/bdi[starts-with(., 'WWW')])", "201");
    assert_null(strpbrk(page, "\x1b\x07\r"));
    /* What turns the direction of text is isolated. */
    for (const char *turn = strstr(page, "\xe2\x80\xae"); turn != NULL;
         turn = strstr(turn + 1, "\xe2\x80\xae")) {
        const char *closing = strstr(turn, "</");

        assert_true(strncmp(closing, "</bdi>", 6) == 0 || strncmp(closing, "</text>", 7) == 0);
    }
}

/* It needs nothing from anywhere: no address in it but those of the incidents. */
static void the_page_stands_alone(void **state)
{
    fill_with_sample();
    page_make(&stack, NULL);
    for (const char *at = strstr(page, "http"); at != NULL; at = strstr(at + 1, "http")) {
        if (strncmp(at, "http-equiv=", 11) != 0 &&
            strncmp(at - 6, "href=\"https://status.example.com/", 33) != 0) {
            fail_msg("the page names %.60s", at);
        }
    }
    assert_null(strstr(page, "url("));
    assert_null(strstr(page, "@import"));
    page_expect("count(//link | //script | //@src | //@style)", "0");
    page_expect("substring-before(//meta[@http-equiv]/@content, ';')", "default-src 'none'");
}

static void the_page_can_be_read_without_seeing_it(void **state)
{
    fill_with_sample();
    page_make(&stack, NULL);
    page_expect("string(/html/@lang)", "en");
    page_expect("count(//h1)", "1");
    page_expect("count(//header) + count(//main) + count(//nav[@aria-label]) + count(//footer)", "4");
    page_expect("count(//svg[@role='img'][not(title) or not(desc)])", "0");
    page_expect("count(//main/section[svg][not(details/summary) or not(details//table/caption)])", "0");
    page_expect("count(//section[not(@aria-labelledby = h2/@id)])", "0");
    page_expect("count(//nav//a[not(substring(@href, 2) = //h2/@id)])", "0");
    page_expect("count(//@id[. = preceding::*/@id or . = ../ancestor::*/@id])", "0");
    page_expect("count(//thead//th[not(@scope='col')]) + count(//tbody//th[not(@scope='row')])", "0");
}

static size_t files_in(const char *directory)
{
    DIR *entries = opendir(directory);
    size_t count = 0;

    assert_non_null(entries);
    while (readdir(entries) != NULL) {
        count++;
    }
    closedir(entries);
    return count - 2; /* . and .. */
}

static void the_file_is_replaced_as_a_whole(void **state)
{
    char directory[128], file[160], link[160];
    struct stat status;
    char *first;

    snprintf(directory, sizeof directory, "%s/pages", stack.directory);
    snprintf(file, sizeof file, "%s/report.html", directory);
    snprintf(link, sizeof link, "%s/link.html", directory);
    assert_int_equal(mkdir(directory, 0755), 0);
    assert_int_equal(symlink("report.html", link), 0);
    assert_int_equal(stack_control(&stack, NULL, "report", "--html", file, NULL)->status, 0);
    first = read_whole_file(file);
    assert_non_null(strstr(first, "</html>\n"));
    free(first);
    fill_with_sample();
    assert_int_equal(stack_control(&stack, NULL, "report", "--html", link, NULL)->status, 0);
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(status.st_mode & 0111, 0);
    first = read_whole_file(file);
    assert_non_null(strstr(first, "INC-1178"));
    free(first);
    assert_int_equal(files_in(directory), 2);
    assert_int_equal(stack_control(&stack, NULL, "report", "--html", directory, NULL)->status, 1);
    assert_int_equal(files_in(directory), 2);
}

/* In columns, one a code point, as the names here are. */
static size_t widest_line(const char *text)
{
    size_t widest = 0, width = 0;

    for (; *text != '\0'; text++) {
        width = *text == '\n' ? 0 : width + (((unsigned char)*text & 0xc0) != 0x80);
        widest = width > widest ? width : widest;
    }
    return widest;
}

static void the_terminal_gets_what_it_has_room_for_and_no_command(void **state)
{
    static const char *const widths[] = {"40", "52", "61", "62", "80", "120"};

    fill_with_sample();
    store_hostile();
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++) {
        const struct outcome *outcome;

        setenv("COLUMNS", widths[i], 1);
        setenv("LC_ALL", i % 2 == 0 ? "C.UTF-8" : "C", 1);
        outcome = stack_control(&stack, NULL, "report", NULL);
        assert_int_equal(outcome->status, 0);
        if (widest_line(outcome->out) > strtoul(widths[i], NULL, 10)) {
            fail_msg("wider than %s columns:\n%s", widths[i], outcome->out);
        }
        assert_null(strpbrk(outcome->out, "\x1b\x07\r"));
        assert_null(strstr(outcome->out, "\xe2\x80\xae"));
        assert_non_null(strstr(outcome->out, "  H-"));
        assert_int_equal(strstr(outcome->out, "\xe2\x96\x88") != NULL, i % 2 == 0 && i > 0);
        outcome =
            stack_control(&stack, NULL, "report", "--since", "2000-01-01", "--time-zone",
                          "America/Argentina/Buenos_Aires", "--title", "Of a title of thirty columns", NULL);
        assert_true(widest_line(outcome->out) <= strtoul(widths[i], NULL, 10));
        assert_int_equal(strncmp(outcome->out, "Of a title of thirty columns\nAs of ", 35) == 0, i < 5);
    }
    unsetenv("COLUMNS");
    unsetenv("LC_ALL");
}

static void make_analyst(void)
{
    stack_query(&stack, "CREATE ROLE analyst LOGIN IN ROLE incidents_reader");
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_MIGRATED, .start = make_analyst};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(nothing_stored_makes_a_report),
        cmocka_unit_test(one_incident_makes_a_report),
        cmocka_unit_test(the_figures_are_those_of_the_views),
        cmocka_unit_test(whoever_may_read_the_views_may_make_the_report),
        cmocka_unit_test(a_database_without_the_views_is_named),
        cmocka_unit_test(a_hundred_thousand_incidents_make_a_report),
        cmocka_unit_test(since_leaves_out_what_started_before),
        cmocka_unit_test(periods_are_those_of_the_time_zone),
        cmocka_unit_test(months_begin_and_end_where_those_of_the_views_do),
        cmocka_unit_test(wrong_arguments_are_refused_by_name),
        cmocka_unit_test(stored_text_never_becomes_markup),
        cmocka_unit_test(the_page_stands_alone),
        cmocka_unit_test(the_page_can_be_read_without_seeing_it),
        cmocka_unit_test(the_file_is_replaced_as_a_whole),
        cmocka_unit_test(the_terminal_gets_what_it_has_room_for_and_no_command),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
