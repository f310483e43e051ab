/* Whether an incident's times can be right: the rule of reporting.is_plausible. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_PLAUSIBLE_H
#define INCIDENTS_INCIDENTCTL_IMPORT_PLAUSIBLE_H

#include <stdbool.h>
#include <stdint.h>

#include "model/incident.h"

/* reporting.longest_incident() where it is not set, in seconds. */
#define LONGEST_INCIDENT_DEFAULT INT64_C(7776000)

/* now_micros is since 1970. One without resolved_at is open where is_new; else nobody knows here. */
bool times_are_plausible(const struct incident *incident, bool is_new, int64_t now_micros,
                         int64_t longest_seconds);

#endif
