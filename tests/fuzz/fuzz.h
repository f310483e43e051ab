/* What a fuzzing target gives: libFuzzer's entry, and seeds for the corpus to begin with. Each target is a
 * file of its own; `make fuzz` builds it with libFuzzer, and `make test` runs it over what is kept in
 * tests/fuzz/seeds/NAME, findings among it. */
#ifndef INCIDENTS_TESTS_FUZZ_H
#define INCIDENTS_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Judges one input; ends the program where something that must hold does not. Always 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the program with the expression, where it is false. */
#define MUST(holds) ((holds) ? (void)0 : fuzz_fail(#holds, __FILE__, __LINE__))

#include <stdio.h>
#include <stdlib.h>

static inline void fuzz_fail(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s does not hold\n", file, line, what);
    abort();
}

#endif
