/* The figures of the stress tests. `make test` runs each in a short form, `make stress` in its long one;
 * either way it writes down what it counted, as tables in Markdown. */
#ifndef INCIDENTS_TESTS_FIGURES_H
#define INCIDENTS_TESTS_FIGURES_H

#include <stdbool.h>

/* Whether this is `make stress` (the environment has STRESS=long). */
bool stress_is_long(void);

/* How often, how many or how long: the first in the short form, the second in the long one. */
int stress_amount(int in_short, int in_long);

/* Begins a table: its heading, and its columns' names with '|' between them. Figures go to standard output,
 * and to the end of the file that FIGURES names where the environment has it. */
void figures_table(const char *heading, const char *columns);

/* A row: its cells, with '|' between them. */
void figures_row(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
