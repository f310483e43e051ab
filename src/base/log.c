/* One line a request and an event, to standard error. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE_MAX = 2000, LINE_MAX_BYTES = 64 + 4 * MESSAGE_MAX };

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info"};

void log_write(enum log_level level, const char *format, ...)
{
    char message[MESSAGE_MAX];
    char line[LINE_MAX_BYTES];
    size_t len;
    struct timespec now;
    struct tm utc;
    va_list arguments;
    ssize_t written;

    va_start(arguments, format);
    (void)vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    len = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    len += (size_t)snprintf(line + len, sizeof line - len, ".%03ldZ %s ", now.tv_nsec / 1000000,
                            level_names[level]);
    for (const char *c = message; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte >= 0x20 && byte != 0x7f) {
            line[len++] = *c;
        } else if (byte == '\n' && c[1] == '\0') {
            break; /* libpq ends its messages with a newline */
        } else if (byte == '\n') {
            line[len++] = ' ';
        } else {
            len += (size_t)snprintf(line + len, sizeof line - len, "\\x%02x", byte);
        }
    }
    line[len++] = '\n';
    written = write(STDERR_FILENO, line, len);
    (void)written; /* there is nowhere left to say that the log is gone */
}
