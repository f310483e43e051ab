/* Time that only goes forward, for deadlines and durations. */
#ifndef INCIDENTS_BASE_CLOCK_H
#define INCIDENTS_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_now_ms(void);

static inline int64_t clock_earlier(int64_t one_ms, int64_t other_ms)
{
    return one_ms < other_ms ? one_ms : other_ms;
}

static inline int64_t clock_later(int64_t one_ms, int64_t other_ms)
{
    return one_ms > other_ms ? one_ms : other_ms;
}

/* That many milliseconds, not below 0, as system calls want them; cut off at 68 years, where a time_t of 32
 * bits ends. */
struct timespec clock_timespec(int64_t milliseconds);

/* Waits until the descriptor is ready for events, those of poll(2); false once clock_now_ms() has passed
 * deadline_ms and it is not ready even now, or where it cannot be waited for (errno), as one below 0. */
bool clock_poll(int descriptor, short events, int64_t deadline_ms);

#endif
