/* What a test and the library scarce.so share: a file in memory that both have mapped, in which the test says
 * what the program under test shall be refused, and the library counts. */
#ifndef INCIDENTS_TESTS_SCARCE_H
#define INCIDENTS_TESTS_SCARCE_H

#include <stdatomic.h>

/* Of a kind of thing, those with the numbers first to first + many - 1 are refused, counted from 1. None
 * where first is 0. */
struct scarce_kind {
    atomic_long first;
    atomic_long many;
    atomic_long asked;   /* how many the program has asked for */
    atomic_long refused; /* how many of them it did not get */
};

struct scarce {
    struct scarce_kind allocations;
    struct scarce_kind threads;
    atomic_long libfcgi; /* allocations that libfcgi has asked for, which only the limit refuses it */
    atomic_long live;    /* blocks that were allocated and not freed since the program's start */
    atomic_long bytes;   /* in them */
    atomic_long limit;   /* on bytes, for libfcgi too; 0: none */
};

/* The environment's variables: the file, and the name of the program that it is about. */
#define SCARCE_FILE    "SCARCE_FILE"
#define SCARCE_PROGRAM "SCARCE_PROGRAM"

#endif
