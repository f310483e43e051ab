/* Time that only goes forward, for deadlines and durations. */
#ifndef INCIDENTS_BASE_CLOCK_H
#define INCIDENTS_BASE_CLOCK_H

#include <stdint.h>

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_now_ms(void);

/* Sleeps for that many milliseconds, through interruptions. */
void clock_sleep_ms(int64_t milliseconds);

#endif
