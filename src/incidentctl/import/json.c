/* Writing the body of an upsert. */
#include "incidentctl/import/json.h"

#include <stdlib.h>
#include <string.h>

void append_member_name(struct buffer *object, const char *name, size_t len)
{
    if (object->len > 0 && object->data[object->len - 1] != '{') {
        buffer_append(object, ",", 1);
    }
    buffer_append_json_string(object, name, len);
    buffer_append(object, ":", 1);
}

void append_json_member(struct buffer *object, const char *name, struct slice json)
{
    append_member_name(object, name, strlen(name));
    buffer_append_slice(object, json);
}

void append_text_member(struct buffer *object, const char *name, struct slice text)
{
    append_member_name(object, name, strlen(name));
    buffer_append_json_string(object, text.data, text.len);
}

/* Byte by byte, but the period before all others, so that what shares an object stands together. */
static int compare_leaves(const void *one, const void *other)
{
    const char *a = ((const struct leaf *)one)->path, *b = ((const struct leaf *)other)->path;
    int difference;

    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    difference = (*a == '.' ? 1 : (unsigned char)*a + 1) - (*b == '.' ? 1 : (unsigned char)*b + 1);
    return *a == '\0' || *b == '\0' ? (*a != '\0') - (*b != '\0') : difference;
}

void sort_leaves(struct leaf *leaves, size_t count)
{
    qsort(leaves, count, sizeof leaves[0], compare_leaves);
}

/* The length of the objects' names that both paths begin with, each with its period. */
static size_t shared_length(const char *a, const char *b)
{
    size_t shared = 0;

    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++) {
        shared = a[i] == '.' ? i + 1 : shared;
    }
    return shared;
}

static size_t count_periods(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++) {
        count += *text == '.';
    }
    return count;
}

static bool exclude_each_other(const char *earlier, const char *later)
{
    size_t len = strlen(earlier);

    return strncmp(earlier, later, len) == 0 && (later[len] == '\0' || later[len] == '.');
}

bool append_leaves(struct buffer *json, const struct leaf *leaves, size_t count, struct error *error)
{
    const char *previous = "";

    buffer_append_text(json, "{");
    for (size_t i = 0; i < count; i++) {
        const char *path = leaves[i].path;
        size_t shared = shared_length(previous, path);

        if (i > 0 && exclude_each_other(previous, path)) {
            return error_set(error, ERROR_METADATA_INVALID,
                             "metadata has a value and an object, or two values, in one place");
        }
        for (size_t open = count_periods(previous + shared); open > 0; open--) {
            buffer_append_text(json, "}");
        }
        path += shared;
        for (const char *period; (period = strchr(path, '.')) != NULL; path = period + 1) {
            append_member_name(json, path, (size_t)(period - path));
            buffer_append_text(json, "{");
        }
        append_json_member(json, path, leaves[i].json);
        previous = leaves[i].path;
    }
    for (size_t open = count_periods(previous); open > 0; open--) {
        buffer_append_text(json, "}");
    }
    buffer_append_text(json, "}");
    return true;
}
