/* Counters for Prometheus, in memory that all processes of one installation share: each of them can report
 * for all. Several serve under mod_fcgid, as plain CGI, and while a worker is replaced. */
#ifndef INCIDENTS_BASE_METRICS_H
#define INCIDENTS_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/process_stats.h"

enum { METRICS_METHODS = 8, METRICS_OUTCOMES = 32, METRICS_REASONS = 8, METRICS_BUCKETS = 14 };

/* Rows of tokens, one of those that found no row left and one of requests whose token is not known among
 * them; and how many processes can say what they use. */
enum { METRICS_TOKENS = 66, METRICS_SLOTS = 256 };

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
    METRICS_QUEUE,            /* requests that wait to be sent to the database */
    METRICS_QUEUE_LIMIT,      /* so many may wait at most */
    METRICS_CONNECTIONS,      /* that are open */
    METRICS_WITHOUT_DATABASE, /* 1 in a process that does not reach the database */
    METRICS_PROCESSES,        /* FastCGI workers */
    METRICS_GAUGES,
};

/* Observations up to each of the bounds, not counting those up to the one before; the last is for all above.
 */
struct metrics_histogram {
    uint64_t buckets[METRICS_BUCKETS];
    uint64_t sum;
};

/* A FastCGI worker that runs. Its figures are at most five seconds of its work old. */
struct metrics_process {
    int slot;           /* of all that run, each has another; the lowest that is free */
    int64_t started_ms; /* since 1970 */
    struct process_stats stats;
};

extern const unsigned metrics_request_bounds_ms[METRICS_BUCKETS - 1];
extern const unsigned metrics_batch_bounds[METRICS_BUCKETS - 1];

/* Joins the memory that belongs to the user and to the token, by which processes find each other; as_worker
 * where the process serves many requests. Once, by the first thread; what others count before it returns, as
 * the log's may, is not counted. False, and errno says why, where there is none to be had; then nothing is.
 */
bool metrics_open(const char *token, bool as_worker);

/* Whether there was a metrics_open, successful or not. */
bool metrics_are_enabled(void);
/* Whether it was successful. */
bool metrics_are_open(void);
/* Whether this is the token that metrics_open was called with. */
bool metrics_token_matches(struct slice token);

/* Each may be called from any thread. method and outcome are the caller's own numbering, below
 * METRICS_METHODS and METRICS_OUTCOMES. */
void metrics_count_request(size_t method, size_t outcome, int64_t ms);
/* What became of a request whose token has that label; empty: it is not known. */
void metrics_count_token(const char *label, size_t outcome);
/* Why the database was not to be had; the caller's own numbering, below METRICS_REASONS. */
void metrics_count_unavailable(size_t reason);
void metrics_count_batch(size_t size);
void metrics_count(enum metrics_counter counter);
void metrics_count_many(enum metrics_counter counter, uint64_t number);
void metrics_add(enum metrics_gauge gauge, int64_t difference);

/* Where metrics_are_open only. */
uint64_t metrics_requests(size_t method, size_t outcome);
/* The label of a row below METRICS_TOKENS, which is not escaped; "other" stands for those that found no row,
 * an empty one for requests whose token is not known. NULL: there is none, or it was in a row before, whose
 * count has this one's. */
const char *metrics_token_label(size_t row);
uint64_t metrics_token_requests(size_t row, size_t outcome);
uint64_t metrics_unavailable(size_t reason);
/* Returns how many there are. */
size_t metrics_processes(struct metrics_process processes[METRICS_SLOTS]);
struct metrics_histogram metrics_request_ms(size_t method);
struct metrics_histogram metrics_batch_sizes(void);
uint64_t metrics_counted(enum metrics_counter counter);
int64_t metrics_sum(enum metrics_gauge gauge);

#endif
