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

/* The first and the last microsecond of the years 0001 to 9999, in UTC. */
#define TIMESTAMP_MIN TIMESTAMP_GO_ZERO
#define TIMESTAMP_MAX INT64_C(253402300799999999)

/* Reads all of text (len bytes) into *micros: microseconds since 1970-01-01T00:00:00Z, negative before.
 * Digits beyond microseconds are cut off. No zone means UTC. Returns false, *micros untouched, where it is
 * not readable, or names a time before TIMESTAMP_MIN or after TIMESTAMP_MAX. */
bool timestamp_parse(const char *text, size_t len, int64_t *micros);

/* Whether a text is readable, and names a time outside the years 0001 to 9999, which 24:00 of the last day,
 * an offset or a week date can do. */
bool timestamp_is_out_of_range(const char *text, size_t len);

/* Whether a text is well formed, but there is no such date: 30 February, month 13, week 54. */
bool timestamp_has_invalid_date(const char *text, size_t len);

/* What kind of text one that is not readable is, in words that fit behind "not"; NULL where it is none of the
 * frequent kinds. */
const char *timestamp_describe(const char *text, size_t len);

/* Writes micros, which must lie from TIMESTAMP_MIN to TIMESTAMP_MAX, as Postgres reads a timestamptz, for
 * example "2024-01-01 09:22:33.000000+00". */
void timestamp_format(int64_t micros, char text[TIMESTAMP_TEXT_MAX]);

#endif
