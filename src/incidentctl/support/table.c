/* What a listing command prints: a table for people, or JSON for scripts. */
#include "incidentctl/support/table.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

struct listing {
    const struct column *columns;
    size_t column_count;
    char **cells; /* row after row */
    size_t cell_count;
};

struct listing *listing_new(const struct column *columns, size_t count)
{
    struct listing *listing = calloc(1, sizeof *listing);

    if (listing != NULL) {
        listing->columns = columns;
        listing->column_count = count;
    }
    return listing;
}

bool listing_print_json_rows(const PGresult *result, FILE *stream)
{
    int rows = PQntuples(result);

    (void)fputs("[", stream);
    for (int row = 0; row < rows; row++) {
        (void)fprintf(stream, "%s\n  %s", row == 0 ? "" : ",", PQgetvalue(result, row, 0));
    }
    (void)fputs(rows == 0 ? "]\n" : "\n]\n", stream);
    return !ferror(stream);
}

bool listing_print_result(const PGresult *result, int rows, const struct column *columns, FILE *stream)
{
    int count = PQnfields(result);
    struct listing *listing = listing_new(columns, (size_t)count);
    const char *cells[LISTING_COLUMNS_MAX];
    bool ok = listing != NULL && count <= LISTING_COLUMNS_MAX;

    for (int row = 0; ok && row < rows; row++) {
        for (int i = 0; i < count; i++) {
            cells[i] = PQgetisnull(result, row, i) ? NULL : PQgetvalue(result, row, i);
        }
        ok = listing_add(listing, cells);
    }
    ok = ok && listing_print(listing, false, stream);
    listing_free(listing);
    return ok;
}

void listing_free(struct listing *listing)
{
    if (listing == NULL) {
        return;
    }
    for (size_t i = 0; i < listing->cell_count; i++) {
        free(listing->cells[i]);
    }
    free(listing->cells);
    free(listing);
}

bool listing_add(struct listing *listing, const char *const *cells)
{
    size_t count = listing->cell_count + listing->column_count;
    char **grown = realloc(listing->cells, count * sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    listing->cells = grown;
    for (size_t i = 0; i < listing->column_count; i++) {
        char *copy = cells[i] == NULL ? NULL : strdup(cells[i]);

        if (cells[i] != NULL && copy == NULL) {
            while (i-- > 0) {
                free(listing->cells[listing->cell_count + i]);
            }
            return false;
        }
        listing->cells[listing->cell_count + i] = copy;
    }
    listing->cell_count = count;
    return true;
}

/* How many characters a text takes in a terminal: its code points. */
static size_t width_of(const char *text)
{
    size_t width = 0;

    for (; text != NULL && *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return width;
}

static size_t column_width(const struct listing *listing, size_t column)
{
    size_t width = strlen(listing->columns[column].name);

    for (size_t i = column; i < listing->cell_count; i += listing->column_count) {
        size_t cell = width_of(listing->cells[i]);

        width = cell > width ? cell : width;
    }
    return width;
}

void listing_print_text(const char *text, FILE *stream)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t left = text == NULL ? 0 : strlen(text);

    while (left > 0) {
        size_t len = utf8_sequence(at, left);

        if (len == 0 || utf8_is_control(utf8_code_point(at, len))) {
            (void)fputc('?', stream);
        } else {
            (void)fwrite(at, 1, len, stream);
        }
        len = len == 0 ? 1 : len;
        at += len;
        left -= len;
    }
}

static void print_cell(const char *text, size_t width, bool is_last, FILE *stream)
{
    listing_print_text(text, stream);
    if (!is_last) {
        (void)fprintf(stream, "%*s", (int)(width - width_of(text)) + 2, "");
    }
}

static void print_table(const struct listing *listing, FILE *stream)
{
    size_t columns = listing->column_count;

    for (size_t row = 0; row <= listing->cell_count / columns; row++) {
        for (size_t i = 0; i < columns; i++) {
            const char *text = row == 0 ? listing->columns[i].name : listing->cells[(row - 1) * columns + i];

            print_cell(text, column_width(listing, i), i == columns - 1, stream);
        }
        (void)fputc('\n', stream);
    }
}

static struct json_object *list_to_json(const char *words)
{
    struct json_object *array = json_object_new_array();

    while (array != NULL && *words != '\0') {
        size_t len = strcspn(words, ",");

        (void)json_object_array_add(array, json_object_new_string_len(words, (int)len));
        words += len + (words[len] == ',');
    }
    return array;
}

static struct json_object *cell_to_json(const char *text, enum column_type type)
{
    if (text == NULL) {
        return NULL;
    }
    switch (type) {
    case COLUMN_NUMBER:
        return json_object_new_int64(strtoll(text, NULL, 10));
    case COLUMN_LIST:
        return list_to_json(text);
    case COLUMN_TEXT:
        break;
    }
    return json_object_new_string(text);
}

static bool print_json(const struct listing *listing, FILE *stream)
{
    struct json_object *rows = json_object_new_array();
    const char *text;
    bool ok = rows != NULL;

    for (size_t i = 0; ok && i < listing->cell_count; i += listing->column_count) {
        struct json_object *row = json_object_new_object();

        ok = row != NULL && json_object_array_add(rows, row) == 0;
        for (size_t c = 0; ok && c < listing->column_count; c++) {
            ok = json_object_object_add(row, listing->columns[c].name,
                                        cell_to_json(listing->cells[i + c], listing->columns[c].type)) == 0;
        }
    }
    text = ok ? json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)
              : NULL;
    ok = text != NULL && fprintf(stream, "%s\n", text) > 0;
    json_object_put(rows);
    return ok;
}

bool listing_print(const struct listing *listing, bool as_json, FILE *stream)
{
    bool ok = true;

    if (as_json) {
        ok = print_json(listing, stream);
    } else {
        print_table(listing, stream);
    }
    return ok && !ferror(stream);
}
