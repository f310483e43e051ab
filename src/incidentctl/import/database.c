/* What an import needs of the database: a schema that fits, a token of its own, the store. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/import/import.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/session.h"
#include "incidentctl/token.h"
#include "schema_version.h"

enum {
    DB_POOL_SIZE = 2,
    BATCH_MAX = 500,   /* with history on, larger ones cost Postgres more: it compares all with all */
    QUEUE_MAX = 10000, /* more than the window holds */
    REQUEST_TIMEOUT_MIN_MS = 1000, /* after this timeout the import tries again by itself */
    PREFIX_SHOWN = 8,
};

const char import_token_label[] = "incidentctl import";

static bool check_schema(PGconn *session)
{
    PGresult *result = session_query(session, "SELECT intake.schema_version()", 0, NULL);
    bool ok = result != NULL && strtol(PQgetvalue(result, 0, 0), NULL, 10) >= SCHEMA_VERSION;

    if (!ok) {
        fprintf(stderr,
                "incidentctl: the database's schema is not the one this program needs, see incidentctl "
                "migrate\n");
    }
    PQclear(result);
    return ok;
}

/* How long an incident may last before reports doubt it. */
static bool read_bound(struct import *import, PGconn *session)
{
    PGresult *result =
        session_query(session, "SELECT extract(epoch FROM reporting.longest_incident())::bigint", 0, NULL);

    if (result != NULL) {
        import->longest_seconds = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    }
    PQclear(result);
    return result != NULL;
}

/* Makes a token that nobody else knows, and forgets it but for its hash. What an import that was killed left
 * behind has expired by the time it is removed here. */
bool import_make_token(struct import *import)
{
    char token[TOKEN_SIZE], prefix[PREFIX_SHOWN + 1];
    const char *const values[] = {import->token_hash, prefix, import_token_label};
    PGconn *session = session_open();
    PGresult *result = NULL;

    if (session != NULL && check_schema(session) && read_bound(import, session) && token_make(token)) {
        digest_sha256((struct slice){.data = token, .len = strlen(token)}, import->token_hash);
        snprintf(prefix, sizeof prefix, "%.*s", PREFIX_SHOWN, token);
        explicit_bzero(token, sizeof token);
        result = session_query(
            session,
            "WITH expired AS (DELETE FROM intake.api_token WHERE label = $3 AND expires_at < now()) "
            "INSERT INTO intake.api_token (token_hash, prefix, label, scopes, expires_at) "
            "VALUES (decode($1, 'hex'), $2, $3, '{upsert}', now() + interval '7 days')",
            3, values);
    }
    if (result == NULL) {
        import->token_hash[0] = '\0';
    }
    PQclear(result);
    PQfinish(session);
    return import->token_hash[0] != '\0';
}

void import_remove_token(struct import *import)
{
    const char *const values[] = {import->token_hash};
    PGconn *session;
    PGresult *result = NULL;

    if (import->token_hash[0] == '\0') {
        return;
    }
    session = session_open();
    if (session != NULL) {
        result = session_query(session, "DELETE FROM intake.api_token WHERE token_hash = decode($1, 'hex')",
                               1, values);
    }
    if (result == NULL) {
        fprintf(
            stderr,
            "incidentctl: the token \"%s\" could not be removed; nobody knows it, and it expires by itself\n",
            import_token_label);
    }
    PQclear(result);
    PQfinish(session);
}

bool import_start_store(struct import *import)
{
    char error[512];

    if (!settings_load_for_admin(&import->settings, error, sizeof error)) {
        fprintf(stderr, "incidentctl: %s\n", error);
        return false;
    }
    import->settings.db_pool_size = DB_POOL_SIZE;
    import->settings.batch_max = BATCH_MAX;
    import->settings.queue_max = QUEUE_MAX;
    if (import->settings.request_timeout_ms < REQUEST_TIMEOUT_MIN_MS) {
        import->settings.request_timeout_ms = REQUEST_TIMEOUT_MIN_MS;
    }
    if (!loop_open(&import->loop)) {
        fprintf(stderr, "incidentctl: %s\n", strerror(errno));
        return false;
    }
    import->store = store_start(&import->settings, &import->loop);
    return import->store != NULL;
}
