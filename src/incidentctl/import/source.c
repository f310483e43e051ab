/* Where an import's records come from. */
#include "incidentctl/import/source.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK_BYTES = 256 * 1024 };

bool source_open(struct source *source, const char *path, int stop_fd)
{
    struct stat status;

    *source =
        (struct source){.name = path, .fd = STDIN_FILENO, .stop_fd = stop_fd, .line = 1, .newline = '\n'};
    if (strcmp(path, "-") == 0) {
        source->name = "standard input";
    } else {
        source->path = path;
        source->fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (source->fd < 0 || fstat(source->fd, &status) != 0) {
        fprintf(stderr, "incidentctl: unable to read %s: %s\n", path, strerror(errno));
        return false;
    }
    source->size = S_ISREG(status.st_mode) && status.st_size > 0 ? (uint64_t)status.st_size : 0;
    return true;
}

void source_close(struct source *source)
{
    if (source->fd > STDERR_FILENO) {
        close(source->fd);
    }
    free(source->data);
    *source = (struct source){.fd = -1, .stop_fd = -1};
}

enum source_result source_break(struct source *source, const char *why)
{
    source->fault = why;
    return SOURCE_BROKEN;
}

/* Waits for input; SOURCE_RECORD stands for: there is some, or the end. */
static enum source_result wait_for_input(struct source *source)
{
    struct pollfd fds[] = {{.fd = source->fd, .events = POLLIN}, {.fd = source->stop_fd, .events = POLLIN}};

    while (poll(fds, 2, -1) < 0) {
        if (errno != EINTR) {
            return source_break(source, strerror(errno));
        }
    }
    return fds[1].revents != 0 ? SOURCE_STOPPED : SOURCE_RECORD;
}

/* Makes room for a chunk behind what is not consumed yet. */
static bool make_room(struct source *source)
{
    if (source->start > 0) {
        memmove(source->data, source->data + source->start, source->len - source->start);
        source->len -= source->start;
        source->start = 0;
    }
    if (source->capacity - source->len < CHUNK_BYTES) {
        size_t capacity = source->capacity * 2 + CHUNK_BYTES;
        char *grown = realloc(source->data, capacity);

        if (grown == NULL) {
            return false;
        }
        source->data = grown;
        source->capacity = capacity;
    }
    return true;
}

enum source_result source_fill(struct source *source)
{
    enum source_result result;
    ssize_t got;

    if (source->is_at_end) {
        return SOURCE_END;
    }
    result = wait_for_input(source);
    if (result != SOURCE_RECORD) {
        return result;
    }
    if (!make_room(source)) {
        return source_break(source, "out of memory");
    }
    do {
        got = read(source->fd, source->data + source->len, CHUNK_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return source_break(source, strerror(errno));
    }
    source->is_at_end = got == 0;
    source->len += (size_t)got;
    return got == 0 ? SOURCE_END : SOURCE_RECORD;
}

static void consume(struct source *source, size_t len)
{
    const char *at = source->data + source->start, *end = at + len;

    while ((at = memchr(at, source->newline, (size_t)(end - at))) != NULL) {
        source->line++;
        at++;
    }
    source->start += len;
    source->consumed += len;
}

bool source_is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

/* --- Lines and rows ------------------------------------------------------------------------------------- */

/* The length of the record at the start with its line end; false where it is not all in memory. */
static bool find_line_end(struct source *source, size_t *len)
{
    const struct slice text = {.data = source->data + source->start, .len = source->len - source->start};
    const char *newline;

    if (source->kind == SOURCE_ROWS) {
        return csv_scan(&source->rows, text, len);
    }
    newline = text.len > source->rows.at
                  ? memchr(text.data + source->rows.at, source->newline, text.len - source->rows.at)
                  : NULL;
    source->rows.at = text.len;
    *len = newline == NULL ? 0 : (size_t)(newline - text.data) + 1;
    return newline != NULL;
}

/* Lets go of what is there of a record that is too large. */
static void let_go(struct source *source)
{
    consume(source, source->len - source->start);
    source->rows.at = 0;
    source->values.seen = 0;
    source->values.string_len = 0;
    source->is_oversized = true;
}

/* Hands out the record of that length at the start. */
static void hand_out(struct source *source, size_t len, struct source_record *record, uint64_t line)
{
    record->line = line;
    record->text = (struct slice){.data = source->data + source->start, .len = len};
    record->is_too_large = source->is_oversized || len > SOURCE_RECORD_MAX;
    if (record->is_too_large) {
        record->text.len = 0;
    }
    consume(source, len);
    record->end = source->consumed;
    source->is_oversized = false;
}

/* Spreadsheets write rows of nothing but delimiters behind their last one. */
static bool is_blank(const struct source *source, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!source_is_space(text.data[i]) &&
            (source->kind != SOURCE_ROWS || text.data[i] != source->rows.delimiter)) {
            return false;
        }
    }
    return true;
}

static void strip_line_end(struct slice *text)
{
    text->len -= text->len > 0 && text->data[text->len - 1] == '\n';
    text->len -= text->len > 0 && text->data[text->len - 1] == '\r';
}

static enum source_result next_line(struct source *source, struct source_record *record)
{
    uint64_t line = source->line;

    for (;;) {
        size_t len = 0;
        bool is_found = find_line_end(source, &len);

        if (!is_found) {
            enum source_result result;

            if (source->len - source->start > SOURCE_RECORD_MAX) {
                let_go(source);
            }
            result = source_fill(source);
            if (result == SOURCE_RECORD) {
                continue;
            }
            len = source->len - source->start;
            if (result != SOURCE_END || (len == 0 && !source->is_oversized)) {
                return result;
            }
        }
        record->is_last = !is_found;
        hand_out(source, len, record, line);
        source->rows.at = 0;
        source->rows.state = CSV_AT_CELL;
        strip_line_end(&record->text);
        if (record->is_too_large || !is_blank(source, record->text)) {
            return SOURCE_RECORD;
        }
        line = source->line;
    }
}

/* --- JSON texts ----------------------------------------------------------------------------------------- */

/* Whether the string before the colon is what web APIs call the array of a page. The record is in memory. */
static bool is_wrapper(const struct source *source)
{
    static const char *const wrappers[] = {"\"incidents\"", "\"data\"", "\"result\"", "\"issues\"",
                                           "\"records\""};
    const char *name = source->data + source->start + source->values.string_at;
    size_t len = source->values.string_len;

    if (!source->looks_into_wrappers || source->values.at != VALUES_OUTSIDE || source->values.depth != 1 ||
        !source->values.behind_colon) {
        return false;
    }
    for (size_t i = 0; i < sizeof wrappers / sizeof wrappers[0]; i++) {
        if (strlen(wrappers[i]) == len && memcmp(name, wrappers[i], len) == 0) {
            return true;
        }
    }
    return false;
}

static void look_at_string(struct source *source, char byte)
{
    if (source->values.is_escaped) {
        source->values.is_escaped = false;
    } else if (byte == '\\') {
        source->values.is_escaped = true;
    } else if (byte == '"') {
        source->values.in_string = false;
        source->values.string_len = source->values.seen + 1 - source->values.string_at;
    }
}

enum look { LOOK_ON, LOOK_END_BEFORE, LOOK_END_BEHIND, LOOK_WRAPPER };

/* Looks at one byte of a value. An element lasts to the comma or bracket behind it, whatever stands before
 * that, so that an invalid one spoils no other; a text of its own ends with itself. */
static enum look look_at(struct source *source, char byte)
{
    bool is_element = source->values.at != VALUES_OUTSIDE;

    if (source->values.in_string) {
        look_at_string(source, byte);
    } else if (source->values.depth == 0 &&
               (is_element ? byte == ',' || byte == ']' : source->values.seen > 0 && source_is_space(byte))) {
        return LOOK_END_BEFORE;
    } else if (byte == '"') {
        source->values.in_string = true;
        source->values.string_at = source->values.seen;
    } else if (byte == '[' && is_wrapper(source)) {
        return LOOK_WRAPPER;
    } else if (byte == '{' || byte == '[') {
        source->values.depth++;
    } else if ((byte == '}' || byte == ']') && source->values.depth > 0) {
        source->values.depth--;
        if (source->values.depth == 0 && !is_element) {
            return LOOK_END_BEHIND;
        }
    }
    source->values.behind_colon = byte == ':' || (source->values.behind_colon && source_is_space(byte));
    return LOOK_ON;
}

/* How many bytes from there on change nothing, wherever they stand: within a string, or blanks in a
 * container.
 */
static size_t count_plain(const struct source *source, const char *at, size_t left)
{
    size_t count = 0;

    if (source->values.in_string && !source->values.is_escaped) {
        while (count < left && at[count] != '"' && at[count] != '\\') {
            count++;
        }
    } else if (source->values.depth > 0) {
        while (count < left && source_is_space(at[count])) {
            count++;
        }
    }
    return count;
}

/* Looks at what is in memory of the value at the start. */
static enum look look_for_end(struct source *source)
{
    while (source->start + source->values.seen < source->len) {
        const char *at = source->data + source->start + source->values.seen;
        size_t plain = count_plain(source, at, source->len - source->start - source->values.seen);
        enum look look = LOOK_ON;

        source->values.seen += plain;
        if (plain == 0) {
            look = look_at(source, *at);
            source->values.seen += look != LOOK_END_BEFORE;
        }
        if (look != LOOK_ON) {
            return look;
        }
    }
    return LOOK_ON;
}

static void begin_value(struct source *source)
{
    source->values.seen = 0;
    source->values.depth = 0;
    source->values.in_string = false;
    source->values.is_escaped = false;
    source->values.string_len = 0;
    source->values.behind_colon = false;
}

/* The first byte that is no space, not consumed; SOURCE_RECORD where there is one. */
static enum source_result peek(struct source *source, char *byte)
{
    for (;;) {
        enum source_result result;
        size_t len = 0;

        while (source->start + len < source->len && source_is_space(source->data[source->start + len])) {
            len++;
        }
        if (source->start + len > source->start) {
            consume(source, len);
        }
        if (source->start < source->len) {
            *byte = source->data[source->start];
            return SOURCE_RECORD;
        }
        result = source_fill(source);
        if (result != SOURCE_RECORD) {
            return result;
        }
    }
}

/* Passes over the rest of a page, behind its array, or up to another. */
static enum source_result pass_over_wrapper(struct source *source)
{
    enum source_result result = SOURCE_RECORD;
    enum look look;

    begin_value(source);
    source->values.depth = 1;
    source->values.is_wrapped = false;
    while (result == SOURCE_RECORD) {
        look = look_for_end(source);
        consume(source, source->values.seen);
        source->values.seen = 0;
        if (look == LOOK_WRAPPER) {
            source->values.at = VALUES_BEFORE_ELEMENT;
            source->values.is_wrapped = true;
        }
        if (look != LOOK_ON) {
            return SOURCE_RECORD;
        }
        result = source_fill(source);
    }
    return result == SOURCE_END ? source_break(source, "an object is not closed") : result;
}

/* Passes over what stands between records; SOURCE_RECORD where one begins. */
static enum source_result find_value(struct source *source)
{
    for (;;) {
        bool is_inside = source->values.at != VALUES_OUTSIDE;
        char byte = 0;
        enum source_result result = peek(source, &byte);

        if (result != SOURCE_RECORD) {
            return result == SOURCE_END && is_inside ? source_break(source, "the array is not closed")
                                                     : result;
        }
        /* A bracket that opens, or a comma: an element lasts to one, or to the bracket that closes. */
        if (is_inside ? source->values.at == VALUES_BEHIND_ELEMENT && byte != ']' : byte == '[') {
            consume(source, 1);
            source->values.at = VALUES_BEFORE_ELEMENT;
        } else if (is_inside && byte == ']') {
            consume(source, 1);
            source->values.at = VALUES_OUTSIDE;
            if (source->values.is_wrapped) {
                result = pass_over_wrapper(source);
            }
        } else {
            begin_value(source);
            return SOURCE_RECORD;
        }
        if (result != SOURCE_RECORD) {
            return result;
        }
    }
}

static enum source_result next_value(struct source *source, struct source_record *record)
{
    enum source_result result = find_value(source);
    uint64_t line = source->line;
    enum look look;

    while (result == SOURCE_RECORD && (look = look_for_end(source)) != LOOK_END_BEFORE &&
           look != LOOK_END_BEHIND) {
        if (look == LOOK_WRAPPER) {
            consume(source, source->values.seen);
            source->values.at = VALUES_BEFORE_ELEMENT;
            source->values.is_wrapped = true;
            source->is_oversized = false;
            result = find_value(source);
            line = source->line;
            continue;
        }
        if (source->len - source->start > SOURCE_RECORD_MAX) {
            let_go(source);
        }
        result = source_fill(source);
    }
    if (result == SOURCE_END && (source->values.seen > 0 || source->is_oversized)) {
        result = SOURCE_RECORD; /* cut short, which whoever reads it will say */
        record->is_last = true;
    }
    if (result == SOURCE_RECORD) {
        hand_out(source, source->values.seen, record, line);
        while (record->text.len > 0 && source_is_space(record->text.data[record->text.len - 1])) {
            record->text.len--;
        }
        if (source->values.at == VALUES_BEFORE_ELEMENT) {
            source->values.at = VALUES_BEHIND_ELEMENT;
        }
        begin_value(source);
    }
    return result;
}

enum source_result source_next(struct source *source, struct source_record *record)
{
    *record = (struct source_record){0};
    if (source->fault != NULL) {
        return SOURCE_BROKEN;
    }
    return source->kind == SOURCE_VALUES ? next_value(source, record) : next_line(source, record);
}
