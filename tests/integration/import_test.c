/* incidentctl import: every format, invalid records and what becomes of them, interruptions, and that it all
 * adds up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fixture.h"

enum { MANY = 20000 };

static struct stack stack;

/* The path of a file in the stack's directory, in one of a few static buffers. */
static const char *path_of(const char *name)
{
    static char paths[8][STACK_PATH_MAX];
    static size_t next;
    char *path = paths[next++ % 8];

    snprintf(path, STACK_PATH_MAX, "%s/%s", stack.directory, name);
    return path;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
    return path;
}

static void check_file(const char *path, const char *expected)
{
    char *text = read_whole_file(path);

    assert_string_equal(text, expected);
    free(text);
}

static void forget_all(void)
{
    stack_query(&stack, "TRUNCATE intake.incident");
    unlink(path_of("rejects"));
}

static void check_query(const char *sql, const char *expected)
{
    const char *got = stack_query(&stack, sql);

    if (strcmp(got, expected) != 0) {
        fail_msg("%s: %s, not %s", sql, got, expected);
    }
}

/* The outcome must have that status, and the text on standard output. */
static void check_outcome_of(const struct outcome *outcome, int status, const char *out)
{
    if (outcome->status != status || strstr(outcome->out, out) == NULL) {
        fail_msg("status %d: %s%s", outcome->status, outcome->out, outcome->err);
    }
}

#define EVERY_COLUMN                                                                                         \
    "SELECT i.name || '|' || i.priority || '|' || i.source_url || '|' || extract(epoch FROM "                \
    "i.started_at)::bigint "                                                                                 \
    "|| '|' || extract(epoch FROM i.resolved_at)::bigint || '|' || i.metadata::text || '|' || "              \
    "(SELECT string_agg(s.identifier, ',' ORDER BY position) FROM intake.incident_service s "                \
    "WHERE s.reference_id = i.reference_id) FROM intake.incident i WHERE reference_id = 'A'"
#define ITS_VALUES "Disk full|P1|https://x/1|1704067200|1704070800|{\"cause\": {\"kind\": \"deploy\"}}|db,web"
#define AS_JSON                                                                                              \
    "{\"reference_id\":\"A\",\"name\":\"Disk full\",\"priority\":\"P1\",\"source_url\":\"https://x/1\","     \
    "\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-01T01:00Z\",\"metadata\":{\"cause\":{\"kind\":" \
    "\"deploy\"}},\"services\":[{\"identifier\":\"db\"},{\"identifier\":\"web\"}]}"

static void every_format_of_our_own_is_known_by_how_it_begins(void **state)
{
    static const char *const texts[] = {
        AS_JSON "\n\n{\"reference_id\":\"B\",\"started_at\":\"2024-01-01\"}",
        " [" AS_JSON ",\n {\"reference_id\":\"B\",\n \"started_at\":\"2024-01-01\"}\n]\n",
        "{\n\"reference_id\":\"B\",\n\"started_at\":\"2024-01-01\"}\n" AS_JSON,
        "reference_id,name,priority,source_url,started_at,resolved_at,metadata.cause.kind,services\n"
        "A,Disk full,P1,https://x/1,2024-01-01,2024-01-01T01:00Z,deploy,db;web\nB,,,,2024-01-01,,,\n",
        "\xEF\xBB\xBFservices,metadata,resolved_at,started_at,reference_id,name,priority,source_url\r\n"
        "\"db;web\",\"{\"\"cause\"\":{\"\"kind\"\":\"\"deploy\"\"}}\",2024-01-01T01:00Z,2024-01-01,A,Disk "
        "full,P1,"
        "https://x/1\r\n,,,2024-01-01,B,,,\r\n",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        forget_all();
        check_outcome_of(stack_control(&stack, texts[i], "import", "-", NULL), 0,
                         "read 2: 2 stored (2 created, 0 updated, 0 unchanged), 0 invalid\n");
        check_query(EVERY_COLUMN, ITS_VALUES);
        check_query("SELECT count(*) FROM intake.incident WHERE reference_id = 'B' AND name IS NULL "
                    "AND resolved_at IS NULL AND metadata IS NULL",
                    "1");
        check_outcome_of(stack_control(&stack, NULL, "import", write_file("again", texts[i]), NULL), 0,
                         "read 2: 2 stored (0 created, 0 updated, 2 unchanged), 0 invalid\n");
    }
    check_query("SELECT count(*) FROM intake.api_token WHERE label LIKE '%import%'", "0");
}

static void odd_data_arrives_as_it_is(void **state)
{
    forget_all();
    check_outcome_of(
        stack_control(
            &stack,
            "reference_id,started_at,name,metadata.a.x,metadata.b,metadata.a.y,services\n"
            "\"r,1\",2024-01-01,\"two\nlines, \"\"quoted\"\" \xC3\xA9\xF0\x9F\x94\xA5\",1.10,,\"\",x|y;z\n",
            "import", "--separator", "|", "-", NULL),
        0, "read 1: 1 stored (1 created");
    check_query("SELECT name FROM intake.incident WHERE reference_id = 'r,1'",
                "two\nlines, \"quoted\" \xC3\xA9\xF0\x9F\x94\xA5");
    check_query("SELECT metadata::text FROM intake.incident", "{\"a\": {\"x\": \"1.10\", \"y\": \"\"}}");
    check_query("SELECT string_agg(identifier, ' ' ORDER BY position) FROM intake.incident_service", "x y;z");
    check_outcome_of(
        stack_control(&stack,
                      "{\"reference_id\":\"n\",\"started_at\":\"2024-01-01\",\"name\":\"]},[{\\\"\","
                      "\"metadata\":{\"cost\":1.10,\"big\":18446744073709551616}}",
                      "import", "--format", "json", "-", NULL),
        0, "1 created");
    check_query("SELECT metadata::text || name FROM intake.incident WHERE reference_id = 'n'",
                "{\"big\": 18446744073709551616, \"cost\": 1.10}]},[{\"");
}

static void invalid_lines_are_named_and_can_be_mended(void **state)
{
    static const char rejected[] =
        "import_error,reference_id,started_at,name\n"
        "\"line 5: invalid_timestamp: started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z: "
        "it is \"\"yesterday\"\", in the column \"\"started_at\"\"\",r-3,yesterday,Bad\n"
        "\"line 6: invalid_arguments: the row has 2 cells where the header has 3\",r-4,2024-01-01\n"
        "\"line 7: invalid_arguments: reference_id is required\",,2024-01-01,None\n"
        "\"line 8: invalid_arguments: the row has text behind a closing quote\",r-5,2024-01-01,\"a\"b\n";
    const char *file, *rejects = path_of("rejects");
    const struct outcome *outcome;
    char expected[1024];

    forget_all();
    file = write_file("bad.csv",
                      "reference_id,started_at,name\nr-1,2024-01-01,\"two\nlines\"\nr-2,2024-01-01,Good\n"
                      "r-3,yesterday,Bad\nr-4,2024-01-01\n,2024-01-01,None\nr-5,2024-01-01,\"a\"b\n"
                      "r-6,2024-01-01,\"Good\"\n");
    outcome = stack_control(&stack, NULL, "import", "--rejects", rejects, file, NULL);
    check_outcome_of(outcome, 1, "read 7: 3 stored (3 created, 0 updated, 0 unchanged), 4 invalid\n");
    snprintf(expected, sizeof expected,
             "%s:5: invalid_timestamp: started_at must be an ISO-8601 timestamp such as "
             "2024-01-01T11:22:33Z: it is \"yesterday\", in the column \"started_at\"\n"
             "%s:6: invalid_arguments: the row has 2 cells where the header has 3\n"
             "%s:7: invalid_arguments: reference_id is required\n"
             "%s:8: invalid_arguments: the row has text behind a closing quote\n"
             "incidentctl: note: times that are not in ISO 8601 are read by --date-format, such as "
             "--date-format '%%d/%%m/%%Y %%H:%%M'; those of another zone than UTC by --time-zone\n"
             "incidentctl: note: 3 of the stored have times that cannot be right, or were open for too long: "
             "reports leave them out, and the view reporting.suspicious lists them\n",
             file, file, file, file);
    assert_string_equal(outcome->err, expected);
    check_file(rejects, rejected);

    outcome = stack_control(&stack, NULL, "import", "--rejects", rejects, file, NULL);
    assert_int_equal(outcome->status, 1); /* it may have been mended already */
    assert_non_null(strstr(outcome->err, "holds something already"));
    outcome = stack_control(&stack, NULL, "import", "--rejects", file, file, NULL);
    assert_non_null(strstr(outcome->err, "what is imported"));

    file = write_file("mended.csv", "reference_id,started_at,name\nr-3,2024-01-01,Bad\nr-4,2024-01-01,\n"
                                    "r-4b,2024-01-01,None\nr-5,2024-01-01,\"a\"\n");
    check_outcome_of(stack_control(&stack, NULL, "import", "--rejects", path_of("none"), file, NULL), 0,
                     "4 created, 0 updated, 0 unchanged), 0 invalid\n");
    assert_int_not_equal(access(path_of("none"), F_OK), 0);
}

static void every_format_rejects_what_it_can_read_again(void **state)
{
    static const struct {
        const char *text, *errors[3], *rejects;
    } cases[] = {
        {"{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"}\n{\"reference_id\":\"b\"}\n\n{\"broken\n"
         "{\"reference_id\":\"c\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a.b\":1}}\n",
         {"standard input:2: invalid_arguments: started_at is required\n",
          "standard input:4: invalid_json: ", "standard input:5: metadata_invalid: "},
         "\"import_error: line 2: invalid_arguments: started_at is required\"\n{\"reference_id\":\"b\"}\n"
         "\"import_error: line 4: invalid_json: the body is not valid JSON: unterminated string (byte 8)\"\n"
         "{\"broken\n"
         "\"import_error: line 5: metadata_invalid: metadata keys must consist of letters, digits, "
         "underscores and "
         "hyphens, unlike \\\"a.b\\\"\"\n"
         "{\"reference_id\":\"c\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a.b\":1}}\n"},
        {"[{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"},\n{\"reference_id\":\n\"b\"} , nonsense\n,"
         "{\"reference_id\":1.5,\"started_at\":\"2024-01-01\"}]",
         {"standard input:2: invalid_arguments: started_at is required\n", "standard input:3: invalid_json: ",
          "standard input:4: invalid_arguments: reference_id must be a non-empty string or an integer: it is "
          "1.5\n"},
         "[\n\"import_error: line 2: invalid_arguments: started_at is "
         "required\",\n{\"reference_id\":\n\"b\"},\n"
         "\"import_error: line 3: invalid_json: the body is not valid JSON: not a JSON value (byte "
         "0)\",\nnonsense,\n"
         "\"import_error: line 4: invalid_arguments: reference_id must be a non-empty string or an integer: "
         "it is "
         "1.5\",\n{\"reference_id\":1.5,\"started_at\":\"2024-01-01\"}\n]\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome;
        char *rejected;

        forget_all();
        outcome = stack_control(&stack, cases[i].text, "import", "--rejects", path_of("rejects"), "-", NULL);
        check_outcome_of(outcome, 1, "read 4: 1 stored (1 created, 0 updated, 0 unchanged), 3 invalid\n");
        for (size_t j = 0; j < 3; j++) {
            if (strstr(outcome->err, cases[i].errors[j]) == NULL) {
                fail_msg("case %zu lacks \"%s\": %s", i, cases[i].errors[j], outcome->err);
            }
        }
        rejected = read_whole_file(path_of("rejects"));
        assert_string_equal(rejected, cases[i].rejects);
        check_outcome_of(stack_control(&stack, rejected, "import", "-", NULL), 1, "read 3: 0 stored");
        free(rejected);
        outcome = stack_control(&stack, cases[i].text, "import", "--skip", "1", "--rejects",
                                path_of("rejects"), "-", NULL);
        check_outcome_of(outcome, 1,
                         "read 3: 0 stored (0 created, 0 updated, 0 unchanged), 3 invalid; 1 skipped");
        rejected = read_whole_file(path_of("rejects"));
        check_outcome_of(stack_control(&stack, rejected, "import", "-", NULL), 1, "read 6: 0 stored");
        free(rejected);
    }
}

static void an_input_that_breaks_off_says_so(void **state)
{
    const struct outcome *outcome;

    forget_all();
    outcome = stack_control(&stack, "[{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"},\n\n", "import",
                            "-", NULL);
    check_outcome_of(outcome, 1, "read 1: 1 stored");
    assert_non_null(strstr(outcome->out, "--skip 1\n"));
    assert_non_null(strstr(outcome->err, "standard input:3: the rest was not read: the array is not closed"));
    /* The record in which it breaks off is not done: there may be more of it. */
    outcome = stack_control(
        &stack, "[{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"},{\"reference_id\":\"b\",\"sta",
        "import", "-", NULL);
    check_outcome_of(outcome, 1, "read 2: 1 stored (0 created, 0 updated, 1 unchanged), 1 invalid\n");
    assert_non_null(strstr(outcome->out, "--skip 1\n"));
    outcome = stack_control(
        &stack, "{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"}\n{\"reference_id\":\"b\",\"sta",
        "import", "-", NULL);
    assert_non_null(strstr(outcome->out, "--skip 1\n"));
    outcome = stack_control(&stack, "reference_id,started_at\na,2024-01-01\nb,\"2024-01-01\nc,2024-01-01\n",
                            "import", "-", NULL);
    check_outcome_of(outcome, 1, "read 2: 1 stored (0 created, 0 updated, 1 unchanged), 1 invalid\n");
    assert_non_null(
        strstr(outcome->err, "standard input:3: invalid_arguments: the row has a quote that is not closed"));
    check_outcome_of(stack_control(&stack, "", "import", "-", NULL), 0, "read 0: 0 stored");
}

/* A file of rejects begins with an invalid line by its nature. */
static void an_invalid_first_line_spoils_no_other(void **state)
{
    forget_all();
    check_outcome_of(
        stack_control(&stack,
                      "{\"reference_id\":\"a\"\n{\"reference_id\":\"b\",\"started_at\":\"2024-01-01\"}\n"
                      "{\"reference_id\":\"c\",\"started_at\":\"2024-01-01\"}\n",
                      "import", "-", NULL),
        1, "read 3: 2 stored (2 created, 0 updated, 0 unchanged), 1 invalid\n");
}

static void a_mark_of_a_spreadsheets_is_passed_over(void **state)
{
    forget_all();
    check_outcome_of(stack_control(&stack, "\xEF\xBB\xBFreference_id,started_at\na,2024-01-01\n", "import",
                                   "--format", "csv", "-", NULL),
                     0, "read 1: 1 stored");
}

static void what_dx_calls_deleted_stays_so(void **state)
{
    forget_all();
    check_outcome_of(
        stack_control(&stack,
                      "id,source_id,started_at,deleted\n1,a,2024-01-01,True\n2,b,2024-01-01,YES\n"
                      "3,c,2024-01-01,False\n4,d,2024-01-01,perhaps\n",
                      "import", "--format", "dx", "-", NULL),
        1, "read 4: 1 stored (1 created, 0 updated, 0 unchanged), 1 invalid, 2 left out (deleted)\n");
}

static void a_record_over_16_mib_is_refused_and_the_next_is_not(void **state)
{
    static const char *const ends[][2] = {{"", "\n"}, {"[", ",\n"}};
    const size_t size = (size_t)17 * 1024 * 1024;

    for (size_t i = 0; i < 2; i++) {
        const char *path = path_of("large");
        FILE *file = fopen(path, "we");
        const struct outcome *outcome;

        forget_all();
        fprintf(file, "%s{\"reference_id\":\"a\",\"name\":\"", ends[i][0]);
        for (size_t n = 0; n < size; n += 64) {
            fputs("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", file);
        }
        fprintf(file, "\"}%s{\"reference_id\":\"b\",\"started_at\":\"2024-01-01\"}%s\n", ends[i][1],
                i == 1 ? "]" : "");
        assert_int_equal(fclose(file), 0);
        outcome = stack_control(&stack, NULL, "import", path, "--format", i == 0 ? "jsonl" : "json", NULL);
        check_outcome_of(outcome, 1, "read 2: 1 stored (1 created, 0 updated, 0 unchanged), 1 invalid\n");
        assert_non_null(strstr(outcome->err, "large:1: request_too_large: the record is over 16 MiB"));
        unlink(path);
    }
}

static void a_dry_run_needs_no_database_and_stores_nothing(void **state)
{
    const char *const argv[] = {stack.control, "import", "--dry-run", "-", NULL};
    const char *const environment[] = {"DATABASE_URL=postgresql:///nowhere?host=/nowhere", NULL};
    static const char text[] = AS_JSON "\n{}\n";

    forget_all();
    check_outcome_of(process_run(argv, environment, text, strlen(text)), 1,
                     "read 2: 1 valid, 1 invalid; nothing was stored\n");
    check_outcome_of(stack_control(&stack, AS_JSON, "import", "--dry-run", "-", NULL), 0,
                     "read 1: 1 valid, 0 invalid");
    check_query("SELECT count(*) FROM intake.incident", "0");
}

static void the_last_line_of_an_incident_counts(void **state)
{
    const char *path = path_of("same");
    FILE *file = fopen(path, "we");

    forget_all();
    for (int i = 0; i < 300; i++) {
        fprintf(file, "{\"reference_id\":\"same-%d\",\"started_at\":\"2024-01-01\",\"name\":\"%d\"}\n", i % 3,
                i);
    }
    assert_int_equal(fclose(file), 0);
    check_outcome_of(stack_control(&stack, NULL, "import", path, NULL), 0,
                     "read 300: 300 stored (3 created, 297 updated, 0 unchanged), 0 invalid\n");
    check_query("SELECT string_agg(name, ' ' ORDER BY reference_id) FROM intake.incident", "297 298 299");
}

static void what_pagerduty_exports_is_read(void **state)
{
    forget_all();
    check_outcome_of(stack_control(&stack, NULL, "import", "--format", "pagerduty",
                                   "tests/cases/import/pagerduty.json", NULL),
                     0, "read 3: 3 stored (3 created");
    check_query("SELECT concat_ws('|', name, priority, source_url, extract(epoch FROM started_at), "
                "extract(epoch FROM resolved_at), metadata::text) FROM intake.incident WHERE reference_id = "
                "'PT4KHLK'",
                "The server is on fire.|P2|https://acme.pagerduty.com/incidents/PT4KHLK|1601664322.169000|"
                "1601667922.000000|{\"urgency\": \"high\", \"incident_number\": 1234}");
    check_query("SELECT string_agg(reference_id || identifier || name, ' ' ORDER BY reference_id) FROM "
                "intake.incident_service",
                "PT4KHLKPF9KMXHMy Mail Service PT4KHLLPF9KMXHMy Mail Service");
    check_query(
        "SELECT resolved_at IS NULL AND priority IS NULL FROM intake.incident WHERE reference_id = 'PT4KHLL'",
        "t");
    check_query("SELECT extract(epoch FROM resolved_at - started_at)::int FROM intake.incident "
                "WHERE reference_id = 'PT4KHLM'",
                "3600");
    forget_all();
    check_outcome_of(stack_control(&stack, NULL, "import", "tests/cases/import/pagerduty.csv", NULL), 0,
                     "2 created");
    check_query(
        "SELECT string_agg(concat_ws('|', reference_id, i.name, priority, s.identifier, s.name, resolved_at "
        "- started_at), ' ' ORDER BY reference_id) FROM intake.incident i "
        "JOIN intake.incident_service s USING (reference_id)",
        "PA1|Disk full, again|P1|PS1|Storage|00:30:00 PA2|Cable\ncut|PS2|Network");
}

static void what_opsgenie_exports_is_read(void **state)
{
    forget_all();
    check_outcome_of(stack_control(&stack, NULL, "import", "--format", "opsgenie",
                                   "tests/cases/import/opsgenie.json", NULL),
                     0, "read 3: 3 stored (3 created");
    check_query(
        "SELECT concat_ws('|', name, priority, source_url, resolved_at - started_at, metadata::text) "
        "FROM intake.incident WHERE reference_id = '70413a06-38d6-4c85-92b8-5ebc900d42e2'",
        "Our servers are in danger|P1|https://app.opsgenie.com/incident/detail/70413a06|01:00:00|"
        "{\"tags\": [\"OverwriteQuietHours\", \"Critical\"], \"ticket\": \"OPS-1\", \"tinyId\": \"1791\", "
        "\"ownerTeam\": \"4513b7ea-3b91-438f-b7e4-e3e54af9147c\", \"root_cause\": \"deploy\"}");
    check_query("SELECT count(*) FROM intake.incident_service", "2");
    check_query(
        "SELECT string_agg(reference_id || coalesce((resolved_at - started_at)::text, '-'), ' ' ORDER BY "
        "reference_id) FROM intake.incident WHERE reference_id LIKE 'og%'",
        "og-201:00:00 og-3-");
    check_outcome_of(
        stack_control(
            &stack,
            "{\"id\":\"og-4\",\"createdAt\":\"2024-01-01\",\"impactedServices\":7}\n"
            "{\"id\":\"og-5\",\"createdAt\":\"2024-01-01\",\"extraProperties\":\"not an object\"}\n",
            "import", "--format", "opsgenie", "--rejects", path_of("rejects"), "-", NULL),
        1, "1 invalid");
    check_query("SELECT metadata->>'extraProperties' FROM intake.incident WHERE reference_id = 'og-5'",
                "not an object");
    forget_all();
    check_outcome_of(stack_control(&stack, NULL, "import", "tests/cases/import/opsgenie.csv", NULL), 0,
                     "2 created");
    check_query(
        "SELECT string_agg(concat_ws('|', reference_id, i.name, priority, s.identifier, resolved_at - "
        "started_at), ' ' ORDER BY reference_id, position) FROM intake.incident i "
        "LEFT JOIN intake.incident_service s USING (reference_id)",
        "og-10|Login slow|P2|login|01:10:00 og-10|Login slow|P2|search|01:10:00 og-11|Open|P4");
}

static void what_dx_exports_is_read(void **state)
{
    const struct outcome *outcome;

    forget_all();
    outcome = stack_control(&stack, NULL, "import", "--services", "tests/cases/import/dx_services.csv",
                            "--metadata", "tests/cases/import/dx_metadata.csv",
                            "tests/cases/import/dx_incidents.csv", NULL);
    check_outcome_of(
        outcome, 0,
        "read 3: 2 stored (2 created, 0 updated, 0 unchanged), 0 invalid, 1 left out (deleted)\n");
    assert_non_null(
        strstr(outcome->err, "1 rows of tests/cases/import/dx_services.csv belong to no incident"));
    check_query("SELECT concat_ws('|', name, priority, source_url, resolved_at - started_at, metadata::text) "
                "FROM intake.incident WHERE reference_id = 'DX-1'",
                "Checkout down|P1|https://status.example.com/1|01:00:00|"
                "{\"cost\": \"1.10\", \"cause\": {\"kind\": \"deploy\", \"note\": \"said \\\"oops\\\"\"}}");
    check_query("SELECT string_agg(concat_ws('|', reference_id, identifier, name), ' ' ORDER BY "
                "reference_id, position) "
                "FROM intake.incident_service",
                "DX-1|checkout|Checkout DX-1|payments|Payments DX-2|search");
    check_query("SELECT metadata::text FROM intake.incident WHERE reference_id = 'DX-2'",
                "{\"empty\": null}");
    outcome = stack_control(&stack, AS_JSON, "import", "--services", "tests/cases/import/dx_services.csv",
                            "-", NULL);
    assert_int_equal(outcome->status, 1);
    outcome = stack_control(&stack, NULL, "import", "--services", "tests/cases/import/dx_metadata.csv",
                            "tests/cases/import/dx_incidents.csv", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "not DX's table incident_services"));
}

/* One record may become one incident, several, or none. */
static void a_filter_of_the_callers_makes_incidents_of_anything(void **state)
{
    static const char program[] =
        "if .skip then empty else .ids[] | {reference_id: ., started_at: \"2024-01-01\"} end";
    static const char text[] = "{\"ids\":[\"f-1\",\"f-2\"]}\n{\"skip\":true}\n{\"ids\":[]}\n"
                               "{\"ids\":[\"f-3\",4.5,\"f-5\",0.5]}\n{\"ids\":7}\n{\"ids\":[\"f-6\"]}\n";
    const char *path = write_file("own.jq", program), *rejects = path_of("rejects");
    const struct outcome *outcome;

    forget_all();
    outcome = stack_control(&stack, text, "import", "--jq", path, "--rejects", rejects, "-", NULL);
    check_outcome_of(
        outcome, 1,
        "read 10: 5 stored (5 created, 0 updated, 0 unchanged), 3 invalid, 2 left out; of 6 records\n");
    assert_non_null(strstr(outcome->err, "standard input:5: invalid_arguments: the filter says: Cannot "));
    check_file(rejects,
               "[\n\"import_error: line 4: invalid_arguments: reference_id must be a non-empty string or an "
               "integer: it is 4.5\",\n{\"ids\":[\"f-3\",4.5,\"f-5\",0.5]},\n"
               "\"import_error: line 5: invalid_arguments: the filter says: Cannot iterate over number "
               "(7)\",\n{\"ids\":7}\n]\n");
    outcome =
        stack_control(&stack, "a,B c,B c,Created At\n1,2,3,x\n", "import", "--jq",
                      write_file("csv.jq", "{reference_id: .a, started_at: \"2024-01-01\", name: (.b_c | "
                                           "join(\"+\")), priority: .created_at}"),
                      "-", NULL);
    check_outcome_of(outcome, 0, "1 created");
    check_query("SELECT name || priority FROM intake.incident WHERE reference_id = '1'", "2+3x");
}

/* Go programs have a time in year 1 for none, and jq writes its year without zeros. */
static void epochs_in_a_filter_become_timestamps_of_any_year(void **state)
{
    static const char program[] =
        "{reference_id: .id, started_at: (.at | from_seconds), resolved_at: (.ms | from_ms)}";
    static const char text[] = "{\"id\":\"zero\",\"at\":\"1704108153\",\"ms\":-62135596800000}\n"
                               "{\"id\":\"999\",\"at\":-30641760000,\"ms\":1704108153678}\n";

    forget_all();
    check_outcome_of(
        stack_control(&stack, text, "import", "--jq", write_file("years.jq", program), "-", NULL), 0,
        "2 created");
    check_query("SELECT string_agg(concat_ws('|', reference_id, started_at AT TIME ZONE 'UTC', resolved_at "
                "AT TIME ZONE "
                "'UTC'), ' ' ORDER BY started_at) FROM intake.incident",
                "999|0999-01-01 00:00:00|2024-01-01 11:22:33.678 zero|2024-01-01 11:22:33");
}

static void a_filter_that_is_none_is_refused(void **state)
{
    static const struct {
        const char *program, *error;
        int status;
    } cases[] = {
        {"", "is no filter", 1},
        {"{\n  a: .b,\n  c: |\n}", "line 3", 1},
        {"1", "must give an object, the body of an upsert, and gave: number", 1},
        {"halt", "it halted", 1},
        {"repeat({reference_id: \"r\", started_at: \"2024-01-01\"})", "more than 1000 incidents", 1},
        {"error({a: 1})", "the filter says: {\"a\":1}", 1},
        {"error(\"\\u001b[2J\")", "the filter says: ?[2J", 1},
        {"[] | to_ms", "the filter says: a time must be a text, and is []", 1},
        {"input", "the filter says: input has nothing to read", 1},
        {"[inputs]", "the filter says: input has nothing to read", 1},
        {"debug | 1", "incidentctl: debug: {}\n", 1},
        {"{a: (reduce range(30000) as $i (0; [.]))}", "nested too deeply", 1},
        {"{metadata: {a: (reduce range(30000) as $i (0; {\"b c\": .}))}} | incident", "nested too deeply", 1},
        {"import \"x\" as x; .", "line 1:\nimport \"x\" as x; .", 1}, /* without the prelude before it */
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome = stack_control(&stack, "{}", "import", "--dry-run", "--jq",
                                                      write_file("none.jq", cases[i].program), "-", NULL);

        if (outcome->status != cases[i].status || strstr(outcome->err, cases[i].error) == NULL) {
            fail_msg("case %zu: status %d, error %s", i, outcome->status, outcome->err);
        }
    }
    assert_int_equal(stack_control(&stack, "{}", "import", "--jq", "/nowhere", "-", NULL)->status, 1);
    assert_int_equal(
        stack_control(&stack, "{}", "import", "--jq", "/nowhere", "--format", "csv", "-", NULL)->status, 2);
}

static void wrong_arguments_are_refused_by_name(void **state)
{
    static const struct {
        const char *arguments[4];
        const char *names;
        int status;
    } cases[] = {
        {{NULL}, "one file", 2},
        {{"-", "other", NULL}, "no second argument \"other\"", 2},
        {{"--format", "xml", "-", NULL}, "--format", 2},
        {{"--skip", "-1", "-", NULL}, "--skip", 2},
        {{"--separator", "", "-", NULL}, "--separator", 2},
        {{"--format=csv", "--services=x", "-", NULL}, "--services", 2},
        {{"/nowhere/at/all", NULL}, "/nowhere/at/all", 1},
        {{"--rejects", "/nowhere/at/all", "-", NULL}, "/nowhere/at/all", 1},
        {{"--rejects", "/dev/null", "-", NULL}, "no regular file", 1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *a = cases[i].arguments;
        const struct outcome *outcome = stack_control(&stack, "", "import", a[0], a[0] == NULL ? NULL : a[1],
                                                      a[0] == NULL || a[1] == NULL ? NULL : a[2], NULL);

        if (outcome->status != cases[i].status || strstr(outcome->err, cases[i].names) == NULL) {
            fail_msg("case %zu: status %d, error %s", i, outcome->status, outcome->err);
        }
    }
}

static void a_header_must_make_sense(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        {"name,started_at\n", "\"reference_id\""},
        {"reference_id,name\n", "\"started_at\""},
        {"reference_id,started_at,name,name\n", "two columns for \"name\""},
        {"reference_id,started_at,metadata.a,metadata.a.b\n", "exclude each other"},
        {"reference_id,\"started_at\n", "not closed"},
        {"reference_id,started_at,metadata.\xff\nr,2024-01-01,x\n", "iconv -f WINDOWS-1252 -t UTF-8"},
    };
    const struct outcome *outcome;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        outcome = stack_control(&stack, cases[i].text, "import", "--format", "csv", "-", NULL);
        if (outcome->status != 1 || strstr(outcome->err, cases[i].error) == NULL) {
            fail_msg("case %zu: status %d, error %s", i, outcome->status, outcome->err);
        }
    }
    outcome =
        stack_control(&stack, "reference_id,started_at,severity\na,2024-01-01,x\n", "import", "-", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->err, "left out: \"severity\""));
    outcome = stack_control(&stack, "reference_id,started_at,a\x1b[2J\xc2\x9b\xc3\xa9\na,2024-01-01,x\n",
                            "import", "-", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->err, "left out: \"a?[2J?\xc3\xa9\""));
}

static const char *write_many(void)
{
    const char *path = path_of("many");
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    for (int i = 0; i < MANY; i++) {
        fprintf(file,
                "{\"reference_id\":\"many-%d\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":"
                "\"s\"}]}\n",
                i);
    }
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Starts an import of many, which a row that somebody holds keeps from its end, and waits until some are
 * stored. */
static pid_t start_many(const char *path, const char *log, const char *deadline, PGconn **holder)
{
    char url[STACK_PATH_MAX + 16], hold[128];
    const char *const argv[] = {stack.control, "import", path, NULL};
    const char *const environment[] = {url, deadline, NULL};
    pid_t pid;

    unlink(log);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    snprintf(hold, sizeof hold,
             "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
             "VALUES ('many-%d', now(), now(), now())",
             MANY / 2);
    *holder = stack_hold(&stack, hold);
    pid = process_start(argv, environment, log);
    for (int i = 0; atoi(stack_query(&stack, "SELECT count(*) FROM intake.incident")) < MANY / 2; i++) {
        assert_true(i < 600);
        clock_sleep_ms(100);
    }
    return pid;
}

static void an_interrupted_import_says_how_to_go_on(void **state)
{
    const char *path, *log = path_of("import.log"), *skip;
    char *text, number[32], expected[256];
    PGconn *holder;
    pid_t pid;

    forget_all();
    path = write_many();
    pid = start_many(path, log, "INCIDENTS_REQUEST_TIMEOUT_MS=60000", &holder);
    assert_int_equal(kill(pid, SIGINT), 0);
    clock_sleep_ms(1000);
    stack_let_go(holder);
    assert_int_equal(process_wait(pid, 60000), 1);
    text = read_whole_file(log);
    skip = strstr(text, "--skip ");
    if (skip == NULL || strstr(text, "not finished") != NULL) {
        fail_msg("%s", text);
    }
    snprintf(number, sizeof number, "%.*s", (int)strcspn(skip + 7, "\n"), skip + 7);
    assert_true(atoi(number) > MANY / 2 && atoi(number) < MANY);
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident"), number);
    check_query("SELECT count(*) FROM intake.api_token WHERE label LIKE '%import%'", "0");
    snprintf(expected, sizeof expected,
             "read %d: %d stored (%d created, 0 updated, 0 unchanged), 0 invalid; %s skipped",
             MANY - atoi(number), MANY - atoi(number), MANY - atoi(number), number);
    check_outcome_of(stack_control(&stack, NULL, "import", "--skip", number, path, NULL), 0, expected);
    free(text);
}

static void a_database_that_goes_away_is_waited_for(void **state)
{
    const char *path, *log = path_of("import.log");
    char *text, expected[64];
    PGconn *holder;
    pid_t pid;

    forget_all();
    path = write_many();
    pid = start_many(path, log, "INCIDENTS_REQUEST_TIMEOUT_MS=1000", &holder);
    stack_stop_postgres(&stack, SIGINT);
    PQfinish(holder);
    free(await_in_file(log, "trying again")); /* what was under way is past its deadline */
    stack_start_postgres(&stack, "-c fsync=off");
    assert_int_equal(process_wait(pid, 120000), 0);
    text = read_whole_file(log);
    snprintf(expected, sizeof expected, "read %d: %d stored", MANY, MANY);
    if (strstr(text, expected) == NULL || strstr(text, "trying again") == NULL) {
        fail_msg("%s", text);
    }
    free(text);
    snprintf(expected, sizeof expected, "%d", MANY);
    check_query("SELECT count(*) FROM intake.incident", expected);
    check_query("SELECT count(*) FROM intake.incident_service", expected);
    check_query("SELECT count(*) FROM intake.api_token WHERE label LIKE '%import%'", "0");
}

static void what_is_sent_again_keeps_its_order(void **state)
{
    char url[STACK_PATH_MAX + 16];
    const char *path = path_of("order"), *log = path_of("import.log");
    const char *const argv[] = {stack.control, "import", path, NULL};
    const char *const environment[] = {url, "INCIDENTS_REQUEST_TIMEOUT_MS=1000", NULL};
    FILE *file = fopen(path, "we");
    PGconn *holder;
    char *text;
    pid_t pid;

    forget_all();
    unlink(log);
    for (int i = 0; i < 1000; i++) {
        fprintf(file, "{\"reference_id\":\"%d\",\"started_at\":\"2024-01-01\",\"name\":\"%d\"}\n", i % 500,
                i);
    }
    assert_int_equal(fclose(file), 0);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    holder =
        stack_hold(&stack, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                           "VALUES ('7', now(), now(), now())");
    pid = process_start(argv, environment, log);
    free(await_in_file(log, "trying again"));
    stack_let_go(holder);
    assert_int_equal(process_wait(pid, 60000), 0);
    text = read_whole_file(log);
    if (strstr(text, "trying again") == NULL || strstr(text, "read 1000: 1000 stored") == NULL) {
        fail_msg("%s", text);
    }
    free(text);
    check_query("SELECT count(*) FROM intake.incident WHERE name::int = reference_id::int + 500", "500");
}

static void a_token_that_is_ended_ends_the_import(void **state)
{
    const char *path, *log = path_of("import.log");
    char *text;
    PGconn *holder;
    pid_t pid;

    forget_all();
    path = write_many();
    pid = start_many(path, log, "INCIDENTS_REQUEST_TIMEOUT_MS=60000", &holder);
    stack_query(&stack, "UPDATE intake.api_token SET revoked_at = now() WHERE label = 'incidentctl import'");
    stack_let_go(holder);
    assert_int_equal(process_wait(pid, 60000), 1);
    text = read_whole_file(log);
    if (strstr(text, "not finished") == NULL || strstr(text, "--skip ") == NULL ||
        strstr(text, "was ended") == NULL) {
        fail_msg("%s", text);
    }
    free(text);
    check_outcome_of(stack_control(&stack, NULL, "import", path, NULL), 0, "0 invalid\n");
}

static void an_older_schema_is_refused(void **state)
{
    const struct outcome *outcome;

    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version = (SELECT max(version) "
                        "FROM intake.migration)");
    outcome = stack_control(&stack, AS_JSON, "import", "-", NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "incidentctl migrate"));
    stack_query(&stack, "UPDATE intake.migration SET version = -version WHERE version < 0");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_format_of_our_own_is_known_by_how_it_begins),
        cmocka_unit_test(odd_data_arrives_as_it_is),
        cmocka_unit_test(invalid_lines_are_named_and_can_be_mended),
        cmocka_unit_test(an_invalid_first_line_spoils_no_other),
        cmocka_unit_test(a_mark_of_a_spreadsheets_is_passed_over),
        cmocka_unit_test(what_dx_calls_deleted_stays_so),
        cmocka_unit_test(every_format_rejects_what_it_can_read_again),
        cmocka_unit_test(an_input_that_breaks_off_says_so),
        cmocka_unit_test(a_record_over_16_mib_is_refused_and_the_next_is_not),
        cmocka_unit_test(a_dry_run_needs_no_database_and_stores_nothing),
        cmocka_unit_test(the_last_line_of_an_incident_counts),
        cmocka_unit_test(what_pagerduty_exports_is_read),
        cmocka_unit_test(what_opsgenie_exports_is_read),
        cmocka_unit_test(what_dx_exports_is_read),
        cmocka_unit_test(a_filter_of_the_callers_makes_incidents_of_anything),
        cmocka_unit_test(epochs_in_a_filter_become_timestamps_of_any_year),
        cmocka_unit_test(a_filter_that_is_none_is_refused),
        cmocka_unit_test(wrong_arguments_are_refused_by_name),
        cmocka_unit_test(a_header_must_make_sense),
        cmocka_unit_test(an_interrupted_import_says_how_to_go_on),
        cmocka_unit_test(a_database_that_goes_away_is_waited_for),
        cmocka_unit_test(what_is_sent_again_keeps_its_order),
        cmocka_unit_test(a_token_that_is_ended_ends_the_import),
        cmocka_unit_test(an_older_schema_is_refused),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
