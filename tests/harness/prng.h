/* Pseudo-random numbers for generators, from a seed that repeats a run. */
#ifndef INCIDENTS_TESTS_PRNG_H
#define INCIDENTS_TESTS_PRNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The seed that the variable of the environment names, else one of the clock's; says which it is, so that the
 * run can be repeated. */
uint64_t prng_find_seed(const char *variable);

/* Begins anew: the same seed gives the same numbers everywhere. */
void prng_seed(uint64_t seed);

uint32_t prng_draw(void);

/* A number below the limit; 0 where that is 0. */
size_t prng_below(size_t limit);

/* True once in so many times. */
bool prng_one_in(size_t count);

#endif
