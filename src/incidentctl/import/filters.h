/* The filters, as the build embedded them from share/incidents/import/. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_FILTERS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_FILTERS_H

#include <stddef.h>

struct embedded_filter {
    const char *name; /* of the file, without ".jq" */
    const char *text; /* NUL-terminated */
};

extern const struct embedded_filter embedded_filters[];
extern const size_t embedded_filter_count;

#endif
