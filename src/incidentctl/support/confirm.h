/* The question before something is deleted. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_CONFIRM_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_CONFIRM_H

#include <stdbool.h>

/* Whether somebody at a terminal types yes. Prints to standard error that nothing was deleted where
 * nobody does. */
bool confirm(void);

#endif
