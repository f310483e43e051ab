/* What an error of the database means: the one table from SQLSTATE to action. */
#include "store/sqlstate.h"

#include <stdio.h>
#include <string.h>

/* The first row that fits decides. */
static const struct {
    const char *prefix;
    const char *source; /* how the function's name begins, or the table's name; NULL: any */
    enum sqlstate_action action;
} actions[] = {
    {"08", NULL, SQLSTATE_RECONNECT},      /* connection exceptions */
    {"57P01", NULL, SQLSTATE_RECONNECT},   /* admin_shutdown, pg_terminate_backend */
    {"57P02", NULL, SQLSTATE_RECONNECT},   /* crash_shutdown */
    {"57P03", NULL, SQLSTATE_RECONNECT},   /* cannot_connect_now */
    {"57P04", NULL, SQLSTATE_RECONNECT},   /* database_dropped */
    {"57P05", NULL, SQLSTATE_RECONNECT},   /* idle_session_timeout */
    {"25006", NULL, SQLSTATE_READ_ONLY},   /* read_only_sql_transaction: a standby */
    {"25P03", NULL, SQLSTATE_RECONNECT},   /* idle_in_transaction_session_timeout */
    {"53300", NULL, SQLSTATE_RECONNECT},   /* too_many_connections */
    {"28", NULL, SQLSTATE_LOGIN},          /* a wrong password, no line in pg_hba.conf, no such role */
    {"3D000", NULL, SQLSTATE_LOGIN},       /* invalid_catalog_name: no such database */
    {"26000", NULL, SQLSTATE_UNPREPARED},  /* invalid_sql_statement_name */
    {"40001", NULL, SQLSTATE_RETRY},       /* serialization_failure */
    {"40P01", NULL, SQLSTATE_RETRY},       /* deadlock_detected */
    {"55P03", NULL, SQLSTATE_RETRY},       /* lock_not_available: apply_batch's lock_timeout */
    {"57", NULL, SQLSTATE_UNAVAILABLE},    /* operator intervention; query_canceled: an administrator's */
    {"IS001", NULL, SQLSTATE_SCHEMA},      /* raised by apply_batch */
    {"IS002", NULL, SQLSTATE_RESYNC},      /* raised by apply_batch: too late by the server's clock */
    {"IS003", NULL, SQLSTATE_UNAVAILABLE}, /* raised by apply_batch: the administrator's to mend */
    /* datatype_mismatch: intake.operation has another OID there, or other columns; else a trigger of the
       administrator's */
    {"42804", "array_recv", SQLSTATE_RESYNC},
    {"42804", "record_recv", SQLSTATE_SCHEMA},
    /* feature_not_supported: a prepared statement's result type has changed */
    {"0A000", "RevalidateCachedQuery", SQLSTATE_RECONNECT},
    {"3F000", NULL, SQLSTATE_SCHEMA},    /* no schema intake */
    {"42883", NULL, SQLSTATE_SCHEMA},    /* no such function */
    {"42704", NULL, SQLSTATE_SCHEMA},    /* no such type */
    {"42P01", NULL, SQLSTATE_SCHEMA},    /* no such table */
    {"42703", NULL, SQLSTATE_SCHEMA},    /* no such column */
    {"42501", NULL, SQLSTATE_PRIVILEGE}, /* insufficient_privilege */
    /* unique_violation of a key that only a sequence gives out: logical replication does not carry sequences
     * over */
    {"23505", "incident_change", SQLSTATE_SEQUENCE},
    {"2200H", NULL, SQLSTATE_UNAVAILABLE}, /* sequence_generator_limit_exceeded */
    {"53", NULL, SQLSTATE_UNAVAILABLE},    /* insufficient resources: disk_full, out_of_memory */
    {"54001", NULL, SQLSTATE_UNAVAILABLE}, /* statement_too_complex: max_stack_depth is too small */
    {"55", NULL, SQLSTATE_UNAVAILABLE},    /* object not in prerequisite state: a publication without a key */
    {"58", NULL, SQLSTATE_UNAVAILABLE},    /* system errors: io_error */
    {"XX001", NULL, SQLSTATE_UNAVAILABLE}, /* data_corrupted */
    {"XX002", NULL, SQLSTATE_UNAVAILABLE}, /* index_corrupted */
    {"54000", "convertJsonb", SQLSTATE_JSONB_SIZE}, /* program_limit_exceeded */
    {"54000", NULL, SQLSTATE_DATA},                 /* the same of an index's entry */
    {"22", NULL, SQLSTATE_DATA},                    /* data exceptions */
    /* The type that the statement was prepared with is gone: dropped and made anew. */
    {"", "getTypeBinaryInputInfo", SQLSTATE_RECONNECT},
};

static bool begins_with(const char *text, const char *prefix)
{
    return text != NULL && strncmp(text, prefix, strlen(prefix)) == 0;
}

enum sqlstate_action sqlstate_action(const char *sqlstate, const char *function, const char *table)
{
    if (sqlstate == NULL) {
        return SQLSTATE_RECONNECT;
    }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        const char *source = actions[i].source;

        if (begins_with(sqlstate, actions[i].prefix) && (source == NULL || begins_with(function, source) ||
                                                         (table != NULL && strcmp(table, source) == 0))) {
            return actions[i].action;
        }
    }
    return SQLSTATE_DEFECT;
}

enum sqlstate_action sqlstate_result_action(const PGresult *result)
{
    return sqlstate_action(PQresultErrorField(result, PG_DIAG_SQLSTATE),
                           PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION),
                           PQresultErrorField(result, PG_DIAG_TABLE_NAME));
}

enum op_reason sqlstate_reason(enum sqlstate_action action)
{
    static const enum op_reason reasons[SQLSTATE_DEFECT + 1] = {
        [SQLSTATE_LOGIN] = REASON_LOGIN,
        [SQLSTATE_PRIVILEGE] = REASON_PRIVILEGE,
        [SQLSTATE_SCHEMA] = REASON_SCHEMA,
        [SQLSTATE_UNAVAILABLE] = REASON_WRITE_FAILED,
        [SQLSTATE_READ_ONLY] = REASON_WRITE_FAILED,
        [SQLSTATE_SEQUENCE] = REASON_WRITE_FAILED,
        [SQLSTATE_JSONB_SIZE] = REASON_SIZE,
    };

    return reasons[action];
}

/* ---- Refused connections ---- */

/* The SQLSTATE in a line, NULL if it has none: it stands between a severity, which may be in any language,
 * and the sentence. */
static const char *find_sqlstate(const char *line, size_t len)
{
    const char *at = line;

    while ((at = memmem(at, len - (size_t)(at - line), ":  ", 3)) != NULL) {
        at += 3;
        if (strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_SIZE - 1 &&
            strncmp(at + SQLSTATE_SIZE - 1, ": ", 2) == 0) {
            return at;
        }
    }
    return NULL;
}

void sqlstate_read_login(const char *verbose, char *message, size_t size, char sqlstate[SQLSTATE_SIZE])
{
    size_t used = 0;

    message[0] = '\0';
    sqlstate[0] = '\0';
    while (*verbose != '\0' && used < size) {
        int len = (int)strcspn(verbose, "\n");
        const char *state = find_sqlstate(verbose, (size_t)len);
        int before = state == NULL ? len : (int)(state - verbose);
        int behind = state == NULL ? len : before + SQLSTATE_SIZE - 1 + (int)strlen(": ");

        if (state != NULL) {
            memcpy(sqlstate, state, SQLSTATE_SIZE - 1);
            sqlstate[SQLSTATE_SIZE - 1] = '\0';
        }
        if (!begins_with(verbose, "LOCATION:")) {
            used += (size_t)snprintf(message + used, size - used, "%s%.*s%.*s", used == 0 ? "" : "\n", before,
                                     verbose, len - behind, verbose + behind);
        }
        verbose += len + (verbose[len] == '\n');
    }
}
