/* One line a request and an event, as text for people or JSON for programs. */
#ifndef INCIDENTS_BASE_LOG_H
#define INCIDENTS_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* The line of a request. None of the strings may be NULL. */
struct log_request {
    enum log_level level;
    const char *request_id;
    const char *method;
    int status; /* HTTP */
    const char *outcome;
    const char *token_label; /* never the token */
    int64_t total_ms;        /* from the last byte of its body to its response, */
    int64_t queue_ms;        /* of which it waited for a connection to the database, */
    int64_t database_ms;     /* and for the database */
    const char *message;     /* the error's sentence; empty: none */
    const char *client;      /* the client's address; empty: none */
};

/* Sends all lines from now on to "stderr", where they go before that, to "syslog", or to the file of that
 * name, which is made where it is not there, readable by its owner and group alone, and opened anew once it
 * was moved away; where it is a FIFO, lines wait for a reader. False, and errno says why, where
 * the file cannot be opened. Before there is a second thread. */
bool log_open(const char *target, enum log_format format);

/* Has a thread write all lines from now on, so that nothing waits for the log: an unread pipe or a full disk
 * stops no request. Half a megabyte waits for it; what then finds no room is dropped, counted in the metrics,
 * and reported in the log once there is room. When the process ends, lines that are there have a second to be
 * written. What libraries print to stderr becomes a line of the log too. Before there is a second thread,
 * after log_open, and after a fork. False, and errno says why, where there is no thread; then callers write
 * their lines, as they do before. */
bool log_start_writer(void);

/* The same for a process that serves one request: a caller writes its line where that does not block,
 * and the thread is started for the first line that would. A thread costs such a process as much as all of
 * its own code. */
bool log_start_writer_on_demand(void);

/* Writes one line: UTC time, level, message. Where standard error is the journal's (JOURNAL_STREAM,
 * systemd.exec(5)), a line that goes there begins with its priority in angle brackets (sd-daemon(3)) in place
 * of the time. Control bytes are written as a blank, \xNN or \u00NN, so that nothing from outside can forge a
 * second line; a message over 2,000 bytes is cut. Lines of several threads or processes do not mix; but for
 * those over 4 KiB (PIPE_BUF) in a pipe that has several writers. Never pass a token. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a request. */
void log_request(const struct log_request *request);

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)

#endif
