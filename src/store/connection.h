/* One connection to Postgres, and the one call that is made on it: a batch of operations in one transaction.
 *
 * Nothing here waits, but for connection_open. A connection is one thread's at a time. */
#ifndef INCIDENTS_STORE_CONNECTION_H
#define INCIDENTS_STORE_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "loop/loop.h"
#include "store/hosts.h"
#include "store/op.h"
#include "store/session.h"

/* What the connection is about. From IDLE a batch goes through those of the states behind it that it needs.
 */
enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPENING, /* another thread's */
    CONNECTION_IDLE,
    CONNECTION_ENDING,    /* sessions that were given up */
    CONNECTION_GREETING,  /* learns the server's clock and types */
    CONNECTION_PREPARING, /* has the server parse the statement once and for all */
    CONNECTION_STORING,
};

/* One call of apply_batch, and what it must know about calls before it. Times are those of clock_now_ms(). */
struct attempt {
    int64_t deadline_ms;     /* nobody waits for the answer any longer */
    int64_t store_until_ms;  /* later than this the database stores nothing, whatever its session does */
    int64_t number;          /* that no other attempt has, anywhere */
    const int64_t *orphaned; /* attempts with the same operation that may still run */
    size_t orphaned_count;   /* at most ORPHANED_ATTEMPTS_MAX */
};

/* What became of a batch. */
enum batch_result {
    BATCH_PENDING,     /* not known yet */
    BATCH_DONE,        /* committed; every operation has its outcome */
    BATCH_UNREACHABLE, /* nothing was stored, the connection is no good: try again */
    BATCH_LOST,        /* the answer did not come, and the outcome is not known: try again */
    BATCH_CONFLICT,    /* the transaction lost against another and nothing was stored, or the standby's
                          confirmation was not waited for: try again */
    BATCH_UNAVAILABLE, /* nothing was stored and trying again at once is of no use */
    BATCH_UNSTORABLE,  /* nothing was stored: a value of some operation cannot be kept */
    BATCH_FAILED,      /* nothing was stored: a defect, which may be one operation's */
};

struct connection {
    struct hosts *hosts; /* borrowed, and shared with other connections */
    enum connection_state state;
    PGconn *pg;          /* NULL while there is none */
    size_t host;         /* the one that it was made to */
    bool is_used;        /* a batch has gone over it */
    bool is_prepared;    /* the server knows the statement by its name */
    bool cannot_prepare; /* a pooler hands statements to one server session after another */
    struct session session;
    struct buffer encoded; /* the batch as it is sent, kept for the next */

    struct store_op **ops; /* the batch that is under way, or will be: batch_max of them */
    size_t count;
    struct attempt attempt;
    int64_t started_ms; /* 0 while it is idle */

    bool is_flushed;          /* all that was sent has left */
    bool is_unconfirmed;      /* the batch was committed without the standby's word */
    int64_t sent_ms;          /* when what is under way was sent */
    enum batch_result result; /* what the server said of the batch */
    enum op_reason reason;    /* why it, or the connection, came to nothing */
    int64_t failing_since_ms; /* 0 while the last attempt went well */
    int64_t last_failure_ms;  /* when a failure was logged */
    char last_failure[512];

    struct loop_handler handler; /* the store's own from here on */
    bool waits_to_write;
    void *store;
    struct connection *next; /* in one of the pool's lists, or the connector's */
};

/* Closed, with room for batches of batch_max. The hosts must outlive it. False when out of memory;
 * connection_free in either case. */
bool connection_init(struct connection *connection, struct hosts *hosts, size_t batch_max);
void connection_free(struct connection *connection);

/* Opens it, to the first host that will have it, until deadline_ms at the latest; but the look for a host's
 * address is the system's resolver's, which takes what time it takes. CONNECTION_IDLE then, else
 * CONNECTION_CLOSED (logged, and `reason` says why). */
void connection_open(struct connection *connection, int64_t deadline_ms);

/* Closes it, where it is open. */
void connection_close(struct connection *connection);

/* Whether it is to a host that is not the one to try first any more. */
bool connection_is_outdated(const struct connection *connection);

/* Sends the batch of `operations`, `count` and `attempt`, to be applied in one transaction. No two of the
 * operations may be for the same incident. They and the attempt's array stay where they are until the result
 * is another than BATCH_PENDING; operations get their outcome with BATCH_DONE only. The connection is closed
 * with BATCH_UNREACHABLE and BATCH_LOST, and idle with the others. Errors are logged here. */
enum batch_result connection_start_batch(struct connection *connection);

/* The connection's socket is ready: goes on with what is under way. While it is idle, the result is
 * BATCH_PENDING, and the connection closed where the server has ended it. */
enum batch_result connection_continue(struct connection *connection);

/* When the batch that is under way is given up. */
int64_t connection_deadline_ms(const struct connection *connection);

/* Gives it up: BATCH_LOST where the server may have all of it, else BATCH_UNREACHABLE. */
enum batch_result connection_give_up(struct connection *connection);

/* For connection_open: says that the database fails, at once where the reason is a new one, and then now and
 * again. */
void connection_log_failure(struct connection *connection, const char *what, const char *why);

#endif
