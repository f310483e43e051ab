/* Writing a response to a FastCGI connection.
 *
 * libfcgi makes a request's streams in FCGX_Accept_r alone, which reads the head of a request for it. So it
 * is given one, on a socket pair, when the writer is opened. From then on the descriptor and the id, which
 * are public members, are those of whoever is answered.
 *
 * A response is one write: its content's records, and those that end the stream and the request. libfcgi adds
 * these when the stream's emptyBuffProc, a public member too, is told to close it. Behind the first time the
 * stream takes records as they are, which is why the content's headers are ours; FCGX_FClose does the same,
 * and marks the stream as one that nobody can use again. */
#include "fastcgi/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "fastcgi/record.h"

enum { LIBRARY_BYTES = 32 * 1024, HEAD_ID = 1 };

/* The head of a request without variables or body: to begin, a role, flags and reserved bytes; two streams
 * that end. */
static const unsigned char head[] = {
    RECORD_VERSION_1,
    RECORD_BEGIN_REQUEST,
    0,
    HEAD_ID,
    0,
    8,
    0,
    0, /* the header */
    0,
    RECORD_RESPONDER,
    RECORD_KEEP_CONN,
    0,
    0,
    0,
    0,
    0, /* its content */
    RECORD_VERSION_1,
    RECORD_PARAMS,
    0,
    HEAD_ID,
    0,
    0,
    0,
    0, /* no more variables */
    RECORD_VERSION_1,
    RECORD_STDIN,
    0,
    HEAD_ID,
    0,
    0,
    0,
    0, /* no more of a body */
};

/* libfcgi ends the program where it gets no memory. */
static bool has_memory(void)
{
    void *memory = malloc(LIBRARY_BYTES);
    bool is_there = memory != NULL;

    free(memory);
    return is_there;
}

/* Has libfcgi read the head of a request from the socket. */
static bool accept_from(FCGX_Request *request, int descriptor)
{
    /* -1: should libfcgi want to accept another connection, it fails and comes back. */
    if (FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0) {
        return false;
    }
    request->ipcFd = descriptor;
    request->keepConnection = 1; /* FCGX_Accept_r begins with FCGX_Finish_r, which would close it */
    return FCGX_Accept_r(request) == 0;
}

static bool open_pair(struct writer *writer)
{
    return writer->pair[0] >= 0 ||
           socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, writer->pair) == 0;
}

static void close_pair(struct writer *writer)
{
    for (int i = 0; i < 2; i++) {
        if (writer->pair[i] >= 0) {
            close(writer->pair[i]);
            writer->pair[i] = -1;
        }
    }
}

/* Puts the content into the stream, as records that need no padding but for the last. */
static bool put_content(FCGX_Stream *out, int request_id, struct slice content)
{
    static const char zeros[RECORD_ALIGNMENT];
    unsigned char header[RECORD_HEADER_BYTES];

    while (content.len > 0) {
        size_t len = content.len < RECORD_CONTENT_MAX ? content.len : RECORD_CONTENT_MAX;
        int padding = (int)record_padding(len);

        record_write_header(header, RECORD_STDOUT, request_id, len);
        if (FCGX_PutStr((const char *)header, sizeof header, out) != (int)sizeof header ||
            FCGX_PutStr(content.data, (int)len, out) != (int)len ||
            FCGX_PutStr(zeros, padding, out) != padding) {
            return false;
        }
        content.data += len;
        content.len -= len;
    }
    return true;
}

/* Has libfcgi add what ends the stream, and where it is the request's last the request, and write all. */
static bool close_stream(FCGX_Request *request, int streams_left)
{
    request->nWriters = streams_left;
    request->out->emptyBuffProc(request->out, 1);
    return FCGX_GetError(request->out) == 0;
}

static bool set_up(struct writer *writer)
{
    char end[RECORD_HEADER_BYTES];

    if (!has_memory() || !open_pair(writer)) {
        return false;
    }
    if (send(writer->pair[1], head, sizeof head, MSG_NOSIGNAL) != (ssize_t)sizeof head) {
        close_pair(writer);
        return false;
    }
    writer->is_open = accept_from(&writer->request, writer->pair[0]);
    if (!writer->is_open) {
        writer->pair[0] = -1; /* libfcgi has closed it */
        close_pair(writer);
        return false;
    }
    /* The end of a stream that nobody has written to goes to the pair, for the next time. */
    writer->is_open =
        close_stream(&writer->request, 2) && recv(writer->pair[1], end, sizeof end, 0) == (ssize_t)sizeof end;
    writer->request.ipcFd = -1;
    if (!writer->is_open) {
        FCGX_Free(&writer->request, 0);
        close_pair(writer);
    }
    return writer->is_open;
}

bool writer_open(struct writer *writer)
{
    *writer = (struct writer){.pair = {-1, -1}};
    if (FCGX_Init() != 0 || !set_up(writer)) {
        log_error("unable to set up libfcgi: %s", strerror(errno));
        return false;
    }
    return true;
}

/* Gives libfcgi's request up, for good or to be set up anew. */
static void give_up(struct writer *writer)
{
    if (writer->is_open) {
        writer->is_open = false;
        FCGX_Free(&writer->request, 0);
    }
}

void writer_close(struct writer *writer)
{
    give_up(writer);
    close_pair(writer);
}

bool writer_send(struct writer *writer, int descriptor, int request_id, struct slice response)
{
    FCGX_Request *request = &writer->request;
    bool sent;

    if (!writer->is_open && !set_up(writer)) {
        log_error("unable to answer: libfcgi cannot be set up: %s", strerror(errno));
        return false;
    }
    request->ipcFd = descriptor;
    request->requestId = request_id;
    sent = put_content(request->out, request_id, response) && close_stream(request, 1);
    request->ipcFd = -1;
    if (!sent) {
        give_up(writer); /* the stream holds what is left, which is nobody else's to read */
    }
    return sent;
}
