/* CSV: where rows end, and what is in their cells. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "incidentctl/support/csv.h"

/* Finds the rows of a text that comes in pieces of that size, and writes their lengths, with a '+' for what
 * is left at the end. */
static void find_rows(const char *text, size_t piece, char found[128])
{
    struct csv_scanner scanner = {0};
    size_t start = 0, here = 0, len = strlen(text), used = 0, row_len;

    found[0] = '\0';
    for (;;) {
        if (csv_scan(&scanner, (struct slice){.data = text + start, .len = here - start}, &row_len)) {
            used += (size_t)snprintf(found + used, 128 - used, "%s%zu", used > 0 ? " " : "", row_len);
            start += row_len;
            scanner = (struct csv_scanner){0};
        } else if (here == len) {
            break;
        } else {
            here = here + piece > len ? len : here + piece;
        }
    }
    if (start < len) {
        snprintf(found + used, 128 - used, "+%zu", len - start);
    }
}

static void a_row_ends_where_a_line_ends_outside_quotes(void **state)
{
    static const struct {
        const char *text, *rows;
    } cases[] = {
        {"", ""},
        {"a,b", "+3"},
        {"a,b\nc\n", "4 2"},
        {"a,b\r\nc\r\n", "5 3"},
        {"\n\n", "1 1"},
        {"\"a\nb\",c\nd\n", "8 2"},
        {"\"a\"\"\nb\"\n\"\"\nx", "8 3+1"},
        {"\"\"\"\n\"\n", "6"},
        {"a\"b\nc\n", "4 2"},     /* an error, which swallows no other row */
        {"\"a\"b\"\nc\n", "6 2"}, /* so is this */
        {"x,\"open\n\n", "+9"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].text) + 1; piece++) {
            char found[128];

            find_rows(cases[i].text, piece, found);
            if (strcmp(found, cases[i].rows) != 0) {
                fail_msg("case %zu, by %zu bytes: %s, not %s", i, piece, found, cases[i].rows);
            }
        }
    }
}

/* The cells with '|' between them, quoted ones in angle brackets. */
static const char *split(const char *text, char cells[256])
{
    struct csv_row row;
    const char *fault;
    size_t used = 0;

    csv_row_init(&row);
    cells[0] = '\0';
    fault = csv_split(&row, (struct slice){.data = text, .len = strlen(text)});
    for (size_t i = 0; fault == NULL && i < row.count; i++) {
        used += (size_t)snprintf(cells + used, 256 - used, row.cells[i].is_quoted ? "%s<%.*s>" : "%s%.*s",
                                 i > 0 ? "|" : "", (int)row.cells[i].text.len, row.cells[i].text.data);
    }
    csv_row_free(&row);
    return fault;
}

static void cells_are_split_and_their_quotes_read(void **state)
{
    static const struct {
        const char *text, *cells;
    } cases[] = {
        {"", ""},
        {"a", "a"},
        {"a,b,c\r\n", "a|b|c"},
        {",,", "||"},
        {"a,b\r", "a|b\r"}, /* no line end: whoever found the row has taken that away */
        {"\"\",x,", "<>|x|"},
        {"\"a,b\",\"c\"\"d\"\n", "<a,b>|<c\"d>"},
        {"\"\"\"\"", "<\">"},
        {"\"line\r\nbreak\",x\n", "<line\r\nbreak>|x"},
        {" a , b ", " a | b "},
        {"\xC3\xA9,\xE6\xBC\xA2", "\xC3\xA9|\xE6\xBC\xA2"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char cells[256];

        if (split(cases[i].text, cells) != NULL || strcmp(cells, cases[i].cells) != 0) {
            fail_msg("case %zu: %s, not %s", i, cells, cases[i].cells);
        }
    }
}

static void what_is_wrong_with_a_row_is_said(void **state)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"\"a", "not closed"},       {"a,\"", "not closed"},        {"\"a\"b,c", "behind a closing quote"},
        {"a\"b,c", "within a cell"}, {"a, \"b\"", "within a cell"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char cells[256];
        const char *fault = split(cases[i].text, cells);

        if (fault == NULL || strstr(fault, cases[i].fault) == NULL) {
            fail_msg("case %zu: %s", i, fault == NULL ? cells : fault);
        }
    }
}

static void a_row_of_commas_is_bounded(void **state)
{
    static char commas[CSV_CELLS_MAX + 1];
    struct csv_row row;

    memset(commas, ',', CSV_CELLS_MAX);
    csv_row_init(&row);
    assert_non_null(strstr(csv_split(&row, (struct slice){.data = commas, .len = CSV_CELLS_MAX}), "10000"));
    assert_null(csv_split(&row, (struct slice){.data = commas, .len = CSV_CELLS_MAX - 1}));
    assert_int_equal(row.count, CSV_CELLS_MAX);
    csv_row_free(&row);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_ends_where_a_line_ends_outside_quotes),
        cmocka_unit_test(cells_are_split_and_their_quotes_read),
        cmocka_unit_test(what_is_wrong_with_a_row_is_said),
        cmocka_unit_test(a_row_of_commas_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
