/* The formats that an import knows. */
#include "incidentctl/import/formats.h"

#include <stdio.h>
#include <string.h>

#include "incidentctl/import/jq_filter.h"

static const struct format formats[] = {
    {"jsonl", FORMAT_JSONL}, {"json", FORMAT_JSON},          {"csv", FORMAT_CSV},
    {"dx", FORMAT_DX},       {"pagerduty", FORMAT_FILTERED}, {"opsgenie", FORMAT_FILTERED},
};
enum { FORMATS = sizeof formats / sizeof formats[0] };

const struct format format_of_caller = {"--jq", FORMAT_FILTERED};

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

void format_list_names(char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t i = 0; i < FORMATS && used < size; i++) {
        const char *before = i == 0 ? "" : i + 1 == FORMATS ? " or " : ", ";

        used += (size_t)snprintf(text + used, size - used, "%s%s", before, formats[i].name);
    }
}

const struct format *format_recognise(jv record, const struct format *own)
{
    struct jq_filter filter;
    const struct format *format = NULL;
    struct slice name;
    struct error error;

    if (!jq_filter_open_embedded(&filter, "recognise", "")) {
        jq_filter_close(&filter);
        jv_free(record);
        return NULL;
    }
    jq_filter_start(&filter, jv_object_set(jv_object(), jv_string("record"), record), 1);
    if (jq_filter_next(&filter, &name, &error) == FILTERED_OUTPUT) {
        jv output = jv_object_get(jv_parse_sized(name.data, (int)name.len), jv_string("format"));

        if (jv_get_kind(output) == JV_KIND_STRING) {
            format =
                strcmp(jv_string_value(output), "own") == 0 ? own : format_by_name(jv_string_value(output));
        }
        jv_free(output);
    }
    jq_filter_close(&filter);
    return format;
}
