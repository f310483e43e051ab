/* One line a request and an event, as text for people or JSON for programs. */
#include "base/log.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/utf8.h"

enum {
    MESSAGE_MAX = 2000,
    LINE_MAX_BYTES = 512 + 6 * MESSAGE_MAX, /* a byte becomes six at most */
    PATH_MAX_BYTES = 4096,
    FILE_MODE = 0640,
    LOOK_EVERY_MS = 1000, /* whether the file was moved away */
};

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info"};
/* syslog(3)'s, which are the journal's too (sd-daemon(3)). */
static const int syslog_levels[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR, [LOG_LEVEL_WARNING] = LOG_WARNING, [LOG_LEVEL_INFO] = LOG_INFO};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
    size_t start; /* behind the journal's priority */
};

static enum log_format format_of_lines = LOG_FORMAT_TEXT;
static bool to_syslog;
static char path[PATH_MAX_BYTES];                              /* empty: no file */
static pthread_mutex_t file_mutex = PTHREAD_MUTEX_INITIALIZER; /* guards the next two */
static int file = -1;
static int64_t looked_at_ms;
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool stderr_is_journal; /* once look_for_journal has run */

/* systemd.exec(5): JOURNAL_STREAM names device and inode of the standard error that it made. Whoever was
 * started with another one may have inherited the variable. */
static void look_for_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char name[48];

    if (stream != NULL && fstat(STDERR_FILENO, &status) == 0) {
        (void)snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
        stderr_is_journal = strcmp(stream, name) == 0;
    }
}

/* Whether lines go to the journal, through standard error. */
static bool to_journal(void)
{
    (void)pthread_once(&journal_once, look_for_journal);
    return stderr_is_journal && !to_syslog && path[0] == '\0';
}

static int open_file(void)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, FILE_MODE);
}

bool log_open(const char *target, enum log_format format)
{
    format_of_lines = format;
    if (strcmp(target, "syslog") == 0) {
        openlog("incidents.fcgi", LOG_PID, LOG_DAEMON);
        to_syslog = true;
    } else if (strcmp(target, "stderr") != 0) {
        (void)snprintf(path, sizeof path, "%s", target);
        file = open_file();
        looked_at_ms = clock_now_ms();
        if (file < 0) {
            path[0] = '\0'; /* so that standard error is told why */
            return false;
        }
    }
    return true;
}

/* Opens the file anew where another, or none, has its name by now: logrotate moved it. The caller holds the
 * mutex. */
static void follow_file(void)
{
    struct stat named, opened;
    int64_t now_ms = clock_now_ms();
    int fresh;

    if (now_ms - looked_at_ms < LOOK_EVERY_MS) {
        return;
    }
    looked_at_ms = now_ms;
    if (stat(path, &named) == 0 && fstat(file, &opened) == 0 && named.st_ino == opened.st_ino &&
        named.st_dev == opened.st_dev) {
        return;
    }
    fresh = open_file();
    if (fresh >= 0) {
        (void)close(file);
        file = fresh;
    }
}

/* What cannot be written is lost: there is nowhere left to say so. */
static void send_line(struct line *line, enum log_level level)
{
    ssize_t written;

    if (to_syslog) {
        syslog(syslog_levels[level], "%.*s", (int)line->len, line->text);
        return;
    }
    line->text[line->len++] = '\n';
    if (path[0] == '\0') {
        written = write(STDERR_FILENO, line->text, line->len);
    } else {
        (void)pthread_mutex_lock(&file_mutex);
        follow_file();
        written = write(file, line->text, line->len);
        (void)pthread_mutex_unlock(&file_mutex);
    }
    (void)written;
}

/* Room for the longest escape and what ends a line is kept. */
static bool has_room(const struct line *line)
{
    return line->len < sizeof line->text - 16;
}

static void append(struct line *line, const char *text)
{
    for (; *text != '\0' && has_room(line); text++) {
        line->text[line->len++] = *text;
    }
}

/* Between the parts of a line of text. */
static void append_blank(struct line *line)
{
    append(line, line->len > line->start ? " " : "");
}

static void append_number(struct line *line, int64_t number)
{
    char digits[24];

    (void)snprintf(digits, sizeof digits, "%lld", (long long)number);
    append(line, digits);
}

static void append_byte(struct line *line, const char *prefix, unsigned char byte)
{
    char digits[4];

    (void)snprintf(digits, sizeof digits, "%02x", byte);
    append(line, prefix);
    append(line, digits);
}

/* Text from outside as it may stand in a line of text: bytes beyond ASCII pass as they are. */
static void append_text(struct line *line, const char *text)
{
    for (; *text != '\0' && has_room(line); text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte >= 0x20 && byte != 0x7f) {
            line->text[line->len++] = *text;
        } else if (byte == '\n' || byte == '\t') { /* libpq's messages have lines */
            line->text[line->len++] = ' ';
        } else {
            append_byte(line, "\\x", byte);
        }
    }
}

/* The same in quotes, which neither a quote nor a backslash in it can end. */
static void append_quoted(struct line *line, const char *text)
{
    append(line, "\"");
    for (; *text != '\0'; text++) {
        char one[2] = {*text};

        if (*text == '"' || *text == '\\') {
            append(line, "\\");
        }
        append_text(line, one);
    }
    append(line, "\"");
}

/* The same as a JSON string: what is not UTF-8 becomes U+FFFD. */
static void append_json(struct line *line, const char *text)
{
    append(line, "\"");
    while (*text != '\0' && has_room(line)) {
        unsigned char byte = (unsigned char)*text;
        size_t len = utf8_sequence((const unsigned char *)text, strlen(text));

        if (byte == '"' || byte == '\\') {
            append(line, "\\");
            line->text[line->len++] = *text;
        } else if (byte < 0x20 || byte == 0x7f) {
            append_byte(line, "\\u00", byte);
        } else if (len == 0) {
            append(line, "\\ufffd");
        } else {
            memcpy(line->text + line->len, text, len);
            line->len += len;
        }
        text += len == 0 ? 1 : len;
    }
    append(line, "\"");
}

static void append_member(struct line *line, const char *name, const char *value)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, ",\"");
        append(line, name);
        append(line, "\":");
        append_json(line, value);
    } else {
        append_blank(line);
        append(line, name);
        append(line, "=");
        append_quoted(line, value);
    }
}

/* A word of our own, which text needs no quotes for. */
static void append_word_member(struct line *line, const char *name, const char *word)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append_member(line, name, word);
    } else {
        append_blank(line);
        append(line, name);
        append(line, "=");
        append(line, word);
    }
}

static void append_number_member(struct line *line, const char *name, int64_t value)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, ",\"");
        append(line, name);
        append(line, "\":");
    } else {
        append_blank(line);
        append(line, name);
        append(line, "=");
    }
    append_number(line, value);
}

static void append_time(struct line *line)
{
    char when[40];
    struct timespec now;
    struct tm utc;
    size_t len;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    len = strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(when + len, sizeof when - len, ".%03ldZ", now.tv_nsec / 1000000);
    append(line, when);
}

/* Time and level. syslog has its own, but as a JSON object a line is whole anywhere. The journal has its own
 * time, and takes the level from a line's beginning (sd-daemon(3)). */
static void begin(struct line *line, enum log_level level)
{
    bool in_journal = to_journal();

    line->len = 0;
    if (in_journal) {
        append(line, "<");
        append_number(line, syslog_levels[level]);
        append(line, ">");
    }
    line->start = line->len;
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, "{");
        if (!in_journal) {
            append(line, "\"time\":\"");
            append_time(line);
            append(line, "\",");
        }
        append(line, "\"level\":");
        append_json(line, level_names[level]);
    } else if (!to_syslog && !in_journal) {
        append_time(line);
        append(line, " ");
        append(line, level_names[level]);
    }
}

static void end(struct line *line, enum log_level level)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, "}");
    }
    send_line(line, level);
}

void log_write(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    struct line line;
    va_list arguments;
    size_t len;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    len = strlen(message);
    if (len > 0 && message[len - 1] == '\n') {
        message[len - 1] = '\0'; /* libpq ends its messages so */
    }

    begin(&line, level);
    if (format_of_lines == LOG_FORMAT_JSON) {
        append_member(&line, "message", message);
    } else {
        append_blank(&line);
        append_text(&line, message);
    }
    end(&line, level);
}

void log_request(const struct log_request *request)
{
    struct line line;

    begin(&line, request->level);
    append_member(&line, "request_id", request->request_id);
    append_word_member(&line, "method", request->method);
    append_number_member(&line, "status", request->status);
    append_word_member(&line, "outcome", request->outcome);
    append_member(&line, "token", request->token_label);
    append_number_member(&line, "ms", request->total_ms);
    append_number_member(&line, "queue_ms", request->queue_ms);
    append_number_member(&line, "database_ms", request->database_ms);
    if (*request->message != '\0') {
        append_member(&line, "message", request->message);
    }
    if (*request->client != '\0') {
        append_member(&line, "client", request->client);
    }
    end(&line, request->level);
}
