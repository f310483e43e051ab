/* Several workers on one listening socket, and the parent that starts and replaces them. It has no thread, no
 * connection and no log, and does nothing but wait. */
#ifndef INCIDENTS_FASTCGI_PROCESSES_H
#define INCIDENTS_FASTCGI_PROCESSES_H

/* What each worker does until it is told to stop by SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGXCPU, which it
 * finds blocked. It returns its exit status, EXIT_FAILURE only if it cannot start at all. warning is a
 * sentence for the log about the worker that it replaces, NULL if there was none. */
typedef int processes_serve(void *context, const char *warning);

/* Starts that many workers, from 1 to SETTINGS_PROCESSES_MAX, and waits for their end. No other thread may
 * exist yet.
 *
 * Each of those signals is passed on to all workers, and the parent ends once they have ended. A worker that
 * ends otherwise is replaced: at once, or after a delay that grows if its successors do not last. If a first
 * start fails, or no other worker runs, all stop. If the parent is killed, its workers get a SIGTERM. Returns
 * the exit status: EXIT_FAILURE if a worker could not start, or did not stop with status 0. */
int processes_run(int count, processes_serve *serve, void *context);

#endif
