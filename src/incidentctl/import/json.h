/* Writing the body of an upsert, which incident_read then validates as it does a request's. */
#ifndef INCIDENTS_INCIDENTCTL_IMPORT_JSON_H
#define INCIDENTS_INCIDENTCTL_IMPORT_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

/* Appends a member, its name as JSON and its value, to an object that the caller has opened with "{" and will
 * close. The value is JSON for json_member, and UTF-8 for text_member. */
void append_json_member(struct buffer *object, const char *name, struct slice json);
void append_text_member(struct buffer *object, const char *name, struct slice text);

/* Opens a member whose value the caller appends. */
void append_member_name(struct buffer *object, const char *name, size_t len);

/* A value of metadata by its path: cause.kind is {"cause":{"kind":...}}. */
struct leaf {
    const char *path; /* NUL-terminated */
    struct slice json;
};

/* Sorts leaves into the order that append_leaves wants. */
void sort_leaves(struct leaf *leaves, size_t count);

/* Appends an object of sorted leaves. False with METADATA_INVALID where two exclude each other, as "a" and
 * "a.b" do. */
bool append_leaves(struct buffer *json, const struct leaf *leaves, size_t count, struct error *error);

#endif
