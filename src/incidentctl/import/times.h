/* Times that are local, or not written in ISO 8601: they become timestamps before an incident is validated.
 */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_TIMES_H
#define INCIDENTS_INCIDENTCTL_IMPORT_TIMES_H

#include <stdbool.h>

#include "base/buffer.h"

struct times {
    const char *time_zone;           /* what times without a zone are in; NULL: UTC */
    const char *date_format;         /* of the caller, NULL for none: strptime(3), or unix, or unix-ms */
    const char *const *more_formats; /* of the input's format, NULL at the end; NULL for none */
};

/* Sets the process's time zone, which is one of the system's database. False, with a message on standard
 * error, where there is none of that name. */
bool times_set_zone(const char *name);

/* Whether the format is one that times can be read by. False, with a message on standard error. */
bool times_check_format(const char *format);

/* Whether times_adjust has anything to do. */
bool times_are_odd(const struct times *times);

/* Replaces started_at and resolved_at in the body of an upsert where they are local, or in one of the
 * formats. Returns the body itself, or a new one in `adjusted`. What can't be read stays as it is, to be
 * refused. */
struct slice times_adjust(const struct times *times, struct slice body, struct buffer *adjusted);

#endif
