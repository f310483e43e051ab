/* Error messages of incidentctl. */
#include "incidentctl/support/print_error.h"

#include <stdarg.h>
#include <stdio.h>

bool print_error(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("incidentctl: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    return false;
}
