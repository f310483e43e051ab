/* What an error of the server means, by its SQLSTATE and by where in Postgres it comes from. */
#ifndef INCIDENTS_STORE_PG_ERROR_H
#define INCIDENTS_STORE_PG_ERROR_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "store/op.h"
#include "store/sqlstate.h"

/* What is to be done about it: one of SQLSTATE_RECONNECT, _LOGIN, _ELSEWHERE, _RETRY, _GREET, _SCHEMA,
 * _RIGHT, _UNAVAILABLE, _KEY, _DATA and _DEFECT. */
enum sqlstate_action pg_error_action(const PGresult *result);

/* What whoever asked is told; REASON_NONE where it is nothing particular. */
enum op_reason pg_error_reason(enum sqlstate_action action);

/* Whether a text came to more than a jsonb can hold (manual, 8.14): 256 MB. Only metadata can, where the
 * limit of the body lets in tens of megabytes: a number of one digit takes twelve bytes. */
bool pg_error_is_of_jsonb(const PGresult *result);

#endif
