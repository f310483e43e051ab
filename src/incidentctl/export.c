/* incidentctl export: writes incidents out as they stood at one time, row by row, so that a million of them
 * take the memory of one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/output.h"
#include "incidentctl/support/progress.h"
#include "incidentctl/support/filter.h"
#include "incidentctl/support/session.h"
#include "store/binary.h"

/* In an order that is the same wherever they are stored, so that two exports can be compared. Said outside,
 * where Citus puts together what its shards have. */
#define LINES(incidents)                                                                                     \
    "SELECT row_to_json(one) FROM (SELECT " FILTER_FIELDS ", i.metadata FROM " incidents                     \
    " AS i WHERE" FILTER_SQL ") AS one ORDER BY one.reference_id"

static const char lines_sql[] = LINES("intake.incident");

/* A database that version 0.1 made has the services in a table of their own. This is how its incidents leave
 * it: docs/operations.md, "Moving from 0.1". */
static const char lines_of_0_1_sql[] =
    LINES("(SELECT v.*, (SELECT jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s.position)"
          " FROM intake.incident_service s WHERE s.reference_id = v.reference_id) AS services"
          " FROM intake.incident v)");

/* On the same snapshot, so exact. */
static const char count_sql[] = "SELECT count(*) FROM intake.incident i WHERE" FILTER_SQL;

static const char is_of_0_1_sql[] = "SELECT EXISTS (SELECT FROM pg_class WHERE relkind = 'r' AND oid = "
                                    "to_regclass('intake.incident_service'))";

/* The paths to what stands in metadata, one level of objects at a time: $8 are the paths to the objects of
 * this level, $9 those found before which lead to something else. Returns the objects of the next level, and
 * all that is found. Strict paths go into objects alone, never into arrays. */
static const char paths_sql[] =
    "WITH child AS MATERIALIZED ("
    " SELECT DISTINCT p.path || '.' || to_json(k.key)::text AS path,"
    " jsonb_typeof(k.value) = 'object' AND k.value <> '{}' AS is_object"
    " FROM intake.incident i CROSS JOIN unnest($8::jsonpath[], $8::text[]) AS p (expression, path)"
    " CROSS JOIN LATERAL jsonb_path_query(i.metadata, p.expression, '{}', true) AS o (value)"
    " CROSS JOIN LATERAL jsonb_each(CASE WHEN jsonb_typeof(o.value) = 'object' THEN o.value END) AS k"
    " WHERE" FILTER_SQL ")"
    " SELECT ARRAY(SELECT c.path FROM child c WHERE c.is_object),"
    " $9::text[] || ARRAY(SELECT c.path FROM child c WHERE NOT c.is_object)";

/* The paths in the order of the keys, and the keys as they are written in the head: a.b for strict $."a"."b".
 */
static const char keys_sql[] =
    "SELECT coalesce(array_agg(k.path ORDER BY k.key COLLATE \"C\"), '{}'),"
    " coalesce(array_agg(k.key ORDER BY k.key COLLATE \"C\"), '{}')"
    " FROM (SELECT p.path, replace(substr(p.path, 11, length(p.path) - 11), '\".\"', '.') AS key"
    " FROM unnest($1::text[]) AS p (path)) k";

static const char head_sql[] =
    "SELECT ARRAY['source_id', 'name', 'priority', 'source_url', 'started_at', 'resolved_at', 'services']"
    " || ARRAY(SELECT 'metadata.' || k.key FROM unnest($1::text[]) WITH ORDINALITY k (key, n) ORDER BY k.n)"
    " || ARRAY['services_json', 'metadata']";

#define SERVICES FILTER_IDENTIFIERS(";")

/* A row is one array of text, whatever its columns are. Text for readers loses what a service is called,
 * which type a value has, and null; so services and metadata stand at the end as JSON, which import takes. */
static const char cells_sql[] =
    "SELECT ARRAY[i.reference_id, i.name, i.priority, i.source_url, intake.timestamp_text(i.started_at),"
    " intake.timestamp_text(i.resolved_at), " SERVICES "]::text[] || ARRAY("
    " SELECT CASE WHEN jsonb_typeof(m.value) <> 'object' OR m.value = '{}' THEN m.value #>> '{}' END"
    " FROM unnest($8::jsonpath[]) WITH ORDINALITY AS p (path, n)"
    " CROSS JOIN LATERAL (SELECT jsonb_path_query_first(i.metadata, p.path, '{}', true)) AS m (value)"
    " ORDER BY p.n) || ARRAY[" FILTER_SERVICES_JSON "::text, nullif(i.metadata, '{}')::text]"
    " FROM intake.incident i WHERE" FILTER_SQL "ORDER BY i.reference_id";

/* What is written, and how much of it. */
struct export
{
    struct output output;
    unsigned long long rows;
    bool shows_progress; /* on a terminal that the rows do not go to */
    struct progress progress;
};

static void count_row(struct export *export)
{
    export->rows++;
    if (export->shows_progress) {
        progress_show(&export->progress, export->rows, export->rows);
    }
}

static bool write_line(const PGresult *row, void *context)
{
    struct export *export = context;
    size_t len = (size_t)PQgetlength(row, 0, 0);

    count_row(export);
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
        fwrite(text, 1, len, stream);
        return;
    }
    fputc('"', stream);
    for (size_t i = 0; i < len; i++) {
        fputs(text[i] == '"' ? "\"" : "", stream);
        fputc(text[i], stream);
    }
    fputc('"', stream);
}

/* An array of text, in its binary format, as a line. */
static bool write_cells(const PGresult *row, void *context)
{
    struct export *export = context;
    struct slice bytes = {.data = PQgetvalue(row, 0, 0), .len = (size_t)PQgetlength(row, 0, 0)}, cell;
    size_t count = binary_read_array(&bytes), i;

    for (i = 0; i < count && binary_next_text(&bytes, &cell); i++) {
        if (i > 0) {
            fputc(',', export->output.stream);
        }
        if (cell.data != NULL) {
            write_cell(cell.data, cell.len, export->output.stream);
        }
    }
    fputs("\r\n", export->output.stream);
    count_row(export);
    return i == count && !ferror(export->output.stream);
}

/* The paths to all that stands in the metadata of these incidents, and its keys; NULL where that fails. */
static PGresult *find_keys(PGconn *session, const struct filter *filter)
{
    const char *values[FILTER_COUNT + 2];
    PGresult *level = NULL, *keys = NULL;
    bool goes_on = true;

    memcpy(values, filter->values, sizeof filter->values);
    values[FILTER_COUNT] = "{strict $}";
    values[FILTER_COUNT + 1] = "{}";
    while (goes_on) {
        PGresult *next = session_query(session, paths_sql, FILTER_COUNT + 2, values);

        PQclear(level);
        level = next;
        goes_on = level != NULL;
        if (goes_on) {
            values[FILTER_COUNT] = PQgetvalue(level, 0, 0);
            values[FILTER_COUNT + 1] = PQgetvalue(level, 0, 1);
            goes_on = strcmp(values[FILTER_COUNT], "{}") != 0;
        }
    }
    if (level != NULL) {
        keys = session_query(session, keys_sql, 1, &values[FILTER_COUNT + 1]);
    }
    PQclear(level);
    return keys;
}

/* In one snapshot: the keys that there are, then the rows. */
static bool export_csv(PGconn *session, const struct filter *filter, struct export *export)
{
    const char *values[FILTER_COUNT + 1], *names;
    PGresult *keys = find_keys(session, filter);
    bool ok;

    if (keys == NULL) {
        return false;
    }
    memcpy(values, filter->values, sizeof filter->values);
    values[FILTER_COUNT] = PQgetvalue(keys, 0, 0);
    names = PQgetvalue(keys, 0, 1);
    ok = session_stream(session, head_sql, 1, &names, true, write_cells, export);
    export->rows = 0;
    ok = ok && session_stream(session, cells_sql, FILTER_COUNT + 1, values, true, write_cells, export);
    PQclear(keys);
    return ok;
}

static bool export_lines(PGconn *session, const struct filter *filter, bool is_of_0_1, struct export *export)
{
    return session_stream(session, is_of_0_1 ? lines_of_0_1_sql : lines_sql, FILTER_COUNT, filter->values,
                          false, write_line, export);
}

static bool find_version(PGconn *session, bool *is_of_0_1)
{
    PGresult *result = session_query(session, is_of_0_1_sql, 0, NULL);
    bool ok = result != NULL;

    *is_of_0_1 = ok && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    return ok;
}

/* Whoever looks on is told how many there will be. */
static bool start_progress(PGconn *session, const struct filter *filter, bool is_of_0_1,
                           struct export *export)
{
    PGresult *result = NULL;
    bool counts = export->shows_progress && !is_of_0_1;

    if (counts) {
        result = session_query(session, count_sql, FILTER_COUNT, filter->values);
    }
    progress_start(&export->progress, result == NULL ? 0 : strtoull(PQgetvalue(result, 0, 0), NULL, 10));
    PQclear(result);
    return !counts || result != NULL;
}

static bool export_to(PGconn *session, struct filter *filter, bool as_csv, const char *path)
{
    struct export export = {.rows = 0};
    bool ok, is_of_0_1;

    export.shows_progress = isatty(STDERR_FILENO) && (path != NULL || !isatty(STDOUT_FILENO));
    if (!session_run(session, FILTER_PLANS) || !session_run(session, FILTER_SNAPSHOT) ||
        !filter_settle(session, filter) || !find_version(session, &is_of_0_1) ||
        !start_progress(session, filter, is_of_0_1, &export) || !output_open(&export.output, path)) {
        return false;
    }
    ok = as_csv ? export_csv(session, filter, &export) : export_lines(session, filter, is_of_0_1, &export);
    progress_clear(&export.progress);
    ok = output_close(&export.output, ok) && ok;
    if (ok && path != NULL) {
        fprintf(stderr, "incidents exported: %llu\n", export.rows);
    }
    return ok;
}

int command_export(int argc, char **argv)
{
    static const struct option options[] = {FILTER_OPTIONS, {"format", required_argument, NULL, 'f'}, {0}};
    struct filter filter = {0};
    const char *format = "jsonl", *path = NULL;
    PGconn *session;
    int letter;
    bool ok;

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (letter == 'f') {
            format = optarg;
        } else if (!filter_parse_option(&filter, letter, optarg)) {
            return EXIT_USAGE;
        }
    }
    if (strcmp(format, "jsonl") != 0 && strcmp(format, "csv") != 0) {
        print_error("--format must be jsonl or csv");
        return EXIT_USAGE;
    }
    if (!options_end(argc, argv, 1)) {
        return EXIT_USAGE;
    }
    if (optind < argc && strcmp(argv[optind], "-") != 0) {
        path = argv[optind];
    }
    session = session_open();
    ok = session != NULL && export_to(session, &filter, strcmp(format, "csv") == 0, path);
    filter_free(&filter);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
