/* Several workers on one listening socket, and the parent that starts and replaces them. It has no thread, no
 * connection and no log, and does nothing but wait. */
#ifndef INCIDENTS_FASTCGI_PROCESSES_H
#define INCIDENTS_FASTCGI_PROCESSES_H

/* What each of them does until it is told to stop by SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGXCPU, which it
 * finds blocked; it returns its exit status, EXIT_FAILURE only where it cannot start at all. warning is a
 * sentence for the log about the one that it replaces, NULL where there was none. */
typedef int processes_serve(void *context, const char *warning);

/* Starts so many processes, from 1 to SETTINGS_PROCESSES_MAX, and waits for their end. Before there is a
 * second thread.
 *
 * Each of those signals is passed on to all of them, and ends the parent once they have ended; so does one
 * that cannot start, unless others serve and it is in the place of another. Whichever else ends is started
 * again: at once, or after a while that grows where it does not last. They get a SIGTERM when the parent
 * ends without it. Returns the exit status: EXIT_FAILURE where one could not start, or did not stop with
 * status 0. */
int processes_run(int count, processes_serve *serve, void *context);

#endif
