/* What the checks of incidentctl doctor share: what they look at, and how they report. */
#ifndef INCIDENTS_INCIDENTCTL_DOCTOR_CHECKS_H
#define INCIDENTS_INCIDENTCTL_DOCTOR_CHECKS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/settings.h"

/* A note is about what could not be checked; a warning about what works, but should not stay so. */
enum finding { FINDING_OK, FINDING_NOTE, FINDING_WARNING, FINDING_PROBLEM };

struct doctor {
    const char *url;          /* --url, what methods are appended to; NULL where it was not given */
    const char *socket;       /* --socket; NULL where it was not given */
    struct settings settings; /* the worker's */
    PGconn *worker;           /* as the worker connects; perhaps not connected */
    PGconn *owner; /* as the environment says, most likely the schema's owner; NULL where that is not so */
    bool has_password; /* PGPASSWORD stands in the settings file */
    int problems;
};

/* Prints a finding about a subject, and what to do about it; advice is NULL where there is nothing to do.
 * Control characters, of a server's message, are shown as '?'. */
void checks_report(struct doctor *doctor, enum finding finding, const char *subject, const char *advice,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
