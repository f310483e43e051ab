/* Plain CGI's request on its way to a worker that stays. */
#include "gateway/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "gateway/guard.h"
#include "gateway/record.h"

enum { REQUEST_ID = 1, ANSWER_RECORDS_MAX = 1024 * 1024, CHUNK_BYTES = 16 * 1024 };

/* Where in the worker's records the reading is. */
struct reply {
    struct buffer log;     /* what came for the log */
    struct buffer records; /* as they came */
    size_t at;             /* the first that was not taken */
    bool is_complete;      /* FCGI_END_REQUEST came, and said that all is well */
    bool is_broken;
};

static void write_request(const struct request *request, request_variable *variable, void *context,
                          int64_t take_until_ms, struct buffer *records)
{
    char until[24];
    struct buffer params;

    (void)snprintf(until, sizeof until, "%lld", (long long)take_until_ms);
    buffer_init(&params, GUARD_PARAMS_MAX);
    for (size_t i = 0; i < REQUEST_VARIABLES; i++) {
        const char *name = request_variable_name(i);
        const char *value = i == RELAY_TAKE_UNTIL_MS ? until
                            : i == HTTP_X_REQUEST_ID ? request->id
                                                     : variable(context, name);

        if (value != NULL) {
            record_append_pair(&params, name, value);
        }
    }
    record_append_begin(records, REQUEST_ID, 0);
    record_append_stream(records, RECORD_PARAMS, REQUEST_ID,
                         (struct slice){.data = params.data, .len = params.len});
    record_append_stream(records, RECORD_STDIN, REQUEST_ID, request->body);
    records->failed = records->failed || params.failed;
    buffer_free(&params);
}

static enum relay_result send_all(int connection, const struct buffer *records, int64_t deadline_ms)
{
    size_t sent = 0;

    while (sent < records->len) {
        ssize_t n = send(connection, records->data + sent, records->len - sent, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            if (!clock_poll(connection, POLLOUT, deadline_ms)) {
                return RELAY_SILENT;
            }
        } else if (n < 0 && errno != EINTR) {
            return RELAY_UNSENT;
        }
        sent += n > 0 ? (size_t)n : 0;
    }
    return RELAY_ANSWERED;
}

static void take_record(struct reply *reply, int type, struct slice content, struct buffer *answer)
{
    switch (type) {
    case RECORD_STDOUT:
        buffer_append_slice(answer, content);
        break;
    case RECORD_STDERR:
        buffer_append_slice(&reply->log, content);
        break;
    case RECORD_END_REQUEST: /* four bytes of an application's status, one of the protocol's (section 5.5) */
        reply->is_complete = content.len == 8 && content.data[4] == RECORD_REQUEST_COMPLETE;
        reply->is_broken = !reply->is_complete;
        break;
    default:
        reply->is_broken = true;
    }
}

/* Takes all records that are there as a whole. */
static void take_records(struct reply *reply, struct buffer *answer)
{
    while (!reply->is_complete && !reply->is_broken &&
           reply->records.len - reply->at >= RECORD_HEADER_BYTES) {
        const unsigned char *header = (const unsigned char *)reply->records.data + reply->at;
        size_t len = (size_t)header[4] << 8 | header[5], whole = RECORD_HEADER_BYTES + len + header[6];

        if (header[0] != RECORD_VERSION_1 || (header[2] << 8 | header[3]) != REQUEST_ID) {
            reply->is_broken = true;
            break;
        }
        if (reply->records.len - reply->at < whole) {
            break;
        }
        take_record(reply, header[1],
                    (struct slice){.data = (const char *)header + RECORD_HEADER_BYTES, .len = len}, answer);
        reply->at += whole;
    }
}

static enum relay_result receive_all(int connection, int64_t deadline_ms, struct reply *reply,
                                     struct buffer *answer)
{
    char chunk[CHUNK_BYTES];

    while (!reply->is_complete) {
        ssize_t n = recv(connection, chunk, sizeof chunk, MSG_DONTWAIT);

        if (n < 0 && errno == EAGAIN) {
            if (!clock_poll(connection, POLLIN, deadline_ms)) {
                return RELAY_SILENT;
            }
        } else if (n == 0 || (n < 0 && errno != EINTR)) {
            return RELAY_LOST;
        } else if (n > 0) {
            buffer_append(&reply->records, chunk, (size_t)n);
            take_records(reply, answer);
        }
        if (reply->records.failed || reply->is_broken || answer->failed) {
            return RELAY_LOST;
        }
    }
    return answer->len > 0 ? RELAY_ANSWERED : RELAY_LOST;
}

/* Each line with one write(2), as the worker would write it. */
static void write_log(const struct buffer *log)
{
    for (size_t at = 0; at < log->len;) {
        const char *line = log->data + at, *end = memchr(line, '\n', log->len - at);
        size_t len = end == NULL ? log->len - at : (size_t)(end - line) + 1;
        ssize_t written = write(STDERR_FILENO, line, len);

        (void)written; /* as with every line of the log */
        at += len;
    }
}

enum relay_result relay_request(int connection, const struct request *request, request_variable *variable,
                                void *context, int64_t take_until_ms, int64_t deadline_ms,
                                struct buffer *answer)
{
    struct reply reply = {.at = 0};
    struct buffer records;
    enum relay_result result = RELAY_UNSENT;

    buffer_init(&records, request->body.len + request->body.len / 1024 + (size_t)2 * GUARD_PARAMS_MAX);
    buffer_init(&reply.records, ANSWER_RECORDS_MAX);
    buffer_init(&reply.log, ANSWER_RECORDS_MAX);
    write_request(request, variable, context, take_until_ms, &records);
    if (!records.failed) {
        result = send_all(connection, &records, deadline_ms);
    }
    buffer_free(&records);
    if (result == RELAY_ANSWERED) {
        result = receive_all(connection, deadline_ms, &reply, answer);
        write_log(&reply.log);
    }
    buffer_free(&reply.log);
    buffer_free(&reply.records);
    return result;
}
