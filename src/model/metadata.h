/* Validates an incident's metadata in its raw text, which goes to Postgres unchanged: no digit is lost. */
#ifndef INCIDENTS_MODEL_METADATA_H
#define INCIDENTS_MODEL_METADATA_H

#include "model/json.h"

/* Whether the value can be kept: null, [] or an object; every key at every depth matches [A-Za-z0-9_-]+; no
 * \u0000; every number within the range of a double and of Postgres's numeric. `member` comes from
 * json_find_members. *is_empty: it is null, [] or {}, which all remove what is stored.
 * False with ERROR_METADATA_INVALID otherwise. */
bool metadata_check(const struct json_member *member, bool *is_empty, struct error *error);

#endif
