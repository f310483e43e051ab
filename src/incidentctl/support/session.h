/* The administrator's connection to Postgres, as the schema's owner. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_SESSION_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_SESSION_H

#include <libpq-fe.h>
#include <stdbool.h>

/* Connects as the settings say. NULL, with a message on standard error, where that fails. PQfinish it. */
PGconn *session_open(void);

/* Runs one statement with text parameters (NULL for SQL null). The result, to be cleared with PQclear; NULL,
 * with a message on standard error, where it fails. */
PGresult *session_query(PGconn *session, const char *sql, int count, const char *const *values);

/* The same for a statement whose result does not matter. */
bool session_run(PGconn *session, const char *sql);

/* What is done with each row of a long result, in its only row 0. False ends it. */
typedef bool session_row(const PGresult *row, void *context);

/* Runs one statement as session_query does, and hands its rows on one by one as they come, so that any number
 * of them takes the memory of one. is_binary asks for the fields in their binary format. False, with a
 * message on standard error, where the statement fails; false where a row ended it: nothing but PQfinish is
 * left to do then. */
bool session_stream(PGconn *session, const char *sql, int count, const char *const *values, bool is_binary,
                    session_row *row, void *context);

#endif
