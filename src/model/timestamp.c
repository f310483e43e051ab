/* Reading ISO 8601 timestamps into microseconds, and writing them for Postgres. */
#include "model/timestamp.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const int64_t MICROS_PER_SECOND = 1000000;
static const int64_t SECONDS_PER_DAY = 86400;

/* What is left to read. */
struct cursor {
    const char *at;
    const char *end;
};

/* Whether the parts are separated. A time of hours alone is both. */
enum format { FORMAT_BASIC, FORMAT_EXTENDED };

static int peek(const struct cursor *cursor)
{
    return cursor->at < cursor->end ? (unsigned char)*cursor->at : -1;
}

static bool accept(struct cursor *cursor, char byte)
{
    if (peek(cursor) != byte) {
        return false;
    }
    cursor->at++;
    return true;
}

/* How many digits come next. */
static size_t count_digits(const struct cursor *cursor)
{
    const char *at = cursor->at;

    while (at < cursor->end && *at >= '0' && *at <= '9') {
        at++;
    }
    return (size_t)(at - cursor->at);
}

/* Reads exactly that many digits (at most 9). */
static bool read_digits(struct cursor *cursor, size_t count, int *value)
{
    if (count_digits(cursor) < count) {
        return false;
    }
    *value = 0;
    for (size_t i = 0; i < count; i++) {
        *value = *value * 10 + (*cursor->at++ - '0');
    }
    return true;
}

static bool is_leap_year(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap_year(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to the first of January of that year, in the proleptic Gregorian calendar. */
static int64_t days_to_year(int year)
{
    int64_t before = (int64_t)year - 1;

    return before * 365 + before / 4 - before / 100 + before / 400 - 719162;
}

/* ISO weekday, 1 for Monday; 1970-01-01 was a Thursday. */
static int weekday(int64_t days)
{
    return (int)(((days + 3) % 7 + 7) % 7) + 1;
}

/* A year has week 53 where its first of January is a Thursday, or a Wednesday in a leap year. */
static int weeks_in_year(int year)
{
    int first = weekday(days_to_year(year));

    return first == 4 || (first == 3 && is_leap_year(year)) ? 53 : 52;
}

/* Reads -Www-D or WwwD behind the year. */
static bool read_week_date(struct cursor *cursor, int year, enum format format, int64_t *days)
{
    int week, day;
    int64_t monday_of_week_1, january_4 = days_to_year(year) + 3;

    if (!accept(cursor, 'W') || !read_digits(cursor, 2, &week)) {
        return false;
    }
    if (format == FORMAT_EXTENDED && !accept(cursor, '-')) {
        return false;
    }
    if (!read_digits(cursor, 1, &day) || week < 1 || week > weeks_in_year(year) || day < 1 || day > 7) {
        return false;
    }
    monday_of_week_1 = january_4 - (weekday(january_4) - 1);
    *days = monday_of_week_1 + (int64_t)(week - 1) * 7 + (day - 1);
    return true;
}

static bool read_ordinal_date(struct cursor *cursor, int year, int64_t *days)
{
    int day;

    if (!read_digits(cursor, 3, &day) || day < 1 || day > (is_leap_year(year) ? 366 : 365)) {
        return false;
    }
    *days = days_to_year(year) + day - 1;
    return true;
}

static bool read_calendar_date(struct cursor *cursor, int year, enum format format, int64_t *days)
{
    int month, day;

    if (!read_digits(cursor, 2, &month)) {
        return false;
    }
    if (format == FORMAT_EXTENDED && !accept(cursor, '-')) {
        return false;
    }
    if (!read_digits(cursor, 2, &day) || month < 1 || month > 12 || day < 1 ||
        day > days_in_month(year, month)) {
        return false;
    }
    *days = days_to_year(year) + day - 1;
    for (int m = 1; m < month; m++) {
        *days += days_in_month(year, m);
    }
    return true;
}

/* Reads a date into days since 1970-01-01. What follows the year tells which of the six forms it is. */
static bool read_date(struct cursor *cursor, enum format *format, int64_t *days)
{
    int year;

    if (!read_digits(cursor, 4, &year) || year == 0) {
        return false;
    }
    *format = accept(cursor, '-') ? FORMAT_EXTENDED : FORMAT_BASIC;
    if (peek(cursor) == 'W') {
        return read_week_date(cursor, year, *format, days);
    }
    if (count_digits(cursor) == 3) {
        return read_ordinal_date(cursor, year, days);
    }
    return read_calendar_date(cursor, year, *format, days);
}

/* Reads a decimal fraction, where one stands here, of a unit of that many seconds. Exact for any number of
 * digits: taken from the last to the first, each step floors what the true value's floor would be too. */
static bool read_fraction(struct cursor *cursor, int64_t unit_seconds, int64_t *micros, bool *is_zero)
{
    size_t count;
    int64_t rest = 0;

    *micros = 0;
    *is_zero = true;
    if (!accept(cursor, '.') && !accept(cursor, ',')) {
        return true;
    }
    count = count_digits(cursor);
    if (count == 0) {
        return false;
    }
    for (size_t i = count; i-- > 0;) {
        int digit = cursor->at[i] - '0';

        *is_zero = *is_zero && digit == 0;
        rest = (digit * unit_seconds * MICROS_PER_SECOND + rest) / 10;
    }
    cursor->at += count;
    *micros = rest;
    return true;
}

/* Reads a time of day into microseconds since midnight: hours, then minutes, then seconds, the last that
 * stands there with or without a fraction. */
static bool read_time(struct cursor *cursor, enum format format, int64_t *micros)
{
    int hour, minute = 0, second = 0;
    int64_t unit = 3600, fraction;
    bool fraction_is_zero;

    if (!read_digits(cursor, 2, &hour)) {
        return false;
    }
    if (format == FORMAT_EXTENDED ? accept(cursor, ':') : count_digits(cursor) > 0) {
        unit = 60;
        if (!read_digits(cursor, 2, &minute)) {
            return false;
        }
        if (format == FORMAT_EXTENDED ? accept(cursor, ':') : count_digits(cursor) > 0) {
            unit = 1;
            if (!read_digits(cursor, 2, &second)) {
                return false;
            }
        }
    }
    if (!read_fraction(cursor, unit, &fraction, &fraction_is_zero)) {
        return false;
    }
    if (minute > 59 || second > 60) { /* 60 is a leap second: the next minute */
        return false;
    }
    if (hour > 24 || (hour == 24 && (minute > 0 || second > 0 || !fraction_is_zero))) {
        return false; /* 24:00:00 is the next midnight, and nothing lies behind it */
    }
    *micros = ((int64_t)hour * 3600 + (int64_t)minute * 60 + second) * MICROS_PER_SECOND + fraction;
    return true;
}

/* Reads the shift from UTC, where one stands here, into seconds. */
static bool read_zone(struct cursor *cursor, int *shift_seconds)
{
    int sign, hours, minutes = 0;

    *shift_seconds = 0;
    if (cursor->at == cursor->end || accept(cursor, 'Z') || accept(cursor, 'z')) {
        return true;
    }
    if (accept(cursor, '+')) {
        sign = 1;
    } else if (accept(cursor, '-')) {
        sign = -1;
    } else {
        return false;
    }
    if (!read_digits(cursor, 2, &hours)) {
        return false;
    }
    if ((accept(cursor, ':') || count_digits(cursor) > 0) && !read_digits(cursor, 2, &minutes)) {
        return false;
    }
    if (hours > 23 || minutes > 59) {
        return false;
    }
    *shift_seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

/* As timestamp_parse, in any year. */
static bool read_timestamp(const char *text, size_t len, int64_t *micros)
{
    struct cursor cursor = {.at = text, .end = text + len};
    enum format format;
    int64_t days, time = 0;
    int shift_seconds = 0;

    if (!read_date(&cursor, &format, &days)) {
        return false;
    }
    if (cursor.at < cursor.end) {
        if (!accept(&cursor, 'T') && !accept(&cursor, 't') && !accept(&cursor, ' ')) {
            return false;
        }
        if (!read_time(&cursor, format, &time) || !read_zone(&cursor, &shift_seconds) ||
            cursor.at < cursor.end) {
            return false;
        }
    }
    *micros = (days * SECONDS_PER_DAY - shift_seconds) * MICROS_PER_SECOND + time;
    return true;
}

static bool is_within_years(int64_t micros)
{
    return micros >= TIMESTAMP_MIN && micros <= TIMESTAMP_MAX;
}

bool timestamp_parse(const char *text, size_t len, int64_t *micros)
{
    int64_t value;

    if (!read_timestamp(text, len, &value) || !is_within_years(value)) {
        return false;
    }
    *micros = value;
    return true;
}

bool timestamp_is_out_of_range(const char *text, size_t len)
{
    int64_t micros;

    return read_timestamp(text, len, &micros) && !is_within_years(micros);
}

/* Whether a text begins so: 'd' is a digit, 'a' a letter, any other byte itself. */
static bool begins_like(const char *text, size_t len, const char *shape)
{
    size_t i;

    for (i = 0; i < len && shape[i] != '\0'; i++) {
        char byte = text[i], lower = (char)(byte | 0x20);
        bool fits = shape[i] == 'd'   ? byte >= '0' && byte <= '9'
                    : shape[i] == 'a' ? lower >= 'a' && lower <= 'z'
                                      : byte == shape[i];

        if (!fits) {
            return false;
        }
    }
    return shape[i] == '\0';
}

bool timestamp_has_invalid_date(const char *text, size_t len)
{
    /* The six forms of a date, and a date in each that there is. */
    static const struct {
        const char *shape;
        const char *date;
    } forms[] = {{"dddd-dd-dd", "2024-01-01"}, {"dddddddd", "20240101"},     {"dddd-ddd", "2024-001"},
                 {"ddddddd", "2024001"},       {"dddd-Wdd-d", "2024-W01-1"}, {"ddddWddd", "2024W011"}};
    char other[128];
    int64_t micros;

    for (size_t i = 0; len <= sizeof other && i < sizeof forms / sizeof forms[0]; i++) {
        if (begins_like(text, len, forms[i].shape)) {
            size_t date_len = strlen(forms[i].date);

            memcpy(other, forms[i].date, date_len);
            memcpy(other + date_len, text + date_len, len - date_len);
            if (timestamp_parse(other, len, &micros)) {
                return true;
            }
        }
    }
    return false;
}

/* Seconds, milliseconds and so on since 1970, perhaps with a fraction. Fourteen digits are a date and a time
 * without the T. */
static bool is_epoch_number(const char *text, size_t len)
{
    size_t digits = 0;

    while (digits < len && text[digits] >= '0' && text[digits] <= '9') {
        digits++;
    }
    return digits >= 9 && digits != 14 && (digits == len || text[digits] == '.');
}

/* Whether a word of letters ends a text that begins like a date. */
static bool ends_in_zone_name(const char *text, size_t len)
{
    size_t start = len;

    while (start > 0 && begins_like(text + start - 1, 1, "a")) {
        start--;
    }
    return begins_like(text, len, "dddd-dd-dd") && len - start > 1 && text[start - 1] == ' ';
}

/* Whether AM or PM, in any spelling, stands behind a digit at the end, with or without a blank between; the
 * narrow one, U+202F, is what JavaScript writes. */
static bool ends_in_half_of_day(const char *text, size_t len)
{
    static const char *const halves[] = {"am", "pm", "a.m.", "p.m."}, *const blanks[] = {" ", "\u202F", ""};

    for (size_t i = 0; i < sizeof halves / sizeof halves[0]; i++) {
        size_t half = strlen(halves[i]);

        for (size_t j = 0; j < sizeof blanks / sizeof blanks[0]; j++) {
            size_t blank = strlen(blanks[j]), tail = half + blank;

            if (len > tail && begins_like(text + len - tail - 1, 1, "d") &&
                memcmp(text + len - tail, blanks[j], blank) == 0 &&
                strncasecmp(text + len - half, halves[i], half) == 0) {
                return true;
            }
        }
    }
    return false;
}

const char *timestamp_describe(const char *text, size_t len)
{
    static const struct {
        const char *shape;
        const char *name;
    } frequent[] = {
        {"aaa, d", "an RFC 2822 date"},
        {"d aaa dddd", "an RFC 2822 date"},
        {"dd aaa dddd", "an RFC 2822 date"},
        {"d/d/dd", "a US date"},
        {"d/dd/dd", "a US date"},
        {"dd/d/dd", "a US date"},
        {"dd/dd/dd", "a US date"},
        {" ", "a text that begins with a blank"},
    };

    if (len == 0) {
        return "an empty string";
    }
    if (is_epoch_number(text, len)) {
        return "an epoch number";
    }
    for (size_t i = 0; i < sizeof frequent / sizeof frequent[0]; i++) {
        if (begins_like(text, len, frequent[i].shape)) {
            return frequent[i].name;
        }
    }
    if (ends_in_half_of_day(text, len)) {
        return "a time of a 12-hour clock (11 PM is 23:00)";
    }
    return ends_in_zone_name(text, len) ? "a time with the name of a zone (UTC is Z)" : NULL;
}

/* A day of the proleptic Gregorian calendar. */
struct civil_date {
    int year;
    int month;
    int day;
};

/* The date that lies that many days after 1970-01-01, not before 1 March 0000: from then on it counts, so
 * that the leap day is a year's last, in cycles of 400 years, which are 146,097 days. */
static struct civil_date civil_from_days(int64_t days)
{
    int64_t shifted = days + 719468;
    int64_t day_of_cycle = shifted % 146097;
    int64_t year_of_cycle =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146096) / 365;
    int64_t day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153; /* 0 is March */
    int64_t year = year_of_cycle + shifted / 146097 * 400;
    int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;

    return (struct civil_date){.year = (int)(month <= 2 ? year + 1 : year),
                               .month = (int)month,
                               .day = (int)(day_of_year - (153 * shifted_month + 2) / 5 + 1)};
}

/* Splits value into whole units, rounded down, and what is left over, never negative. */
static int64_t split(int64_t value, int64_t unit, int64_t *left)
{
    *left = (value % unit + unit) % unit;
    return (value - *left) / unit;
}

void timestamp_format(int64_t micros, char text[TIMESTAMP_TEXT_MAX])
{
    int64_t fraction, of_day;
    int64_t seconds = split(micros, MICROS_PER_SECOND, &fraction);
    struct civil_date date = civil_from_days(split(seconds, SECONDS_PER_DAY, &of_day));

    snprintf(text, TIMESTAMP_TEXT_MAX, "%04d-%02d-%02d %02d:%02d:%02d.%06d+00", date.year, date.month,
             date.day, (int)(of_day / 3600), (int)(of_day / 60 % 60), (int)(of_day % 60), (int)fraction);
}
