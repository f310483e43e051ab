/* What a command prints: a table for people, or JSON for scripts. */
#include "incidentctl/support/table.h"

#include <json-c/json.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <wchar.h>

#include "base/utf8.h"

enum {
    GAP = 2,        /* between columns */
    DATE_WIDTH = 10 /* of 2024-01-01 */
};

struct table {
    const struct column *columns;
    size_t column_count;
    char **cells; /* row after row */
    size_t cell_count;
};

struct table *table_new(const struct column *columns, size_t count)
{
    struct table *table = calloc(1, sizeof *table);

    if (table != NULL) {
        table->columns = columns;
        table->column_count = count;
    }
    return table;
}

bool table_print_json_rows(const PGresult *result, FILE *stream)
{
    int rows = PQntuples(result);

    fputs("[", stream);
    for (int row = 0; row < rows; row++) {
        fprintf(stream, "%s\n  %s", row == 0 ? "" : ",", PQgetvalue(result, row, 0));
    }
    fputs(rows == 0 ? "]\n" : "\n]\n", stream);
    return !ferror(stream);
}

bool table_print_result(const PGresult *result, int rows, const struct column *columns, bool as_json,
                        FILE *stream)
{
    int count = PQnfields(result);
    struct table *table = table_new(columns, (size_t)count);
    const char *cells[TABLE_COLUMNS_MAX];
    bool ok = table != NULL && count <= TABLE_COLUMNS_MAX;

    for (int row = 0; ok && row < rows; row++) {
        for (int i = 0; i < count; i++) {
            cells[i] = PQgetisnull(result, row, i) ? NULL : PQgetvalue(result, row, i);
        }
        ok = table_add(table, cells);
    }
    ok = ok && table_print(table, as_json, stream);
    table_free(table);
    return ok;
}

void table_free(struct table *table)
{
    if (table == NULL) {
        return;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
    free(table);
}

bool table_add(struct table *table, const char *const *cells)
{
    size_t count = table->cell_count + table->column_count;
    char **grown = realloc(table->cells, count * sizeof *grown);

    if (grown == NULL) {
        return false;
    }
    table->cells = grown;
    for (size_t i = 0; i < table->column_count; i++) {
        char *copy = cells[i] == NULL ? NULL : strdup(cells[i]);

        if (cells[i] != NULL && copy == NULL) {
            while (i-- > 0) {
                free(table->cells[table->cell_count + i]);
            }
            return false;
        }
        table->cells[table->cell_count + i] = copy;
    }
    table->cell_count = count;
    return true;
}

/* A character at the beginning of a text: its bytes, and how many cells of a terminal it takes, as the locale
 * knows it. What is shown as '?' takes one. */
struct character {
    size_t len, cells;
    bool is_shown; /* as it is */
};

static struct character read_character(const char *text, size_t left)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t len = utf8_sequence(at, left);
    uint32_t point = len == 0 ? 0 : utf8_code_point(at, len);
    int cells;

    if (len == 0 || utf8_is_control(point)) {
        return (struct character){.len = len == 0 ? 1 : len, .cells = 1};
    }
    cells = wcwidth((wchar_t)point);
    return (struct character){.len = len, .cells = cells < 0 ? 1 : (size_t)cells, .is_shown = true};
}

/* The bytes of a text's beginning that takes no more than so many cells, and how many it takes. */
static size_t measure(const char *text, size_t room, size_t *cells)
{
    size_t left = text == NULL ? 0 : strlen(text), len = 0;

    *cells = 0;
    while (left > 0) {
        struct character character = read_character(text + len, left);

        if (*cells + character.cells > room) {
            break;
        }
        *cells += character.cells;
        len += character.len;
        left -= character.len;
    }
    return len;
}

static size_t width_of(const char *text)
{
    size_t cells;

    measure(text, SIZE_MAX, &cells);
    return cells;
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t width = strlen(table->columns[column].name);

    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t cell = width_of(table->cells[i]);

        width = cell > width ? cell : width;
    }
    return width;
}

/* Of the terminal that the stream is; 0: it is none. */
static size_t terminal_width(FILE *stream)
{
    struct winsize size = {0};

    return ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static size_t total_width(const struct table *table, const size_t *widths)
{
    size_t total = 0;

    for (size_t i = 0; i < table->column_count; i++) {
        total += widths[i] + (i > 0 ? GAP : 0);
    }
    return total;
}

/* Narrows columns that may be narrowed, the last first, until a line fits. Whether it does. */
static bool narrow(const struct table *table, size_t *widths, size_t limit)
{
    size_t total = total_width(table, widths);

    for (size_t i = table->column_count; i-- > 0 && total > limit;) {
        size_t least = table->columns[i].least_width;

        if (least > 0 && widths[i] > least) {
            size_t less = widths[i] - least < total - limit ? widths[i] - least : total - limit;

            widths[i] -= less;
            total -= less;
        }
    }
    return total <= limit;
}

static void cut_times(const struct table *table, size_t *widths)
{
    for (size_t i = 0; i < table->column_count; i++) {
        size_t least = strlen(table->columns[i].name);

        least = least < DATE_WIDTH ? DATE_WIDTH : least;
        if (table->columns[i].type == COLUMN_TIME && widths[i] > least) {
            widths[i] = least;
        }
    }
}

/* Makes a line fit: by cutting texts, else also times to their dates. False where it cannot. */
static bool fit(const struct table *table, size_t *widths, size_t limit)
{
    size_t whole[TABLE_COLUMNS_MAX];

    memcpy(whole, widths, table->column_count * sizeof *widths);
    if (narrow(table, widths, limit)) {
        return true;
    }
    memcpy(widths, whole, table->column_count * sizeof *widths);
    cut_times(table, widths);
    return narrow(table, widths, limit);
}

static void print_bytes(const char *text, size_t len, FILE *stream)
{
    while (len > 0) {
        struct character character = read_character(text, len);

        fwrite(character.is_shown ? text : "?", 1, character.is_shown ? character.len : 1, stream);
        text += character.len;
        len -= character.len;
    }
}

void table_print_text(const char *text, FILE *stream)
{
    if (text != NULL) {
        print_bytes(text, strlen(text), stream);
    }
}

/* A text in so many cells; how many it took. Of a time that is cut its date is left. */
static size_t print_cut(const char *text, enum column_type type, size_t width, FILE *stream)
{
    size_t used = width_of(text);

    if (used <= width) {
        table_print_text(text, stream);
    } else if (type == COLUMN_TIME && width >= DATE_WIDTH) {
        print_bytes(text, measure(text, DATE_WIDTH, &used), stream);
    } else {
        print_bytes(text, measure(text, width - 1, &used), stream);
        fputs("…", stream);
        used++;
    }
    return used;
}

/* For wcwidth, which knows what the locale does. In a container that is ASCII, but what is written is UTF-8.
 */
static void know_widths(void)
{
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        setlocale(LC_CTYPE, ""); /* LCOV_EXCL_LINE: a C library without it */
    }
}

static void print_rows(const struct table *table, const size_t *widths, FILE *stream)
{
    size_t columns = table->column_count;

    for (size_t row = 0; row <= table->cell_count / columns; row++) {
        for (size_t i = 0; i < columns; i++) {
            const char *text = row == 0 ? table->columns[i].name : table->cells[(row - 1) * columns + i];
            size_t used = print_cut(text, row == 0 ? COLUMN_TEXT : table->columns[i].type, widths[i], stream);

            if (i < columns - 1) {
                fprintf(stream, "%*s", (int)(widths[i] - used + GAP), "");
            }
        }
        fputc('\n', stream);
    }
}

/* A row as lines, for a terminal on which it is no line: its first cell, and the others with their names.
 * What may not be cut is whole, though the terminal wraps it. */
static void print_lines(const struct table *table, size_t limit, FILE *stream)
{
    size_t columns = table->column_count, indent = 0;

    for (size_t i = 1; i < columns; i++) {
        size_t len = GAP + strlen(table->columns[i].name) + GAP;

        indent = len > indent ? len : indent;
    }
    for (size_t i = 0; i < table->cell_count; i++) {
        const struct column *column = &table->columns[i % columns];
        const char *text = table->cells[i];

        if (i % columns == 0) {
            table_print_text(text, stream);
        } else if (text != NULL && *text != '\0') {
            bool is_whole = column->least_width == 0 && column->type != COLUMN_TIME;

            fprintf(stream, "%*s%-*s", GAP, "", (int)indent - GAP, column->name);
            print_cut(text, column->type, is_whole ? SIZE_MAX : limit > indent ? limit - indent : 1, stream);
        } else {
            continue;
        }
        fputc('\n', stream);
    }
}

static bool print_table(const struct table *table, FILE *stream)
{
    size_t limit = terminal_width(stream), widths[TABLE_COLUMNS_MAX];

    if (table->column_count > TABLE_COLUMNS_MAX) {
        return false;
    }
    know_widths();
    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = column_width(table, i);
    }
    if (limit == 0 || fit(table, widths, limit)) {
        print_rows(table, widths, stream);
    } else {
        print_lines(table, limit, stream);
    }
    return true;
}

static struct json_object *list_to_json(const char *words)
{
    struct json_object *array = json_object_new_array();

    while (array != NULL && *words != '\0') {
        size_t len = strcspn(words, ",");

        json_object_array_add(array, json_object_new_string_len(words, (int)len));
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
    case COLUMN_TIME:
        break;
    }
    return json_object_new_string(text);
}

static bool print_json(const struct table *table, FILE *stream)
{
    struct json_object *rows = json_object_new_array();
    const char *text;
    bool ok = rows != NULL;

    for (size_t i = 0; ok && i < table->cell_count; i += table->column_count) {
        struct json_object *row = json_object_new_object();

        ok = row != NULL && json_object_array_add(rows, row) == 0;
        for (size_t c = 0; ok && c < table->column_count; c++) {
            ok = json_object_object_add(row, table->columns[c].name,
                                        cell_to_json(table->cells[i + c], table->columns[c].type)) == 0;
        }
    }
    text = ok ? json_object_to_json_string_ext(rows, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE)
              : NULL;
    ok = text != NULL && fprintf(stream, "%s\n", text) > 0;
    json_object_put(rows);
    return ok;
}

bool table_print(const struct table *table, bool as_json, FILE *stream)
{
    bool ok = true;

    if (as_json) {
        ok = print_json(table, stream);
    } else {
        ok = print_table(table, stream);
    }
    return ok && !ferror(stream);
}
