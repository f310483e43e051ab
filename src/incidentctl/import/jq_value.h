/* JSON text as a value of libjq, and back. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_JQ_VALUE_H
#define INCIDENTS_INCIDENTCTL_IMPORT_JQ_VALUE_H

#include <jv.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

enum { JQ_KEYS = 256 };

/* Keys of objects that were read before: records have the same ones, and to make them anew takes a third of
 * the time of reading. Set it up with jq_keys_init. */
struct jq_keys {
    jv strings[JQ_KEYS]; /* by a hash of the text; invalid where there is none */
};

void jq_keys_init(struct jq_keys *keys);
void jq_keys_free(struct jq_keys *keys);

/* Reads a text that must be JSON to the letter: libjq's own reader takes much that is not (nan, texts cut
 * short), and is slower. *value is the caller's to free. The keys may be NULL. False with ERROR_INVALID_JSON.
 */
bool jq_value_read(struct slice text, struct jq_keys *keys, jv *value, struct error *error);

/* Appends a value as JSON, in the order in which libjq has an object's members; frees it. The buffer tells
 * whether there was memory. */
void jq_value_append(struct buffer *text, jv value);

#endif
