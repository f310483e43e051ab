/* incidentctl where the disk is full: an error with a message, and nothing that is taken for whole. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "harness/fixture.h"

enum { ARGUMENTS_MAX = 10 };

static struct stack stack;
static char url[STACK_PATH_MAX + 16];

/* Runs incidentctl with those arguments, NULL at the end, in a shell that first runs `first`. */
static const struct outcome *control_behind(const char *first, const char *const arguments[])
{
    char script[256];
    const char *argv[ARGUMENTS_MAX + 6] = {"/bin/sh", "-c", script, "sh", stack.control};
    const char *const environment[] = {url, NULL};

    snprintf(script, sizeof script, "%s; exec \"$@\"", first);
    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_true(i < ARGUMENTS_MAX);
        argv[5 + i] = arguments[i];
    }
    return process_run(argv, environment, NULL, 0);
}

static void store(const char *incident)
{
    assert_int_equal(stack_control(&stack, incident, "import", "-", NULL)->status, 0);
}

static void what_standard_output_does_not_take_is_an_error(void **state)
{
    static const char *const commands[][ARGUMENTS_MAX] = {
        {"--version", NULL},
        {"--help", NULL},
        {"migrate", NULL},
        {"migrate", "--status", NULL},
        {"token", "create", "--label", "full", NULL},
        {"token", "list", "--json", NULL},
        {"list", NULL},
        {"list", "--json", NULL},
        {"show", "full", NULL},
        {"history", "--status", NULL},
        {"export", NULL},
        {"export", "--format", "csv", NULL},
        {"report", NULL},
        {"report", "--html", "-", NULL},
        {"doctor", NULL},
        {"delete", "full", NULL},
    };

    store("{\"reference_id\":\"full\",\"started_at\":\"2024-01-01\"}");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct outcome *outcome = control_behind("exec >/dev/full", commands[i]);

        if (outcome->status != 1 || strstr(outcome->err, "unable to write to standard output") == NULL) {
            fail_msg("%s %s: status %d: %s", commands[i][0], commands[i][1], outcome->status, outcome->err);
        }
    }
}

/* Else what is opened next would be standard output: the connection to the database. */
static void a_standard_output_that_is_closed_is_an_error(void **state)
{
    static const char *const arguments[] = {"token", "list", NULL};
    const struct outcome *outcome = control_behind("exec >&-", arguments);

    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "unable to write to standard output: Bad file descriptor"));
}

/* The limit of a file's size is a disk that is full for that file. */
static void an_export_that_finds_no_room_leaves_the_old_file(void **state)
{
    char path[128], pattern[160], name[16 * 1024] = "", incident[sizeof name + 128], *text;
    const char *const arguments[] = {"export", path, NULL};
    const struct outcome *outcome;
    glob_t found;
    FILE *old;

    snprintf(path, sizeof path, "%s/export.jsonl", stack.directory);
    old = fopen(path, "we");
    assert_non_null(old);
    assert_true(fputs("old\n", old) >= 0);
    assert_int_equal(fclose(old), 0);
    memset(name, 'n', sizeof name - 1);
    snprintf(incident, sizeof incident,
             "{\"reference_id\":\"long\",\"started_at\":\"2024-01-01\",\"name\":\"%s\"}", name);
    store(incident);
    outcome = control_behind("ulimit -S -f 8", arguments); /* blocks of 512 bytes */
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "File too large"));
    text = read_whole_file(path);
    assert_string_equal(text, "old\n");
    free(text);
    snprintf(pattern, sizeof pattern, "%s.*", path);
    assert_int_equal(glob(pattern, 0, NULL, &found), GLOB_NOMATCH); /* nothing is left beside it */
}

/* An invalid record of 3 KiB, as each format has it. */
static void append_invalid(struct buffer *text, const char *format, int number)
{
    char head[64], padding[3001];

    memset(padding, 'x', sizeof padding - 1);
    padding[sizeof padding - 1] = '\0';
    snprintf(head, sizeof head,
             strcmp(format, "csv") == 0 ? "bad-%d,never," : "{\"reference_id\":\"bad-%d\",\"name\":\"",
             number);
    buffer_append_text(text, head);
    buffer_append_text(text, padding);
    buffer_append_text(text, strcmp(format, "csv") == 0 ? "\n" : "\"}\n");
}

static void append_good(struct buffer *text, const char *format, int number)
{
    char line[128];

    snprintf(line, sizeof line,
             strcmp(format, "csv") == 0 ? "good-%d,2024-01-01,\n"
                                        : "{\"reference_id\":\"good-%d\",\"started_at\":\"2024-01-01\"}\n",
             number);
    buffer_append_text(text, line);
}

/* Three invalid records among four valid ones. In JSON they are an array. */
static void write_input(const char *path, const char *format)
{
    bool is_json = strcmp(format, "json") == 0;
    struct buffer text;
    FILE *file = fopen(path, "we");

    assert_non_null(file);
    buffer_init(&text, 64 * 1024);
    buffer_append_text(&text, is_json                      ? "["
                              : strcmp(format, "csv") == 0 ? "reference_id,started_at,name\n"
                                                           : "");
    append_good(&text, format, 0);
    for (int i = 1; i <= 3; i++) {
        buffer_append_text(&text, is_json ? "," : "");
        append_invalid(&text, format, i);
        buffer_append_text(&text, is_json ? "," : "");
        append_good(&text, format, i);
    }
    buffer_append_text(&text, is_json ? "]" : "");
    assert_false(text.failed);
    assert_int_equal(fwrite(text.data, 1, text.len, file), text.len);
    assert_int_equal(fclose(file), 0);
    buffer_free(&text);
}

static void expect_good(const char *count)
{
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id LIKE 'good-%'"), count);
}

static void check_import(const char *format)
{
    char input[128], rejects[128], *rejected;
    const char *const arguments[] = {"import", "--rejects", rejects, input, NULL};
    const char *const rest[] = {"import", "--skip", "3", "--rejects", rejects, input, NULL};
    const char *const again[] = {"import", "--dry-run", rejects, NULL};
    const struct outcome *outcome;

    snprintf(input, sizeof input, "%s/input.%s", stack.directory, format);
    snprintf(rejects, sizeof rejects, "%s/rejects.%s", stack.directory, format);
    write_input(input, format);
    stack_query(&stack, "TRUNCATE intake.incident");
    outcome = control_behind("ulimit -S -f 8", arguments);
    if (outcome->status != 1 || strstr(outcome->err, "File too large") == NULL ||
        strstr(outcome->out, "1 invalid") == NULL || strstr(outcome->out, "go on with --skip 3\n") == NULL) {
        fail_msg("%s: status %d: %s%s", format, outcome->status, outcome->out, outcome->err);
    }
    rejected = read_whole_file(rejects);
    assert_non_null(strstr(rejected, "bad-1"));
    assert_null(strstr(rejected, "bad-2")); /* nothing of what did not fit */
    free(rejected);

    outcome = control_behind(":", rest);
    if (outcome->status != 1 || strstr(outcome->out, "2 invalid; 3 skipped before them\n") == NULL) {
        fail_msg("%s: status %d: %s%s", format, outcome->status, outcome->out, outcome->err);
    }
    expect_good("4");
    outcome = control_behind(":", again);
    if (strstr(outcome->out, "read 3: 0 valid, 3 invalid") == NULL) {
        fail_msg("%s: all invalid records should be in the file: %s%s", format, outcome->out, outcome->err);
    }
}

static void an_import_that_cannot_keep_an_invalid_record_stops_and_goes_on_later(void **state)
{
    check_import("jsonl");
    check_import("json");
    check_import("csv");
}

static void set_url(void)
{
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED, .start = set_url};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(what_standard_output_does_not_take_is_an_error),
        cmocka_unit_test(a_standard_output_that_is_closed_is_an_error),
        cmocka_unit_test(an_export_that_finds_no_room_leaves_the_old_file),
        cmocka_unit_test(an_import_that_cannot_keep_an_invalid_record_stops_and_goes_on_later),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
