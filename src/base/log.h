/* One line a request and an event, to standard error. */
#ifndef INCIDENTS_BASE_LOG_H
#define INCIDENTS_BASE_LOG_H

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO };

/* Writes one line: UTC time, level, message. Control bytes in the message are written as \xNN, so that
 * nothing from outside can forge a second line; a line over 2,000 bytes is cut. One write(2), so lines of
 * several threads or processes do not mix. Never pass a token. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
