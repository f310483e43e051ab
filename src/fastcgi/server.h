/* The FastCGI server: the worker as a web server's or a process manager's application. */
#ifndef INCIDENTS_FASTCGI_SERVER_H
#define INCIDENTS_FASTCGI_SERVER_H

#include <stdbool.h>

#include "base/settings.h"

/* Whether descriptor 0 is a listening socket, which is how a FastCGI process manager starts an application
 * (FastCGI specification, section 2.2). */
bool started_as_fastcgi(void);

/* Serves requests until SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGXCPU. Then serves those that have come and
 * those in the listen backlog, and returns the exit status. */
int server_run(const struct settings *settings);

#endif
