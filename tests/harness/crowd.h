/* Several clients at once, each a thread; what goes wrong in one is kept and fails the test from the main
 * thread. */
#ifndef INCIDENTS_TESTS_CROWD_H
#define INCIDENTS_TESTS_CROWD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness/http.h"

enum { CROWD_MAX = 256 };

struct crowd;

/* One client. cmocka's assertions work in the main thread only: call crowd_fail instead, and go on. */
struct crowd_member {
    struct crowd *crowd;
    struct site *site;
    void *context; /* the same for all */
    size_t number; /* from 0 */
};

typedef void crowd_work(struct crowd_member *member);

/* Notes a failure; each member's first one is shown. */
void crowd_fail(struct crowd_member *member, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether the work should come to its end: the main thread has called crowd_stop, or a member failed. */
bool crowd_is_stopping(const struct crowd_member *member);

/* Sends a request and notes it as a failure where the status is not the one expected. Returns whether it was.
 */
bool crowd_send(struct crowd_member *member, const struct call *call, int expected_status,
                struct answer *answer);

/* Starts that many threads, which begin their work all together. The context must live until crowd_join. */
struct crowd *crowd_start(struct site *site, size_t count, crowd_work *work, void *context);

/* Asks for the end of the work; returns at once. */
void crowd_stop(struct crowd *crowd);

/* Waits for the end of all threads, then fails the test where one of them failed. */
void crowd_join(struct crowd *crowd);

/* crowd_start and crowd_join. */
void crowd_run(struct site *site, size_t count, crowd_work *work, void *context);

/* Ends the crowds that a failed test left behind. For a test's teardown. */
void crowd_abandon_all(void);

#endif
