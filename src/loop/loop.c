/* One thread's events. */
#include "loop/loop.h"

#include <unistd.h>

#include "base/clock.h"

enum { EVENTS_MAX = 128, WAIT_MAX_MS = 60000 };

bool loop_open(struct loop *loop)
{
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    return loop->epoll >= 0;
}

void loop_close(struct loop *loop)
{
    if (loop->epoll >= 0) {
        close(loop->epoll);
        loop->epoll = -1;
    }
}

static bool control(const struct loop *loop, int operation, int descriptor, uint32_t events,
                    struct loop_handler *handler)
{
    struct epoll_event event = {.events = events, .data.ptr = handler};

    return epoll_ctl(loop->epoll, operation, descriptor, &event) == 0;
}

bool loop_watch(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler)
{
    return control(loop, EPOLL_CTL_ADD, descriptor, events, handler);
}

bool loop_change(const struct loop *loop, int descriptor, uint32_t events, struct loop_handler *handler)
{
    return control(loop, EPOLL_CTL_MOD, descriptor, events, handler);
}

void loop_unwatch(const struct loop *loop, int descriptor)
{
    control(loop, EPOLL_CTL_DEL, descriptor, 0, NULL);
}

static int wait_ms(int64_t until_ms)
{
    int64_t left_ms = until_ms == LOOP_NEVER ? WAIT_MAX_MS : until_ms - clock_now_ms();

    return left_ms > WAIT_MAX_MS ? WAIT_MAX_MS : left_ms > 0 ? (int)left_ms : 0;
}

void loop_run_once(const struct loop *loop, int64_t until_ms)
{
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(loop->epoll, events, EVENTS_MAX, wait_ms(until_ms));

    for (int i = 0; i < count; i++) {
        struct loop_handler *handler = events[i].data.ptr;

        handler->ready(handler->context, events[i].events);
    }
}
