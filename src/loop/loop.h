/* One thread's events: each descriptor has one handler, and one owner. */
#ifndef INCIDENTS_LOOP_LOOP_H
#define INCIDENTS_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* No time at all: nothing is due. */
#define LOOP_NEVER INT64_MAX

struct loop {
    int epoll; /* below 0 while it is not open */
};

/* Whose descriptor is ready is told by a call. It may close its own descriptor, and free its own handler; of
 * others only what has no descriptor in the loop, for their event may be the next of this turn. */
struct loop_handler {
    void (*ready)(void *context, uint32_t events); /* as epoll_ctl(2) names them */
    void *context;
};

/* False, and errno says why, where there is none to be had. */
bool loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Has the handler called whenever the descriptor is ready for one of the events, or hung up. The handler must
 * live until loop_unwatch, or until the descriptor is closed, which ends it too. False, and errno says why,
 * where the kernel has no room. */
bool loop_watch(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler);

/* The same with other events from now on. */
bool loop_change(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler);

void loop_unwatch(const struct loop *loop, int descriptor);

/* Waits for events, until clock_now_ms() is until_ms at the latest, and calls their handlers. */
void loop_turn(const struct loop *loop, int64_t until_ms);

#endif
