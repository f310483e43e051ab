/* incidentctl export: writes incidents out as they stood at one moment, row by row, so that a million of them
 * take the memory of one. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/command.h"
#include "admin/selection.h"
#include "admin/session.h"

/* In the order in which they came, so that who stores them anew gives them the same one. */
static const char lines_sql[] = "SELECT row_to_json(one) FROM (SELECT " SELECTION_FIELDS ", i.metadata "
                                "FROM intake.incident i WHERE" SELECTION_SQL "ORDER BY i.id) AS one";

static const char keys_sql[] =
    "SELECT coalesce(array_agg(m.key ORDER BY m.key COLLATE \"C\"), '{}') FROM ("
    "SELECT DISTINCT m.key FROM intake.incident i JOIN reporting.incident_metadata m ON m.incident_id = i.id"
    " WHERE" SELECTION_SQL ") m";

static const char head_sql[] =
    "SELECT ARRAY['reference_id', 'name', 'priority', 'source_url', 'started_at', 'resolved_at', 'services']"
    " || ARRAY(SELECT 'metadata.' || k.key FROM unnest($1::text[]) WITH ORDINALITY k (key, n) ORDER BY k.n)";

/* A row is one array of text, whatever its columns are. */
static const char cells_sql[] =
    "SELECT ARRAY[i.reference_id, i.name, i.priority, i.source_url, intake.timestamp_text(i.started_at),"
    " intake.timestamp_text(i.resolved_at), (SELECT string_agg(s.identifier, ';' ORDER BY s.position)"
    " FROM intake.incident_service s WHERE s.reference_id = i.reference_id)]::text[]"
    " || ARRAY(SELECT m.found->>k.key FROM unnest($8::text[]) WITH ORDINALITY k (key, n) ORDER BY k.n)"
    " FROM intake.incident i CROSS JOIN LATERAL (SELECT jsonb_object_agg(m.key, m.value) AS found"
    " FROM reporting.incident_metadata m WHERE m.incident_id = i.id) m"
    " WHERE" SELECTION_SQL "ORDER BY i.id";

/* Where it goes: a file is written beside its place, and put there when it is whole and on the disk. */
struct output {
    char *path;      /* NULL: standard output */
    char *temporary; /* NULL: what is written to directly */
    FILE *stream;
    unsigned long long rows;
};

static bool fail(const char *what, const char *path)
{
    (void)fprintf(stderr, "incidentctl: unable to %s %s: %s\n", what, path, strerror(errno));
    return false;
}

/* A device or a pipe is no file to be replaced. */
static bool is_replaceable(const char *path)
{
    struct stat status;

    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

static bool open_temporary(struct output *output)
{
    mode_t mask = umask(0);
    int fd;

    (void)umask(mask);
    if (asprintf(&output->temporary, "%s.XXXXXX", output->path) < 0) {
        output->temporary = NULL;
        return fail("write", output->path);
    }
    fd = mkostemp(output->temporary, O_CLOEXEC);
    if (fd < 0) {
        free(output->temporary);
        output->temporary = NULL;
        return fail("write beside", output->path);
    }
    (void)fchmod(fd, 0666 & ~mask);
    output->stream = fdopen(fd, "w");
    return output->stream != NULL || fail("write", output->path);
}

static bool open_output(struct output *output, const char *path)
{
    *output = (struct output){.stream = stdout};
    if (path == NULL) {
        return true;
    }
    output->path = realpath(path, NULL); /* where a symbolic link leads to */
    if (output->path == NULL) {
        output->path = strdup(path);
    }
    if (output->path == NULL) {
        return fail("write", path);
    }
    if (is_replaceable(output->path)) {
        return open_temporary(output);
    }
    output->stream = fopen(output->path, "we");
    return output->stream != NULL || fail("write", path);
}

/* The name is safe on the disk when its directory is. */
static bool sync_directory(const char *path)
{
    char *copy = strdup(path);
    int fd = copy == NULL ? -1 : open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0) {
        (void)close(fd);
    }
    free(copy);
    return ok;
}

/* Ends the output; where not all of it is there, the file stays what it was. */
static bool close_output(struct output *output, bool is_whole)
{
    const char *name = output->path == NULL ? "to standard output" : output->path;
    bool is_placed = is_whole && output->temporary != NULL;
    bool ok = fflush(output->stream) == 0 && !ferror(output->stream) &&
              (!is_placed || fsync(fileno(output->stream)) == 0);

    if (output->path != NULL) {
        ok = fclose(output->stream) == 0 && ok;
    }
    if (is_placed && ok) {
        ok = rename(output->temporary, output->path) == 0 && sync_directory(output->path);
    } else if (output->temporary != NULL) {
        (void)unlink(output->temporary);
    }
    free(output->temporary);
    return ok || fail("write", name);
}

static bool write_line(const PGresult *row, void *context)
{
    struct output *output = context;
    size_t len = (size_t)PQgetlength(row, 0, 0);

    output->rows++;
    return fwrite(PQgetvalue(row, 0, 0), 1, len, output->stream) == len &&
           fputc('\n', output->stream) == '\n';
}

/* A field of RFC 4180: quoted where it must be, and where it is empty, which tells it from one that is not
 * there. */
static void write_cell(const char *text, size_t len, FILE *stream)
{
    bool is_plain = len > 0;

    for (size_t i = 0; i < len; i++) {
        is_plain = is_plain && strchr("\",\r\n", text[i]) == NULL;
    }
    if (is_plain) {
        (void)fwrite(text, 1, len, stream);
        return;
    }
    (void)fputc('"', stream);
    for (size_t i = 0; i < len; i++) {
        (void)fputs(text[i] == '"' ? "\"" : "", stream);
        (void)fputc(text[i], stream);
    }
    (void)fputc('"', stream);
}

static uint32_t read_number(const char *data)
{
    uint32_t number;

    memcpy(&number, data, sizeof number);
    return ntohl(number);
}

/* An array of text, in its binary format, as a line: five numbers of four bytes (dimensions, flags, type,
 * elements, the first's index), then each element behind its length, -1 for NULL. There is one element at
 * least. */
static bool write_cells(const PGresult *row, void *context)
{
    struct output *output = context;
    const char *at = PQgetvalue(row, 0, 0);
    uint32_t count = read_number(at + 12);

    at += 20;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = read_number(at);

        at += 4;
        if (i > 0) {
            (void)fputc(',', output->stream);
        }
        if (len != UINT32_MAX) {
            write_cell(at, len, output->stream);
            at += len;
        }
    }
    (void)fputs("\r\n", output->stream);
    output->rows++;
    return !ferror(output->stream);
}

/* Two passes in one snapshot: the keys that there are, then the rows. */
static bool export_csv(PGconn *session, const struct selection *selection, struct output *output)
{
    const char *values[SELECTION_COUNT + 1];
    PGresult *keys = session_query(session, keys_sql, SELECTION_COUNT, selection->values);
    bool ok;

    if (keys == NULL) {
        return false;
    }
    memcpy(values, selection->values, sizeof selection->values);
    values[SELECTION_COUNT] = PQgetvalue(keys, 0, 0);
    ok = session_stream(session, head_sql, 1, &values[SELECTION_COUNT], true, write_cells, output);
    output->rows = 0;
    ok = ok && session_stream(session, cells_sql, SELECTION_COUNT + 1, values, true, write_cells, output);
    PQclear(keys);
    return ok;
}

static bool export(PGconn *session, const struct selection *selection, bool as_csv, const char *path)
{
    struct output output;
    bool ok;

    if (!session_run(session, SELECTION_SNAPSHOT)) {
        return false;
    }
    if (!open_output(&output, path)) {
        free(output.path);
        return false;
    }
    ok = as_csv ? export_csv(session, selection, &output)
                : session_stream(session, lines_sql, SELECTION_COUNT, selection->values, false, write_line,
                                 &output);
    ok = close_output(&output, ok) && ok;
    free(output.path);
    if (ok && path != NULL) {
        (void)fprintf(stderr, "incidents exported: %llu\n", output.rows);
    }
    return ok;
}

int command_export(int argc, char **argv)
{
    static const struct option options[] = {SELECTION_OPTIONS, {"format", required_argument, NULL, 'f'}, {0}};
    struct selection selection = {0};
    const char *format = "jsonl", *path = NULL;
    PGconn *session;
    int letter;
    bool ok;

    while ((letter = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (letter == 'f') {
            format = optarg;
        } else if (!selection_take(&selection, letter, optarg)) {
            return EXIT_USAGE;
        }
    }
    if ((strcmp(format, "jsonl") != 0 && strcmp(format, "csv") != 0) || argc - optind > 1) {
        (void)fputs("incidentctl: export takes --format jsonl or csv, and one file at most\n", stderr);
        return EXIT_USAGE;
    }
    if (optind < argc && strcmp(argv[optind], "-") != 0) {
        path = argv[optind];
    }
    session = session_open();
    ok = session != NULL && export(session, &selection, strcmp(format, "csv") == 0, path);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
