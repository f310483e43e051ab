/* The queue of operations against a model of it, whatever happens to it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/queue.h"

enum {
    OPS_MAX = 64,
    BATCH_MAX = 8,
    MARGIN_MS = 100,
    NOW_MS = 1000000,
    MIB = 1024 * 1024,
};

static struct queue queue;
static struct store_op ops[OPS_MAX];

/* The same as the header says it, without a thought for time or memory: an array in order of place. */
struct entry {
    struct store_op *op;
    uint64_t arrival;
    int64_t not_before_ms;
    bool is_sent, is_alone;
};

static struct entry entries[OPS_MAX];
static size_t entry_count;
static bool last_was_alone;
static uint64_t arrivals, prng_state;

/* splitmix64. */
static size_t draw(size_t limit)
{
    uint64_t z = (prng_state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (size_t)((z ^ (z >> 31)) % limit);
}

static bool waits_for_another(const struct entry *entry)
{
    for (size_t i = 0; entry->op->reference_id != NULL && i < entry_count; i++) {
        if (entries[i].arrival < entry->arrival && entries[i].op->reference_id != NULL &&
            strcmp(entries[i].op->reference_id, entry->op->reference_id) == 0) {
            return true;
        }
    }
    return false;
}

static bool can_be_sent(const struct entry *entry, int64_t now_ms)
{
    return !entry->is_sent && entry->not_before_ms <= now_ms && entry->op->deadline_ms - MARGIN_MS > now_ms &&
           !waits_for_another(entry);
}

/* The places of the next batch's operations. */
static size_t choose(bool with_alone, int64_t now_ms, size_t chosen[BATCH_MAX])
{
    size_t count = 0, bytes = 0;

    for (size_t i = 0; i < entry_count && count < BATCH_MAX; i++) {
        bool is_alone = entries[i].is_alone;

        if (!can_be_sent(&entries[i], now_ms) || (is_alone && (!with_alone || count > 0))) {
            continue;
        }
        bytes += entries[i].op->record.len;
        if (count > 0 && bytes > (size_t)4 * MIB) {
            break;
        }
        chosen[count++] = i;
        if (is_alone) {
            break;
        }
    }
    return count;
}

static void check_batch(int64_t now_ms)
{
    struct store_op *batch[BATCH_MAX];
    size_t chosen[BATCH_MAX], count = last_was_alone ? choose(false, now_ms, chosen) : 0;

    count = count > 0 ? count : choose(true, now_ms, chosen);
    assert_int_equal(queue_take_batch(&queue, batch, now_ms), count);
    for (size_t i = 0; i < count; i++) {
        assert_ptr_equal(batch[i], entries[chosen[i]].op);
    }
    for (size_t i = 0; i < count; i++) {
        last_was_alone = entries[chosen[i]].is_alone;
        entries[chosen[i]].is_sent = true;
    }
}

static int64_t due_ms(int64_t send_from_ms)
{
    int64_t due = LOOP_NEVER;

    for (size_t i = 0; i < entry_count; i++) {
        int64_t expiry_ms = entries[i].op->deadline_ms - MARGIN_MS;
        int64_t send_ms = entries[i].not_before_ms > send_from_ms ? entries[i].not_before_ms : send_from_ms;

        if (!entries[i].is_sent) {
            due = expiry_ms < due ? expiry_ms : due;
            due = send_ms < due && !waits_for_another(&entries[i]) ? send_ms : due;
        }
    }
    return due;
}

/* What can be asked without a change. */
static void check_responses(int64_t now_ms)
{
    int64_t send_from_ms = draw(4) == 0 ? LOOP_NEVER : now_ms + (int64_t)draw(40) - 20;
    int64_t due = due_ms(send_from_ms), is_due = queue_due_ms(&queue, send_from_ms, now_ms);
    size_t waiting = 0, bytes = 0;
    struct store_op *expired = NULL;
    int64_t last_ms = 0;

    assert_true(queue_due_ms(&queue, LOOP_NEVER, now_ms) <= due_ms(LOOP_NEVER));
    for (size_t i = entry_count; i-- > 0;) {
        struct store_op *op = entries[i].op;

        waiting += entries[i].is_sent ? 0 : 1;
        bytes += op->record.capacity;
        expired = !entries[i].is_sent && op->deadline_ms - MARGIN_MS <= now_ms ? op : expired;
        last_ms = op->deadline_ms > last_ms ? op->deadline_ms : last_ms;
    }
    assert_int_equal(queue.waiting, waiting);
    assert_int_equal(queue.bytes, bytes);
    assert_ptr_equal(queue_find_expired(&queue, now_ms), expired);
    assert_true(queue_last_deadline_ms(&queue) == (last_ms == 0 ? LOOP_NEVER : last_ms));
    assert_true(send_from_ms == LOOP_NEVER || (due > now_ms ? is_due == due : is_due <= now_ms));
}

/* An operation that is not in the queue. */
static struct store_op *find_unused(void)
{
    bool is_used[OPS_MAX] = {false};
    size_t at = 0;

    for (size_t i = 0; i < entry_count; i++) {
        is_used[entries[i].op - ops] = true;
    }
    while (is_used[at]) {
        at++;
    }
    return &ops[at];
}

static void add_entry(int64_t now_ms)
{
    static const char *const ids[] = {"1", "2", "3", "4", "5", "six", "seven", "eight", NULL, NULL};
    struct store_op *op = find_unused();

    *op = (struct store_op){.reference_id = ids[draw(10)], .deadline_ms = now_ms + 50 + (int64_t)draw(400)};
    op->record.len = draw(20) == 0 ? draw((size_t)5 * MIB) : draw(1000);
    op->record.capacity = op->record.len + draw(100);
    op->entry.must_run_alone = draw(6) == 0;
    queue_add(&queue, op, now_ms);
    entries[entry_count++] =
        (struct entry){.op = op, .arrival = ++arrivals, .is_alone = op->entry.must_run_alone};
}

static void drop_entry(size_t at)
{
    memmove(&entries[at], &entries[at + 1], (entry_count - at - 1) * sizeof entries[0]);
    entry_count--;
}

/* A batch has come back: one of its operations is done, or waits again. */
static void end_attempt(size_t at, int64_t now_ms)
{
    struct entry entry = entries[at];

    if (!entry.is_sent || draw(2) == 0) {
        queue_remove(&queue, entry.op);
        drop_entry(at);
        return;
    }
    entry.is_sent = false;
    entry.is_alone = entry.op->entry.must_run_alone = entry.is_alone || draw(3) == 0;
    entry.not_before_ms = draw(2) == 0 ? 0 : now_ms + (int64_t)draw(60);
    entries[at] = entry;
    if (draw(4) == 0) {
        queue_move_to_end(&queue, entry.op);
        drop_entry(at);
        entries[entry_count++] = entry;
    }
    queue_return(&queue, entry.op, entry.not_before_ms, now_ms);
}

static void it_is_as_the_model_is_whatever_happens(void **state)
{
    static const struct queue_limits limits = {
        .batch_max = BATCH_MAX, .waiting_max = 2 /* three buckets */, .margin_ms = MARGIN_MS};
    int64_t now_ms = NOW_MS;

    assert_true(queue_init(&queue, &limits, 0x0123456789abcdef));
    entry_count = 0;
    last_was_alone = false;
    prng_state = 20;
    for (int step = 0; step < 200000; step++) {
        size_t kind = draw(8);

        if (kind < 3 && entry_count < OPS_MAX - 1) {
            add_entry(now_ms);
        } else if (kind < 5) {
            check_batch(now_ms);
        } else if (kind < 7 && entry_count > 0) {
            end_attempt(draw(entry_count), now_ms);
        } else {
            now_ms += (int64_t)draw(30);
        }
        check_responses(now_ms);
    }
    queue_free(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_as_the_model_is_whatever_happens),
    };

    return cmocka_run_group_tests_name("queue model", tests, NULL, NULL);
}
