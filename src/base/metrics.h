/* What is counted for Prometheus, in memory that all processes of one installation share: whichever of them
 * is asked answers for all. Several serve under mod_fcgid, as plain CGI, and while a worker is replaced. */
#ifndef INCIDENTS_BASE_METRICS_H
#define INCIDENTS_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

enum { METRICS_METHODS = 8, METRICS_OUTCOMES = 32, METRICS_BUCKETS = 14 };

/* Counters, which only grow, and stay when a process ends. */
enum metrics_counter {
    METRICS_CONNECTS,         /* to the database */
    METRICS_CONNECT_FAILURES, /* attempts at it that came to nothing */
    METRICS_LOST_CONNECTIONS,
    METRICS_LOG_LINES_DROPPED,
    METRICS_COUNTERS,
};

/* What is so at present, summed over the processes that are alive. */
enum metrics_gauge {
    METRICS_QUEUE,       /* requests that wait to be sent to the database */
    METRICS_CONNECTIONS, /* that are open */
    METRICS_CUT_OFF,     /* 1 in a process that does not reach the database */
    METRICS_PROCESSES,   /* FastCGI workers */
    METRICS_GAUGES,
};

/* Observations up to each of the bounds, not counting those up to the one before; the last is for all above.
 */
struct metrics_histogram {
    uint64_t buckets[METRICS_BUCKETS];
    uint64_t sum;
};

extern const unsigned metrics_request_bounds_ms[METRICS_BUCKETS - 1];
extern const unsigned metrics_batch_bounds[METRICS_BUCKETS - 1];

/* Joins the memory that belongs to the user and to the token, by which processes find each other; as_worker
 * where the process serves many requests. Before there is a second thread. False, and errno says why, where
 * there is none to be had; then, and before this, nothing is counted. */
bool metrics_open(const char *token, bool as_worker);

/* Whether there was a metrics_open, successful or not. */
bool metrics_are_wanted(void);
/* Whether it was successful. */
bool metrics_are_open(void);
/* Whether this is the token that metrics_open was called with. */
bool metrics_token_matches(struct slice token);

/* Each may be called from any thread. method and outcome are the caller's own numbering, below
 * METRICS_METHODS and METRICS_OUTCOMES. */
void metrics_count_request(size_t method, size_t outcome, int64_t ms);
void metrics_count_batch(size_t size);
void metrics_count(enum metrics_counter counter);
void metrics_count_many(enum metrics_counter counter, uint64_t number);
void metrics_add(enum metrics_gauge gauge, int64_t difference);

/* Where metrics_are_open only. */
uint64_t metrics_requests(size_t method, size_t outcome);
struct metrics_histogram metrics_request_ms(size_t method);
struct metrics_histogram metrics_batch_sizes(void);
uint64_t metrics_counted(enum metrics_counter counter);
int64_t metrics_sum(enum metrics_gauge gauge);

#endif
