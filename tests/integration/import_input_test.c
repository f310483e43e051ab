/* incidentctl import: what people have, and what they are told: marks, delimiters, line ends, local times,
 * dates of all kinds, files that are no text, values and columns in messages, and what is noted of all
 * records together. */
#include "harness/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct stack stack;

static const char *path_of(const char *name)
{
    static char path[STACK_PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", stack.directory, name);
    return path;
}

static const char *write_bytes(const char *name, const char *bytes, size_t len)
{
    const char *path = path_of(name);
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void check_says(const struct outcome *outcome, int status, const char *text)
{
    if (outcome->status != status ||
        (strstr(outcome->err, text) == NULL && strstr(outcome->out, text) == NULL)) {
        fail_msg("status %d, and not \"%s\": %s%s", outcome->status, text, outcome->out, outcome->err);
    }
}

#define MARK   "\xEF\xBB\xBF"
#define STORED "reference_id || '|' || coalesce(name, '-') || '|' || extract(epoch FROM started_at)::bigint"

static void marks_delimiters_and_line_ends_are_found(void **state)
{
    static const char *const texts[] = {
        MARK "{\"reference_id\":\"a\",\"name\":\"x;y\",\"started_at\":\"2024-01-01\"}\n",
        MARK "[{\"reference_id\":\"a\",\"name\":\"x;y\",\"started_at\":\"2024-01-01\"}]",
        MARK "Reference ID;Name;StartedAt\r\na;\"x;y\";2024-01-01\r\n",
        "reference_id\tname\tstarted_at\na\tx;y\t2024-01-01\n",
        "reference_id,name,started_at\ra,x;y,2024-01-01\r",
        "\"a,b\";name;started_at\n", /* what is in quotes does not count */
        "reference-id,NAME,Started_At\na,x;y,2024-01-01",
        "import_error,reference_id,name,started_at\n\"line 7: nothing\",a,x;y,2024-01-01\n",
        "reference_id,name,started_at\n,,\na,x;y,2024-01-01\n, ,\n,,\n",
        "sep=|\r\nreference_id|name|started_at\r\na|x;y|2024-01-01\r\n",
        MARK "SEP=,\rreference_id,name,started_at\ra,x;y,2024-01-01",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const struct outcome *outcome;

        stack_query(&stack, "TRUNCATE intake.incident");
        outcome = stack_control(&stack, texts[i], "import", "-", NULL);
        if (i == 5) {
            check_says(outcome, 1,
                       "unable to tell the format of standard input: its columns are \"a,b\", "
                       "\"name\", \"started_at\"; looked for reference_id");
            continue;
        }
        check_says(outcome, 0, "1 created");
        assert_null(strstr(outcome->err, "nothing is known"));
        assert_string_equal(stack_query(&stack, "SELECT " STORED " FROM intake.incident"),
                            "a|x;y|1704067200");
    }
    check_says(stack_control(&stack, "reference_id|started_at\nb|2024-01-01\n", "import", "--delimiter", "|",
                             "-", NULL),
               0, "1 created");
    check_says(stack_control(&stack, "reference_id,x;started_at\n1;2\t3\n", "import", "--delimiter", "tab",
                             "--format", "csv", "-", NULL),
               1, "standard input: the header lacks a column that every incident needs");
    check_says(stack_control(&stack, "", "import", "--delimiter", "ab", "-", NULL), 2,
               "--delimiter must be one character");
}

static void our_own_export_comes_back(void **state)
{
    const struct outcome *outcome;
    char *before, *csv;

    check_says(
        stack_control(&stack,
                      "{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"name\":\"One, \\\"two\\\"\","
                      "\"services\":[\"s\",\"t\"],\"metadata\":{\"cause\":{\"kind\":\"deploy\"}}}\n"
                      "{\"reference_id\":\"b\",\"started_at\":\"2024-01-02\",\"name\":\"\",\"resolved_at\":"
                      "\"2024-01-03\"}\n",
                      "import", "-", NULL),
        0, "2 created");
    csv = strdup(stack_control(&stack, NULL, "export", "--format", "csv", NULL)->out);
    before = strdup(stack_control(&stack, NULL, "export", NULL)->out);
    outcome = stack_control(&stack, csv, "import", "-", NULL);
    check_says(outcome, 0, "read 2: 2 stored (0 created, 0 updated, 2 unchanged)");
    stack_query(&stack, "TRUNCATE intake.incident");
    check_says(stack_control(&stack, csv, "import", "-", NULL), 0, "2 created");
    assert_string_equal(stack_control(&stack, NULL, "export", NULL)->out, before);
    free(before);
    free(csv);
}

static void lists_in_cells_may_be_written_loosely(void **state)
{
    check_says(stack_control(&stack,
                             "reference_id,started_at,services\na,2024-01-01, x ; y z;\nb,2024-01-01,\"\"\n"
                             "c,2024-01-01,x;;y\n",
                             "import", "-", NULL),
               1, "services[1].identifier");
    assert_string_equal(stack_query(&stack, "SELECT string_agg(identifier, '|' ORDER BY position) FROM "
                                            "intake.incident_service WHERE reference_id = 'a'"),
                        "x|y z");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident"), "2");
}

static void times_are_read_in_the_zone_and_the_format_that_is_said(void **state)
{
    static const struct {
        const char *zone, *format, *time, *epoch;
    } cases[] = {
        {"Europe/Berlin", NULL, "2024-07-01T12:00:00", "1719828000"},
        {"Europe/Berlin", NULL, "2024-01-01 12:00:00.5", "1704106801"}, /* rounded by the query */
        {"Europe/Berlin", NULL, "2024-07-01", "1719784800"},
        {"Europe/Berlin", NULL, "2024-07-01T12:00:00Z", "1719835200"},
        {"Europe/Berlin", NULL, "2024-07-01T12:00:00-04:00", "1719849600"},
        {"Europe/Berlin", NULL, "2024-10-27T02:30:00", "1729989000"}, /* twice there: the first */
        {"Europe/Berlin", NULL, "2024-03-31T02:30:00", "1711848600"}, /* never there: as much later */
        {"Europe/Dublin", NULL, "2024-10-27T01:30:00", "1729989000"}, /* where winter is the exception */
        {"Europe/Moscow", NULL, "2014-10-26T01:30:00", "1414272600"}, /* where the zone itself changed */
        {"America/New_York", "%m/%d/%Y %H:%M", "3/17/2025 6:04", "1742205840"},
        {NULL, "%d/%m/%Y %H:%M", "29/2/2016 01:16", "1456708560"},
        {NULL, "%d/%b/%y %I:%M %p", "25/Feb/26 10:17 PM", "1772057820"},
        {NULL, "%d/%m/%Y %H:%M %z", "29/2/2016 01:16 +0100", "1456704960"},
        {NULL, "%d/%m/%Y", "2024-01-01T00:00:01Z", "1704067201"}, /* ISO 8601 stays what it is */
        {NULL, "unix", "1704067201", "1704067201"},
        {NULL, "unix-ms", "1704067201000", "1704067201"},
        {NULL, "%s", "1704067201", "1704067201"},
        {NULL, "%Y-%j", "2024-366", "1735603200"},
        {"Europe/Berlin", "%d/%m/%Y %%z", "1/1/2024 %z", "1704063600"},
    };
    static const char *const incomplete[] = {"DD.MM.YYYY", "%H:%M",       "%d/%m", "%Y",
                                             "%G-W%V-%u",  "%d/%m/%Y %I", "%%",    "%Q"};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        const char *epoch;

        snprintf(text, sizeof text, "reference_id,started_at\na,%s\n", cases[i].time);
        check_says(stack_control(&stack, text, "import", "-",
                                 cases[i].zone != NULL ? "--time-zone" : "--date-format",
                                 cases[i].zone != NULL ? cases[i].zone : cases[i].format,
                                 cases[i].zone != NULL && cases[i].format != NULL ? "--date-format" : NULL,
                                 cases[i].format, NULL),
                   0, " 0 invalid");
        epoch = stack_query(&stack, "SELECT extract(epoch FROM started_at)::bigint FROM intake.incident");
        if (strcmp(epoch, cases[i].epoch) != 0) {
            fail_msg("%s became %s, not %s", cases[i].time, epoch, cases[i].epoch);
        }
    }
    /* A number is a time where that is said. */
    check_says(stack_control(&stack, "{\"reference_id\":\"a\",\"started_at\":1704067201.25}", "import", "-",
                             "--date-format", "unix", NULL),
               0, " 0 invalid");
    check_says(
        stack_control(&stack, "{\"reference_id\":\"a\",\"started_at\":\"30/2/2016 01:16\"}", "import", "-",
                      "--date-format", "%d/%m/%Y %H:%M", NULL),
        1, ":1: invalid_timestamp: started_at names a date that does not exist: it is \"30/2/2016 01:16\"");
    check_says(stack_control(&stack, "", "import", "-", "--time-zone", "UTC+2", NULL), 2,
               "there is no UTC+2; an offset is read with either sign, so it is none: Etc/GMT-2 is two hours "
               "east of Greenwich\n");
    check_says(stack_control(&stack, "", "import", "-", "--time-zone", "America/Port-au-Prinz", NULL), 2,
               "there is no America/Port-au-Prinz\n");
    check_says(stack_control(&stack, "", "import", "-", "--time-zone", "../etc", NULL), 2,
               "there is no ../etc");
    check_says(stack_control(&stack, "", "import", "-", "--time-zone", "Europe", NULL), 2,
               "there is no Europe"); /* a directory */
    check_says(stack_control(&stack, "", "import", "-", "--time-zone", "zone.tab", NULL), 2,
               "there is no zone.tab");
    for (size_t i = 0; i < sizeof incomplete / sizeof incomplete[0]; i++) {
        check_says(stack_control(&stack, "", "import", "-", "--date-format", incomplete[i], NULL), 2,
                   "strptime(3) that has a year, a month and a day, and %p where it has %I");
    }
    check_says(stack_control(&stack, "", "import", "-", "--date-format", "%d/%m/%Y %H:%M %Z", NULL), 2,
               "can't read names of zones, %Z");
}

static void what_is_no_text_or_has_nothing_in_it_is_said_to_be_so(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } cases[] = {
        {"\xFF\xFEr\0e\0", 6, "it is UTF-16: make UTF-8 of it by iconv -f UTF-16 -t UTF-8"},
        {"r\0e\0f\0\n\0", 8, "iconv -f UTF-16LE -t UTF-8"},
        {"\0r\0e\0f\0\n", 8, "iconv -f UTF-16BE -t UTF-8"},
        {"\x1F\x8B\x08\n\n", 5, "it is compressed by gzip: unpack it, zcat /"},
        {"PK\x03\x04", 4, "it is a zip archive, or a workbook of Excel"},
        {"[]\n", 3, "nothing was read from"},
        {"\n\n", 2, "nothing was read from"},
        {"reference_id,started_at\n", 24, "nothing was read from"},
        {"{\"data\":{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\"}}\n", 56,
         "its names are \"data\"; looked"},
        {"{\"key\":1,\"closed\":null}\n", 24,
         "its names are \"key\", \"closed\"; looked for reference_id and started_at"},
        {"<!DOCTYPE html>\n<html>\n", 23,
         "it is HTML or XML, perhaps a page to log in: export it as JSON or CSV"},
        {"a,b\n1,2\n", 8,
         "its columns are \"a\", \"b\"; looked for reference_id and started_at, and for those of dx, "},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct outcome *outcome = stack_control(&stack, NULL, "import", "--dry-run",
                                                      write_bytes("odd", cases[i].bytes, cases[i].len), NULL);

        check_says(outcome, 1, cases[i].says);
        assert_non_null(strstr(outcome->err, path_of("odd")));
        assert_null(strstr(outcome->out, "go on with --skip")); /* there is nothing to go on with */
    }
    check_says(stack_control(&stack, "", "import", "--dry-run", "-", NULL), 0, "read 0");
}

/* It names the file as a shell reads it. */
static void a_hint_can_be_pasted(void **state)
{
    static const struct {
        const char *name, *bytes;
        size_t len;
        const char *command, *end;
    } cases[] = {
        {"it's a \"list\" $1.csv", "reference_id,started_at\n\xE9,2024-01-01\n", 37,
         "iconv -f WINDOWS-1252 -t UTF-8 '", "/it'\\''s a \"list\" $1.csv' | incidentctl import -\n"},
        {"list.csv", "reference_id,started_at,\xE9\nr,2024-01-01,\n", 41, "iconv -f WINDOWS-1252 -t UTF-8 /",
         "/list.csv | incidentctl import -\n"},
        {"list.csv", "\xFF\xFE{\0", 4, "iconv -f UTF-16 -t UTF-8 /", "/list.csv | incidentctl import -\n"},
        {"list.csv", "{\0", 2, "iconv -f UTF-16LE -t UTF-8 /", "/list.csv | incidentctl import -\n"},
        {"list.gz", "\x1F\x8B\x08\n", 4, "zcat /", "/list.gz | incidentctl import -\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = write_bytes(cases[i].name, cases[i].bytes, cases[i].len);
        const struct outcome *outcome = stack_control(&stack, NULL, "import", "--dry-run", path, NULL);

        check_says(outcome, 1, cases[i].command);
        check_says(outcome, 1, cases[i].end);
    }
    check_says(stack_control(&stack, "\x1F\x8B\x08\n", "import", "--dry-run", "-", NULL), 1,
               "unpack it, zcat | incidentctl import -\n");
}

static void messages_have_the_value_its_column_and_what_helps(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"reference_id,Started At\na,1.1.2024\n",
         "2: invalid_timestamp: started_at must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z: it is "
         "\"1.1.2024\", in the column \"Started At\"\n"},
        {"reference_id,started_at\na,\"\x1b["
         "2J0123456789012345678901234567890123456789012345678901234567890123456789\"\n",
         "it is \"\\u001b[2J012345678901234567890123456789012345678901234567890123..., in"},
        {"{\"reference_id\":\"a\",\"started_at\":\"2024-02-30\"}",
         "started_at names a date that does not exist: it is "
         "\"2024-02-30\"\n"},
        {"reference_id,started_at\na,2024-01-01\n\xE9t\xE9,2024-01-01\n",
         "3: invalid_json: the record is not UTF-8: byte 1 of it is 0xE9; if the file is in Windows-1252 or "
         "Latin-1, iconv -f WINDOWS-1252 -t UTF-8 | incidentctl import -\n"},
        {"{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"name\":\"\xE9\"}", "byte 55 of it is 0xE9"},
        {"{\"reference_id\":\"a\",\"started_at\":\"x\"}",
         "note: times that are not in ISO 8601 are read by --date-format"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        check_says(stack_control(&stack, cases[i].text, "import", "--dry-run", "-", NULL), 1, cases[i].says);
    }
    check_says(
        stack_control(&stack, "{\"id\":\"a\"}", "import", "--dry-run", "--format", "servicenow", "-", NULL),
        1, "reference_id is required: the record has nothing of which the filter of servicenow makes it");
    check_says(stack_control(&stack,
                             "{\"id\":\"a\",\"status\":\"closed\",\"createdAt\":\"yesterday\",\"report\":"
                             "{\"closeTime\":1}}",
                             "import", "--dry-run", "--format", "opsgenie-alerts", "-", NULL),
               1, "\"yesterday\" is no timestamp such as 2024-01-01T11:22:33Z\n");
    check_says(stack_control(&stack, cases[0].text, "import", "--dry-run", "--skip", "2", "-", NULL), 1,
               "--skip 2 is more than the 1 records of standard input");
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    while ((text = strstr(text, part)) != NULL) {
        count++;
        text += strlen(part);
    }
    return count;
}

/* Ten lines and a count, not fifty thousand. */
static void the_same_mistake_is_said_ten_times_and_counted(void **state)
{
    enum { MANY = 50000 };
    const char *path = path_of("same");
    FILE *file = fopen(path, "we");
    const struct outcome *outcome;

    fputs("reference_id,started_at\n", file);
    for (int i = 0; i < MANY; i++) {
        fprintf(file, "r-%d,%d.1.2024\n", i, i);
    }
    fputs(",2024-01-01\n", file);
    assert_int_equal(fclose(file), 0);
    outcome = stack_control(&stack, NULL, "import", "--dry-run", path, NULL);
    check_says(outcome, 1, "read 50001: 0 valid, 50001 invalid");
    assert_int_equal(count_of(outcome->err, ": started_at must be"), 10 + 1);
    check_says(outcome, 1,
               "incidentctl: 49990 more like the first: invalid_timestamp: started_at must be an ISO-8601 "
               "timestamp such as 2024-01-01T11:22:33Z: it is \"0.1.2024\", in the column \"started_at\"\n");
    check_says(outcome, 1, "same:50002: invalid_arguments: reference_id is required\n");
}

static void unknown_keys_are_noted_once_with_their_number(void **state)
{
    const struct outcome *outcome;

    outcome = stack_control(
        &stack,
        "{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"severity\":{\"name\":1},\"x\\\"\":[1]}\n"
        "{\"severity\":\"]{\\\\\",\"reference_id\":\"b\",\"started_at\":\"2024-01-01\",\"metadata\":"
        "{\"inner\":1}}\n"
        "{\"severity\":1,\"reference_id\":\"\",\"started_at\":\"2024-01-01\"}\n" /* invalid for another reason
                                                                                  */
        "{\"severity\":1,",
        "import", "--dry-run", "-", NULL);
    check_says(outcome, 1, "note: nothing is known of the key \"severity\" of 3 incidents: it is left out\n");
    check_says(outcome, 1, "the key \"x\\\"\" of 1 incident: it is left out\n");
    assert_null(strstr(outcome->err, "inner"));
    assert_null(strstr(outcome->err, "name"));
}

/* A row that was rejected before is rejected anew with its new reason alone. */
static void rejects_of_rejects_have_one_reason(void **state)
{
    const char *path = path_of("again");
    const struct outcome *outcome;
    char *text;

    remove(path);
    outcome = stack_control(
        &stack,
        "import_error;reference_id;started_at\n\"line 3: said; \"\"so\"\"\";a;x\nplain;b;2024-01-01\n",
        "import", "--dry-run", "--rejects", path, "-", NULL);
    check_says(outcome, 1, "1 valid, 1 invalid");
    assert_null(strstr(outcome->err, "import_error"));
    text = read_whole_file(path);
    assert_string_equal(
        text, "import_error;reference_id;started_at\n\"line 2: invalid_timestamp: started_at must be an "
              "ISO-8601 timestamp such as 2024-01-01T11:22:33Z: it is \"\"x\"\", in the column "
              "\"\"started_at\"\"\";a;x\n");
    free(text);
}

/* Not in import_test, which is run under ThreadSanitizer too: there signals wait for a call of the C library.
 */
static void a_filter_without_an_end_is_ended(void **state)
{
    static const char program[] = "def f: f; f";

    check_says(stack_control(&stack, "\n\n{}", "import", "--dry-run", "--jq",
                             write_bytes("endless.jq", program, strlen(program)), "-", NULL),
               1, "5 seconds of processor time for the record of line 3");
}

/* By a message of ours: without a bound libjq aborts, or the kernel ends the process. */
static void a_filter_that_asks_for_all_memory_is_ended(void **state)
{
    static const char *const programs[] = {"[] | .[500000000] = 1", "def f(x): f(x + 1); f(1)"};
    const char *options = getenv("ASAN_OPTIONS");
    char *before = options != NULL ? strdup(options) : NULL;

    assert_int_equal(setenv("ASAN_OPTIONS", "allocator_may_return_null=1", 1), 0);
    for (size_t i = 0; i < sizeof programs / sizeof programs[0]; i++) {
        check_says(stack_control(&stack, "{}", "import", "--dry-run", "--jq",
                                 write_bytes("all.jq", programs[i], strlen(programs[i])), "-", NULL),
                   1, "asked for more memory than 1 GiB, or than there is, for the record of line 1");
    }
    assert_int_equal(before != NULL ? setenv("ASAN_OPTIONS", before, 1) : unsetenv("ASAN_OPTIONS"), 0);
    free(before);
}

/* By the very rule of the reports. */
static void those_whose_times_cannot_be_right_are_counted(void **state)
{
    static const char text[] = "reference_id,started_at,resolved_at\n"
                               "good,2024-01-01,2024-01-02\n1970,1970-01-01T00:00:00Z,1970-01-01T01:00:00Z\n"
                               "before,2024-01-02,2024-01-01\nsame,2024-01-02,2024-01-02\nfuture,9000-01-01,"
                               "\nlater,2024-01-01,9000-01-01\n"
                               "long,2024-01-01,2024-03-31\nlonger,2024-01-01,2024-04-01\nopen,2024-01-01,\n";
    char expected[128];

    check_says(stack_control(&stack, text, "import", "--dry-run", "-", NULL), 0,
               "note: 7 of the valid have times");
    assert_int_equal(setenv("PGOPTIONS", "-c reporting.longest_incident=1000000d", 1), 0);
    check_says(stack_control(&stack, text, "import", "-", NULL), 0, "note: 5 of the stored have times");
    assert_int_equal(unsetenv("PGOPTIONS"), 0);
    snprintf(expected, sizeof expected, "note: %s of the stored have times",
             stack_query(&stack, "SELECT count(DISTINCT id) FROM reporting.suspicious"));
    stack_query(&stack, "TRUNCATE intake.incident");
    check_says(stack_control(&stack, text, "import", "-", NULL), 0, expected);
}

static void write_time(const char *time, char text[64])
{
    snprintf(text, 64, "%s",
             *time != '+' && *time != '-'
                 ? time
                 : stack_query_for(&stack,
                                   "SELECT to_char(now() AT TIME ZONE 'UTC' + $1::integer * interval '1 "
                                   "second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
                                   time));
}

/* The import's rule, in C as a dry run has no database, and the reports' in SQL are one. Record i stands in
 * the file 2^i times, so that the number of the suspicious tells which they are. */
static void the_rule_of_the_import_is_that_of_the_reports(void **state)
{
    static const struct {
        const char *started, *resolved; /* "": open; seconds from now where they begin with a sign */
    } cases[] = {
        {"1970-12-31T23:59:59.999999Z", "1971-01-01T01:00:00Z"},
        {"1971-01-01T00:00:00Z", "1971-01-01T01:00:00Z"},
        {"2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"},
        {"2024-01-01T00:00:00Z", "2024-01-01T00:00:00.000001Z"},
        {"2024-01-01T00:00:00.000001Z", "2024-01-01T00:00:00Z"},
        {"2024-01-01T00:00:00Z", "2024-03-31T00:00:00Z"},
        {"2024-01-01T00:00:00Z", "2024-03-31T00:00:00.000001Z"},
        {"1970-01-01T00:00:00Z", ""},
        {"-7772400", ""}, /* 90 days but an hour */
        {"-7779600", ""}, /* and an hour */
        {"+3600", ""},
        {"-3600", "+3600"},
        {"+3600", "+7200"},
        {"-7200", "-3600"},
    };
    enum { CASES = sizeof cases / sizeof cases[0] };
    char query[4096] = "SELECT sum(1 << i) FROM (VALUES ", expected[128];
    size_t used = strlen(query);
    const char *path = path_of("rule");
    FILE *file = fopen(path, "we");

    fputs("reference_id,started_at,resolved_at\n", file);
    for (size_t i = 0; i < CASES; i++) {
        char started[64], resolved[64];

        write_time(cases[i].started, started);
        write_time(cases[i].resolved, resolved);
        for (size_t n = 0; n < (size_t)1 << i; n++) {
            fprintf(file, "%zu,%s,%s\n", i, started, resolved);
        }
        used += (size_t)snprintf(query + used, sizeof query - used,
                                 "%s(%zu, timestamptz '%s', nullif('%s', '')::timestamptz)",
                                 i == 0 ? "" : ", ", i, started, resolved);
    }
    assert_int_equal(fclose(file), 0);
    snprintf(query + used, sizeof query - used,
             ") v (i, started_at, resolved_at) "
             "WHERE NOT reporting.is_plausible(started_at, resolved_at, reporting.longest_incident())");
    snprintf(expected, sizeof expected, "note: %s of the valid have times", stack_query(&stack, query));
    check_says(stack_control(&stack, NULL, "import", "--dry-run", path, NULL), 0, expected);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(marks_delimiters_and_line_ends_are_found),
        cmocka_unit_test(our_own_export_comes_back),
        cmocka_unit_test(lists_in_cells_may_be_written_loosely),
        cmocka_unit_test(times_are_read_in_the_zone_and_the_format_that_is_said),
        cmocka_unit_test(what_is_no_text_or_has_nothing_in_it_is_said_to_be_so),
        cmocka_unit_test(a_hint_can_be_pasted),
        cmocka_unit_test(messages_have_the_value_its_column_and_what_helps),
        cmocka_unit_test(the_same_mistake_is_said_ten_times_and_counted),
        cmocka_unit_test(unknown_keys_are_noted_once_with_their_number),
        cmocka_unit_test(rejects_of_rejects_have_one_reason),
        cmocka_unit_test(a_filter_without_an_end_is_ended),
        cmocka_unit_test(a_filter_that_asks_for_all_memory_is_ended),
        cmocka_unit_test(those_whose_times_cannot_be_right_are_counted),
        cmocka_unit_test(the_rule_of_the_import_is_that_of_the_reports),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
