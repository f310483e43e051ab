/* Durations and times as people write them on a command line. */
#include "incidentctl/support/time_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model/timestamp.h"

static const int64_t LONGEST_SECONDS = (int64_t)100 * 366 * 86400;

bool duration_parse(const char *text, int64_t *seconds)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 10 || strlen(text) != digits + 1) {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (text[digits] == units[i].letter) {
            *seconds = strtoll(text, NULL, 10) * units[i].seconds;
            return *seconds <= LONGEST_SECONDS;
        }
    }
    return false;
}

static int64_t now_us(void)
{
    return (int64_t)time(NULL) * 1000000;
}

/* Durations count from now in that direction: 1 is ahead, -1 is back. */
static bool parse(const char *text, int direction, int64_t *micros)
{
    int64_t seconds;

    if (duration_parse(text, &seconds)) {
        *micros = now_us() + direction * seconds * 1000000;
        return true;
    }
    return timestamp_parse(text, strlen(text), micros);
}

bool time_parse_future(const char *text, char time[TIME_TEXT_MAX])
{
    int64_t micros;

    if (!parse(text, 1, &micros) || micros <= now_us()) {
        return false;
    }
    timestamp_format(micros, time);
    return true;
}

bool time_parse_past(const char *text, char time[TIME_TEXT_MAX])
{
    int64_t micros;

    if (!parse(text, -1, &micros)) {
        return false;
    }
    timestamp_format(micros, time);
    return true;
}

/* A text without a zone is readable with one behind it, where it has a time at all. */
static bool has_no_zone(const char *text)
{
    static const char *const zones[] = {"Z", "T00Z"};
    char longer[TIME_TEXT_MAX + 8];
    int64_t micros;

    for (size_t i = 0; i < sizeof zones / sizeof zones[0]; i++) {
        int len = snprintf(longer, sizeof longer, "%s%s", text, zones[i]);

        if (len > 0 && (size_t)len < sizeof longer && timestamp_parse(longer, (size_t)len, &micros)) {
            return true;
        }
    }
    return false;
}

bool time_parse_past_local(const char *text, char time[TIME_TEXT_MAX], bool *is_local)
{
    if (!time_parse_past(text, time)) {
        return false;
    }
    *is_local = has_no_zone(text);
    return true;
}
