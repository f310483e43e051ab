/* The store on its loop, before a server that says what the test has it say: what it wakes up for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "harness/fake_postgres.h"
#include "store/store.h"

enum {
    WAIT_MS = 20000,
    LOSSES_MS = 4000,
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
    store_run_once(store);
}

/* One with a record of many bytes. */
static void submit_large(void)
{
    static const char zeros[LARGE_BYTES];

    assert_true(op_ping(&op));
    buffer_append(&op.record, zeros, sizeof zeros);
    store_submit(store, &op, count_done, NULL);
    store_run_once(store);
}

static void turn(void)
{
    int64_t due_ms = store_due_ms(store), limit_ms = clock_now_ms() + WAIT_MS;

    loop_run_once(&loop, due_ms < limit_ms ? due_ms : limit_ms);
    store_run_once(store);
}

static void run_until_done(int count)
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

/* Turns until libpq asks for a connection. */
static void turn_until_connecting(void)
{
    int64_t limit_ms = clock_now_ms() + WAIT_MS;

    while (!clock_poll(server.listener, POLLIN, 0)) {
        int64_t due_ms = store_due_ms(store), soon_ms = clock_now_ms() + 5;

        assert_true(clock_now_ms() < limit_ms);
        loop_run_once(&loop, due_ms < soon_ms ? due_ms : soon_ms);
        store_run_once(store);
    }
}

/* Has the store connect for what was submitted, and greet. */
static void welcome(void)
{
    fake_postgres_accept(&server);
    fake_postgres_read(&server); /* what libpq begins with */
    turn();
    fake_postgres_read(&server);
    fake_postgres_say_sync(&server);
    turn();
}

static void behind_a_batch_it_sleeps(void **state)
{
    submit();
    welcome();
    fake_postgres_read(&server);
    assert_false(is_awake());
    fake_postgres_say_outcomes(&server, "ready", 1);
    run_until_done(1);
    assert_int_equal(op.outcome, OP_READY);
    assert_false(is_awake());
}

/* The worker had no processor for a while: what it could not send before, and the response, are one event. */
static void it_sleeps_behind_a_response_that_comes_with_room_for_the_rest_of_the_batch(void **state)
{
    submit_large();
    welcome();
    assert_false(is_awake()); /* the socket is full */
    fake_postgres_say_outcomes(&server, "ready", 1);
    assert_true(fake_postgres_read(&server) < LARGE_BYTES);
    turn();
    assert_int_equal(done_count, 1);
    assert_int_equal(op.outcome, OP_READY);
    fake_postgres_read(&server); /* there is room for everything */
    assert_false(is_awake());
}

/* ---- While nothing is under way ---- */

static void apply(void)
{
    submit();
    welcome();
    fake_postgres_read(&server);
    fake_postgres_say_outcomes(&server, "ready", 1);
    run_until_done(1);
    op_free(&op);
}

/* A notice, as of an administrator's pg_reload_conf, and a notification, as through a pooler. */
static void what_the_server_says_meanwhile_is_heard_once(void **state)
{
    static const char notice[] = "SWARNING\0VWARNING\0C01000\0Mwatch out\0", part[] = "\0\0\0\5channel";
    static const char notification[] = "\0\0\0\5channel\0payload";

    apply();
    fake_postgres_say(&server, 'N', notice, sizeof notice);
    assert_true(is_awake());
    turn();
    assert_false(is_awake());
    fake_postgres_say(&server, 'A', notification, sizeof notification);
    assert_true(is_awake());
    turn();
    assert_false(is_awake());
    assert_int_equal(send(server.socket, "A\0\0\0\30", 5, MSG_NOSIGNAL), 5); /* in two pieces */
    assert_int_equal(send(server.socket, part, sizeof part, MSG_NOSIGNAL), sizeof part);
    turn();
    assert_false(is_awake());
    assert_int_equal(send(server.socket, "payload", 8, MSG_NOSIGNAL), 8);
    turn();
    assert_false(is_awake());
    submit(); /* over the same connection */
    fake_postgres_read(&server);
    fake_postgres_say(&server, '1', "", 0); /* it is prepared */
    fake_postgres_say_ready(&server);
    turn();
    fake_postgres_read(&server);
    fake_postgres_say_outcomes(&server, "ready", 1);
    run_until_done(2);
    assert_int_equal(op.outcome, OP_READY);
}

static void a_server_that_ends_the_connection_meanwhile_is_heard_once(void **state)
{
    apply();
    fake_postgres_hang_up(&server);
    assert_true(is_awake());
    turn();
    assert_false(is_awake());
}

/* ---- Attempts with unknown outcome ---- */

/* They may be stored up to then; who is told sooner, and sends the next version, might see the last one come
 * behind it. */
static void who_has_lost_as_many_as_may_be_waits_until_they_can_store_no_more(void **state)
{
    int64_t started_ms = clock_now_ms();

    submit();
    for (int attempt = 0; attempt < ORPHANED_ATTEMPTS_MAX; attempt++) {
        assert_int_equal(done_count, 0);
        turn_until_connecting();
        welcome();
        fake_postgres_read(&server);
        fake_postgres_hang_up(&server);
        turn();
    }
    assert_int_equal(op.orphaned_count, ORPHANED_ATTEMPTS_MAX);
    assert_int_equal(done_count, 0);
    run_until_done(1);
    assert_int_equal(op.outcome, OP_UNAVAILABLE);
    assert_true(clock_now_ms() >= started_ms + LOSSES_MS - LOSSES_MS / 10);
}

static int start_with(int timeout_ms)
{
    fake_postgres_listen(&server);
    settings = (struct settings){.request_timeout_ms = timeout_ms,
                                 .db_pool_size = 1,
                                 .batch_max = 8,
                                 .queue_max = 8,
                                 .database_url = ""};
    snprintf(settings.database_url, sizeof settings.database_url,
             "host=%s port=1 user=anyone dbname=any gssencmode=disable", server.directory);
    done_count = 0;
    store = loop_open(&loop) ? store_start(&settings, &loop) : NULL;
    return store != NULL ? 0 : -1;
}

static int start(void **state)
{
    return start_with(WAIT_MS);
}

static int start_hastily(void **state)
{
    return start_with(LOSSES_MS);
}

static int finish(void **state)
{
    fake_postgres_hang_up(&server);
    fake_postgres_stop_listening(&server);
    store_stop(store);
    loop_close(&loop);
    op_free(&op);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(behind_a_batch_it_sleeps),
        CASE(what_the_server_says_meanwhile_is_heard_once),
        CASE(a_server_that_ends_the_connection_meanwhile_is_heard_once),
        cmocka_unit_test_setup_teardown(who_has_lost_as_many_as_may_be_waits_until_they_can_store_no_more,
                                        start_hastily, finish),
        CASE(it_sleeps_behind_a_response_that_comes_with_room_for_the_rest_of_the_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
