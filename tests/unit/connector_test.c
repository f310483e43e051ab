/* The thread that opens connections: how they come back, and how it ends. The database is a socket that takes
 * connections and says nothing, or none at all. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/connector.h"

enum { TIMEOUT_MS = 20000, LONG_MS = 300000 };

static struct connector *connector;
static struct failures failures;
static struct connection connection;
static struct hosts *hosts;
static char url[128];
static char directory[] = "/tmp/connector-test.XXXXXX";
static struct sockaddr_un address;
static int listener = -1, attempt = -1;
static int ends[2]; /* a pipe: a byte for each time that `end` is called */

static void note_end(void *context)
{
    assert_ptr_equal(context, &connection);
    assert_int_equal(write(ends[1], "x", 1), 1);
}

static bool has_ended(int timeout_ms)
{
    char byte;

    return clock_poll(ends[0], POLLIN, clock_now_ms() + timeout_ms) && read(ends[0], &byte, 1) == 1;
}

/* Has the database take connections, and say nothing. */
static void listen_silently(void)
{
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 8), 0);
}

/* Has the connector begin an attempt, and waits until it is under way. */
static void begin_attempt(int64_t deadline_ms)
{
    connector_open(connector, &connection, deadline_ms);
    assert_true(clock_poll(listener, POLLIN, clock_now_ms() + TIMEOUT_MS));
    attempt = accept(listener, NULL, NULL);
    assert_true(attempt >= 0);
}

/* Ends the attempt, and has no other be taken. */
static void stop_listening(void)
{
    close(listener);
    close(attempt);
    assert_int_equal(unlink(address.sun_path), 0);
}

static bool is_told(int timeout_ms)
{
    return clock_poll(connector_event(connector), POLLIN, clock_now_ms() + timeout_ms);
}

static void a_connection_comes_back_when_it_could_not_be_opened(void **state)
{
    assert_null(connector_take_opened(connector));
    assert_false(is_told(0));
    for (int i = 0; i < 3; i++) {
        connector_open(connector, &connection, clock_now_ms() + TIMEOUT_MS);
        assert_true(is_told(TIMEOUT_MS));
        assert_ptr_equal(connector_take_opened(connector), &connection);
        assert_int_equal(connection.state, CONNECTION_CLOSED);
        assert_null(connector_take_opened(connector));
        assert_false(is_told(0));
    }
    connector_stop(connector, note_end, &connection);
    assert_true(has_ended(0));
}

static void while_it_is_opened_it_is_the_connector_s(void **state)
{
    listen_silently();
    begin_attempt(clock_now_ms() + LONG_MS);
    assert_null(connector_take_opened(connector));
    assert_false(is_told(0));
    stop_listening();
    assert_true(is_told(TIMEOUT_MS));
    assert_ptr_equal(connector_take_opened(connector), &connection);
    connector_stop(connector, note_end, &connection);
    assert_true(has_ended(0));
}

static void it_is_tried_until_its_deadline(void **state)
{
    int64_t deadline_ms = clock_now_ms() + 500;

    listen_silently();
    begin_attempt(deadline_ms);
    assert_true(is_told(TIMEOUT_MS));
    assert_true(clock_now_ms() >= deadline_ms);
    assert_ptr_equal(connector_take_opened(connector), &connection);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
    stop_listening();
    connector_stop(connector, note_end, &connection);
    assert_true(has_ended(0));
}

/* One that has not begun is not begun any more. */
static void an_attempt_that_was_asked_for_at_the_last_is_no_obstacle(void **state)
{
    connector_open(connector, &connection, clock_now_ms() + LONG_MS);
    connector_stop(connector, note_end, &connection);
    assert_true(has_ended(0));
}

/* The loop had no turn between. */
static void what_came_back_and_was_not_taken_is_no_obstacle(void **state)
{
    connector_open(connector, &connection, clock_now_ms() + TIMEOUT_MS);
    assert_true(is_told(TIMEOUT_MS));
    connector_stop(connector, note_end, &connection);
    assert_true(has_ended(0));
}

/* The system's resolver cannot be stopped, nor can this. */
static void an_attempt_that_goes_on_keeps_nobody_from_stopping(void **state)
{
    listen_silently();
    begin_attempt(clock_now_ms() + LONG_MS);
    connector_stop(connector, note_end, &connection);
    assert_false(has_ended(0)); /* what it frees is still in use */
    stop_listening();
    assert_true(has_ended(TIMEOUT_MS));
    assert_false(has_ended(0));
}

/* ---- */

static int start(void **state)
{
    hosts = hosts_new(url);
    connector = connector_start();
    return hosts != NULL && connector != NULL && connection_init(&connection, hosts, &failures, 1) ? 0 : -1;
}

static int finish(void **state)
{
    connection_free(&connection);
    hosts_free(hosts);
    return 0;
}

static int make_directory(void **state)
{
    if (mkdtemp(directory) == NULL || pipe(ends) != 0) {
        return -1;
    }
    address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.1", directory);
    snprintf(url, sizeof url, "host=%s port=1 user=anyone dbname=any gssencmode=disable", directory);
    return 0;
}

static int remove_directory(void **state)
{
    close(ends[0]);
    close(ends[1]);
    return rmdir(directory);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_connection_comes_back_when_it_could_not_be_opened),
        CASE(while_it_is_opened_it_is_the_connector_s),
        CASE(it_is_tried_until_its_deadline),
        CASE(an_attempt_that_was_asked_for_at_the_last_is_no_obstacle),
        CASE(what_came_back_and_was_not_taken_is_no_obstacle),
        CASE(an_attempt_that_goes_on_keeps_nobody_from_stopping),
    };

    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
