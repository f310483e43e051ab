/* Times that are local, or not written in ISO 8601. */
#include "incidentctl/import/times.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "incidentctl/support/print_error.h"
#include "model/json.h"
#include "model/timestamp.h"

enum { TEXT_MAX = 256, KEEP_BYTES = 256 * 1024 };

static const int64_t MICROS = 1000000;

/* Files of zones begin so (RFC 8536, section 3.1); directories and lists of zones lie beside them. */
static bool is_zone_file(const char *path)
{
    char mark[4] = "";
    FILE *file = fopen(path, "re");
    bool is_zone = file != NULL && fread(mark, 1, sizeof mark, file) == sizeof mark &&
                   memcmp(mark, "TZif", sizeof mark) == 0;

    if (file != NULL) {
        fclose(file);
    }
    return is_zone;
}

/* UTC+2, GMT-03:00, +02:00: POSIX reads the sign of most of them the other way round. */
static bool is_offset(const char *name)
{
    const char *sign = strpbrk(name, "+-");

    return sign != NULL && sign[1] >= '0' && sign[1] <= '9';
}

bool times_set_zone(const char *name)
{
    const char *directory = getenv("TZDIR");
    char path[512];
    bool is_name = *name != '\0' && *name != '/' && strstr(name, "..") == NULL &&
                   snprintf(path, sizeof path, "%s/%s", directory != NULL ? directory : "/usr/share/zoneinfo",
                            name) < (int)sizeof path;

    if (!is_name || !is_zone_file(path)) {
        return print_error(
            "--time-zone must be a name of the system's time zones, such as Europe/Berlin or UTC, "
            "and there is no %s%s",
            name,
            is_offset(name) ? "; an offset is read with either sign, so it is none: Etc/GMT-2 is two hours "
                              "east of Greenwich"
                            : "");
    }
    if (setenv("TZ", name, 1) != 0) {
        return print_error("out of memory for the time zone");
    }
    tzset();
    return true;
}

/* Whether a format of strptime has %letter; %% is none. */
static bool has_conversion(const char *format, char letter)
{
    for (const char *at = format; (at = strchr(at, '%')) != NULL && at[1] != '\0'; at += 2) {
        if (at[1] == letter) {
            return true;
        }
    }
    return false;
}

/* Whether the format finds a date again that it has written: strptime passes over what it knows by name alone
 * (%G, %V), leaves a year or a day out that the format does not have, and takes 4 o'clock of %I for the
 * morning. */
static bool keeps_times(const char *format)
{
    static const struct tm written = {
        .tm_year = 101, .tm_mon = 1, .tm_mday = 3, .tm_hour = 16, .tm_min = 5, .tm_wday = 6, .tm_yday = 33};
    struct tm fields = {.tm_mday = 1};
    char text[TEXT_MAX];
    const char *end;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* it is the caller's, and takes nothing but `written`  \
                                                      */
    if (strftime(text, sizeof text, format, &written) == 0) {
        return false;
    }
#pragma GCC diagnostic pop
    end = strptime(text, format, &fields);
    return end != NULL && *end == '\0' && fields.tm_year == written.tm_year &&
           fields.tm_mon == written.tm_mon && fields.tm_mday == written.tm_mday &&
           (fields.tm_hour == written.tm_hour || fields.tm_hour == 0);
}

static bool is_unix(const char *format)
{
    return strcmp(format, "unix") == 0 || strcmp(format, "unix-ms") == 0 || strcmp(format, "%s") == 0;
}

bool times_check_format(const char *format)
{
    if (has_conversion(format, 'Z')) {
        return print_error("--date-format can't read names of zones, %%Z: write them as they stand, such as "
                           "UTC, and name the zone by --time-zone; %%z reads +0200");
    }
    return is_unix(format) || keeps_times(format) ||
           print_error(
               "--date-format must be a format of strptime(3) that has a year, a month and a day, and "
               "%%p where it has %%I, such as \"%%d/%%m/%%Y %%H:%%M\", or unix, or unix-ms");
}

bool times_are_odd(const struct times *times)
{
    return times->time_zone != NULL || times->date_format != NULL || times->more_formats != NULL;
}

/* What the zone is ahead of UTC at a moment, in seconds. */
static int64_t offset_at(int64_t moment)
{
    const time_t seconds = (time_t)moment;
    struct tm local;

    return localtime_r(&seconds, &local) != NULL ? local.tm_gmtoff : 0;
}

/* The moment of a local time. One that is there twice, as clocks go back, is the first of the two; one that
 * clocks pass over is as much later as they do. mktime's tm_isdst does not tell the two apart: zones change
 * for other reasons too, and Ireland's winter is its exception. */
static int64_t from_local(const struct tm *local)
{
    enum { DAY = 86400 };
    struct tm copy = *local;
    int64_t as_utc = (int64_t)timegm(&copy);
    int64_t before = offset_at(as_utc - DAY), behind = offset_at(as_utc + DAY);

    if (before > behind) { /* back: by the old offset while that holds */
        return as_utc - (offset_at(as_utc - before) == before ? before : behind);
    }
    return as_utc - (offset_at(as_utc - behind) == behind ? behind : before);
}

/* Whether there is such a date: strptime takes the 31st of any month. */
static bool is_date(const struct tm *fields)
{
    struct tm copy = *fields;

    copy.tm_isdst = 0;
    return timegm(&copy) != (time_t)-1 && copy.tm_mday == fields->tm_mday && copy.tm_mon == fields->tm_mon;
}

static bool read_unix(const char *text, const char *format, int64_t *micros)
{
    char *end;
    double number = strtod(text, &end);
    double unit = strcmp(format, "unix-ms") == 0 ? 1000 : (double)MICROS;

    if (end == text || *end != '\0' || strspn(text, "+-0123456789.") != strlen(text) ||
        fabs(number * unit) > (double)TIMESTAMP_MAX) {
        return false;
    }
    *micros = (int64_t)llround(number * unit);
    return true;
}

/* Writes what names no date as it would be in ISO 8601, to be refused for that reason. */
static void write_no_date(const struct tm *fields, char result[TIMESTAMP_TEXT_MAX])
{
    snprintf(result, TIMESTAMP_TEXT_MAX, "%04d-%02d-%02d", fields->tm_year + 1900, fields->tm_mon + 1,
             fields->tm_mday);
}

static bool read_by_format(const struct times *times, const char *text, const char *format,
                           char result[TIMESTAMP_TEXT_MAX])
{
    struct tm fields = {.tm_mday = 1, .tm_isdst = -1};
    const char *end;
    int64_t micros;

    if (is_unix(format)) {
        if (!read_unix(text, format, &micros)) {
            return false;
        }
        timestamp_format(micros, result);
        return true;
    }
    end = strptime(text, format, &fields);
    if (end == NULL || *end != '\0') {
        return false;
    }
    if (!is_date(&fields)) {
        write_no_date(&fields, result);
        return true;
    }
    if (has_conversion(format, 'z')) {
        long offset = fields.tm_gmtoff;

        micros = ((int64_t)timegm(&fields) - offset) * MICROS;
    } else {
        micros = (times->time_zone != NULL ? from_local(&fields) : (int64_t)timegm(&fields)) * MICROS;
    }
    if (micros < TIMESTAMP_MIN || micros > TIMESTAMP_MAX) {
        return false;
    }
    timestamp_format(micros, result);
    return true;
}

/* Whether a timestamp says its zone: behind the time, a Z or a sign. */
static bool has_zone(const char *text)
{
    const char *time = strpbrk(text, "Tt ");

    return time != NULL && strpbrk(time + 1, "Zz+-") != NULL;
}

static bool read_local(const char *text, int64_t as_utc, char result[TIMESTAMP_TEXT_MAX])
{
    int64_t fraction = ((as_utc % MICROS) + MICROS) % MICROS;
    time_t seconds = (time_t)((as_utc - fraction) / MICROS);
    struct tm fields;
    int64_t micros;

    if (has_zone(text) || as_utc == TIMESTAMP_GO_ZERO || gmtime_r(&seconds, &fields) == NULL) {
        return false;
    }
    micros = from_local(&fields) * MICROS + fraction;
    if (micros < TIMESTAMP_MIN || micros > TIMESTAMP_MAX) {
        return false;
    }
    timestamp_format(micros, result);
    return true;
}

/* Reads a member; false where it stays as it is. */
static bool adjust(const struct times *times, const struct json_member *member,
                   char result[TIMESTAMP_TEXT_MAX])
{
    char text[TEXT_MAX];
    size_t len = member->value.len;
    int64_t micros;

    if ((member->type != JSON_STRING && member->type != JSON_NUMBER) || member->has_nul ||
        len >= sizeof text) {
        return false;
    }
    if (member->type == JSON_STRING) {
        len = json_string_decode(member->value, text);
    } else {
        memcpy(text, member->value.data, len);
    }
    text[len] = '\0';
    if (member->type == JSON_STRING && timestamp_parse(text, len, &micros)) {
        return times->time_zone != NULL && read_local(text, micros, result);
    }
    if (times->date_format != NULL && read_by_format(times, text, times->date_format, result)) {
        return true;
    }
    for (size_t i = 0; times->more_formats != NULL && times->more_formats[i] != NULL; i++) {
        if (read_by_format(times, text, times->more_formats[i], result)) {
            return true;
        }
    }
    return false;
}

struct slice times_adjust(const struct times *times, struct slice body, struct buffer *adjusted)
{
    struct json_member members[] = {{.name = "started_at"}, {.name = "resolved_at"}};
    struct json_member *first = &members[0], *second = &members[1];
    const char *at = body.data, *end = body.data + body.len;
    struct error unused;
    bool stray_nul, is_adjusted = false;

    if (!json_find_members(body, members, 2, &stray_nul, &unused)) {
        return body;
    }
    if (second->type != JSON_INVALID &&
        (first->type == JSON_INVALID || second->value.data < first->value.data)) {
        first = &members[1];
        second = &members[0];
    }
    buffer_reset(adjusted, KEEP_BYTES);
    for (struct json_member *member = first; member != NULL; member = member == first ? second : NULL) {
        char result[TIMESTAMP_TEXT_MAX];

        if (member->type != JSON_INVALID && adjust(times, member, result)) {
            buffer_append(adjusted, at, (size_t)(member->value.data - at));
            buffer_append_json_string(adjusted, result, strlen(result));
            at = member->value.data + member->value.len;
            is_adjusted = true;
        }
    }
    buffer_append(adjusted, at, (size_t)(end - at));
    return is_adjusted && !adjusted->failed ? (struct slice){.data = adjusted->data, .len = adjusted->len}
                                            : body;
}
