/* Reading a form: application/x-www-form-urlencoded (URL standard, section 5.1). */
#ifndef INCIDENTS_MODEL_FORM_H
#define INCIDENTS_MODEL_FORM_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"

/* Converts a form's arguments into a JSON object, in the order of the form: those that are
 * not scalars (services, metadata) hold JSON text, and null where they are empty; each other one is a string.
 * The text is appended to `json`, which is set up here; buffer_free it in either case. It is valid JSON but
 * for its depth. False with ERROR_INVALID_JSON where an escape is broken, the result is not UTF-8, or JSON
 * text is none, and with ERROR_INTERNAL where there is no memory. */
bool form_to_json(struct slice form, struct buffer *json, struct error *error);

#endif
