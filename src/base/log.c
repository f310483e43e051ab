/* One line a request and an event, as text for people or JSON for programs. */
#include "base/log.h"

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

#include "base/log_target.h"
#include "base/log_writer.h"
#include "base/metrics.h"
#include "base/utf8.h"

/* A byte becomes six at most. */
enum { MESSAGE_MAX = 2000 };
_Static_assert(LOG_LINE_MAX_BYTES >= 512 + 6 * MESSAGE_MAX, "a message fits into a line");

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info"};
/* syslog(3)'s, which are the journal's too (sd-daemon(3)). */
static const int syslog_levels[] = {
    [LOG_LEVEL_ERROR] = LOG_ERR, [LOG_LEVEL_WARNING] = LOG_WARNING, [LOG_LEVEL_INFO] = LOG_INFO};

struct line {
    char text[LOG_LINE_MAX_BYTES];
    size_t len;
    size_t start; /* behind what is the journal's or syslog's */
};

static size_t format_dropped(uint64_t lines, char text[static LOG_LINE_MAX_BYTES]);

static enum log_format format_of_lines = LOG_FORMAT_TEXT;
static pid_t process; /* for syslog; getpid is a system call */
static pthread_once_t journal_once = PTHREAD_ONCE_INIT;
static bool stderr_is_journal; /* once detect_journal has run */
static bool starts_on_demand;  /* the thread, for what cannot be written at once */

/* systemd.exec(5): JOURNAL_STREAM names device and inode of the standard error that it made. A process
 * with another one may have inherited the variable. */
static void detect_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char name[48];

    if (stream != NULL && fstat(STDERR_FILENO, &status) == 0) {
        snprintf(name, sizeof name, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
        stderr_is_journal = strcmp(stream, name) == 0;
    }
}

/* Whether lines go to the journal, through standard error. */
static bool writes_to_journal(void)
{
    pthread_once(&journal_once, detect_journal);
    return stderr_is_journal && log_target() == LOG_TARGET_STDERR;
}

bool log_open(const char *target, enum log_format format)
{
    format_of_lines = format;
    process = getpid();
    return log_target_open(target);
}

/* Writes as much of the line as write takes; returns how much that is. */
static size_t write_line(const struct line *line, size_t write(const char *lines, size_t len))
{
    size_t written = 0, piece;

    while (written < line->len && (piece = write(line->text + written, line->len - written)) > 0) {
        written += piece;
    }
    return written;
}

/* The only thread writes the line, and starts another for what there is no room for. */
static void write_without_waiting(const struct line *line)
{
    size_t written = write_line(line, log_target_try_write);

    if (written < line->len && (!log_writer_start(format_dropped) ||
                                !log_writer_append(line->text + written, line->len - written))) {
        metrics_count(METRICS_LOG_LINES_DROPPED);
    }
}

/* Where there is no thread for it, the line is written here and now, by one thread at a time; what then
 * cannot be written is lost. */
static void send_line(struct line *line)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    line->text[line->len++] = '\n';
    if (log_writer_append(line->text, line->len)) {
        return;
    }
    if (starts_on_demand) {
        write_without_waiting(line);
        return;
    }
    pthread_mutex_lock(&mutex);
    write_line(line, log_target_write);
    pthread_mutex_unlock(&mutex);
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
static void append_space(struct line *line)
{
    append(line, line->len > line->start ? " " : "");
}

/* By hand: printf would take a third of the time that a line takes. */
static void append_number(struct line *line, int64_t number)
{
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    char digits[24], *first = digits + sizeof digits - 1;

    *first = '\0';
    do {
        *--first = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    append(line, number < 0 ? "-" : "");
    append(line, first);
}

static void append_byte(struct line *line, const char *prefix, unsigned char byte)
{
    char digits[4];

    snprintf(digits, sizeof digits, "%02x", byte);
    append(line, prefix);
    append(line, digits);
}

/* A byte of text from outside as it may stand in a line of text: bytes beyond ASCII pass as they are. */
static void append_text_byte(struct line *line, unsigned char byte)
{
    if (byte >= 0x20 && byte != 0x7f) {
        line->text[line->len++] = (char)byte;
    } else if (byte == '\n' || byte == '\t') { /* libpq's messages have lines */
        line->text[line->len++] = ' ';
    } else {
        append_byte(line, "\\x", byte);
    }
}

static void append_text(struct line *line, const char *text)
{
    for (; *text != '\0' && has_room(line); text++) {
        append_text_byte(line, (unsigned char)*text);
    }
}

/* The same in quotes, which neither a quote nor a backslash in it can end. */
static void append_quoted(struct line *line, const char *text)
{
    append(line, "\"");
    for (; *text != '\0' && has_room(line); text++) {
        if (*text == '"' || *text == '\\') {
            append(line, "\\");
        }
        append_text_byte(line, (unsigned char)*text);
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

static void append_member_name(struct line *line, const char *name)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, ",\"");
        append(line, name);
        append(line, "\":");
    } else {
        append_space(line);
        append(line, name);
        append(line, "=");
    }
}

static void append_member(struct line *line, const char *name, const char *value)
{
    append_member_name(line, name);
    if (format_of_lines == LOG_FORMAT_JSON) {
        append_json(line, value);
    } else {
        append_quoted(line, value);
    }
}

/* A word of our own, which text needs no quotes for. */
static void append_word_member(struct line *line, const char *name, const char *word)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append_member(line, name, word);
    } else {
        append_member_name(line, name);
        append(line, word);
    }
}

static void append_number_member(struct line *line, const char *name, int64_t value)
{
    append_member_name(line, name);
    append_number(line, value);
}

/* All but the fraction stays the same for a second. */
static void append_time(struct line *line)
{
    static _Thread_local time_t second = -1;
    static _Thread_local char when[32];
    struct timespec now;
    struct tm utc;
    char fraction[] = ".000Z";

    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != second) {
        second = now.tv_sec;
        gmtime_r(&second, &utc);
        strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    }
    for (long i = 3, left = now.tv_nsec / 1000000; i > 0; i--, left /= 10) {
        fraction[i] = (char)('0' + left % 10);
    }
    append(line, when);
    append(line, fraction);
}

/* RFC 3164, as syslog(3) says it: priority, local time, tag. */
static void append_syslog_head(struct line *line, enum log_level level)
{
    char when[32];
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    strftime(when, sizeof when, "%b %e %H:%M:%S", &local);
    append(line, "<");
    append_number(line, LOG_DAEMON | syslog_levels[level]);
    append(line, ">");
    append(line, when);
    append(line, " incidents.fcgi[");
    append_number(line, process);
    append(line, "]: ");
}

/* Time and level. syslog has its own, but as a JSON object a line is whole anywhere. The journal has its own
 * time, and takes the level from a line's beginning (sd-daemon(3)). */
static void begin_line(struct line *line, enum log_level level)
{
    bool in_journal = writes_to_journal(), in_syslog = log_target() == LOG_TARGET_SYSLOG;

    line->len = 0;
    if (in_journal) {
        append(line, "<");
        append_number(line, syslog_levels[level]);
        append(line, ">");
    } else if (in_syslog) {
        append_syslog_head(line, level);
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
    } else if (!in_syslog && !in_journal) {
        append_time(line);
        append(line, " ");
        append(line, level_names[level]);
    }
}

static void end_line(struct line *line)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append(line, "}");
    }
}

static void append_message(struct line *line, const char *message)
{
    if (format_of_lines == LOG_FORMAT_JSON) {
        append_member(line, "message", message);
    } else {
        append_space(line);
        append_text(line, message);
    }
}

/* In place of the lines that found no room. */
static size_t format_dropped(uint64_t lines, char text[static LOG_LINE_MAX_BYTES])
{
    char message[128];
    struct line line;

    snprintf(message, sizeof message, "dropped %llu log lines: the reader is too slow or the disk is full",
             (unsigned long long)lines);
    begin_line(&line, LOG_LEVEL_WARNING);
    append_message(&line, message);
    end_line(&line);
    line.text[line.len++] = '\n';
    memcpy(text, line.text, line.len);
    return line.len;
}

void log_write(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    struct line line;
    va_list arguments;
    size_t len;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    len = strlen(message);
    if (len > 0 && message[len - 1] == '\n') {
        message[len - 1] = '\0'; /* libpq ends its messages so */
    }

    begin_line(&line, level);
    append_message(&line, message);
    end_line(&line);
    send_line(&line);
}

static ssize_t log_stderr_output(void *unused, const char *text, size_t len)
{
    (void)unused;
    log_warning("%.*s", (int)len, text);
    return (ssize_t)len;
}

/* libpq prints to stderr what it thinks of a password file's permissions, whenever it connects. glibc lets a
 * program put another stream in stderr's place. The descriptor stays what it is. */
static void redirect_stderr(void)
{
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = log_stderr_output});

    if (stream != NULL) {
        setvbuf(stream, NULL, _IOLBF, BUFSIZ);
        stderr = stream;
    }
}

bool log_start_writer(void)
{
    if (!log_writer_start(format_dropped)) {
        return false;
    }
    redirect_stderr();
    return true;
}

bool log_start_writer_on_demand(void)
{
    if (!log_target_set_nonblocking()) {
        return log_start_writer();
    }
    starts_on_demand = true;
    redirect_stderr();
    return true;
}

void log_request(const struct log_request *request)
{
    struct line line;

    begin_line(&line, request->level);
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
    end_line(&line);
    send_line(&line);
}
