/* Reads and validates the arguments of the incident methods. */
#include "model/incident.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json.h"
#include "model/metadata.h"
#include "model/timestamp.h"

enum { SERVICES_EXPECTED = 16 }; /* more than so many make a table grow */

/* The arguments that are known, in the order in which they are checked. */
enum argument {
    ARGUMENT_REFERENCE_ID,
    ARGUMENT_STARTED_AT,
    ARGUMENT_NAME,
    ARGUMENT_PRIORITY,
    ARGUMENT_SOURCE_URL,
    ARGUMENT_SERVICES,
    ARGUMENT_RESOLVED_AT,
    ARGUMENT_METADATA,
    ARGUMENT_COUNT
};

static const char *const argument_names[ARGUMENT_COUNT] = {
    [ARGUMENT_REFERENCE_ID] = "reference_id",
    [ARGUMENT_STARTED_AT] = "started_at",
    [ARGUMENT_NAME] = "name",
    [ARGUMENT_PRIORITY] = "priority",
    [ARGUMENT_SOURCE_URL] = "source_url",
    [ARGUMENT_SERVICES] = "services",
    [ARGUMENT_RESOLVED_AT] = "resolved_at",
    [ARGUMENT_METADATA] = "metadata",
};

bool incident_has_argument(struct slice key)
{
    for (size_t i = 0; i < ARGUMENT_COUNT; i++) {
        if (strlen(argument_names[i]) == key.len && memcmp(argument_names[i], key.data, key.len) == 0) {
            return true;
        }
    }
    return false;
}

/* LCOV_EXCL_START: out of memory (exhaustion_test) */
static bool out_of_memory(struct error *error)
{
    return error_set(error, ERROR_INTERNAL, "out of memory");
}
/* LCOV_EXCL_STOP */

/* Decodes one string of a text that json_find_members has validated. The caller owns the result; NULL when
 * out of memory. Not by json-c's parser: that turns characters which come as surrogate pairs into U+FFFD. */
static struct json_object *parse_string(struct slice value)
{
    struct json_object *parsed;
    char *decoded;

    /* Nearly every string is one without escapes, and stands there as it is. */
    if (memchr(value.data, '\\', value.len) == NULL) {
        return json_object_new_string_len(value.data + 1, (int)value.len - 2);
    }
    decoded = malloc(value.len);
    if (decoded == NULL) {
        return NULL; /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
    }
    parsed = json_object_new_string_len(decoded, (int)json_string_decode(value, decoded));
    free(decoded);
    return parsed;
}

/* The length of the white space (Unicode's White_Space property) at the start of valid UTF-8; 0 where none
 * is. */
static size_t whitespace_length(const unsigned char *text)
{
    static const char *const spaces[] = {
        "\t",     "\n",     "\v",     "\f",     "\r",     " ",      "\xC2\x85", "\u00A0", "\u1680",
        "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006",   "\u2007", "\u2008",
        "\u2009", "\u200A", "\u2028", "\u2029", "\u202F", "\u205F", "\u3000",
    };

    if (*text > ' ' && *text < 0x7F) { /* nearly always */
        return 0;
    }
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++) {
        size_t len = strlen(spaces[i]);

        if (strncmp((const char *)text, spaces[i], len) == 0) {
            return len;
        }
    }
    return 0;
}

static bool is_blank(const char *text)
{
    size_t len;

    while ((len = whitespace_length((const unsigned char *)text)) > 0) {
        text += len;
    }
    return *text == '\0';
}

/* Whether a text may be an identifier: a reference_id or a service's. It ends with a NUL. */
static bool is_identifier(const char *text, size_t len)
{
    return len <= IDENTIFIER_BYTES_MAX && !is_blank(text);
}

/* Sets the error. `what` names the argument; text is NULL where it is no string. */
static bool reject_identifier(const char *text, const char *what, struct error *error)
{
    if (text == NULL || is_blank(text)) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must be a non-empty string", what);
    }
    return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must be at most %d bytes long", what,
                     IDENTIFIER_BYTES_MAX);
}

/* An integer as JSON writes it, but for -0, which is 0. */
static bool copy_integer(struct slice number, char **copy)
{
    if (number.len == 2 && memcmp(number.data, "-0", 2) == 0) {
        number = (struct slice){.data = "0", .len = 1};
    }
    *copy = strndup(number.data, number.len);
    return *copy != NULL;
}

static bool is_integer(const struct json_member *member)
{
    return member->type == JSON_NUMBER && memchr(member->value.data, '.', member->value.len) == NULL &&
           memchr(member->value.data, 'e', member->value.len) == NULL &&
           memchr(member->value.data, 'E', member->value.len) == NULL;
}

static bool read_reference_id(const struct json_member *member, char **reference_id, struct error *error)
{
    const char *name = member->name;
    size_t len;

    if (member->type == JSON_INVALID || member->type == JSON_NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "%s is required", name);
    }
    if (is_integer(member)) {
        if (member->value.len > IDENTIFIER_BYTES_MAX) {
            return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must be at most %d bytes long", name,
                             IDENTIFIER_BYTES_MAX);
        }
        return copy_integer(member->value, reference_id) || out_of_memory(error);
    }
    if (member->type != JSON_STRING) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must be a non-empty string or an integer", name);
    }
    if (member->has_nul) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must not contain \\u0000", name);
    }
    *reference_id = malloc(member->value.len); /* which counts the quotes */
    if (*reference_id == NULL) {
        return out_of_memory(error); /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
    }
    len = json_string_decode(member->value, *reference_id);
    (*reference_id)[len] = '\0';
    return is_identifier(*reference_id, len) || reject_identifier(*reference_id, name, error);
}

static bool read_text(const struct json_member *member, struct text_argument *argument, struct error *error)
{
    switch (member->type) {
    case JSON_INVALID:
        argument->presence = PRESENCE_ABSENT;
        return true;
    case JSON_NULL:
        argument->presence = PRESENCE_CLEARED;
        return true;
    case JSON_STRING:
        argument->presence = PRESENCE_GIVEN;
        argument->json = member->value;
        return true;
    default:
        return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must be a string or null", member->name);
    }
}

/* One element of services, an object or an identifier alone: its identifier, and the name where it says
 * anything of one. A name that is absent leaves the one of an earlier link to the same service, null clears
 * it. */
struct service {
    struct json_object *identifier; /* owned */
    struct json_object *name;       /* owned; NULL where it is null or absent */
    bool names_it;
};

static bool read_service(const struct json_member *element, size_t index, struct service *service,
                         struct error *error)
{
    enum { IDENTIFIER, NAME, COUNT };
    struct json_member members[COUNT] = {[IDENTIFIER] = {.name = "identifier"}, [NAME] = {.name = "name"}};
    const char *identifier;
    bool stray_nul;

    if (element->type == JSON_STRING) {
        members[IDENTIFIER] = *element;
    } else if (element->type != JSON_OBJECT_BEGIN) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "services[%zu] must be an object or a string",
                         index);
    } else if (!json_find_members(element->value, members, COUNT, &stray_nul, error)) {
        /* LCOV_EXCL_START: the body has been checked as a whole before */
        return false;
        /* LCOV_EXCL_STOP */
    }
    if (members[IDENTIFIER].type == JSON_STRING) {
        service->identifier = parse_string(members[IDENTIFIER].value);
        if (service->identifier == NULL) {
            return out_of_memory(error); /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
        }
    }
    identifier = json_object_get_string(service->identifier); /* NULL of NULL */
    if (identifier == NULL ||
        !is_identifier(identifier, (size_t)json_object_get_string_len(service->identifier))) {
        char what[64];

        snprintf(what, sizeof what, "services[%zu]%s", index,
                 element->type == JSON_STRING ? "" : ".identifier");
        return reject_identifier(identifier, what, error);
    }
    service->names_it = members[NAME].type != JSON_INVALID;
    if (members[NAME].type == JSON_STRING) {
        service->name = parse_string(members[NAME].value);
        return service->name != NULL || out_of_memory(error);
    }
    if (service->names_it && members[NAME].type != JSON_NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "services[%zu].name must be a string or null",
                         index);
    }
    return true;
}

/* Adds to an array; false where there is no memory. json-c takes a reference over only where it adds. */
static bool add_reference(struct json_object *array, struct json_object *value)
{
    if (json_object_array_add(array, json_object_get(value)) == 0) {
        return true;
    }
    /* LCOV_EXCL_START: out of memory (exhaustion_test) */
    json_object_put(value);
    return false;
    /* LCOV_EXCL_STOP */
}

/* Adds a service to the links, or its name to the link that is there. `by_identifier` finds the latter. */
static bool link_service(const struct service *service, struct json_object *links,
                         struct lh_table *by_identifier, struct error *error)
{
    const char *identifier = json_object_get_string(service->identifier);
    struct json_object *link;
    void *known;
    bool ok;

    if (lh_table_lookup_ex(by_identifier, identifier, &known)) {
        /* In place of what stands there, for which no memory is needed. */
        return !service->names_it ||
               json_object_array_put_idx(known, 1, json_object_get(service->name)) == 0 ||
               out_of_memory(error); /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
    }
    link = json_object_new_array_ext(2);
    ok = link != NULL && add_reference(link, service->identifier) && add_reference(link, service->name) &&
         add_reference(links, link) && lh_table_insert(by_identifier, identifier, link) == 0;
    json_object_put(link); /* links has it */
    return ok || out_of_memory(error);
}

static bool link_services(struct slice array, struct json_object *links, struct lh_table *by_identifier,
                          struct error *error)
{
    struct json_reader reader;
    struct json_member element;

    json_reader_init(&reader, array);
    for (size_t i = 0; json_next_element(&reader, &element); i++) {
        struct service service = {0};
        bool ok;

        if (i == SERVICES_MAX) {
            return error_set(error, ERROR_INVALID_ARGUMENTS, "services must have at most %d elements",
                             SERVICES_MAX);
        }
        ok =
            read_service(&element, i, &service, error) && link_service(&service, links, by_identifier, error);
        json_object_put(service.identifier);
        json_object_put(service.name);
        if (!ok) {
            return false;
        }
    }
    return true;
}

/* The table by identifier borrows keys and links from the array of links: one of json-c's objects would copy
 * the keys, and lose a copy where it has no memory to grow. */
static bool read_services(const struct json_member *member, enum method_rules rules,
                          struct services_argument *services, struct error *error)
{
    struct lh_table *by_identifier;
    bool ok;

    if (rules == RULES_SYNC && (member->type == JSON_INVALID || member->type == JSON_NULL)) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "services is required");
    }
    if (member->type == JSON_INVALID || member->type == JSON_NULL) {
        services->presence = member->type == JSON_NULL ? PRESENCE_CLEARED : PRESENCE_ABSENT;
        return true;
    }
    if (member->type != JSON_ARRAY_BEGIN) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "services must be an array%s",
                         rules == RULES_UPSERT ? " or null" : "");
    }
    services->links = json_object_new_array();
    by_identifier = lh_kchar_table_new(SERVICES_EXPECTED, NULL);
    ok = services->links != NULL && by_identifier != NULL
             ? link_services(member->value, services->links, by_identifier, error)
             : out_of_memory(error);
    if (by_identifier != NULL) {
        lh_table_free(by_identifier);
    }
    if (ok) {
        services->presence =
            json_object_array_length(services->links) > 0 ? PRESENCE_GIVEN : PRESENCE_CLEARED;
    }
    return ok;
}

/* What stands in place of a timestamp; NULL where that is not known. */
static const char *describe_value(const struct json_member *member, const char *text, size_t len)
{
    switch (member->type) {
    case JSON_STRING:
        return timestamp_describe(text, len);
    case JSON_NUMBER:
        return "an epoch number";
    case JSON_OBJECT_BEGIN:
        return "an object";
    case JSON_ARRAY_BEGIN:
        return "an array";
    default:
        return "a boolean";
    }
}

static bool reject_timestamp(const struct json_member *member, const char *text, size_t len,
                             struct error *error)
{
    const char *found;

    if (member->type == JSON_STRING && timestamp_is_out_of_range(text, len)) {
        return error_set(error, ERROR_INVALID_TIMESTAMP, "%s must lie in the years 0001 to 9999, in UTC",
                         member->name);
    }
    if (member->type == JSON_STRING && timestamp_has_invalid_date(text, len)) {
        return error_set(error, ERROR_INVALID_TIMESTAMP, "%s names a date that does not exist", member->name);
    }
    found = describe_value(member, text, len);
    return error_set(error, ERROR_INVALID_TIMESTAMP,
                     "%s must be an ISO-8601 timestamp such as 2024-01-01T11:22:33Z%s%s", member->name,
                     found == NULL ? "" : ", not ", found == NULL ? "" : found);
}

static bool read_timestamp(const struct json_member *member, struct timestamp_argument *argument,
                           struct error *error)
{
    struct json_object *string;
    const char *text;
    size_t len;

    argument->presence = PRESENCE_ABSENT;
    if (member->type == JSON_INVALID) {
        return true;
    }
    if (member->type == JSON_NULL) {
        argument->presence = PRESENCE_CLEARED;
        return true;
    }
    if (member->type != JSON_STRING) {
        return reject_timestamp(member, "", 0, error);
    }
    if (timestamp_parse(member->value.data + 1, member->value.len - 2, &argument->micros)) {
        argument->presence = PRESENCE_GIVEN; /* without an escape, as nearly always */
        return true;
    }
    string = parse_string(member->value);
    if (string == NULL) {
        return out_of_memory(error); /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
    }
    text = json_object_get_string(string);
    len = (size_t)json_object_get_string_len(string);
    if (timestamp_parse(text, len, &argument->micros)) {
        argument->presence = PRESENCE_GIVEN;
    } else {
        reject_timestamp(member, text, len, error);
    }
    json_object_put(string);
    return argument->presence == PRESENCE_GIVEN;
}

/* Go programs write their zero time for none. */
static bool read_resolved_at(const struct json_member *member, struct timestamp_argument *resolved_at,
                             struct error *error)
{
    if (!read_timestamp(member, resolved_at, error)) {
        return false;
    }
    if (resolved_at->presence == PRESENCE_GIVEN && resolved_at->micros == TIMESTAMP_GO_ZERO) {
        resolved_at->presence = PRESENCE_CLEARED;
    }
    return true;
}

static bool read_metadata(const struct json_member *member, struct text_argument *metadata,
                          struct error *error)
{
    bool is_empty;

    if (member->type == JSON_INVALID) {
        metadata->presence = PRESENCE_ABSENT;
        return true;
    }
    if (!metadata_check(member, &is_empty, error)) {
        return false;
    }
    metadata->presence = is_empty ? PRESENCE_CLEARED : PRESENCE_GIVEN;
    metadata->json = member->value;
    return true;
}

/* A \u0000 outside metadata, wherever it stands, cannot be stored, and is not dropped silently. */
static bool check_no_nul(const struct json_member *members, bool stray_nul, struct error *error)
{
    for (size_t i = 0; i < ARGUMENT_METADATA; i++) {
        if (members[i].has_nul) {
            return error_set(error, ERROR_INVALID_ARGUMENTS, "%s must not contain \\u0000", members[i].name);
        }
    }
    return !stray_nul || error_set(error, ERROR_INVALID_ARGUMENTS, "the body must not contain \\u0000");
}

bool incident_read(struct slice body, enum method_rules rules, struct incident *incident, struct error *error)
{
    struct json_member members[ARGUMENT_COUNT];
    bool stray_nul;

    *incident = (struct incident){0};
    for (size_t i = 0; i < ARGUMENT_COUNT; i++) {
        members[i].name = argument_names[i];
    }
    if (!json_find_members(body, members, ARGUMENT_COUNT, &stray_nul, error)) {
        return false;
    }
    if (!read_reference_id(&members[ARGUMENT_REFERENCE_ID], &incident->reference_id, error)) {
        return false;
    }
    if (members[ARGUMENT_STARTED_AT].type == JSON_INVALID || members[ARGUMENT_STARTED_AT].type == JSON_NULL) {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "started_at is required");
    }
    return check_no_nul(members, stray_nul, error) &&
           read_text(&members[ARGUMENT_NAME], &incident->name, error) &&
           read_text(&members[ARGUMENT_PRIORITY], &incident->priority, error) &&
           read_text(&members[ARGUMENT_SOURCE_URL], &incident->source_url, error) &&
           read_services(&members[ARGUMENT_SERVICES], rules, &incident->services, error) &&
           read_timestamp(&members[ARGUMENT_STARTED_AT], &incident->started_at, error) &&
           read_resolved_at(&members[ARGUMENT_RESOLVED_AT], &incident->resolved_at, error) &&
           read_metadata(&members[ARGUMENT_METADATA], &incident->metadata, error);
}

bool incident_read_reference(struct slice body, struct incident *incident, struct error *error)
{
    struct json_member member = {.name = argument_names[ARGUMENT_REFERENCE_ID]};
    bool stray_nul;

    *incident = (struct incident){0};
    return json_find_members(body, &member, 1, &stray_nul, error) &&
           read_reference_id(&member, &incident->reference_id, error) &&
           (!stray_nul || error_set(error, ERROR_INVALID_ARGUMENTS, "the body must not contain \\u0000"));
}

void incident_trim(struct incident *incident)
{
    json_object_put(incident->services.links);
    incident->services.links = NULL;
}

void incident_free(struct incident *incident)
{
    free(incident->reference_id);
    incident_trim(incident);
    *incident = (struct incident){0};
}
