/* The server's session behind a connection: what is known of it, and which ones are to be ended. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "store/session.h"

enum { TYPE = 4242 };
static const int64_t STARTED_US = INT64_C(946684800000000); /* 2000-01-01, which Postgres counts from */

static struct session of(int64_t pid)
{
    return (struct session){.id = {.pid = pid, .synced_us = pid * 10, .server_us = pid * 100}};
}

static void a_session_that_is_given_up_is_to_be_ended(void **state)
{
    struct session session = of(5);

    session_abandon(&session);
    assert_int_equal(session.abandoned_count, 1);
    assert_int_equal(session.abandoned[0].pid, 5);
    assert_int_equal(session.abandoned[0].synced_us, 50);
    assert_int_equal(session.abandoned[0].server_us, 500);
}

/* A pooler's process is nobody's to end. */
static void one_that_cannot_be_named_is_left(void **state)
{
    struct session session = of(0);

    session_abandon(&session);
    assert_int_equal(session.abandoned_count, 0);
}

static void of_many_the_oldest_is_forgotten(void **state)
{
    struct session session = of(0);

    for (int i = 1; i <= ABANDONED_SESSIONS_MAX + 3; i++) {
        session.id = of(i).id;
        session_abandon(&session);
    }
    assert_int_equal(session.abandoned_count, ABANDONED_SESSIONS_MAX);
    for (int i = 0; i < ABANDONED_SESSIONS_MAX; i++) {
        assert_int_equal(session.abandoned[i].pid, i + 4);
    }
}

static void of_a_connection_that_has_ended_only_what_is_to_be_ended_is_known(void **state)
{
    struct session session = of(5);

    session.operation_type = TYPE;
    session.clock = (struct server_clock){.server_us = 1, .received_ms = clock_now_ms(), .started_us = 1};
    session_abandon(&session);
    session_forget(&session);
    assert_int_equal(session.operation_type, 0);
    assert_int_equal(session.id.pid, 0);
    assert_false(server_clock_is_fresh(&session.clock, clock_now_ms()));
    assert_int_equal(session.abandoned_count, 1);
    assert_int_equal(session.abandoned[0].pid, 5);
}

#define ZEROS "\0\0\0\0\0\0\0\0"

/* Values of these bytes, in binary; data is NULL for NULL. */
static PGresult *greeting(const struct slice values[4])
{
    static char name[] = "column";
    PGresult *row = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc columns[4];

    assert_non_null(row);
    for (int i = 0; i < 4; i++) {
        columns[i] = (PGresAttDesc){.name = name, .format = 1, .typid = 20, .typlen = 8};
    }
    assert_int_equal(PQsetResultAttrs(row, 4, columns), 1);
    for (int i = 0; i < 4; i++) {
        char bytes[8]; /* libpq's parameter is not const */

        if (values[i].data == NULL) {
            assert_int_equal(PQsetvalue(row, 0, i, NULL, -1), 1);
            continue;
        }
        memcpy(bytes, values[i].data, values[i].len);
        assert_int_equal(PQsetvalue(row, 0, i, bytes, (int)values[i].len), 1);
    }
    return row;
}

/* The server's time is 2000-01-01T00:00:01Z, it was started at 2000-01-01, its process is 5, the type 4242.
 * libpq knows the process that it talks to: of a connection that is none, 0. */
static void a_sync_is_read(void **state)
{
    static const struct slice values[] = {
        {"\0\0\0\0\0\x0f\x42\x40", 8}, {"\0\0\0\0\0\0\0\0", 8}, {"\0\0\0\5", 4}, {"\0\0\x10\x92", 4}};
    PGconn *pg = PQconnectStart("host=/nowhere");
    PGresult *row = greeting(values);
    struct session session = of(3);
    int64_t now_ms = clock_now_ms();

    assert_true(session_read_sync(&session, pg, row, now_ms));
    assert_int_equal(session.operation_type, TYPE);
    assert_int_equal(session.clock.started_us, STARTED_US);
    assert_int_equal(session.clock.server_us, STARTED_US + 1000000);
    assert_true(server_clock_is_fresh(&session.clock, now_ms));
    assert_int_equal(session.id.pid, 0); /* there is a pooler between */
    PQclear(row);
    PQfinish(pg);
}

static void without_the_type_the_rest_is_known(void **state)
{
    static const struct slice values[] = {{ZEROS, 8}, {ZEROS, 8}, {"\0\0\0\5", 4}, {NULL, 0}};
    PGconn *pg = PQconnectStart("host=/nowhere");
    PGresult *row = greeting(values);
    struct session session = of(3);

    session.operation_type = TYPE;
    assert_true(session_read_sync(&session, pg, row, clock_now_ms()));
    assert_int_equal(session.operation_type, 0);
    assert_int_equal(session.clock.started_us, STARTED_US);
    PQclear(row);
    PQfinish(pg);
}

static void a_sync_that_makes_no_sense_is_none(void **state)
{
    static const struct slice cases[][4] = {
        {{"77", 2}, {ZEROS, 8}, {ZEROS, 4}, {ZEROS, 4}},  {{NULL, 0}, {ZEROS, 8}, {ZEROS, 4}, {ZEROS, 4}},
        {{ZEROS, 8}, {ZEROS, 7}, {ZEROS, 4}, {ZEROS, 4}}, {{ZEROS, 8}, {NULL, 0}, {ZEROS, 4}, {ZEROS, 4}},
        {{ZEROS, 8}, {ZEROS, 8}, {ZEROS, 8}, {ZEROS, 4}}, {{ZEROS, 8}, {ZEROS, 8}, {NULL, 0}, {ZEROS, 4}},
        {{ZEROS, 8}, {ZEROS, 8}, {ZEROS, 4}, {ZEROS, 8}}, {{ZEROS, 8}, {ZEROS, 8}, {ZEROS, 4}, {"", 0}},
    };
    PGconn *pg = PQconnectStart("host=/nowhere");

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PGresult *row = greeting(cases[i]);
        struct session session = of(3);

        assert_false(session_read_sync(&session, pg, row, clock_now_ms()));
        assert_int_equal(session.id.pid, 3);
        assert_int_equal(session.clock.received_ms, 0);
        PQclear(row);
    }
    PQfinish(pg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_that_is_given_up_is_to_be_ended),
        cmocka_unit_test(one_that_cannot_be_named_is_left),
        cmocka_unit_test(of_many_the_oldest_is_forgotten),
        cmocka_unit_test(of_a_connection_that_has_ended_only_what_is_to_be_ended_is_known),
        cmocka_unit_test(a_sync_is_read),
        cmocka_unit_test(without_the_type_the_rest_is_known),
        cmocka_unit_test(a_sync_that_makes_no_sense_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
