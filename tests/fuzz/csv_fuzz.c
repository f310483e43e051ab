/* CSV, the way `incidentctl import` goes: rows do not depend on how the stream is cut, what is split and
 * written again is the row it was, and what a row becomes is one JSON object with the cells' own text in it.
 * The second byte chooses the pieces in which the rest comes; the first is not used. */
#include <json-c/json.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "incidentctl/import/adapter.h"
#include "fuzz/fuzz.h"
#include "model/incident.h"
#include "model/json.h"

enum { PIECES_MAX = 32 };

static int is_same(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* A stream that gives the text in at most that many pieces: a read of a SOCK_SEQPACKET socket returns one
 * packet. */
static void open_pieces(struct source *source, struct slice text, size_t pieces)
{
    size_t piece = text.len / pieces + 1;
    int ends[2];

    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    for (size_t at = 0; at < text.len; at += piece) {
        size_t left = text.len - at, len = left < piece ? left : piece;

        MUST(write(ends[1], text.data + at, len) == (ssize_t)len);
    }
    close(ends[1]);
    *source = (struct source){.name = "pieces", .fd = ends[0], .stop_fd = -1, .line = 1};
    source_set_kind(source, SOURCE_ROWS, false);
}

/* A row of nothing else is passed over. */
static bool is_blank(char byte, char delimiter)
{
    return byte == delimiter || (byte != '\0' && strchr(" \t\r\n", byte) != NULL);
}

/* The next record of the whole text, found by the scanner alone; the text moves behind it. */
static int find_row(const struct source *source, struct slice *text, uint64_t *line, struct slice *row)
{
    while (text->len > 0) {
        struct csv_scanner scanner = {.delimiter = source->rows.delimiter, .newline = source->newline};
        size_t len = text->len, blanks = 0;

        csv_scan(&scanner, *text, &len);
        MUST(len >= 1 && len <= text->len);
        *row = (struct slice){.data = text->data, .len = len};
        *text = (struct slice){.data = text->data + len, .len = text->len - len};
        while (blanks < row->len && is_blank(row->data[blanks], scanner.delimiter)) {
            blanks++;
        }
        if (blanks < row->len) {
            row->len -= row->data[row->len - 1] == '\n';
            row->len -= row->len > 0 && row->data[row->len - 1] == '\r';
            return 1;
        }
        for (size_t i = 0; i < row->len; i++) {
            *line += row->data[i] == source->newline;
        }
    }
    return 0;
}

/* Writes the cells as RFC 4180 has them; the text that was split must come out again. */
static void check_cells(struct slice text, char delimiter)
{
    struct csv_row row;
    struct buffer again;

    csv_row_init(&row);
    row.delimiter = delimiter;
    buffer_init(&again, 2 * text.len + 1024);
    if (csv_split(&row, text) == NULL) {
        MUST(row.count >= 1 && row.count <= CSV_CELLS_MAX);
        for (size_t i = 0; i < row.count; i++) {
            struct slice cell = row.cells[i].text;

            buffer_append(&again, &delimiter, i > 0 ? 1 : 0);
            buffer_append_text(&again, row.cells[i].is_quoted ? "\"" : "");
            for (size_t at = 0; at < cell.len; at++) {
                MUST(row.cells[i].is_quoted || (cell.data[at] != '"' && cell.data[at] != delimiter));
                buffer_append(&again, cell.data + at, 1);
                buffer_append_text(&again, cell.data[at] == '"' ? "\"" : "");
            }
            buffer_append_text(&again, row.cells[i].is_quoted ? "\"" : "");
        }
        MUST(!again.failed && is_same((struct slice){.data = again.data, .len = again.len}, text));
    }
    buffer_free(&again);
    csv_row_free(&row);
}

/* A cell that becomes a member of the body is a string there, of the very bytes. */
static void check_member(struct slice body, const char *name, const struct csv_cell *cell)
{
    struct json_member member = {.name = name};
    struct json_object *value;
    struct error error;
    char *quoted;
    bool stray_nul;

    json_find_members(body, &member, 1, &stray_nul, &error);
    if (!cell->is_quoted && cell->text.len == 0) {
        MUST(member.type == JSON_INVALID);
        return;
    }
    MUST(member.type == JSON_STRING);
    quoted = strndup(member.value.data, member.value.len);
    MUST(quoted != NULL);
    value = json_tokener_parse(quoted);
    MUST(value != NULL);
    MUST(is_same((struct slice){.data = json_object_get_string(value),
                                .len = (size_t)json_object_get_string_len(value)},
                 cell->text));
    json_object_put(value);
    free(quoted);
}

/* What is sent is JSON, if perhaps a level too deep; and it is judged with a reason. */
static void check_body(const struct adapter *adapter, struct slice body)
{
    struct incident incident;
    struct error error = {.code = ERROR_NONE};
    struct json_reader reader;
    struct json_token token;

    json_reader_init(&reader, body);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT) {
        if (token.event == JSON_INVALID) {
            MUST(strcmp(reader.fault, "nested too deeply") == 0);
            return;
        }
        MUST(token.depth > 0 || token.event == JSON_OBJECT_BEGIN || token.event == JSON_OBJECT_END);
    }
    for (size_t i = 0; adapter->format->kind == FORMAT_CSV && i < adapter->table.count; i++) {
        if (adapter->table.columns[i].role == COLUMN_MEMBER) {
            check_member(body, adapter->table.columns[i].name, &adapter->table.row.cells[i]);
        }
    }
    MUST(incident_read(body, RULES_UPSERT, &incident, &error) == (error.code == ERROR_NONE));
    MUST(error.code == ERROR_NONE || (error.code != ERROR_INVALID_JSON && *error.message != '\0'));
    incident_free(&incident);
}

/* What is said about a header goes nowhere: it would fill the log. */
static bool take_header(struct adapter *adapter, const struct source *source, struct slice text)
{
    static FILE *nowhere;
    FILE *standard_error = stderr;
    bool ok;

    if (nowhere == NULL) {
        nowhere = fopen("/dev/null", "we");
        MUST(nowhere != NULL);
    }
    stderr = nowhere;
    ok = adapter_take_header(adapter, source, text);
    stderr = standard_error;
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {.data = (const char *)data + 2, .len = size - 2}, row;
    struct source source;
    struct source_record record;
    struct adapter adapter;
    uint64_t line = 1;
    bool is_first = true, has_header = false;

    if (size < 2) {
        return 0;
    }
    adapter_init(&adapter, ";");
    MUST(adapter_set_format(&adapter, format_by_name("csv"), NULL));
    open_pieces(&source, text, 1 + data[1] % PIECES_MAX);
    if (source.fault != NULL) { /* it is no text */
        MUST(source_next(&source, &record) == SOURCE_BROKEN);
        adapter_free(&adapter);
        source_close(&source);
        return 0;
    }
    /* A byte-order mark, and a line that tells the delimiter. */
    text = (struct slice){.data = text.data + source.consumed, .len = text.len - source.consumed};
    line = source.line;
    while (find_row(&source, &text, &line, &row)) {
        struct error error = {.code = ERROR_NONE};
        struct slice body;

        MUST(source_next(&source, &record) == SOURCE_RECORD && is_same(record.text, row));
        MUST(record.line == line && !record.is_too_large && record.end + text.len == size - 2);
        check_cells(record.text, source.rows.delimiter);
        if (is_first) {
            has_header = take_header(&adapter, &source, record.text);
        } else if (has_header) {
            bool is_good = adapter_begin(&adapter, SOURCE_ROWS, &record, &error);

            MUST(is_good == (error.code == ERROR_NONE));
            if (is_good) {
                MUST(adapter_next(&adapter, &body, &error) == FILTERED_OUTPUT);
                check_body(&adapter, body);
                MUST(adapter_next(&adapter, &body, &error) == FILTERED_END);
            }
        }
        is_first = false;
        line = source.line;
    }
    MUST(source_next(&source, &record) == SOURCE_END);
    adapter_free(&adapter);
    source_close(&source);
    return 0;
}
