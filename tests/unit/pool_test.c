/* The pool of connections to the database: which one is used, and when. No connection is opened: those that
 * are idle say so, and nobody asks their sockets. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/pool.h"

enum { COUNT = 4, NOW_MS = 1000000, LONG_MS = 60000, MANY = 2000 };

static struct hosts *hosts;
static struct pool pool;

/* Takes a closed connection, as if it was opened to that host. */
static struct connection *open_to(size_t host)
{
    struct connection *connection = pool_acquire(&pool.closed);

    assert_non_null(connection);
    connection->state = CONNECTION_IDLE;
    connection->host = host;
    connection->pg = PQconnectStart("host=/nowhere"); /* for there to be something to close */
    assert_non_null(connection->pg);
    return connection;
}

/* ---- Which ---- */

static void every_connection_is_closed_in_the_beginning(void **state)
{
    struct connection *taken[COUNT];

    assert_null(pool_acquire(&pool.idle));
    for (int i = 0; i < COUNT; i++) {
        taken[i] = pool_acquire(&pool.closed);
        assert_non_null(taken[i]);
        for (int other = 0; other < i; other++) {
            assert_ptr_not_equal(taken[i], taken[other]);
        }
    }
    assert_null(pool_acquire(&pool.closed));
    pool_release(&pool, taken[2]);
    assert_ptr_equal(pool_acquire(&pool.closed), taken[2]);
}

/* The others may be cold, and end where nothing needs them. */
static void the_one_that_was_used_last_is_used_first(void **state)
{
    struct connection *one = open_to(0), *two = open_to(0), *three = open_to(0);

    pool_release(&pool, one);
    pool_release(&pool, two);
    pool_release(&pool, three);
    assert_ptr_equal(pool_acquire(&pool.idle), three);
    assert_ptr_equal(pool_acquire(&pool.idle), two);
    pool_release(&pool, two);
    assert_ptr_equal(pool_acquire(&pool.idle), two);
    assert_ptr_equal(pool_acquire(&pool.idle), one);
    assert_null(pool_acquire(&pool.idle));
}

static void one_that_is_released_has_no_batch(void **state)
{
    struct connection *connection = open_to(0);

    connection->started_ms = NOW_MS;
    pool_release(&pool, connection);
    assert_int_equal(connection->started_ms, 0);
}

static void an_idle_one_that_closes_is_to_be_opened_again(void **state)
{
    struct connection *each[] = {open_to(0), open_to(0), open_to(0)};

    for (size_t closing = 0; closing < 3; closing++) {
        for (size_t i = 0; i < 3; i++) {
            each[i]->state = CONNECTION_IDLE;
            pool_release(&pool, each[i]);
        }
        each[closing]->state = CONNECTION_CLOSED;
        pool_note_closed(&pool, each[closing]);
        for (size_t i = 3; i-- > 0;) {
            if (i != closing) {
                assert_ptr_equal(pool_acquire(&pool.idle), each[i]);
            }
        }
        assert_null(pool_acquire(&pool.idle));
        assert_ptr_equal(pool_acquire(&pool.closed), each[closing]);
    }
}

/* Those in between, too: each would have to find out by itself, and take a timeout for it. */
static void idle_ones_to_a_host_that_is_not_the_first_are_closed(void **state)
{
    struct connection *old_one = open_to(0), *new_one = open_to(1), *old_other = open_to(0);

    pool_release(&pool, old_one);
    pool_release(&pool, new_one);
    pool_release(&pool, old_other);
    hosts_mark_working(hosts, 1);
    pool_close_outdated(&pool);
    assert_ptr_equal(pool_acquire(&pool.idle), new_one);
    assert_null(pool_acquire(&pool.idle));
    assert_int_equal(old_one->state, CONNECTION_CLOSED);
    assert_int_equal(old_other->state, CONNECTION_CLOSED);
    for (int i = 0; i < COUNT - 1; i++) {
        assert_non_null(pool_acquire(&pool.closed));
    }
    pool_close_outdated(&pool); /* where there is none */
}

/* ---- When ---- */

static void a_second_batch_waits_for_the_last_one_for_ten_milliseconds(void **state)
{
    struct connection *one = open_to(0), *two = open_to(0);

    pool_release(&pool, open_to(0));
    assert_int_equal(pool_second_batch_at_ms(&pool, NOW_MS), 0);
    one->started_ms = NOW_MS;
    two->started_ms = NOW_MS + 5;
    assert_int_equal(pool_second_batch_at_ms(&pool, NOW_MS + 5), NOW_MS + 15);
    assert_int_equal(pool_second_batch_at_ms(&pool, NOW_MS + 14), NOW_MS + 15);
    assert_int_equal(pool_second_batch_at_ms(&pool, NOW_MS + 15), 0);
    two->state = CONNECTION_CLOSED;
    pool_release(&pool, two);
    assert_int_equal(pool_second_batch_at_ms(&pool, NOW_MS + 5), NOW_MS + 10);
}

static void there_is_no_wait_before_the_first_attempt(void **state)
{
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(pool_back_off_ms(&pool, 0, LONG_MS), 0);
    }
}

/* Half of it at least, all of it at most, and anything in between. */
static void expect_wait(int attempts, int64_t left_ms, int64_t longest_ms)
{
    int64_t least = INT64_MAX, most = 0;

    for (int draw = 0; draw < MANY; draw++) {
        int64_t wait_ms = pool_back_off_ms(&pool, attempts, left_ms);

        least = wait_ms < least ? wait_ms : least;
        most = wait_ms > most ? wait_ms : most;
    }
    if (least < longest_ms / 2 || least > longest_ms * 6 / 10 || most < longest_ms * 9 / 10 ||
        most > longest_ms) {
        fail_msg("attempt %d waits %lld to %lld ms, not %lld to %lld", attempts, (long long)least,
                 (long long)most, (long long)longest_ms / 2, (long long)longest_ms);
    }
}

static void each_wait_is_longer_than_the_one_before_up_to_half_a_second(void **state)
{
    static const struct {
        int attempts;
        int64_t longest_ms;
    } cases[] = {{1, 20}, {2, 40}, {3, 80}, {4, 160}, {5, 320}, {6, 500}, {7, 500}, {63, 500}, {100000, 500}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_wait(cases[i].attempts, LONG_MS, cases[i].longest_ms);
    }
}

/* Else those that came first would come last, of many that want one of few connections. */
static void no_wait_takes_more_than_a_sixteenth_of_the_time_left(void **state)
{
    static const struct {
        int64_t left_ms, longest_ms;
    } cases[] = {{8000, 500}, {1600, 100}, {480, 30}, {321, 20}, {100, 20}, {0, 20}, {-5000, 20}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect_wait(9, cases[i].left_ms, cases[i].longest_ms);
        expect_wait(1, cases[i].left_ms, 20);
        assert_int_equal(pool_back_off_ms(&pool, 0, cases[i].left_ms), 0);
    }
}

static void two_processes_do_not_wait_alike(void **state)
{
    struct pool other;
    int same = 0;

    assert_true(pool_init(&other, hosts, 1, 1, 2));
    for (int i = 0; i < MANY; i++) {
        same += pool_back_off_ms(&pool, 6, LONG_MS) == pool_back_off_ms(&other, 6, LONG_MS);
    }
    assert_true(same < MANY / 10);
    pool_free(&other);
}

/* A connection may just have gone stale. */
static void the_first_failure_is_followed_by_an_attempt_at_once(void **state)
{
    assert_int_equal(pool_ready_ms(&pool), 0);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    assert_int_equal(pool_ready_ms(&pool), NOW_MS);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 10 && pool_ready_ms(&pool) <= NOW_MS + 20);
    for (int i = 0; i < 10; i++) {
        pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    }
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 250 && pool_ready_ms(&pool) <= NOW_MS + 500);
    pool_note_reached(&pool);
    assert_int_equal(pool_ready_ms(&pool), 0);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS + 1, LONG_MS);
    assert_int_equal(pool_ready_ms(&pool), NOW_MS + 1); /* it begins anew */
}

static void it_is_known_since_when_and_why_the_database_is_not_reached(void **state)
{
    assert_int_equal(pool.unreachable_since_ms, 0);
    pool_note_unreachable(&pool, REASON_LOGIN, NOW_MS, LONG_MS);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS + 300, LONG_MS);
    assert_int_equal(pool.unreachable_since_ms, NOW_MS);
    assert_int_equal(pool.reason, REASON_NONE);
    pool_note_unreachable(&pool, REASON_SCHEMA, NOW_MS + 400, LONG_MS);
    assert_int_equal(pool.reason, REASON_SCHEMA);
    pool_note_reached(&pool);
    assert_int_equal(pool.unreachable_since_ms, 0);
    assert_int_equal(pool.reason, REASON_NONE);
}

static void whether_it_is_back_is_asked_half_a_second_behind_each_failure(void **state)
{
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    assert_int_equal(pool.probe_at_ms, NOW_MS + 500);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS + 123, LONG_MS);
    assert_int_equal(pool.probe_at_ms, NOW_MS + 623);
}

/* The server may have no more of them, and do well over those that there are. Who was refused one would be
 * refused again at once. */
static void connections_that_cannot_be_opened_delay_connections_alone(void **state)
{
    struct connection *open = open_to(0);

    pool_note_open_failure(&pool, REASON_NONE, NOW_MS, LONG_MS);
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 10 && pool_ready_ms(&pool) <= NOW_MS + 20);
    pool_note_open_failure(&pool, REASON_LOGIN, NOW_MS, LONG_MS);
    assert_int_equal(pool.unreachable_since_ms, 0);
    assert_int_equal(pool.reason, REASON_LOGIN); /* for who waits for a connection in vain */
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 20 && pool_ready_ms(&pool) <= NOW_MS + 40);
    pool_note_reached(&pool); /* by a batch: no reason to open one sooner */
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 20);
    pool_release(&pool, open);
    assert_int_equal(pool_ready_ms(&pool), 0);
    assert_ptr_equal(pool_acquire(&pool.idle), open);
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 20);
    pool_note_opened(&pool);
    assert_int_equal(pool_ready_ms(&pool), 0);
    pool_note_open_failure(&pool, REASON_NONE, NOW_MS, LONG_MS);
    assert_true(pool_ready_ms(&pool) <= NOW_MS + 20); /* it begins anew */
}

static void one_that_cannot_be_opened_while_none_is_open_means_that_the_database_is_not_reached(void **state)
{
    struct connection *opening = pool_acquire(&pool.closed);

    opening->state = CONNECTION_OPENING;
    pool_note_open_failure(&pool, REASON_LOGIN, NOW_MS, LONG_MS);
    assert_int_equal(pool.unreachable_since_ms, NOW_MS);
    assert_int_equal(pool.reason, REASON_LOGIN);
    assert_int_equal(pool.probe_at_ms, NOW_MS + 500);
    opening->state = CONNECTION_CLOSED;
    pool_release(&pool, opening);
}

/* That there is a connection does not say yet that anything can be stored. */
static void one_that_was_opened_does_not_end_the_wait_for_the_database(void **state)
{
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    pool_note_unreachable(&pool, REASON_NONE, NOW_MS, LONG_MS);
    pool_note_open_failure(&pool, REASON_NONE, NOW_MS, LONG_MS);
    pool_note_opened(&pool);
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 10);
    pool_release(&pool, open_to(0));
    assert_true(pool_ready_ms(&pool) >= NOW_MS + 10);
    assert_int_equal(pool.unreachable_since_ms, NOW_MS);
}

/* ---- */

static int start(void **state)
{
    hosts = hosts_new("host=a,b");
    return hosts != NULL && pool_init(&pool, hosts, COUNT, 1, 1) ? 0 : -1;
}

static int finish(void **state)
{
    pool_free(&pool);
    hosts_free(hosts);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(every_connection_is_closed_in_the_beginning),
        CASE(the_one_that_was_used_last_is_used_first),
        CASE(one_that_is_released_has_no_batch),
        CASE(an_idle_one_that_closes_is_to_be_opened_again),
        CASE(idle_ones_to_a_host_that_is_not_the_first_are_closed),
        CASE(a_second_batch_waits_for_the_last_one_for_ten_milliseconds),
        CASE(there_is_no_wait_before_the_first_attempt),
        CASE(each_wait_is_longer_than_the_one_before_up_to_half_a_second),
        CASE(no_wait_takes_more_than_a_sixteenth_of_the_time_left),
        CASE(two_processes_do_not_wait_alike),
        CASE(the_first_failure_is_followed_by_an_attempt_at_once),
        CASE(it_is_known_since_when_and_why_the_database_is_not_reached),
        CASE(whether_it_is_back_is_asked_half_a_second_behind_each_failure),
        CASE(connections_that_cannot_be_opened_delay_connections_alone),
        CASE(one_that_cannot_be_opened_while_none_is_open_means_that_the_database_is_not_reached),
        CASE(one_that_was_opened_does_not_end_the_wait_for_the_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
