/* The worker that plain CGI leaves behind for the requests to come, where INCIDENTS_CGI_PERSIST_MS says so:
 * it serves FastCGI on a socket that only its own kind knows, and goes when nothing has come for that long.
 * One with the same user, program and settings is found again; any change of those finds, and leaves,
 * another. */
#ifndef INCIDENTS_GATEWAY_RESIDENT_H
#define INCIDENTS_GATEWAY_RESIDENT_H

#include <stdbool.h>

enum resident_role {
    RESIDENT_NONE,  /* there is none, and none could be left, errno says why: do without */
    RESIDENT_FOUND, /* *connection leads to it; the caller's to close */
    RESIDENT_SELF,  /* this process is it, a child of the one that called: serve FastCGI */
};

/* Call it behind settings_load, which puts the settings file into the environment, and before there is a
 * second thread, or an open file that the resident must not hold. */
enum resident_role resident_find(int *connection);

/* Whether who is at the other end of a connected socket belongs to this user. */
bool resident_is_own(int connection);

#endif
