/* The queue of operations: which of them make the next batch, and what is due when. An operation is known by
 * its name, one letter; those with the same reference_id are of one incident. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/queue.h"

enum {
    OPS_MAX = 64,
    BATCH_MAX = 8,
    WAITING_MAX = 16,
    MARGIN_MS = 100,
    NOW_MS = 1000000,
    DEADLINE_MS = NOW_MS + 10000,
    MIB = 1024 * 1024,
};

static struct queue queue;
static struct store_op ops[OPS_MAX];
static char names[OPS_MAX][2];
static size_t op_count;

static void begin_with_seed(size_t batch_max, size_t waiting_max, uint64_t seed)
{
    const struct queue_limits limits = {
        .batch_max = batch_max, .waiting_max = waiting_max, .margin_ms = MARGIN_MS};

    queue_free(&queue);
    assert_true(queue_init(&queue, &limits, seed));
    op_count = 0;
}

static void begin_with(size_t batch_max, size_t waiting_max)
{
    begin_with_seed(batch_max, waiting_max, 0x0123456789abcdef);
}

/* Of the operation with that name: 'a' is the first. */
static struct store_op *op_of(char name)
{
    return &ops[name - 'a'];
}

/* Adds the next operation, whose record has so many bytes. */
static struct store_op *add_sized(const char *reference_id, size_t bytes)
{
    struct store_op *op = &ops[op_count];

    assert_true(op_count < OPS_MAX);
    names[op_count][0] = (char)('a' + op_count);
    *op = (struct store_op){.reference_id = reference_id,
                            .request_id = names[op_count],
                            .deadline_ms = DEADLINE_MS,
                            .record = {.len = bytes, .capacity = bytes}};
    op_count++;
    queue_add(&queue, op, NOW_MS);
    return op;
}

static struct store_op *add(const char *reference_id)
{
    return add_sized(reference_id, 100);
}

/* Adds one that must run alone. */
static struct store_op *add_alone(const char *reference_id)
{
    struct store_op *op = add(reference_id);

    op->entry.must_run_alone = true;
    return op;
}

static void expect_batch_at(const char *expected, int64_t now_ms)
{
    struct store_op *batch[BATCH_MAX];
    char taken[BATCH_MAX + 1] = "";
    bool is_due = queue_due_ms(&queue, now_ms, now_ms) <= now_ms;
    size_t count = queue_take_batch(&queue, batch, now_ms);

    for (size_t i = 0; i < count; i++) {
        taken[i] = batch[i]->request_id[0];
    }
    assert_string_equal(taken, expected);
    assert_true(is_due || count == 0);
}

static void expect_batch(const char *expected)
{
    expect_batch_at(expected, NOW_MS);
}

static void give_back(char name)
{
    queue_return(&queue, op_of(name), 0, NOW_MS);
}

static void end(char name)
{
    queue_remove(&queue, op_of(name));
}

/* ---- Order ---- */

static void a_batch_is_what_came_first(void **state)
{
    expect_batch("");
    for (int i = 0; i < 10; i++) {
        add(NULL);
    }
    expect_batch("abcdefgh");
    expect_batch("ij");
    expect_batch("");
    assert_int_equal(queue.waiting, 0);
}

static void a_batch_has_no_more_than_its_limit(void **state)
{
    begin_with(1, WAITING_MAX);
    add("1");
    add("2");
    expect_batch("a");
    expect_batch("b");
}

/* ---- One incident ---- */

static void of_one_incident_one_is_sent_at_a_time_in_order(void **state)
{
    add("1");
    add("1");
    add("2");
    add("1");
    expect_batch("ac");
    expect_batch("");
    end('a');
    expect_batch("b");
    expect_batch("");
    end('c');
    expect_batch("");
    end('b');
    expect_batch("d");
}

static void what_has_no_incident_waits_for_nothing(void **state)
{
    add(NULL);
    add(NULL);
    add("");
    add("");
    expect_batch("abc");
    expect_batch("");
    end('c');
    expect_batch("d");
}

static void one_that_is_returned_goes_before_the_later_ones_of_its_incident(void **state)
{
    add("1");
    add("1");
    add("2");
    expect_batch("ac");
    give_back('a');
    expect_batch("a");
    give_back('a');
    queue_return(&queue, op_of('c'), 0, NOW_MS);
    expect_batch("ac");
}

static void one_that_may_not_be_sent_yet_holds_the_later_ones_of_its_incident(void **state)
{
    add("1");
    add("1");
    add("2");
    expect_batch("ac");
    queue_return(&queue, op_of('a'), NOW_MS + 50, NOW_MS);
    expect_batch_at("", NOW_MS + 49);
    expect_batch_at("a", NOW_MS + 50);
    expect_batch_at("", NOW_MS + 50);
}

/* One bucket for all. */
static void incidents_that_share_a_bucket_do_not_wait_for_each_other(void **state)
{
    begin_with(BATCH_MAX, 0);
    add("1");
    add("2");
    add("1");
    add("3");
    expect_batch("abd");
    end('b');
    expect_batch("");
    end('a');
    expect_batch("c");
    assert_true(op_of('a')->entry.key != op_of('b')->entry.key);
}

/* It costs one of them a wait, no more. */
static void incidents_that_share_a_key_are_taken_for_one(void **state)
{
    begin_with(BATCH_MAX, 0);
    add("1");
    add("2")->entry.key = op_of('a')->entry.key;
    add("3");
    expect_batch("ac");
    end('a');
    expect_batch("b");
}

/* 0 is the key of those that have no incident, and wait for nothing. FNV-1a comes to 0 where a byte is the
 * hash so far. */
static void an_incident_whose_hash_is_zero_is_one_like_any_other(void **state)
{
    begin_with_seed(BATCH_MAX, WAITING_MAX, 'z');
    add("z");
    add("z");
    expect_batch("a");
}

static void the_seed_decides_which_share_one(void **state)
{
    const struct queue_limits limits = {.batch_max = 1, .waiting_max = 1, .margin_ms = 0};
    struct store_op one = {.reference_id = "an incident"}, other = {.reference_id = "an incident"};
    struct queue another;

    assert_true(queue_init(&another, &limits, 1));
    queue_add(&queue, &one, NOW_MS);
    queue_add(&another, &other, NOW_MS);
    assert_true(one.entry.key != other.entry.key);
    queue_free(&another);
}

/* ---- Size ---- */

static void a_batch_has_four_mebibytes_at_most(void **state)
{
    add_sized("1", MIB);
    add_sized("2", 2 * MIB);
    add_sized("3", MIB);
    add_sized("4", 1);
    expect_batch("abc");
    expect_batch("d");
}

static void a_larger_one_is_sent_alone_and_in_its_turn(void **state)
{
    add_sized("1", 100);
    add_sized("2", 5 * MIB);
    add_sized("3", 100);
    expect_batch("a");
    expect_batch("b");
    expect_batch("c");
}

static void so_many_may_wait_and_those_that_are_sent_do_not_count(void **state)
{
    for (int i = 0; i < WAITING_MAX; i++) {
        assert_true(queue_has_room(&queue, 100));
        add(NULL);
    }
    assert_false(queue_has_room(&queue, 100));
    expect_batch("abcdefgh");
    assert_true(queue_has_room(&queue, 100));
    for (int i = 0; i < BATCH_MAX; i++) {
        add(NULL);
    }
    assert_false(queue_has_room(&queue, 100));
    give_back('a');
    assert_false(queue_has_room(&queue, 100));
    end('a');
    assert_false(queue_has_room(&queue, 100));
    end('i');
    assert_true(queue_has_room(&queue, 100));
}

static void sixty_four_mebibytes_may_be_in_it_and_one_that_is_larger(void **state)
{
    assert_true(queue_has_room(&queue, (size_t)65 * MIB));
    add_sized("1", (size_t)65 * MIB);
    assert_false(queue_has_room(&queue, 1));
    expect_batch("a");
    assert_false(queue_has_room(&queue, 1)); /* it is not done */
    end('a');
    add_sized("2", (size_t)60 * MIB);
    assert_true(queue_has_room(&queue, (size_t)4 * MIB));
    assert_false(queue_has_room(&queue, (size_t)4 * MIB + 1));
    end('b');
    assert_int_equal(queue.bytes, 0);
}

/* ---- Alone ---- */

static void what_must_run_alone_is_a_batch_by_itself(void **state)
{
    add_alone("1");
    add_alone("2");
    expect_batch("a");
    expect_batch("b");
    expect_batch("");
}

static void every_second_batch_is_one_of_the_others(void **state)
{
    begin_with(2, WAITING_MAX);
    add_alone("1");
    add_alone("2");
    add_alone("3");
    add("4");
    add("5");
    add("6");
    expect_batch("a");
    expect_batch("de");
    expect_batch("b");
    expect_batch("f");
    expect_batch("c");
}

/* It has its turn when it is the first; it does not break a batch that has begun before it. */
static void what_must_run_alone_is_left_out_of_a_batch_of_others(void **state)
{
    add("1");
    add_alone("2");
    add("3");
    expect_batch("ac");
    expect_batch("b");
}

static void another_that_must_run_alone_follows_where_no_other_may_be_sent(void **state)
{
    add_alone("1");
    add_alone("2");
    add("1"); /* which waits for the first */
    expect_batch("a");
    expect_batch("b");
    expect_batch("");
    end('a');
    expect_batch("c");
}

static void that_it_must_run_alone_is_kept_when_it_is_added(void **state)
{
    struct store_op probe = {.reference_id = NULL, .deadline_ms = DEADLINE_MS, .request_id = "p"};

    probe.entry.must_run_alone = true;
    add("1");
    queue_add(&queue, &probe, NOW_MS);
    add("2");
    expect_batch("ab");
    expect_batch("p");
}

/* ---- Its place ---- */

static void one_that_is_returned_keeps_its_place(void **state)
{
    begin_with(2, WAITING_MAX);
    for (int i = 0; i < 4; i++) {
        add(NULL);
    }
    expect_batch("ab");
    give_back('b');
    expect_batch("bc");
    give_back('c');
    give_back('b');
    expect_batch("bc");
}

static void one_that_is_moved_to_the_end_goes_behind_all_others(void **state)
{
    begin_with(2, WAITING_MAX);
    for (int i = 0; i < 3; i++) {
        add(NULL);
    }
    expect_batch("ab");
    queue_move_to_end(&queue, op_of('a'));
    give_back('a');
    expect_batch("ca");
    end('a');
    end('c');
    queue_move_to_end(&queue, op_of('b')); /* the only one */
    give_back('b');
    expect_batch("b");
}

/* They would take effect in another order than they came in. */
static void one_that_is_moved_to_the_end_stays_before_the_later_ones_of_its_incident(void **state)
{
    add("1");
    add("1");
    add("2");
    expect_batch("ac");
    queue_move_to_end(&queue, op_of('a'));
    give_back('a');
    expect_batch("a");
    end('a');
    expect_batch("b");
}

/* ---- Time ---- */

static void what_has_too_little_time_left_is_not_sent(void **state)
{
    add("1");
    add("2")->deadline_ms = DEADLINE_MS + 1;
    expect_batch_at("b", DEADLINE_MS - MARGIN_MS);
}

static void the_first_that_waits_and_has_expired_is_found(void **state)
{
    add("1");
    add("2");
    add("3");
    op_of('a')->deadline_ms = NOW_MS + MARGIN_MS + 1;
    expect_batch_at("abc", NOW_MS);
    give_back('b');
    assert_null(queue_find_expired(&queue, DEADLINE_MS - MARGIN_MS - 1)); /* the first is sent */
    op_of('c')->deadline_ms = NOW_MS + MARGIN_MS;
    give_back('c');
    assert_ptr_equal(queue_find_expired(&queue, NOW_MS), op_of('c'));
    assert_ptr_equal(queue_find_expired(&queue, DEADLINE_MS), op_of('b'));
    end('b');
    end('c');
    assert_null(queue_find_expired(&queue, DEADLINE_MS));
}

static void one_expires_that_was_asked_for_too_early(void **state)
{
    add("1");
    assert_null(queue_find_expired(&queue, DEADLINE_MS - MARGIN_MS - 1));
    assert_ptr_equal(queue_find_expired(&queue, DEADLINE_MS - MARGIN_MS), op_of('a'));
    expect_batch("a");
    assert_null(queue_find_expired(&queue, DEADLINE_MS));
    give_back('a');
    assert_ptr_equal(queue_find_expired(&queue, DEADLINE_MS), op_of('a'));
}

static void before_a_time_that_is_known_without_a_look_none_expires(void **state)
{
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) == LOOP_NEVER);
    add("1");
    add("2");
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) == DEADLINE_MS - MARGIN_MS);
    op_of('b')->deadline_ms = DEADLINE_MS + 5;
    end('a');
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) <= DEADLINE_MS - MARGIN_MS + 5);
    assert_null(queue_find_expired(&queue, DEADLINE_MS - MARGIN_MS));
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) == DEADLINE_MS - MARGIN_MS + 5);
    expect_batch("b");
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) == LOOP_NEVER);
}

static void what_waits_is_due_when_it_may_be_sent_or_expires(void **state)
{
    assert_true(queue_due_ms(&queue, NOW_MS, NOW_MS) == LOOP_NEVER);
    add("1");
    add("1");
    assert_true(queue_due_ms(&queue, NOW_MS - 5, NOW_MS) <= NOW_MS);
    assert_true(queue_due_ms(&queue, NOW_MS + 20, NOW_MS) == NOW_MS + 20);
    assert_true(queue_due_ms(&queue, LOOP_NEVER, NOW_MS) == DEADLINE_MS - MARGIN_MS);
    expect_batch("a");
    assert_true(queue_due_ms(&queue, NOW_MS, NOW_MS) == DEADLINE_MS - MARGIN_MS); /* it waits for the first */
    queue_return(&queue, op_of('a'), NOW_MS + 30, NOW_MS);
    assert_true(queue_due_ms(&queue, NOW_MS + 20, NOW_MS) == NOW_MS + 30);
    assert_true(queue_due_ms(&queue, NOW_MS + 40, NOW_MS) == NOW_MS + 40);
    op_of('b')->deadline_ms = NOW_MS + MARGIN_MS + 10;
    assert_true(queue_due_ms(&queue, NOW_MS + 20, NOW_MS) == NOW_MS + 10);
    end('b');
    expect_batch_at("a", NOW_MS + 30);
    assert_true(queue_due_ms(&queue, NOW_MS, NOW_MS) == LOOP_NEVER);
}

static void the_latest_deadline_is_of_all_that_are_not_done(void **state)
{
    assert_true(queue_last_deadline_ms(&queue) == LOOP_NEVER);
    add("1")->deadline_ms = DEADLINE_MS + 2;
    add("2")->deadline_ms = DEADLINE_MS + 1;
    expect_batch("ab");
    assert_true(queue_last_deadline_ms(&queue) == DEADLINE_MS + 2);
    end('a');
    assert_true(queue_last_deadline_ms(&queue) == DEADLINE_MS + 1);
}

static void how_long_one_waited_is_added_up(void **state)
{
    struct store_op *batch[BATCH_MAX], *op = add("1");

    assert_int_equal(queue_take_batch(&queue, batch, NOW_MS + 7), 1);
    assert_int_equal(op->queue_ms, 7);
    queue_return(&queue, op, 0, NOW_MS + 100); /* it was with the database in between */
    assert_int_equal(queue_take_batch(&queue, batch, NOW_MS + 103), 1);
    assert_int_equal(op->queue_ms, 10);
}

static void what_waits_and_what_is_sent_can_be_removed(void **state)
{
    add("1");
    add("1");
    add("1");
    expect_batch("a");
    assert_int_equal(queue.waiting, 2);
    end('b');
    assert_int_equal(queue.waiting, 1);
    end('a');
    assert_int_equal(queue.waiting, 1);
    expect_batch("c");
    end('c');
    assert_int_equal(queue.waiting, 0);
    assert_int_equal(queue.bytes, 0);
    assert_true(TAILQ_EMPTY(&queue.ops));
}

/* ---- */

static int start(void **state)
{
    begin_with(BATCH_MAX, WAITING_MAX);
    return 0;
}

static int finish(void **state)
{
    queue_free(&queue);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_batch_is_what_came_first),
        CASE(a_batch_has_no_more_than_its_limit),
        CASE(of_one_incident_one_is_sent_at_a_time_in_order),
        CASE(what_has_no_incident_waits_for_nothing),
        CASE(one_that_is_returned_goes_before_the_later_ones_of_its_incident),
        CASE(one_that_may_not_be_sent_yet_holds_the_later_ones_of_its_incident),
        CASE(incidents_that_share_a_bucket_do_not_wait_for_each_other),
        CASE(incidents_that_share_a_key_are_taken_for_one),
        CASE(an_incident_whose_hash_is_zero_is_one_like_any_other),
        CASE(the_seed_decides_which_share_one),
        CASE(a_batch_has_four_mebibytes_at_most),
        CASE(a_larger_one_is_sent_alone_and_in_its_turn),
        CASE(so_many_may_wait_and_those_that_are_sent_do_not_count),
        CASE(sixty_four_mebibytes_may_be_in_it_and_one_that_is_larger),
        CASE(what_must_run_alone_is_a_batch_by_itself),
        CASE(every_second_batch_is_one_of_the_others),
        CASE(what_must_run_alone_is_left_out_of_a_batch_of_others),
        CASE(another_that_must_run_alone_follows_where_no_other_may_be_sent),
        CASE(that_it_must_run_alone_is_kept_when_it_is_added),
        CASE(one_that_is_returned_keeps_its_place),
        CASE(one_that_is_moved_to_the_end_goes_behind_all_others),
        CASE(one_that_is_moved_to_the_end_stays_before_the_later_ones_of_its_incident),
        CASE(what_has_too_little_time_left_is_not_sent),
        CASE(the_first_that_waits_and_has_expired_is_found),
        CASE(one_expires_that_was_asked_for_too_early),
        CASE(before_a_time_that_is_known_without_a_look_none_expires),
        CASE(what_waits_is_due_when_it_may_be_sent_or_expires),
        CASE(the_latest_deadline_is_of_all_that_are_not_done),
        CASE(how_long_one_waited_is_added_up),
        CASE(what_waits_and_what_is_sent_can_be_removed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
