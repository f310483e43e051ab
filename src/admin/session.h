/* The administrator's connection to Postgres, as the schema's owner. */
#ifndef INCIDENTS_ADMIN_SESSION_H
#define INCIDENTS_ADMIN_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Connects as the settings say. NULL, with a message on standard error, where that fails. PQfinish it. */
PGconn *session_open(void);

/* Runs one statement with text parameters (NULL for SQL null). The result, to be cleared with PQclear; NULL,
 * with a message on standard error, where it fails. */
PGresult *session_query(PGconn *session, const char *sql, int count, const char *const *values);

/* The same for a statement whose result does not matter. */
bool session_run(PGconn *session, const char *sql);

#endif
