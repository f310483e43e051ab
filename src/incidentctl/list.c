/* incidentctl list and show: prints incidents, many or one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/table.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/filter.h"
#include "incidentctl/support/session.h"

enum { LIMIT_DEFAULT = 50, LIMIT_MAX = 1000000 };

/* Set by the database alone. */
#define STAMPS                                                                                               \
    "intake.timestamp_text(i.created_at) AS created_at, intake.timestamp_text(i.updated_at) AS updated_at,"  \
    " i.updated_by"

/* One line each: what is long is cut, and what is longest comes last. The reference_id is whole, as show and
 * delete take it. */
static const struct column columns[] = {{"reference_id", COLUMN_TEXT, 0}, {"started_at", COLUMN_TIME, 0},
                                        {"resolved_at", COLUMN_TIME, 0},  {"priority", COLUMN_TEXT, 4},
                                        {"services", COLUMN_TEXT, 8},     {"name", COLUMN_TEXT, 12}};

/* Filtered first: to format an incident costs more than to read it. */
#define FILTERED                                                                                             \
    "WITH i AS (SELECT * FROM intake.incident i WHERE" FILTER_SQL                                            \
    "ORDER BY i.started_at DESC, i.id DESC LIMIT $8::bigint) "

/* A line has little room; --json has all digits. */
#define TO_THE_SECOND(time) "regexp_replace(intake.timestamp_text(" time "), '\\.[0-9]+', '')"
#define CUT(text, cells)    "regexp_replace(" text ", '^(.{" cells "}).{2,}$', '\\1…')"

/* The services of the rows, each by its one name, which takes a look at all incidents. Written so that Citus
 * can run it too: names are joined, not looked up. */
#define NAMED_SERVICES                                                                                       \
    "SELECT e.id, string_agg(coalesce(n.service, e.identifier), ', ' ORDER BY e.position) AS services"       \
    " FROM (SELECT i.id, (s.service->>0) COLLATE \"C\" AS identifier, s.position FROM i"                     \
    " CROSS JOIN LATERAL jsonb_array_elements(" FILTER_SERVICES                                              \
    ") WITH ORDINALITY AS s (service, position)) e"                                                          \
    " LEFT JOIN reporting.service_names n USING (identifier) GROUP BY e.id"

#define TABLE_COLUMNS                                                                                        \
    "i.reference_id, " TO_THE_SECOND("i.started_at") ", " TO_THE_SECOND("i.resolved_at") ", " CUT(           \
        "i.priority", "19") ", " CUT("v.services", "39") ", " CUT("i.name", "79")

static const char table_sql[] = FILTERED "SELECT " TABLE_COLUMNS " FROM i LEFT JOIN (" NAMED_SERVICES
                                         ") v USING (id) ORDER BY i.started_at DESC, i.id DESC";

static const char json_sql[] = FILTERED "SELECT row_to_json(one) FROM (SELECT " FILTER_FIELDS ", " STAMPS
                                        " FROM i ORDER BY i.started_at DESC, i.id DESC) AS one";

static bool list(PGconn *session, struct filter *filter, int limit, bool as_json)
{
    const char *values[FILTER_COUNT + 1];
    char text[16];
    PGresult *result;
    bool ok;

    if (!session_run(session, FILTER_PLANS) || !filter_settle(session, filter)) {
        return false;
    }
    /* One more than the table shows, to tell whether there are more. */
    snprintf(text, sizeof text, "%d", as_json ? limit : limit + 1);
    memcpy(values, filter->values, sizeof filter->values);
    values[FILTER_COUNT] = text;
    result = session_query(session, as_json ? json_sql : table_sql, FILTER_COUNT + 1, values);
    if (result == NULL) {
        return false;
    }
    if (as_json) {
        ok = table_print_json_rows(result, stdout);
    } else {
        int rows = PQntuples(result);

        ok = table_print_result(result, rows > limit ? limit : rows, columns, false, stdout);
        if (rows > limit) {
            print_error("these are the newest %d; --limit shows more", limit);
        }
    }
    PQclear(result);
    return ok;
}

static bool read_limit(const char *text, int *limit)
{
    bool is_number = *text != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) <= 7;

    *limit = is_number ? (int)strtol(text, NULL, 10) : 0;
    if (*limit < 1 || *limit > LIMIT_MAX) {
        print_error("--limit must be a number from 1 to %d", LIMIT_MAX);
        return false;
    }
    return true;
}

int command_list(int argc, char **argv)
{
    static const struct option options[] = {
        FILTER_OPTIONS, {"limit", required_argument, NULL, 'l'}, {"json", no_argument, NULL, 'j'}, {0}};
    struct filter filter = {0};
    bool as_json = false, ok;
    PGconn *session;
    int letter, limit = LIMIT_DEFAULT;

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (letter == 'j') {
            as_json = true;
        } else if (letter == 'l' ? !read_limit(optarg, &limit)
                                 : !filter_parse_option(&filter, letter, optarg)) {
            return EXIT_USAGE;
        }
    }
    if (!options_end(argc, argv, 0)) {
        return EXIT_USAGE;
    }
    session = session_open();
    ok = session != NULL && list(session, &filter, limit, as_json);
    filter_free(&filter);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A text of one or more lines, the later ones indented as the first is by what stands before it. */
static void print_lines(const char *text)
{
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        char *line = strndup(text, len);

        if (line != NULL) {
            table_print_text(line, stdout);
        }
        free(line);
        text += len + (text[len] == '\n');
        fputs(*text == '\0' ? "" : "\n              ", stdout);
    }
    fputc('\n', stdout);
}

/* Metadata alone has lines, which Postgres has laid out; a line feed in a name is the sender's. */
static void print_one(const PGresult *result, int fields)
{
    for (int i = 0; i < fields; i++) {
        const char *text = PQgetisnull(result, 0, i) ? "-" : PQgetvalue(result, 0, i);

        printf("%-14s", PQfname(result, i));
        if (strcmp(PQfname(result, i), "metadata") == 0) {
            print_lines(text);
        } else {
            table_print_text(text, stdout);
            fputc('\n', stdout);
        }
    }
}

/* Each with its one name, whatever this incident calls it: that is what --json shows. */
static bool print_services(PGconn *session, const char *id)
{
    PGresult *result = session_query(session,
                                     "SELECT s.identifier, nullif(n.service, s.identifier)"
                                     " FROM intake.incident_service s LEFT JOIN reporting.service_names n"
                                     " USING (identifier) WHERE s.reference_id = $1 ORDER BY s.position",
                                     1, &id);

    for (int row = 0; row < PQntuples(result); row++) {
        printf("%-14s", row == 0 ? "services" : "");
        table_print_text(PQgetvalue(result, row, 0), stdout);
        if (!PQgetisnull(result, row, 1)) {
            fputs(" (", stdout);
            table_print_text(PQgetvalue(result, row, 1), stdout);
            fputc(')', stdout);
        }
        fputc('\n', stdout);
    }
    PQclear(result);
    return result != NULL;
}

static bool show(PGconn *session, const char *id, bool as_json)
{
    PGresult *result;
    bool ok;

    if (!session_run(session, FILTER_SNAPSHOT)) {
        return false;
    }
    result = session_query(
        session,
        as_json ? "SELECT row_to_json(one) FROM (SELECT " FILTER_FIELDS ", i.metadata, " STAMPS
                  " FROM intake.incident i WHERE i.reference_id = $1) AS one"
                : "SELECT i.reference_id, i.name, i.priority, i.source_url, "
                  "intake.timestamp_text(i.started_at) AS started_at, "
                  "intake.timestamp_text(i.resolved_at) AS resolved_at, " STAMPS
                  ", jsonb_pretty(i.metadata) AS metadata FROM intake.incident i WHERE i.reference_id = $1",
        1, &id);
    ok = result != NULL;
    if (ok && PQntuples(result) == 0) {
        print_error("there is no such incident");
        ok = false;
    } else if (ok && as_json) {
        printf("%s\n", PQgetvalue(result, 0, 0));
    } else if (ok) {
        print_one(result, PQnfields(result));
        ok = print_services(session, id);
    }
    PQclear(result);
    return ok;
}

int command_show(int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, 'j'}, {0}};
    bool as_json = false, ok;
    PGconn *session;
    int letter;

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (letter == '?') {
            return EXIT_USAGE;
        }
        as_json = true;
    }
    if (optind + 1 != argc) {
        print_error("show takes the reference_id of one incident");
        return EXIT_USAGE;
    }
    session = session_open();
    ok = session != NULL && show(session, argv[optind], as_json);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
