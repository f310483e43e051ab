/* One thread's events, by epoll(7): each descriptor has one handler and one owner. */
#ifndef INCIDENTS_LOOP_LOOP_H
#define INCIDENTS_LOOP_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* No deadline. */
#define LOOP_NEVER INT64_MAX

struct loop {
    int epoll; /* below 0 while it is not open */
};

/* Called while its descriptor is ready. It may close its own descriptor and free its own handler, but another
 * one's only if that is not watched, as its event may be the next of this iteration. */
struct loop_handler {
    void (*ready)(void *context, uint32_t events); /* as epoll_ctl(2) names them */
    void *context;
};

/* False, with errno set, on failure. */
bool loop_open(struct loop *loop);
void loop_close(struct loop *loop);

/* Has the handler called whenever the descriptor is ready for one of the events, or was hung up, until
 * loop_unwatch or until the descriptor is closed. False, with errno set, on failure. */
bool loop_watch(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler);

/* Replaces the events. */
bool loop_change(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler);

void loop_unwatch(const struct loop *loop, int descriptor);

/* Waits for events, until clock_now_ms() is until_ms at the latest, and calls their handlers. */
void loop_run_once(const struct loop *loop, int64_t until_ms);

#endif
