/* Keys of bodies that are no arguments of an upsert, and left out. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_UNKNOWN_KEYS_H
#define INCIDENTS_INCIDENTCTL_IMPORT_UNKNOWN_KEYS_H

#include <stdint.h>

#include "base/buffer.h"

enum { UNKNOWN_KEYS_MAX = 32, UNKNOWN_KEY_BYTES = 64 };

/* All zero is one without any. */
struct unknown_keys {
    struct {
        char name[UNKNOWN_KEY_BYTES]; /* as the JSON spells it, cut */
        size_t len;
        uint64_t count;
    } keys[UNKNOWN_KEYS_MAX];
    size_t count;
    uint64_t others; /* of names for which there is no room */
};

/* Counts those of a body that is valid JSON, whether or not it is a valid incident. */
void unknown_keys_count(struct unknown_keys *unknown, struct slice body);

/* Says each once, with its number, on standard error. */
void unknown_keys_print(const struct unknown_keys *unknown);

#endif
