/* The arguments of the incident methods as the contract defines them: read, validated, ready for the store.
 *
 * Checks run in the contract's order: JSON, reference_id, presence of started_at, types of name, priority,
 * source_url and services, timestamps, metadata. The first that fails is the error. */
#ifndef INCIDENTS_MODEL_INCIDENT_H
#define INCIDENTS_MODEL_INCIDENT_H

#include <json-c/json.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

enum { IDENTIFIER_BYTES_MAX = 1024, SERVICES_MAX = 1000 };

/* Absent keeps what is stored, cleared removes it, given replaces it. */
enum presence { PRESENCE_ABSENT, PRESENCE_CLEARED, PRESENCE_GIVEN };

/* A text argument: its JSON string as it came, quotes included, where it is given. */
struct text_argument {
    enum presence presence;
    struct slice json;
};

struct timestamp_argument {
    enum presence presence;
    int64_t micros; /* since 1970-01-01T00:00:00Z */
};

/* A JSON array of [identifier, name or null] in the order sent, each identifier once, owned by the incident.
 */
struct services_argument {
    enum presence presence;
    struct json_object *links;
};

/* The slices point into the request's body, which must outlive the incident. */
struct incident {
    char *reference_id; /* NUL-terminated UTF-8, owned; holds no NUL inside */
    struct timestamp_argument started_at;
    struct timestamp_argument resolved_at;
    struct text_argument name;
    struct text_argument priority;
    struct text_argument source_url;
    struct services_argument services;
    struct text_argument metadata; /* json is the object's raw text */
};

/* incidents.sync requires services. */
enum method_rules { RULES_UPSERT, RULES_SYNC };

/* Reads the body of an upsert or sync. On false, *error says why. Call incident_free in either case. */
bool incident_read(struct slice body, enum method_rules rules, struct incident *incident,
                   struct error *error);

/* Reads the body of a delete: reference_id alone. Otherwise as incident_read. */
bool incident_read_reference(struct slice body, struct incident *incident, struct error *error);

/* Frees what of the incident only its encoding needs: all but the reference_id. */
void incident_trim(struct incident *incident);

/* Frees what the incident owns. One that is all zero is fine. */
void incident_free(struct incident *incident);

/* Whether an upsert has an argument of that name; the key is as it stands in the JSON, without its quotes. */
bool incident_has_argument(struct slice key);

#endif
