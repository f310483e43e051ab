/* Chance for generators. */
#include "harness/chance.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

static uint64_t chance;

uint64_t chance_find_seed(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t seed = text != NULL ? strtoull(text, NULL, 10) : (uint64_t)clock_now_ms();

    (void)printf("%s=%llu\n", variable, (unsigned long long)seed);
    (void)fflush(stdout);
    return seed;
}

void chance_seed(uint64_t seed)
{
    chance = seed;
}

/* splitmix64. */
uint32_t chance_draw(void)
{
    uint64_t z = (chance += 0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

size_t chance_below(size_t limit)
{
    return limit == 0 ? 0 : chance_draw() % limit;
}

bool chance_one_in(size_t count)
{
    return chance_below(count) == 0;
}
