/* What an operation's outcome is to the caller: fine, or an error with its sentence. */
#ifndef INCIDENTS_STORE_OP_ERROR_H
#define INCIDENTS_STORE_OP_ERROR_H

#include "base/error.h"
#include "store/op.h"

/* The one sentence for each outcome that lies in the database, for every method that asks it. incident is
 * what was asked to be stored, NULL for none: no argument is blamed that it does not have. Sets the error and
 * returns false, unless the outcome is a good one. */
bool op_check(const struct store_op *op, const struct incident *incident, struct error *error);

#endif
