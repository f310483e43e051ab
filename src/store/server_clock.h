/* The clock of a database server, as far as its responses show it.
 *
 * A time of ours is converted to the server's without trust in our own date or in the network: the time in a
 * response is never later than what the server's clock shows when the response arrives, so the same distance
 * from both is never later than the time meant. Only the rates of the two clocks matter. Linux changes a rate
 * by no more than 500 in a million (adjtimex(2)); that much of each is allowed for. */
#ifndef INCIDENTS_STORE_SERVER_CLOCK_H
#define INCIDENTS_STORE_SERVER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: unknown. */
struct server_clock {
    int64_t server_us;   /* microseconds since 1970, of the server's clock */
    int64_t received_ms; /* of clock_now_ms() */
    int64_t started_us;  /* when the server was started, of its clock: which server it is */
};

/* A response to what was sent at sent_ms has the server's time, and when it was started. */
void server_clock_update(struct server_clock *clock, int64_t server_us, int64_t started_us, int64_t sent_ms,
                         int64_t received_ms);

/* Whether it was updated within the last minute. */
bool server_clock_is_fresh(const struct server_clock *clock, int64_t now_ms);

/* The server's time, in microseconds since 1970, that is surely not later than time_ms of clock_now_ms(). */
int64_t server_clock_at(const struct server_clock *clock, int64_t time_ms);

#endif
