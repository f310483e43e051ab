/* Texts for tests of what reads them. Each is in an allocation of exactly its size, so that AddressSanitizer
 * sees a read behind its last byte. */
#ifndef INCIDENTS_TESTS_CASES_TEXTS_H
#define INCIDENTS_TESTS_CASES_TEXTS_H

#include "base/buffer.h"
#include "cases/json_texts.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* A literal as a slice; it may hold NUL bytes. */
#define SLICE(literal) ((struct slice){"" literal, sizeof("" literal) - 1})

/* A copy. text_free what this and the next two return. */
struct slice text_copy(struct slice text);

/* before, text and after in one. */
struct slice text_join(struct slice before, struct slice text, struct slice after);

/* `unit` times over, then `middle`, then `end` as often. */
struct slice text_repeat(const char *unit, size_t times, const char *middle, const char *end);

void text_free(struct slice text);

/* The text of a row of json_texts, borrowed. */
struct slice text_of_row(const struct json_text *row);

/* Prints a case that fails and counts it, so that one run names all of them. */
void text_report(size_t *failures, const char *what, struct slice text, const char *expected);

/* Fails the test if the text is another. */
void expect_text(struct slice actual, const char *expected);

#endif
