/* What a client is told of an operation that has ended. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/op.h"

static void each_outcome_has_its_error_and_its_sentence(void **state)
{
    static const struct incident with_metadata = {.metadata.presence = PRESENCE_GIVEN}, without = {0};
    static const struct {
        enum op_outcome outcome;
        enum op_reason reason;
        const struct incident *incident;
        enum error_code code;
        const char *sentence; /* a part of it */
    } cases[] = {
        {OP_NOT_AUTHED, REASON_NONE, NULL, ERROR_NOT_AUTHED, "unknown, expired or revoked"},
        {OP_NOT_PERMITTED, REASON_NONE, NULL, ERROR_NOT_PERMITTED, "lacks the scope"},
        {OP_UNAVAILABLE, REASON_NONE, NULL, ERROR_SERVICE_UNAVAILABLE,
         "cannot be reached in time; it is safe"},
        {OP_UNAVAILABLE, REASON_LOGIN, NULL, ERROR_SERVICE_UNAVAILABLE, "refuses this service's login"},
        {OP_UNAVAILABLE, REASON_PRIVILEGE, NULL, ERROR_SERVICE_UNAVAILABLE, "lacks a privilege"},
        {OP_UNAVAILABLE, REASON_SCHEMA, NULL, ERROR_SERVICE_UNAVAILABLE, "a schema that does not fit"},
        {OP_UNAVAILABLE, REASON_WRITE_FAILED, NULL, ERROR_SERVICE_UNAVAILABLE, "cannot write at present"},
        {OP_UNAVAILABLE, REASON_QUEUE_FULL, NULL, ERROR_SERVICE_UNAVAILABLE, "too many requests wait"},
        {OP_INVALID_VALUE, REASON_SIZE, &with_metadata, ERROR_METADATA_INVALID, "256 MB"},
        {OP_INVALID_VALUE, REASON_NONE, &with_metadata, ERROR_METADATA_INVALID, "cannot be stored"},
        {OP_INVALID_VALUE, REASON_SIZE, &without, ERROR_INTERNAL, "internal error"},
        {OP_INVALID_VALUE, REASON_NONE, NULL, ERROR_INTERNAL, "internal error"},
        {OP_FAILED, REASON_NONE, &with_metadata, ERROR_INTERNAL, "internal error"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct store_op op = {.outcome = cases[i].outcome, .reason = cases[i].reason};
        struct error error = {0};

        assert_false(op_check(&op, cases[i].incident, &error));
        if (error.code != cases[i].code || strstr(error.message, cases[i].sentence) == NULL) {
            fail_msg("case %zu: %d \"%s\"", i, (int)error.code, error.message);
        }
    }
}

static void what_was_done_is_no_error(void **state)
{
    static const enum op_outcome done[] = {OP_CREATED,   OP_UPDATED,    OP_UNCHANGED, OP_DELETED,
                                           OP_NOT_FOUND, OP_AUTHORIZED, OP_READY};
    struct error error = {0};

    for (size_t i = 0; i < sizeof done / sizeof done[0]; i++) {
        const struct store_op op = {.outcome = done[i]};

        assert_true(op_check(&op, NULL, &error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_outcome_has_its_error_and_its_sentence),
        cmocka_unit_test(what_was_done_is_no_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
