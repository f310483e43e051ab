/* Tests of reading ISO 8601 timestamps and of writing them for Postgres. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/timestamps.h"
#include "model/timestamp.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const int64_t MICROS_PER_SECOND = 1000000;
static const int64_t MICROS_PER_DAY = INT64_C(86400) * 1000000;

/* No timestamp of years 0001 to 9999 comes near it. */
static const int64_t UNTOUCHED = INT64_MIN + 4711;

/* Failures past this many are counted, not printed. */
enum { FAILURES_PRINTED = 50 };

static void print_text(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)text[i];

        print_error(byte >= 0x20 && byte < 0x7f ? "%c" : "\\x%02x", byte);
    }
}

/* Prints a failing case and counts it, so that one run names all of them. */
static void report(size_t *failures, const char *text, size_t len, const char *expected, const char *actual)
{
    if (++*failures <= FAILURES_PRINTED) {
        print_error("'");
        print_text(text, len);
        print_error("': expected %s, got %s\n", expected, actual);
    }
}

/* Parses a copy whose last byte is the last of its allocation, so that AddressSanitizer sees a read behind
 * it. */
static bool parse(const char *text, size_t len, int64_t *micros)
{
    char *copy = malloc(len);
    bool ok;

    if (len > 0) {
        assert_non_null(copy);
        memcpy(copy, text, len);
    }
    *micros = UNTOUCHED;
    ok = timestamp_parse(copy, len, micros);
    free(copy);
    return ok;
}

/* utc is NULL where the text must be refused. */
static void expect_instant(size_t *failures, const char *text, size_t len, const char *utc)
{
    char actual[TIMESTAMP_TEXT_MAX] = "a refusal";
    int64_t micros;

    if (parse(text, len, &micros)) {
        timestamp_format(micros, actual);
    } else if (utc == NULL) {
        return;
    }
    if (utc == NULL || strcmp(actual, utc) != 0) {
        report(failures, text, len, utc == NULL ? "a refusal" : utc, actual);
    }
}

/* Reads the text where it stands: this one is called millions of times. */
static void expect_micros(size_t *failures, const char *text, int64_t expected)
{
    int64_t micros = UNTOUCHED;
    bool ok = timestamp_parse(text, strlen(text), &micros);

    if (!ok || micros != expected) {
        char expected_text[32], actual_text[32] = "a refusal";

        snprintf(expected_text, sizeof expected_text, "%" PRId64, expected);
        if (ok) {
            snprintf(actual_text, sizeof actual_text, "%" PRId64, micros);
        }
        report(failures, text, strlen(text), expected_text, actual_text);
    }
}

static void expect_format(size_t *failures, int64_t micros, const char *expected)
{
    char actual[TIMESTAMP_TEXT_MAX];

    timestamp_format(micros, actual);
    if (strcmp(actual, expected) != 0) {
        char number[32];

        snprintf(number, sizeof number, "%" PRId64, micros);
        report(failures, number, strlen(number), expected, actual);
    }
}

/* ---- the table ---- */

static void every_text_of_the_table_stands_there_once(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < timestamp_case_count; i++) {
        for (size_t j = i + 1; j < timestamp_case_count; j++) {
            const char *text = timestamp_cases[i].text;

            if (strcmp(text, timestamp_cases[j].text) == 0) {
                report(&failures, text, strlen(text), "one row", "two");
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void every_text_of_the_table_is_read_as_its_instant_or_refused(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < timestamp_case_count; i++) {
        const struct timestamp_case *row = &timestamp_cases[i];

        expect_instant(&failures, row->text, strlen(row->text), row->utc);
    }
    assert_int_equal(failures, 0);
}

static void a_refused_text_leaves_micros_untouched(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < timestamp_case_count; i++) {
        const char *text = timestamp_cases[i].text;
        int64_t micros;

        if (timestamp_cases[i].utc == NULL && !parse(text, strlen(text), &micros) && micros != UNTOUCHED) {
            report(&failures, text, strlen(text), "micros untouched", "another value");
        }
    }
    assert_int_equal(failures, 0);
}

static void an_instant_of_the_table_is_read_back_from_what_format_writes(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < timestamp_case_count; i++) {
        const char *utc = timestamp_cases[i].utc;

        if (utc != NULL) {
            expect_instant(&failures, utc, strlen(utc), utc);
        }
    }
    assert_int_equal(failures, 0);
}

/* ---- length and bytes ---- */

static void only_len_bytes_are_read(void **state)
{
    size_t failures = 0;

    expect_instant(&failures, "2024-01-01T11:22:33Z", 10, "2024-01-01 00:00:00.000000+00");
    expect_instant(&failures, "2024-01-01T11:22:33Z", 16, "2024-01-01 11:22:00.000000+00");
    expect_instant(&failures, "2024-01-01garbage", 10, "2024-01-01 00:00:00.000000+00");
    expect_instant(&failures, "2024-01-01", 0, NULL);
    assert_int_equal(failures, 0);
}

static void a_nul_is_a_byte_like_any_other(void **state)
{
    static const char long_form[] = "2024-01-01T11:22:33.5+02:00";
    char text[sizeof long_form];
    size_t failures = 0;

    expect_instant(&failures, "", 1, NULL);
    expect_instant(&failures, "2024-01-01", 11, NULL);
    expect_instant(&failures, "2024-01-01T11:22:33Z", 21, NULL);
    expect_instant(&failures,
                   "\0"
                   "2024-01-01",
                   11, NULL);
    for (size_t i = 0; i < sizeof long_form - 1; i++) {
        memcpy(text, long_form, sizeof long_form);
        text[i] = '\0';
        expect_instant(&failures, text, sizeof long_form - 1, NULL);
    }
    assert_int_equal(failures, 0);
}

static void a_byte_behind_a_complete_timestamp_is_refused_whatever_it_is(void **state)
{
    static const char *const complete[] = {"2024-01-01T11:22:33Z", "2024-01-01T11:22:33+02:00",
                                           "20240101T112233.5+0200"};
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(complete); i++) {
        char text[64];
        size_t len = strlen(complete[i]);

        memcpy(text, complete[i], len);
        for (int byte = 0; byte < 256; byte++) {
            text[len] = (char)byte;
            expect_instant(&failures, text, len + 1, NULL);
        }
    }
    assert_int_equal(failures, 0);
}

static void between_date_and_time_stands_a_t_or_a_space_and_nothing_else(void **state)
{
    char text[] = "2024-01-01?11:22:33";
    size_t failures = 0;

    for (int byte = 0; byte < 256; byte++) {
        bool separates = byte == 'T' || byte == 't' || byte == ' ';

        text[10] = (char)byte;
        expect_instant(&failures, text, sizeof text - 1, separates ? "2024-01-01 11:22:33.000000+00" : NULL);
    }
    assert_int_equal(failures, 0);
}

/* ---- prefixes ---- */

/* A prefix is readable where it ends with a whole date, hour, minute, second, digit of a fraction, zone hour,
 * zone minute or Z; anywhere else it must be refused. `ends` marks those ends with a caret under the last
 * byte. Seven digits of a basic calendar date are a basic ordinal date, and readable as such. */
static const struct {
    const char *text;
    const char *ends;
} prefix_cases[] = {
    /* clang-format off */
    {"2024-01-01T11:22:33.123456789+02:30",
     "         ^  ^  ^  ^ ^^^^^^^^^  ^  ^"},
    {"2024-12-31 23:59:60,5-0800",
     "         ^  ^  ^  ^ ^  ^ ^"},
    {"2024-01-01t24:00:00.000z",
     "         ^  ^  ^  ^ ^^^^"},
    {"2024-01-01T11:22.55+14:00",
     "         ^  ^  ^ ^^  ^  ^"},
    {"2024-01-01T11,5-0330",
     "         ^  ^ ^  ^ ^"},
    {"2024-366T11:22:33.5Z",
     "       ^  ^  ^  ^ ^^"},
    {"2024-W53-1T11:22:33.5+02:00",
     "                           "},
    {"2020-W53-7T11:22:33.5+02:00",
     "         ^  ^  ^  ^ ^  ^  ^"},
    {"20240101T112233.123456789+0230",
     "      ^^  ^ ^ ^ ^^^^^^^^^  ^ ^"},
    {"20241231 235960,5-08:00",
     "      ^^  ^ ^ ^ ^  ^  ^"},
    {"20240001T112233Z",
     "                "},
    {"2024366T112233.5Z",
     "      ^  ^ ^ ^ ^^"},
    {"2020W537T112233.5+02:00",
     "       ^  ^ ^ ^ ^  ^  ^"},
    /* clang-format on */
};

static void a_prefix_is_read_exactly_where_a_part_is_complete(void **state)
{
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(prefix_cases); i++) {
        const char *text = prefix_cases[i].text;
        const char *ends = prefix_cases[i].ends;

        for (size_t len = 0; len <= strlen(text); len++) {
            bool readable = len > 0 && len <= strlen(ends) && ends[len - 1] == '^';
            int64_t micros;

            if (parse(text, len, &micros) != readable) {
                report(&failures, text, len, readable ? "an instant" : "a refusal",
                       readable ? "a refusal" : "an instant");
            } else if (!readable && micros != UNTOUCHED) {
                report(&failures, text, len, "micros untouched", "another value");
            }
        }
    }
    assert_int_equal(failures, 0);
}

/* ---- every day ---- */

/* One day in each of the three calendars, moved on by rules alone: no arithmetic shared with the parser. */
struct day {
    int year, month, day;      /* calendar date */
    int ordinal;               /* day of that year */
    int week_year, week, wday; /* week date */
};

static bool is_leap_year(int year)
{
    if (year % 400 == 0) {
        return true;
    }
    return year % 4 == 0 && year % 100 != 0;
}

static int days_in(int year, int month)
{
    switch (month) {
    case 2:
        return is_leap_year(year) ? 29 : 28;
    case 4:
    case 6:
    case 9:
    case 11:
        return 30;
    default:
        return 31;
    }
}

/* A week belongs to the year that its Thursday is in (ISO 8601). On a Monday, the calendar
 * date tells whether that Thursday, three days on, is the first of its year. */
static void next_day(struct day *day)
{
    day->day++;
    day->ordinal++;
    if (day->day > days_in(day->year, day->month)) {
        day->day = 1;
        day->month++;
    }
    if (day->month > 12) {
        day->month = 1;
        day->ordinal = 1;
        day->year++;
    }
    if (++day->wday > 7) {
        bool thursday_in_next_year = day->month == 12 && day->day + 3 > 31;
        bool first_thursday = thursday_in_next_year || (day->month == 1 && day->day + 3 <= 7);

        day->wday = 1;
        day->week++;
        if (first_thursday) {
            day->week = 1;
            day->week_year = thursday_in_next_year ? day->year + 1 : day->year;
        }
    }
}

/* 0001-01-01 was a Monday of the proleptic Gregorian calendar. */
static const struct day FIRST_DAY = {1, 1, 1, 1, 1, 1, 1};

/* From 0001-01-01 to 1970-01-01. */
enum { DAYS_BEFORE_EPOCH = 719162, DAYS_IN_ALL = 3652059 };

static void the_days_from_0001_to_9999_count_up_to_what_is_known(void **state)
{
    struct day day = FIRST_DAY;
    int days = 1;

    for (int i = 0; i < DAYS_BEFORE_EPOCH; i++) {
        next_day(&day);
        days++;
    }
    /* The Unix epoch was the Thursday of week 1. */
    assert_int_equal(day.year, 1970);
    assert_int_equal(day.ordinal, 1);
    assert_int_equal(day.week_year, 1970);
    assert_int_equal(day.week, 1);
    assert_int_equal(day.wday, 4);
    while (day.year != 9999 || day.ordinal != 365) {
        next_day(&day);
        days++;
    }
    assert_int_equal(days, DAYS_IN_ALL);
    assert_int_equal(day.wday, 5);
}

/* Calls expect once for each day of 0001 to 9999, with the micros of its midnight. */
static size_t for_every_day(void (*expect)(size_t *failures, const struct day *day, int64_t micros))
{
    struct day day = FIRST_DAY;
    int64_t micros = -DAYS_BEFORE_EPOCH * MICROS_PER_DAY;
    size_t failures = 0;

    for (int i = 0; i < DAYS_IN_ALL; i++) {
        expect(&failures, &day, micros);
        next_day(&day);
        micros += MICROS_PER_DAY;
    }
    return failures;
}

static void expect_calendar_date(size_t *failures, const struct day *day, int64_t micros)
{
    char text[48];

    snprintf(text, sizeof text, "%04d-%02d-%02d", day->year, day->month, day->day);
    expect_micros(failures, text, micros);
    snprintf(text, sizeof text, "%04d%02d%02d", day->year, day->month, day->day);
    expect_micros(failures, text, micros);
}

static void expect_ordinal_date(size_t *failures, const struct day *day, int64_t micros)
{
    char text[48];

    snprintf(text, sizeof text, "%04d-%03d", day->year, day->ordinal);
    expect_micros(failures, text, micros);
    snprintf(text, sizeof text, "%04d%03d", day->year, day->ordinal);
    expect_micros(failures, text, micros);
}

static void expect_week_date(size_t *failures, const struct day *day, int64_t micros)
{
    char text[48];

    snprintf(text, sizeof text, "%04d-W%02d-%d", day->week_year, day->week, day->wday);
    expect_micros(failures, text, micros);
    snprintf(text, sizeof text, "%04dW%02d%d", day->week_year, day->week, day->wday);
    expect_micros(failures, text, micros);
}

static void expect_format_of_midnight(size_t *failures, const struct day *day, int64_t micros)
{
    char text[80];

    snprintf(text, sizeof text, "%04d-%02d-%02d 00:00:00.000000+00", day->year, day->month, day->day);
    expect_format(failures, micros, text);
    expect_micros(failures, text, micros);
}

/* The day behind a month's, a year's and a long year's last is refused. */
static void expect_no_day_beyond(size_t *failures, const struct day *day, int64_t micros)
{
    struct day next = *day;
    char text[48];

    (void)micros;
    next_day(&next);
    if (next.day == 1) {
        snprintf(text, sizeof text, "%04d-%02d-%02d", day->year, day->month, day->day + 1);
        expect_instant(failures, text, strlen(text), NULL);
    }
    if (next.ordinal == 1) {
        snprintf(text, sizeof text, "%04d-%03d", day->year, day->ordinal + 1);
        expect_instant(failures, text, strlen(text), NULL);
    }
    if (next.week_year != day->week_year) {
        snprintf(text, sizeof text, "%04d-W%02d-1", day->week_year, day->week + 1);
        expect_instant(failures, text, strlen(text), NULL);
    }
}

static void the_calendar_date_of_every_day_is_its_midnight(void **state)
{
    assert_int_equal(for_every_day(expect_calendar_date), 0);
}

static void the_ordinal_date_of_every_day_is_its_midnight(void **state)
{
    assert_int_equal(for_every_day(expect_ordinal_date), 0);
}

static void the_week_date_of_every_day_is_its_midnight(void **state)
{
    assert_int_equal(for_every_day(expect_week_date), 0);
}

static void format_writes_every_day_and_parse_reads_it_back(void **state)
{
    assert_int_equal(for_every_day(expect_format_of_midnight), 0);
}

static void no_month_or_year_has_a_day_beyond_its_last(void **state)
{
    assert_int_equal(for_every_day(expect_no_day_beyond), 0);
}

/* ---- every time of day, fraction and zone ---- */

static void every_second_of_a_day_is_read_and_written_back(void **state)
{
    size_t failures = 0;
    int64_t micros = 0;

    for (int hour = 0; hour < 24; hour++) {
        for (int minute = 0; minute < 60; minute++) {
            for (int second = 0; second < 60; second++) {
                char text[80];

                snprintf(text, sizeof text, "1970-01-01T%02d:%02d:%02d", hour, minute, second);
                expect_micros(&failures, text, micros);
                snprintf(text, sizeof text, "19700101T%02d%02d%02d", hour, minute, second);
                expect_micros(&failures, text, micros);
                snprintf(text, sizeof text, "1970-01-01 %02d:%02d:%02d.000000+00", hour, minute, second);
                expect_format(&failures, micros, text);
                micros += MICROS_PER_SECOND;
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void any_two_digits_beyond_a_day_an_hour_or_a_minute_are_refused(void **state)
{
    size_t failures = 0;

    for (int value = 0; value < 100; value++) {
        char text[64];

        if (value > 24) {
            snprintf(text, sizeof text, "2024-01-01T%02d:00:00", value);
            expect_instant(&failures, text, strlen(text), NULL);
        }
        if (value > 59) {
            snprintf(text, sizeof text, "2024-01-01T11:%02d:00", value);
            expect_instant(&failures, text, strlen(text), NULL);
        }
        if (value > 60) {
            snprintf(text, sizeof text, "2024-01-01T11:00:%02d", value);
            expect_instant(&failures, text, strlen(text), NULL);
        }
        if (value > 23) {
            snprintf(text, sizeof text, "2024-01-01T11:00:00+%02d:00", value);
            expect_instant(&failures, text, strlen(text), NULL);
        }
        if (value > 59) {
            snprintf(text, sizeof text, "2024-01-01T11:00:00-02%02d", value);
            expect_instant(&failures, text, strlen(text), NULL);
        }
    }
    assert_int_equal(failures, 0);
}

static void every_zone_of_every_spelling_shifts_by_what_it_says(void **state)
{
    static const char *const epochs[] = {"1970-01-01T00:00:00", "19700101T000000"};
    size_t failures = 0;

    for (int minutes = 0; minutes < 24 * 60; minutes++) {
        int64_t shift = minutes * 60 * MICROS_PER_SECOND;
        int hour = minutes / 60;
        int minute = minutes % 60;
        char text[80];

        for (size_t i = 0; i < COUNT(epochs); i++) {
            snprintf(text, sizeof text, "%s+%02d:%02d", epochs[i], hour, minute);
            expect_micros(&failures, text, -shift);
            snprintf(text, sizeof text, "%s-%02d:%02d", epochs[i], hour, minute);
            expect_micros(&failures, text, shift);
            snprintf(text, sizeof text, "%s+%02d%02d", epochs[i], hour, minute);
            expect_micros(&failures, text, -shift);
            snprintf(text, sizeof text, "%s-%02d%02d", epochs[i], hour, minute);
            expect_micros(&failures, text, shift);
            if (minute == 0) {
                snprintf(text, sizeof text, "%s+%02d", epochs[i], hour);
                expect_micros(&failures, text, -shift);
                snprintf(text, sizeof text, "%s-%02d", epochs[i], hour);
                expect_micros(&failures, text, shift);
            }
        }
    }
    assert_int_equal(failures, 0);
}

static void every_microsecond_is_kept_and_the_digits_behind_it_are_cut_off(void **state)
{
    size_t failures = 0;

    /* A stride that is coprime to ten reaches every last digit. */
    for (int micros = 0; micros < 1000000; micros += 7) {
        char text[80];

        snprintf(text, sizeof text, "1969-12-31T23:59:58.%06dZ", micros);
        expect_micros(&failures, text, micros - 2 * MICROS_PER_SECOND);
        snprintf(text, sizeof text, "19700101T000001,%06d999Z", micros);
        expect_micros(&failures, text, micros + MICROS_PER_SECOND);
        snprintf(text, sizeof text, "1969-12-31 23:59:58.%06d+00", micros);
        expect_format(&failures, micros - 2 * MICROS_PER_SECOND, text);
    }
    assert_int_equal(failures, 0);
}

static void a_fraction_of_a_thousand_digits_is_read(void **state)
{
    static const char *const starts[] = {"2024-01-01T11:22:33.", "2024-01-01T11:22.", "2024-01-01T11,"};
    static const char *const instants[] = {"2024-01-01 11:22:33.999999+00", "2024-01-01 11:22:59.999999+00",
                                           "2024-01-01 11:59:59.999999+00"};
    char text[1100];
    size_t failures = 0;

    for (size_t i = 0; i < COUNT(starts); i++) {
        size_t len = strlen(starts[i]);

        memcpy(text, starts[i], len);
        memset(text + len, '9', 1000);
        expect_instant(&failures, text, len + 1000, instants[i]);
    }
    assert_int_equal(failures, 0);
}

/* ---- writing ---- */

static void format_writes_instants_around_the_epoch_and_the_ends_of_the_years(void **state)
{
    const int64_t first = -DAYS_BEFORE_EPOCH * MICROS_PER_DAY;
    const int64_t beyond = (DAYS_IN_ALL - DAYS_BEFORE_EPOCH) * MICROS_PER_DAY;
    size_t failures = 0;

    expect_format(&failures, 0, "1970-01-01 00:00:00.000000+00");
    expect_format(&failures, 1, "1970-01-01 00:00:00.000001+00");
    expect_format(&failures, -1, "1969-12-31 23:59:59.999999+00");
    expect_format(&failures, -MICROS_PER_DAY, "1969-12-31 00:00:00.000000+00");
    expect_format(&failures, first, "0001-01-01 00:00:00.000000+00");
    expect_format(&failures, beyond - 1, "9999-12-31 23:59:59.999999+00");
    assert_int_equal(failures, 0);
}

static void what_lies_beyond_the_years_is_told_from_what_cannot_be_read(void **state)
{
    static const struct {
        const char *text;
        bool is_beyond;
    } cases[] = {
        {"9999-12-31T24:00", true},
        {"9999-12-31T23:59:60Z", true},
        {"9999-12-31T23:00-01:00", true},
        {"9999-W52-6", true},
        {"0001-01-01T00:00+01:00", true},
        {"9999-12-31", false},
        {"9999-12-31T23:59:59.999999Z", false},
        {"0001-01-01", false},
        {"0001-01-01T01:00+01:00", false},
        {"9999-12-32", false},
        {"10000-01-01", false},
        {"0000-12-31", false},
        {"", false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        if (timestamp_is_out_of_range(cases[i].text, strlen(cases[i].text)) != cases[i].is_beyond) {
            fail_msg("%s is %s", cases[i].text, cases[i].is_beyond ? "not beyond" : "beyond");
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_text_of_the_table_stands_there_once),
        cmocka_unit_test(every_text_of_the_table_is_read_as_its_instant_or_refused),
        cmocka_unit_test(a_refused_text_leaves_micros_untouched),
        cmocka_unit_test(an_instant_of_the_table_is_read_back_from_what_format_writes),
        cmocka_unit_test(only_len_bytes_are_read),
        cmocka_unit_test(a_nul_is_a_byte_like_any_other),
        cmocka_unit_test(a_byte_behind_a_complete_timestamp_is_refused_whatever_it_is),
        cmocka_unit_test(between_date_and_time_stands_a_t_or_a_space_and_nothing_else),
        cmocka_unit_test(a_prefix_is_read_exactly_where_a_part_is_complete),
        cmocka_unit_test(the_days_from_0001_to_9999_count_up_to_what_is_known),
        cmocka_unit_test(the_calendar_date_of_every_day_is_its_midnight),
        cmocka_unit_test(the_ordinal_date_of_every_day_is_its_midnight),
        cmocka_unit_test(the_week_date_of_every_day_is_its_midnight),
        cmocka_unit_test(format_writes_every_day_and_parse_reads_it_back),
        cmocka_unit_test(no_month_or_year_has_a_day_beyond_its_last),
        cmocka_unit_test(every_second_of_a_day_is_read_and_written_back),
        cmocka_unit_test(any_two_digits_beyond_a_day_an_hour_or_a_minute_are_refused),
        cmocka_unit_test(every_zone_of_every_spelling_shifts_by_what_it_says),
        cmocka_unit_test(every_microsecond_is_kept_and_the_digits_behind_it_are_cut_off),
        cmocka_unit_test(a_fraction_of_a_thousand_digits_is_read),
        cmocka_unit_test(format_writes_instants_around_the_epoch_and_the_ends_of_the_years),
        cmocka_unit_test(what_lies_beyond_the_years_is_told_from_what_cannot_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
