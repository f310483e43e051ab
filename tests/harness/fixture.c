/* What every integration and stress test does around its cases. */
#include "harness/fixture.h"

#include <errno.h>
#include <stdlib.h>

static const struct fixture *current; /* cmocka hands nothing of ours to a group's setup and teardown */

static void call(void (*hook)(void))
{
    if (hook != NULL) {
        hook();
    }
}

static int start(void **state)
{
    switch (current->extent) {
    case FIXTURE_EMPTY:
        stack_start_empty(current->stack);
        break;
    case FIXTURE_MIGRATED:
        stack_start_migrated(current->stack);
        break;
    case FIXTURE_SERVING:
        stack_start(current->stack, current->settings);
        break;
    }
    call(current->start);
    return 0;
}

/* What a failed case has left of stack_hold would keep the next one waiting. */
static void end_idle_transactions(void)
{
    stack_query(current->stack, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                                "WHERE usename = current_user AND state LIKE 'idle in transaction%'");
}

static int clean(void **state)
{
    stack_resume_postgres(current->stack);
    end_idle_transactions();
    load_abandon_all();
    call(current->clean);
    if (current->extent != FIXTURE_EMPTY && !current->keeps_incidents) {
        stack_query(current->stack, "TRUNCATE intake.incident");
    }
    return 0;
}

static int finish(void **state)
{
    http_close();
    call(current->stop);
    stack_stop(current->stack);
    if (current->metrics_token != NULL) {
        stack_remove_metrics(current->metrics_token);
    }
    return 0;
}

/* A case, because cmocka counts nothing that fails in a group's teardown. */
static void the_worker_ends_cleanly_and_without_a_leak(void **state)
{
    assert_true(current->stack->worker > 0);
    stack_stop_worker(current->stack);
}

int fixture_run(const struct fixture *fixture, const struct CMUnitTest cases[], size_t count)
{
    const char *name = fixture->name != NULL ? fixture->name : program_invocation_short_name;
    struct CMUnitTest *all = calloc(count + 1, sizeof *all);
    size_t all_count = count;
    int failed;

    if (all == NULL) {
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < count; i++) {
        all[i] = cases[i];
        all[i].teardown_func = clean;
    }
    if (fixture->extent == FIXTURE_SERVING) {
        all[all_count++] = (struct CMUnitTest)cmocka_unit_test(the_worker_ends_cleanly_and_without_a_leak);
    }
    if (getenv("TEST_CASE") != NULL) { /* a pattern: for whoever looks at one case alone */
        cmocka_set_test_filter(getenv("TEST_CASE"));
    }
    current = fixture;
    failed = _cmocka_run_group_tests(name, all, all_count, start, finish); /* the macro takes an array only */
    free(all);
    return failed;
}
