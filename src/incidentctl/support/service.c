/* Which services --service means. */
#include "incidentctl/support/service.h"

#include <stdlib.h>

#include "incidentctl/support/session.h"

/* Whether the identifier is meant sorts before the name: ranks are 1 for the identifier alone, or for all of
 * the name. */
static const char find_sql[] =
    "SELECT coalesce(array_agg(n.identifier ORDER BY n.number), ARRAY[$1::text]), count(*),"
    " string_agg(n.title, ', ' ORDER BY n.number) FILTER (WHERE n.number <= 10),"
    " min(CASE WHEN n.service = $1 THEN n.name ELSE n.title END), coalesce(bool_or(n.identifier <> $1), "
    "false)"
    " FROM (SELECT s.identifier, s.service, left(s.service, 200) AS name,"
    " left(s.service, 200) || ' (' || left(s.identifier, 200) || ')' AS title,"
    " rank() OVER (ORDER BY s.identifier <> $1) AS rank,"
    " row_number() OVER (ORDER BY s.identifier <> $1, s.identifier) AS number"
    " FROM reporting.service_names s WHERE s.identifier = $1 OR s.service = $1) n WHERE n.rank = 1";

/* A database of version 0.1, which is exported, has no names: docs/operations.md, "Moving from 0.1". */
static const char identifier_sql[] = "SELECT ARRAY[$1::text], 0, NULL, NULL, false";

static bool has_names(PGconn *session, bool *found)
{
    PGresult *result =
        session_query(session, "SELECT to_regclass('reporting.service_names') IS NOT NULL", 0, NULL);
    bool ok = result != NULL;

    *found = ok && *PQgetvalue(result, 0, 0) == 't';
    PQclear(result);
    return ok;
}

bool service_find(PGconn *session, const char *text, struct service_match *match)
{
    bool found;

    *match = (struct service_match){0};
    if (!has_names(session, &found)) {
        return false;
    }
    match->result = session_query(session, found ? find_sql : identifier_sql, 1, &text);
    if (match->result == NULL) {
        return false;
    }
    match->identifiers = PQgetvalue(match->result, 0, 0);
    match->count = (int)strtol(PQgetvalue(match->result, 0, 1), NULL, 10);
    match->names = PQgetisnull(match->result, 0, 2) ? NULL : PQgetvalue(match->result, 0, 2);
    match->title = PQgetisnull(match->result, 0, 3) ? NULL : PQgetvalue(match->result, 0, 3);
    match->is_by_name = *PQgetvalue(match->result, 0, 4) == 't';
    return true;
}
