/* The guard before libfcgi: it comes to the same however the bytes are cut, keeps to its limits, and what it
 * says to libfcgi is one request, whole and alone. */
#include <string.h>

#include "fuzz/fuzz.h"
#include "gateway/guard.h"
#include "gateway/request.h"

enum { LIMIT = 512 };

static enum guard_verdict feed(struct guard *guard, const char *data, size_t size, size_t piece)
{
    enum guard_verdict verdict = GUARD_MORE;

    guard_init(guard, LIMIT);
    for (size_t at = 0; at < size && verdict == GUARD_MORE; at += piece) {
        verdict = guard_feed(guard, data + at, size - at < piece ? size - at : piece);
        MUST(guard_holds(guard) <= (size_t)2 * (GUARD_PARAMS_MAX + LIMIT) + 1024);
        MUST(!guard->replies.failed);
    }
    return verdict;
}

static int is_same(const struct buffer *a, const struct buffer *b)
{
    return a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len) == 0);
}

static void check_head(const struct guard *guard)
{
    struct buffer records;
    struct guard again;

    buffer_init(&records, (size_t)4 * GUARD_PARAMS_MAX);
    guard_write_head(guard, &records);
    if (feed(&again, records.data, records.len, records.len) == GUARD_MORE) {
        MUST(again.body_declared > 0 && again.has_ended_early); /* the head has no body, whatever it says */
    } else {
        MUST(again.stage == GUARD_COMPLETE && again.keep);
    }
    MUST(again.request_id == guard->request_id && again.body_total == 0);
    MUST(is_same(&again.params, &guard->params) && again.replies.len == 0);
    guard_free(&again);
    buffer_free(&records);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    struct guard whole, cut;
    enum guard_verdict verdict = feed(&whole, bytes, size, size + 1);

    for (size_t piece = 1; piece < 12; piece += 5) {
        MUST(feed(&cut, bytes, size, piece) == verdict);
        MUST(cut.fault == whole.fault && cut.stage == whole.stage && cut.body_total == whole.body_total);
        MUST(is_same(&cut.params, &whole.params) && is_same(&cut.body, &whole.body));
        MUST(is_same(&cut.replies, &whole.replies));
        guard_free(&cut);
    }
    if (verdict == GUARD_REQUEST) {
        MUST(whole.stage == GUARD_COMPLETE && whole.request_id > 0);
        MUST(whole.body_total >= whole.body_declared || whole.body_total > LIMIT * BODY_DRAIN_FACTOR ||
             whole.params_total > GUARD_PARAMS_MAX);
        MUST(whole.body_total > LIMIT || whole.body.len == whole.body_total);
        check_head(&whole);
    }
    guard_free(&whole);
    return 0;
}
