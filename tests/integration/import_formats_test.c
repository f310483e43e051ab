/* incidentctl import: ten made-up files of each format that another system writes go in, each recognised by
 * what it is, and come out by export as they should. tests/cases/import/formats/NAME.txt has the files, each
 * behind a line "#### what it is", and NAME.jsonl what comes out. */
#include "harness/fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 10 };

static struct stack stack;

/* Imports the files of a format, one after the other. */
static void import_files(const char *path)
{
    char *text = read_whole_file(path), *at = text;
    int count = 0;

    while (strncmp(at, "#### ", 5) == 0) {
        char *file = strchr(at, '\n') + 1, *next = strstr(file, "\n#### ");
        const struct outcome *outcome;

        if (next != NULL) {
            next[1] = '\0';
        }
        outcome = stack_control(&stack, file, "import", "-", NULL);
        if (outcome->status != 0 || strstr(outcome->out, " 0 invalid") == NULL) {
            fail_msg("%s: %.*s: %s%s", path, (int)strcspn(at, "\n"), at, outcome->out, outcome->err);
        }
        count++;
        at = next == NULL ? file + strlen(file) : next + 1;
        if (next != NULL) {
            *at = '#';
        }
    }
    assert_int_equal(count, FILES);
    free(text);
}

static void check_format(const char *name)
{
    char path[256];
    const struct outcome *outcome;
    char *expected;

    snprintf(path, sizeof path, "tests/cases/import/formats/%s.txt", name);
    import_files(path);
    outcome = stack_control(&stack, NULL, "export", NULL);
    assert_int_equal(outcome->status, 0);
    snprintf(path, sizeof path, "tests/cases/import/formats/%s.jsonl", name);
    expected = read_whole_file(path);
    if (strcmp(outcome->out, expected) != 0) {
        fputs(outcome->out, stderr); /* longer than cmocka's messages may be */
        free(expected);
        fail_msg("%s: the above, not what is in %s", name, path);
    }
    free(expected);
}

#define FORMAT(function, name)                                                                               \
    static void function(void **state)                                                                       \
    {                                                                                                        \
        (void)state;                                                                                         \
        check_format(name);                                                                                  \
    }

FORMAT(pagerduty, "pagerduty")
FORMAT(opsgenie, "opsgenie")
FORMAT(opsgenie_alerts, "opsgenie-alerts")
FORMAT(statuspage, "statuspage")
FORMAT(servicenow, "servicenow")
FORMAT(firehydrant, "firehydrant")
FORMAT(incident_io, "incident-io")
FORMAT(datadog, "datadog")
FORMAT(rootly, "rootly")
FORMAT(squadcast, "squadcast")
FORMAT(jira, "jira")

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .extent = FIXTURE_MIGRATED};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(pagerduty),   cmocka_unit_test(opsgenie),   cmocka_unit_test(opsgenie_alerts),
        cmocka_unit_test(statuspage),  cmocka_unit_test(servicenow), cmocka_unit_test(firehydrant),
        cmocka_unit_test(incident_io), cmocka_unit_test(datadog),    cmocka_unit_test(rootly),
        cmocka_unit_test(squadcast),   cmocka_unit_test(jira),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
