/* Several clients at once, each a thread; what goes wrong in one is kept and fails the test from the main
 * thread. */
#ifndef INCIDENTS_TESTS_LOAD_H
#define INCIDENTS_TESTS_LOAD_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "harness/http.h"

enum { LOAD_CLIENTS_MAX = 256 };

struct load;

/* One client. cmocka's assertions work in the main thread only: call load_fail instead, and go on. */
struct load_client {
    struct load *load;
    struct stack *stack;
    void *context; /* the same for all */
    size_t number; /* from 0 */
};

typedef void load_work(struct load_client *client);

/* Notes a failure; each client's first one is shown. */
void load_fail(struct load_client *client, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Whether the work should come to its end: the main thread has called load_stop, or a client failed. */
bool load_is_stopping(const struct load_client *client);

/* Sends a request and notes it as a failure where the status is not the one expected. Returns whether it was.
 */
bool load_send(struct load_client *client, const struct call *call, int expected_status,
               struct http_response *response);

/* Starts that many threads, which begin their work all together. The context must live until load_join. */
struct load *load_start(struct stack *stack, size_t count, load_work *work, void *context);

/* Asks for the end of the work; returns at once. */
void load_stop(struct load *load);

/* Waits for the end of all threads, then fails the test where one of them failed. */
void load_join(struct load *load);

/* load_start and load_join. */
void load_run(struct stack *stack, size_t count, load_work *work, void *context);

/* Ends the loads that a failed test left behind. For a test's teardown. */
void load_abandon_all(void);

#endif
