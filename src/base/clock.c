/* Time that only goes forward, for deadlines and durations. */
#include "base/clock.h"

#include <errno.h>
#include <poll.h>

enum { POLL_MAX_MS = 60000 };

int64_t clock_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct timespec clock_timespec(int64_t milliseconds)
{
    int64_t seconds = milliseconds / 1000;

    return (struct timespec){.tv_sec = (time_t)(seconds < INT32_MAX ? seconds : INT32_MAX),
                             .tv_nsec = (long)(milliseconds % 1000) * 1000000};
}

bool clock_poll(int descriptor, short events, int64_t deadline_ms)
{
    struct pollfd polled = {.fd = descriptor, .events = events};

    while (descriptor >= 0) {
        int64_t left_ms = deadline_ms - clock_now_ms();
        int ready = poll(&polled, 1, left_ms > POLL_MAX_MS ? POLL_MAX_MS : left_ms > 0 ? (int)left_ms : 0);

        if (ready > 0) {
            return true;
        }
        if (left_ms <= 0 || (ready < 0 && errno != EINTR)) {
            break;
        }
    }
    return false;
}
