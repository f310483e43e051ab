/* The help of incidentctl. */
#ifndef INCIDENTS_INCIDENTCTL_HELP_H
#define INCIDENTS_INCIDENTCTL_HELP_H

#include <stdbool.h>
#include <stdio.h>

/* Prints a line for each option that stands in a command's synopsis: "  --since WHEN    those that ...". */
void help_print_options(const char *command, const char *synopsis, FILE *stream);

/* Whether a user asks a command for its help: --help before "--". */
bool help_is_wanted(int argc, char **argv);

#endif
