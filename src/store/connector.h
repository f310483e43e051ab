/* A thread that opens connections to the database, for that may block: in the look for a host's address, in
 * TLS. */
#ifndef INCIDENTS_STORE_CONNECTOR_H
#define INCIDENTS_STORE_CONNECTOR_H

#include "store/connection.h"

struct connector;

/* NULL (logged) where there is no thread to be had. */
struct connector *connector_start(void);

/* Readable while connector_take_opened has something. */
int connector_event(const struct connector *connector);

/* Has the connection opened until deadline_ms, as connection_open does. It is the connector's, and
 * CONNECTION_OPENING, until connector_take_opened returns it. */
void connector_open(struct connector *connector, struct connection *connection, int64_t deadline_ms);

/* The next connection that was opened, or could not be; NULL where there is none. */
struct connection *connector_take_opened(struct connector *connector);

/* Ends the thread, and has `end` called, with its context: here, or by the thread where that does not come
 * back in time from the system's resolver, which cannot be stopped. What `end` frees is the connector's until
 * then. */
void connector_stop(struct connector *connector, void (*end)(void *context), void *context);

#endif
