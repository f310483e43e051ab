/* Where a command's result goes. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_OUTPUT_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_OUTPUT_H

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>

/* Write to stream; the rest is output.c's own. */
struct output {
    FILE *stream;
    char target[PATH_MAX];     /* empty: standard output */
    char beside[PATH_MAX + 8]; /* empty: the target is written to directly */
};

/* Opens it: NULL or "-" is standard output; a device or a pipe is written to as it is. A file is there whole
 * or not at all: what is written goes into another beside it, which takes its name in the end; a symbolic
 * link is followed, and the mode is that of the file that was there, else what the umask leaves of 0666.
 * False, with a message on standard error, where that fails; then there is nothing to close. */
bool output_open(struct output *output, const char *path);

/* Closes it. Where not all is there (is_whole false, or a write that failed), a file stays what it was.
 * False, with a message on standard error, where what was written is not in its place. Whether standard
 * output took all of it is checked at the end of the program. */
bool output_close(struct output *output, bool is_whole);

#endif
