/* What the first bytes of an import's input say: whether it is text at all, how its lines end, what it is. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "incidentctl/import/show.h"
#include "incidentctl/import/source.h"
#include "incidentctl/support/csv.h"

static struct slice rest_of(const struct source *source)
{
    const char *data = source->data == NULL ? "" : source->data + source->start;

    return (struct slice){.data = data, .len = source->len - source->start};
}

static bool begins_with(struct slice text, const char *bytes, size_t len)
{
    return text.len >= len && memcmp(text.data, bytes, len) == 0;
}

/* What a file is that is no text, and the command that makes one of it. */
struct foreign {
    const char *bytes;
    size_t len;
    const char *fault, *command; /* NULL where there is none */
};

/* The first bytes say it; NULL for a text. */
static const struct foreign *find_foreign(struct slice text)
{
    static const char from_utf16[] = "it is UTF-16: make UTF-8 of it by ";
    static const char unmarked[] = "it is UTF-16 without a mark: make UTF-8 of it by ";
    static const struct foreign marks[] = {
        {"\xFF\xFE", 2, from_utf16, "iconv -f UTF-16 -t UTF-8"},
        {"\xFE\xFF", 2, from_utf16, "iconv -f UTF-16 -t UTF-8"},
        {"\x1F\x8B", 2, "it is compressed by gzip: unpack it, ", "zcat"},
        {"\x28\xB5\x2F\xFD", 4, "it is compressed by zstd: unpack it, ", "zstdcat"},
        {"\xFD"
         "7zXZ",
         5, "it is compressed by xz: unpack it, ", "xzcat"},
        {"PK\x03\x04", 4, "it is a zip archive, or a workbook of Excel: unpack it, or save it as CSV UTF-8",
         NULL},
    };
    static const struct foreign page = {
        NULL, 0, "it is HTML or XML, perhaps a page to log in: export it as JSON or CSV", NULL};
    static const struct foreign big_endian = {NULL, 0, unmarked, "iconv -f UTF-16BE -t UTF-8"};
    static const struct foreign little_endian = {NULL, 0, unmarked, "iconv -f UTF-16LE -t UTF-8"};

    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        if (begins_with(text, marks[i].bytes, marks[i].len)) {
            return &marks[i];
        }
    }
    for (size_t i = 0; i < text.len && (text.data[i] == '<' || source_is_space(text.data[i])); i++) {
        if (text.data[i] == '<') {
            return &page;
        }
    }
    if (text.len >= 2 && (text.data[0] == '\0') != (text.data[1] == '\0')) {
        return text.data[0] == '\0' ? &big_endian : &little_endian;
    }
    return NULL;
}

static void look_at_text(struct source *source)
{
    const struct foreign *foreign = find_foreign(rest_of(source));
    struct buffer fault;

    if (foreign == NULL) {
        return;
    }
    buffer_init(&fault, sizeof source->fault_of_text);
    buffer_append_text(&fault, foreign->fault);
    if (foreign->command != NULL) {
        append_command(&fault, foreign->command, source->path);
    }
    snprintf(source->fault_of_text, sizeof source->fault_of_text, "%s",
             fault.data == NULL ? foreign->fault : fault.data);
    source->fault = source->fault_of_text;
    buffer_free(&fault);
}

/* How the first line ends: with CR alone, as old spreadsheets of the Mac have it, or not. */
static char find_newline(struct slice text)
{
    for (size_t i = 0; i < text.len && text.data[i] != '\n'; i++) {
        if (text.data[i] == '\r') {
            return i + 1 < text.len && text.data[i + 1] == '\n' ? '\n' : '\r';
        }
    }
    return '\n';
}

/* Whether the first line and the byte behind it are in memory. */
static bool has_first_line(struct slice text)
{
    const char *lf = text.len > 0 ? memchr(text.data, '\n', text.len - 1) : NULL;
    const char *cr = text.len > 0 ? memchr(text.data, '\r', text.len - 1) : NULL;

    return lf != NULL || cr != NULL;
}

/* Passes over a byte-order mark, and looks at the first line. */
static enum source_result begin(struct source *source)
{
    static const char mark[] = "\xEF\xBB\xBF";
    enum source_result result = SOURCE_RECORD;

    if (source->has_begun) {
        return source->fault != NULL ? SOURCE_BROKEN : SOURCE_RECORD;
    }
    while (result == SOURCE_RECORD && !has_first_line(rest_of(source)) && source->len < SOURCE_RECORD_MAX) {
        result = source_fill(source);
    }
    if (result == SOURCE_STOPPED || result == SOURCE_BROKEN) {
        return result;
    }
    source->has_begun = true;
    if (begins_with(rest_of(source), mark, sizeof mark - 1)) {
        source->start += sizeof mark - 1;
        source->consumed += sizeof mark - 1;
    }
    source->newline = find_newline(rest_of(source));
    look_at_text(source);
    return source->fault != NULL ? SOURCE_BROKEN : SOURCE_RECORD;
}

/* Of , ; and tab the one that the header has most of, outside of quotes; the comma where none is there. */
static char find_delimiter(struct slice text, char newline)
{
    static const char delimiters[] = ",;\t";
    size_t counts[sizeof delimiters - 1] = {0}, best = 0;
    bool in_quotes = false;

    for (size_t i = 0; i < text.len && (in_quotes || text.data[i] != newline); i++) {
        const char *found = text.data[i] != '\0' ? strchr(delimiters, text.data[i]) : NULL;

        in_quotes = in_quotes != (text.data[i] == '"');
        if (!in_quotes && found != NULL) {
            counts[found - delimiters]++;
        }
    }
    for (size_t i = 1; i < sizeof delimiters - 1; i++) {
        best = counts[i] > counts[best] ? i : best;
    }
    return delimiters[best];
}

/* Passes over a first line sep=; which tells Excel the delimiter. */
static void take_delimiter_line(struct source *source)
{
    enum { LENGTH = 5 };
    const struct slice text = rest_of(source);
    const char *end = memchr(text.data, source->newline, text.len);
    size_t len = end != NULL ? (size_t)(end - text.data) : text.len;

    if (len >= LENGTH && strncasecmp(text.data, "sep=", LENGTH - 1) == 0 &&
        csv_may_delimit(text.data[LENGTH - 1]) &&
        (len == LENGTH || (len == LENGTH + 1 && text.data[LENGTH] == '\r'))) {
        source->delimiter = source->delimiter != 0 ? source->delimiter : text.data[LENGTH - 1];
        source->start += len + (end != NULL);
        source->consumed += len + (end != NULL);
        source->line += end != NULL;
    }
}

void source_set_kind(struct source *source, enum source_kind kind, bool looks_into_wrappers)
{
    source->kind = kind;
    source->looks_into_wrappers = looks_into_wrappers;
    if (begin(source) == SOURCE_RECORD && kind == SOURCE_ROWS && source->len > source->start) {
        take_delimiter_line(source);
        source->rows.newline = source->newline;
        source->rows.delimiter =
            source->delimiter != 0 ? source->delimiter : find_delimiter(rest_of(source), source->newline);
    }
}

/* Whether the braces and brackets of a line that begins with one are all closed at its end. */
static bool is_whole(struct slice line)
{
    bool in_string = false;
    long depth = 0;

    for (size_t i = 0; i < line.len; i++) {
        if (in_string && line.data[i] == '\\') {
            i++;
        } else if (line.data[i] == '"') {
            in_string = !in_string;
        } else if (!in_string) {
            depth += line.data[i] == '{' || line.data[i] == '[';
            depth -= line.data[i] == '}' || line.data[i] == ']';
        }
    }
    return depth == 0 && !in_string;
}

/* Where the first line begins that is neither blank nor a reason; the end where there is none. */
static struct slice find_first(const struct source *source)
{
    struct slice text = rest_of(source);

    for (;;) {
        const char *end;
        size_t len;

        while (text.len > 0 && source_is_space(text.data[0])) {
            text = (struct slice){.data = text.data + 1, .len = text.len - 1};
        }
        if (!begins_with(text, "\"" SOURCE_REASON, sizeof SOURCE_REASON)) {
            return text;
        }
        end = memchr(text.data, source->newline, text.len);
        len = end != NULL ? (size_t)(end - text.data) : text.len;
        text = (struct slice){.data = text.data + len, .len = text.len - len};
    }
}

struct slice source_first_line(const struct source *source)
{
    struct slice text = find_first(source);
    const char *end = text.len > 0 ? memchr(text.data, source->newline, text.len) : NULL;

    return (struct slice){.data = text.data, .len = end != NULL ? (size_t)(end - text.data) : text.len};
}

enum source_result source_guess(struct source *source, enum source_kind *kind)
{
    enum source_result result = begin(source);
    struct slice line = {.data = NULL, .len = 0}, text = {.data = NULL, .len = 0};

    while (result == SOURCE_RECORD && text.len < line.len + 2 && source->len < SOURCE_RECORD_MAX) {
        line = source_first_line(source);
        text = find_first(source);
        if (text.len < line.len + 2) { /* it and the first byte of the next */
            result = source_fill(source);
        }
    }
    if (result == SOURCE_STOPPED || result == SOURCE_BROKEN) {
        return result;
    }
    line = source_first_line(source);
    text = find_first(source);
    *kind = SOURCE_ROWS;
    if (text.len > 0 && text.data[0] == '[') {
        *kind = SOURCE_VALUES;
    } else if (text.len > 0 && text.data[0] == '{') {
        bool is_second = text.len > line.len + 1 && text.data[line.len + 1] == '{';

        *kind = is_whole(line) || is_second ? SOURCE_LINES : SOURCE_VALUES;
    }
    return SOURCE_RECORD;
}
