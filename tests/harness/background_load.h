/* Good clients who go on while something happens beside them: each sends one new incident after the other,
 * and every response must be its own. What they noticed of it is figures. */
#ifndef INCIDENTS_TESTS_BACKGROUND_LOAD_H
#define INCIDENTS_TESTS_BACKGROUND_LOAD_H

#include "harness/load.h"

struct background_load;

struct background_load_figures {
    size_t responses;
    double p50_ms, p99_ms, slowest_ms;
};

/* Whether through nginx, or with FastCGI straight to the worker. Names of incidents begin with `name`. */
struct background_load *background_load_start(struct stack *stack, size_t count, bool straight,
                                              const char *name);

/* Ends them, and fails the test where a response was not the right one, or what was answered is not stored.
 */
void background_load_stop(struct background_load *background, struct background_load_figures *figures);

/* A figure of the worker's memory, such as "VmHWM:", the most that it has had so far (proc(5), status). */
long worker_memory_kib(const struct stack *stack, const char *figure);

/* The worker's memory in MiB, and how many descriptors it has open. */
double worker_memory(const struct stack *stack);
size_t worker_descriptors(const struct stack *stack);

/* Processor time that the worker has used, in ms. */
long worker_cpu_ms(const struct stack *stack);

/* Closes the descriptors, of attackers say. */
void close_all(const int *fds, size_t count);

/* An attack with good clients beside it, which becomes a row of the table that attack_table begins. */
struct attack {
    struct stack *stack;
    const char *what;
    size_t many;
    bool straight;
    struct background_load *background;
    double memory;
    size_t descriptors;
};

void attack_table(const char *heading);

/* Begins it with four good clients, straight at the worker's socket or through nginx. */
void attack_begin(struct attack *attack, struct stack *stack, const char *what, size_t many, bool straight);

/* Ends it, and fails the test where the worker has ended, grown, kept descriptors, or let a good client wait
 * too long. `refused`: how many of the attackers' requests were. */
void attack_end(struct attack *attack, size_t refused);

#endif
