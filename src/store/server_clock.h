/* The clock of a database server, as far as it can be known from what the server tells of it.
 *
 * A moment of ours is said in the server's time without any trust in our own clock's date or in the network:
 * what the server told when it was heard is never later than what its clock shows then, so the same distance
 * behind it is never later than the moment meant. Only the rates of the two clocks count, which Linux
 * changes by no more than 500 in a million (adjtimex(2)); that much of each is allowed for. */
#ifndef INCIDENTS_STORE_SERVER_CLOCK_H
#define INCIDENTS_STORE_SERVER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* All zero: nothing was heard yet. */
struct server_clock {
    int64_t server_us;  /* microseconds since 1970, of the server's clock */
    int64_t heard_ms;   /* of clock_now_ms() */
    int64_t started_us; /* when the server was started, of its clock: which server it is */
};

/* The server has told its time, and when it was started, in an answer to what was sent at sent_ms. */
void server_clock_hear(struct server_clock *clock, int64_t server_us, int64_t started_us, int64_t sent_ms,
                       int64_t heard_ms);

/* Whether it was heard lately enough to be gone by. */
bool server_clock_is_fresh(const struct server_clock *clock, int64_t now_ms);

/* The server's time, in microseconds since 1970, that is surely not later than that moment of clock_now_ms().
 */
int64_t server_clock_at(const struct server_clock *clock, int64_t moment_ms);

#endif
