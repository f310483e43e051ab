/* Gathering requests: what is given up, when, and what is said of it. A socket pair is the connection, and
 * its far end the web server. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/log.h"
#include "gateway/intake.h"
#include "gateway/record.h"

enum { LIMIT = 64 * 1024, TIMEOUT_MS = 60000, LONG_AGO_MS = 10000, PEERS_MAX = 8 };

static struct intake intake;
static int peers[PEERS_MAX]; /* far ends */
static size_t peer_count;

/* A connection on which a request has begun with so many bytes of its body, of more that were declared. */
static struct connection *begin_request(const void *body, size_t len)
{
    static const char length[] = "\16\5CONTENT_LENGTH60000";
    struct connection *connection;
    struct buffer bytes;
    int pair[2];

    assert_true(peer_count < PEERS_MAX);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    peers[peer_count++] = pair[1];
    connection = intake_add(&intake, pair[0]);
    assert_non_null(connection);
    buffer_init(&bytes, LIMIT);
    record_append_begin(&bytes, 1, RECORD_KEEP_CONN);
    record_append_stream(&bytes, RECORD_PARAMS, 1, (struct slice){.data = length, .len = sizeof length - 1});
    record_append(&bytes, RECORD_STDIN, 1, body, len);
    assert_int_equal(send(pair[1], bytes.data, bytes.len, 0), bytes.len);
    buffer_free(&bytes);
    intake_let_go(connection);
    assert_int_equal(intake_read(&intake, connection), GUARD_MORE);
    return connection;
}

/* ---- Silence ---- */

/* Has the intake look; what it logs. The text is good until the next call. */
static const char *look(void)
{
    static char text[512];
    char path[] = "/tmp/intake-test.XXXXXX";
    int file = mkstemp(path);
    ssize_t len;

    assert_true(file >= 0);
    assert_true(log_open(path, LOG_FORMAT_TEXT));
    intake_look(&intake);
    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    len = read(file, text, sizeof text - 1);
    text[len > 0 ? len : 0] = '\0';
    (void)close(file);
    (void)unlink(path);
    return text;
}

static void a_request_that_does_not_go_on_is_given_up_and_logged(void **state)
{
    struct connection *connection = begin_request("body", 4);

    (void)state;
    assert_string_equal(look(), "");
    connection->heard_ms -= TIMEOUT_MS + LONG_AGO_MS;
    assert_non_null(strstr(look(), "gave up 1 requests that did not go on for 60000 ms"));
    assert_int_equal(intake_read(&intake, connection), GUARD_BROKEN);
}

/* It is answered, so nothing is said of it but what is said of every request. */
static void a_body_that_has_ended_early_is_answered_and_not_logged_as_given_up(void **state)
{
    struct connection *connection = begin_request("", 0);

    (void)state;
    assert_true(connection->has_ended_early);
    connection->heard_ms -= LONG_AGO_MS; /* the intake waits for two seconds */
    assert_string_equal(look(), "");
    assert_int_equal(intake_read(&intake, connection), GUARD_REQUEST);
}

/* ---- Memory ---- */

/* What lingers came first, and holds nothing: to give it up would take its answer back for nothing. */
static void where_memory_is_short_the_oldest_that_holds_some_is_given_up(void **state)
{
    static const char body[20000];
    struct connection *lingering = begin_request("", 0), *older, *newer;

    (void)state;
    intake_linger(&intake, lingering);
    older = begin_request(body, sizeof body);
    intake.holds_max = older->holds + older->holds / 2;
    newer = begin_request(body, sizeof body);
    assert_false(older->is_unfinished);
    assert_true(newer->is_unfinished);
    assert_true(lingering->is_unfinished);
    assert_int_equal(intake.holds, newer->holds);
    assert_int_equal(send(peers[0], "more", 4, MSG_NOSIGNAL), 4);
    assert_int_equal(intake_read(&intake, lingering), GUARD_MORE);
    assert_int_equal(intake_read(&intake, older), GUARD_BROKEN);
}

/* ---- A stop ---- */

/* It has its answer, and may never close. The timer goes on for it all the same. */
static void who_lingers_is_no_request_that_a_stop_waits_for(void **state)
{
    struct connection *request = begin_request("body", 4), *lingering = begin_request("", 0);

    (void)state;
    assert_int_equal(intake.unfinished_count, 2);
    intake_linger(&intake, lingering);
    assert_int_equal(intake.unfinished_count, 1);
    intake_drop(&intake, request);
    assert_int_equal(intake.unfinished_count, 0);
    intake_look(&intake);
    assert_true(intake.is_timer_on);
    lingering->heard_ms -= LONG_AGO_MS;
    intake_look(&intake);
    assert_false(intake.is_timer_on);
    assert_int_equal(intake_read(&intake, lingering), GUARD_BROKEN);
    intake_drop(&intake, lingering);
    assert_int_equal(intake.unfinished_count, 0);
}

/* ---- */

static int start(void **state)
{
    (void)state;
    return intake_open(&intake, LIMIT, TIMEOUT_MS) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    intake_close(&intake);
    while (peer_count > 0) {
        (void)close(peers[--peer_count]);
    }
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_that_does_not_go_on_is_given_up_and_logged),
        CASE(a_body_that_has_ended_early_is_answered_and_not_logged_as_given_up),
        CASE(where_memory_is_short_the_oldest_that_holds_some_is_given_up),
        CASE(who_lingers_is_no_request_that_a_stop_waits_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
