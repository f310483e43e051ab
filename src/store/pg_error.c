/* What an error of the server means. */
#include "store/pg_error.h"

#include <string.h>

/* Whether the error comes from a function of Postgres's whose name begins so. */
static bool is_of_function(const PGresult *result, const char *name)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return function != NULL && strncmp(function, name, strlen(name)) == 0;
}

/* Whether a key is taken that nobody but a sequence gives out. The sequence is behind its table then, as it
 * is after a logical replication, which does not carry sequences over. */
static bool is_of_history(const PGresult *result)
{
    const char *table = PQresultErrorField(result, PG_DIAG_TABLE_NAME);

    return table != NULL && strcmp(table, "incident_change") == 0;
}

bool pg_error_is_of_jsonb(const PGresult *result)
{
    return is_of_function(result, "convertJsonb");
}

enum sqlstate_action pg_error_action(const PGresult *result)
{
    enum sqlstate_action action = sqlstate_action(PQresultErrorField(result, PG_DIAG_SQLSTATE));

    switch (action) {
    case SQLSTATE_TYPE:
        return is_of_function(result, "array_recv")    ? SQLSTATE_GREET
               : is_of_function(result, "record_recv") ? SQLSTATE_SCHEMA
                                                       : SQLSTATE_DEFECT;
    case SQLSTATE_PLAN:
        return is_of_function(result, "RevalidateCachedQuery") ? SQLSTATE_RECONNECT : SQLSTATE_DEFECT;
    case SQLSTATE_DEFECT:
        /* The type that the statement was prepared with is gone: dropped and made anew. */
        return is_of_function(result, "getTypeBinaryInputInfo") ? SQLSTATE_RECONNECT : SQLSTATE_DEFECT;
    case SQLSTATE_KEY:
        return is_of_history(result) ? SQLSTATE_KEY : SQLSTATE_DEFECT;
    default:
        return action;
    }
}

enum op_reason pg_error_reason(enum sqlstate_action action)
{
    switch (action) {
    case SQLSTATE_LOGIN:
        return REASON_LOGIN;
    case SQLSTATE_RIGHT:
        return REASON_RIGHT;
    case SQLSTATE_SCHEMA:
        return REASON_SCHEMA;
    case SQLSTATE_UNAVAILABLE:
    case SQLSTATE_ELSEWHERE:
    case SQLSTATE_KEY:
        return REASON_STATE;
    default:
        return REASON_NONE;
    }
}
