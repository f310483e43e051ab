/* Reading ISO 8601 timestamps into microseconds, and writing them for Postgres.
 *
 * Read are calendar dates (ISO 8601-1:2019 clause 5.2.2), ordinal dates (5.2.3) and week dates (5.2.4), each
 * alone or with a local time of day (5.3) and a shift from UTC (5.3.4), in the basic or the extended format,
 * not mixed. On top, what RFC 3339 section 5.6 allows: 't', 'z' and a space in place of 'T'. docs/api.md
 * shows the table. */
#ifndef INCIDENTS_MODEL_TIMESTAMP_H
#define INCIDENTS_MODEL_TIMESTAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TIMESTAMP_TEXT_MAX = 48 };

/* 0001-01-01T00:00:00Z, the zero value of Go's time.Time. */
#define TIMESTAMP_GO_ZERO INT64_C(-62135596800000000)

/* Reads all of text (len bytes) into *micros: microseconds since 1970-01-01T00:00:00Z, negative before.
 * Digits beyond microseconds are cut off. No zone means UTC. Returns false, *micros untouched, where it is
 * not readable. */
bool timestamp_parse(const char *text, size_t len, int64_t *micros);

/* Whether a text that is not readable would be, were there such a date: 30 February, month 13, week 54. */
bool timestamp_names_no_date(const char *text, size_t len);

/* What a text that is not readable is instead, in words that fit behind "not"; NULL for what nobody sends
 * often. */
const char *timestamp_recognise(const char *text, size_t len);

/* Writes micros as Postgres reads a timestamptz, for example "2024-01-01 09:22:33.000000+00" or, for an
 * instant in year 0 that an offset leads to, "0001-12-31 10:00:00.000000+00 BC". */
void timestamp_format(int64_t micros, char text[TIMESTAMP_TEXT_MAX]);

#endif
