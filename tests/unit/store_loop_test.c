/* The store on its loop, before a server that says what the test has it say: what it wakes up for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "harness/fake_postgres.h"
#include "store/store.h"

enum {
    WAIT_MS = 20000,
    LARGE_BYTES = 300 * 1024, /* more than a socket takes at once, less than twice as much */
};

static struct settings settings;
static struct loop loop;
static struct store *store;
static struct fake_postgres server;
static struct store_op op;
static int done_count;

static void count_done(void *context)
{
    (void)context;
    done_count++;
}

static void submit(void)
{
    assert_true(op_ping(&op));
    store_submit(store, &op, count_done, NULL);
    store_turn(store);
}

/* One with a record of many bytes. */
static void submit_large(void)
{
    static const char zeros[LARGE_BYTES];

    assert_true(op_ping(&op));
    buffer_append(&op.record, zeros, sizeof zeros);
    store_submit(store, &op, count_done, NULL);
    store_turn(store);
}

static void turn(void)
{
    int64_t due_ms = store_due_ms(store), limit_ms = clock_now_ms() + WAIT_MS;

    loop_turn(&loop, due_ms < limit_ms ? due_ms : limit_ms);
    store_turn(store);
}

static void turn_until_done(int count)
{
    int64_t limit_ms = clock_now_ms() + WAIT_MS;

    while (done_count < count) {
        assert_true(clock_now_ms() < limit_ms);
        turn();
    }
}

/* Whether the loop would wake up now. */
static bool is_awake(void)
{
    struct epoll_event event;

    return epoll_wait(loop.epoll, &event, 1, 0) > 0 || store_due_ms(store) <= clock_now_ms();
}

/* Has the store connect for what was submitted, and greet. */
static void welcome(void)
{
    fake_postgres_accept(&server);
    fake_postgres_read(&server); /* what libpq begins with */
    turn();
    fake_postgres_read(&server);
    fake_postgres_say_greeting(&server);
    turn();
}

static void behind_a_batch_it_sleeps(void **state)
{
    (void)state;
    submit();
    welcome();
    fake_postgres_read(&server);
    assert_false(is_awake());
    fake_postgres_say_outcomes(&server, "ready", 1);
    turn_until_done(1);
    assert_int_equal(op.outcome, OP_READY);
    assert_false(is_awake());
}

/* The worker had no processor for a while: what it could not send before, and the response, are one event. */
static void it_sleeps_behind_a_response_that_comes_with_room_for_the_rest_of_the_batch(void **state)
{
    (void)state;
    submit_large();
    welcome();
    assert_false(is_awake()); /* the socket is full */
    fake_postgres_say_outcomes(&server, "ready", 1);
    assert_in_range(fake_postgres_read(&server), LARGE_BYTES / 2, LARGE_BYTES);
    turn();
    assert_int_equal(done_count, 1);
    assert_int_equal(op.outcome, OP_READY);
    fake_postgres_read(&server); /* there is room for everything */
    assert_false(is_awake());
}

static int start(void **state)
{
    (void)state;
    fake_postgres_listen(&server);
    settings = (struct settings){
        .request_timeout_ms = WAIT_MS, .db_pool_size = 1, .batch_max = 8, .queue_max = 8, .database_url = ""};
    (void)snprintf(settings.database_url, sizeof settings.database_url,
                   "host=%s port=1 user=anyone dbname=any gssencmode=disable", server.directory);
    done_count = 0;
    store = loop_open(&loop) ? store_start(&settings, &loop) : NULL;
    return store != NULL ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    store_stop(store);
    loop_close(&loop);
    fake_postgres_hang_up(&server);
    fake_postgres_stop_listening(&server);
    op_free(&op);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(behind_a_batch_it_sleeps),
        CASE(it_sleeps_behind_a_response_that_comes_with_room_for_the_rest_of_the_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
