/* A server that says what a test has it say: libpq's connection, and the other end of its socket. Names are
 * those of the PostgreSQL 15 manual, 55.7. */
#ifndef INCIDENTS_TESTS_FAKE_POSTGRES_H
#define INCIDENTS_TESTS_FAKE_POSTGRES_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/buffer.h"

struct fake_postgres {
    PGconn *pg; /* connected; the caller's to finish */
    int socket; /* the server's end */
};

/* Has libpq connect. */
void fake_postgres_connect(struct fake_postgres *server);

/* Ends the server's side; it may have ended. */
void fake_postgres_hang_up(struct fake_postgres *server);

/* Says a message. */
void fake_postgres_say(const struct fake_postgres *server, char type, const void *content, size_t len);

/* ReadyForQuery. */
void fake_postgres_say_ready(const struct fake_postgres *server);

/* ErrorResponse; function and table may be NULL, and so may the SQLSTATE. */
void fake_postgres_say_error(const struct fake_postgres *server, const char *sqlstate, const char *function,
                             const char *table);

/* The one row of an answer in the extended protocol, which fake_postgres_say_ready ends: count values, data
 * NULL for NULL, all in text or all in binary. */
void fake_postgres_say_row(const struct fake_postgres *server, bool is_binary, const struct slice *values,
                           size_t count);

#endif
