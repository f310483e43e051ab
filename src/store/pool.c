/* The connections to the database. */
#include "store/pool.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/metrics.h"

enum {
    BACK_OFF_FIRST_MS = 20,
    BACK_OFF_MAX_MS = 500,
    BACK_OFF_FRACTION = 16, /* of the time left, at most */
    PROBE_EVERY_MS = 500,
    SECOND_BATCH_DELAY_MS = 10, /* how long a batch is waited for before another is sent beside it */
};

bool pool_init(struct pool *pool, struct hosts *hosts, size_t count, size_t batch_max, unsigned seed)
{
    bool ok;

    *pool = (struct pool){.connections = calloc(count, sizeof(struct connection)), .seed = seed};
    ok = pool->connections != NULL;
    while (ok && pool->count < count) {
        struct connection *connection = &pool->connections[pool->count++];

        ok = connection_init(connection, hosts, &pool->failure_log, batch_max);
        pool_release(pool, connection);
    }
    return ok;
}

void pool_free(struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        connection_free(&pool->connections[i]);
    }
    free(pool->connections);
}

int64_t pool_ready_ms(const struct pool *pool)
{
    return LIST_EMPTY(&pool->idle) ? clock_later(pool->retry_at_ms, pool->connect_at_ms) : pool->retry_at_ms;
}

int64_t pool_second_batch_at_ms(const struct pool *pool, int64_t now_ms)
{
    int64_t at_ms = 0;

    for (size_t i = 0; i < pool->count; i++) {
        int64_t started_ms = pool->connections[i].started_ms;

        if (started_ms != 0 && now_ms < started_ms + SECOND_BATCH_DELAY_MS) {
            at_ms = clock_later(at_ms, started_ms + SECOND_BATCH_DELAY_MS);
        }
    }
    return at_ms;
}

struct connection *pool_acquire(struct connection_list *list)
{
    struct connection *connection = LIST_FIRST(list);

    if (connection != NULL) {
        LIST_REMOVE(connection, link);
    }
    return connection;
}

void pool_release(struct pool *pool, struct connection *connection)
{
    connection->started_ms = 0;
    LIST_INSERT_HEAD(connection->state == CONNECTION_IDLE ? &pool->idle : &pool->closed, connection, link);
}

void pool_note_closed(struct pool *pool, struct connection *connection)
{
    LIST_REMOVE(connection, link);
    pool_release(pool, connection);
}

void pool_close_outdated(struct pool *pool)
{
    struct connection *next;

    for (struct connection *connection = LIST_FIRST(&pool->idle); connection != NULL; connection = next) {
        next = LIST_NEXT(connection, link);
        if (connection->host != hosts_first(connection->hosts)) {
            connection_close(connection);
            pool_note_closed(pool, connection);
        }
    }
}

int64_t pool_back_off_ms(struct pool *pool, int attempts, int64_t left_ms)
{
    int64_t longest_ms = clock_later(left_ms / BACK_OFF_FRACTION, BACK_OFF_FIRST_MS);

    if (attempts == 0) {
        return 0;
    }
    longest_ms =
        clock_earlier(longest_ms, attempts < 6 ? BACK_OFF_FIRST_MS << (attempts - 1) : BACK_OFF_MAX_MS);
    return longest_ms / 2 + rand_r(&pool->seed) % (longest_ms / 2 + 1);
}

void pool_note_reached(struct pool *pool)
{
    if (pool->unreachable_since_ms != 0) {
        metrics_add(METRICS_WITHOUT_DATABASE, -1);
    }
    pool->reason = REASON_NONE;
    pool->unreachable_since_ms = 0;
    pool->failures = 0;
    pool->retry_at_ms = 0;
}

void pool_note_unreachable(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms)
{
    if (pool->unreachable_since_ms == 0) {
        metrics_add(METRICS_WITHOUT_DATABASE, 1);
        pool->unreachable_since_ms = now_ms;
    }
    pool->reason = reason;
    pool->retry_at_ms = now_ms + pool_back_off_ms(pool, pool->failures++, left_ms);
    pool->probe_at_ms = now_ms + PROBE_EVERY_MS;
}

void pool_note_opened(struct pool *pool)
{
    pool->connect_failures = 0;
    pool->connect_at_ms = 0;
}

static bool has_open(const struct pool *pool)
{
    for (size_t i = 0; i < pool->count; i++) {
        if (pool->connections[i].state >= CONNECTION_IDLE) {
            return true;
        }
    }
    return false;
}

/* There is a wait before the first retry, too: the server would refuse it again. */
void pool_note_open_failure(struct pool *pool, enum op_reason reason, int64_t now_ms, int64_t left_ms)
{
    pool->connect_at_ms = now_ms + pool_back_off_ms(pool, ++pool->connect_failures, left_ms);
    if (has_open(pool)) {
        pool->reason = reason;
    } else {
        pool_note_unreachable(pool, reason, now_ms, left_ms);
    }
}
