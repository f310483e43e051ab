/* What an error of the database means: by its SQLSTATE, and by where in Postgres it arose. */
#ifndef INCIDENTS_STORE_SQLSTATE_H
#define INCIDENTS_STORE_SQLSTATE_H

#include <libpq-fe.h>

#include "store/op.h"

enum { SQLSTATE_SIZE = 6 }; /* of a text */

enum sqlstate_action {
    SQLSTATE_RECONNECT,   /* the connection or the server is gone or useless: retry on a new connection */
    SQLSTATE_UNPREPARED,  /* the same; a pooler switches server sessions, so prepare nothing any more */
    SQLSTATE_LOGIN,       /* the login is refused: retry on a new connection */
    SQLSTATE_READ_ONLY,   /* the server is read-only: retry, on another host first */
    SQLSTATE_RETRY,       /* the transaction lost against another: retry */
    SQLSTATE_RESYNC,      /* the server's clock or types have changed: ask for them and retry */
    SQLSTATE_SCHEMA,      /* not the schema that this build needs: 503 */
    SQLSTATE_PRIVILEGE,   /* the role lacks a right: 503 */
    SQLSTATE_SEQUENCE,    /* the sequence of the history's key is behind its table: 503 */
    SQLSTATE_UNAVAILABLE, /* retrying at once is of no use: 503 */
    SQLSTATE_JSONB_SIZE,  /* a jsonb cannot hold so much (manual, 8.14: 256 MB): metadata's fault */
    SQLSTATE_DATA,        /* a value cannot be stored. The error does not name it, nor whether it is
                             the operation's fault or that of an index or trigger that was added */
    SQLSTATE_DEFECT,      /* ours */
};

/* The action for a SQLSTATE of five characters (PostgreSQL manual, appendix A); NULL, as libpq has it for its
 * own errors, is a lost connection. function is the one of Postgres's source that raised the error, table the
 * one that it is about; NULL if unknown. */
enum sqlstate_action sqlstate_action(const char *sqlstate, const char *function, const char *table);

/* The same for libpq's result. */
enum sqlstate_action sqlstate_result_action(const PGresult *result);

/* The reason for the client's 503 or 422; REASON_NONE if there is none. */
enum op_reason sqlstate_reason(enum sqlstate_action action);

/* libpq does not return the SQLSTATE of a refused connection, but writes it into the message under
 * PQERRORS_VERBOSE. Writes that message as it would be without, cut to size bytes, without its last line's
 * end. sqlstate gets the last one in it; empty if there is none, as the server was not reached. */
void sqlstate_read_login(const char *verbose, char *message, size_t size, char sqlstate[SQLSTATE_SIZE]);

#endif
