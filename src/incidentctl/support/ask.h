/* Asking before something is deleted. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_ASK_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_ASK_H

#include <stdbool.h>

/* Whether somebody at a terminal types yes. Says so on standard error where nobody does. */
bool ask(void);

#endif
