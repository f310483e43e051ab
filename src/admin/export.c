/* incidentctl export: writes incidents out as they stood at one moment, row by row, so that a million of them
 * take the memory of one. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/complain.h"
#include "admin/options.h"
#include "admin/output.h"
#include "admin/selection.h"
#include "admin/session.h"

/* In an order that is the same wherever they are stored, so that two exports can be compared. */
static const char lines_sql[] =
    "SELECT row_to_json(one) FROM (SELECT " SELECTION_FIELDS ", i.metadata "
    "FROM intake.incident i WHERE" SELECTION_SQL "ORDER BY i.reference_id) AS one";

static const char keys_sql[] =
    "SELECT coalesce(array_agg(m.key ORDER BY m.key COLLATE \"C\"), '{}') FROM ("
    "SELECT DISTINCT m.key FROM intake.incident i JOIN reporting.incident_metadata m ON m.incident_id = i.id"
    " WHERE" SELECTION_SQL ") m";

static const char head_sql[] =
    "SELECT ARRAY['source_id', 'name', 'priority', 'source_url', 'started_at', 'resolved_at', 'services']"
    " || ARRAY(SELECT 'metadata.' || k.key FROM unnest($1::text[]) WITH ORDINALITY k (key, n) ORDER BY k.n)";

/* A row is one array of text, whatever its columns are. */
static const char cells_sql[] =
    "SELECT ARRAY[i.reference_id, i.name, i.priority, i.source_url, intake.timestamp_text(i.started_at),"
    " intake.timestamp_text(i.resolved_at), (SELECT string_agg(s.identifier, ';' ORDER BY s.position)"
    " FROM intake.incident_service s WHERE s.reference_id = i.reference_id)]::text[]"
    " || ARRAY(SELECT m.found->>k.key FROM unnest($8::text[]) WITH ORDINALITY k (key, n) ORDER BY k.n)"
    " FROM intake.incident i CROSS JOIN LATERAL (SELECT jsonb_object_agg(m.key, m.value) AS found"
    " FROM reporting.incident_metadata m WHERE m.incident_id = i.id) m"
    " WHERE" SELECTION_SQL "ORDER BY i.reference_id";

/* What is written, and how much of it. */
struct export
{
    struct output output;
    unsigned long long rows;
};

static bool write_line(const PGresult *row, void *context)
{
    struct export *export = context;
    size_t len = (size_t)PQgetlength(row, 0, 0);

    export->rows++;
    return fwrite(PQgetvalue(row, 0, 0), 1, len, export->output.stream) == len &&
           fputc('\n', export->output.stream) == '\n';
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
    struct export *export = context;
    const char *at = PQgetvalue(row, 0, 0);
    uint32_t count = read_number(at + 12);

    at += 20;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = read_number(at);

        at += 4;
        if (i > 0) {
            (void)fputc(',', export->output.stream);
        }
        if (len != UINT32_MAX) {
            write_cell(at, len, export->output.stream);
            at += len;
        }
    }
    (void)fputs("\r\n", export->output.stream);
    export->rows++;
    return !ferror(export->output.stream);
}

/* Two passes in one snapshot: the keys that there are, then the rows. */
static bool export_csv(PGconn *session, const struct selection *selection, struct export *export)
{
    const char *values[SELECTION_COUNT + 1];
    PGresult *keys = session_query(session, keys_sql, SELECTION_COUNT, selection->values);
    bool ok;

    if (keys == NULL) {
        return false;
    }
    memcpy(values, selection->values, sizeof selection->values);
    values[SELECTION_COUNT] = PQgetvalue(keys, 0, 0);
    ok = session_stream(session, head_sql, 1, &values[SELECTION_COUNT], true, write_cells, export);
    export->rows = 0;
    ok = ok && session_stream(session, cells_sql, SELECTION_COUNT + 1, values, true, write_cells, export);
    PQclear(keys);
    return ok;
}

static bool export_to(PGconn *session, const struct selection *selection, bool as_csv, const char *path)
{
    struct export export = {.rows = 0};
    bool ok;

    if (!session_run(session, SELECTION_SNAPSHOT) || !output_open(&export.output, path)) {
        return false;
    }
    ok = as_csv ? export_csv(session, selection, &export)
                : session_stream(session, lines_sql, SELECTION_COUNT, selection->values, false, write_line,
                                 &export);
    ok = output_close(&export.output, ok) && ok;
    if (ok && path != NULL) {
        (void)fprintf(stderr, "incidents exported: %llu\n", export.rows);
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

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (letter == 'f') {
            format = optarg;
        } else if (!selection_take(&selection, letter, optarg)) {
            return EXIT_USAGE;
        }
    }
    if ((strcmp(format, "jsonl") != 0 && strcmp(format, "csv") != 0) || argc - optind > 1) {
        (void)complain("export takes --format jsonl or csv, and one file at most");
        return EXIT_USAGE;
    }
    if (optind < argc && strcmp(argv[optind], "-") != 0) {
        path = argv[optind];
    }
    session = session_open();
    ok = session != NULL && export_to(session, &selection, strcmp(format, "csv") == 0, path);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
