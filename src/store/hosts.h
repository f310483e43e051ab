/* The hosts of a connection string, and the order in which they are tried.
 *
 * libpq tries several hosts by itself, but its asynchronous functions wait for each without a limit: the
 * kernel of a host that hangs accepts connections, the server never responds, and the other hosts are never
 * tried. So libpq gets one host at a time, and the time limit is ours. */
#ifndef INCIDENTS_STORE_HOSTS_H
#define INCIDENTS_STORE_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hosts;

enum { HOSTS_PARAMETERS = 8 };

/* Splits the lists of host, hostaddr and port. There is one host, and libpq follows its own rules, if an
 * element is empty, if PGHOST, PGHOSTADDR or PGPORT is a list, or if libpq would refuse the string. NULL when
 * out of memory. hosts_free it; NULL is allowed there. */
struct hosts *hosts_new(const char *url);
void hosts_free(struct hosts *hosts);

/* At least 1. */
size_t hosts_count(const struct hosts *hosts);

/* The host to try first: the one that the last connection was made to, until it is marked as failed. The loop
 * and the connector may call this and the two below at the same time. */
size_t hosts_first(const struct hosts *hosts);

/* A connection was made to that host. */
void hosts_mark_working(struct hosts *hosts, size_t host);

/* The host does not respond or is read-only: the next one is tried first. */
void hosts_mark_failed(struct hosts *hosts, size_t host);

/* How long an attempt at one host may take: connect_timeout of the connection string. Without it 2 s if there
 * are several hosts, else INT64_MAX. */
int64_t hosts_timeout_ms(const struct hosts *hosts);

/* libpq's parameters for one of them, as PQconnectStartParams takes them with expand_dbname; values are
 * borrowed. */
extern const char *const hosts_keywords[HOSTS_PARAMETERS];
void hosts_values(const struct hosts *hosts, size_t host, const char *values[HOSTS_PARAMETERS]);

#endif
