/* What the prelude's `incident` leaves to be done. */
#include "incidentctl/import/tidy.h"

#include <stdbool.h>
#include <string.h>

#include "model/json.h"

static bool is_blank(jv value)
{
    switch (jv_get_kind(value)) {
    case JV_KIND_NULL:
        return true;
    case JV_KIND_STRING:
        return jv_string_length_bytes(jv_copy(value)) == 0;
    case JV_KIND_ARRAY:
        return jv_array_length(jv_copy(value)) == 0;
    case JV_KIND_OBJECT:
        return jv_object_length(jv_copy(value)) == 0;
    default:
        return false;
    }
}

static jv without_nulls(jv object)
{
    jv kept = jv_object();

    jv_object_foreach(object, key, value)
    {
        if (jv_get_kind(value) == JV_KIND_NULL) {
            jv_free(key);
            jv_free(value);
        } else {
            kept = jv_object_set(kept, key, value);
        }
    }
    jv_free(object);
    return kept;
}

static bool is_allowed(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           byte == '-' || byte == '_';
}

/* The key with "_" for each character that keys of metadata may not have. */
static jv tame_key(jv key)
{
    const char *name = jv_string_value(key);
    bool is_tame = *name != '\0';
    jv tamed;

    for (const char *at = name; *at != '\0'; at++) {
        is_tame = is_tame && is_allowed(*at);
    }
    if (is_tame) {
        return key;
    }
    tamed = jv_string(*name == '\0' ? "_" : "");
    for (const char *at = name; *at != '\0'; at++) {
        bool continues = ((unsigned char)*at & 0xC0) == 0x80;

        if (!continues) {
            tamed = jv_string_append_buf(tamed, is_allowed(*at) ? at : "_", 1);
        }
    }
    jv_free(key);
    return tamed;
}

static jv tame_keys(jv value, unsigned depth);

static jv tame_object(jv object, unsigned depth)
{
    jv tamed = jv_object();

    jv_object_foreach(object, key, member)
    {
        tamed = jv_object_set(tamed, tame_key(key), tame_keys(member, depth + 1));
    }
    jv_free(object);
    return tamed;
}

/* All keys of a value, as deep as the body of an upsert may be. */
static jv tame_keys(jv value, unsigned depth)
{
    jv_kind kind = depth > JSON_DEPTH_MAX ? JV_KIND_NULL : jv_get_kind(value);

    if (kind == JV_KIND_ARRAY) {
        for (int i = 0, count = jv_array_length(jv_copy(value)); i < count; i++) {
            value = jv_array_set(value, i, tame_keys(jv_array_get(jv_copy(value), i), depth + 1));
        }
    }
    return kind == JV_KIND_OBJECT ? tame_object(value, depth) : value;
}

static jv tidy_metadata(jv metadata)
{
    jv kept = jv_object();

    jv_object_foreach(metadata, key, value)
    {
        if (is_blank(value)) {
            jv_free(key);
            jv_free(value);
        } else {
            kept = jv_object_set(kept, tame_key(key), tame_keys(value, 1));
        }
    }
    jv_free(metadata);
    return kept;
}

static bool has_identifier(jv service)
{
    jv identifier = jv_object_get(jv_copy(service), jv_string("identifier"));
    bool it_has = jv_is_valid(identifier) && !is_blank(identifier);

    jv_free(identifier);
    return it_has;
}

static jv tidy_services(jv services)
{
    jv kept = jv_array();

    jv_array_foreach(services, i, service)
    {
        bool is_object = jv_get_kind(service) == JV_KIND_OBJECT;

        if (is_object ? !has_identifier(service) : is_blank(service)) {
            jv_free(service);
        } else {
            kept = jv_array_append(kept, is_object ? without_nulls(service) : service);
        }
    }
    jv_free(services);
    return kept;
}

/* The member in the place of which the result stands. */
static jv tidy_member(const char *name, jv value, bool with_metadata)
{
    if (strcmp(name, "services") == 0 && jv_get_kind(value) == JV_KIND_ARRAY) {
        value = tidy_services(value);
    } else if (strcmp(name, "metadata") == 0 && with_metadata && jv_get_kind(value) == JV_KIND_OBJECT) {
        value = tidy_metadata(value);
    } else {
        return value;
    }
    if (is_blank(value)) {
        jv_free(value);
        return jv_null();
    }
    return value;
}

jv tidy_incident(jv incident)
{
    jv kept, mark;
    bool with_metadata;

    if (!jv_object_has(jv_copy(incident), jv_string(""))) {
        return incident;
    }
    mark = jv_object_get(jv_copy(incident), jv_string(""));
    with_metadata = jv_get_kind(mark) == JV_KIND_TRUE;
    jv_free(mark);
    kept = jv_object();
    jv_object_foreach(incident, key, value)
    {
        const char *name = jv_string_value(key);

        value = tidy_member(name, value, with_metadata);
        if (*name == '\0' || (jv_get_kind(value) == JV_KIND_NULL && strcmp(name, "resolved_at") != 0)) {
            jv_free(key);
            jv_free(value);
        } else {
            kept = jv_object_set(kept, key, value);
        }
    }
    jv_free(incident);
    return kept;
}
