/* Texts for tests of what reads them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cases/texts.h"

struct slice text_copy(struct slice text)
{
    char *copy = malloc(text.len);

    if (text.len > 0) {
        assert_non_null(copy);
        memcpy(copy, text.data, text.len);
    }
    return (struct slice){copy, text.len};
}

void text_free(struct slice copy)
{
    free((void *)(uintptr_t)copy.data);
}

struct slice text_join(struct slice before, struct slice text, struct slice after)
{
    size_t len = before.len + text.len + after.len;
    char *copy = malloc(len);

    assert_non_null(copy);
    memcpy(copy, before.data, before.len);
    memcpy(copy + before.len, text.data, text.len);
    memcpy(copy + before.len + text.len, after.data, after.len);
    return (struct slice){copy, len};
}

struct slice text_repeat(const char *unit, size_t times, const char *middle, const char *end)
{
    size_t unit_len = strlen(unit);
    size_t end_len = strlen(end);
    size_t middle_len = strlen(middle);
    size_t len = times * (unit_len + end_len) + middle_len;
    char *text = malloc(len);
    char *at = text;

    assert_non_null(text);
    for (size_t i = 0; i < times; i++) {
        memcpy(at, unit, unit_len);
        at += unit_len;
    }
    memcpy(at, middle, middle_len);
    at += middle_len;
    for (size_t i = 0; i < times; i++) {
        memcpy(at, end, end_len);
        at += end_len;
    }
    return (struct slice){text, len};
}

void text_report(size_t *failures, const char *what, struct slice text, const char *expected)
{
    print_error("%s: expected %s: ", what, expected);
    for (size_t i = 0; i < text.len && i < 120; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        print_error(byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
    }
    print_error("%s\n", text.len > 120 ? "..." : "");
    ++*failures;
}

struct slice text_of_row(const struct json_text *row)
{
    return (struct slice){row->text, row->len};
}

void expect_text(struct slice actual, const char *expected)
{
    if (actual.len != strlen(expected) || memcmp(actual.data, expected, actual.len) != 0) {
        fail_msg("expected %s, not %.*s", expected, (int)actual.len, actual.data);
    }
}
