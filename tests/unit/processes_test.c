/* The parent of several processes: whom it starts, how soon, and with which status it ends. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "fastcgi/processes.h"

enum { WARNINGS_KEPT = 8, WARNING_SIZE = 160 };

/* What the processes say to the test. */
static struct {
    atomic_int starts;
    pid_t pids[WARNINGS_KEPT];
    char warning[WARNINGS_KEPT][WARNING_SIZE]; /* of each start, in their order; empty: none */
} * said;

/* Notes a start; which it is, from 0. */
static int note_start(const char *warning)
{
    int start = atomic_fetch_add(&said->starts, 1);

    assert_true(start < WARNINGS_KEPT);
    said->pids[start] = getpid();
    snprintf(said->warning[start], WARNING_SIZE, "%s", warning == NULL ? "" : warning);
    return start;
}

/* As a worker does: it finds the signal blocked. */
static int await_stop(void)
{
    sigset_t stopping;
    int number;

    sigemptyset(&stopping);
    sigaddset(&stopping, SIGTERM);
    sigaddset(&stopping, SIGUSR1);
    assert_int_equal(sigwait(&stopping, &number), 0);
    return number;
}

/* Runs a parent as a process of its own; its wait status. */
static int run(int count, processes_serve *serve, void *context)
{
    int wait_status;
    pid_t pid;

    memset(said, 0, sizeof *said);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGCHLD, SIG_IGN); /* as whoever starts a worker may have had it */
        _exit(processes_run(count, serve, context));
    }
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    return wait_status;
}

static int run_to_exit(int count, processes_serve *serve, void *context)
{
    int wait_status = run(count, serve, context);

    assert_true(WIFEXITED(wait_status));
    return WEXITSTATUS(wait_status);
}

/* ---- Ends ---- */

/* The last to start has all stopped. */
static int stop_when_all_run(void *context, const char *warning)
{
    const int *count = context;

    if (note_start(warning) + 1 == *count) {
        kill(getppid(), SIGUSR1);
    }
    return await_stop() == SIGUSR1 ? EXIT_SUCCESS : 3;
}

static void a_signal_is_passed_on_to_all_and_ends_the_parent_behind_them(void **state)
{
    int count = 5;

    assert_int_equal(run_to_exit(count, stop_when_all_run, &count), EXIT_SUCCESS);
    assert_int_equal(said->starts, count);
    for (int i = 0; i < count; i++) {
        assert_string_equal(said->warning[i], "");
        assert_int_equal(kill(said->pids[i], 0), -1);
    }
}

static int fail_or_wait(void *context, const char *warning)
{
    (void)context;
    if (note_start(warning) == 1) {
        return EXIT_FAILURE;
    }
    return await_stop() == SIGTERM ? EXIT_SUCCESS : 3;
}

static void one_that_cannot_start_ends_all(void **state)
{
    assert_int_equal(run_to_exit(3, fail_or_wait, NULL), EXIT_FAILURE);
    assert_int_equal(said->starts, 3);
}

static int stop_badly(void *context, const char *warning)
{
    (void)context;
    note_start(warning);
    kill(getppid(), SIGTERM);
    await_stop();
    return 3;
}

static void one_that_does_not_stop_well_is_a_failure(void **state)
{
    assert_int_equal(run_to_exit(1, stop_badly, NULL), EXIT_FAILURE);
}

/* ---- Starts ---- */

static int end_three_times(void *context, const char *warning)
{
    (void)context;
    switch (note_start(warning)) {
    case 0:
        raise(SIGKILL);
        break;
    case 1:
        return EXIT_SUCCESS;
    case 2:
        return 99;
    default:
        kill(getppid(), SIGTERM);
    }
    return await_stop() == SIGTERM ? EXIT_SUCCESS : 3;
}

static void whichever_ends_is_started_again_and_says_what_became_of_the_one_before(void **state)
{
    char warning[WARNING_SIZE];

    assert_int_equal(run_to_exit(1, end_three_times, NULL), EXIT_SUCCESS);
    assert_int_equal(said->starts, 4);
    assert_string_equal(said->warning[0], "");
    snprintf(warning, sizeof warning,
             "worker process %d was ended by signal 9 (Killed), this one replaces it", (int)said->pids[0]);
    assert_string_equal(said->warning[1], warning);
    snprintf(warning, sizeof warning, "worker process %d exited with status 0, this one replaces it",
             (int)said->pids[1]);
    assert_string_equal(said->warning[2], warning);
    snprintf(warning, sizeof warning, "worker process %d exited with status 99, this one replaces it",
             (int)said->pids[2]);
    assert_string_equal(said->warning[3], warning);
}

static int crash_often(void *context, const char *warning)
{
    const int *crashes = context;

    if (note_start(warning) < *crashes) {
        raise(SIGKILL);
    }
    kill(getppid(), SIGTERM);
    return await_stop() == SIGTERM ? EXIT_SUCCESS : 3;
}

static void one_that_does_not_last_is_started_less_and_less_often(void **state)
{
    int crashes = 4;
    int64_t begun_ms = clock_now_ms();

    assert_int_equal(run_to_exit(1, crash_often, &crashes), EXIT_SUCCESS);
    assert_int_equal(said->starts, crashes + 1);
    assert_true(clock_now_ms() - begun_ms >= 100 + 200 + 400 + 800);
}

/* The first two run; the second dies, and cannot be started twice, while the first serves. */
static int fail_in_its_place(void *context, const char *warning)
{
    int start = note_start(warning);

    (void)context;
    if (start == 1) {
        raise(SIGKILL);
    } else if (start == 2 || start == 3) {
        return EXIT_FAILURE;
    } else if (start == 4) {
        kill(getppid(), SIGTERM);
    }
    return await_stop() == SIGTERM ? EXIT_SUCCESS : 3;
}

static void one_that_cannot_start_in_the_place_of_another_tries_on_while_others_serve(void **state)
{
    assert_int_equal(run_to_exit(2, fail_in_its_place, NULL), EXIT_SUCCESS);
    assert_int_equal(said->starts, 5);
}

static int fail_after_a_crash(void *context, const char *warning)
{
    (void)context;
    if (note_start(warning) == 0) {
        raise(SIGKILL);
    }
    return EXIT_FAILURE;
}

static void and_ends_the_parent_where_nobody_serves(void **state)
{
    assert_int_equal(run_to_exit(1, fail_after_a_crash, NULL), EXIT_FAILURE);
    assert_int_equal(said->starts, 2);
}

/* Root has no such limit. */
static void where_no_process_is_to_be_had_it_ends(void **state)
{
    const struct rlimit none = {0, 0};
    int wait_status;
    pid_t pid;

    memset(said, 0, sizeof *said);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if ((geteuid() == 0 && setuid(65534) != 0) || setrlimit(RLIMIT_NPROC, &none) != 0) {
            _exit(77);
        }
        _exit(processes_run(3, fail_or_wait, NULL));
    }
    assert_int_equal(waitpid(pid, &wait_status, 0), pid);
    assert_true(WIFEXITED(wait_status));
    assert_int_equal(WEXITSTATUS(wait_status), EXIT_FAILURE);
    assert_int_equal(said->starts, 0);
}

/* ---- The parent ---- */

static int end_the_parent(void *context, const char *warning)
{
    int *pipe_end = context;

    note_start(warning);
    kill(getppid(), SIGKILL);
    if (await_stop() == SIGTERM) {
        (void)!write(*pipe_end, "x", 1);
    }
    return EXIT_SUCCESS;
}

static void they_are_told_to_stop_where_the_parent_is_killed(void **state)
{
    int ends[2], wait_status;
    char byte;

    assert_int_equal(pipe(ends), 0);
    wait_status = run(1, end_the_parent, &ends[1]);
    assert_true(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
    close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* and it has ended */
    close(ends[0]);
}

static int set_up(void **state)
{
    said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return said == MAP_FAILED;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_is_passed_on_to_all_and_ends_the_parent_behind_them),
        cmocka_unit_test(one_that_cannot_start_ends_all),
        cmocka_unit_test(one_that_does_not_stop_well_is_a_failure),
        cmocka_unit_test(whichever_ends_is_started_again_and_says_what_became_of_the_one_before),
        cmocka_unit_test(one_that_does_not_last_is_started_less_and_less_often),
        cmocka_unit_test(one_that_cannot_start_in_the_place_of_another_tries_on_while_others_serve),
        cmocka_unit_test(and_ends_the_parent_where_nobody_serves),
        cmocka_unit_test(where_no_process_is_to_be_had_it_ends),
        cmocka_unit_test(they_are_told_to_stop_where_the_parent_is_killed),
    };

    return cmocka_run_group_tests(tests, set_up, NULL);
}
