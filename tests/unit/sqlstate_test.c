/* What errors of the database mean. libpq makes a result with an error's fields from what a server says
 * alone, so this test is the server at the other end of libpq's socket. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "harness/fake_postgres.h"
#include "store/sqlstate.h"

/* By the state alone. */
static const struct {
    const char *sqlstate;
    enum sqlstate_action action;
} state_cases[] = {
    {NULL, SQLSTATE_RECONNECT},      {"08006", SQLSTATE_RECONNECT},   {"57P01", SQLSTATE_RECONNECT},
    {"57P02", SQLSTATE_RECONNECT},   {"57P03", SQLSTATE_RECONNECT},   {"57P04", SQLSTATE_RECONNECT},
    {"57P05", SQLSTATE_RECONNECT},   {"25P03", SQLSTATE_RECONNECT},   {"53300", SQLSTATE_RECONNECT},
    {"26000", SQLSTATE_UNPREPARED},  {"0A000", SQLSTATE_DEFECT},      {"25006", SQLSTATE_READ_ONLY},
    {"40001", SQLSTATE_RETRY},       {"40P01", SQLSTATE_RETRY},       {"55P03", SQLSTATE_RETRY},
    {"28P01", SQLSTATE_LOGIN},       {"28000", SQLSTATE_LOGIN},       {"3D000", SQLSTATE_LOGIN},
    {"42501", SQLSTATE_PRIVILEGE},   {"IS001", SQLSTATE_SCHEMA},      {"3F000", SQLSTATE_SCHEMA},
    {"42883", SQLSTATE_SCHEMA},      {"42704", SQLSTATE_SCHEMA},      {"42804", SQLSTATE_DEFECT},
    {"IS002", SQLSTATE_RESYNC},      {"IS003", SQLSTATE_UNAVAILABLE}, {"42P01", SQLSTATE_SCHEMA},
    {"42703", SQLSTATE_SCHEMA},      {"57014", SQLSTATE_UNAVAILABLE}, {"53100", SQLSTATE_UNAVAILABLE},
    {"53200", SQLSTATE_UNAVAILABLE}, {"58030", SQLSTATE_UNAVAILABLE}, {"55000", SQLSTATE_UNAVAILABLE},
    {"54001", SQLSTATE_UNAVAILABLE}, {"2200H", SQLSTATE_UNAVAILABLE}, {"XX001", SQLSTATE_UNAVAILABLE},
    {"XX002", SQLSTATE_UNAVAILABLE}, {"23505", SQLSTATE_DEFECT},      {"22003", SQLSTATE_DATA},
    {"22P05", SQLSTATE_DATA},        {"54000", SQLSTATE_DATA},        {"23514", SQLSTATE_DEFECT},
    {"42601", SQLSTATE_DEFECT},      {"P0001", SQLSTATE_DEFECT},      {"XX000", SQLSTATE_DEFECT},
    {"21000", SQLSTATE_DEFECT},      {"01000", SQLSTATE_DEFECT},      {"F0000", SQLSTATE_DEFECT},
    {"ZZ999", SQLSTATE_DEFECT},      {"", SQLSTATE_DEFECT},
};

/* By the state, and by the function or the table that the server names. */
static const struct {
    const char *sqlstate, *function, *table;
    enum sqlstate_action action;
    enum op_reason reason;
} located_cases[] = {
    {"57P01", NULL, NULL, SQLSTATE_RECONNECT, REASON_NONE},
    {"25006", NULL, NULL, SQLSTATE_READ_ONLY, REASON_WRITE_FAILED},
    {"40001", NULL, NULL, SQLSTATE_RETRY, REASON_NONE},
    {"28P01", "auth_failed", NULL, SQLSTATE_LOGIN, REASON_LOGIN},
    {"42501", NULL, NULL, SQLSTATE_PRIVILEGE, REASON_PRIVILEGE},
    {"IS001", NULL, NULL, SQLSTATE_SCHEMA, REASON_SCHEMA},
    {"IS002", NULL, NULL, SQLSTATE_RESYNC, REASON_NONE},
    {"53100", NULL, NULL, SQLSTATE_UNAVAILABLE, REASON_WRITE_FAILED},
    {"22P05", NULL, NULL, SQLSTATE_DATA, REASON_NONE},
    {"42601", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
    /* The type that is sent is another there: it was made anew, or has other columns, or neither. */
    {"42804", "array_recv", NULL, SQLSTATE_RESYNC, REASON_NONE},
    {"42804", "record_recv", NULL, SQLSTATE_SCHEMA, REASON_SCHEMA},
    {"42804", "transformAssignedExpr", NULL, SQLSTATE_DEFECT, REASON_NONE},
    {"42804", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
    {"XX000", "getTypeBinaryInputInfo", NULL, SQLSTATE_RECONNECT, REASON_NONE},
    {"XX000", "elog_finish", NULL, SQLSTATE_DEFECT, REASON_NONE},
    {"0A000", "RevalidateCachedQuery", NULL, SQLSTATE_RECONNECT, REASON_NONE},
    {"0A000", "ExecInitNode", NULL, SQLSTATE_DEFECT, REASON_NONE},
    {"0A000", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
    /* A key that nobody but a sequence gives out, or one of ours. */
    {"23505", "_bt_check_unique", "incident_change", SQLSTATE_SEQUENCE, REASON_WRITE_FAILED},
    {"23505", "_bt_check_unique", "incident", SQLSTATE_DEFECT, REASON_NONE},
    {"23505", "_bt_check_unique", "incident_changes", SQLSTATE_DEFECT, REASON_NONE},
    {"23505", NULL, NULL, SQLSTATE_DEFECT, REASON_NONE},
    /* convertJsonbObject, convertJsonbArray and convertJsonbScalar are Postgres's. */
    {"54000", "convertJsonbObject", NULL, SQLSTATE_JSONB_SIZE, REASON_SIZE},
    {"54000", "convertJsonbArray", NULL, SQLSTATE_JSONB_SIZE, REASON_SIZE},
    {"54000", "convertJsonb", NULL, SQLSTATE_JSONB_SIZE, REASON_SIZE},
    {"54000", "convertJson", NULL, SQLSTATE_DATA, REASON_NONE},
    {"54000", "jsonb_from_cstring", NULL, SQLSTATE_DATA, REASON_NONE},
    {"54000", "", NULL, SQLSTATE_DATA, REASON_NONE},
    {"54000", NULL, NULL, SQLSTATE_DATA, REASON_NONE},
    /* One without a state is libpq's own: the connection is gone. */
    {NULL, NULL, NULL, SQLSTATE_RECONNECT, REASON_NONE},
};

static void each_state_has_its_action(void **state)
{
    for (size_t i = 0; i < sizeof state_cases / sizeof state_cases[0]; i++) {
        if (sqlstate_action(state_cases[i].sqlstate, NULL, NULL) != state_cases[i].action) {
            fail_msg("%s: action %d, not %d", state_cases[i].sqlstate,
                     (int)sqlstate_action(state_cases[i].sqlstate, NULL, NULL), (int)state_cases[i].action);
        }
    }
}

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

static void an_error_s_action_is_by_its_state_and_where_it_arose(void **state)
{
    for (size_t i = 0; i < sizeof located_cases / sizeof located_cases[0]; i++) {
        PGresult *result =
            refuse(located_cases[i].sqlstate, located_cases[i].function, located_cases[i].table);
        enum sqlstate_action action = sqlstate_result_action(result);

        if (action != located_cases[i].action || sqlstate_reason(action) != located_cases[i].reason) {
            fail_msg("case %zu: action %d and reason %d, not %d and %d", i, (int)action,
                     (int)sqlstate_reason(action), (int)located_cases[i].action,
                     (int)located_cases[i].reason);
        }
        PQclear(result);
    }
}

/* ---- The table, as the source file has it ---- */

struct row {
    char prefix[8];
    char source[64]; /* "" where any will do */
};

/* Reads the next row; false behind the last one. */
static bool read_row(FILE *file, struct row *row)
{
    char line[256];

    while (fgets(line, sizeof line, file) != NULL) {
        *row = (struct row){.prefix = ""};
        if (strstr(line, ", SQLSTATE_") != NULL &&
            (sscanf(line, " {\"%7[A-Z0-9]\", \"%63[^\"]\"", row->prefix, row->source) > 0 ||
             sscanf(line, " {\"\", \"%63[^\"]\"", row->source) == 1)) {
            return true;
        }
    }
    return false;
}

static bool begins(const char *text, const char *with)
{
    return text != NULL && strncmp(text, with, strlen(with)) == 0;
}

static bool decides_located_case(const struct row *row)
{
    for (size_t i = 0; i < sizeof located_cases / sizeof located_cases[0]; i++) {
        if (begins(located_cases[i].sqlstate, row->prefix) &&
            (begins(located_cases[i].function, row->source) || begins(located_cases[i].table, row->source))) {
            return true;
        }
    }
    return false;
}

/* Case by case, the first row that fits decides: so one that an earlier row has taken is none of a later one.
 */
static bool decides_case(const struct row *row, bool is_taken[sizeof state_cases / sizeof state_cases[0]])
{
    bool decides = false;

    for (size_t i = 0; i < sizeof state_cases / sizeof state_cases[0]; i++) {
        if (!is_taken[i] && begins(state_cases[i].sqlstate, row->prefix)) {
            decides = is_taken[i] = true;
        }
    }
    return decides;
}

static void each_row_of_the_table_decides_a_case(void **state)
{
    FILE *file = fopen("src/store/sqlstate.c", "r");
    bool is_taken[sizeof state_cases / sizeof state_cases[0]] = {false};
    size_t rows = 0, located_rows = 0;
    struct row row;

    assert_non_null(file);
    for (; read_row(file, &row); rows++) {
        located_rows += row.source[0] != '\0' ? 1 : 0;
        if (row.source[0] != '\0' ? !decides_located_case(&row) : !decides_case(&row, is_taken)) {
            fail_msg("no case for the row \"%s\" \"%s\"", row.prefix, row.source);
        }
    }
    fclose(file);
    assert_true(rows > 30 && located_rows > 3);
}

/* ---- Refused connections ---- */

static void a_refusal_is_taken_apart(void **state)
{
    static const struct {
        const char *verbose;
        const char *message;
        const char *sqlstate;
    } cases[] = {
        {"connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  28P01: no\nLOCATION:  "
         "auth_failed, auth.c:338\n",
         "connection to server on socket \"/run/.s.PGSQL.5432\" failed: FATAL:  no", "28P01"},
        /* With TLS, then without; in the server's language; with more lines. */
        {"failed: FATAL:  28000: one\nLOCATION:  x\nfailed: ВАЖНО:  28P01: two\nDETAIL:  three\nLOCATION:  "
         "x\n",
         "failed: FATAL:  one\nfailed: ВАЖНО:  two\nDETAIL:  three", "28P01"},
        /* Nobody has answered. */
        {"connection to server at \"::1\", port 5432 failed: Connection refused\n\tIs the server running?\n",
         "connection to server at \"::1\", port 5432 failed: Connection refused\n\tIs the server running?",
         ""},
        {"timeout", "timeout", ""},
        {"FATAL:  2800: four\n", "FATAL:  2800: four", ""},
        {"FATAL:  280000: six\n", "FATAL:  280000: six", ""},
        {"FATAL:  28p01: small\n", "FATAL:  28p01: small", ""},
        {"FATAL:  28P01", "FATAL:  28P01", ""},
        {"", "", ""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char message[512], sqlstate[SQLSTATE_SIZE];

        sqlstate_read_login(cases[i].verbose, message, sizeof message, sqlstate);
        assert_string_equal(message, cases[i].message);
        assert_string_equal(sqlstate, cases[i].sqlstate);
    }
}

static void a_message_that_is_too_long_is_cut(void **state)
{
    static const char verbose[] = "failed: FATAL:  28P01: password\nDETAIL:  there is more\n";

    for (size_t size = 1; size < sizeof verbose; size++) {
        char message[sizeof verbose], sqlstate[SQLSTATE_SIZE];

        sqlstate_read_login(verbose, message, size, sqlstate);
        assert_true(strlen(message) < size);
        assert_int_equal(
            strncmp("failed: FATAL:  password\nDETAIL:  there is more", message, strlen(message)), 0);
        assert_string_equal(sqlstate, "28P01");
    }
}

/* ---- */

static int start(void **state)
{
    fake_postgres_connect(&server);
    return 0;
}

static int finish(void **state)
{
    PQfinish(server.pg);
    fake_postgres_hang_up(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_of_the_table_decides_a_case),
        cmocka_unit_test(each_state_has_its_action),
        cmocka_unit_test(an_error_s_action_is_by_its_state_and_where_it_arose),
        cmocka_unit_test(a_refusal_is_taken_apart),
        cmocka_unit_test(a_message_that_is_too_long_is_cut),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
