/* Error messages of incidentctl. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_PRINT_ERROR_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_PRINT_ERROR_H

#include <stdbool.h>

/* Writes "incidentctl: ", the message and a line end to standard error. Always false, so that a check can end
 * with `return print_error(...)`. */
bool print_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
