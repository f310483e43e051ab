/* Numbers as they go along with a query, and come back, in text. */
#ifndef INCIDENTS_STORE_QUERY_H
#define INCIDENTS_STORE_QUERY_H

#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>

enum { QUERY_NUMBERS_MAX = 8, QUERY_NUMBERS_SIZE = QUERY_NUMBERS_MAX * 24 };

/* Writes at most QUERY_NUMBERS_MAX numbers as Postgres reads an array. */
void query_write_numbers(const int64_t *numbers, size_t count, char text[QUERY_NUMBERS_SIZE]);

/* The bigint that stands there. */
int64_t query_read_number(const PGresult *result, int row, int column);

#endif
