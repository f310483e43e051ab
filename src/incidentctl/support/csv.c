/* CSV as RFC 4180 has it. */
#include "incidentctl/support/csv.h"

#include <stdlib.h>
#include <string.h>

static const size_t ROW_BYTES_MAX = (size_t)64 * 1024 * 1024;

static char or_else(char chosen, char usual)
{
    return chosen != 0 ? chosen : usual;
}

bool csv_may_delimit(char byte)
{
    return byte != '"' && byte != '\r' && byte != '\n' && byte != '\0';
}

bool csv_scan(struct csv_scanner *scanner, struct slice text, size_t *row_len)
{
    const char delimiter = or_else(scanner->delimiter, ','), newline = or_else(scanner->newline, '\n');

    while (scanner->at < text.len) {
        char byte = text.data[scanner->at++];

        if (scanner->state == CSV_IN_QUOTES) {
            const char *quote = byte == '"' ? text.data + scanner->at - 1
                                            : memchr(text.data + scanner->at, '"', text.len - scanner->at);

            scanner->state = quote != NULL ? CSV_AFTER_QUOTE : CSV_IN_QUOTES;
            scanner->at = quote != NULL ? (size_t)(quote - text.data) + 1 : text.len;
        } else if (byte == newline) {
            *row_len = scanner->at;
            return true;
        } else if (byte == delimiter) {
            scanner->state = CSV_AT_CELL;
        } else if (byte == '"' && scanner->state != CSV_IN_PLAIN) {
            scanner->state = CSV_IN_QUOTES; /* the cell's first, or the second of two */
        } else {
            scanner->state = CSV_IN_PLAIN; /* a quote in it is an error, which shall not swallow later rows */
        }
    }
    return false;
}

void csv_row_init(struct csv_row *row)
{
    *row = (struct csv_row){0};
    buffer_init(&row->unescaped, ROW_BYTES_MAX);
}

void csv_row_free(struct csv_row *row)
{
    free(row->cells);
    buffer_free(&row->unescaped);
    csv_row_init(row);
}

static const char *add_cell(struct csv_row *row, struct slice text, bool is_quoted)
{
    if (row->count == CSV_CELLS_MAX) {
        return "has more than 10000 cells";
    }
    if (row->count == row->capacity) {
        size_t capacity = row->capacity == 0 ? 16 : row->capacity * 2;
        struct csv_cell *grown = realloc(row->cells, capacity * sizeof *grown);

        if (grown == NULL) {
            return "is too large for the memory";
        }
        row->cells = grown;
        row->capacity = capacity;
    }
    row->cells[row->count++] = (struct csv_cell){.text = text, .is_quoted = is_quoted};
    return NULL;
}

/* Reads a cell from behind its opening quote on; *at comes to stand behind the closing one. There is room in
 * row->unescaped, so that it does not move. */
static const char *read_quoted(struct csv_row *row, struct slice text, size_t *at)
{
    size_t first = row->unescaped.len;
    struct slice cell;

    for (;;) {
        const char *quote = memchr(text.data + *at, '"', text.len - *at);
        size_t len = quote == NULL ? 0 : (size_t)(quote - (text.data + *at));

        if (quote == NULL) {
            return "has a quote that is not closed";
        }
        buffer_append(&row->unescaped, text.data + *at, len);
        *at += len + 1;
        if (*at == text.len || text.data[*at] != '"') {
            break;
        }
        buffer_append(&row->unescaped, "\"", 1);
        *at += 1;
    }
    if (*at < text.len && text.data[*at] != or_else(row->delimiter, ',')) {
        return "has text behind a closing quote";
    }
    cell.data = row->unescaped.data + first;
    cell.len = row->unescaped.len - first;
    return add_cell(row, cell, true);
}

static const char *read_plain(struct csv_row *row, struct slice text, size_t *at)
{
    const char *first = text.data + *at;
    const char *comma = memchr(first, or_else(row->delimiter, ','), text.len - *at);
    struct slice cell = {.data = first, .len = comma != NULL ? (size_t)(comma - first) : text.len - *at};

    if (memchr(first, '"', cell.len) != NULL) {
        return "has a quote within a cell that does not begin with one";
    }
    *at += cell.len;
    return add_cell(row, cell, false);
}

const char *csv_split(struct csv_row *row, struct slice text)
{
    const char *fault = NULL;
    size_t at = 0;

    row->count = 0;
    buffer_reset(&row->unescaped, (size_t)64 * 1024);
    if (text.len > 0 && text.data[text.len - 1] == '\n') {
        text.len--;
        text.len -= text.len > 0 && text.data[text.len - 1] == '\r';
    }
    if (!buffer_reserve(&row->unescaped, text.len + 1)) {
        return "is too large for the memory";
    }
    for (;;) {
        if (at < text.len && text.data[at] == '"') {
            at++;
            fault = read_quoted(row, text, &at);
        } else {
            fault = read_plain(row, text, &at);
        }
        if (fault != NULL || at == text.len) {
            return fault;
        }
        at++; /* the delimiter; a cell follows, be it an empty one */
    }
}
