/* Starting, watching and ending the programs that a test needs. */
#ifndef INCIDENTS_TESTS_PROCESS_H
#define INCIDENTS_TESTS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_OUTPUT_MAX = 256 * 1024 };

/* What a program that ran to its end left behind. */
struct outcome {
    int status; /* its exit status; 128 + the signal's number where one ended it */
    size_t out_len;
    size_t err_len;
    char out[PROCESS_OUTPUT_MAX]; /* NUL-terminated too */
    char err[PROCESS_OUTPUT_MAX];
};

/* Starts a program in the background, its output appended to log. argv and environment (NAME=value, added to
 * ours; a name without '=' is removed) end with NULL; environment may be NULL. It gets a SIGKILL when this
 * process ends. Aborts the test where it cannot be started. */
pid_t process_start(const char *const argv[], const char *const environment[], const char *log);

/* The same with that descriptor as its standard input, which may be a listening socket. */
pid_t process_start_on(int in, const char *const argv[], const char *const environment[], const char *log);

/* Runs a program to its end with that standard input. The result is static: the next call overwrites it. */
const struct outcome *process_run(const char *const argv[], const char *const environment[],
                                  const char *input, size_t input_len);

/* The same with an environment that has nothing but what is given (and the sanitizers' options), as a CGI
 * server makes one. */
const struct outcome *process_run_bare(const char *const argv[], const char *const environment[],
                                       const char *input, size_t input_len);

/* Sends the signal and waits for the end, up to 30 s; returns the exit status as outcome.status. */
int process_stop(pid_t pid, int signal_number);

/* Waits for the end, up to that many milliseconds; -1 where it did not come. */
int process_wait(pid_t pid, int milliseconds);

/* Sleeps for that many milliseconds, through interruptions. */
void clock_sleep_ms(int64_t milliseconds);

#endif
