/* incidentctl export: what it writes comes back through the API as it was, in the memory of one incident, and
 * a file is whole or not there. */
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
                        "metadata.b.c,metadata.n\r\n"
                        "one,\"a \"\"b\"\", c\nd\",\"\",,2024-01-01T00:00:00.000000Z,,x;y,1.10,,,=1,\r\n"
                        "three,,,,2024-01-03T00:00:00.000000Z,,,\"[5, 6]\",,,,\r\n"
                        "two,,,,2024-01-02T00:00:00.000000Z,,,,deep,\"[\"\"e\"\"]\",,\r\n");
    assert_string_equal(
        stack_control(&stack, NULL, "export", "--format", "csv", "--until", "2024-01-01", NULL)->out,
        "source_id,name,priority,source_url,started_at,resolved_at,services\r\n");
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
        cmocka_unit_test(a_file_is_whole_or_as_it_was),
        cmocka_unit_test(a_link_stays_one),
        cmocka_unit_test(a_device_is_written_to_and_not_replaced),
        cmocka_unit_test(many_take_the_memory_of_one),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
