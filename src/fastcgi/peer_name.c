/* Who is at the far end of a connection. */
#include "fastcgi/peer_name.h"

#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

#include "http/request.h"

/* The process that connected to a UNIX-domain socket (unix(7)); another container's has the number 0. */
static void write_process(int descriptor, char name[PEER_NAME_SIZE])
{
    struct ucred process;
    socklen_t size = sizeof process;

    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &process, &size) == 0) {
        snprintf(name, PEER_NAME_SIZE, "process %ld of user %ld", (long)process.pid, (long)process.uid);
    }
}

void peer_write_name(const struct peer *peer, char name[PEER_NAME_SIZE])
{
    const char *client = request_client(peer->parser.variables);
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof address;
    char host[64], port[16];

    snprintf(name, PEER_NAME_SIZE, "an unknown peer");
    getpeername(peer->descriptor, (struct sockaddr *)&address, &size);
    if (*client != '\0') {
        snprintf(name, PEER_NAME_SIZE, "client %s", client);
    } else if (address.ss_family == AF_UNIX) {
        write_process(peer->descriptor, name);
    } else if (address.ss_family != AF_UNSPEC &&
               getnameinfo((const struct sockaddr *)&address, size, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        snprintf(name, PEER_NAME_SIZE, "%s port %s", host, port);
    }
}
