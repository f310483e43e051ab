/* What is done about each error of the database. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/sqlstate.h"

static void each_state_has_its_action(void **state)
{
    static const struct {
        const char *sqlstate;
        enum sqlstate_action action;
    } cases[] = {
        {NULL, SQLSTATE_RECONNECT},      {"08006", SQLSTATE_RECONNECT},   {"57P01", SQLSTATE_RECONNECT},
        {"57P02", SQLSTATE_RECONNECT},   {"57P03", SQLSTATE_RECONNECT},   {"57P04", SQLSTATE_RECONNECT},
        {"57P05", SQLSTATE_RECONNECT},   {"25P03", SQLSTATE_RECONNECT},   {"53300", SQLSTATE_RECONNECT},
        {"26000", SQLSTATE_RECONNECT},   {"0A000", SQLSTATE_PLAN},        {"25006", SQLSTATE_ELSEWHERE},
        {"40001", SQLSTATE_RETRY},       {"40P01", SQLSTATE_RETRY},       {"55P03", SQLSTATE_RETRY},
        {"28P01", SQLSTATE_LOGIN},       {"28000", SQLSTATE_LOGIN},       {"3D000", SQLSTATE_LOGIN},
        {"42501", SQLSTATE_RIGHT},       {"IS001", SQLSTATE_SCHEMA},      {"3F000", SQLSTATE_SCHEMA},
        {"42883", SQLSTATE_SCHEMA},      {"42704", SQLSTATE_SCHEMA},      {"42804", SQLSTATE_TYPE},
        {"IS002", SQLSTATE_GREET},       {"42P01", SQLSTATE_SCHEMA},      {"42703", SQLSTATE_SCHEMA},
        {"57014", SQLSTATE_UNAVAILABLE}, {"53100", SQLSTATE_UNAVAILABLE}, {"53200", SQLSTATE_UNAVAILABLE},
        {"58030", SQLSTATE_UNAVAILABLE}, {"55000", SQLSTATE_UNAVAILABLE}, {"54001", SQLSTATE_UNAVAILABLE},
        {"2200H", SQLSTATE_UNAVAILABLE}, {"XX001", SQLSTATE_UNAVAILABLE}, {"XX002", SQLSTATE_UNAVAILABLE},
        {"23505", SQLSTATE_KEY},         {"22003", SQLSTATE_DATA},        {"22P05", SQLSTATE_DATA},
        {"54000", SQLSTATE_DATA},        {"23514", SQLSTATE_DEFECT},      {"42601", SQLSTATE_DEFECT},
        {"P0001", SQLSTATE_DEFECT},      {"XX000", SQLSTATE_DEFECT},      {"21000", SQLSTATE_DEFECT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (sqlstate_action(cases[i].sqlstate) != cases[i].action) {
            fail_msg("%s: action %d, not %d", cases[i].sqlstate, (int)sqlstate_action(cases[i].sqlstate),
                     (int)cases[i].action);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_state_has_its_action)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
