/* What incidentctl says when something is wrong. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_COMPLAIN_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_COMPLAIN_H

#include <stdbool.h>

/* Writes "incidentctl: ", the message and a line end to standard error. Always false, so that a check can end
 * with `return complain(...)`. */
bool complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
