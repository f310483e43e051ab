/* The servers that a connection string names, and in which order they are tried.
 *
 * libpq tries several hosts one after the other by itself, but its asynchronous way waits for each of them
 * without end: one that stands still takes connections, by its kernel, and never says anything, and the
 * others would not have their turn. So each server is given to libpq alone, and the time limit is ours. */
#ifndef INCIDENTS_STORE_SERVERS_H
#define INCIDENTS_STORE_SERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct servers;

/* Reads the connection string, which must outlive the servers: its lists of host, hostaddr and port. They are
 * taken apart where each host is there and PGHOST, PGHOSTADDR and PGPORT are no lists themselves. Else,
 * and where libpq would refuse them, there is one server, and libpq goes by its own rules. NULL (logged) when
 * out of memory. servers_free it; NULL is allowed there. */
struct servers *servers_new(const char *url);
void servers_free(struct servers *servers);

/* At least 1. */
size_t servers_count(const struct servers *servers);

/* The server to try first: the one that the last connection of any thread was made to, until something is
 * held against that one. Several threads may ask and tell at once. */
size_t servers_first(const struct servers *servers);

/* A connection was made to that server. */
void servers_choose(struct servers *servers, size_t server);

/* The server does not answer, or is none that can be written to: the one behind it shall be tried first. */
void servers_pass_over(struct servers *servers, size_t server);

/* How long an attempt at one server may take: connect_timeout of the connection string, also where there is
 * one server alone; 2 s where it says nothing and there are several, else INT64_MAX. */
int64_t servers_patience_ms(const struct servers *servers);

/* libpq's parameters for one of them, as PQconnectStartParams takes them with expand_dbname. Borrowed. */
const char *const *servers_keywords(void);
const char *const *servers_values(const struct servers *servers, size_t server);

#endif
