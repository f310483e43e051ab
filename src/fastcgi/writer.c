/* Writing a response to a FastCGI connection.
 *
 * libfcgi makes a request's streams in FCGX_Accept_r alone, which reads the head of a request for it. So it
 * is given one, on a socket pair, when the writer is opened. From then on the descriptor and the id, which
 * are public members, are those of the peer that gets the response.
 *
 * A response is one write: its content's records, and those that end the stream and the request. libfcgi adds
 * these when the stream's emptyBuffProc, a public member too, is told to close it. Behind the first time the
 * stream takes records as they are, which is why the content's headers are ours; FCGX_FClose does the same,
 * and marks the stream as unusable. */
#include "fastcgi/writer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "fastcgi/record.h"

enum {
    LIBRARY_BYTES = 32 * 1024,
    USUAL_MAX = 64 * 1024, /* bytes of a response that every socket has room for */
};

/* The head of a request of number 1 without variables or body. */
static const char head[] = "\1\1\0\1\0\10\0\0" /* it begins, */
                           "\0\1\1\0\0\0\0\0"  /* for a responder, on a connection that is kept; */
                           "\1\4\0\1\0\0\0\0"  /* no more variables, */
                           "\1\5\0\1\0\0\0\0"; /* and no more of a body */
enum { HEAD_BYTES = sizeof head - 1 };

/* libfcgi ends the program where it gets no memory. */
static bool has_memory(void)
{
    void *memory = malloc(LIBRARY_BYTES);
    bool is_there = memory != NULL;

    free(memory);
    return is_there;
}

/* Puts the content into the stream, as records that need no padding but for the last. */
static bool put_content(FCGX_Stream *out, int request_id, struct slice content)
{
    static const char zeros[RECORD_ALIGNMENT];

    while (content.len > 0) {
        size_t len = content.len < RECORD_CONTENT_MAX ? content.len : RECORD_CONTENT_MAX;
        const FCGI_Header header = record_header(FCGI_STDOUT, request_id, len);

        if (FCGX_PutStr((const char *)&header, sizeof header, out) != (int)sizeof header ||
            FCGX_PutStr(content.data, (int)len, out) != (int)len ||
            FCGX_PutStr(zeros, header.paddingLength, out) != header.paddingLength) {
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

/* Has libfcgi read the head from the near end. -1: should it want to accept another connection, it fails and
 * comes back. FCGX_Accept_r begins with FCGX_Finish_r, which would close the connection unless it is kept.
 * The end of a stream that was not written to goes to the pair. */
static bool set_up(FCGX_Request *request, const int pair[2])
{
    if (!has_memory() || FCGX_Init() != 0 || FCGX_InitRequest(request, -1, FCGI_FAIL_ACCEPT_ON_INTR) != 0 ||
        send(pair[1], head, HEAD_BYTES, MSG_NOSIGNAL) != HEAD_BYTES) {
        return false; /* LCOV_EXCL_LINE: out of memory or descriptors (exhaustion_test, limits_test) */
    }
    request->ipcFd = pair[0];
    request->keepConnection = 1;
    return FCGX_Accept_r(request) == 0 && close_stream(request, 2);
}

bool writer_open(struct writer *writer)
{
    bool is_open = false;
    int pair[2];

    *writer = (struct writer){.request.ipcFd = -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
        is_open = set_up(&writer->request, pair);
        close(pair[1]);
    }
    if (!is_open) {
        /* LCOV_EXCL_START: out of memory or descriptors (exhaustion_test, limits_test) */
        log_error("unable to start: libfcgi: %s", strerror(errno));
        /* LCOV_EXCL_STOP */
    }
    if (writer->request.ipcFd >= 0) { /* else libfcgi has closed it */
        close(writer->request.ipcFd);
        writer->request.ipcFd = -1;
    }
    writer->start = is_open ? writer->request.out->wrNext : NULL;
    return is_open;
}

void writer_close(struct writer *writer)
{
    FCGX_Free(&writer->request, 0);
}

/* The metrics of many tokens and processes are larger than what a socket holds by default. The kernel gives
 * twice what is asked for, net.core.wmem_max at most (socket(7)), which is some 400 KiB by default. */
static void make_room(int descriptor, size_t len)
{
    const int bytes = (int)len;

    if (len > USUAL_MAX) {
        setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
}

bool writer_send(struct writer *writer, int descriptor, int request_id, struct slice response)
{
    FCGX_Request *request = &writer->request;
    bool is_sent;

    make_room(descriptor, response.len);
    request->ipcFd = descriptor;
    request->requestId = request_id;
    is_sent = put_content(request->out, request_id, response) && close_stream(request, 1);
    request->ipcFd = -1;
    if (!is_sent) { /* the stream is closed, and holds the rest, which no other peer may get */
        FCGX_ClearError(request->out);
        request->out->isClosed = 0;
        request->out->wrNext = writer->start;
    }
    return is_sent;
}
