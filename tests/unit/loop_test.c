/* The loop: who is called, when, and what a handler may do. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/loop.h"

enum { MANY = 300, WAIT_MS = 60 };

static struct loop loop;

/* One end of a socket pair, and what its handler has seen. */
struct end {
    struct loop_handler handler;
    int descriptor, other;
    int calls;
    uint32_t events;
};

static void note_call(void *context, uint32_t events)
{
    struct end *end = context;

    end->calls++;
    end->events = events;
}

static void open_end(struct end *end, void (*ready)(void *context, uint32_t events))
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    *end = (struct end){.handler = {.ready = ready, .context = end}, .descriptor = pair[0], .other = pair[1]};
}

static void close_end(struct end *end)
{
    close(end->descriptor);
    close(end->other);
}

static void write_to(const struct end *end)
{
    assert_int_equal(write(end->other, "x", 1), 1);
}

static void read_from(const struct end *end)
{
    char byte;

    assert_int_equal(read(end->descriptor, &byte, 1), 1);
}

static void a_handler_is_called_while_its_descriptor_is_ready(void **state)
{
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 0);
    write_to(&end);
    loop_run_once(&loop, 0);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 2);
    assert_int_equal(end.events, EPOLLIN);
    read_from(&end);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 2);
    close_end(&end);
}

static void that_the_other_end_has_closed_is_told_unasked(void **state)
{
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, 0, &end.handler));
    close(end.other);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 1);
    assert_true((end.events & EPOLLHUP) != 0);
    close(end.descriptor);
}

static void other_events_can_be_asked_for(void **state)
{
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    assert_true(loop_change(&loop, end.descriptor, EPOLLIN | EPOLLOUT, &end.handler));
    loop_run_once(&loop, 0);
    assert_int_equal(end.events, EPOLLOUT);
    write_to(&end);
    loop_run_once(&loop, 0);
    assert_int_equal(end.events, EPOLLIN | EPOLLOUT);
    assert_true(loop_change(&loop, end.descriptor, EPOLLIN, &end.handler));
    loop_run_once(&loop, 0);
    assert_int_equal(end.events, EPOLLIN);
    close_end(&end);
}

static void what_is_unwatched_is_told_no_more_until_it_is_watched_again(void **state)
{
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    write_to(&end);
    loop_unwatch(&loop, end.descriptor);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 0);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 1);
    close_end(&end);
}

static void what_cannot_be_watched_is_said(void **state)
{
    struct loop_handler handler = {.ready = note_call};

    errno = 0;
    assert_false(loop_watch(&loop, -1, EPOLLIN, &handler));
    assert_int_equal(errno, EBADF);
}

/* ---- Handlers that end themselves ---- */

static int closed_count;

static void close_itself(void *context, uint32_t events)
{
    struct end *end = context;

    (void)events;
    close_end(end);
    free(end);
    closed_count++;
}

/* A sanitizer sees who is called behind its end. */
static void a_handler_may_close_its_descriptor_and_free_itself(void **state)
{
    struct end staying;

    closed_count = 0;
    open_end(&staying, note_call);
    for (int i = 0; i < 20; i++) {
        struct end *end = malloc(sizeof *end);

        assert_non_null(end);
        open_end(end, close_itself);
        assert_true(loop_watch(&loop, end->descriptor, EPOLLIN, &end->handler));
        write_to(end);
        if (i == 10) {
            assert_true(loop_watch(&loop, staying.descriptor, EPOLLIN, &staying.handler));
            write_to(&staying);
        }
    }
    loop_run_once(&loop, 0);
    loop_run_once(&loop, 0);
    assert_int_equal(closed_count, 20);
    assert_int_equal(staying.calls, 2);
    close_end(&staying);
}

/* Closes its descriptor, and has another with the same number, which is not ready. */
static void reopen(void *context, uint32_t events)
{
    struct end *end = context;
    int number = end->descriptor;

    note_call(context, events);
    close_end(end);
    open_end(end, note_call);
    assert_int_equal(end->descriptor, number);
    assert_true(loop_watch(&loop, end->descriptor, EPOLLIN, &end->handler));
}

static void a_new_descriptor_has_nothing_of_one_before_it_with_its_number(void **state)
{
    struct end end;

    open_end(&end, reopen);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    write_to(&end);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 0); /* of the new one */
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 0);
    write_to(&end);
    loop_run_once(&loop, 0);
    assert_int_equal(end.calls, 1);
    close_end(&end);
}

/* More than one turn takes. */
static void everyone_has_a_turn(void **state)
{
    static struct end ends[MANY];
    int called = 0;

    for (int i = 0; i < MANY; i++) {
        open_end(&ends[i], note_call);
        assert_true(loop_watch(&loop, ends[i].descriptor, EPOLLIN, &ends[i].handler));
        write_to(&ends[i]);
    }
    for (int turns = 0; turns < 4; turns++) {
        loop_run_once(&loop, 0);
    }
    for (int i = 0; i < MANY; i++) {
        called += ends[i].calls > 0;
        close_end(&ends[i]);
    }
    assert_int_equal(called, MANY);
}

/* ---- Time ---- */

static void it_waits_until_then(void **state)
{
    int64_t until_ms = clock_now_ms() + WAIT_MS;

    loop_run_once(&loop, until_ms);
    assert_true(clock_now_ms() >= until_ms);
}

/* However late it is. */
static void it_does_not_wait_for_what_is_due_already(void **state)
{
    static const int64_t times[] = {INT64_MIN / 2, -1, 0, 1};
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    write_to(&end);
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        loop_run_once(&loop, times[i]);
    }
    loop_run_once(&loop, clock_now_ms() - 1);
    assert_int_equal(end.calls, 5);
    close_end(&end);
}

static void an_event_ends_the_wait(void **state)
{
    struct end end;

    open_end(&end, note_call);
    assert_true(loop_watch(&loop, end.descriptor, EPOLLIN, &end.handler));
    write_to(&end);
    loop_run_once(&loop, LOOP_NEVER);
    loop_run_once(&loop, INT64_MAX - 1);
    loop_run_once(&loop, clock_now_ms() + ((int64_t)1 << 40)); /* more than an int's milliseconds */
    assert_int_equal(end.calls, 3);
    close_end(&end);
}

static void a_loop_that_is_closed_is_closed_once(void **state)
{
    struct loop other;
    int number;

    assert_true(loop_open(&other));
    number = other.epoll;
    assert_true((fcntl(number, F_GETFD) & FD_CLOEXEC) != 0);
    loop_close(&other);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    assert_int_equal(other.epoll, -1);
    loop_close(&other);
}

static int start(void **state)
{
    return loop_open(&loop) ? 0 : -1;
}

static int finish(void **state)
{
    loop_close(&loop);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_handler_is_called_while_its_descriptor_is_ready),
        CASE(that_the_other_end_has_closed_is_told_unasked),
        CASE(other_events_can_be_asked_for),
        CASE(what_is_unwatched_is_told_no_more_until_it_is_watched_again),
        CASE(what_cannot_be_watched_is_said),
        CASE(a_handler_may_close_its_descriptor_and_free_itself),
        CASE(a_new_descriptor_has_nothing_of_one_before_it_with_its_number),
        CASE(everyone_has_a_turn),
        CASE(it_waits_until_then),
        CASE(it_does_not_wait_for_what_is_due_already),
        CASE(an_event_ends_the_wait),
        CASE(a_loop_that_is_closed_is_closed_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
