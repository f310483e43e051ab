/* The file that takes an import's invalid records. */
#include "incidentctl/import/rejects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "incidentctl/support/print_error.h"

enum { FILE_MODE = 0600 };

static const size_t TEXT_BYTES_MAX = (size_t)64 * 1024 * 1024;
static const char array_end[] = "\n]\n";
enum { ARRAY_END_BYTES = sizeof array_end - 1 };

/* Goes to the end, or before the bracket that ends an array. */
static bool go_to_end(struct rejects *rejects, int fd, off_t size)
{
    char end[ARRAY_END_BYTES];

    if (rejects->kind == SOURCE_VALUES && size > 0) {
        if (size < ARRAY_END_BYTES ||
            pread(fd, end, ARRAY_END_BYTES, size - ARRAY_END_BYTES) != ARRAY_END_BYTES ||
            memcmp(end, array_end, ARRAY_END_BYTES) != 0) {
            return print_error("unable to write %s: %s", rejects->path,
                               "it does not end as the file that an import was writing");
        }
        size -= ARRAY_END_BYTES;
        if (ftruncate(fd, size) != 0) {
            return print_error("unable to write %s: %s", rejects->path, strerror(errno));
        }
    }
    return lseek(fd, size, SEEK_SET) == size ||
           print_error("unable to write %s: %s", rejects->path, strerror(errno));
}

bool rejects_open(struct rejects *rejects, const char *path, const struct source *source, bool resumes)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);
    bool is_new = fd >= 0;
    struct stat ours, theirs;

    *rejects = (struct rejects){
        .path = path, .kind = source->kind, .is_new = is_new, .delimiter = source->rows.delimiter};
    fd = is_new ? fd : open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &ours) != 0 || fstat(source->fd, &theirs) != 0) {
        return print_error("unable to write %s: %s", path, strerror(errno));
    }
    rejects->is_empty = ours.st_size == 0;
    if (!S_ISREG(ours.st_mode)) {
        print_error("unable to write %s: %s", path, "it is no regular file");
    } else if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino) {
        print_error("unable to write %s: %s", path, "it is what is imported");
    } else if (!rejects->is_empty && !resumes) {
        print_error("unable to write %s: %s", path,
                    "it holds something already; move it away, or name another file");
    } else if (go_to_end(rejects, fd, ours.st_size)) {
        rejects->file = fdopen(fd, "r+");
    }
    if (rejects->file == NULL) {
        close(fd);
    } else {
        setvbuf(rejects->file, NULL, _IONBF, 0); /* what is not written shall not be tried again later */
        rejects->end = ftello(rejects->file);
    }
    return rejects->file != NULL;
}

/* What stands behind a row's first cell. */
static struct slice behind_first_cell(struct slice row, char delimiter)
{
    size_t i = 0;
    bool in_quotes = false;

    while (i < row.len && (in_quotes || row.data[i] != delimiter)) {
        in_quotes = in_quotes != (row.data[i] == '"');
        i++;
    }
    i += i < row.len;
    return (struct slice){.data = row.data + i, .len = row.len - i};
}

bool rejects_set_header(struct rejects *rejects, struct slice header)
{
    const size_t len = sizeof REJECTS_COLUMN - 1;

    rejects->has_reasons = header.len > len && memcmp(header.data, REJECTS_COLUMN, len) == 0 &&
                           header.data[len] == rejects->delimiter;
    if (rejects->has_reasons) {
        header = behind_first_cell(header, rejects->delimiter);
    }
    rejects->header = malloc(header.len + 1);
    if (rejects->header != NULL) {
        memcpy(rejects->header, header.data, header.len);
        rejects->header_len = header.len;
    }
    return rejects->header != NULL;
}

static void append_cell(struct buffer *text, struct slice cell)
{
    buffer_append_text(text, "\"");
    for (size_t i = 0; i < cell.len; i++) {
        buffer_append(text, &cell.data[i], 1);
        buffer_append_text(text, cell.data[i] == '"' ? "\"" : "");
    }
    buffer_append_text(text, "\"");
}

static void append_row(const struct rejects *rejects, struct slice record, struct slice reason,
                       struct buffer *text)
{
    if (rejects->is_empty && rejects->header != NULL) {
        buffer_append_text(text, REJECTS_COLUMN);
        buffer_append(text, &rejects->delimiter, 1);
        buffer_append(text, rejects->header, rejects->header_len);
        buffer_append_text(text, "\n");
    }
    append_cell(text, reason);
    buffer_append(text, &rejects->delimiter, 1);
    buffer_append_slice(text, rejects->has_reasons ? behind_first_cell(record, rejects->delimiter) : record);
    buffer_append_text(text, "\n");
}

static void append_json(const struct rejects *rejects, struct slice record, struct slice reason,
                        struct buffer *text)
{
    bool is_array = rejects->kind == SOURCE_VALUES;
    struct buffer string;

    buffer_init(&string, reason.len + sizeof SOURCE_REASON);
    buffer_append_text(&string, SOURCE_REASON);
    buffer_append_slice(&string, reason);
    buffer_append_text(text, !is_array ? "" : rejects->is_empty ? "[\n" : ",\n");
    buffer_append_json_string(text, string.data, string.len);
    buffer_append_text(text, is_array ? ",\n" : "\n");
    buffer_append_slice(text, record);
    buffer_append_text(text, is_array ? "" : "\n");
    buffer_free(&string);
}

static bool write_record(struct rejects *rejects, struct slice record, struct slice reason)
{
    struct buffer text;
    bool ok;

    buffer_init(&text, TEXT_BYTES_MAX);
    if (rejects->kind == SOURCE_ROWS) {
        append_row(rejects, record, reason, &text);
    } else {
        append_json(rejects, record, reason, &text);
    }
    errno = text.failed ? ENOMEM : 0;
    ok = !text.failed && fwrite(text.data, 1, text.len, rejects->file) == text.len;
    buffer_free(&text);
    return ok;
}

/* Takes out what of a record went in before the disk was full: who goes on later must not find half a one. */
static void take_back(struct rejects *rejects)
{
    rejects->failed = true;
    print_error("unable to write %s: %s", rejects->path, strerror(errno));
    if (ftruncate(fileno(rejects->file), rejects->end) != 0 ||
        fseeko(rejects->file, rejects->end, SEEK_SET) != 0) {
        print_error("unable to take half a record out of %s: %s", rejects->path, strerror(errno));
    }
}

bool rejects_add(struct rejects *rejects, struct slice record, struct slice reason)
{
    if (rejects->file == NULL) {
        return true;
    }
    if (rejects->failed || !write_record(rejects, record, reason)) {
        if (!rejects->failed) {
            take_back(rejects);
        }
        return false;
    }
    rejects->is_empty = false;
    rejects->end = ftello(rejects->file);
    return true;
}

bool rejects_close(struct rejects *rejects)
{
    bool ok = true;

    free(rejects->header);
    rejects->header = NULL;
    if (rejects->file == NULL) {
        return true;
    }
    if (rejects->kind == SOURCE_VALUES && !rejects->is_empty) {
        ok = fwrite(array_end, 1, ARRAY_END_BYTES, rejects->file) == ARRAY_END_BYTES;
    }
    ok = fclose(rejects->file) == 0 && ok;
    rejects->file = NULL;
    if (rejects->is_empty && rejects->is_new) {
        unlink(rejects->path);
    }
    return (ok || print_error("unable to write the end of %s: %s", rejects->path, strerror(errno))) &&
           !rejects->failed;
}
