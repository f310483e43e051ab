/* What errors of the server mean. libpq makes a result with an error's fields from what a server says alone,
 * so this test says it: it is the server at the other end of libpq's socket. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "store/pg_error.h"

enum { BYTES_MAX = 4096, TIMEOUT_MS = 20000 };

static PGconn *pg;
static int server = -1;

/* ---- The server (PostgreSQL 15 manual, 55.7) ---- */

static void append_field(struct buffer *content, char code, const char *text)
{
    if (text != NULL) {
        buffer_append(content, &code, 1);
        buffer_append(content, text, strlen(text) + 1);
    }
}

static void say(char type, const void *content, size_t len)
{
    const unsigned char head[] = {(unsigned char)type, 0, 0, (unsigned char)((len + 4) >> 8),
                                  (unsigned char)(len + 4)};

    assert_int_equal(send(server, head, sizeof head, MSG_NOSIGNAL), sizeof head);
    assert_int_equal(send(server, content, len, MSG_NOSIGNAL), len);
}

static void say_ready(void)
{
    say('Z', "I", 1);
}

/* Has libpq ask, and the server refuse; what libpq makes of it. */
static PGresult *refuse(const char *sqlstate, const char *function, const char *table)
{
    struct buffer content;
    PGresult *result;

    buffer_init(&content, BYTES_MAX);
    append_field(&content, 'S', "ERROR");
    append_field(&content, 'V', "ERROR");
    append_field(&content, 'C', sqlstate);
    append_field(&content, 'M', "no");
    append_field(&content, 't', table);
    append_field(&content, 'R', function);
    buffer_append(&content, "", 1);
    assert_int_equal(PQsendQuery(pg, "SELECT"), 1);
    say('E', content.data, content.len);
    say_ready();
    buffer_free(&content);
    result = PQgetResult(pg);
    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
    assert_null(PQgetResult(pg));
    return result;
}

/* ---- */

static void an_error_s_action_is_by_its_state_and_where_it_comes_from(void **state)
{
    static const struct {
        const char *sqlstate, *function, *table;
        enum sqlstate_action action;
        enum item_reason reason;
    } cases[] = {
        {"57P01", NULL, NULL, SQLSTATE_RECONNECT, REASON_NONE},
        {"25006", NULL, NULL, SQLSTATE_ELSEWHERE, REASON_STATE},
        {"40001", NULL, NULL, SQLSTATE_RETRY, REASON_NONE},
        {"28P01", "auth_failed", NULL, SQLSTATE_LOGIN, REASON_LOGIN},
        {"42501", NULL, NULL, SQLSTATE_RIGHT, REASON_RIGHT},
        {"IS001", NULL, NULL, SQLSTATE_SCHEMA, REASON_SCHEMA},
        {"IS002", NULL, NULL, SQLSTATE_GREET, REASON_NONE},
        {"53100", NULL, NULL, SQLSTATE_UNAVAILABLE, REASON_STATE},
        {"22P05", NULL, NULL, SQLSTATE_DATA, REASON_NONE},
        {"42601", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
        /* The type that is sent is another there: it was made anew, or has other columns, or neither. */
        {"42804", "array_recv", NULL, SQLSTATE_GREET, REASON_NONE},
        {"42804", "record_recv", NULL, SQLSTATE_SCHEMA, REASON_SCHEMA},
        {"42804", "transformAssignedExpr", NULL, SQLSTATE_DEFECT, REASON_NONE},
        {"42804", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
        {"XX000", "getTypeBinaryInputInfo", NULL, SQLSTATE_RECONNECT, REASON_NONE},
        {"XX000", "elog_finish", NULL, SQLSTATE_DEFECT, REASON_NONE},
        {"0A000", "RevalidateCachedQuery", NULL, SQLSTATE_RECONNECT, REASON_NONE},
        {"0A000", "ExecInitNode", NULL, SQLSTATE_DEFECT, REASON_NONE},
        {"0A000", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
        /* A key that nobody but a sequence gives out, or one of ours. */
        {"23505", "_bt_check_unique", "incident_change", SQLSTATE_KEY, REASON_STATE},
        {"23505", "_bt_check_unique", "incident", SQLSTATE_DEFECT, REASON_NONE},
        {"23505", "_bt_check_unique", "incident_changes", SQLSTATE_DEFECT, REASON_NONE},
        {"23505", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
        /* One without a state is libpq's own: the connection is gone. */
        {NULL, NULL, NULL, SQLSTATE_RECONNECT, REASON_NONE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PGresult *result = refuse(cases[i].sqlstate, cases[i].function, cases[i].table);
        enum sqlstate_action action = pg_error_action(result);

        if (action != cases[i].action || pg_error_reason(action) != cases[i].reason) {
            fail_msg("case %zu: action %d and reason %d, not %d and %d", i, (int)action,
                     (int)pg_error_reason(action), (int)cases[i].action, (int)cases[i].reason);
        }
        PQclear(result);
    }
}

/* convertJsonbObject, convertJsonbArray and convertJsonbScalar are Postgres's. */
static void that_a_jsonb_cannot_hold_it_is_told_by_the_function(void **state)
{
    static const struct {
        const char *function;
        bool is_of_jsonb;
    } cases[] = {
        {"convertJsonbObject", true},
        {"convertJsonbArray", true},
        {"convertJsonb", true},
        {"convertJson", false},
        {"jsonb_from_cstring", false},
        {"", false},
        {NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        PGresult *result = refuse("54000", cases[i].function, NULL);

        assert_int_equal(pg_error_is_of_jsonb(result), cases[i].is_of_jsonb);
        PQclear(result);
    }
}

/* ---- */

/* A socket where libpq looks for a server's, in a directory that is removed again. */
static int listen_in(const char *directory, struct sockaddr_un *address)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(address->sun_path, sizeof address->sun_path, "%s/.s.PGSQL.1", directory);
    assert_int_equal(bind(listener, (const struct sockaddr *)address, sizeof *address), 0);
    assert_int_equal(listen(listener, 1), 0);
    return listener;
}

static void connect_libpq(const char *directory, int listener)
{
    const char *const keywords[] = {"host", "port", "user", "dbname", "gssencmode", NULL};
    const char *const values[] = {directory, "1", "anyone", "any", "disable", NULL};
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;

    pg = PQconnectStartParams(keywords, values, 0);
    assert_non_null(pg);
    server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    say('R', "\0\0\0\0", 4); /* the login is good */
    say_ready();
    while (status == PGRES_POLLING_READING || status == PGRES_POLLING_WRITING) {
        assert_true(
            clock_poll(PQsocket(pg), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms));
        status = PQconnectPoll(pg);
    }
    assert_int_equal(status, PGRES_POLLING_OK);
}

static int start(void **state)
{
    char directory[] = "/tmp/pg-error-test.XXXXXX";
    struct sockaddr_un address;
    int listener;

    (void)state;
    assert_non_null(mkdtemp(directory));
    listener = listen_in(directory, &address);
    connect_libpq(directory, listener);
    close(listener);
    assert_int_equal(unlink(address.sun_path), 0);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    PQfinish(pg);
    close(server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_s_action_is_by_its_state_and_where_it_comes_from),
        cmocka_unit_test(that_a_jsonb_cannot_hold_it_is_told_by_the_function),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
