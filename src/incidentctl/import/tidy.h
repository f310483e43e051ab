/* What the prelude's `incident` leaves to be done: jq would take four times as long as for all else. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_TIDY_H
#define INCIDENTS_INCIDENTCTL_IMPORT_TIDY_H

#include <jq.h>

/* Returns the object, which is freed, as it is where it has no mark, a member "". Else without the mark,
 * without members that are null, but for resolved_at, without services that have no identifier, and without
 * metadata that says nothing, whose keys get "_" for what they may not have; where the mark is false,
 * metadata stays as it is. */
jv tidy_incident(jv incident);

#endif
