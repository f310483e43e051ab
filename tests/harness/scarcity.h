/* A program that is refused allocations or threads, through the library tests/preload/scarce.so: the n-th
 * that it asks for, or that one and those after it. */
#ifndef INCIDENTS_TESTS_SCARCITY_H
#define INCIDENTS_TESTS_SCARCITY_H

#include <limits.h>

#include "harness/stack.h"
#include "preload/scarce.h"

enum { SCARCITY_ENTRIES = 5 };

struct scarcity {
    struct scarce *shared; /* to look at; the functions below change it */
    char entries[SCARCITY_ENTRIES][STACK_PATH_MAX + 64];
    const char *environment[SCARCITY_ENTRIES + 1]; /* for the program, NULL at its end */
};

/* Makes the file that both share, in the stack's directory. Nothing is refused yet. */
void scarcity_open(struct scarcity *scarcity, const struct stack *stack);
void scarcity_close(struct scarcity *scarcity);

/* From now on, or from the program's start where it is not running: refuses those with the numbers first to
 * first + many - 1. */
void scarcity_refuse_allocations(struct scarcity *scarcity, long first, long many);
void scarcity_refuse_threads(struct scarcity *scarcity, long first, long many);

/* From now on the program may have that many bytes more than it has. */
void scarcity_limit_bytes(struct scarcity *scarcity, long more);

/* Refuses nothing any more. */
void scarcity_end(struct scarcity *scarcity);

#endif
