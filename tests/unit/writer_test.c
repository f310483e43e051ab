/* Responses as libfcgi frames them: whole records of the right request, and nothing of another's, whatever
 * becomes of the connections. A socket pair is a connection, and its far end the web server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "fastcgi/record.h"
#include "fastcgi/writer.h"

enum { BYTES_MAX = 1024 * 1024, RESPONSE_MAX = 300 * 1024, USUAL_MAX = 64 * 1024, LIBRARY_BUFFER = 8192 };

static struct writer writer;
static int near_end = -1, far_end = -1;

static void disconnect(void)
{
    if (near_end >= 0) {
        close(near_end);
    }
    if (far_end >= 0) {
        close(far_end);
    }
    near_end = far_end = -1;
}

static void connect_peer(void)
{
    int pair[2];

    disconnect();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    near_end = pair[0];
    far_end = pair[1];
}

/* Has the socket hold little that is not read. */
static void make_narrow(void)
{
    const int size = 1; /* the kernel takes the least that it has */

    assert_int_equal(setsockopt(near_end, SOL_SOCKET, SO_SNDBUF, &size, sizeof size), 0);
}

/* Each byte of it is the same but the last, so that parts of two are told apart. */
static bool respond(int id, char filling, size_t len)
{
    static char text[RESPONSE_MAX];

    memset(text, filling, len);
    if (len > 0) {
        text[len - 1] = '.';
    }
    return writer_send(&writer, near_end, id, (struct slice){.data = text, .len = len});
}

/* Reads what is there. */
static void receive(struct buffer *bytes)
{
    char chunk[4096];
    ssize_t got;

    while ((got = recv(far_end, chunk, sizeof chunk, 0)) > 0) {
        buffer_append(bytes, chunk, (size_t)got);
    }
    assert_true(got == 0 || errno == EAGAIN);
}

/* Reads a record's header at *at, which is moved behind the record; its content's length. */
static size_t read_record(const struct buffer *bytes, size_t *at, int type, int id)
{
    const unsigned char *header = (const unsigned char *)bytes->data + *at;
    size_t len, padding;

    assert_true(bytes->len - *at >= FCGI_HEADER_LEN);
    len = (size_t)(header[4] << 8 | header[5]);
    padding = header[6];
    assert_int_equal(header[0], FCGI_VERSION_1);
    assert_int_equal(header[1], type);
    assert_int_equal(header[2] << 8 | header[3], id);
    assert_int_equal(header[7], 0);
    assert_int_equal((len + padding) % 8, 0);
    assert_true(padding < 8 && bytes->len - *at - FCGI_HEADER_LEN >= len + padding);
    *at += FCGI_HEADER_LEN + len + padding;
    return len;
}

/* What is there is one response, and no byte more. How many records it has that are not empty. */
static size_t expect_response(int id, char filling, size_t len)
{
    static const char complete[8];
    struct buffer bytes;
    size_t at = 0, total = 0, records = 0;

    buffer_init(&bytes, BYTES_MAX);
    receive(&bytes);
    while (total < len) {
        const char *content = bytes.data + at + FCGI_HEADER_LEN;
        size_t part = read_record(&bytes, &at, FCGI_STDOUT, id);

        assert_true(part > 0 && part <= len - total);
        for (size_t i = 0; i < part; i++) {
            assert_int_equal(content[i], total + i + 1 == len ? '.' : filling);
        }
        total += part;
        records++;
    }
    assert_int_equal(read_record(&bytes, &at, FCGI_STDOUT, id), 0);
    assert_int_equal(read_record(&bytes, &at, FCGI_END_REQUEST, id), sizeof complete);
    assert_memory_equal(bytes.data + at - sizeof complete, complete, sizeof complete);
    assert_int_equal(at, bytes.len);
    buffer_free(&bytes);
    return records;
}

/* Responses to peers of whom there is nothing to say: one that the library's buffer has room for, and one
 * that is longer. */
static void expect_next_is_whole(void)
{
    static const size_t lengths[] = {300, 3 * LIBRARY_BUFFER, 300};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        connect_peer();
        assert_true(respond(2, 'n', lengths[i]));
        assert_int_equal(expect_response(2, 'n', lengths[i]), 1);
    }
}

static void a_response_is_records_of_its_request(void **state)
{
    static const int ids[] = {1, 2, 255, 256, 257, 65535};

    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        connect_peer();
        assert_true(respond(ids[i], 'x', 150));
        assert_int_equal(expect_response(ids[i], 'x', 150), 1);
    }
}

static void one_connection_takes_one_response_after_the_other(void **state)
{
    connect_peer();
    for (int i = 1; i < 100; i++) {
        assert_true(respond(i, (char)('a' + i % 26), (size_t)i * 7));
        expect_response(i, (char)('a' + i % 26), (size_t)i * 7);
    }
}

static void a_response_of_any_length_is_padded_and_whole(void **state)
{
    connect_peer();
    for (size_t len = 0; len < 40; len++) {
        assert_true(respond(1, 's', len));
        expect_response(1, 's', len);
    }
    for (size_t len = LIBRARY_BUFFER - 40; len < LIBRARY_BUFFER + 40; len++) {
        assert_true(respond(1, 'm', len));
        expect_response(1, 'm', len);
    }
}

static void what_is_longer_than_a_record_is_several(void **state)
{
    connect_peer();
    assert_true(respond(1, 'l', RECORD_CONTENT_MAX));
    assert_int_equal(expect_response(1, 'l', RECORD_CONTENT_MAX), 1);
    assert_true(respond(1, 'l', RECORD_CONTENT_MAX + 1));
    assert_int_equal(expect_response(1, 'l', RECORD_CONTENT_MAX + 1), 2);
}

/* Metrics of many tokens: a peer that has not begun to read is not waited for. */
static void the_largest_response_has_room_in_the_socket(void **state)
{
    connect_peer();
    assert_true(respond(1, 'L', RESPONSE_MAX));
    assert_int_equal(expect_response(1, 'L', RESPONSE_MAX),
                     (RESPONSE_MAX + RECORD_CONTENT_MAX - 1) / RECORD_CONTENT_MAX);
}

/* Between peers that keep the bounds of what is written. */
static void a_response_is_one_write(void **state)
{
    char packet[1024];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(writer_send(&writer, pair[0], 1, (struct slice){.data = "0123456789", .len = 10}));
        assert_int_equal(recv(pair[1], packet, sizeof packet, 0), 8 + 16 + 8 + 16);
        assert_int_equal(recv(pair[1], packet, sizeof packet, 0), -1);
    }
    close(pair[0]);
    close(pair[1]);
}

static void of_a_peer_that_has_closed_nothing_is_left_for_the_next(void **state)
{
    static const size_t lengths[] = {1, 300, LIBRARY_BUFFER, LIBRARY_BUFFER + 300, RESPONSE_MAX};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        connect_peer();
        close(far_end);
        far_end = -1;
        assert_false(respond(1, 'c', lengths[i]));
        expect_next_is_whole();
    }
}

static void of_a_peer_that_reads_no_more_nothing_is_left_for_the_next(void **state)
{
    connect_peer();
    assert_int_equal(shutdown(far_end, SHUT_RD), 0);
    assert_false(respond(1, 'c', 300));
    expect_next_is_whole();
}

/* The loop has no time for it. */
static void a_peer_that_takes_too_little_is_not_waited_for(void **state)
{
    connect_peer();
    make_narrow();
    assert_false(respond(1, 't', USUAL_MAX));
    expect_next_is_whole();
}

/* It may have room for nothing, for the response and not for its end, or for all. */
static void whatever_room_a_peer_has_the_next_response_is_whole(void **state)
{
    bool had_room = false, had_none = false;

    for (size_t taken = 0; !had_none; taken++) {
        struct buffer before;
        bool is_full = false;

        connect_peer();
        make_narrow();
        for (size_t i = 0; i < taken && !is_full; i++) {
            is_full = send(near_end, "-", 1, MSG_NOSIGNAL) != 1;
        }
        if (respond(1, 'r', 100)) {
            had_room = true;
            buffer_init(&before, BYTES_MAX);
            receive(&before);
            assert_int_equal(before.len, taken + 8 + 104 + 8 + 16);
            buffer_free(&before);
        }
        had_none = is_full;
        expect_next_is_whole();
    }
    assert_true(had_room);
}

static int start(void **state)
{
    return writer_open(&writer) ? 0 : -1;
}

static int finish(void **state)
{
    disconnect();
    writer_close(&writer);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_response_is_records_of_its_request),
        CASE(one_connection_takes_one_response_after_the_other),
        CASE(a_response_of_any_length_is_padded_and_whole),
        CASE(what_is_longer_than_a_record_is_several),
        CASE(the_largest_response_has_room_in_the_socket),
        CASE(a_response_is_one_write),
        CASE(of_a_peer_that_has_closed_nothing_is_left_for_the_next),
        CASE(of_a_peer_that_reads_no_more_nothing_is_left_for_the_next),
        CASE(a_peer_that_takes_too_little_is_not_waited_for),
        CASE(whatever_room_a_peer_has_the_next_response_is_whole),
    };

    signal(SIGPIPE, SIG_IGN); /* as the server has it */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
