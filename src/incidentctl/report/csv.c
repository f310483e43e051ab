/* The report's tables as CSV. */
#include <stdio.h>
#include <string.h>

#include "incidentctl/report/query.h"
#include "incidentctl/report/report.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/session.h"

/* A parameter that lets a list be of any length, or be left out. */
#define ANY      "2147483647"
#define NONE     "0"
#define NO_NAMES "{}"
#define UNCUT    "false"

static const struct {
    const char *name;
    const char *sql;
    int count; /* of the parameters behind $3 */
    const char *values[5];
} tables[] = {
    {"figures", query_totals, 0, {NULL}},
    {"weeks", query_weeks, 1, {ANY}},
    {"months", query_months, 1, {ANY}},
    {"services", query_named_services, 1, {ANY}},
    {"priorities", query_priorities, 2, {ANY, UNCUT}},
    {"causes", query_causes, 2, {ANY, UNCUT}},
    {"longest", query_incidents, 5, {NONE, "1000", NONE, NO_NAMES, UNCUT}},
    {"open", query_incidents, 5, {ANY, NONE, NONE, NO_NAMES, UNCUT}},
    {"suspicious", query_incidents, 5, {NONE, NONE, ANY, NO_NAMES, UNCUT}},
    {"reasons", query_reasons, 1, {ANY}},
};

enum { TABLE_COUNT = sizeof tables / sizeof tables[0] };

/* As the export writes them: quoted where it must be, and where it is empty, which tells it from NULL. */
static void write_cell(const char *text, FILE *stream)
{
    if (*text != '\0' && strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text != '\0'; text++) {
        if (*text == '"') {
            fputc('"', stream);
        }
        fputc(*text, stream);
    }
    fputc('"', stream);
}

static void write_row(const PGresult *result, int row, FILE *stream)
{
    bool is_first = true;

    for (int column = 0; column < PQnfields(result); column++) {
        if (strcmp(PQfname(result, column), "-") == 0) {
            continue;
        }
        if (!is_first) {
            fputc(',', stream);
        }
        is_first = false;
        if (row < 0) {
            write_cell(PQfname(result, column), stream);
        } else if (!PQgetisnull(result, row, column)) {
            write_cell(PQgetvalue(result, row, column), stream);
        }
    }
    fputs("\r\n", stream);
}

static int find_table(const char *name)
{
    for (int i = 0; i < TABLE_COUNT; i++) {
        if (strcmp(tables[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

bool report_has_table(const char *table)
{
    return find_table(table) >= 0 || print_error("--csv takes figures, weeks, months, services, priorities, "
                                                 "causes, longest, open, suspicious or reasons");
}

bool report_write_csv(PGconn *session, const struct report_scope *scope, const char *table, FILE *stream)
{
    struct query_scope settled;
    int chosen = find_table(table);
    PGresult *result = NULL;
    bool ok = query_begin(session, scope, &settled);

    if (ok) {
        const char *const values[] = {settled.from,
                                      settled.identifiers,
                                      settled.priority,
                                      tables[chosen].values[0],
                                      tables[chosen].values[1],
                                      tables[chosen].values[2],
                                      tables[chosen].values[3],
                                      tables[chosen].values[4]};

        result = session_query(session, tables[chosen].sql, 3 + tables[chosen].count, values);
    }
    if (result != NULL) {
        for (int row = -1; row < PQntuples(result); row++) {
            write_row(result, row, stream);
        }
    }
    ok = query_end(session, &settled, result != NULL);
    PQclear(result);
    return ok;
}
