/* The hosts that a connection string names, and in which order they are tried.
 *
 * libpq tries several hosts one after the other by itself, but its asynchronous way waits for each of them
 * without end: one that stands still takes connections, by its kernel, and never says anything, and the
 * others would not have their turn. So each host is given to libpq alone, and the time limit is ours. */
#ifndef INCIDENTS_STORE_HOSTS_H
#define INCIDENTS_STORE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hosts;

/* Reads the connection string: its lists of host, hostaddr and port. They are taken apart where each host is
 * there and PGHOST, PGHOSTADDR and PGPORT are no lists themselves. Else, and where libpq would refuse them,
 * there is one host, and libpq goes by its own rules. NULL (logged) when out of memory. hosts_free it; NULL
 * is allowed there. */
struct hosts *hosts_new(const char *url);
void hosts_free(struct hosts *hosts);

/* At least 1. */
size_t hosts_count(const struct hosts *hosts);

/* The host to try first: the one that the last connection was made to, until it is marked as failed. The loop
 * and the connector may call this and the two below at the same time. */
size_t hosts_first(const struct hosts *hosts);

/* A connection was made to that host. */
void hosts_mark_working(struct hosts *hosts, size_t host);

/* The host does not answer, or is none that can be written to: the one behind it shall be tried first. */
void hosts_mark_failed(struct hosts *hosts, size_t host);

/* How long an attempt at one host may take: connect_timeout of the connection string, also where there is
 * one host alone; 2 s where it says nothing and there are several, else INT64_MAX. */
int64_t hosts_timeout_ms(const struct hosts *hosts);

/* libpq's parameters for one of them, as PQconnectStartParams takes them with expand_dbname. Borrowed. */
const char *const *hosts_keywords(void);
const char *const *hosts_values(const struct hosts *hosts, size_t host);

#endif
