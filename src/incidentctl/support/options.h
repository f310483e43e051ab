/* The options of a command. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_OPTIONS_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>

/* As getopt_long with no short options, and some things more. What is wrong is said on standard error, with
 * the option that is nearest to one that is unknown, and '?' returned. An option with a value that comes a
 * second time is '?' too, unless its letter is in repeatable: which of two values was meant nobody knows.
 * argv[0] is the command's name. For one argv in a process; at most 64 names. */
int options_next(int argc, char **argv, const struct option *names, const char *repeatable);

/* Whether no more arguments than that stand behind the options. If not, says which is too many. */
bool options_end(int argc, char **argv, int most);

#endif
