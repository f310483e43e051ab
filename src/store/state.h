/* What a store consists of: for store.c and batches.c alone. */
#ifndef INCIDENTS_STORE_STATE_H
#define INCIDENTS_STORE_STATE_H

#include "base/settings.h"
#include "store/connector.h"
#include "store/pool.h"
#include "store/queue.h"

struct store {
    const struct settings *settings;
    const struct loop *loop;
    struct loop own_loop; /* of a single one; else not open */
    struct hosts *hosts;
    struct queue queue;
    struct pool pool;
    struct connector *connector; /* NULL: connections are opened by this thread */
    struct loop_handler connector_handler;
    bool is_opening;            /* the connector has a connection */
    struct store_ops completed; /* their callbacks are to be run */
    size_t pending;             /* what was submitted and not called back */
    struct store_op probe; /* asks whether the database is back, so that the next request need not find out */
    bool is_probing;
    int64_t waiting;       /* as the metrics have it */
    uint64_t last_attempt; /* its number */
};

static inline int64_t sooner(int64_t one_ms, int64_t other_ms)
{
    return one_ms < other_ms ? one_ms : other_ms;
}

static inline int64_t later(int64_t one_ms, int64_t other_ms)
{
    return one_ms > other_ms ? one_ms : other_ms;
}

#endif
