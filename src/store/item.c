/* One request to the database, encoded for intake.apply_batch. */
#include "store/item.h"

#include <string.h>

#include "model/timestamp.h"

/* Far more than a body of the largest size that can be configured takes. */
static const size_t JSON_MAX = (size_t)256 * 1024 * 1024;

static const char *const operation_names[] = {
    [ITEM_UPSERT] = "upsert", [ITEM_DELETE] = "delete", [ITEM_AUTHORIZE] = "authorize", [ITEM_PING] = "ping"};

static const char *const scope_names[] = {[SCOPE_UPSERT] = "upsert", [SCOPE_DELETE] = "delete"};

static const struct {
    const char *text;
    enum item_outcome outcome;
} outcomes[] = {
    {"created", ITEM_CREATED}, {"updated", ITEM_UPDATED},       {"unchanged", ITEM_UNCHANGED},
    {"deleted", ITEM_DELETED}, {"not_found", ITEM_NOT_FOUND},   {"authorized", ITEM_AUTHORIZED},
    {"ready", ITEM_READY},     {"not_authed", ITEM_NOT_AUTHED}, {"not_permitted", ITEM_NOT_PERMITTED},
};

enum item_outcome item_outcome_from_text(const char *text)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (strcmp(text, outcomes[i].text) == 0) {
            return outcomes[i].outcome;
        }
    }
    return ITEM_FAILED;
}

const char *item_outcome_text(enum item_outcome outcome)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
        if (outcome == outcomes[i].outcome) {
            return outcomes[i].text;
        }
    }
    return NULL;
}

/* Starts the object; every later member begins with a comma. */
static void begin(struct item *item, enum item_operation operation)
{
    *item = (struct item){.outcome = ITEM_PENDING};
    buffer_init(&item->json, JSON_MAX);
    buffer_append_text(&item->json, "{\"op\":\"");
    buffer_append_text(&item->json, operation_names[operation]);
    buffer_append_text(&item->json, "\"");
}

static bool end(struct item *item)
{
    buffer_append_text(&item->json, "}");
    return !item->json.failed;
}

static void append_key(struct item *item, const char *key)
{
    buffer_append_text(&item->json, ",\"");
    buffer_append_text(&item->json, key);
    buffer_append_text(&item->json, "\":");
}

/* For a value that needs no escaping. */
static void append_plain(struct item *item, const char *key, const char *value)
{
    append_key(item, key);
    buffer_append_text(&item->json, "\"");
    buffer_append_text(&item->json, value);
    buffer_append_text(&item->json, "\"");
}

static void append_text(struct item *item, const char *key, const struct text_argument *argument)
{
    if (argument->presence == PRESENCE_ABSENT) {
        return;
    }
    append_key(item, key);
    if (argument->presence == PRESENCE_CLEARED) {
        buffer_append_text(&item->json, "null");
    } else {
        buffer_append_slice(&item->json, argument->json);
    }
}

static void append_timestamp(struct item *item, const char *key, const struct timestamp_argument *argument)
{
    char text[TIMESTAMP_TEXT_MAX];

    if (argument->presence == PRESENCE_CLEARED) {
        append_key(item, key);
        buffer_append_text(&item->json, "null");
    } else if (argument->presence == PRESENCE_GIVEN) {
        timestamp_format(argument->micros, text);
        append_plain(item, key, text);
    }
}

/* A string of json-c's, or null. */
static void append_string(struct item *item, struct json_object *string)
{
    if (string == NULL) {
        buffer_append_text(&item->json, "null");
    } else {
        buffer_append_json_string(&item->json, json_object_get_string(string),
                                  (size_t)json_object_get_string_len(string));
    }
}

/* An array of an identifier and a name. Not written by json-c: where that has no memory for a piece of a
 * text, it goes on with the next and says nothing. */
static void append_link(struct item *item, struct json_object *link)
{
    buffer_append_text(&item->json, "[");
    append_string(item, json_object_array_get_idx(link, 0));
    buffer_append_text(&item->json, ",");
    append_string(item, json_object_array_get_idx(link, 1));
    buffer_append_text(&item->json, "]");
}

static void append_services(struct item *item, const struct services_argument *services)
{
    if (services->presence == PRESENCE_ABSENT) {
        return;
    }
    append_key(item, "services");
    buffer_append_text(&item->json, "[");
    if (services->presence == PRESENCE_GIVEN) {
        for (size_t i = 0; i < json_object_array_length(services->links); i++) {
            buffer_append_text(&item->json, i == 0 ? "" : ",");
            append_link(item, json_object_array_get_idx(services->links, i));
        }
    }
    buffer_append_text(&item->json, "]");
}

static void append_reference_id(struct item *item, const struct incident *incident)
{
    item->reference_id = incident->reference_id;
    append_key(item, "reference_id");
    buffer_append_json_string(&item->json, incident->reference_id, strlen(incident->reference_id));
}

bool item_upsert(struct item *item, const char *token_hash, const struct incident *incident)
{
    begin(item, ITEM_UPSERT);
    append_plain(item, "token", token_hash);
    append_reference_id(item, incident);
    append_timestamp(item, "started_at", &incident->started_at);
    append_timestamp(item, "resolved_at", &incident->resolved_at);
    append_text(item, "name", &incident->name);
    append_text(item, "priority", &incident->priority);
    append_text(item, "source_url", &incident->source_url);
    append_services(item, &incident->services);
    append_text(item, "metadata", &incident->metadata);
    return end(item);
}

bool item_delete(struct item *item, const char *token_hash, const struct incident *incident)
{
    begin(item, ITEM_DELETE);
    append_plain(item, "token", token_hash);
    append_reference_id(item, incident);
    return end(item);
}

bool item_authorize(struct item *item, const char *token_hash, enum scope scope)
{
    begin(item, ITEM_AUTHORIZE);
    append_plain(item, "token", token_hash);
    append_plain(item, "scope", scope_names[scope]);
    return end(item);
}

bool item_ping(struct item *item)
{
    begin(item, ITEM_PING);
    return end(item);
}

void item_free(struct item *item)
{
    buffer_free(&item->json);
}
