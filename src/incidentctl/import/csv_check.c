/* What a row of CSV says twice must agree. */
#include "incidentctl/import/csv_check.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "incidentctl/import/show.h"
#include "model/json.h"

enum { NAME_BYTES = 64, VALUE_BYTES = 80 };

static const struct slice nothing = {.data = "", .len = 0};

static struct slice slice_of(const char *text)
{
    return (struct slice){.data = text, .len = strlen(text)};
}

static bool are_equal(struct slice a, struct slice b)
{
    return a.len == b.len && memcmp(a.data, b.data, a.len) == 0;
}

static struct slice cell_of(const struct csv_table *table, const struct csv_table_column *column)
{
    struct slice text = table->row.cells[column - table->columns].text;

    return text.len == 0 ? nothing : text;
}

static bool refuse(const struct csv_table *table, const struct csv_table_column *column,
                   enum column_role json_role, struct slice value, struct error *error)
{
    bool is_metadata = json_role == COLUMN_METADATA;
    struct buffer message;

    buffer_init(&message, sizeof error->message);
    buffer_append_text(&message, "the column \"");
    append_shown(&message, slice_of(column->title), NAME_BYTES);
    buffer_append_text(&message, "\" has \"");
    append_shown(&message, cell_of(table, column), VALUE_BYTES);
    buffer_append_text(&message, "\" where the column \"");
    append_shown(&message, slice_of(csv_table_find_column(table, json_role)->title), NAME_BYTES);
    buffer_append_text(&message, "\" has \"");
    append_shown(&message, value, VALUE_BYTES);
    buffer_append_text(&message, "\": change both, or delete the column that is wrong");
    error_set(error, is_metadata ? ERROR_METADATA_INVALID : ERROR_INVALID_ARGUMENTS, "%s",
              message.failed || message.data == NULL ? "out of memory" : message.data);
    buffer_free(&message);
    return false;
}

/* A JSON string's text, which stays in table->texts behind what is there. */
static struct slice append_decoded(struct buffer *texts, struct slice quoted)
{
    struct slice decoded = nothing;

    if (buffer_reserve(texts, quoted.len)) {
        decoded.data = texts->data + texts->len;
        decoded.len = json_string_decode(quoted, texts->data + texts->len);
        texts->len += decoded.len;
        texts->data[texts->len] = '\0';
    }
    return decoded;
}

/* What is no service is left to incident_read. */
static void append_identifier(struct buffer *texts, const struct json_member *element)
{
    struct json_member member = {.name = "identifier"};
    struct error unused;
    bool stray_nul;

    if (element->type == JSON_STRING) {
        append_decoded(texts, element->value);
    } else if (element->type == JSON_OBJECT_BEGIN &&
               json_find_members(element->value, &member, 1, &stray_nul, &unused) &&
               member.type == JSON_STRING) {
        append_decoded(texts, member.value);
    }
}

bool csv_check_services(struct csv_table *table, struct slice json, struct error *error)
{
    const struct csv_table_column *column = csv_table_find_column(table, COLUMN_SERVICES);
    struct buffer *texts = &table->texts;
    struct json_member element;
    struct json_reader reader;
    struct slice joined;

    json_reader_init(&reader, json);
    if (json.data[strspn(json.data, " \t\r\n")] != '[') {
        return error_set(error, ERROR_INVALID_ARGUMENTS, "services_json must be a JSON array of services");
    }
    buffer_reset(texts, (size_t)64 * 1024);
    for (size_t i = 0; column != NULL && json_next_element(&reader, &element); i++) {
        buffer_append_text(texts, i > 0 ? table->separator : "");
        append_identifier(texts, &element);
    }
    if (texts->failed) {
        return error_set(error, ERROR_INTERNAL, "out of memory");
    }
    joined = texts->len > 0 ? (struct slice){.data = texts->data, .len = texts->len} : nothing;
    return column == NULL || are_equal(cell_of(table, column), joined) ||
           refuse(table, column, COLUMN_SERVICES_JSON, joined, error);
}

/* In the order of strcmp. A name that JSON can have, but no header, holds a NUL. */
static int compare_path(const void *path, const void *element)
{
    const struct slice *a = path;
    const char *name = (*(struct csv_table_column *const *)element)->name;
    size_t len = strlen(name);
    int difference = memcmp(a->data, name, a->len < len ? a->len : len);

    return difference != 0 ? difference : (a->len > len) - (a->len < len);
}

/* Blanks between the tokens of an array or an object say nothing. */
static bool are_same_json(struct slice a, struct slice b)
{
    struct json_reader readers[2];
    struct json_token one, other;

    json_reader_init(&readers[0], a);
    json_reader_init(&readers[1], b);
    do {
        json_next(&readers[0], &one);
        json_next(&readers[1], &other);
        if (one.event != other.event || one.event == JSON_INVALID) {
            return false;
        }
    } while (one.event != JSON_END_OF_TEXT && are_equal(one.text, other.text));
    return one.event == JSON_END_OF_TEXT;
}

/* By the rule of an export: of a string its text, of null nothing, of all else its JSON. A spreadsheet writes
 * true as TRUE. */
static bool agrees(struct slice cell, enum json_event type, struct slice value)
{
    switch (type) {
    case JSON_TRUE:
    case JSON_FALSE:
        return cell.len == value.len && strncasecmp(cell.data, value.data, value.len) == 0;
    case JSON_ARRAY_BEGIN:
    case JSON_OBJECT_BEGIN:
        return are_same_json(cell, value);
    default:
        return are_equal(cell, value);
    }
}

/* The way through the metadata: the path to where the reader is, and where in it the names of each depth
 * begin. */
struct walk {
    struct csv_table *table;
    struct json_reader reader;
    struct buffer path;
    size_t begin[JSON_DEPTH_MAX + 1];
};

static void enter_key(struct walk *walk, const struct json_token *key)
{
    walk->path.len = walk->begin[key->depth];
    if (walk->path.len > 0) {
        buffer_append_text(&walk->path, ".");
    }
    append_decoded(&walk->path, key->text);
}

static bool check_leaf(struct walk *walk, enum json_event type, struct slice value, struct error *error)
{
    struct csv_table *table = walk->table;
    struct slice path = {.data = walk->path.data, .len = walk->path.len};
    struct csv_table_column **found =
        bsearch(&path, table->leaf_columns, table->leaf_count, sizeof table->leaf_columns[0], compare_path);

    if (found == NULL) {
        return true;
    }
    buffer_reset(&table->texts, (size_t)64 * 1024);
    if (type == JSON_STRING) {
        value = append_decoded(&table->texts, value);
    } else if (type == JSON_NULL) {
        value = nothing;
    }
    (*found)->is_met = true;
    return agrees(cell_of(table, *found), type, value) ||
           refuse(table, *found, COLUMN_METADATA, value, error);
}

static struct slice text_between(const struct json_token *begin, const struct json_token *end)
{
    return (struct slice){.data = begin->text.data,
                          .len = (size_t)(end->text.data - begin->text.data) + end->text.len};
}

/* An array is a leaf. */
static bool check_array(struct walk *walk, const struct json_token *begin, struct error *error)
{
    struct json_token end;

    do {
        json_next(&walk->reader, &end);
    } while (end.depth != begin->depth || end.event != JSON_ARRAY_END);
    return check_leaf(walk, JSON_ARRAY_BEGIN, text_between(begin, &end), error);
}

/* So is an object without members. */
static bool check_token(struct walk *walk, const struct json_token *token, const struct json_token *previous,
                        struct error *error)
{
    switch (token->event) {
    case JSON_OBJECT_BEGIN:
        walk->begin[token->depth + 1] = walk->path.len;
        return true;
    case JSON_KEY:
        enter_key(walk, token);
        return true;
    case JSON_OBJECT_END:
        return token->depth == 0 || previous->event != JSON_OBJECT_BEGIN ||
               check_leaf(walk, JSON_OBJECT_BEGIN, text_between(previous, token), error);
    case JSON_ARRAY_BEGIN:
        return check_array(walk, token, error);
    default:
        return check_leaf(walk, token->event, token->text, error);
    }
}

/* The columns of which the JSON has nothing must be empty. */
static bool check_rest(struct csv_table *table, struct error *error)
{
    bool ok = true;

    for (size_t i = 0; i < table->leaf_count; i++) {
        struct csv_table_column *column = table->leaf_columns[i];

        if (ok && !column->is_met && cell_of(table, column).len > 0) {
            ok = refuse(table, column, COLUMN_METADATA, nothing, error);
        }
        column->is_met = false;
    }
    return ok;
}

bool csv_check_metadata(struct csv_table *table, struct slice json, struct error *error)
{
    struct walk walk = {.table = table};
    struct json_token token, previous = {.event = JSON_INVALID};
    bool ok = true;

    if (table->leaf_count == 0 || json.data[strspn(json.data, " \t\r\n")] != '{') {
        return check_rest(table, error); /* incident_read says what is no object */
    }
    buffer_init(&walk.path, json.len + 1);
    json_reader_init(&walk.reader, json);
    while (ok && json_next(&walk.reader, &token) != JSON_END_OF_TEXT) {
        ok = check_token(&walk, &token, &previous, error);
        previous = token;
    }
    buffer_free(&walk.path);
    return check_rest(table, ok ? error : &(struct error){0}) && ok;
}
