/* incidentctl history: what became of an incident, and whether the database keeps that. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/support/confirm.h"
#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/table.h"
#include "incidentctl/support/time_text.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/session.h"

/* The leaves of an incident's JSON: metadata by its keys, joined by periods, as reporting.incident_metadata
 * has them. An incident without metadata has no leaf of that name. */
#define LEAVES(json)                                                                                         \
    "(WITH RECURSIVE node (field, value) AS ("                                                               \
    " SELECT top.key, top.value FROM jsonb_each(" json ") top"                                               \
    " UNION ALL SELECT node.field || '.' || child.key, child.value FROM node,"                               \
    " jsonb_each(CASE WHEN jsonb_typeof(node.value) = 'object' THEN node.value END) child)"                  \
    " SELECT node.field, node.value FROM node WHERE (jsonb_typeof(node.value) <> 'object' OR"                \
    " node.value = '{}') AND NOT (node.field = 'metadata' AND node.value = 'null'))"

/* What a change c changed, field by field. Compared as text, because every digit counts. Of an incident that
 * came or went, what it had. */
#define DIFFERENCES                                                                                          \
    "(SELECT field, b.value AS old, a.value AS new"                                                          \
    " FROM " LEAVES("c.before") " b FULL JOIN " LEAVES(                                                      \
        "c.after") " a USING (field)"                                                                        \
                   " WHERE b.value::text IS DISTINCT FROM a.value::text"                                     \
                   " AND (c.action = 'updated' OR field <> 'reference_id'"                                   \
                   " AND coalesce(b.value, a.value) NOT IN ('null', '[]'))"                                  \
                   " ORDER BY field)"

static const char table_sql[] =
    "SELECT CASE WHEN n = 1 THEN changed_at END, CASE WHEN n = 1 THEN changed_by END,"
    " CASE WHEN n = 1 THEN action END, what FROM ("
    " SELECT c.change_id, intake.timestamp_text(c.changed_at) AS changed_at, c.changed_by, c.action, d.field,"
    " row_number() OVER (PARTITION BY c.change_id ORDER BY d.field) AS n,"
    " d.field || ': ' || CASE WHEN c.action = 'updated'"
    " THEN coalesce(left(d.old::text, 200), '(none)') || ' -> ' || coalesce(left(d.new::text, 200), '(none)')"
    " ELSE left(coalesce(d.old, d.new)::text, 200) END AS what"
    " FROM reporting.incident_history c LEFT JOIN LATERAL " DIFFERENCES " d ON true"
    " WHERE c.source_id = $1) AS line ORDER BY change_id, n";

static const char json_sql[] =
    "SELECT row_to_json(one) FROM ("
    " SELECT c.change_id, intake.timestamp_text(c.changed_at) AS changed_at, c.changed_by,"
    " c.action, coalesce((SELECT array_to_json(array_agg(row_to_json(d))) FROM " DIFFERENCES " d), '[]')"
    " AS changes, c.before, c.after"
    " FROM reporting.incident_history c WHERE c.source_id = $1 ORDER BY c.change_id) AS one";

static bool print_history(PGconn *session, const char *id, bool as_json)
{
    static const struct column columns[] = {{"changed_at", COLUMN_TIME, 0},
                                            {"changed_by", COLUMN_TEXT, 0},
                                            {"action", COLUMN_TEXT, 0},
                                            {"what", COLUMN_TEXT, 0}};
    PGresult *result = session_query(session, as_json ? json_sql : table_sql, 1, &id);
    bool ok = result != NULL;

    if (ok && as_json) {
        ok = table_print_json_rows(result, stdout);
    } else if (ok && PQntuples(result) > 0) {
        ok = table_print_result(result, PQntuples(result), columns, false, stdout);
    } else if (ok) {
        print_error("the history has nothing about this incident");
    }
    PQclear(result);
    return ok;
}

static bool print_status(PGconn *session)
{
    PGresult *result =
        session_query(session,
                      "SELECT intake.history_enabled(), count(*), count(DISTINCT reference_id), "
                      "intake.timestamp_text(min(changed_at)), "
                      "pg_size_pretty(pg_total_relation_size('intake.incident_change')) "
                      "FROM intake.incident_change",
                      0, NULL);

    if (result == NULL) {
        return false;
    }
    printf("history is %s\n", *PQgetvalue(result, 0, 0) == 't' ? "on" : "off");
    printf("%s changes of %s incidents%s%s, %s\n", PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2),
           PQgetisnull(result, 0, 3) ? "" : " since ", PQgetvalue(result, 0, 3), PQgetvalue(result, 0, 4));
    PQclear(result);
    return true;
}

static bool turn(PGconn *session, bool on)
{
    bool ok = session_run(session,
                          on ? "SELECT intake.enable_history(true)" : "SELECT intake.enable_history(false)");

    if (ok) {
        printf("history is %s\n", on ? "on" : "off");
    }
    return ok;
}

enum { CHANGE_ID_SIZE = 24 };

/* Counts the changes that are older than that, and prints how many; negative where that failed. *last is the
 * highest number of them. */
static long long announce(PGconn *session, const char *before, char last[CHANGE_ID_SIZE])
{
    PGresult *result = session_query(session,
                                     "SELECT count(*), intake.timestamp_text(min(changed_at)), "
                                     "intake.timestamp_text(max(changed_at)), max(change_id) "
                                     "FROM intake.incident_change WHERE changed_at < $1::timestamptz",
                                     1, &before);
    long long count = result == NULL ? -1 : strtoll(PQgetvalue(result, 0, 0), NULL, 10);

    if (count == 0) {
        fputs("there is nothing to delete\n", stderr);
    } else if (count > 0) {
        fprintf(stderr, "changes to be deleted: %lld, from %s to %s\n", count, PQgetvalue(result, 0, 1),
                PQgetvalue(result, 0, 2));
        snprintf(last, CHANGE_ID_SIZE, "%s", PQgetvalue(result, 0, 3));
    }
    PQclear(result);
    return count;
}

/* Goes through the history in the order of its numbers, each thousand in a transaction of its own: requests
 * write theirs meanwhile, as no row of theirs is touched. It ends with `last`: what is newer was not
 * announced. */
static bool purge(PGconn *session, const char *before, const char *last)
{
    char done[CHANGE_ID_SIZE] = "0";
    const char *const values[] = {done, before, last};
    long long deleted = 0;
    bool ok = true, goes_on = true;

    while (goes_on) {
        PGresult *result = session_query(
            session,
            "WITH piece AS MATERIALIZED (SELECT c.change_id, c.changed_at FROM intake.incident_change c"
            " WHERE c.change_id > $1::bigint AND c.change_id <= $3::bigint ORDER BY c.change_id LIMIT 1000)"
            " SELECT max(change_id), intake.purge_history(array_agg(change_id)"
            " FILTER (WHERE changed_at < $2::timestamptz), $2::timestamptz) FROM piece",
            3, values);

        ok = result != NULL;
        goes_on = ok && !PQgetisnull(result, 0, 0);
        if (goes_on) {
            snprintf(done, sizeof done, "%s", PQgetvalue(result, 0, 0));
            deleted += strtoll(PQgetvalue(result, 0, 1), NULL, 10);
        }
        PQclear(result);
    }
    printf("changes deleted: %lld\n", deleted);
    return ok;
}

/* The command line. */
struct history_options {
    int mode; /* the letter of --on, --off, --status or --purge; 0: show one incident */
    char before[TIME_TEXT_MAX];
    bool as_json;
    bool is_sure;
};

static bool run(PGconn *session, const struct history_options *options, const char *id)
{
    char last[CHANGE_ID_SIZE];
    long long count;

    switch (options->mode) {
    case 'y':
    case 'n':
        return turn(session, options->mode == 'y');
    case 's':
        return print_status(session);
    case 'p':
        count = announce(session, options->before, last);
        return count == 0 ||
               (count > 0 && (options->is_sure || confirm()) && purge(session, options->before, last));
    default:
        return print_history(session, id, options->as_json);
    }
}

static bool read_options(int argc, char **argv, struct history_options *options)
{
    static const struct option names[] = {
        {"on", no_argument, NULL, 'y'},           {"off", no_argument, NULL, 'n'},
        {"status", no_argument, NULL, 's'},       {"purge", no_argument, NULL, 'p'},
        {"before", required_argument, NULL, 'b'}, {"yes", no_argument, NULL, 'Y'},
        {"json", no_argument, NULL, 'j'},         {0}};
    int letter, modes = 0;

    while ((letter = options_next(argc, argv, names, "")) != -1) {
        switch (letter) {
        case '?':
            return false;
        case 'j':
            options->as_json = true;
            break;
        case 'Y':
            options->is_sure = true;
            break;
        case 'b':
            if (!time_parse_past(optarg, options->before)) {
                return print_error("--before must be an ISO-8601 timestamp, or a duration like 730d");
            }
            break;
        default:
            options->mode = letter;
            modes++;
            break;
        }
    }
    if (modes > 1 || argc - optind != (modes == 0) || (modes == 1 && options->as_json) ||
        (options->mode == 'p') != (options->before[0] != '\0') ||
        (options->mode != 'p' && options->is_sure)) {
        return print_error(
            "history takes the reference_id of one incident, with or without --json, or one of "
            "--on, --off, --status, and --purge with --before WHEN and perhaps --yes");
    }
    return true;
}

int command_history(int argc, char **argv)
{
    struct history_options options = {0};
    PGconn *session;
    bool ok;

    if (!read_options(argc, argv, &options)) {
        return EXIT_USAGE;
    }
    session = session_open();
    ok = session != NULL && run(session, &options, argv[optind]);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
