/* The page that `incidentctl report --html` makes, asked by XPath. */
#include "harness/page.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "harness/process.h"

char page[PROCESS_OUTPUT_MAX];

void page_take(const struct outcome *outcome)
{
    assert_string_equal(outcome->err, "");
    assert_int_equal(outcome->status, 0);
    assert_true(outcome->out_len < sizeof page - 1);
    memcpy(page, outcome->out, outcome->out_len + 1);
}

const char *page_ask(const char *xpath)
{
    const char *const argv[] = {"/usr/bin/xmllint", "--nonet", "--xpath", xpath, "-", NULL};
    const struct outcome *outcome = process_run(argv, NULL, page, strlen(page));

    if (strstr(outcome->err, "XPath set is empty") != NULL) {
        return "";
    }
    assert_string_equal(outcome->err, "");
    return outcome->out;
}

void page_expect(const char *xpath, const char *expected)
{
    const char *found = page_ask(xpath);
    size_t len = strcspn(found, "\n");

    if (len != strlen(expected) || strncmp(found, expected, len) != 0) {
        fail_msg("%s is \"%s\", not \"%s\"", xpath, found, expected);
    }
}
