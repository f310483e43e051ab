/* What the checks of incidentctl doctor share: how they report. */
#include "incidentctl/doctor/checks.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void checks_report(struct doctor *doctor, enum finding finding, const char *subject, const char *advice,
                   const char *format, ...)
{
    static const char *const words[] = {[FINDING_OK] = "ok",
                                        [FINDING_NOTE] = "note",
                                        [FINDING_WARNING] = "warning",
                                        [FINDING_PROBLEM] = "PROBLEM"};
    char text[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text[strcspn(text, "\n")] = '\0'; /* libpq's messages: the first line says it */
    for (char *c = text; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    printf("%-8s %s: %s\n", words[finding], subject, text);
    if (advice != NULL) {
        printf("         -> %s\n", advice);
    }
    doctor->problems += finding == FINDING_PROBLEM;
}
