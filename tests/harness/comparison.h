/* Verdicts of ours beside those of Postgres: many texts are asked about together. DIFFERENTIAL_SEED in the
 * environment repeats a run. */
#ifndef INCIDENTS_TESTS_COMPARISON_H
#define INCIDENTS_TESTS_COMPARISON_H

#include "base/buffer.h"
#include "harness/fixture.h"

/* How many texts, and bytes of them, are sent together, and bytes of one text, at most. */
enum { BATCH_MAX = 2000, BATCH_BYTES = 4 * 1024 * 1024, TEXT_MAX = 256 * 1024 };

/* Runs the cases on a stack without a worker, whose Postgres has the functions that judge. */
int comparison_run(struct stack *of, const struct CMUnitTest cases[], size_t count);

/* Seeds harness/prng.h for the nth text of this run. */
void comparison_seed(size_t n);

/* Texts to ask about together. `compare` is told each with Postgres's answer, NULL for null. */
struct comparison {
    const char *judge;
    void (*compare)(struct slice text, const char *response);
    struct buffer bytes;
    struct buffer lengths;
    size_t count;
    size_t len[BATCH_MAX];
};

/* judge: judge_json, read_instant, read_week or read_ordinal. comparison_end asks about what is left. */
void comparison_begin(struct comparison *comparison, const char *judge,
                      void (*compare)(struct slice text, const char *response));
void comparison_add(struct comparison *comparison, struct slice text);
void comparison_end(struct comparison *comparison);

/* Ends the test with the text in hexadecimal. */
void comparison_fail(struct slice text, const char *ours, const char *theirs);

/* Writes down how many texts had which reason. */
void comparison_show(const char *heading, const char *const reasons[], const size_t counts[], size_t count);

/* Calls it with all that the tables of cases and the seeds of fuzzing hold. comparison_add_kept adds each to
 * the comparison that is its context. */
void for_each_kept_text(void (*use)(void *context, struct slice text), void *context);
void comparison_add_kept(void *context, struct slice text);

#endif
