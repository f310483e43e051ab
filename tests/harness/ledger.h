/* Clients who go on sending whatever becomes of the servers, and a ledger of all that they were answered,
 * which at its end is held against what the database has.
 *
 * Half of the requests are for new incidents, half for a few that all clients share. Each request has a stamp
 * of its own in the name, both services and the metadata of its incident, so that what is stored can be told
 * to be one request's, and whose.
 *
 * Lost: a request was answered 200 and its incident is not there; or an incident that is shared has what an
 * earlier request sent, one that had its response before the one answered 200 began.
 *
 * Mixed: an incident has parts of two requests, or something that nobody sent.
 *
 * A request that was answered 503 may be stored or not, but not later than its response. One that got no
 * response of the worker's may be stored up to its deadline. */
#ifndef INCIDENTS_TESTS_LEDGER_H
#define INCIDENTS_TESTS_LEDGER_H

#include "harness/load.h"

enum { LEDGER_PAUSE_MS = 300 }; /* between two faults */

struct ledger;

struct ledger_figures {
    size_t requests;
    size_t kept;    /* answered 200 */
    size_t refused; /* answered 503 by the worker */
    size_t cut_off; /* not answered by the worker: the connection ended, or nginx said 502 or 504 */
    int64_t slowest_ms;
};

/* Begins, through nginx. Names of incidents begin with `name`, which no other ledger of the stack may have.
 * The worker's setting INCIDENTS_REQUEST_TIMEOUT_MS is deadline_ms. */
struct ledger *ledger_open(struct stack *stack, size_t clients, const char *name, int64_t deadline_ms);

/* Waits until a request is answered 200 after since_ms (of clock_now_ms), and returns how many milliseconds
 * after; fails the test where that takes more than a minute. For one ledger at a time. */
int64_t ledger_await_200(struct ledger *ledger, int64_t since_ms);

/* The same from now on; keeps the longest of such times in *slowest_ms. */
void ledger_await_recovery(struct ledger *ledger, int64_t *slowest_ms);

/* Brings a fault about that many times, numbered from 0, a pause before each and a recovery behind it. The
 * fault is over when the function returns. The longest recovery, as ledger_await_recovery has it. */
int64_t ledger_repeat(struct ledger *ledger, int times, void (*fault)(int number));

/* Ends it, and fails the test where something is lost or mixed, a response was none of the three, or a
 * request waited far longer than its deadline: how long on a quiet machine, the figures say. */
void ledger_close(struct ledger *ledger, struct ledger_figures *figures);

/* Begins the table that ledger_row fills. */
void ledger_table(const char *heading);

/* A row: what happened how often, and the slowest recovery from it in milliseconds, -1 where there is none.
 */
void ledger_row(const char *what, int times, const struct ledger_figures *figures, int64_t recovery_ms);

#endif
