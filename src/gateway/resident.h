/* The worker that plain CGI leaves behind for the requests to come, where INCIDENTS_CGI_PERSIST_MS says so.
 * It serves FastCGI on a socket in a directory that is this user's alone, below /dev/shm. One with the same
 * user, program and settings is found again; a change of those finds none, and leaves another. */
#ifndef INCIDENTS_GATEWAY_RESIDENT_H
#define INCIDENTS_GATEWAY_RESIDENT_H

#include <stdbool.h>
#include <sys/types.h>

/* A connection to the resident, the caller's to close; -1 where there is none that can be reached at once.
 * Behind settings_load, which puts the settings file into the environment. */
int resident_connect(void);

/* Has no request find a resident that does not answer. It keeps its lock, so none is left in its place before
 * it ends. Behind resident_connect. */
void resident_forsake(void);

/* Leaves a child behind that is to be the resident, unless there is one already or one is about to be: 0 in
 * that child, on whose descriptor 0 nobody can connect yet; its number in the parent; -1 where there is none,
 * and errno says why, EEXIST where somebody else's is. The log and the metrics are closed in the child,
 * and what the request has brought along in its environment and arguments is wiped out there. Before there is
 * a second thread. */
pid_t resident_leave(char **arguments);

/* In the resident, when it serves: has requests find it, and lets go of the standard error that it has from
 * the web server. False, and errno says why, where they cannot. */
bool resident_publish(void);

/* Whether requests still find it: one that was given up for silent they do not, nor where somebody removed
 * its socket. */
bool resident_is_found(void);

/* Has no request find it any more, and removes its files; requests that come leave another. At its end at the
 * latest. From any thread, any number of times. */
void resident_withdraw(void);

#endif
