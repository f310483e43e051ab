/* What is known of a server's clock: never a time that is later than what the server shows at that time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/server_clock.h"

enum { SERVER_US = 5000000, STARTED_US = 77, RECEIVED_MS = 1000 };

/* Heard at RECEIVED_MS, in a response that took so long. */
static struct server_clock received(int64_t took_ms)
{
    struct server_clock clock = {0};

    server_clock_update(&clock, SERVER_US, STARTED_US, RECEIVED_MS - took_ms, RECEIVED_MS);
    return clock;
}

static void a_clock_that_was_never_heard_is_not_fresh(void **state)
{
    struct server_clock clock = {0};

    assert_false(server_clock_is_fresh(&clock, 0));
    assert_false(server_clock_is_fresh(&clock, 1000));
}

static void it_is_fresh_for_a_minute(void **state)
{
    struct server_clock clock = received(0);

    assert_true(server_clock_is_fresh(&clock, RECEIVED_MS));
    assert_true(server_clock_is_fresh(&clock, RECEIVED_MS + 60000));
    assert_false(server_clock_is_fresh(&clock, RECEIVED_MS + 60001));
}

/* A millisecond is taken off for what the clock cuts off, and a thousandth of the distance for the two
 * clocks' rates. */
static void a_moment_is_never_said_too_late(void **state)
{
    static const struct {
        int64_t after_ms, expected_us;
    } times[] = {
        {1, 0}, {2, 999}, {1001, 999000}, {10001, 9990000}, {0, -1001}, {-999, -1001000},
    };
    struct server_clock clock = received(0);

    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        assert_int_equal(server_clock_at(&clock, RECEIVED_MS + times[i].after_ms) - SERVER_US,
                         times[i].expected_us);
    }
}

static void a_quick_response_replaces_what_was_heard_before(void **state)
{
    struct server_clock clock = received(0);

    server_clock_update(&clock, SERVER_US - 500000, STARTED_US, 2000, 2001); /* the clock was set back */
    assert_int_equal(server_clock_at(&clock, 2002), SERVER_US - 500000);
}

/* Which tells the time of when it was on its way. */
static void a_slow_response_counts_only_where_it_bounds_the_time_better(void **state)
{
    struct server_clock clock = received(0);

    server_clock_update(&clock, SERVER_US + 500000, STARTED_US, 1000, 4000); /* two and a half seconds ago */
    assert_int_equal(clock.server_us, SERVER_US);
    server_clock_update(&clock, SERVER_US + 3500000, STARTED_US, 1000, 4000);
    assert_int_equal(clock.server_us, SERVER_US + 3500000);
}

static void a_slow_response_replaces_what_is_not_fresh_or_of_another_server(void **state)
{
    struct server_clock clock = received(0);

    server_clock_update(&clock, SERVER_US, STARTED_US + 1, 1000, 4000);
    assert_int_equal(clock.started_us, STARTED_US + 1);
    server_clock_update(&clock, SERVER_US + 1, STARTED_US + 1, 100000, 200000);
    assert_int_equal(clock.server_us, SERVER_US + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_was_never_heard_is_not_fresh),
        cmocka_unit_test(it_is_fresh_for_a_minute),
        cmocka_unit_test(a_moment_is_never_said_too_late),
        cmocka_unit_test(a_quick_response_replaces_what_was_heard_before),
        cmocka_unit_test(a_slow_response_counts_only_where_it_bounds_the_time_better),
        cmocka_unit_test(a_slow_response_replaces_what_is_not_fresh_or_of_another_server),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
