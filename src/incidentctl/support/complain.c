/* What incidentctl says when something is wrong. */
#include "incidentctl/support/complain.h"

#include <stdarg.h>
#include <stdio.h>

bool complain(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)fputs("incidentctl: ", stderr);
    (void)vfprintf(stderr, format, arguments);
    (void)fputc('\n', stderr);
    va_end(arguments);
    return false;
}
