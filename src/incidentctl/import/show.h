/* Texts of the input, in messages. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_SHOW_H
#define INCIDENTS_INCIDENTCTL_IMPORT_SHOW_H

#include "base/buffer.h"

enum { SHOWN_BYTES_MAX = 200 };

/* Appends a text as a terminal may have it: "?" for what is a control character, \xE9 for what is no UTF-8,
 * and after max bytes "..." for the rest. */
void append_shown(struct buffer *message, struct slice text, size_t max);

#endif
