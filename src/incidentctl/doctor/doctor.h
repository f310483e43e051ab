/* incidentctl doctor: what its checks share. */
#ifndef INCIDENTS_INCIDENTCTL_DOCTOR_DOCTOR_H
#define INCIDENTS_INCIDENTCTL_DOCTOR_DOCTOR_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/settings.h"

/* A note is about what could not be looked at; a warning about what works, but should not stay so. */
enum finding { FINDING_OK, FINDING_NOTE, FINDING_WARNING, FINDING_PROBLEM };

struct doctor {
    const char *url;          /* --url, what methods are appended to; NULL where it was not given */
    const char *socket;       /* --socket; NULL where it was not given */
    struct settings settings; /* the worker's */
    PGconn *worker;           /* as the worker connects; perhaps not connected */
    PGconn *owner;     /* as the environment says, most likely the schema's owner; NULL where it cannot */
    bool has_password; /* PGPASSWORD stands in the settings file */
    int problems;
};

/* Prints what was found about a subject, and what to do about it; advice is NULL where there is nothing to
 * do. What control characters there are, of a server's message, are shown as '?'. */
void doctor_find(struct doctor *doctor, enum finding finding, const char *subject, const char *advice,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A session with the database of that url, empty for libpq's environment; perhaps one that failed. PQfinish
 * it. */
PGconn *doctor_connect(const char *url); /* admin/doctor_database.c */

/* Each looks at one thing and prints its findings. */
void doctor_check_database(struct doctor *doctor); /* admin/doctor_database.c */
void doctor_check_web(struct doctor *doctor);      /* admin/doctor_web.c */

#endif
