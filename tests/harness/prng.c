/* Pseudo-random numbers for generators. */
#include "harness/prng.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

static uint64_t state;

uint64_t prng_find_seed(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_now_ms();

    printf("%s=%llu\n", variable, (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

void prng_seed(uint64_t seed)
{
    state = seed;
}

/* splitmix64. */
uint32_t prng_draw(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

size_t prng_below(size_t limit)
{
    return limit == 0 ? 0 : prng_draw() % limit;
}

bool prng_one_in(size_t count)
{
    return prng_below(count) == 0;
}
