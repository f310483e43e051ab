/* The store while there is no database at all: what is said to whom, and when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "store/store.h"

enum { DEADLINE_MS = 300, WAIT_MS = 20000, OPS = 4 };

static struct settings settings;
static struct loop loop;
static struct store *store;
static struct store_op ops[OPS];
static int done_count, turn_count;

static void count_done(void *context)
{
    const struct store_op *op = context;

    assert_int_equal(op->outcome, OP_UNAVAILABLE);
    done_count++;
}

static void submit(size_t number)
{
    assert_true(op_ping(&ops[number]));
    store_submit(store, &ops[number], count_done, &ops[number]);
}

static void turn(int64_t until_ms)
{
    int64_t due_ms = store_due_ms(store);

    turn_count++;
    loop_run_once(&loop, due_ms < until_ms ? due_ms : until_ms);
    store_run_once(store);
}

static void run_until_done(int count)
{
    int64_t limit_ms = clock_now_ms() + WAIT_MS;

    while (done_count < count) {
        assert_true(clock_now_ms() < limit_ms);
        turn(limit_ms);
    }
}

/* It has nothing to do but to try again now and then. */
static void the_loop_does_not_turn_for_nothing(void **state)
{
    for (int i = 1; i <= 3; i++) {
        submit(0);
        run_until_done(i);
        op_free(&ops[0]);
    }
    assert_true(turn_count < 300);
}

/* Turns for so long. */
static void turn_for(int64_t time_ms)
{
    int64_t until_ms = clock_now_ms() + time_ms;

    while (clock_now_ms() < until_ms) {
        turn(until_ms);
    }
}

/* A tenth of its time before the end, when it could not be stored in time any more. */
static void an_operation_is_given_up_when_its_time_is_up(void **state)
{
    int64_t started_ms = clock_now_ms();

    submit(0);
    assert_int_equal(done_count, 0); /* nobody is called back within the call */
    run_until_done(1);
    assert_true(clock_now_ms() >= started_ms + DEADLINE_MS - DEADLINE_MS / 10);
    assert_int_equal(done_count, 1);
    assert_true(ops[0].queue_ms >= DEADLINE_MS - DEADLINE_MS / 10);
    assert_int_equal(ops[0].database_ms, 0);
}

static void where_no_more_may_wait_the_next_is_refused_at_once(void **state)
{
    submit(0);
    submit(1);
    submit(2); /* over INCIDENTS_QUEUE_MAX */
    assert_int_equal(done_count, 0);
    assert_true(store_due_ms(store) <= clock_now_ms());
    store_run_once(store);
    assert_int_equal(done_count, 1);
    assert_int_equal(ops[2].outcome, OP_UNAVAILABLE);
    assert_int_equal(ops[0].outcome, OP_PENDING);
    run_until_done(3);
}

/* Whoever waited would most likely wait for nothing. */
static void once_it_is_known_to_be_away_all_are_refused_at_once(void **state)
{
    submit(0);
    run_until_done(1);
    turn_for(DEADLINE_MS);
    submit(1);
    store_run_once(store);
    assert_int_equal(done_count, 2);
}

/* Plain CGI's, which opens its connection itself. */
static void a_store_for_one_request_gives_up_in_time(void **state)
{
    struct store *single = store_start(&settings, NULL);
    int64_t started_ms = clock_now_ms();

    assert_non_null(single);
    assert_true(op_ping(&ops[0]));
    store_apply(single, &ops[0]);
    assert_int_equal(ops[0].outcome, OP_UNAVAILABLE);
    assert_true(clock_now_ms() >= started_ms + DEADLINE_MS - DEADLINE_MS / 10);
    store_stop(single);
}

static void a_stop_waits_for_what_was_submitted(void **state)
{
    submit(0);
    submit(1);
    store_stop(store);
    store = NULL;
    assert_int_equal(done_count, 2);
}

/* A sanitizer sees what is not freed. */
static void a_stop_frees_a_probe_that_is_under_way(void **state)
{
    submit(0);
    run_until_done(1);
    turn_for(700); /* half a second behind a failure it is asked whether it is back, for two seconds */
    store_stop(store);
    store = NULL;
    assert_int_equal(done_count, 1);
}

static int start(void **state)
{
    settings = (struct settings){.request_timeout_ms = DEADLINE_MS,
                                 .db_pool_size = 2,
                                 .batch_max = 8,
                                 .queue_max = 2,
                                 .database_url = ""};
    snprintf(settings.database_url, sizeof settings.database_url, "host=/nowhere");
    done_count = turn_count = 0;
    store = loop_open(&loop) ? store_start(&settings, &loop) : NULL;
    return store != NULL ? 0 : -1;
}

static int finish(void **state)
{
    if (store != NULL) {
        store_stop(store);
    }
    loop_close(&loop);
    for (size_t i = 0; i < OPS; i++) {
        op_free(&ops[i]);
        ops[i] = (struct store_op){0};
    }
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(an_operation_is_given_up_when_its_time_is_up),
        CASE(the_loop_does_not_turn_for_nothing),
        CASE(where_no_more_may_wait_the_next_is_refused_at_once),
        CASE(once_it_is_known_to_be_away_all_are_refused_at_once),
        CASE(a_store_for_one_request_gives_up_in_time),
        CASE(a_stop_waits_for_what_was_submitted),
        CASE(a_stop_frees_a_probe_that_is_under_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
