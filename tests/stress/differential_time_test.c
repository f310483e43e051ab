/* Our timestamps beside timestamptz's and the calendar's. Texts come from a generator and from the table of
 * cases; where the two differ, a table says why, and nothing else may differ. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/timestamps.h"
#include "harness/comparison.h"
#include "harness/figures.h"
#include "harness/json_generator.h"
#include "harness/prng.h"
#include "model/timestamp.h"

static struct stack stack;

/* ---- Timestamps ---- */

static size_t any_year(void)
{
    /* clang-format off */
    static const size_t edges[] = {
        0, 1, 4, 99, 100, 400, 1582, 1752, 1899, 1900, 1969, 1970, 1999, 2000, 2001, 2023, 2024, 2038,
        2100, 4713, 9998, 9999};
    /* clang-format on */

    return prng_one_in(2) ? PICK(edges) : prng_below(10000);
}

/* A number below the limit, seldom one that is not. */
static size_t nearly(size_t first, size_t limit)
{
    return prng_one_in(30) ? prng_below(100) : first + prng_below(limit - first);
}

static void put_date(struct buffer *out, bool is_extended)
{
    const char *dash = is_extended ? "-" : "";

    buffer_append_format(out, "%04zu%s", any_year(), dash);
    switch (prng_below(8)) {
    case 0:
        buffer_append_format(out, "%03zu", prng_one_in(10) ? prng_below(1000) : 1 + prng_below(366));
        break;
    case 1:
        buffer_append_format(out, "W%02zu%s%zu", nearly(1, 54), dash, prng_below(9));
        break;
    default:
        buffer_append_format(out, "%02zu%s%02zu", nearly(1, 13), dash, nearly(1, 32));
        break;
    }
}

static void put_fraction(struct buffer *out)
{
    size_t count = prng_one_in(4) ? 1 + prng_below(20) : 1 + prng_below(7);

    put_text(out, prng_one_in(4) ? "," : ".");
    if (prng_one_in(6)) {
        put_text(out, "9999999");
    }
    put_digits(out, count);
}

static void put_time(struct buffer *out, bool is_extended)
{
    static const char *const separators[] = {"T", "T", "T", "t", " "};
    const char *colon = is_extended ? ":" : "";
    size_t parts = prng_one_in(3) ? 1 + prng_below(2) : 3;

    put_text(out, PICK(separators));
    buffer_append_format(out, "%02zu", prng_one_in(12) ? 24 : nearly(0, 24));
    for (size_t i = 1; i < parts; i++) {
        buffer_append_format(out, "%s%02zu", colon,
                             prng_one_in(8)    ? 0
                             : prng_one_in(20) ? 60
                                               : nearly(0, 60));
    }
    if (prng_one_in(2)) {
        put_fraction(out);
    }
}

static void put_zone(struct buffer *out, bool is_extended)
{
    static const char *const known[] = {"Z", "z", "+00:00", "-00:00", "+14:00", "-12", "+0530"};

    if (prng_one_in(2)) {
        put_text(out, PICK(known));
        return;
    }
    buffer_append_format(out, "%s%02zu", prng_one_in(2) ? "+" : "-",
                         prng_one_in(3) ? nearly(0, 24) : prng_below(15));
    if (!prng_one_in(3)) {
        buffer_append_format(out, "%s%02zu", is_extended ? ":" : "", nearly(0, 60));
    }
}

static void put_timestamp(struct buffer *out, size_t n)
{
    static const char *const words[] = {"0", "1", "2", "9", "-",  ":",  "+",   ".",  ",",  "T",
                                        "Z", "W", " ", "t", "BC", "PM", "UTC", "00", "24", "60"};
    bool is_extended;

    comparison_seed(n);
    buffer_reset(out, TEXT_MAX);
    is_extended = !prng_one_in(3);
    put_date(out, is_extended);
    is_extended = prng_one_in(20) ? !is_extended : is_extended;
    if (!prng_one_in(6)) {
        put_time(out, is_extended);
        is_extended = prng_one_in(4) ? !is_extended : is_extended;
        if (!prng_one_in(4)) {
            put_zone(out, is_extended);
        }
    }
    for (size_t i = prng_one_in(3) ? 1 + prng_below(2) : 0; i > 0; i--) {
        mutate_text(out, words, sizeof words / sizeof *words);
    }
    assert_false(out->failed);
}

enum time_reason {
    TIME_SAME,
    TIME_BOTH_REFUSE,
    TIME_WE_ALONE,
    TIME_POSTGRES_ALONE,
    TIME_ROUNDED,
    TIME_SHORT_YEAR,
    TIME_MINUTE_FRACTION,
    TIME_UNEXPLAINED,
    TIME_REASONS
};

static const char *const time_reasons[TIME_REASONS] = {
    [TIME_SAME] = "both accept, the same instant",
    [TIME_BOTH_REFUSE] = "both refuse",
    [TIME_WE_ALONE] = "we alone accept",
    [TIME_POSTGRES_ALONE] = "Postgres alone accepts",
    [TIME_ROUNDED] = "both accept: digits beyond microseconds, which we cut and Postgres rounds",
    [TIME_SHORT_YEAR] = "both accept: YYYYDDD, where Postgres sees a year of three digits, month and day",
    [TIME_MINUTE_FRACTION] = "both accept: a fraction of a minute, which Postgres takes for one of a second",
    [TIME_UNEXPLAINED] = "unexplained",
};

static size_t time_counts[TIME_REASONS];

static size_t count_digits(struct slice text, size_t at)
{
    size_t count = 0;

    while (at + count < text.len && text.data[at + count] >= '0' && text.data[at + count] <= '9') {
        count++;
    }
    return count;
}

static size_t find_fraction(struct slice text)
{
    size_t at = 0;

    while (at < text.len && text.data[at] != '.' && text.data[at] != ',') {
        at++;
    }
    return at;
}

static bool is_rounded(struct slice text, int64_t ours, int64_t theirs)
{
    return theirs == ours || (theirs == ours + 1 && count_digits(text, find_fraction(text) + 1) > 6);
}

/* Whether our reading of another text is Postgres's of this one. Where the offset may lead it out of the
 * years that we read, it is read 400 years later or earlier: as many days, whichever years they are. */
static bool is_read_as(struct buffer *other, int64_t theirs)
{
    static const int64_t cycle_us = INT64_C(146097) * 86400 * 1000000;
    int64_t ours;

    assert_false(other->failed);
    if (other->len > 4 && memcmp(other->data, "0001", 4) == 0) {
        other->data[1] = '4';
        theirs += cycle_us;
    } else if (other->len > 4 && memcmp(other->data, "9999", 4) == 0) {
        other->data[1] = '5';
        theirs -= cycle_us;
    }
    return timestamp_parse(other->data, other->len, &ours) &&
           is_rounded((struct slice){.data = other->data, .len = other->len}, ours, theirs);
}

/* Says in full what Postgres makes of it: `0YYYMMDD`, and `00:mm:ss.f` or `hhmm00.f`. */
static enum time_reason compare_instants(struct slice text, int64_t ours, int64_t theirs)
{
    const bool is_short_year = count_digits(text, 0) == 7;
    const size_t fraction = find_fraction(text);
    bool is_basic;

    if (ours == theirs) {
        return TIME_SAME;
    }
    if (is_rounded(text, ours, theirs)) {
        return TIME_ROUNDED;
    }
    for (int as_it_is = 0; as_it_is < 2; as_it_is++) {
        struct buffer other;
        enum time_reason reason = TIME_UNEXPLAINED;

        buffer_init(&other, TEXT_MAX);
        put_text(&other, is_short_year ? "0" : "");
        if (as_it_is == 1) {
            buffer_append_slice(&other, text);
            reason = is_short_year && is_read_as(&other, theirs) ? TIME_SHORT_YEAR : reason;
        } else if (fraction >= 5 && fraction < text.len) {
            is_basic = text.data[fraction - 3] != ':';
            buffer_append(&other, text.data, is_basic ? fraction : fraction - 5);
            put_text(&other, is_basic ? "00" : "00:");
            buffer_append(&other, text.data + (is_basic ? fraction : fraction - 5),
                          text.len - fraction + (is_basic ? 0 : 5));
            reason = is_read_as(&other, theirs) ? TIME_MINUTE_FRACTION : reason;
        }
        buffer_free(&other);
        if (reason != TIME_UNEXPLAINED) {
            return reason;
        }
    }
    return TIME_UNEXPLAINED;
}

static void compare_timestamp(struct slice text, const char *response)
{
    int64_t ours = 0;
    bool we_accept = timestamp_parse(text.data, text.len, &ours);
    bool they_accept = response != NULL && *response != '!';
    enum time_reason reason = we_accept     ? TIME_WE_ALONE
                              : they_accept ? TIME_POSTGRES_ALONE
                                            : TIME_BOTH_REFUSE;

    if (we_accept && they_accept) {
        reason = compare_instants(text, ours, strtoll(response, NULL, 10));
    }
    time_counts[reason]++;
    if (reason == TIME_UNEXPLAINED) {
        char written[TIMESTAMP_TEXT_MAX];

        timestamp_format(ours, written);
        comparison_fail(text, written, response);
    }
}

static void timestamps_are_the_instants_that_postgres_reads_but_for_what_is_known(void **state)
{
    size_t count = (size_t)stress_amount(30000, 2000000);
    struct comparison comparison;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    comparison_begin(&comparison, "read_instant", compare_timestamp);
    for (size_t i = 0; i < timestamp_case_count; i++) {
        comparison_add(&comparison, (struct slice){.data = timestamp_cases[i].text,
                                                   .len = strlen(timestamp_cases[i].text)});
    }
    for (size_t n = 0; n < count; n++) {
        put_timestamp(&text, n);
        comparison_add(&comparison, (struct slice){.data = text.data, .len = text.len});
    }
    comparison_end(&comparison);
    buffer_free(&text);
    comparison_show("Timestamps: ours beside timestamptz", time_reasons, time_counts, TIME_REASONS);
    for (size_t i = 0; i < TIME_UNEXPLAINED; i++) {
        assert_true(time_counts[i] > 0); /* each reason is still one */
    }
}

/* ---- Week dates and ordinal dates, beside the calendar of to_date ---- */

enum { DAY_SAME, DAY_BOTH_REFUSE, DAY_DIFFERS, DAY_COUNTS };

static size_t day_counts[DAY_COUNTS];

static const char *const day_reasons[DAY_COUNTS] = {
    [DAY_SAME] = "a day in both, the same",
    [DAY_BOTH_REFUSE] = "no day in either",
    [DAY_DIFFERS] = "unexplained",
};

/* A day that Postgres has and that lies in the years 0001 to 9999: the last week of 9999 ends outside. */
static bool is_day_of_ours(const char *response)
{
    int64_t micros;

    if (response == NULL || *response == '!') {
        return false;
    }
    micros = strtoll(response, NULL, 10);
    return micros >= TIMESTAMP_MIN && micros <= TIMESTAMP_MAX;
}

/* `2024-53-7` of to_date is our `2024-W53-7`, `2024-366` is the same in both. */
static void compare_day(struct slice text, const char *response)
{
    bool is_week = text.len == sizeof "2024-53-7" - 1, is_same;
    bool they_accept = is_day_of_ours(response);
    char extended[16], basic[16];
    int64_t micros = 0, again = 0;

    snprintf(extended, sizeof extended, "%.5s%s%.*s", text.data, is_week ? "W" : "", (int)text.len - 5,
             text.data + 5);
    snprintf(basic, sizeof basic, is_week ? "%.4sW%.2s%.1s" : "%.4s%.3s", text.data, text.data + 5,
             text.data + 8);
    is_same = timestamp_parse(extended, strlen(extended), &micros) == they_accept &&
              timestamp_parse(basic, strlen(basic), &again) == they_accept && micros == again &&
              (!they_accept || micros == strtoll(response, NULL, 10));
    day_counts[!is_same ? DAY_DIFFERS : they_accept ? DAY_SAME : DAY_BOTH_REFUSE]++;
    if (!is_same) {
        comparison_fail(text, extended, response);
    }
}

/* All days of every so many years, beginning with one at random, and such as are none: `last` is the greatest
 * number behind the year, of which a week date has three digits too, week and day. */
static void compare_days(const char *heading, const char *judge, bool is_week, size_t last)
{
    size_t step = (size_t)stress_amount(97, 1);
    struct comparison comparison;
    char text[32];

    memset(day_counts, 0, sizeof day_counts);
    comparison_seed(0);
    comparison_begin(&comparison, judge, compare_day);
    for (size_t year = 1 + prng_below(step); year < 10000; year += step) {
        for (size_t day = 0; day <= last; day++) {
            if (is_week) {
                snprintf(text, sizeof text, "%04zu-%02zu-%zu", year, day / 10, day % 10);
            } else {
                snprintf(text, sizeof text, "%04zu-%03zu", year, day);
            }
            comparison_add(&comparison, (struct slice){.data = text, .len = strlen(text)});
        }
    }
    comparison_end(&comparison);
    comparison_show(heading, day_reasons, day_counts, DAY_COUNTS);
    assert_true(day_counts[DAY_SAME] > 0 && day_counts[DAY_BOTH_REFUSE] > 0);
}

static void week_dates_are_the_days_that_the_calendar_has(void **state)
{
    compare_days("Week dates: ours beside to_date('IYYY-IW-ID')", "read_week", true, 549);
}

static void ordinal_dates_are_the_days_that_the_calendar_has(void **state)
{
    compare_days("Ordinal dates: ours beside to_date('YYYY-DDD')", "read_ordinal", false, 370);
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(timestamps_are_the_instants_that_postgres_reads_but_for_what_is_known),
        cmocka_unit_test(week_dates_are_the_days_that_the_calendar_has),
        cmocka_unit_test(ordinal_dates_are_the_days_that_the_calendar_has),
    };

    return comparison_run(&stack, cases, sizeof cases / sizeof cases[0]);
}
