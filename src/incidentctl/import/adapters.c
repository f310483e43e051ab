/* From what a file holds to the body of an upsert: our own names, and those of the systems that people leave.
 *
 * PagerDuty: incidents as the REST API lists them (https://developer.pagerduty.com/api-reference/, GET
 * /incidents), and as analytics gives them, JSON or CSV (POST /analytics/raw/incidents: description,
 * service_id, service_name, priority_name); created_on and resolved_on are what older reports call the
 * times. Opsgenie: incidents as https://docs.opsgenie.com/docs/incident-api lists them; DX, too, takes
 * impactEndDate for the resolution (https://docs.getdx.com/schema/opsgenie_incidents). DX:
 * https://docs.getdx.com/schema/incidents. */
#include "incidentctl/import/adapters.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"

enum { KEEP_BYTES = 256 * 1024 };

static const struct {
    const char *text;
    enum import_format format;
} formats[] = {
    {"jsonl", FORMAT_JSONL},         {"json", FORMAT_JSON},         {"csv", FORMAT_CSV},
    {"pagerduty", FORMAT_PAGERDUTY}, {"opsgenie", FORMAT_OPSGENIE}, {"dx", FORMAT_DX},
};

enum import_format format_from_text(const char *text)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(text, formats[i].text) == 0) {
            return formats[i].format;
        }
    }
    return FORMAT_UNKNOWN;
}

/* Columns, and the member of the JSON form that each stands for. Those with a period come from flattened
 * JSON. */
static const struct alias pagerduty_columns[] = {
    {"id", "id"},
    {"incident_number", "incident_number"},
    {"title", "title"},
    {"description", "description"},
    {"status", "status"},
    {"urgency", "urgency"},
    {"priority_name", "priority_name"},
    {"priority.summary", "priority_name"},
    {"html_url", "html_url"},
    {"created_at", "created_at"},
    {"created_on", "created_at"},
    {"resolved_at", "resolved_at"},
    {"resolved_on", "resolved_at"},
    {"last_status_change_at", "last_status_change_at"},
    {"service_id", "service_id"},
    {"service.id", "service_id"},
    {"service_name", "service_name"},
    {"service.summary", "service_name"},
    {NULL, NULL},
};
static const struct alias opsgenie_columns[] = {
    {"id", "id"},
    {"tiny_id", "tinyId"},
    {"message", "message"},
    {"status", "status"},
    {"priority", "priority"},
    {"owner_team", "ownerTeam"},
    {"links.web", "url"},
    {"created_at", "createdAt"},
    {"updated_at", "updatedAt"},
    {"impact_start_date", "impactStartDate"},
    {"impact_end_date", "impactEndDate"},
    {"impacted_services", "impactedServices"},
    {"service_id", "serviceId"},
    {NULL, NULL},
};
static const struct alias dx_columns[] = {
    {"id", "id"},
    {"name", "name"},
    {"priority", "priority"},
    {"source_id", "source_id"},
    {"source_url", "source_url"},
    {"started_at", "started_at"},
    {"resolved_at", "resolved_at"},
    {"deleted", "deleted"},
    {NULL, NULL},
};

void adapter_init(struct adapter *adapter, enum import_format format, const char *separator)
{
    *adapter = (struct adapter){.format = format};
    csv_table_init(&adapter->table, separator);
    buffer_init(&adapter->flat, 8 * SOURCE_RECORD_MAX);
    buffer_init(&adapter->body, 8 * SOURCE_RECORD_MAX);
}

void adapter_free(struct adapter *adapter)
{
    csv_table_free(&adapter->table);
    buffer_free(&adapter->flat);
    buffer_free(&adapter->body);
    dx_rows_free(&adapter->services);
    dx_rows_free(&adapter->metadata);
}

/* What a header is, where that is beyond doubt. */
static enum import_format guess_format(const struct csv_row *header)
{
    if (row_has(header, "reference_id")) {
        return FORMAT_CSV;
    }
    if (row_has(header, "incident_number") && row_has(header, "id")) {
        return FORMAT_PAGERDUTY;
    }
    if (row_has(header, "tinyId") && row_has(header, "message")) {
        return FORMAT_OPSGENIE;
    }
    if (row_has(header, "source_id") && row_has(header, "started_at")) {
        return FORMAT_DX;
    }
    return FORMAT_CSV; /* which says what it lacks */
}

/* The columns without which no row could be good. */
static bool check_columns(const struct csv_row *header, const char *one, const char *other,
                          const char *another)
{
    const char *missing = !row_has(header, one)                                  ? one
                          : !row_has(header, other) && !row_has(header, another) ? other
                                                                                 : NULL;

    if (missing != NULL) {
        (void)fprintf(stderr, "incidentctl: the header lacks a column that every incident needs: \"%s\"\n",
                      missing);
    }
    return missing == NULL;
}

static bool take_columns(struct adapter *adapter, const struct csv_row *header)
{
    switch (adapter->format) {
    case FORMAT_PAGERDUTY:
        return check_columns(header, "id", "created_at", "created_on") &&
               csv_table_set_aliases(&adapter->table, header, pagerduty_columns);
    case FORMAT_OPSGENIE:
        return check_columns(header, "id", "createdAt", "impactStartDate") &&
               csv_table_set_aliases(&adapter->table, header, opsgenie_columns);
    case FORMAT_DX:
        return check_columns(header, "source_id", "started_at", "started_at") &&
               check_columns(header, "id", "id", "id") &&
               csv_table_set_aliases(&adapter->table, header, dx_columns);
    default:
        return csv_table_set_arguments(&adapter->table, header);
    }
}

bool adapter_take_header(struct adapter *adapter, struct slice text)
{
    struct csv_row header;
    const char *fault;
    bool ok;

    csv_row_init(&header);
    fault = utf8_is_valid(text.data, text.len) ? csv_split(&header, text) : "is not valid UTF-8";
    if (fault != NULL) {
        (void)fprintf(stderr, "incidentctl: the first row, the header, %s\n", fault);
    }
    if (adapter->format == FORMAT_UNKNOWN) {
        adapter->format = guess_format(&header);
    }
    ok = fault == NULL && take_columns(adapter, &header);
    csv_row_free(&header);
    return ok;
}

static bool is_given(const struct json_member *member)
{
    return member->type != JSON_INVALID && member->type != JSON_NULL;
}

/* Appends a member with the first value that is given; else null, where the last of them is null. */
static void append_first(struct buffer *body, const char *name, const struct json_member *one,
                         const struct json_member *other)
{
    const struct json_member *chosen = is_given(one) || other == NULL ? one : other;

    if (chosen->type == JSON_INVALID && one->type == JSON_NULL) {
        chosen = one;
    }
    if (chosen->type != JSON_INVALID) {
        append_json_member(body, name, chosen->value);
    }
}

/* Looks for the members of these names in a whole record. */
static bool find_named(struct slice record, const char *const *names, struct json_member *members,
                       size_t count, struct error *error)
{
    bool stray_nul; /* which incident_read finds, where it is copied */

    for (size_t i = 0; i < count; i++) {
        members[i].name = names[i];
    }
    return json_find_members(record, members, count, &stray_nul, error);
}

/* Looks for two members of a value, which is known to be valid; neither is found where it is no object. */
static void look_into(const struct json_member *value, struct json_member members[static 2])
{
    struct error unused;
    bool stray_nul;

    members[0].type = members[1].type = JSON_INVALID;
    if (value->type == JSON_OBJECT_BEGIN) {
        (void)json_find_members(value->value, members, 2, &stray_nul, &unused);
    }
}

static void append_service(struct buffer *body, const struct json_member *identifier,
                           const struct json_member *name)
{
    if (is_given(identifier)) {
        append_member_name(body, "services", 8);
        buffer_append_text(body, "[{");
        append_json_member(body, "identifier", identifier->value);
        append_first(body, "name", name, NULL);
        buffer_append_text(body, "}]");
    }
}

/* Opens the metadata, or closes it again where nothing is in it: it would be taken for {}, which clears. */
static size_t open_metadata(struct buffer *body)
{
    append_member_name(body, "metadata", 8);
    buffer_append_text(body, "{");
    return body->len;
}

static void close_metadata(struct buffer *body, size_t opened)
{
    if (body->len == opened && !body->failed) {
        body->len -= strlen(",\"metadata\":{");
        body->data[body->len] = '\0';
    } else {
        buffer_append_text(body, "}");
    }
}

enum {
    PD_ID,
    PD_TITLE,
    PD_DESCRIPTION,
    PD_STATUS,
    PD_URGENCY,
    PD_NUMBER,
    PD_PRIORITY,
    PD_PRIORITY_NAME,
    PD_URL,
    PD_CREATED,
    PD_RESOLVED,
    PD_CHANGED,
    PD_SERVICE,
    PD_SERVICE_ID,
    PD_SERVICE_NAME,
    PD_COUNT
};

static const char *const pagerduty_names[PD_COUNT] = {
    [PD_ID] = "id",
    [PD_TITLE] = "title",
    [PD_DESCRIPTION] = "description",
    [PD_STATUS] = "status",
    [PD_URGENCY] = "urgency",
    [PD_NUMBER] = "incident_number",
    [PD_PRIORITY] = "priority",
    [PD_PRIORITY_NAME] = "priority_name",
    [PD_URL] = "html_url",
    [PD_CREATED] = "created_at",
    [PD_RESOLVED] = "resolved_at",
    [PD_CHANGED] = "last_status_change_at",
    [PD_SERVICE] = "service",
    [PD_SERVICE_ID] = "service_id",
    [PD_SERVICE_NAME] = "service_name",
};

static bool adapt_pagerduty(struct slice record, struct buffer *body, struct error *error)
{
    struct json_member m[PD_COUNT];
    struct json_member priority[] = {{.name = "summary"}, {.name = "name"}};
    struct json_member service[] = {{.name = "id"}, {.name = "summary"}};
    bool is_resolved;
    size_t opened;

    if (!find_named(record, pagerduty_names, m, PD_COUNT, error)) {
        return false;
    }
    look_into(&m[PD_PRIORITY], priority);
    look_into(&m[PD_SERVICE], service);
    is_resolved = m[PD_STATUS].type == JSON_STRING && json_string_equals(m[PD_STATUS].value, "resolved");
    append_first(body, "reference_id", &m[PD_ID], NULL);
    append_first(body, "name", &m[PD_TITLE], &m[PD_DESCRIPTION]);
    append_first(body, "priority", is_given(&priority[0]) ? &priority[0] : &priority[1],
                 &m[PD_PRIORITY_NAME]);
    append_first(body, "source_url", &m[PD_URL], NULL);
    append_first(body, "started_at", &m[PD_CREATED], NULL);
    append_first(body, "resolved_at", &m[PD_RESOLVED], is_resolved ? &m[PD_CHANGED] : NULL);
    if (is_given(&service[0])) {
        append_service(body, &service[0], &service[1]);
    } else { /* a report may have its name alone */
        append_service(body, is_given(&m[PD_SERVICE_ID]) ? &m[PD_SERVICE_ID] : &m[PD_SERVICE_NAME],
                       &m[PD_SERVICE_NAME]);
    }
    opened = open_metadata(body);
    append_first(body, "incident_number", &m[PD_NUMBER], NULL);
    append_first(body, "urgency", &m[PD_URGENCY], NULL);
    close_metadata(body, opened);
    return true;
}

/* Opsgenie lists services by their ids; in a CSV cell they are separated. Anything else is handed on as it
 * is, to be refused: no services at all would clear what is stored. */
static void append_impacted(const struct adapter *adapter, const struct json_member *ids, struct buffer *body)
{
    struct json_reader reader;
    struct json_member id;
    bool is_first = true;

    if (ids->type != JSON_ARRAY_BEGIN && ids->type != JSON_STRING) {
        append_json_member(body, "services", ids->value);
        return;
    }
    append_member_name(body, "services", 8);
    buffer_append_text(body, "[");
    json_reader_init(&reader, ids->value);
    while (ids->type == JSON_ARRAY_BEGIN && json_next_element(&reader, &id)) {
        buffer_append_text(body, is_first ? "{" : ",{");
        append_json_member(body, "identifier", id.value);
        buffer_append_text(body, "}");
        is_first = false;
    }
    for (struct slice rest = {.data = ids->value.data + 1, .len = ids->value.len - 2};
         ids->type == JSON_STRING && rest.len > 0;) {
        const char *end =
            memmem(rest.data, rest.len, adapter->table.separator, strlen(adapter->table.separator));
        size_t len = end != NULL ? (size_t)(end - rest.data) : rest.len;
        size_t past = end != NULL ? len + strlen(adapter->table.separator) : len;

        buffer_append_text(body, is_first ? "{\"identifier\":\"" : ",{\"identifier\":\"");
        buffer_append(body, rest.data, len);
        buffer_append_text(body, "\"}");
        rest = (struct slice){.data = rest.data + past, .len = rest.len - past};
        is_first = false;
    }
    buffer_append_text(body, "]");
}

/* Appends the name of a member, with a '_' for each byte that the keys of metadata may not have. */
static void append_tamed_name(struct buffer *body, struct slice quoted)
{
    buffer_append_text(body, body->data != NULL && body->data[body->len - 1] != '{' ? ",\"" : "\"");
    for (size_t i = 1; i + 1 < quoted.len; i++) {
        char byte = quoted.data[i];
        bool is_kept = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                       (byte >= '0' && byte <= '9') || byte == '-';

        buffer_append(body, is_kept ? &byte : "_", 1);
    }
    buffer_append_text(body, quoted.len > 2 ? "\":" : "_\":");
}

/* Copies the members of an object whose names may be any. */
static void append_properties(struct buffer *body, const struct json_member *properties)
{
    struct json_reader reader;
    struct json_token token;
    size_t value = 0;

    json_reader_init(&reader, properties->value);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT) {
        if (token.depth != 1) {
            continue;
        }
        if (token.event == JSON_KEY) {
            append_tamed_name(body, token.text);
            value = 0;
            continue;
        }
        value = value == 0 ? (size_t)(token.text.data - properties->value.data) : value;
        if (token.event != JSON_OBJECT_BEGIN && token.event != JSON_ARRAY_BEGIN) {
            buffer_append(body, properties->value.data + value, reader.at - value);
        }
    }
}

enum {
    OG_ID,
    OG_TINY_ID,
    OG_MESSAGE,
    OG_STATUS,
    OG_PRIORITY,
    OG_OWNER,
    OG_LINKS,
    OG_URL,
    OG_CREATED,
    OG_UPDATED,
    OG_STARTED,
    OG_ENDED,
    OG_IMPACTED,
    OG_SERVICE_ID,
    OG_TAGS,
    OG_PROPERTIES,
    OG_COUNT
};

static const char *const opsgenie_names[OG_COUNT] = {
    [OG_ID] = "id",
    [OG_TINY_ID] = "tinyId",
    [OG_MESSAGE] = "message",
    [OG_STATUS] = "status",
    [OG_PRIORITY] = "priority",
    [OG_OWNER] = "ownerTeam",
    [OG_LINKS] = "links",
    [OG_URL] = "url",
    [OG_CREATED] = "createdAt",
    [OG_UPDATED] = "updatedAt",
    [OG_STARTED] = "impactStartDate",
    [OG_ENDED] = "impactEndDate",
    [OG_IMPACTED] = "impactedServices",
    [OG_SERVICE_ID] = "serviceId",
    [OG_TAGS] = "tags",
    [OG_PROPERTIES] = "extraProperties",
};

static bool adapt_opsgenie(const struct adapter *adapter, struct slice record, struct buffer *body,
                           struct error *error)
{
    struct json_member m[OG_COUNT];
    struct json_member links[] = {{.name = "web"}, {.name = "api"}}, none = {.type = JSON_INVALID};
    bool is_over;
    size_t opened;

    if (!find_named(record, opsgenie_names, m, OG_COUNT, error)) {
        return false;
    }
    look_into(&m[OG_LINKS], links);
    is_over = m[OG_STATUS].type == JSON_STRING && (json_string_equals(m[OG_STATUS].value, "resolved") ||
                                                   json_string_equals(m[OG_STATUS].value, "closed"));
    append_first(body, "reference_id", &m[OG_ID], NULL);
    append_first(body, "name", &m[OG_MESSAGE], NULL);
    append_first(body, "priority", &m[OG_PRIORITY], NULL);
    append_first(body, "source_url", &links[0], &m[OG_URL]);
    append_first(body, "started_at", &m[OG_STARTED], &m[OG_CREATED]);
    append_first(body, "resolved_at", &m[OG_ENDED], is_over ? &m[OG_UPDATED] : NULL);
    if (is_given(&m[OG_IMPACTED])) {
        append_impacted(adapter, &m[OG_IMPACTED], body);
    } else {
        append_service(body, &m[OG_SERVICE_ID], &none);
    }
    opened = open_metadata(body);
    if (m[OG_PROPERTIES].type == JSON_OBJECT_BEGIN) {
        append_properties(body, &m[OG_PROPERTIES]);
    } else {
        append_first(body, "extraProperties", &m[OG_PROPERTIES], NULL);
    }
    append_first(body, "tinyId", &m[OG_TINY_ID], NULL);
    append_first(body, "ownerTeam", &m[OG_OWNER], NULL);
    append_first(body, "tags", &m[OG_TAGS], NULL);
    close_metadata(body, opened);
    return true;
}

enum {
    IN_DX_ID,
    IN_DX_NAME,
    IN_DX_PRIORITY,
    IN_DX_SOURCE_ID,
    IN_DX_URL,
    IN_DX_STARTED,
    IN_DX_RESOLVED,
    IN_DX_DELETED,
    IN_DX_COUNT
};

static const char *const dx_names[IN_DX_COUNT] = {
    [IN_DX_ID] = "id",
    [IN_DX_NAME] = "name",
    [IN_DX_PRIORITY] = "priority",
    [IN_DX_SOURCE_ID] = "source_id",
    [IN_DX_URL] = "source_url",
    [IN_DX_STARTED] = "started_at",
    [IN_DX_RESOLVED] = "resolved_at",
    [IN_DX_DELETED] = "deleted",
};

/* As databases and spreadsheets write a boolean. What is neither must not bring a deleted incident back. */
static bool read_deleted(const struct json_member *member, bool *is_deleted, struct error *error)
{
    static const char *const yes[] = {"t", "true", "y", "yes", "1"}, *const no[] = {"",  "f",  "false",
                                                                                    "n", "no", "0"};
    struct slice text = member->value;

    *is_deleted = member->type == JSON_TRUE;
    if (member->type == JSON_INVALID || member->type == JSON_NULL || member->type == JSON_TRUE ||
        member->type == JSON_FALSE) {
        return true;
    }
    if (member->type == JSON_STRING) {
        text = (struct slice){.data = text.data + 1, .len = text.len - 2};
    }
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strlen(yes[i]) == text.len && strncasecmp(yes[i], text.data, text.len) == 0) {
            *is_deleted = true;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        if (strlen(no[i]) == text.len && strncasecmp(no[i], text.data, text.len) == 0) {
            return true;
        }
    }
    return error_set(error, ERROR_INVALID_ARGUMENTS, "deleted must be true or false");
}

static enum adapted adapt_dx(struct adapter *adapter, struct slice record, struct buffer *body,
                             struct error *error)
{
    struct json_member m[IN_DX_COUNT];
    bool ok = true, is_deleted;

    if (!find_named(record, dx_names, m, IN_DX_COUNT, error)) {
        return ADAPTED_BAD;
    }
    append_first(body, "reference_id", &m[IN_DX_SOURCE_ID], NULL);
    append_first(body, "name", &m[IN_DX_NAME], NULL);
    append_first(body, "priority", &m[IN_DX_PRIORITY], NULL);
    append_first(body, "source_url", &m[IN_DX_URL], NULL);
    append_first(body, "started_at", &m[IN_DX_STARTED], NULL);
    append_first(body, "resolved_at", &m[IN_DX_RESOLVED], NULL);
    if (is_given(&m[IN_DX_ID])) {
        dx_append_services(&adapter->services, m[IN_DX_ID].value, body);
        ok = dx_append_metadata(&adapter->metadata, m[IN_DX_ID].value, body, error);
    }
    if (!read_deleted(&m[IN_DX_DELETED], &is_deleted, error)) {
        return ADAPTED_BAD;
    }
    if (is_deleted) {
        return ADAPTED_LEFT_OUT;
    }
    return ok ? ADAPTED_GOOD : ADAPTED_BAD;
}

static enum adapted adapt(struct adapter *adapter, struct slice record, struct error *error)
{
    enum adapted adapted;

    buffer_reset(&adapter->body, KEEP_BYTES);
    buffer_append_text(&adapter->body, "{");
    if (adapter->format == FORMAT_DX) {
        adapted = adapt_dx(adapter, record, &adapter->body, error);
    } else if (adapter->format == FORMAT_OPSGENIE) {
        adapted = adapt_opsgenie(adapter, record, &adapter->body, error) ? ADAPTED_GOOD : ADAPTED_BAD;
    } else {
        adapted = adapt_pagerduty(record, &adapter->body, error) ? ADAPTED_GOOD : ADAPTED_BAD;
    }
    buffer_append_text(&adapter->body, "}");
    if (adapted == ADAPTED_GOOD && adapter->body.failed) {
        (void)error_set(error, ERROR_INTERNAL, "out of memory");
        return ADAPTED_BAD;
    }
    return adapted;
}

enum adapted adapter_apply(struct adapter *adapter, enum source_kind kind, struct slice record,
                           struct slice *body, struct error *error)
{
    enum adapted adapted;

    *body = record;
    if (kind == SOURCE_ROWS) {
        buffer_reset(&adapter->flat, KEEP_BYTES);
        if (!csv_table_read(&adapter->table, record, &adapter->flat, error)) {
            return ADAPTED_BAD;
        }
        *body = (struct slice){.data = adapter->flat.data, .len = adapter->flat.len};
    }
    if (adapter->format != FORMAT_PAGERDUTY && adapter->format != FORMAT_OPSGENIE &&
        adapter->format != FORMAT_DX) {
        return ADAPTED_GOOD;
    }
    adapted = adapt(adapter, *body, error);
    *body = (struct slice){.data = adapter->body.data, .len = adapter->body.len};
    return adapted;
}
