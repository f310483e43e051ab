/* A server that says what a test has it say, to libpq. Names are those of the PostgreSQL 15 manual, 55.7. */
#ifndef INCIDENTS_TESTS_FAKE_POSTGRES_H
#define INCIDENTS_TESTS_FAKE_POSTGRES_H

#include <libpq-fe.h>
#include <stddef.h>

#include "base/buffer.h"

struct fake_postgres {
    char directory[sizeof "/tmp/fake-postgres.XXXXXX"]; /* host of libpq's; the port is 1 */
    int listener;
    int socket; /* the server's end of a connection; -1 where there is none */
    PGconn *pg; /* of fake_postgres_connect */
};

/* Has libpq connect, for server->pg, which is the caller's to finish. */
void fake_postgres_connect(struct fake_postgres *server);

/* For libpq elsewhere in the program: listens, in a directory of its own; takes the connection that libpq
 * makes, and says AuthenticationOk and ReadyForQuery; stops to listen. */
void fake_postgres_listen(struct fake_postgres *server);
void fake_postgres_accept(struct fake_postgres *server);
void fake_postgres_stop_listening(struct fake_postgres *server);

/* Waits for something to read, and reads all there is: how many bytes. */
size_t fake_postgres_read(const struct fake_postgres *server);

/* Ends the server's side; it may have ended. */
void fake_postgres_hang_up(struct fake_postgres *server);

/* Says a message. */
void fake_postgres_say(const struct fake_postgres *server, char type, const void *content, size_t len);

/* ReadyForQuery. */
void fake_postgres_say_ready(const struct fake_postgres *server);

/* ErrorResponse; function and table may be NULL, and so may the SQLSTATE. */
void fake_postgres_say_error(const struct fake_postgres *server, const char *sqlstate, const char *function,
                             const char *table);

/* The one row of a response in the extended protocol, which fake_postgres_say_ready ends: count values, data
 * NULL for NULL, all in text or all in binary. */
void fake_postgres_say_row(const struct fake_postgres *server, bool is_binary, const struct slice *values,
                           size_t count);

/* What the server says of its clock, its process and its type. */
void fake_postgres_say_sync(const struct fake_postgres *server);

/* What apply_batch says before it is committed: an outcome for each of `count` operations, and labels; of
 * either the last bytes, `cut` many, are missing. */
void fake_postgres_say_result(const struct fake_postgres *server, const char *outcome, size_t count,
                              size_t labels_count, size_t outcomes_cut, size_t labels_cut);

/* The same whole, and that it is committed. */
void fake_postgres_say_outcomes(const struct fake_postgres *server, const char *outcome, size_t count);

#endif
