/* Judging an incident's metadata on its raw text, which goes to Postgres as it came: no digit is lost on the
 * way. */
#ifndef INCIDENTS_MODEL_METADATA_H
#define INCIDENTS_MODEL_METADATA_H

#include "model/json.h"

/* Whether the value can be kept: null, [] or an object; every key at every depth matches [A-Za-z0-9_-]+; no
 * \u0000; every number within the range of a double and of Postgres's numeric. `member` comes from
 * json_find_members. *is_empty tells null, [] and {}, which all remove what is stored, from a value to store.
 * False with ERROR_METADATA_INVALID otherwise. */
bool metadata_check(const struct json_member *member, bool *is_empty, struct error *error);

#endif
