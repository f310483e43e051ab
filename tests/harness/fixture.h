/* What every integration and stress test does around its cases: start a stack, clean up behind each case,
 * stop the stack, and prove that the worker ended cleanly and without a leak. tests/README.md has an example.
 */
#ifndef INCIDENTS_TESTS_FIXTURE_H
#define INCIDENTS_TESTS_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "harness/http.h"
#include "harness/load.h"
#include "harness/stack.h"

enum fixture_extent {
    FIXTURE_SERVING,  /* stack_start: Postgres, the schema, the token "good", the worker behind nginx */
    FIXTURE_MIGRATED, /* stack_start_migrated: the same without worker and nginx */
    FIXTURE_EMPTY,    /* stack_start_empty: Postgres with an empty database */
};

/* Only stack need be set. */
struct fixture {
    const char *name; /* what the cases are reported under; NULL: the program's name */
    struct stack *stack;
    enum fixture_extent extent;
    const char *const *settings; /* the worker's, as for stack_start */
    const char *metrics_token;   /* that settings have: what its workers counted goes when they have ended */
    bool keeps_incidents;        /* from one case to the next; else there is none when a case begins */

    /* Each may be NULL, and may use cmocka's assertions. */
    void (*start)(void); /* what the cases need besides the stack, which runs */
    void (*clean)(
        void);          /* what a case leaves, failed or not: behind each, before the incidents are removed */
    void (*stop)(void); /* undoes start, while the stack still runs */
};

/* Runs the cases in their order, and, where the stack serves, a last one:
 * the_worker_ends_cleanly_and_without_a_leak. Behind each case what it left comes to its end: a Postgres that
 * stands still, transactions of stack_hold, loads. Returns how many cases failed: main's status. */
int fixture_run(const struct fixture *fixture, const struct CMUnitTest cases[], size_t count);

#endif
