/* The lines that wait for the log's writer: their order, and what is told of those that found no room. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/log_buffer.h"

static struct log_buffer buffer;

static bool put(const char *line)
{
    return log_buffer_append(&buffer, line, strlen(line));
}

static void expect_batch(const char *text, uint64_t lines, uint64_t dropped)
{
    struct log_batch batch = log_buffer_swap(&buffer);

    assert_int_equal(batch.len, strlen(text));
    assert_memory_equal(batch.text, text, batch.len);
    assert_int_equal(batch.lines, lines);
    assert_int_equal(batch.dropped, dropped);
}

static void lines_come_out_in_their_order(void **state)
{
    assert_true(put("one\n"));
    assert_true(put("two\n"));
    expect_batch("one\ntwo\n", 2, 0);
    assert_true(put("three\n"));
    expect_batch("three\n", 1, 0);
    expect_batch("", 0, 0);
}

static void what_was_returned_stays_while_the_next_lines_come(void **state)
{
    struct log_batch batch;

    assert_true(put("being written\n"));
    batch = log_buffer_swap(&buffer);
    while (put("next\n")) {
    }
    assert_memory_equal(batch.text, "being written\n", batch.len);
    log_buffer_swap(&buffer);
}

/* Fills it up to so many bytes. */
static void fill(size_t bytes)
{
    static const char line[] = "0123456789abcde\n";
    size_t left = bytes;

    while (left >= 16) {
        assert_true(put(line));
        left -= 16;
    }
    assert_true(left == 0 || log_buffer_append(&buffer, line + 16 - left, left));
}

static void the_last_byte_is_used_and_none_beyond_it(void **state)
{
    fill(LOG_BUFFER_BYTES - 4);
    assert_true(put("end\n"));
    assert_false(put("\n"));
    assert_int_equal(log_buffer_swap(&buffer).len, LOG_BUFFER_BYTES);
}

static void what_follows_a_dropped_line_is_dropped_until_there_is_room(void **state)
{
    struct log_batch batch;

    fill(LOG_BUFFER_BYTES - 4);
    assert_false(put("too long\n"));
    assert_false(put("fit\n"));
    batch = log_buffer_swap(&buffer);
    assert_int_equal(batch.len, LOG_BUFFER_BYTES - 4);
    assert_int_equal(batch.dropped, 2);
    assert_true(put("room\n"));
    expect_batch("room\n", 1, 0);
}

static void it_says_when_it_is_empty_and_when_half_full(void **state)
{
    assert_true(log_buffer_is_empty(&buffer));
    fill(LOG_BUFFER_BYTES / 2);
    assert_false(log_buffer_is_empty(&buffer));
    assert_false(log_buffer_is_half_full(&buffer));
    assert_true(put("\n"));
    assert_true(log_buffer_is_half_full(&buffer));
    log_buffer_swap(&buffer);
    assert_true(log_buffer_is_empty(&buffer));
    assert_false(log_buffer_is_half_full(&buffer));
}

static int set_up(void **state)
{
    return log_buffer_init(&buffer) ? 0 : -1;
}

static int tear_down(void **state)
{
    log_buffer_free(&buffer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines_come_out_in_their_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_returned_stays_while_the_next_lines_come, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_byte_is_used_and_none_beyond_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_follows_a_dropped_line_is_dropped_until_there_is_room, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(it_says_when_it_is_empty_and_when_half_full, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("the log's buffer", tests, NULL, NULL);
}
