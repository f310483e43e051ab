/* The server's session behind a connection: its clock, the OID of its type, how it is identified, and the
 * abandoned sessions before it. */
#ifndef INCIDENTS_STORE_SESSION_H
#define INCIDENTS_STORE_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/server_clock.h"

enum { ABANDONED_SESSIONS_MAX = 8 };

struct session_id {
    int64_t pid;       /* 0 if it is not known, as there is a pooler in between */
    int64_t synced_us; /* when it sent its time, of the server's clock, */
    int64_t server_us; /* and when the server was started */
};

/* All zero: of no connection yet. */
struct session {
    struct server_clock clock;
    uint32_t operation_type; /* the OID of intake.operation; 0 if it is unknown, or there is none */
    struct session_id id;
    struct session_id abandoned[ABANDONED_SESSIONS_MAX]; /* to be terminated over the next connection */
    size_t abandoned_count;
};

/* The connection has ended. Abandoned sessions stay known. */
void session_forget(struct session *session);

/* The session may still have a batch to read: it is to be terminated. */
void session_abandon(struct session *session);

/* Each query is sent on a connection on which nothing is under way; false if libpq does not take it. */

/* Terminates the last abandoned session, which a role may do with its own. session_read_termination
 * removes it, whatever the result. */
bool session_send_termination(const struct session *session, PGconn *pg);
void session_read_termination(struct session *session, const PGresult *result);

/* Asks for the server's clock, the OID of intake.operation and the session's id. sent_ms: when the query was
 * sent, of clock_now_ms(). False if the row is not as expected. */
bool session_send_sync(PGconn *pg);
bool session_read_sync(struct session *session, const PGconn *pg, const PGresult *row, int64_t sent_ms);

#endif
