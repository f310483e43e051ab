/* Timestamps with the instant that the HTTP contract reads in each, for any test that sends one. */
#ifndef INCIDENTS_TESTS_CASES_TIMESTAMPS_H
#define INCIDENTS_TESTS_CASES_TIMESTAMPS_H

#include <stddef.h>

/* `text` is UTF-8, unique in the table and may hold control characters, never a NUL. `utc` is the instant as
 * timestamp_format writes it, NULL where the text must be refused. */
struct timestamp_case {
    const char *text;
    const char *utc;
};

extern const struct timestamp_case timestamp_cases[];
extern const size_t timestamp_case_count;

#endif
