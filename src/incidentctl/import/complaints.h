/* What an import says of invalid records: each of them, but of the same mistake ten times and then its
 * number. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_COMPLAINTS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_COMPLAINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { COMPLAINTS_OF_A_KIND = 10, COMPLAINT_KINDS_MAX = 64, COMPLAINT_KIND_BYTES = 160 };

/* All zero is one without any. */
struct complaints {
    struct complaint_kind {
        enum error_code code;
        char text[COMPLAINT_KIND_BYTES]; /* the sentence without its numbers and quoted values */
        char first[sizeof((struct error *)NULL)->message]; /* the first of the kind, as it was said */
        uint64_t count;
    } kinds[COMPLAINT_KINDS_MAX + 1]; /* the last one is all for which there is no room */
    size_t count;
};

/* Counts an error. Whether it shall be said. */
bool complaints_add(struct complaints *complaints, const struct error *error);

/* Says how many were not said, a line for each kind, on standard error. */
void complaints_print_rest(const struct complaints *complaints);

/* Whether there was an error of that code. */
bool complaints_have(const struct complaints *complaints, enum error_code code);

#endif
