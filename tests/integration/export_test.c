/* incidentctl export: what it writes comes back through the API and by an import as it was, in the memory of
 * one incident, and a file is whole or not there. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/fixture.h"

enum { MANY = 200000 };

static struct stack stack;

static void upsert(const char *body, size_t len)
{
    struct call call = {.path = "incidents.upsert", .body = body, .body_len = len};

    http_expect(&stack, http_through_nginx, &call, 200);
}

static const char *const odd[] = {
    "{\"reference_id\":\"plain\",\"started_at\":\"2024-01-01\"}",
    "{\"reference_id\":\"all\",\"started_at\":\"2024-01-01T11:22:33.123456+02:00\",\"resolved_at\":\"2023-01-"
    "01\","
    "\"name\":\"\",\"priority\":\"\",\"source_url\":\"\",\"services\":[{\"identifier\":\"z\",\"name\":\"\"},"
    "{\"identifier\":\"a,b;c\"},{\"identifier\":\"M\",\"name\":\"\\\"quoted\\\"\"}],\"metadata\":{\"a\":{}}}",
    "{\"reference_id\":\" \\\\ / '\\\" \\t \\u00e9 "
    "\\ud83d\\ude00\",\"started_at\":\"2024-02-29T23:59:60Z\",\"name\":"
    "\"two\\r\\nlines, \\u0001\\u001b[31m \\u007f \\u009b \\u2028 \\u202e \\ufeff\",\"priority\":\"=1+1\"}",
    "{\"reference_id\":\"first year\",\"started_at\":\"0001-01-01T23:59:00+23:59\",\"resolved_at\":"
    "\"0001-01-01T00:00:00.000001Z\"}",
    "{\"reference_id\":\"last year\",\"started_at\":\"9999-12-31T23:59:59.999999Z\",\"resolved_at\":"
    "\"9999-12-31T00:00:59.999999-23:59\"}",
    "{\"reference_id\":\"numbers\",\"started_at\":\"2024-01-01\",\"metadata\":{\"big\":18446744073709551616,"
    "\"d\":1.10,"
    "\"e\":1e300,\"small\":0.000000000000000000000000000001,\"n\":-0,\"x\":[1.0,[],{\"k\":null}],\"t\":true}"
    "}",
    "{\"reference_id\":\"texts\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":{\"b\":{\"c\":"
    "\"x\\\"y\\\\z\\n\\u0007\"}},"
    "\"A-_9\":null,\"s\":\"\\u007f\\u009b\\u2028\"}}",
};

/* Everything that a client can say of an incident, digit by digit. */
static const char digest[] =
    "SELECT string_agg(concat_ws('|', to_json(i.reference_id), coalesce(to_json(i.name), 'null'), "
    "coalesce(to_json(i.priority), 'null'), coalesce(to_json(i.source_url), 'null'), i.started_at::text, "
    "coalesce(i.resolved_at::text, 'null'), coalesce(i.metadata::text, 'null'), (SELECT string_agg(s::text, "
    "'' "
    "ORDER BY s.position) FROM (SELECT identifier, name, position FROM intake.incident_service s WHERE "
    "s.reference_id = i.reference_id) s)), E'\\n' ORDER BY i.reference_id) FROM intake.incident i";

static const char *place(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", stack.directory, name);
    return path;
}

static void store_odd(void)
{
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        upsert(odd[i], 0);
    }
}

static void what_is_exported_comes_back_as_it_was(void **state)
{
    const struct outcome *outcome;
    char *before, *lines;

    store_odd();
    before = strdup(stack_query(&stack, digest));
    outcome = stack_control(&stack, NULL, "export", NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(outcome->err, "");
    lines = strdup(outcome->out);
    stack_query(&stack, "TRUNCATE intake.incident");
    for (char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        upsert(line, (size_t)(end - line));
    }
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident"), "7");
    assert_string_equal(stack_query(&stack, digest), before);
    free(before);
    free(lines);
}

static void every_line_names_every_field(void **state)
{
    upsert("{\"reference_id\":\"l\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s\"}],"
           "\"metadata\":{"
           "\"n\":1.10}}",
           0);
    assert_string_equal(stack_control(&stack, NULL, "export", "--format", "jsonl", NULL)->out,
                        "{\"reference_id\":\"l\",\"name\":null,\"priority\":null,\"source_url\":null,"
                        "\"started_at\":\"2024-01-01T00:00:00.000000Z\",\"resolved_at\":null,\"services\":[{"
                        "\"identifier\":\"s\",\"name\":null}],\"metadata\":{\"n\": 1.10}}\n");
    assert_string_equal(stack_control(&stack, NULL, "export", "--since", "2024-01-02", NULL)->out, "");
}

static void csv_has_a_column_for_each_key(void **state)
{
    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\",\"name\":\"a \\\"b\\\", "
           "c\\nd\",\"priority\":\"\","
           "\"services\":[{\"identifier\":\"x\"},{\"identifier\":\"y\"}],\"metadata\":{\"a\":1.10,\"b\":{"
           "\"c\":\"=1\"},"
           "\"n\":null}}",
           0);
    upsert("{\"reference_id\":\"two\",\"started_at\":\"2024-01-02\",\"metadata\":{\"a\":{\"0\":\"deep\"},"
           "\"b\":[\"e\"]}}",
           0);
    upsert("{\"reference_id\":\"three\",\"started_at\":\"2024-01-03\",\"metadata\":{\"a\":[5,6]}}", 0);
    assert_string_equal(stack_control(&stack, NULL, "export", "--format", "csv", NULL)->out,
                        "source_id,name,priority,source_url,started_at,resolved_at,services,metadata.a,"
                        "metadata.a.0,metadata.b,"
                        "metadata.b.c,metadata.n,services_json,metadata\r\n"
                        "one,\"a \"\"b\"\", c\nd\",\"\",,2024-01-01T00:00:00.000000Z,,x;y,1.10,,,=1,,"
                        "\"[{\"\"identifier\"\":\"\"x\"\",\"\"name\"\":null},{\"\"identifier\"\":\"\"y\"\","
                        "\"\"name\"\":null}]\","
                        "\"{\"\"a\"\": 1.10, \"\"b\"\": {\"\"c\"\": \"\"=1\"\"}, \"\"n\"\": null}\"\r\n"
                        "three,,,,2024-01-03T00:00:00.000000Z,,,\"[5, 6]\",,,,,,\"{\"\"a\"\": [5, 6]}\"\r\n"
                        "two,,,,2024-01-02T00:00:00.000000Z,,,,deep,\"[\"\"e\"\"]\",,,,"
                        "\"{\"\"a\"\": {\"\"0\"\": \"\"deep\"\"}, \"\"b\"\": [\"\"e\"\"]}\"\r\n");
    assert_string_equal(
        stack_control(&stack, NULL, "export", "--format", "csv", "--until", "2024-01-01", NULL)->out,
        "source_id,name,priority,source_url,started_at,resolved_at,services,services_json,metadata\r\n");
}

/* What text for readers cannot say. */
static const char *const nasty[] = {
    "{\"reference_id\":\" n;1 \",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s;1\","
    "\"name\":\"Se\"},\"s2\",{\"identifier\":\" s3 "
    "\",\"name\":\"\"},\";\",\"\\\"q\\\",\\\\\"],\"metadata\":{\"n\":"
    "18446744073709551616,\"d\":1.10,\"b\":true,\"f\":false,\"z\":null,\"l\":[1,\"a, b\",{\"k\":[null]}],"
    "\"e\":{},\"le\":[],\"s\":\"\",\"t\":\"true\",\"nt\":\"null\",\"num\":\"1.10\",\"js\":\"[1]\",\"blank\":"
    "\" x \"}}",
    "{\"reference_id\":\"n2\",\"started_at\":\"2024-01-01\",\"metadata\":{\"n\":{\"d\":{\"x\":null,\"y\":{}},"
    "\"e-1_\":-1.5e-7},\"l\":\"a\\r\\n\\\"b\\\",\\tc\\u00e9\\ud83d\\ude00\\u2028\",\"e\":null,\"b\":\"TRUE\"}"
    "}",
    "{\"reference_id\":\"n3\",\"started_at\":\"2024-01-01\",\"services\":[],\"metadata\":{}}",
    "{\"reference_id\":\"n4\",\"started_at\":\"2024-01-01\",\"metadata\":{\"only\":{\"null\":null}}}",
    "{\"reference_id\":\"n5\",\"started_at\":\"2024-01-01\",\"services\":[\"a\"],\"metadata\":{\"e\":{\"0\":["
    "{}]}}}",
};

static void import_file(const char *path, int status, const char *out, const char *err)
{
    const struct outcome *outcome = stack_control(&stack, NULL, "import", path, NULL);

    if (outcome->status != status || strstr(outcome->out, out) == NULL || strstr(outcome->err, err) == NULL) {
        fail_msg("status %d: %s%s", outcome->status, outcome->out, outcome->err);
    }
}

static void csv_comes_back_as_it_was(void **state)
{
    char *before, *text, path[256];

    store_odd();
    for (size_t i = 0; i < sizeof nasty / sizeof nasty[0]; i++) {
        upsert(nasty[i], 0);
    }
    before = strdup(stack_query(&stack, digest));
    snprintf(path, sizeof path, "%s", place("nasty.csv"));
    for (int round = 0; round < 2; round++) {
        assert_int_equal(stack_control(&stack, NULL, "export", "--format", "csv", path, NULL)->status, 0);
        import_file(path, 0, "(0 created, 0 updated, 12 unchanged), 0 invalid", "");
    }
    text = read_whole_file(path);
    stack_query(&stack, "TRUNCATE intake.incident");
    import_file(path, 0, "(12 created, 0 updated, 0 unchanged), 0 invalid", "");
    assert_string_equal(stack_query(&stack, digest), before);
    assert_string_equal(stack_control(&stack, NULL, "export", "--format", "csv", NULL)->out, text);
    free(before);
    free(text);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

#define EXPORTED                                                                                             \
    "source_id,started_at,services,metadata.a,metadata.a.b,metadata.t,metadata.l,services_json,metadata\n"

static void csv_that_was_edited_in_one_place_alone_is_refused(void **state)
{
#define SERVICES ",\"[{\"\"identifier\"\":\"\"x\"\"},\"\"y;z\"\"]\""
#define METADATA ",\"{\"\"a\"\":{\"\"b\"\":\"\"c\"\"},\"\"t\"\":true,\"\"l\"\":[1, 2],\"\"n\"\":null}\"\n"
    static const struct {
        const char *row, *complaint;
    } cases[] = {
        {",2024-01-01,x;y;z,,c,true,\"[1, 2]\"" SERVICES METADATA, NULL},
        {",2024-01-01,x;y;z,,c,TRUE,\"[1,2]\"" SERVICES METADATA, NULL}, /* as spreadsheets write it */
        {",2024-01-01,x;y;z,,d,true,\"[1, 2]\"" SERVICES METADATA,
         "metadata_invalid: the column \"metadata.a.b\" has \"d\" where the column \"metadata\" has \"c\": "
         "change both, or delete the column that is wrong"},
        {",2024-01-01,x;y;z,,,true,\"[1, 2]\"" SERVICES METADATA, "\"metadata.a.b\" has \"\" where"},
        {",2024-01-01,x;y;z,q,c,true,\"[1, 2]\"" SERVICES METADATA,
         "\"metadata.a\" has \"q\" where the column \"metadata\" has \"\""},
        {",2024-01-01,x;y;z,,c,false,\"[1, 2]\"" SERVICES METADATA, "\"metadata.t\" has \"false\" where"},
        {",2024-01-01,x;y;z,,c,true,\"[1, 3]\"" SERVICES METADATA, "\"metadata.l\" has \"[1, 3]\" where"},
        {",2024-01-01,x;y;z,,c,true,\"[1, 2, 3]\"" SERVICES METADATA, "\"metadata.l\" has"},
        {",2024-01-01,x;w,,c,true,\"[1, 2]\"" SERVICES METADATA,
         "invalid_arguments: the column \"services\" has \"x;w\" where the column \"services_json\" has "
         "\"x;y;z\": change both, or delete the column that is wrong"},
        {",2024-01-01,,,c,true,\"[1, 2]\"" SERVICES METADATA, "\"services\" has \"\" where"},
        {",2024-01-01,x,q,,,,[],[]\n", "\"services\" has \"x\" where the column \"services_json\" has \"\""},
        {",2024-01-01,,q,,,,,[]\n", "\"metadata.a\" has \"q\" where the column \"metadata\" has \"\""},
        {",2024-01-01,x,,,,,5,\n", "services_json must be a JSON array"},
        {",2024-01-01,x,,,,,\"[\"\"x\",\n", "services_json is not valid JSON"},
        {",2024-01-01,,q,,,,,\"{\"\"a\\u0000\"\":1}\"\n", "\"metadata.a\" has \"q\" where"},
    };
    enum { COUNT = sizeof cases / sizeof cases[0] };
    const struct outcome *outcome;
    char text[COUNT * 256] = EXPORTED;

    for (size_t i = 0; i < COUNT; i++) {
        size_t len = strlen(text);

        snprintf(text + len, sizeof text - len, "%zu%s", i, cases[i].row);
    }
    write_text(place("edited.csv"), text);
    outcome = stack_control(&stack, NULL, "import", place("edited.csv"), NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(
        strstr(outcome->out, "read 15: 2 stored (2 created, 0 updated, 0 unchanged), 13 invalid"));
    for (size_t i = 0; i < COUNT; i++) {
        if (cases[i].complaint != NULL && strstr(outcome->err, cases[i].complaint) == NULL) {
            fail_msg("%s: %s", cases[i].row, outcome->err);
        }
    }
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE services = "
                                            "'[[\"x\", null], [\"y;z\", null]]' AND metadata->'t' = 'true'"),
                        "2");
#undef SERVICES
#undef METADATA
}

/* Cells of the columns for readers count where there is no JSON in the row. */
static void csv_without_its_json_reads_as_text(void **state)
{
    static const char *const texts[] = {
        "source_id,started_at,services,metadata.a.b,metadata.t\nr,2024-01-01,x; y,c,true\n",
        "source_id,started_at,services,metadata.a,metadata.a.b,metadata.t,services_json,metadata\n"
        "r,2024-01-01,x; y,,c,true,,\n",
    };
    char path[256];

    snprintf(path, sizeof path, "%s", place("text.csv"));
    for (size_t i = 0; i < 2; i++) {
        stack_query(&stack, "TRUNCATE intake.incident");
        write_text(path, texts[i]);
        import_file(path, 0, "read 1: 1 stored (1 created", "");
        assert_string_equal(
            stack_query(&stack, "SELECT services::text || metadata::text FROM intake.incident"),
            "[[\"x\", null], [\"y\", null]]{\"a\": {\"b\": \"c\"}, \"t\": \"true\"}");
    }
}

static size_t entries_like(const char *prefix)
{
    DIR *directory = opendir(stack.directory);
    size_t found = 0;

    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        found += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    }
    closedir(directory);
    return found;
}

static void a_file_is_whole_or_as_it_was(void **state)
{
    const struct outcome *outcome;
    char *text;

    store_odd();
    outcome = stack_control(&stack, NULL, "export", place("out.jsonl"), NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(outcome->out, "");
    assert_non_null(strstr(outcome->err, "incidents exported: 7"));
    text = read_whole_file(place("out.jsonl"));
    assert_string_equal(text, stack_control(&stack, NULL, "export", "-", NULL)->out);

    stack_query(&stack, "ALTER FUNCTION intake.timestamp_text RENAME TO elsewhere");
    outcome = stack_control(&stack, NULL, "export", "--format", "csv", place("out.jsonl"), NULL);
    stack_query(&stack, "ALTER FUNCTION intake.elsewhere RENAME TO timestamp_text");
    assert_int_equal(outcome->status, 1);
    free(text);
    text = read_whole_file(place("out.jsonl"));
    assert_int_equal(text[0], '{');
    free(text);
    assert_int_equal(entries_like("out.jsonl"), 1);
    assert_int_equal(stack_control(&stack, NULL, "export", place("nowhere/out"), NULL)->status, 1);
}

static void a_link_stays_one(void **state)
{
    struct stat status;
    char target[256];

    store_odd();
    snprintf(target, sizeof target, "%s", place("target"));
    assert_int_equal(stack_control(&stack, NULL, "export", target, NULL)->status, 0);
    assert_int_equal(symlink(target, place("link")), 0);
    assert_int_equal(stack_control(&stack, NULL, "export", "--format", "csv", place("link"), NULL)->status,
                     0);
    assert_int_equal(lstat(place("link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_true(stat(target, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 100);
    assert_int_equal(entries_like("target"), 1);
}

static void a_device_is_written_to_and_not_replaced(void **state)
{
    const struct outcome *outcome;
    struct stat status;

    store_odd();
    assert_int_equal(symlink("/dev/full", place("full")), 0);
    outcome = stack_control(&stack, NULL, "export", place("full"), NULL);
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "No space left"));
    assert_int_equal(lstat(place("full"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    unlink(place("full"));
}

/* The peak of all programs that this one has waited for, in KiB. */
static long peak(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_maxrss;
}

static void export_to(const char *format, const char *path)
{
    const char *const argv[] = {stack.control, "export", "--format", format, path, NULL};
    char url[STACK_PATH_MAX + 16];
    /* What has been freed counts otherwise, under AddressSanitizer. */
    const char *const environment[] = {url, "ASAN_OPTIONS=detect_leaks=1:exitcode=99:quarantine_size_mb=1",
                                       NULL};

    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    assert_int_equal(process_run(argv, environment, NULL, 0)->status, 0);
}

static void many_take_the_memory_of_one(void **state)
{
    static const char *const formats[] = {"jsonl", "csv"};
    struct stat status;
    long small;

    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\"}", 0);
    for (size_t i = 0; i < 2; i++) {
        export_to(formats[i], place("one"));
    }
    small = peak();
    stack_query_for(
        &stack,
        "INSERT INTO intake.incident (reference_id, name, started_at, metadata, created_at, updated_at) "
        "SELECT 'm' || n, repeat('x', 100), now(), '{\"k\": 1}', now(), now() "
        "FROM generate_series(1, $1::integer) n",
        "200000");
    for (size_t i = 0; i < 2; i++) {
        export_to(formats[i], place("many"));
        assert_int_equal(stat(place("many"), &status), 0);
        assert_true(status.st_size > MANY * 100L);
    }
    if (peak() > small + 8 * 1024) {
        fail_msg("one incident took %ld KiB, %d took %ld KiB", small, MANY, peak());
    }
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_is_exported_comes_back_as_it_was),
        cmocka_unit_test(every_line_names_every_field),
        cmocka_unit_test(csv_has_a_column_for_each_key),
        cmocka_unit_test(csv_comes_back_as_it_was),
        cmocka_unit_test(csv_that_was_edited_in_one_place_alone_is_refused),
        cmocka_unit_test(csv_without_its_json_reads_as_text),
        cmocka_unit_test(a_file_is_whole_or_as_it_was),
        cmocka_unit_test(a_link_stays_one),
        cmocka_unit_test(a_device_is_written_to_and_not_replaced),
        cmocka_unit_test(many_take_the_memory_of_one),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
