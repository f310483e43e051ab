/* One connection to Postgres, and the one call that is made on it: a batch of operations in one transaction.
 *
 * Nothing here blocks, except connection_open. A connection belongs to one thread at a time. */
#ifndef INCIDENTS_STORE_CONNECTION_H
#define INCIDENTS_STORE_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "store/failures.h"
#include "store/hosts.h"
#include "store/op.h"
#include "store/session.h"

/* From IDLE a batch goes through those of the states after it that it needs. */
enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPENING, /* the connector's */
    CONNECTION_IDLE,
    CONNECTION_TERMINATING, /* abandoned sessions */
    CONNECTION_SYNCING,     /* asks for the server's clock and types */
    CONNECTION_PREPARING,   /* the statement, once */
    CONNECTION_STORING,
};

enum batch_result {
    BATCH_PENDING,
    BATCH_DONE,          /* committed; every operation has its outcome */
    BATCH_UNREACHABLE,   /* nothing was stored, and the connection is closed: retry */
    BATCH_LOST,          /* the outcome is unknown, and the connection is closed: retry */
    BATCH_CONFLICT,      /* nothing was stored, as another transaction won; or the standby's confirmation was
                            not waited for: retry */
    BATCH_UNAVAILABLE,   /* nothing was stored, and retrying at once is of no use */
    BATCH_INVALID_VALUE, /* nothing was stored: a value of some operation cannot be */
    BATCH_FAILED,        /* nothing was stored: a defect, which may be one operation's */
};

struct connection {
    struct hosts *hosts; /* borrowed, and shared with other connections */
    enum connection_state state;
    PGconn *pg;          /* NULL while it is closed */
    size_t host;         /* the one that it was made to */
    bool is_used;        /* a batch was sent on it */
    bool is_prepared;    /* the server knows the statement by its name */
    bool cannot_prepare; /* a pooler switches server sessions */
    struct session session;
    struct buffer encoded; /* the batch as it is sent; the memory is kept for the next */

    struct store_op **ops; /* the batch that is under way, or will be: batch_max of them */
    size_t count;
    int64_t attempt;        /* a number that no other batch has, anywhere */
    int64_t deadline_ms;    /* when it is given up */
    int64_t store_until_ms; /* after this the database stores nothing of it, whatever its session does */
    int64_t started_ms;     /* 0 while there is no batch */

    bool is_flushed;           /* everything has been sent */
    bool is_unconfirmed;       /* committed without the standby's confirmation */
    int64_t sent_ms;           /* when the current query was sent */
    enum batch_result result;  /* what the server's response means for the batch */
    enum op_reason reason;     /* why the batch was not stored, or the connection not opened */
    struct failures *failures; /* borrowed, and shared with other connections */
    char refusal[FAILURE_MAX]; /* why it was not opened */

    LIST_ENTRY(connection) link; /* the pool's */
};

/* Closed, with room for batches of batch_max. The hosts and failures must outlive it. False when out of
 * memory; connection_free in either case. */
bool connection_init(struct connection *connection, struct hosts *hosts, struct failures *failures,
                     size_t batch_max);
void connection_free(struct connection *connection);

/* Opens it, to the first host that accepts it, until deadline_ms at the latest; but name resolution is the
 * system's, which takes what time it takes. CONNECTION_IDLE then, else CONNECTION_CLOSED (`reason` and
 * `refusal` say why; nothing is reported, for this may be the connector's thread). */
void connection_open(struct connection *connection, int64_t deadline_ms);

/* Closes it if it is open. */
void connection_close(struct connection *connection);

/* Sends the batch: ops, count, attempt, deadline_ms and store_until_ms. No two of the operations are on the
 * same incident, and they stay where they are until the result is not BATCH_PENDING. An operation has its
 * outcome after BATCH_DONE only. Errors are logged here. */
enum batch_result connection_start_batch(struct connection *connection);

/* Continues when the socket is ready. On an idle connection the result is BATCH_PENDING, and it is closed if
 * the server has closed it. */
enum batch_result connection_continue(struct connection *connection);

/* When the batch that is under way is to be given up, with connection_abort. */
int64_t connection_deadline_ms(const struct connection *connection);

/* Closes the connection: BATCH_LOST if the server may have the whole batch, else BATCH_UNREACHABLE. */
enum batch_result connection_abort(struct connection *connection);

#endif
