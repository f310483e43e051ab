/* The web server as incidentctl doctor sees it. */
#ifndef INCIDENTS_INCIDENTCTL_DOCTOR_WEB_H
#define INCIDENTS_INCIDENTCTL_DOCTOR_WEB_H

#include "incidentctl/doctor/checks.h"

/* Sends requests to the URL, where one was given. */
void web_check(struct doctor *doctor);

#endif
