/* The clock of a database server. */
#include "store/server_clock.h"

#include <stdlib.h>

enum {
    FRESH_MS = 60 * 1000,
    QUICK_MS = 1000, /* a response within this time shows the clock well enough */
    DRIFT_DIVISOR = 1000,
};

static int64_t offset_us(int64_t server_us, int64_t received_ms)
{
    return server_us - received_ms * 1000;
}

/* A slow response may show an old time. It is used if it bounds the time better, which any response does,
 * unless the server's clock was set back. */
void server_clock_update(struct server_clock *clock, int64_t server_us, int64_t started_us, int64_t sent_ms,
                         int64_t received_ms)
{
    received_ms++; /* clock_now_ms() cuts off what is less than a millisecond */
    if (clock->started_us == started_us && server_clock_is_fresh(clock, received_ms) &&
        received_ms - sent_ms > QUICK_MS &&
        offset_us(server_us, received_ms) < offset_us(clock->server_us, clock->received_ms)) {
        return;
    }
    *clock =
        (struct server_clock){.server_us = server_us, .received_ms = received_ms, .started_us = started_us};
}

bool server_clock_is_fresh(const struct server_clock *clock, int64_t now_ms)
{
    return clock->received_ms != 0 && now_ms - clock->received_ms < FRESH_MS;
}

int64_t server_clock_at(const struct server_clock *clock, int64_t time_ms)
{
    int64_t distance_us = (time_ms - clock->received_ms) * 1000;

    return clock->server_us + distance_us - llabs(distance_us) / DRIFT_DIVISOR;
}
