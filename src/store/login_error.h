/* Why the database refused a connection. */
#ifndef INCIDENTS_STORE_LOGIN_ERROR_H
#define INCIDENTS_STORE_LOGIN_ERROR_H

#include <stddef.h>

enum { SQLSTATE_SIZE = 6 };

/* libpq keeps the SQLSTATE of a refused connection to itself, but writes it into the error's text where it is
 * asked for PQERRORS_VERBOSE. Writes that text into message as it is without: of size bytes, cut where
 * longer, without the last line's end. sqlstate gets the last state in it, and is empty where there is none:
 * the server was not reached. */
void login_error_read(const char *verbose, char *message, size_t size, char sqlstate[SQLSTATE_SIZE]);

#endif
