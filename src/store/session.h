/* The server's session behind a connection: what it told of its clock and of its types, its name, and those
 * before it that were given up. */
#ifndef INCIDENTS_STORE_SESSION_H
#define INCIDENTS_STORE_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/server_clock.h"

enum { ABANDONED_SESSIONS_MAX = 8 };

struct session_name {
    int64_t pid;        /* 0 where it cannot be named, as there is a pooler between */
    int64_t greeted_us; /* when it told its time, of the server's clock, */
    int64_t server_us;  /* and when the server was started */
};

/* All zero: of no connection yet. */
struct session {
    struct server_clock clock;
    uint32_t
        operation_type; /* the OID of intake.operation there; 0 where it is not known, or there is none */
    struct session_name name;
    struct session_name abandoned[ABANDONED_SESSIONS_MAX]; /* to be ended over the next connection */
    size_t abandoned_count;
};

/* The connection has ended. What was given up stays known. */
void session_forget(struct session *session);

/* The session is given up, and may have a batch before it still: it shall end. */
void session_abandon(struct session *session);

/* Each query is sent over a connection on which nothing is under way; false where it is of no use any more.
 */

/* Ends the sessions that were given up, as a role may with its own. */
bool session_send_ending(const struct session *session, PGconn *pg);
void session_read_ending(const PGresult *result);

/* Asks for the server's clock, its OID of intake.operation and the session's name. The row is the answer,
 * sent_ms the time when the question was sent, of clock_now_ms(). False where it makes no sense. */
bool session_send_greeting(PGconn *pg);
bool session_read_greeting(struct session *session, const PGconn *pg, const PGresult *row, int64_t sent_ms);

#endif
