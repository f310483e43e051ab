/* Writing a response to a FastCGI connection: libfcgi frames it. */
#ifndef INCIDENTS_FASTCGI_WRITER_H
#define INCIDENTS_FASTCGI_WRITER_H

#include <fcgiapp.h>
#include <stdbool.h>

#include "base/buffer.h"

/* libfcgi's request, with its stream of output: set up once, and lent to each request that is responded to.
 */
struct writer {
    FCGX_Request request;
    unsigned char *start; /* of the stream's buffer */
};

/* Sets it up, once a process. False (logged) where libfcgi cannot be set up. */
bool writer_open(struct writer *writer);
void writer_close(struct writer *writer);

/* Writes the response, in CGI's form, and ends the request of that id. The descriptor is O_NONBLOCK: a socket
 * whose request was read has room for a response, and a peer that takes none is not waited for. False if not
 * all of it could be written: then the connection must be closed. */
bool writer_send(struct writer *writer, int descriptor, int request_id, struct slice response);

#endif
