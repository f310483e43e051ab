/* The migrations, as the build embedded them from migrations/. */
#ifndef INCIDENTS_INCIDENTCTL_MIGRATIONS_H
#define INCIDENTS_INCIDENTCTL_MIGRATIONS_H

#include <stddef.h>

struct migration {
    int version;
    const char *name;
    const char *sql; /* NUL-terminated; its own BEGIN and COMMIT in it */
    size_t len;
};

/* In the order of their versions, which run from 1 without a gap. */
extern const struct migration migrations[];
extern const size_t migration_count;

#endif
