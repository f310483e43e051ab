/* A thread that opens connections to the database, one at a time: name resolution and TLS may block. */
#ifndef INCIDENTS_STORE_CONNECTOR_H
#define INCIDENTS_STORE_CONNECTOR_H

#include "store/connection.h"

struct connector;

/* NULL, with errno set, on failure. */
struct connector *connector_start(void);

/* A descriptor that is readable while connector_take_opened has a connection. */
int connector_event(const struct connector *connector);

/* Opens the connection as connection_open does. It is the connector's, and CONNECTION_OPENING, until
 * connector_take_opened returns it, and no other may be opened before. */
void connector_open(struct connector *connector, struct connection *connection, int64_t deadline_ms);

/* The connection that was opened, or could not be; NULL if there is none. */
struct connection *connector_take_opened(struct connector *connector);

/* Ends the thread and calls `end` with its context. The system's resolver cannot be interrupted: if it takes
 * too long, the thread is left behind and calls `end` itself. What `end` frees is in use until then. */
void connector_stop(struct connector *connector, void (*end)(void *context), void *context);

#endif
