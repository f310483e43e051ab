/* Plain CGI: a process for one request (RFC 3875). */
#ifndef INCIDENTS_CGI_CGI_H
#define INCIDENTS_CGI_CGI_H

#include <stdbool.h>

#include "base/settings.h"

/* Whether a CGI server started this process (RFC 3875 section 4.1 says what it must set). */
bool started_as_cgi(void);

/* Serves the one request of the environment and standard input; returns the exit status. */
int cgi_serve(const struct settings *settings);

/* Responds with internal_error, because the worker cannot start; the log says why. */
void cgi_refuse(void);

#endif
