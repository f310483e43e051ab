/* Durations and times as people write them on a command line. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_TIME_TEXT_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_TIME_TEXT_H

#include <stdbool.h>
#include <stdint.h>

enum { TIME_TEXT_MAX = 64 };

/* Reads a whole number and a unit: s, m, h, d or w. At most 100 years. False where it is not one. */
bool duration_parse(const char *text, int64_t *seconds);

/* Reads an ISO-8601 timestamp or a duration from now into what Postgres reads as a timestamptz. False where
 * it is neither, or not in the future. */
bool time_parse_future(const char *text, char time[TIME_TEXT_MAX]);

/* The same where a duration is one that ends now; of any time. */
bool time_parse_past(const char *text, char time[TIME_TEXT_MAX]);

/* The same, and whether the text has no zone: then what is written is a time in UTC, to be read as a
 * timestamp without time zone. A duration has one. */
bool time_parse_past_local(const char *text, char time[TIME_TEXT_MAX], bool *is_local);

#endif
