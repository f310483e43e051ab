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

bool times_set_zone(const char *name)
{
    const char *directory = getenv("TZDIR");
    char path[512];
    bool is_name = *name != '\0' && *name != '/' && strstr(name, "..") == NULL &&
                   snprintf(path, sizeof path, "%s/%s", directory != NULL ? directory : "/usr/share/zoneinfo",
                            name) < (int)sizeof path;

    if (!is_name || access(path, R_OK) != 0) {
        return print_error(
            "--time-zone must be a name of the system's time zones, such as Europe/Berlin or UTC, "
            "and there is no %s",
            name);
    }
    return setenv("TZ", name, 1) == 0;
}

bool times_check_format(const char *format)
{
    return strchr(format, '%') != NULL || strcmp(format, "unix") == 0 || strcmp(format, "unix-ms") == 0 ||
           print_error(
               "--date-format must be a format of strptime(3), such as \"%%d/%%m/%%Y %%H:%%M\", or unix, "
               "or unix-ms");
}

bool times_are_odd(const struct times *times)
{
    return times->time_zone != NULL || times->date_format != NULL || times->more_formats != NULL;
}

static bool is_unix(const char *format)
{
    return strcmp(format, "unix") == 0 || strcmp(format, "unix-ms") == 0 || strcmp(format, "%s") == 0;
}

/* The moment of a local time. One that is there twice, as clocks go back, is the first of the two; one that
 * clocks pass over is as much later as they do. */
static int64_t from_local(const struct tm *local)
{
    struct tm summer = *local, winter = *local;
    time_t in_summer, in_winter;

    summer.tm_isdst = 1;
    winter.tm_isdst = 0;
    in_summer = mktime(&summer);
    in_winter = mktime(&winter);
    return summer.tm_isdst > 0 && summer.tm_hour == local->tm_hour ? (int64_t)in_summer : (int64_t)in_winter;
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
    if (strstr(format, "%z") != NULL) {
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
