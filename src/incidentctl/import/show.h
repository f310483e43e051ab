/* Texts of the input, in messages. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_SHOW_H
#define INCIDENTS_INCIDENTCTL_IMPORT_SHOW_H

#include "base/buffer.h"

enum { SHOWN_BYTES_MAX = 200 };

/* Appends a text as a terminal may have it: "?" for what is a control character, \xE9 for what is no UTF-8,
 * and after max bytes "..." for the rest. */
void append_shown(struct buffer *message, struct slice text, size_t max);

/* Appends a command for a shell: that one with the file as its last argument, or with standard input where
 * path is NULL, and an import behind it. A long path is FILE. */
void append_command(struct buffer *message, const char *command, const char *path);

#endif
