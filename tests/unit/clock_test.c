/* Milliseconds as system calls want them, on machines of 32 bits too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"

static void milliseconds_become_seconds_and_nanoseconds(void **state)
{
    static const struct {
        int64_t milliseconds;
        long long seconds;
        long nanoseconds;
    } cases[] = {{0, 0, 0},
                 {999, 0, 999000000},
                 {1000, 1, 0},
                 {86400001, 86400, 1000000},
                 {INT64_C(2147483647999), 2147483647, 999000000}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct timespec time = clock_timespec(cases[i].milliseconds);

        assert_true((long long)time.tv_sec == cases[i].seconds);
        assert_true(time.tv_nsec == cases[i].nanoseconds);
    }
}

static void what_is_beyond_32_bits_is_as_late_as_these_go(void **state)
{
    static const int64_t cases[] = {INT64_C(2147483648000), INT64_C(4294967296000), INT64_MAX};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct timespec time = clock_timespec(cases[i]);

        assert_true((long long)time.tv_sec == INT32_MAX);
        assert_true(time.tv_nsec >= 0 && time.tv_nsec < 1000000000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(milliseconds_become_seconds_and_nanoseconds),
        cmocka_unit_test(what_is_beyond_32_bits_is_as_late_as_these_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
