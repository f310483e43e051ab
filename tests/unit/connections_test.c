/* The web server's connections: what is given up, when, and what is said of it; and how they are closed. A
 * socket pair is the connection, and its far end the web server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "fastcgi/connections.h"
#include "fastcgi/record.h"

enum {
    LIMIT = 64 * 1024,
    TIMEOUT_MS = 60000,
    LONG_AGO_MS = 10000,
    FAR_ENDS_MAX = 8,
    HALF_A_MINUTE_MS = 30000
};

static struct loop loop;
static struct connections connections;
static int far_ends[FAR_ENDS_MAX];
static size_t far_end_count;
static int calls;     /* of the handler, */
static uint32_t told; /* and the last one's events */

static void count_call(void *peer, uint32_t events)
{
    (void)peer;
    told = events;
    calls++;
}

static struct peer *add_peer(void)
{
    struct peer *peer;
    int pair[2];

    assert_true(far_end_count < FAR_ENDS_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    far_ends[far_end_count++] = pair[1];
    peer = connections_add(&connections, pair[0], count_call, NULL);
    assert_non_null(peer);
    return peer;
}

/* Of the peer that was added last. */
static int far_end(void)
{
    return far_ends[far_end_count - 1];
}

static void send_bytes(int descriptor, const void *data, size_t len)
{
    assert_int_equal(send(descriptor, data, len, MSG_NOSIGNAL), len);
}

/* Sends a request's beginning, with so many bytes of its body, and the body's end. */
static void send_request(int descriptor, const char *length, const void *body, size_t len, bool ends)
{
    const unsigned char begin[8] = {0, RECORD_RESPONDER, RECORD_KEEP_CONN};
    struct buffer bytes;
    char params[64];

    buffer_init(&bytes, (size_t)2 * LIMIT);
    (void)snprintf(params, sizeof params, "\16%cCONTENT_LENGTH%s", (int)strlen(length), length);
    record_append(&bytes, RECORD_BEGIN_REQUEST, 1, begin, sizeof begin);
    record_append(&bytes, RECORD_PARAMS, 1, params, strlen(params));
    record_append(&bytes, RECORD_PARAMS, 1, "", 0);
    if (len > 0) {
        record_append(&bytes, RECORD_STDIN, 1, body, len);
    }
    if (ends) {
        record_append(&bytes, RECORD_STDIN, 1, "", 0);
    }
    send_bytes(descriptor, bytes.data, bytes.len);
    buffer_free(&bytes);
}

/* A peer with a request that has begun, of which more was declared. */
static struct peer *begin_request(const void *body, size_t len)
{
    struct peer *peer = add_peer();

    send_request(far_end(), "60000", body, len, len == 0);
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    return peer;
}

/* A peer with a whole request, which waits for its response. */
static struct peer *finish_request(void)
{
    struct peer *peer = add_peer();

    send_request(far_end(), "2", "{}", 2, true);
    assert_int_equal(connections_read(&connections, peer), PARSER_COMPLETE);
    assert_int_equal(peer->state, PEER_WAITING);
    return peer;
}

/* A peer that has had its response. */
static struct peer *linger(void)
{
    struct peer *peer = finish_request();

    connections_end(&connections, peer);
    return peer;
}

/* How often handlers are called for what is there by now. */
static int count_calls(void)
{
    calls = 0;
    loop_turn(&loop, 0);
    return calls;
}

/* ---- Silence ---- */

/* Has the peers that have been silent for too long given up; what is logged. The text is good until the next
 * call. */
static const char *expire(void)
{
    static char text[512];
    char path[] = "/tmp/connections-test.XXXXXX";
    int file = mkstemp(path);
    ssize_t len;

    assert_true(file >= 0);
    assert_true(log_open(path, LOG_FORMAT_TEXT));
    connections.look_at_ms = clock_now_ms();
    connections_expire(&connections);
    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    len = read(file, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    (void)close(file);
    (void)unlink(path);
    return text;
}

static void a_request_that_does_not_go_on_is_given_up_and_logged(void **state)
{
    struct peer *peer = begin_request("body", 4);

    (void)state;
    assert_string_equal(expire(), "");
    assert_int_equal(count_calls(), 0);
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    assert_non_null(strstr(expire(), "gave up 1 requests that did not go on for 60000 ms"));
    assert_int_equal(count_calls(), 1);
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

static void a_request_that_goes_on_is_not_given_up(void **state)
{
    struct peer *peer = begin_request("body", 4);

    (void)state;
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    send_bytes(far_end(), "\1", 1); /* of the next record */
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    assert_string_equal(expire(), "");
    assert_true(peer->is_unfinished);
}

/* A web server may keep a connection for as long as it likes. */
static void who_asks_nothing_is_never_given_up(void **state)
{
    struct peer *peer = add_peer();

    (void)state;
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    assert_false(peer->is_unfinished);
    assert_true(connections_due_ms(&connections) == LOOP_NEVER);
    finish_request();
    assert_true(connections_due_ms(&connections) == LOOP_NEVER);
}

static void while_a_request_is_unfinished_it_is_looked_at_every_second(void **state)
{
    int64_t before_ms = clock_now_ms();
    struct peer *peer = begin_request("body", 4);
    int64_t due_ms = connections_due_ms(&connections);

    (void)state;
    assert_true(due_ms >= before_ms + 1000 && due_ms <= clock_now_ms() + 1000);
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    connections.look_at_ms = clock_now_ms() + LONG_AGO_MS;
    connections_expire(&connections); /* it is not due */
    assert_true(peer->is_unfinished);
    expire();
    assert_true(connections_due_ms(&connections) == LOOP_NEVER);
}

/* It is answered, so nothing is said of it but what is said of every request. */
static void a_body_that_has_ended_early_is_answered_and_not_logged_as_given_up(void **state)
{
    struct peer *peer = begin_request("", 0);

    (void)state;
    assert_true(peer->parser.has_ended_early);
    assert_string_equal(expire(), "");
    assert_true(peer->is_unfinished);
    peer->last_read_ms -= LONG_AGO_MS; /* two seconds are waited for */
    assert_string_equal(expire(), "");
    assert_int_equal(count_calls(), 1);
    assert_int_equal(connections_read(&connections, peer), PARSER_COMPLETE);
}

/* ---- Reading ---- */

static void a_connection_carries_one_request_after_the_other(void **state)
{
    struct peer *peer = finish_request();

    (void)state;
    for (int i = 0; i < 3; i++) {
        connections_read_on(&connections, peer);
        assert_int_equal(peer->state, PEER_READING);
        assert_int_equal(count_calls(), 0);
        send_request(far_end(), "3", "[1]", 3, true);
        assert_int_equal(count_calls(), 1);
        assert_int_equal(connections_read(&connections, peer), PARSER_COMPLETE);
        assert_string_equal(peer->parser.body.bytes.data, "[1]");
    }
    assert_int_equal(connections.holds, 0);
}

static void the_parsers_replies_are_sent(void **state)
{
    struct peer *peer = add_peer();
    char reply[32];

    (void)state;
    send_bytes(far_end(), "\1\11\0\0\0\0\0\0", 8);
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    assert_int_equal(recv(far_end(), reply, sizeof reply, MSG_DONTWAIT), 8);
    assert_memory_equal(reply, "\1\12\0\0\0\0\0\0", 8);
}

static void who_hangs_up_is_gone(void **state)
{
    struct peer *idle = add_peer(), *reading;

    (void)state;
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    assert_int_equal(connections_read(&connections, idle), PARSER_ERROR);
    reading = begin_request("body", 4);
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(connections_read(&connections, reading), PARSER_ERROR);
    assert_int_equal(connections.unfinished_count, 0);
}

/* Else the loop would turn without end while the database takes its time. */
static void what_comes_before_the_response_is_not_told_again(void **state)
{
    struct peer *peer = finish_request();

    (void)state;
    send_bytes(far_end(), "more", 4);
    assert_int_equal(count_calls(), 1);
    connections_ignore(&connections, peer, EPOLLIN);
    assert_int_equal(count_calls(), 0);
    assert_int_equal(shutdown(far_end(), SHUT_RDWR), 0);
    assert_int_equal(count_calls(), 0);
    connections_read_on(&connections, peer);
    assert_int_equal(count_calls(), 1);
}

/* One that has only ended its own stream may still take its response. */
static void who_hangs_up_before_the_response_is_known_to_be_gone(void **state)
{
    struct peer *ended = finish_request(), *gone;

    (void)state;
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    connections_ignore(&connections, ended, told);
    assert_false(ended->is_gone);
    gone = finish_request();
    close(far_ends[--far_end_count]);
    assert_int_equal(count_calls(), 1);
    connections_ignore(&connections, gone, told);
    assert_true(gone->is_gone);
}

/* ---- Memory ---- */

/* What lingers came first, and holds nothing: to give it up would take its response back for nothing. */
static void where_memory_is_short_the_oldest_that_holds_some_is_given_up(void **state)
{
    static const char body[20000];
    struct peer *lingering = linger(), *older, *newer;

    (void)state;
    older = begin_request(body, sizeof body);
    connections.holds_max = older->holds + older->holds / 2;
    newer = begin_request(body, sizeof body);
    assert_false(older->is_unfinished);
    assert_true(newer->is_unfinished);
    assert_true(lingering->is_unfinished);
    assert_int_equal(connections.holds, newer->holds);
    send_bytes(far_ends[0], "more", 4);
    assert_int_equal(connections_read(&connections, lingering), PARSER_INCOMPLETE);
    assert_int_equal(connections_read(&connections, older), PARSER_ERROR);
}

static void one_request_over_the_limit_gives_itself_up(void **state)
{
    struct peer *peer;

    (void)state;
    connections.holds_max = 100;
    peer = begin_request("a body that takes memory", 24);
    assert_false(peer->is_unfinished);
    assert_int_equal(connections.holds, 0);
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

/* ---- Descriptors ---- */

static void for_a_descriptor_one_that_lingers_is_given_up_first(void **state)
{
    struct peer *older = begin_request("body", 4), *newer = begin_request("body", 4), *lingering = linger();

    (void)state;
    connections_make_room(&connections);
    assert_false(lingering->is_unfinished);
    assert_int_equal(connections_read(&connections, lingering), PARSER_ERROR);
    assert_true(older->is_unfinished && newer->is_unfinished);
    connections_make_room(&connections);
    assert_false(older->is_unfinished);
    assert_int_equal(connections_read(&connections, older), PARSER_ERROR);
    assert_true(newer->is_unfinished);
    connections_make_room(&connections);
    connections_make_room(&connections); /* where there is nobody to be given up */
    assert_false(newer->is_unfinished);
}

/* ---- Closing ---- */

/* To close with bytes unread would take the response back: ECONNRESET in its place. */
static void who_writes_behind_its_last_record_still_reads_its_response(void **state)
{
    struct peer *peer = finish_request();
    char text[32];

    (void)state;
    send_bytes(peer->descriptor, "the response", 12);
    connections_end(&connections, peer);
    assert_int_equal(peer->state, PEER_LINGERING);
    for (int i = 0; i < 3; i++) {
        send_bytes(far_end(), "more", 4);
        assert_int_equal(count_calls(), 1);
        assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    }
    assert_int_equal(recv(far_end(), text, sizeof text, 0), 12);
    assert_int_equal(recv(far_end(), text, sizeof text, 0), 0);
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

static void what_came_before_the_response_is_thrown_away_too(void **state)
{
    struct peer *peer = finish_request();

    (void)state;
    send_bytes(far_end(), "more", 4);
    assert_int_equal(count_calls(), 1);
    connections_ignore(&connections, peer, EPOLLIN);
    connections_end(&connections, peer);
    assert_int_equal(count_calls(), 1);
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    assert_int_equal(count_calls(), 0);
}

static void who_lingers_in_silence_is_closed(void **state)
{
    struct peer *peer = linger();

    (void)state;
    assert_string_equal(expire(), "");
    assert_true(peer->is_unfinished);
    peer->last_read_ms -= LONG_AGO_MS; /* two seconds are waited for */
    assert_string_equal(expire(), "");
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

/* However often it sends something. */
static void who_lingers_is_closed_in_the_end(void **state)
{
    struct peer *peer = linger();
    int64_t until_ms = peer->linger_until_ms;

    (void)state;
    assert_true(until_ms >= peer->last_read_ms + HALF_A_MINUTE_MS);
    assert_true(until_ms <= clock_now_ms() + HALF_A_MINUTE_MS);
    send_bytes(far_end(), "more", 4);
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    assert_true(peer->linger_until_ms == until_ms);
    peer->linger_until_ms = clock_now_ms() - 1;
    assert_string_equal(expire(), "");
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

static void of_who_lingers_only_so_much_is_read(void **state)
{
    struct peer *peer = linger();

    (void)state;
    peer->lingered = BODY_DRAIN_MAX - 4;
    send_bytes(far_end(), "more", 4);
    assert_int_equal(connections_read(&connections, peer), PARSER_INCOMPLETE);
    send_bytes(far_end(), "x", 1);
    assert_int_equal(connections_read(&connections, peer), PARSER_ERROR);
}

/* ---- A stop ---- */

/* It has its response, and may never close. It is looked at all the same. */
static void who_lingers_is_no_request_that_a_stop_waits_for(void **state)
{
    struct peer *request = begin_request("body", 4), *lingering = begin_request("", 0);

    (void)state;
    assert_int_equal(connections.unfinished_count, 2);
    connections_end(&connections, lingering);
    assert_int_equal(connections.unfinished_count, 1);
    connections_close(&connections, request);
    assert_int_equal(connections.unfinished_count, 0);
    assert_true(connections_due_ms(&connections) != LOOP_NEVER);
    lingering->last_read_ms -= LONG_AGO_MS;
    expire();
    assert_true(connections_due_ms(&connections) == LOOP_NEVER);
    assert_int_equal(connections_read(&connections, lingering), PARSER_ERROR);
    connections_close(&connections, lingering);
    assert_int_equal(connections.unfinished_count, 0);
}

static void a_stop_leaves_those_that_wait_for_a_response(void **state)
{
    struct peer *waiting = finish_request();

    (void)state;
    begin_request("body", 4);
    linger();
    add_peer();
    connections_stop_reading(&connections);
    assert_ptr_equal(LIST_FIRST(&connections.peers), waiting);
    assert_null(LIST_NEXT(waiting, link));
    assert_int_equal(connections.unfinished_count, 0);
    assert_int_equal(connections.holds, 0);
    for (size_t i = 0; i < far_end_count; i++) {
        char byte;

        assert_int_equal(recv(far_ends[i], &byte, 1, MSG_DONTWAIT), i == 0 ? -1 : 0);
    }
}

/* ---- */

static int start(void **state)
{
    (void)state;
    if (!loop_open(&loop)) {
        return -1;
    }
    connections_init(&connections, &loop, LIMIT, TIMEOUT_MS);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    connections_free(&connections);
    loop_close(&loop);
    while (far_end_count > 0) {
        (void)close(far_ends[--far_end_count]);
    }
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_that_does_not_go_on_is_given_up_and_logged),
        CASE(a_request_that_goes_on_is_not_given_up),
        CASE(who_asks_nothing_is_never_given_up),
        CASE(while_a_request_is_unfinished_it_is_looked_at_every_second),
        CASE(a_body_that_has_ended_early_is_answered_and_not_logged_as_given_up),
        CASE(a_connection_carries_one_request_after_the_other),
        CASE(the_parsers_replies_are_sent),
        CASE(who_hangs_up_is_gone),
        CASE(what_comes_before_the_response_is_not_told_again),
        CASE(who_hangs_up_before_the_response_is_known_to_be_gone),
        CASE(where_memory_is_short_the_oldest_that_holds_some_is_given_up),
        CASE(one_request_over_the_limit_gives_itself_up),
        CASE(for_a_descriptor_one_that_lingers_is_given_up_first),
        CASE(who_writes_behind_its_last_record_still_reads_its_response),
        CASE(what_came_before_the_response_is_thrown_away_too),
        CASE(who_lingers_in_silence_is_closed),
        CASE(who_lingers_is_closed_in_the_end),
        CASE(of_who_lingers_only_so_much_is_read),
        CASE(who_lingers_is_no_request_that_a_stop_waits_for),
        CASE(a_stop_leaves_those_that_wait_for_a_response),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
