/* The thread that writes the log, so that an unread log stops nothing else. */
#ifndef INCIDENTS_BASE_LOG_WRITER_H
#define INCIDENTS_BASE_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longer than any line. */
enum { LOG_LINE_MAX_BYTES = 12 * 1024 + 512 };

/* Formats the line, line end included, about so many that were dropped; returns its length. */
typedef size_t log_format_dropped(uint64_t lines, char line[static LOG_LINE_MAX_BYTES]);

/* Starts the thread. False, and errno says why, where there is none. At its end the process gives
 * it a second to write what is there; what then is left counts as dropped. */
bool log_writer_start(log_format_dropped *format_dropped);

/* Hands a line, line end included, to the thread, or drops and counts it. Never waits for the log. False
 * where there is no such thread. From any thread. */
bool log_writer_append(const char *line, size_t len);

#endif
