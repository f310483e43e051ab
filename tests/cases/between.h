/* A check that cmocka 1 and 2 spell differently. */
#ifndef INCIDENTS_TESTS_BETWEEN_H
#define INCIDENTS_TESTS_BETWEEN_H

/* Fails unless low <= value <= high; all three fit a long long. Behind <cmocka.h>. */
#define assert_between(value, low, high)                                                                     \
    do {                                                                                                     \
        long long value_ = (long long)(value), low_ = (long long)(low), high_ = (long long)(high);           \
                                                                                                             \
        if (value_ < low_ || value_ > high_) {                                                               \
            fail_msg("%s is %lld, not from %lld to %lld", #value, value_, low_, high_);                      \
        }                                                                                                    \
    } while (0)

#endif
