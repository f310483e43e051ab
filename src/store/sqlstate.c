/* What to do about an error of the database: the one table from SQLSTATE to action. */
#include "store/sqlstate.h"

#include <stddef.h>
#include <string.h>

/* The first row whose prefix fits decides. */
static const struct {
    const char *prefix;
    enum sqlstate_action action;
} actions[] = {
    {"08", SQLSTATE_RECONNECT},    /* connection exceptions */
    {"57P01", SQLSTATE_RECONNECT}, /* admin_shutdown, pg_terminate_backend */
    {"57P02", SQLSTATE_RECONNECT}, /* crash_shutdown */
    {"57P03", SQLSTATE_RECONNECT}, /* cannot_connect_now */
    {"57P04", SQLSTATE_RECONNECT}, /* database_dropped */
    {"57P05", SQLSTATE_RECONNECT}, /* idle_session_timeout */
    {"25006", SQLSTATE_ELSEWHERE}, /* read_only_sql_transaction: a standby, the primary is elsewhere now */
    {"25P03", SQLSTATE_RECONNECT}, /* idle_in_transaction_session_timeout */
    {"53300", SQLSTATE_RECONNECT}, /* too_many_connections */
    {"28", SQLSTATE_LOGIN},        /* a wrong password, no line in pg_hba.conf, no such role */
    {"3D000", SQLSTATE_LOGIN},     /* invalid_catalog_name: no such database */
    {"26000", SQLSTATE_RECONNECT}, /* invalid_sql_statement_name: prepared in another session of a pooler's */
    {"0A000", SQLSTATE_PLAN},      /* feature_not_supported: a prepared statement's result type has changed */
    {"40001", SQLSTATE_RETRY},     /* serialization_failure */
    {"40P01", SQLSTATE_RETRY},     /* deadlock_detected */
    {"55P03", SQLSTATE_RETRY},     /* lock_not_available: apply_batch's lock_timeout */
    {"57", SQLSTATE_UNAVAILABLE},  /* operator intervention; query_canceled: somebody meant it */
    {"IS001", SQLSTATE_SCHEMA},    /* raised by apply_batch */
    {"IS002", SQLSTATE_GREET},     /* raised by apply_batch */
    {"42804", SQLSTATE_TYPE},      /* datatype_mismatch: of intake.operation, or somebody's trigger */
    {"IS003", SQLSTATE_UNAVAILABLE}, /* raised by apply_batch: the administrator's to mend */
    {"3F000", SQLSTATE_SCHEMA},      /* no schema intake */
    {"42883", SQLSTATE_SCHEMA},      /* no such function */
    {"42704", SQLSTATE_SCHEMA},      /* no such type */
    {"42P01", SQLSTATE_SCHEMA},      /* no such table */
    {"42703", SQLSTATE_SCHEMA},      /* no such column */
    {"42501", SQLSTATE_RIGHT},       /* insufficient_privilege: the administrator's to mend */
    {"23505", SQLSTATE_KEY},         /* unique_violation */
    {"2200H", SQLSTATE_UNAVAILABLE}, /* sequence_generator_limit_exceeded */
    {"53", SQLSTATE_UNAVAILABLE},    /* insufficient resources: disk_full, out_of_memory */
    {"54001", SQLSTATE_UNAVAILABLE}, /* statement_too_complex: max_stack_depth is too small for 100 levels */
    {"55", SQLSTATE_UNAVAILABLE},    /* object not in prerequisite state: a publication without a key */
    {"58", SQLSTATE_UNAVAILABLE},    /* system errors: io_error */
    {"XX001", SQLSTATE_UNAVAILABLE}, /* data_corrupted */
    {"XX002", SQLSTATE_UNAVAILABLE}, /* index_corrupted */
    {"22", SQLSTATE_DATA},           /* data exceptions */
    {"54000", SQLSTATE_DATA}, /* program_limit_exceeded: a jsonb or an index's entry that is too large */
};

enum sqlstate_action sqlstate_action(const char *sqlstate)
{
    if (sqlstate == NULL) {
        return SQLSTATE_RECONNECT;
    }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strncmp(sqlstate, actions[i].prefix, strlen(actions[i].prefix)) == 0) {
            return actions[i].action;
        }
    }
    return SQLSTATE_DEFECT;
}
