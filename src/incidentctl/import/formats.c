/* The formats that an import knows. */
#include "incidentctl/import/formats.h"

#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "incidentctl/import/show.h"
#include "incidentctl/support/print_error.h"

/* Jira writes the times of a CSV file as its administrator has set it: these are its own, old and new. */
static const char *const jira_dates[] = {"%d/%b/%y %I:%M %p", "%d/%b/%y %H:%M", "%d/%b/%Y %I:%M %p",
                                         "%d/%b/%Y %H:%M", NULL};

/* Opsgenie's alerts: their CSV has nothing else, and so does the end that their filter works out. */
static const char *const unix_ms[] = {"unix-ms", NULL};

static const struct format formats[] = {
    {"jsonl", FORMAT_JSONL, NULL},
    {"json", FORMAT_JSON, NULL},
    {"csv", FORMAT_CSV, NULL},
    {"dx", FORMAT_DX, NULL},
    {"pagerduty", FORMAT_FILTERED, NULL},
    {"opsgenie", FORMAT_FILTERED, NULL},
    {"opsgenie-alerts", FORMAT_FILTERED, unix_ms},
    {"statuspage", FORMAT_FILTERED, NULL},
    {"servicenow", FORMAT_FILTERED, NULL},
    {"firehydrant", FORMAT_FILTERED, NULL},
    {"incident-io", FORMAT_FILTERED, NULL},
    {"datadog", FORMAT_FILTERED, NULL},
    {"rootly", FORMAT_FILTERED, NULL},
    {"squadcast", FORMAT_FILTERED, NULL},
    {"jira", FORMAT_FILTERED, jira_dates},
};
enum { FORMATS = sizeof formats / sizeof formats[0], NAMES_SHOWN = 12 };

const struct format format_of_caller = {"--jq", FORMAT_FILTERED, NULL};

const struct format *format_by_name(const char *name)
{
    for (size_t i = 0; i < FORMATS; i++) {
        if (strcmp(name, formats[i].name) == 0) {
            return &formats[i];
        }
    }
    return NULL;
}

bool format_is_filtered(const struct format *format)
{
    return format->kind >= FORMAT_FILTERED;
}

/* Writes the names, with commas between them and "or" before the last. */
static void list_names(char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < FORMATS && used < size; i++) {
        const char *before = i == 0 ? "" : i + 1 == FORMATS ? " or " : ", ";

        used += (size_t)snprintf(text + used, size - used, "%s%s", before, formats[i].name);
    }
}

bool format_print_misspelt(const char *name)
{
    struct suggestion best = {0};
    char known[512];

    for (size_t i = 0; i < FORMATS; i++) {
        suggest_consider(&best, name, formats[i].name);
    }
    if (best.known != NULL) {
        return print_error("there is no format \"%s\"; did you mean %s?", name, best.known);
    }
    list_names(known, sizeof known);
    return print_error("--format must be %s; see incidentctl --help", known);
}

bool format_print_unknown(const char *input, const char *what, jv names)
{
    struct buffer shown;
    char known[512];

    buffer_init(&shown, 64 * 1024);
    for (int i = 0, count = jv_array_length(jv_copy(names)); i < count && i < NAMES_SHOWN; i++) {
        jv name = jv_array_get(jv_copy(names), i);

        buffer_append_text(&shown, i == 0 ? "\"" : "\", \"");
        append_shown(&shown,
                     (struct slice){.data = jv_string_value(name),
                                    .len = (size_t)jv_string_length_bytes(jv_copy(name))},
                     64);
        jv_free(name);
    }
    buffer_append_text(&shown, shown.len == 0                                  ? "none"
                               : jv_array_length(jv_copy(names)) > NAMES_SHOWN ? "\" ..."
                                                                               : "\"");
    jv_free(names);
    list_names(known, sizeof known);
    print_error("unable to tell the format of %s: its %s are %s; looked for reference_id and started_at, "
                "and for those of %s; name the format by --format, or map it by --jq FILE",
                input, what, shown.data, strstr(known, "dx"));
    buffer_free(&shown);
    return false;
}

bool format_is_page(const struct format *format)
{
    return format->kind == FORMAT_FILTERED && format != &format_of_caller;
}

jv format_unwrap(jv record)
{
    static const char *const wrappers[] = {"data", "incident", "result"};

    if (jv_get_kind(record) != JV_KIND_OBJECT || jv_object_has(jv_copy(record), jv_string("id"))) {
        return record;
    }
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        jv incident = jv_object_get(jv_copy(record), jv_string(wrappers[i]));

        if (jv_get_kind(incident) == JV_KIND_OBJECT) {
            jv_free(record);
            return incident;
        }
        jv_free(incident);
    }
    return record;
}

/* What only one format has: all of the first names, and one of the others where there are any. Names of a CSV
 * file's columns are as column_append_key makes them. The first that fits is it. */
static const struct signature {
    const char *format; /* NULL for our own */
    const char *all[4];
    const char *one[6];
    const char *attribute; /* that the object "attributes" has, of JSON:API; NULL for none */
} signatures[] = {
    {NULL, {"reference_id"}, {NULL}, NULL},
    {"opsgenie-alerts", {"alert_id", "tiny_id", "message"}, {NULL}, NULL},
    {"opsgenie-alerts",
     {"id", "tinyId", "message"},
     {"alias", "lastOccurredAt", "acknowledged", "report"},
     NULL},
    {"opsgenie",
     {"id", "message"},
     {"tinyId", "tiny_id", "impactStartDate", "impact_start_date", "impactedServices", "impacted_services"},
     NULL},
    {"servicenow", {"number", "short_description"}, {NULL}, NULL},
    {"pagerduty", {"id", "incident_number"}, {NULL}, NULL},
    {"statuspage", {"id", "impact"}, {"shortlink", "incident_updates", "components"}, NULL},
    {"firehydrant", {"id", "current_milestone"}, {NULL}, NULL},
    {"incident-io", {"id", "incident_status"}, {NULL}, NULL},
    {"rootly", {"id"}, {NULL}, "sequential_id"},
    {"rootly", {"id"}, {NULL}, "slug"},
    {"datadog", {"id"}, {NULL}, "customer_impacted"},
    {"datadog", {"id"}, {NULL}, "public_id"},
    {"datadog", {"type"}, {NULL}, "facets"}, /* of a search */
    {"jira", {"key", "fields"}, {NULL}, NULL},
    {"jira", {"summary"}, {"issue_key", "key"}, NULL},
    {"squadcast", {"id", "created_at", "resolved_at"}, {"alert_source", "service", "tta_ms", "ttr_ms"}, NULL},
    {"squadcast", {"id", "created_at", "title", "status"}, {"alert_source", "service", "event_count"}, NULL},
    {"dx", {"source_id", "started_at", "id"}, {NULL}, NULL},
    {NULL, {"source_id", "started_at"}, {NULL}, NULL}, /* our own export as CSV */
};

static bool has(jv record, const char *name)
{
    return jv_object_has(jv_copy(record), jv_string(name)) != 0;
}

static bool has_attribute(jv record, const char *name)
{
    jv attributes = jv_object_get(jv_copy(record), jv_string("attributes"));
    bool it_has = jv_get_kind(attributes) == JV_KIND_OBJECT && has(attributes, name);

    jv_free(attributes);
    return it_has;
}

static bool fits(jv record, const struct signature *signature)
{
    bool has_one = signature->one[0] == NULL;

    for (size_t i = 0; i < sizeof signature->all / sizeof signature->all[0]; i++) {
        if (signature->all[i] != NULL && !has(record, signature->all[i])) {
            return false;
        }
    }
    for (size_t i = 0; i < sizeof signature->one / sizeof signature->one[0]; i++) {
        has_one = has_one || (signature->one[i] != NULL && has(record, signature->one[i]));
    }
    return has_one && (signature->attribute == NULL || has_attribute(record, signature->attribute));
}

const struct format *format_recognise(jv record, const struct format *own)
{
    const struct format *format = NULL;

    for (size_t i = 0; format == NULL && jv_get_kind(record) == JV_KIND_OBJECT &&
                       i < sizeof signatures / sizeof signatures[0];
         i++) {
        if (fits(record, &signatures[i])) {
            format = signatures[i].format == NULL ? own : format_by_name(signatures[i].format);
        }
    }
    jv_free(record);
    return format;
}
