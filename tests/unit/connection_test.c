/* A connection to the database and the batch that is under way on it: what comes of it, whatever the server
 * says and when it stops to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "harness/fake_postgres.h"
#include "store/binary.h"
#include "store/connection.h"

enum {
    OPS = 2,
    TIMEOUT_MS = 20000,
    RECORD_BYTES = 150000,
    LARGE_BYTES = 8 * 1024 * 1024, /* more than a socket takes that nobody reads from */
};

static struct hosts *hosts;
static struct fake_postgres server;
static struct failures failures;
static struct connection connection;
static struct store_op ops[OPS];

/* Starts a batch of so many. */
static enum batch_result start_batch(size_t count)
{
    int64_t now_ms = clock_now_ms();

    connection.count = count;
    for (size_t i = 0; i < count; i++) {
        ops[i].outcome = OP_PENDING;
        connection.ops[i] = &ops[i];
    }
    connection.deadline_ms = now_ms + TIMEOUT_MS;
    connection.store_until_ms = now_ms + TIMEOUT_MS - 1000;
    connection.attempt = 7;
    return connection_start_batch(&connection);
}

/* Goes on with what the server has said. */
static enum batch_result go_on(void)
{
    assert_true(clock_poll(PQsocket(connection.pg), POLLIN, clock_now_ms() + TIMEOUT_MS));
    return connection_continue(&connection);
}

/* Has a batch on its way to be stored: nothing but its outcomes is waited for. */
static void start_storing(size_t count)
{
    assert_int_equal(start_batch(count), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_SYNCING);
    fake_postgres_say_sync(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_STORING);
    assert_true(connection.is_flushed);
}

/* ---- Batches ---- */

static void a_batch_is_done_when_the_server_says_so(void **state)
{
    start_storing(2);
    fake_postgres_say_outcomes(&server, "created", 2);
    assert_int_equal(go_on(), BATCH_DONE);
    assert_int_equal(connection.state, CONNECTION_IDLE);
    assert_int_equal(ops[0].outcome, OP_CREATED);
    assert_int_equal(ops[1].outcome, OP_CREATED);
    assert_string_equal(ops[0].token_label, "label");
    assert_string_equal(ops[1].token_label, "");
}

/* What the server knows by now is not asked again, and the statement prepared for the second batch. */
static void the_second_batch_has_the_statement_prepared(void **state)
{
    start_storing(1);
    fake_postgres_say_outcomes(&server, "updated", 1);
    assert_int_equal(go_on(), BATCH_DONE);
    assert_int_equal(start_batch(1), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_PREPARING);
    fake_postgres_say(&server, '1', "", 0);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_STORING);
    fake_postgres_say_outcomes(&server, "unchanged", 1);
    assert_int_equal(go_on(), BATCH_DONE);
    assert_int_equal(ops[0].outcome, OP_UNCHANGED);
    assert_int_equal(start_batch(1), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_STORING); /* once and for all */
}

static void where_it_cannot_be_prepared_it_goes_along(void **state)
{
    connection.is_used = true;
    start_batch(1);
    fake_postgres_say_sync(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_PREPARING);
    fake_postgres_say_error(&server, "42P05", NULL, NULL); /* there is one of that name */
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_STORING);
    fake_postgres_say_outcomes(&server, "created", 1);
    assert_int_equal(go_on(), BATCH_DONE);
    start_batch(1);
    assert_int_equal(connection.state, CONNECTION_STORING);
}

/* However the pieces arrive. */
static void a_response_that_comes_in_pieces_is_waited_for(void **state)
{
    start_storing(1);
    fake_postgres_say(&server, '1', "", 0);
    assert_int_equal(go_on(), BATCH_PENDING);
    fake_postgres_say(&server, 'S', "name\0value", sizeof "name\0value"); /* ParameterStatus */
    assert_int_equal(go_on(), BATCH_PENDING);
    fake_postgres_say_outcomes(&server, "created", 1);
    assert_int_equal(go_on(), BATCH_DONE);
}

static void a_response_that_does_not_say_what_became_of_each_is_a_defect(void **state)
{
    static const struct {
        size_t outcomes, labels, outcomes_cut, labels_cut;
    } cases[] = {{2, 2, 1, 0}, {2, 2, 0, 1},  {1, 2, 0, 0},  {2, 1, 0, 0},
                 {3, 3, 0, 0}, {2, 2, 11, 0}, {2, 2, 22, 0}, {2, 2, 0, 13}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        connection.session.operation_type = 0; /* so that it begins as the first does */
        connection.is_used = false;
        start_storing(2);
        fake_postgres_say_result(&server, "created", cases[i].outcomes, cases[i].labels,
                                 cases[i].outcomes_cut, cases[i].labels_cut);
        fake_postgres_say_ready(&server);
        assert_int_equal(go_on(), BATCH_FAILED);
        assert_int_equal(connection.state, CONNECTION_IDLE);
    }
}

/* ---- Errors ---- */

static void an_error_says_what_is_to_be_done(void **state)
{
    static const struct {
        const char *sqlstate;
        enum batch_result result;
        bool stays;
    } cases[] = {
        {"40001", BATCH_CONFLICT, true},     {"IS002", BATCH_CONFLICT, true},
        {"IS001", BATCH_UNAVAILABLE, true},  {"42501", BATCH_UNAVAILABLE, true},
        {"53100", BATCH_UNAVAILABLE, true},  {"22P05", BATCH_INVALID_VALUE, true},
        {"42601", BATCH_FAILED, true},       {"57P01", BATCH_UNREACHABLE, false},
        {"25006", BATCH_UNREACHABLE, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        connection.session.operation_type = 0;
        connection.is_used = false;
        start_storing(1);
        fake_postgres_say_error(&server, cases[i].sqlstate, NULL, NULL);
        fake_postgres_say_ready(&server);
        assert_int_equal(go_on(), cases[i].result);
        assert_int_equal(connection.state, cases[i].stays ? CONNECTION_IDLE : CONNECTION_CLOSED);
        if (!cases[i].stays) {
            fake_postgres_hang_up(&server);
            fake_postgres_connect(&server);
            connection.pg = server.pg;
            connection.state = CONNECTION_IDLE;
        }
    }
}

static void a_sync_that_makes_no_sense_is_a_defect(void **state)
{
    start_batch(1);
    fake_postgres_say_row(&server, true, (const struct slice[]){{"1", 1}}, 1);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_FAILED);
    assert_int_equal(connection.state, CONNECTION_IDLE);
}

static void an_error_before_the_batch_is_one_of_the_batch(void **state)
{
    start_batch(1);
    fake_postgres_say_error(&server, "53100", NULL, NULL);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_UNAVAILABLE);
    assert_int_equal(connection.state, CONNECTION_IDLE);
    assert_int_equal(connection.reason, REASON_WRITE_FAILED);
}

/* ---- A server that stops to answer ---- */

/* It may have stored the batch. */
static void a_batch_whose_response_does_not_come_is_lost(void **state)
{
    start_storing(1);
    assert_int_equal(connection_deadline_ms(&connection), connection.deadline_ms);
    assert_int_equal(connection_abort(&connection), BATCH_LOST);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
    assert_null(connection.pg);
}

static void a_batch_whose_server_hangs_up_is_lost(void **state)
{
    start_storing(1);
    fake_postgres_hang_up(&server);
    assert_int_equal(go_on(), BATCH_LOST);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

/* Postgres sends the result before it commits. */
static void a_result_without_an_end_is_no_promise(void **state)
{
    start_storing(1);
    fake_postgres_say_result(&server, "created", 1, 1, 0, 0);
    assert_int_equal(go_on(), BATCH_PENDING);
    fake_postgres_hang_up(&server);
    assert_int_equal(go_on(), BATCH_LOST);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

/* As a pooler might. */
static void an_end_without_a_result_is_no_promise_either(void **state)
{
    start_storing(1);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_LOST);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

/* As without memory: it says why, and the server is not at fault. Something else is under way here. */
static void what_libpq_does_not_take_is_not_stored(void **state)
{
    assert_int_equal(PQsendQuery(connection.pg, "SELECT 1"), 1);
    assert_int_equal(start_batch(1), BATCH_UNREACHABLE);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
    assert_non_null(strstr(failures_last(&failures), "unable to write to the database: another command"));
}

static void a_batch_that_was_not_sent_is_not_stored(void **state)
{
    assert_int_equal(start_batch(1), BATCH_PENDING);
    assert_int_equal(connection_deadline_ms(&connection), connection.store_until_ms);
    fake_postgres_hang_up(&server);
    assert_int_equal(go_on(), BATCH_UNREACHABLE);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

/* A batch that is not whole is none. */
static void a_batch_that_was_sent_in_part_is_not_stored(void **state)
{
    static char large[LARGE_BYTES];

    buffer_free(&ops[0].record);
    buffer_init(&ops[0].record, LARGE_BYTES);
    buffer_append(&ops[0].record, large, sizeof large);
    assert_int_equal(start_batch(1), BATCH_PENDING);
    fake_postgres_say_sync(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_STORING);
    assert_false(connection.is_flushed);
    assert_int_equal(connection_deadline_ms(&connection), connection.store_until_ms);
    assert_int_equal(connection_abort(&connection), BATCH_UNREACHABLE);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

static void set_room(int bytes)
{
    assert_int_equal(setsockopt(PQsocket(connection.pg), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes), 0);
}

/* libpq says goodbye, behind what it could not send before: the batch would be whole then, and be stored. */
static void the_rest_of_a_batch_that_was_given_up_is_never_sent(void **state)
{
    static char record[RECORD_BYTES], chunk[4096];
    size_t total = 0;
    ssize_t got;

    buffer_free(&ops[0].record);
    buffer_init(&ops[0].record, LARGE_BYTES);
    buffer_append(&ops[0].record, record, sizeof record);
    assert_int_equal(start_batch(1), BATCH_PENDING);
    set_room(1);
    fake_postgres_say_sync(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_false(connection.is_flushed);
    set_room(RECORD_BYTES); /* and as much again, as the kernel counts: there is room for all of it by now */
    assert_int_equal(connection_abort(&connection), BATCH_UNREACHABLE);
    while ((got = recv(server.socket, chunk, sizeof chunk, 0)) > 0) {
        total += (size_t)got;
    }
    assert_true(total < RECORD_BYTES);
}

/* ---- While it is idle ---- */

static void an_idle_connection_that_the_server_ends_is_closed(void **state)
{
    fake_postgres_hang_up(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_CLOSED);
}

static void an_idle_connection_hears_what_the_server_says_and_stays(void **state)
{
    fake_postgres_say(&server, 'S', "name\0value", sizeof "name\0value"); /* ParameterStatus */
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_IDLE);
    start_storing(1);
    fake_postgres_say_outcomes(&server, "created", 1);
    assert_int_equal(go_on(), BATCH_DONE);
}

/* ---- Sessions that were given up ---- */

static void the_next_connection_ends_a_session_that_was_given_up(void **state)
{
    const struct slice ended[] = {{"1", 1}};

    connection.session.id = (struct session_id){.pid = 5, .synced_us = 50, .server_us = 7};
    start_storing(1);
    connection.session.id = (struct session_id){.pid = 5, .synced_us = 50, .server_us = 7};
    assert_int_equal(connection_abort(&connection), BATCH_LOST);
    assert_int_equal(connection.session.abandoned_count, 1);
    fake_postgres_hang_up(&server);
    fake_postgres_connect(&server);
    connection.pg = server.pg;
    connection.state = CONNECTION_IDLE;
    assert_int_equal(start_batch(1), BATCH_PENDING);
    assert_int_equal(connection.state, CONNECTION_TERMINATING);
    fake_postgres_say_row(&server, false, ended, 1);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.session.abandoned_count, 0);
    assert_int_equal(connection.state, CONNECTION_SYNCING);
}

/* That it may not is no reason to do without the connection. */
static void where_it_may_not_end_it_goes_on(void **state)
{
    connection.session.abandoned[0] = (struct session_id){.pid = 5, .synced_us = 50, .server_us = 7};
    connection.session.abandoned_count = 1;
    assert_int_equal(start_batch(1), BATCH_PENDING);
    fake_postgres_say_error(&server, "42501", NULL, NULL);
    fake_postgres_say_ready(&server);
    assert_int_equal(go_on(), BATCH_PENDING);
    assert_int_equal(connection.session.abandoned_count, 0);
    assert_int_equal(connection.state, CONNECTION_SYNCING);
}

/* Two connections of a pool meet the same outage, as all of them do. */
static void connections_that_share_their_failures_log_each_once(void **state)
{
    static const char *const lines[] = {" error unable to read from the database: timeout\n",
                                        " error unable to store: refused (SQLSTATE 53100)\n",
                                        " info the database responds again after "};
    struct connection other;
    char path[] = "/tmp/connection-test.XXXXXX", log[1024] = "";
    const char *line = log, *end = log;
    int file = mkstemp(path);

    assert_true(file >= 0 && log_open(path, LOG_FORMAT_TEXT));
    assert_true(connection_init(&other, hosts, &failures, 1));
    failures_report(other.failures, "read from the database", "timeout");
    start_storing(1);
    assert_int_equal(connection_abort(&connection), BATCH_LOST);
    failures_report(other.failures, "store", "refused (SQLSTATE 53100)");
    failures_report(connection.failures, "store", "refused (SQLSTATE 53100)");
    failures_end(other.failures);
    failures_end(connection.failures);
    failures_report(connection.failures, "store", "refused (SQLSTATE 53100)"); /* a second later */
    assert_string_equal(failures_last(&failures), "unable to store: refused (SQLSTATE 53100)");
    failures_end(connection.failures);
    assert_string_equal(failures_last(&failures), "");
    assert_true(log_open("stderr", LOG_FORMAT_TEXT));
    assert_true(read(file, log, sizeof log - 1) > 0);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_non_null(line = strstr(line, lines[i]));
    }
    for (size_t count = 0; (end = strchr(end, '\n')) != NULL; end++) {
        assert_true(++count <= sizeof lines / sizeof lines[0]);
    }
    connection_free(&other);
    close(file);
    unlink(path);
}

/* It is the same failure for as long as it says the same, and is repeated every ten seconds. */
static void a_failure_that_lasts_is_logged_again_after_a_while(void **state)
{
    int64_t first_ms;

    failures.are_held = true; /* else it is a line of the test's output */
    failures_report(&failures, "store", "once");
    first_ms = failures.logged_ms -= 9000;
    failures_report(&failures, "store", "once");
    assert_true(failures.logged_ms == first_ms);
    first_ms = failures.logged_ms -= 1000;
    failures_report(&failures, "store", "once");
    assert_true(failures.logged_ms > first_ms);
}

/* ---- */

static int start(void **state)
{
    failures = (struct failures){0};
    hosts = hosts_new("");
    if (hosts == NULL || !connection_init(&connection, hosts, &failures, OPS)) {
        return -1;
    }
    for (size_t i = 0; i < OPS; i++) {
        if (!op_ping(&ops[i])) {
            return -1;
        }
    }
    fake_postgres_connect(&server);
    connection.pg = server.pg;
    connection.state = CONNECTION_IDLE;
    return 0;
}

static int finish(void **state)
{
    connection_free(&connection);
    fake_postgres_hang_up(&server);
    hosts_free(hosts);
    for (size_t i = 0; i < OPS; i++) {
        op_free(&ops[i]);
    }
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_batch_is_done_when_the_server_says_so),
        CASE(the_second_batch_has_the_statement_prepared),
        CASE(where_it_cannot_be_prepared_it_goes_along),
        CASE(a_response_that_comes_in_pieces_is_waited_for),
        CASE(a_response_that_does_not_say_what_became_of_each_is_a_defect),
        CASE(an_error_says_what_is_to_be_done),
        CASE(a_sync_that_makes_no_sense_is_a_defect),
        CASE(an_error_before_the_batch_is_one_of_the_batch),
        CASE(a_batch_whose_response_does_not_come_is_lost),
        CASE(a_batch_whose_server_hangs_up_is_lost),
        CASE(a_result_without_an_end_is_no_promise),
        CASE(an_end_without_a_result_is_no_promise_either),
        CASE(what_libpq_does_not_take_is_not_stored),
        CASE(a_batch_that_was_not_sent_is_not_stored),
        CASE(a_batch_that_was_sent_in_part_is_not_stored),
        CASE(the_rest_of_a_batch_that_was_given_up_is_never_sent),
        CASE(an_idle_connection_that_the_server_ends_is_closed),
        CASE(an_idle_connection_hears_what_the_server_says_and_stays),
        CASE(the_next_connection_ends_a_session_that_was_given_up),
        CASE(where_it_may_not_end_it_goes_on),
        CASE(connections_that_share_their_failures_log_each_once),
        CASE(a_failure_that_lasts_is_logged_again_after_a_while),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
