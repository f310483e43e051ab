/* Where the log's lines go: standard error, a file, or syslog. */
#ifndef INCIDENTS_BASE_LOG_TARGET_H
#define INCIDENTS_BASE_LOG_TARGET_H

#include <stdbool.h>
#include <stddef.h>

enum log_target { LOG_TARGET_STDERR, LOG_TARGET_FILE, LOG_TARGET_SYSLOG };

/* Sends what is written from now on to "stderr", where it goes before that, to "syslog", or to the file of
 * that name. False, and errno says why, where the file cannot be opened. A FIFO that nobody reads is no
 * failure: a reader may come. */
bool log_target_open(const char *name);

enum log_target log_target(void);

/* Writes some of the lines, each of which ends with a line end, and to syslog begins with the head of RFC
 * 3164. Returns how many bytes were taken; 0 where there was no room for any, or an error, which may be gone
 * the next time, within a tenth of a second. Only what is our own to open has that limit: standard error may
 * be shared, so that it cannot be made to fail where it would block. By one thread alone. */
size_t log_target_write(const char *lines, size_t len);

/* Has log_target_try_write never block. False where it cannot be had: then standard error blocks, as before.
 * After log_target_open. */
bool log_target_set_nonblocking(void);

/* As log_target_write, but does not wait for room. */
size_t log_target_try_write(const char *lines, size_t len);

#endif
