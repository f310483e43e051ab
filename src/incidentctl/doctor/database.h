/* The database as incidentctl doctor sees it. */
#ifndef INCIDENTS_INCIDENTCTL_DOCTOR_DATABASE_H
#define INCIDENTS_INCIDENTCTL_DOCTOR_DATABASE_H

#include "incidentctl/doctor/checks.h"

/* A session with the database of that url, empty for libpq's environment; perhaps one that failed. PQfinish
 * it. */
PGconn *database_connect(const char *url);

/* Checks server, schema, roles, tokens and sequences. */
void database_check(struct doctor *doctor);

#endif
