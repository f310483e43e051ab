/* The one sentence for each outcome of an operation. */
#include "store/op_error.h"

/* Which of the database's troubles it is. Whoever sends can do nothing about it but wait, and tell whoever
 * runs the service. */
static const char *unavailability(enum op_reason reason)
{
    switch (reason) {
    case REASON_LOGIN:
        return "the database refuses this service's login";
    case REASON_RIGHT:
        return "the database does not give this service a right that it needs";
    case REASON_SCHEMA:
        return "the database has a schema that does not fit this version of the service";
    case REASON_STATE:
        return "the database cannot store anything at present";
    case REASON_NONE:
    case REASON_SIZE:
        break;
    }
    return "the database cannot be reached in time";
}

static bool refuse_as_defect(struct error *error)
{
    return error_set(error, ERROR_INTERNAL,
                     "an internal error occurred; the log has it under the request id");
}

/* The database refused a value and does not say which. The model has judged all but what only a jsonb can
 * know; what is not metadata's is therefore a defect: an index, a trigger or a constraint that was added. No
 * argument is blamed that the request did not have. */
static bool refuse_unstorable(const struct store_op *op, const struct incident *incident, struct error *error)
{
    if (incident == NULL || incident->metadata.presence != PRESENCE_GIVEN) {
        return refuse_as_defect(error);
    }
    if (op->reason == REASON_SIZE) {
        return error_set(error, ERROR_METADATA_INVALID,
                         "metadata is more than the database can hold as one value (256 MB)");
    }
    return error_set(error, ERROR_METADATA_INVALID, "metadata holds a value that cannot be stored");
}

bool op_check(const struct store_op *op, const struct incident *incident, struct error *error)
{
    switch (op->outcome) {
    case OP_CREATED:
    case OP_UPDATED:
    case OP_UNCHANGED:
    case OP_DELETED:
    case OP_NOT_FOUND:
    case OP_AUTHORIZED:
    case OP_READY:
        return true;
    case OP_NOT_AUTHED:
        return error_set(error, ERROR_NOT_AUTHED, "the token is not good: it is unknown, expired or revoked");
    case OP_NOT_PERMITTED:
        return error_set(error, ERROR_NOT_PERMITTED, "the token lacks the scope that this method needs");
    case OP_UNAVAILABLE:
        return error_set(error, ERROR_SERVICE_UNAVAILABLE, "%s; it is safe to send the request again",
                         unavailability(op->reason));
    case OP_UNSTORABLE:
        return refuse_unstorable(op, incident, error);
    case OP_PENDING:
    case OP_FAILED:
        break;
    }
    return refuse_as_defect(error);
}
