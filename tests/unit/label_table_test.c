/* Labels in shared memory: each has its row, there are no more than that, and nobody waits for anybody. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/label_table.h"

static struct label_table table;

static int clear(void **state)
{
    memset(&table, 0, sizeof table);
    return 0;
}

static void a_label_is_found_where_it_was_entered(void **state)
{
    size_t first = label_table_find(&table, "statuspage bot"), second = label_table_find(&table, "backfill");

    assert_true(first < LABEL_TABLE_ROWS && second < LABEL_TABLE_ROWS && first != second);
    assert_int_equal(label_table_find(&table, "statuspage bot"), first);
    assert_int_equal(label_table_find(&table, "backfill"), second);
    assert_string_equal(label_table_text(&table, first), "statuspage bot");
    assert_string_equal(label_table_text(&table, second), "backfill");
}

static void one_that_begins_as_another_is_another(void **state)
{
    assert_int_not_equal(label_table_find(&table, "bot"), label_table_find(&table, "bot 2"));
    assert_int_not_equal(label_table_find(&table, ""), label_table_find(&table, "bot"));
    assert_string_equal(label_table_text(&table, label_table_find(&table, "")), "");
}

static void what_is_over_the_rows_has_none(void **state)
{
    char label[32];
    bool has_row[LABEL_TABLE_ROWS] = {false};

    for (int i = 0; i < LABEL_TABLE_ROWS; i++) {
        size_t row;

        snprintf(label, sizeof label, "label %d", i);
        row = label_table_find(&table, label);
        assert_true(row < LABEL_TABLE_ROWS && !has_row[row]);
        has_row[row] = true;
    }
    for (int i = LABEL_TABLE_ROWS; i < 10000; i++) {
        snprintf(label, sizeof label, "label %d", i);
        assert_int_equal(label_table_find(&table, label), LABEL_TABLE_ROWS);
    }
    assert_true(label_table_find(&table, "label 0") < LABEL_TABLE_ROWS);
}

/* Prometheus refuses a text that is not UTF-8. */
static void a_label_is_cut_between_characters(void **state)
{
    char label[200] = "", expected[LABEL_TABLE_BYTES] = "";
    size_t row;

    for (int i = 0; i < 40; i++) {
        strncat(label, "\xC3\xA9", sizeof label - strlen(label) - 1);
    }
    memcpy(expected, label, 62);
    row = label_table_find(&table, label);
    assert_string_equal(label_table_text(&table, row), expected);
    assert_int_equal(label_table_find(&table, label), row);
    assert_string_equal(label_table_text(&table, label_table_find(&table, "cut \xE2\x82")), "cut ");
    memset(label, 'x', 63);
    label[63] = '\0';
    assert_string_equal(label_table_text(&table, label_table_find(&table, label)), label);
}

/* As a process leaves it that is killed between its claim and the text. */
static void a_row_that_was_claimed_and_left_stops_nobody(void **state)
{
    size_t row = label_table_find(&table, "killed"), next;

    table.rows[row].state = 1;
    next = label_table_find(&table, "killed");
    assert_true(next < LABEL_TABLE_ROWS && next != row);
    assert_null(label_table_text(&table, row));
    assert_int_equal(label_table_find(&table, "killed"), next);
}

enum { THREADS = 4, LABELS = 40, ROUNDS = 2000 };

static void *enter_all(void *unused)
{
    char label[32];

    (void)unused;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < LABELS; i++) {
            size_t row;

            snprintf(label, sizeof label, "label %d", i);
            row = label_table_find(&table, label);
            if (row < LABEL_TABLE_ROWS && strcmp(label_table_text(&table, row), label) != 0) {
                return "a row has another's label";
            }
        }
    }
    return NULL;
}

static void labels_are_entered_at_the_same_time(void **state)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, enter_all, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *fault;

        assert_int_equal(pthread_join(threads[i], &fault), 0);
        assert_null(fault);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_label_is_found_where_it_was_entered, clear),
        cmocka_unit_test_setup(one_that_begins_as_another_is_another, clear),
        cmocka_unit_test_setup(what_is_over_the_rows_has_none, clear),
        cmocka_unit_test_setup(a_label_is_cut_between_characters, clear),
        cmocka_unit_test_setup(a_row_that_was_claimed_and_left_stops_nobody, clear),
        cmocka_unit_test_setup(labels_are_entered_at_the_same_time, clear),
    };

    return cmocka_run_group_tests_name("label_table", tests, NULL, NULL);
}
