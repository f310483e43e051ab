/* Who is at the far end of a connection, for the log. */
#ifndef INCIDENTS_FASTCGI_PEER_NAME_H
#define INCIDENTS_FASTCGI_PEER_NAME_H

#include "fastcgi/peers.h"

enum { PEER_NAME_SIZE = 128 };

/* Writes "client 192.0.2.7" if the request's variables have come, with the web server's REMOTE_ADDR among
 * them; else what the system knows of the socket: "process 123 of user 33", or "127.0.0.1 port 50000". */
void peer_write_name(const struct peer *peer, char name[PEER_NAME_SIZE]);

#endif
