/* JSON text as a value of libjq, and back. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_JQ_VALUE_H
#define INCIDENTS_INCIDENTCTL_IMPORT_JQ_VALUE_H

#include <jv.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

/* Reads a text that must be JSON to the letter: libjq's own reader takes much that is not (nan, texts cut
 * short), and is slower. *value is the caller's to free. False with ERROR_INVALID_JSON. */
bool jq_value_read(struct slice text, jv *value, struct error *error);

/* Appends a value as JSON, in the order in which libjq has an object's members; frees it. The buffer tells
 * whether there was memory. */
void jq_value_append(struct buffer *text, jv value);

#endif
