/* What errors of the server mean. libpq makes a result with an error's fields from what a server says alone,
 * so this test says it: it is the server at the other end of libpq's socket. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness/fake_postgres.h"
#include "store/pg_error.h"

static struct fake_postgres server;

/* Has libpq ask, and the server refuse; what libpq makes of it. */
static PGresult *refuse(const char *sqlstate, const char *function, const char *table)
{
    PGresult *result;

    assert_int_equal(PQsendQuery(server.pg, "SELECT"), 1);
    assert_int_equal(PQflush(server.pg), 0);
    fake_postgres_say_error(&server, sqlstate, function, table);
    fake_postgres_say_ready(&server);
    result = PQgetResult(server.pg);
    assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
    assert_null(PQgetResult(server.pg));
    return result;
}

static void an_error_s_action_is_by_its_state_and_where_it_comes_from(void **state)
{
    static const struct {
        const char *sqlstate, *function, *table;
        enum sqlstate_action action;
        enum op_reason reason;
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

static int start(void **state)
{
    (void)state;
    fake_postgres_connect(&server);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    PQfinish(server.pg);
    fake_postgres_hang_up(&server);
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
