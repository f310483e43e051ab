/* One connection to Postgres, and the one call that the worker makes on it. */
#ifndef INCIDENTS_STORE_DATABASE_H
#define INCIDENTS_STORE_DATABASE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "store/item.h"
#include "store/servers.h"
#include "store/session.h"

enum { LOST_ATTEMPTS_MAX = 8 };

/* One call of apply_batch, and what it must know about calls before it. */
struct attempt {
    int64_t deadline_ms;    /* of clock_now_ms(): nobody waits for the answer any longer */
    int64_t store_until_ms; /* later than this the database stores nothing, whatever its session does */
    int64_t number;         /* that no other attempt has, anywhere; 0 where there is nothing to store */
    const int64_t *lost;    /* attempts with the same items that may still run */
    size_t lost_count;      /* at most LOST_ATTEMPTS_MAX */
};

/* What became of a call. */
enum database_result {
    DATABASE_DONE,        /* committed; every item has its outcome */
    DATABASE_UNREACHABLE, /* the connection is no good: try again */
    DATABASE_LOST,        /* the answer did not come, and the outcome is not known: try again */
    DATABASE_CONFLICT,    /* the transaction lost against another and nothing was stored, or the standby's
                             confirmation was not waited for: try again */
    DATABASE_UNAVAILABLE, /* nothing was stored and trying again at once is of no use */
    DATABASE_UNSTORABLE,  /* nothing was stored: a value of some item cannot be kept */
    DATABASE_FAILED,      /* nothing was stored: a defect, which may be one item's */
};

/* Not for several threads at once. Set it up with database_init. */
struct database {
    struct servers *servers;   /* borrowed, and shared with other connections */
    PGconn *connection;        /* NULL while there is none */
    size_t server;             /* the one that it was made to */
    bool is_used;              /* a batch has gone over this connection */
    bool is_prepared;          /* this connection knows the statement by its name */
    bool cannot_prepare;       /* a pooler hands statements to one server session after another */
    struct session session;    /* the server's, behind this connection */
    int64_t sent_ms;           /* when what is under way was sent */
    bool is_unconfirmed;       /* the last batch was committed without the standby's word */
    struct buffer batch;       /* the encoded batch, kept for the next */
    struct item *const *items; /* those that are under way, and whose they are until database_await; */
    size_t count;
    const struct attempt *attempt;
    enum item_reason reason;     /* why they, or a connection, came to nothing */
    bool is_postponed;           /* they leave within database_await, as that may take a while */
    enum database_result result; /* what is known of them already: DATABASE_LOST where it is nothing */
    int64_t failing_since_ms;    /* 0 while the last attempt went well */
    int64_t last_complaint_ms;
    char last_complaint[512];
};

/* Without a connection yet. The servers must outlive the database. */
void database_init(struct database *database, struct servers *servers);

static inline bool database_is_connected(const struct database *database)
{
    return database->connection != NULL;
}

/* Whether the connection is to a server that is not the one to try first any more. */
bool database_is_outdated(const struct database *database);

/* Closes the connection, where there is one. */
void database_disconnect(struct database *database);

/* Opens the connection where there is none, to the first server that will have it, until deadline_ms at the
 * latest; but the look for a host's address is the system's resolver's, which takes what time it takes. False
 * (logged) where there is no connection then. */
bool database_connect(struct database *database, int64_t deadline_ms);

/* Sends the items, no two of which may be for the same incident, to be applied in one transaction over the
 * connection, which must be there; where that may take a while it is left to database_await. They and the
 * attempt stay where they are until then, and it must follow, also where nothing could be sent. Errors of
 * both are logged here. */
void database_send(struct database *database, struct item *const *items, size_t count,
                   const struct attempt *attempt);

/* Waits for what becomes of the items that were sent, and gives up at the attempt's deadline. Items get their
 * outcome with DATABASE_DONE only. The connection is closed with DATABASE_UNREACHABLE and DATABASE_LOST. */
enum database_result database_await(struct database *database);

/* Closes the connection, if any, and frees the memory. */
void database_close(struct database *database);

#endif
