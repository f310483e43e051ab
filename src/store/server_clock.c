/* The clock of a database server, as far as it can be known from what the server tells of it. */
#include "store/server_clock.h"

#include <stdlib.h>

enum {
    FRESH_MS = 60 * 1000,
    QUICK_MS = 1000, /* an answer that came this soon says the time well enough */
    DRIFT_DIVISOR = 1000,
};

static int64_t offset_us(int64_t server_us, int64_t heard_ms)
{
    return server_us - heard_ms * 1000;
}

/* A slow answer tells the time of long ago. It counts where it bounds the time better all the same: any
 * answer does, unless the server's clock was set back since. */
void server_clock_hear(struct server_clock *clock, int64_t server_us, int64_t started_us, int64_t sent_ms,
                       int64_t heard_ms)
{
    bool is_same = clock->heard_ms != 0 && clock->started_us == started_us;

    heard_ms++; /* clock_now_ms() cuts off what is less than a millisecond */
    if (is_same && server_clock_is_fresh(clock, heard_ms) && heard_ms - sent_ms > QUICK_MS &&
        offset_us(server_us, heard_ms) < offset_us(clock->server_us, clock->heard_ms)) {
        return;
    }
    *clock = (struct server_clock){.server_us = server_us, .heard_ms = heard_ms, .started_us = started_us};
}

bool server_clock_is_fresh(const struct server_clock *clock, int64_t now_ms)
{
    return clock->heard_ms != 0 && now_ms - clock->heard_ms < FRESH_MS;
}

int64_t server_clock_at(const struct server_clock *clock, int64_t moment_ms)
{
    int64_t distance_us = (moment_ms - clock->heard_ms) * 1000;

    return clock->server_us + distance_us - llabs(distance_us) / DRIFT_DIVISOR;
}
