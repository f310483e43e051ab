/* What the log says of a database that fails, once for all connections of a pool: a line when the failure is
 * new, one every ten seconds while it stays the same, and one when the database responds again. A full disk
 * fails some requests and not others: the same failure has no second line within ten seconds, though the
 * database has responded between. */
#ifndef INCIDENTS_STORE_FAILURES_H
#define INCIDENTS_STORE_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

enum { FAILURE_MAX = 512 };

/* All zeros is the state of a database that responds. The loop's thread alone touches it. */
struct failures {
    bool are_held;     /* kept in `last`, and logged with a success behind them */
    bool is_logged;    /* since the last success */
    int64_t since_ms;  /* 0 after a success */
    int64_t logged_ms; /* the last line */
    char last[FAILURE_MAX];
};

/* "unable to WHAT: WHY", which is cut where it is too long. */
void failures_report(struct failures *failures, const char *what, const char *why);

/* The database has responded. */
void failures_end(struct failures *failures);

/* Logs the failure that lasts, if it was held. */
void failures_log_held(const struct failures *failures);

/* The failure that lasts; empty after a success. It is valid until the next call. */
const char *failures_last(const struct failures *failures);

#endif
