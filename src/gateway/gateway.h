/* The two ways in which a web server runs the worker. */
#ifndef INCIDENTS_GATEWAY_GATEWAY_H
#define INCIDENTS_GATEWAY_GATEWAY_H

#include <stdbool.h>

#include "base/settings.h"

/* Whether descriptor 0 is a listening socket, which is how a FastCGI process manager starts an application
 * (FastCGI specification, section 2.2). */
bool gateway_is_fastcgi(void);

/* Whether a CGI server started this process (RFC 3875 section 4.1 says what it must set). */
bool gateway_is_cgi(void);

/* Serves requests until SIGTERM, SIGINT, SIGHUP, SIGUSR1 or SIGXCPU; then answers those in hand and those
 * that the kernel has accepted for it, and returns the exit status. */
int gateway_serve_fastcgi(const struct settings *settings);

/* Answers the one request of the environment and standard input; returns the exit status. */
int gateway_serve_cgi(const struct settings *settings);

/* Answers a CGI request with internal_error, because the worker cannot start; the log says why. */
void gateway_refuse_cgi(void);

#endif
