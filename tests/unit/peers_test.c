/* The web server's connections: what is released, when, and what is said of it; and how they are closed. A
 * socket pair is the connection, and its far end the web server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "fastcgi/peer_name.h"
#include "fastcgi/peers.h"
#include "fastcgi/record.h"

enum {
    LIMIT = 64 * 1024,
    TIMEOUT_MS = 60000,
    LONG_AGO_MS = 10000,
    FAR_ENDS_MAX = 8,
    HALF_A_MINUTE_MS = 30000
};

static struct loop loop;
static struct peers peers;
static int far_ends[FAR_ENDS_MAX];
static size_t far_end_count;
static int calls;                         /* of the handler, */
static uint32_t told;                     /* and the last one's events */
static const char client[] = "192.0.2.7"; /* of requests */

static void count_call(struct peer *peer, uint32_t events)
{
    assert_ptr_equal(peer->table->context, &calls);
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
    peers_add(&peers, pair[0]);
    peer = TAILQ_LAST(&peers.list, peer_list);
    assert_non_null(peer);
    assert_int_equal(peer->descriptor, pair[0]);
    return peer;
}

static size_t count_peers(void)
{
    size_t count = 0;

    for (int state = 0; state < PEER_STATES; state++) {
        count += peers.count[state];
    }
    return count;
}

/* Reads what has come of no whole request, behind which the connection is open, */
static void expect_open(struct peer *peer)
{
    size_t before = count_peers();

    assert_false(peer_read(peer));
    assert_int_equal(count_peers(), before);
}

/* or closed. */
static void expect_closed(struct peer *peer)
{
    size_t before = count_peers();

    assert_false(peer_read(peer));
    assert_int_equal(count_peers(), before - 1);
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
    const unsigned char begin[8] = {0, FCGI_RESPONDER, FCGI_KEEP_CONN};
    struct buffer bytes;
    char params[128];

    buffer_init(&bytes, (size_t)2 * LIMIT);
    snprintf(params, sizeof params, "\16%cCONTENT_LENGTH%s\13%cREMOTE_ADDR%s", (int)strlen(length), length,
             (int)strlen(client), client);
    record_append(&bytes, FCGI_BEGIN_REQUEST, 1, begin, sizeof begin);
    record_append(&bytes, FCGI_PARAMS, 1, params, strlen(params));
    record_append(&bytes, FCGI_PARAMS, 1, "", 0);
    if (len > 0) {
        record_append(&bytes, FCGI_STDIN, 1, body, len);
    }
    if (ends) {
        record_append(&bytes, FCGI_STDIN, 1, "", 0);
    }
    send_bytes(descriptor, bytes.data, bytes.len);
    buffer_free(&bytes);
}

/* A peer with a request that has begun, of which more was declared. */
static struct peer *begin_request(const void *body, size_t len)
{
    struct peer *peer = add_peer();

    send_request(far_end(), "60000", body, len, len == 0);
    expect_open(peer);
    return peer;
}

/* A peer with a whole request, which waits for its response. */
static struct peer *finish_request(void)
{
    struct peer *peer = add_peer();

    send_request(far_end(), "2", "{}", 2, true);
    assert_true(peer_read(peer));
    assert_int_equal(peer->state, PEER_WAITING);
    return peer;
}

/* A peer that has had its response. */
static struct peer *linger(void)
{
    struct peer *peer = finish_request();

    peer_linger(peer);
    return peer;
}

/* How often handlers are called for what is there by now. */
static int count_calls(void)
{
    calls = 0;
    loop_run_once(&loop, 0);
    return calls;
}

/* ---- Silence ---- */

static char log_path[] = "/tmp/peers-test.XXXXXX";
static int log_file;

static void keep_log(void)
{
    memset(strrchr(log_path, '.') + 1, 'X', 6);
    log_file = mkstemp(log_path);
    assert_true(log_file >= 0);
    assert_true(log_open(log_path, LOG_FORMAT_TEXT));
}

/* What was logged since. The text is good until the next call. */
static const char *kept_log(void)
{
    static char text[1024];
    ssize_t len;

    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    len = read(log_file, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    close(log_file);
    unlink(log_path);
    return text;
}

/* Releases the peers that have been silent for too long; what is logged. */
static const char *expire(void)
{
    keep_log();
    peers.check_at_ms = clock_now_ms();
    peers_expire(&peers);
    return kept_log();
}

/* The end of a line about a peer whose request has no REMOTE_ADDR yet. */
static const char *this_process(void)
{
    static char name[64];

    snprintf(name, sizeof name, "process %ld of user %ld", (long)getpid(), (long)geteuid());
    return name;
}

static void a_request_that_does_not_go_on_times_out_and_is_logged(void **state)
{
    struct peer *peer = begin_request("body", 4);

    assert_string_equal(expire(), "");
    assert_int_equal(count_calls(), 0);
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    assert_non_null(strstr(expire(),
                           "1 incomplete requests timed out: nothing came for 60000 ms; the first is from "
                           "client 192.0.2.7\n"));
    assert_int_equal(count_calls(), 1);
    expect_closed(peer);
}

static void one_without_its_variables_is_told_by_its_process(void **state)
{
    struct peer *peer = add_peer();

    send_bytes(far_end(), "\1\1\0\1\0\10\0\0\0\1", 10);
    expect_open(peer);
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    assert_non_null(strstr(expire(), this_process()));
}

static void what_speaks_no_fastcgi_is_told_by_its_process(void **state)
{
    struct peer *peer = add_peer();
    char line[160];

    snprintf(line, sizeof line,
             " error closed a connection from %s: FastCGI protocol error: ", this_process());
    send_bytes(far_end(), "GET / HTTP/1.1\r\n\r\n", 18);
    keep_log();
    expect_closed(peer);
    assert_non_null(strstr(kept_log(), line));
}

static void a_peer_behind_tcp_is_told_by_its_address(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, other;
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct peer peer = {.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    char name[PEER_NAME_SIZE], expected[64];

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    peer_write_name(&peer, name);
    assert_string_equal(name, "an unknown peer"); /* not connected (any more) */
    assert_int_equal(connect(peer.descriptor, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getpeername(peer.descriptor, (struct sockaddr *)&other, &size), 0);
    snprintf(expected, sizeof expected, "127.0.0.1 port %d", ntohs(other.sin_port));
    peer_write_name(&peer, name);
    assert_string_equal(name, expected);
    close(peer.descriptor);
    close(listener);
}

static void a_request_that_goes_on_does_not_time_out(void **state)
{
    struct peer *peer = begin_request("body", 4);

    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    send_bytes(far_end(), "\1", 1); /* of the next record */
    expect_open(peer);
    assert_string_equal(expire(), "");
    assert_int_equal(peer->state, PEER_READING);
}

/* A web server may keep a connection for as long as it likes. */
static void an_idle_connection_never_times_out(void **state)
{
    struct peer *peer = add_peer();

    expect_open(peer);
    assert_int_equal(peer->state, PEER_IDLE);
    assert_true(peers_due_ms(&peers) == LOOP_NEVER);
    finish_request();
    assert_true(peers_due_ms(&peers) == LOOP_NEVER);
}

static void while_a_request_comes_in_it_is_checked_every_second(void **state)
{
    int64_t before_ms = clock_now_ms();
    struct peer *peer = begin_request("body", 4);
    int64_t due_ms = peers_due_ms(&peers);

    assert_true(due_ms >= before_ms + 1000 && due_ms <= clock_now_ms() + 1000);
    peer->last_read_ms -= TIMEOUT_MS + LONG_AGO_MS;
    peers.check_at_ms = clock_now_ms() + LONG_AGO_MS;
    peers_expire(&peers); /* it is not due */
    assert_int_equal(peer->state, PEER_READING);
    expire();
    assert_true(peers_due_ms(&peers) == LOOP_NEVER);
}

/* A record of the connection's own is no request, however slowly it came. */
static void behind_a_management_record_in_pieces_a_connection_is_idle(void **state)
{
    struct peer *peer = add_peer();

    send_bytes(far_end(), "\1\11\0", 3);
    expect_open(peer);
    assert_int_equal(peer->state, PEER_READING);
    send_bytes(far_end(), "\0\0\0\0\0", 5);
    expect_open(peer);
    assert_int_equal(peer->state, PEER_IDLE);
    assert_true(peers_due_ms(&peers) == LOOP_NEVER);
}

/* It is responded to, so nothing is said of it but what is said of every request. */
static void a_body_that_has_ended_early_is_responded_to_and_not_logged_as_timed_out(void **state)
{
    struct peer *peer = begin_request("", 0);

    assert_true(peer->parser.has_ended_early);
    assert_string_equal(expire(), "");
    assert_int_equal(peer->state, PEER_READING);
    peer->last_read_ms -= LONG_AGO_MS; /* two seconds are waited for */
    assert_string_equal(expire(), "");
    assert_int_equal(count_calls(), 1);
    assert_true(peer_read(peer));
}

/* ---- Reading ---- */

static void a_connection_carries_one_request_after_the_other(void **state)
{
    struct peer *peer = finish_request();

    for (int i = 0; i < 3; i++) {
        peer_next(peer);
        assert_int_equal(peer->state, PEER_IDLE);
        assert_int_equal(count_calls(), 0);
        send_request(far_end(), "3", "[1]", 3, true);
        assert_int_equal(count_calls(), 1);
        assert_true(peer_read(peer));
        assert_string_equal(peer->parser.body.bytes.data, "[1]");
    }
    assert_int_equal(peers.memory, 0);
}

static void the_parsers_output_is_sent(void **state)
{
    struct peer *peer = add_peer();
    char output[32];

    send_bytes(far_end(), "\1\11\0\0\0\0\0\0", 8);
    expect_open(peer);
    assert_int_equal(recv(far_end(), output, sizeof output, MSG_DONTWAIT), 8);
    assert_memory_equal(output, "\1\12\0\0\0\0\0\0", 8);
}

static void who_hangs_up_is_gone(void **state)
{
    struct peer *idle = add_peer(), *reading;

    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    expect_closed(idle);
    reading = begin_request("body", 4);
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    expect_closed(reading);
    assert_int_equal(peers.count[PEER_READING], 0);
}

/* Else the loop would turn without end while the database takes its time. */
static void what_comes_before_the_response_is_not_told_again(void **state)
{
    struct peer *peer = finish_request();

    send_bytes(far_end(), "more", 4);
    assert_int_equal(count_calls(), 1);
    peer_ignore(peer, EPOLLIN);
    assert_int_equal(count_calls(), 0);
    assert_int_equal(shutdown(far_end(), SHUT_RDWR), 0);
    assert_int_equal(count_calls(), 0);
    peer_next(peer);
    assert_int_equal(count_calls(), 1);
}

/* One that has only ended its own stream may still take its response. */
static void who_hangs_up_before_the_response_is_known_to_be_gone(void **state)
{
    struct peer *ended = finish_request(), *gone;

    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    peer_ignore(ended, told);
    assert_false(ended->hung_up);
    gone = finish_request();
    close(far_ends[--far_end_count]);
    assert_int_equal(count_calls(), 1);
    peer_ignore(gone, told);
    assert_true(gone->hung_up);
}

/* ---- Memory ---- */

/* What lingers came first, and holds nothing: to release it would take its response back for nothing. */
static void where_memory_is_short_the_oldest_that_holds_some_is_released(void **state)
{
    static const char body[20000];
    struct peer *lingering = linger(), *older, *newer;
    char line[128];

    older = begin_request(body, sizeof body);
    peers.memory_max = older->memory + older->memory / 2;
    snprintf(line, sizeof line, " bytes, over the limit of %zu: closed the oldest, from client 192.0.2.7\n",
             peers.memory_max);
    keep_log();
    newer = begin_request(body, sizeof body);
    assert_non_null(strstr(kept_log(), line));
    assert_int_equal(older->state, PEER_SHUT_DOWN);
    assert_int_equal(newer->state, PEER_READING);
    assert_int_equal(lingering->state, PEER_LINGERING);
    assert_int_equal(peers.memory, newer->memory);
    send_bytes(far_ends[0], "more", 4);
    expect_open(lingering);
    expect_closed(older);
}

static void one_request_over_the_limit_releases_itself(void **state)
{
    struct peer *peer;

    peers.memory_max = 100;
    peer = begin_request("a body that takes memory", 24);
    assert_int_equal(peer->state, PEER_SHUT_DOWN);
    assert_int_equal(peers.memory, 0);
    expect_closed(peer);
}

/* ---- Descriptors ---- */

/* A web server sends a request on another connection where one that it kept is closed; half a request is
 * lost.
 */
static void for_a_descriptor_lingering_idle_and_reading_are_released_in_this_order(void **state)
{
    struct peer *reading[] = {begin_request("body", 4), begin_request("body", 4)};
    struct peer *idle[] = {add_peer(), finish_request()}, *waiting = finish_request(), *lingering = linger();

    peer_next(idle[1]);
    peers_free_descriptor(&peers);
    assert_int_equal(lingering->state, PEER_SHUT_DOWN);
    expect_closed(lingering);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(idle[i]->state, PEER_IDLE);
        peers_free_descriptor(&peers);
        assert_int_equal(idle[i]->state, PEER_SHUT_DOWN);
        expect_closed(idle[i]);
    }
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(reading[i]->state, PEER_READING);
        peers_free_descriptor(&peers);
        assert_int_equal(reading[i]->state, PEER_SHUT_DOWN);
        expect_closed(reading[i]);
    }
    peers_free_descriptor(&peers); /* where there is nobody to be released */
    assert_int_equal(waiting->state, PEER_WAITING);
}

/* ---- Closing ---- */

/* To close with bytes unread would take the response back: ECONNRESET in its place. */
static void who_writes_behind_its_last_record_still_reads_its_response(void **state)
{
    struct peer *peer = finish_request();
    char text[32];

    send_bytes(peer->descriptor, "the response", 12);
    peer_linger(peer);
    assert_int_equal(peer->state, PEER_LINGERING);
    for (int i = 0; i < 3; i++) {
        send_bytes(far_end(), "more", 4);
        assert_int_equal(count_calls(), 1);
        expect_open(peer);
    }
    assert_int_equal(recv(far_end(), text, sizeof text, 0), 12);
    assert_int_equal(recv(far_end(), text, sizeof text, 0), 0);
    assert_int_equal(shutdown(far_end(), SHUT_WR), 0);
    assert_int_equal(count_calls(), 1);
    expect_closed(peer);
}

static void what_came_before_the_response_is_thrown_away_too(void **state)
{
    struct peer *peer = finish_request();

    send_bytes(far_end(), "more", 4);
    assert_int_equal(count_calls(), 1);
    peer_ignore(peer, EPOLLIN);
    peer_linger(peer);
    assert_int_equal(count_calls(), 1);
    expect_open(peer);
    assert_int_equal(count_calls(), 0);
}

static void who_lingers_in_silence_is_closed(void **state)
{
    struct peer *peer = linger();

    assert_string_equal(expire(), "");
    assert_int_equal(peer->state, PEER_LINGERING);
    peer->last_read_ms -= LONG_AGO_MS; /* two seconds are waited for */
    assert_string_equal(expire(), "");
    expect_closed(peer);
}

/* However often it sends something. */
static void who_lingers_is_closed_in_the_end(void **state)
{
    struct peer *peer = linger();
    int64_t until_ms = peer->linger_until_ms;

    assert_true(until_ms >= peer->last_read_ms + HALF_A_MINUTE_MS);
    assert_true(until_ms <= clock_now_ms() + HALF_A_MINUTE_MS);
    send_bytes(far_end(), "more", 4);
    expect_open(peer);
    assert_true(peer->linger_until_ms == until_ms);
    peer->linger_until_ms = clock_now_ms() - 1;
    assert_string_equal(expire(), "");
    expect_closed(peer);
}

static void of_who_lingers_only_so_much_is_read(void **state)
{
    struct peer *peer = linger();

    peer->lingered = BODY_DRAIN_MAX - 4;
    send_bytes(far_end(), "more", 4);
    expect_open(peer);
    send_bytes(far_end(), "x", 1);
    expect_closed(peer);
}

/* ---- A stop ---- */

/* One that lingers has its response, and may not have read it. */
static void a_stop_closes_those_on_which_a_request_may_still_come(void **state)
{
    struct peer *waiting = finish_request(), *lingering;
    int far_end_of_lingering;

    add_peer();
    peers_free_descriptor(&peers);
    lingering = linger();
    far_end_of_lingering = far_end();
    begin_request("body", 4);
    add_peer();
    peers_stop(&peers);
    assert_int_equal(count_peers(), 2);
    assert_int_equal(waiting->state, PEER_WAITING);
    assert_int_equal(lingering->state, PEER_LINGERING);
    assert_int_equal(peers.memory, 0);
    send_bytes(far_end_of_lingering, "more", 4);
    expect_open(lingering);
}

/* ---- */

static int start(void **state)
{
    if (!loop_open(&loop)) {
        return -1;
    }
    peers_init(&peers, &loop, LIMIT, TIMEOUT_MS, count_call, &calls);
    return 0;
}

static int finish(void **state)
{
    peers_free(&peers);
    loop_close(&loop);
    while (far_end_count > 0) {
        close(far_ends[--far_end_count]);
    }
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_that_does_not_go_on_times_out_and_is_logged),
        CASE(one_without_its_variables_is_told_by_its_process),
        CASE(what_speaks_no_fastcgi_is_told_by_its_process),
        CASE(a_peer_behind_tcp_is_told_by_its_address),
        CASE(a_request_that_goes_on_does_not_time_out),
        CASE(an_idle_connection_never_times_out),
        CASE(while_a_request_comes_in_it_is_checked_every_second),
        CASE(behind_a_management_record_in_pieces_a_connection_is_idle),
        CASE(a_body_that_has_ended_early_is_responded_to_and_not_logged_as_timed_out),
        CASE(a_connection_carries_one_request_after_the_other),
        CASE(the_parsers_output_is_sent),
        CASE(who_hangs_up_is_gone),
        CASE(what_comes_before_the_response_is_not_told_again),
        CASE(who_hangs_up_before_the_response_is_known_to_be_gone),
        CASE(where_memory_is_short_the_oldest_that_holds_some_is_released),
        CASE(one_request_over_the_limit_releases_itself),
        CASE(for_a_descriptor_lingering_idle_and_reading_are_released_in_this_order),
        CASE(who_writes_behind_its_last_record_still_reads_its_response),
        CASE(what_came_before_the_response_is_thrown_away_too),
        CASE(who_lingers_in_silence_is_closed),
        CASE(who_lingers_is_closed_in_the_end),
        CASE(of_who_lingers_only_so_much_is_read),
        CASE(a_stop_closes_those_on_which_a_request_may_still_come),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
