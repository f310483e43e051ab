/* The options of a command. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_OPTIONS_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_OPTIONS_H

#include <getopt.h>

/* As getopt_long with no short options, and one thing more: an option with a value that comes a second time
 * is '?' (said on standard error), unless its letter is in repeatable. Which of two values was meant nobody
 * knows. For one argv in a process; at most 64 names. */
int options_next(int argc, char **argv, const struct option *names, const char *repeatable);

#endif
