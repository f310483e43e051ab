/* A query under way on a connection that does not block, and the texts that go along with it. */
#ifndef INCIDENTS_STORE_QUERY_H
#define INCIDENTS_STORE_QUERY_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUERY_NUMBERS_MAX = 8, QUERY_NUMBERS_SIZE = QUERY_NUMBERS_MAX * 24 };

/* Waits until all that was handed to libpq has left; false once clock_now_ms() has passed the deadline, and
 * then no more is sent, or the connection is lost. */
bool query_flush(PGconn *connection, int64_t deadline_ms);

/* The next result of the query, which the caller clears. NULL behind the last one; and with *in_time false
 * once the deadline has passed, or the connection is lost. */
PGresult *query_next_result(PGconn *connection, int64_t deadline_ms, bool *in_time);

/* Writes at most QUERY_NUMBERS_MAX numbers as Postgres reads an array. */
void query_write_numbers(const int64_t *numbers, size_t count, char text[QUERY_NUMBERS_SIZE]);

/* The bigint that stands there. */
int64_t query_read_number(const PGresult *result, int row, int column);

#endif
