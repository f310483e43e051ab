/* "Did you mean …?": the known name that a misspelt one is nearest to. */
#ifndef INCIDENTS_BASE_SUGGEST_H
#define INCIDENTS_BASE_SUGGEST_H

#include <stdbool.h>
#include <stddef.h>

enum { SUGGEST_NAME_MAX = 64 }; /* bytes; longer names are like nothing */

/* How many letters must be put in, left out, replaced or swapped with their neighbour to make one name of the
 * other (the optimal string alignment distance); upper and lower case are the same letter. */
size_t suggest_distance(const char *a, const char *b);

/* Whether somebody who wrote this name is likely to have meant the known one: a third of its letters may
 * differ. */
bool suggest_is_near(const char *name, const char *known, size_t *distance);

/* The nearest of the known names that have been considered so far; begins with zeros. */
struct suggestion {
    const char *known; /* NULL: none is near */
    size_t distance;
};

/* Takes the known name for the best one if it is nearer to `name` than those before. */
void suggest_consider(struct suggestion *best, const char *name, const char *known);

#endif
