/* incidentctl delete and purge: deletes incidents, by name or in bulk; the history has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/support/confirm.h"
#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/table.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/filter.h"
#include "incidentctl/support/session.h"

#define LABEL "'incidentctl'::text" /* in the place of a token's */

static bool delete_one(PGconn *session, const char *id)
{
    PGresult *result = session_query(
        session, "SELECT cardinality(intake.delete_incidents(ARRAY[$1], ARRAY[" LABEL "]))", 1, &id);
    bool ok = result != NULL, found = ok && strcmp(PQgetvalue(result, 0, 0), "1") == 0;

    if (ok) {
        fputs(found ? "deleted " : "incidentctl: there is no incident ", found ? stdout : stderr);
        table_print_text(id, found ? stdout : stderr);
        fputc('\n', found ? stdout : stderr);
    }
    PQclear(result);
    return found;
}

int command_delete(int argc, char **argv)
{
    static const struct option options[] = {{0}};
    PGconn *session;
    bool ok = true;

    if (options_next(argc, argv, options, "") != -1) {
        return EXIT_USAGE;
    }
    if (optind == argc) {
        print_error("delete takes the reference_id of one or more incidents");
        return EXIT_USAGE;
    }
    session = session_open();
    if (session == NULL) {
        return EXIT_FAILURE;
    }
    for (int i = optind; i < argc; i++) {
        ok = delete_one(session, argv[i]) && ok;
    }
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* A name that several services have is too little to delete by; and a name, which may become another
 * service's, is too little for a script. */
static bool settle(PGconn *session, struct filter *filter, bool is_sure)
{
    if (!filter_settle(session, filter)) {
        return false;
    }
    if (filter->service.count > 1) {
        print_error("--service names %d services; give the identifier of one:", filter->service.count);
        table_print_text(filter->service.names, stderr);
        fputc('\n', stderr);
        return false;
    }
    if (filter->service.is_by_name && is_sure) {
        print_error("--yes takes no service by its name, which may change; give its identifier:");
        table_print_text(filter->service.names, stderr);
        fputc('\n', stderr);
        return false;
    }
    if (filter->service.names != NULL) {
        fputs("of the service ", stderr);
        table_print_text(filter->service.names, stderr);
        fputs(": ", stderr);
    }
    return true;
}

/* Counts what is to be deleted and prints that; -1 where that fails. */
static long long announce(PGconn *session, const struct filter *filter)
{
    PGresult *result =
        session_query(session,
                      "SELECT count(*), count(*) FILTER (WHERE i.resolved_at IS NULL), "
                      "intake.timestamp_text(min(i.started_at)), intake.timestamp_text(max(i.started_at)) "
                      "FROM intake.incident i WHERE" FILTER_SQL,
                      FILTER_COUNT, filter->values);
    long long count = -1;

    if (result != NULL) {
        count = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    if (count == 0) {
        fputs("there is nothing to delete\n", stderr);
    } else if (count > 0) {
        fprintf(stderr, "incidents to be deleted: %s, of them open: %s; they started from %s to %s\n",
                PQgetvalue(result, 0, 0), PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 2),
                PQgetvalue(result, 0, 3));
    }
    PQclear(result);
    return count;
}

/* Deletes the next few in the order of the key, as intake.delete_incidents does. The condition stands there
 * twice: Postgres looks once more at that of the DELETE where it had to wait for a row which then is another.
 */
static const char purge_sql[] =
    "WITH few AS MATERIALIZED (SELECT i.reference_id FROM intake.incident i WHERE" FILTER_SQL
    " AND i.reference_id > $8 ORDER BY i.reference_id LIMIT 200),"
    " gone AS (DELETE FROM intake.incident i"
    " WHERE i.reference_id = ANY (ARRAY(SELECT f.reference_id FROM few f)) AND" FILTER_SQL
    "RETURNING i.reference_id, i.updated_at, ROW (i.name, i.priority, i.source_url, i.started_at,"
    " i.resolved_at, i.services, i.metadata)::intake.incident_state AS state),"
    " noted AS (INSERT INTO intake.incident_change (changed_at, reference_id, action, token_label, before)"
    " SELECT greatest(clock_timestamp(), g.updated_at), g.reference_id, 'deleted', " LABEL ", g.state"
    " FROM gone g WHERE intake.history_enabled())"
    " SELECT (SELECT max(f.reference_id) FROM few f), (SELECT count(*) FROM gone)";

/* Each few in a transaction of their own, so that no request waits for long. They are locked in the order of
 * the index, as requests lock theirs, so that none waits for another in a circle. */
static bool purge(PGconn *session, const struct filter *filter)
{
    const char *values[FILTER_COUNT + 1];
    char *last = strdup("");
    long long deleted = 0;
    bool ok = last != NULL && session_run(session, "SELECT set_config('enable_seqscan', 'off', false),"
                                                   " set_config('enable_bitmapscan', 'off', false)"),
         goes_on = ok;

    memcpy(values, filter->values, sizeof filter->values);
    while (goes_on) {
        PGresult *result;

        values[FILTER_COUNT] = last;
        result = session_query(session, purge_sql, FILTER_COUNT + 1, values);
        ok = result != NULL;
        goes_on = ok && !PQgetisnull(result, 0, 0);
        if (goes_on) {
            deleted += strtoll(PQgetvalue(result, 0, 1), NULL, 10);
            free(last);
            last = strdup(PQgetvalue(result, 0, 0));
            ok = goes_on = last != NULL;
        }
        PQclear(result);
    }
    free(last);
    printf("incidents deleted: %lld\n", deleted);
    return ok;
}

int command_purge(int argc, char **argv)
{
    static const struct option options[] = {FILTER_OPTIONS,
                                            {"before", required_argument, NULL, 'B'},
                                            {"token", required_argument, NULL, 'T'},
                                            {"yes", no_argument, NULL, 'y'},
                                            {0}};
    struct filter filter = {0};
    bool is_sure = false, ok;
    PGconn *session;
    long long count;
    int letter;

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (letter == 'y') {
            is_sure = true;
        } else if (!filter_parse_option(&filter, letter, optarg)) {
            return EXIT_USAGE;
        }
    }
    if (!options_end(argc, argv, 0)) {
        return EXIT_USAGE;
    }
    if (!filter_is_given(&filter)) {
        print_error("purge takes one filter at least: --before WHEN, --token LABEL or those of list; and "
                    "--yes");
        return EXIT_USAGE;
    }
    session = session_open();
    if (session == NULL) {
        return EXIT_FAILURE;
    }
    count = settle(session, &filter, is_sure) ? announce(session, &filter) : -1;
    ok = count == 0 || (count > 0 && (is_sure || confirm()) && purge(session, &filter));
    filter_free(&filter);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
