/* The database as incidentctl doctor sees it: as the worker, and as the owner where that is known. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/doctor/database.h"
#include "incidentctl/group_role.h"
#include "incidentctl/migrations.h"

enum { POSTGRES_NEEDED = 150000 };               /* the oldest that is tested */
enum { ROLE_NAME_SIZE = 160, ADVICE_MAX = 320 }; /* a name of 63 bytes that is quoted has 128 */

static const char subject[] = "database";

/* What libpq and the server say to a login that fails, and what to do. In English, the
 * default of Debian's servers; the last line is for all else. */
static const struct {
    const char *message;
    const char *advice;
} login_errors[] = {
    {"No such file or directory",
     "Postgres does not run, or its socket is elsewhere: systemctl status postgresql, and "
     "the host in DATABASE_URL"},
    {"Connection refused",
     "Postgres does not run there, or listens elsewhere: host and port in DATABASE_URL, and its "
     "listen_addresses"},
    {"Permission denied",
     "this user may not open Postgres's socket: take host=localhost, or the directory's group"},
    {"could not translate host name", "the host in DATABASE_URL has no address: misspelt, or no DNS"},
    {"timeout expired", "nothing responds at that address: a firewall, or the wrong host"},
    {"password authentication failed",
     "set a new one: ALTER ROLE ... PASSWORD, and the same in DATABASE_URL"},
    {"no password supplied", "put it into DATABASE_URL, or into ~/.pgpass of the worker's user"},
    {"no pg_hba.conf entry", "allow it: a line in pg_hba.conf for this role, database and address, then "
                             "SELECT pg_reload_conf()"},
    {"does not exist", "create it: docs/install.md, Database"},
    {"too many connections", "raise the limit, or lower INCIDENTS_DB_POOL_SIZE or INCIDENTS_PROCESSES (under "
                             "mod_fcgid, FcgidMaxProcessesPerClass)"},
    {"remaining connection slots",
     "raise max_connections, or lower INCIDENTS_DB_POOL_SIZE or INCIDENTS_PROCESSES"},
    {"not permitted to log in", "ALTER ROLE ... LOGIN"},
    {"", "docs/install.md, Database"},
};

static const char *advice_for(const char *message)
{
    size_t i = 0;

    while (strstr(message, login_errors[i].message) == NULL) {
        i++;
    }
    return login_errors[i].advice;
}

PGconn *database_connect(const char *url)
{
    static const char *const keywords[] = {"fallback_application_name", "connect_timeout", "dbname", NULL};
    const char *const values[] = {"incidentctl doctor", "5", *url == '\0' ? NULL : url, NULL};

    return PQconnectdbParams(keywords, values, 1);
}

/* The first row of a statement, or NULL, with the reason in *message. */
static PGresult *query(PGconn *session, const char *sql, const char *value, char *message, size_t size)
{
    PGresult *result = PQexecParams(session, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);

    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        return result;
    }
    snprintf(message, size, "%s",
             PQresultStatus(result) == PGRES_TUPLES_OK ? "no row" : PQerrorMessage(session));
    PQclear(result);
    return NULL;
}

static bool is_true(const PGresult *result, int column)
{
    return *PQgetvalue(result, 0, column) == 't';
}

/* Whether the server itself is one to trust with incidents. */
static void check_server(struct doctor *doctor, PGconn *session)
{
    char message[512];
    PGresult *result = query(
        session,
        "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), "
        "current_setting('server_encoding'), pg_is_in_recovery() OR "
        "current_setting('default_transaction_read_only')::boolean, current_setting('fsync') = 'off' OR "
        "current_setting('full_page_writes') = 'off' OR current_setting('synchronous_commit') = 'off', "
        "current_setting('synchronous_standby_names') <> '' AND "
        "current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
        NULL, message, sizeof message);

    if (result == NULL) {
        checks_report(doctor, FINDING_PROBLEM, subject, NULL, "%s", message);
        return;
    }
    if (strtol(PQgetvalue(result, 0, 0), NULL, 10) < POSTGRES_NEEDED) {
        checks_report(doctor, FINDING_PROBLEM, subject, "upgrade it to 15 or later", "this is PostgreSQL %s",
                      PQgetvalue(result, 0, 1));
    } else if (strcmp(PQgetvalue(result, 0, 2), "UTF8") != 0) {
        checks_report(doctor, FINDING_PROBLEM, subject,
                      "create it again: createdb --encoding UTF8 --template template0",
                      "its encoding is %s, it must be UTF8", PQgetvalue(result, 0, 2));
    } else if (is_true(result, 3)) {
        checks_report(doctor, FINDING_PROBLEM, subject,
                      "name all hosts in DATABASE_URL, with target_session_attrs=read-write",
                      "it is read-only: a standby, or set to be");
    } else if (is_true(result, 4)) {
        checks_report(doctor, FINDING_WARNING, subject,
                      "turn fsync, full_page_writes and synchronous_commit on",
                      "a crash of its machine loses incidents that got 200");
    } else if (is_true(result, 5)) {
        checks_report(doctor, FINDING_WARNING, subject, "set synchronous_commit to on",
                      "a failover may lose incidents that got 200: commits do not wait until the "
                      "synchronous standby has them on its disk");
    } else {
        checks_report(doctor, FINDING_OK, subject, NULL, "PostgreSQL %s, database %s",
                      PQgetvalue(result, 0, 1), PQdb(session));
    }
    PQclear(result);
}

/* The worker's group role, which is a name that migrate was given, or the usual one. Only the owner reads
 * what it was given; who has been granted the call, everybody. */
static void find_group(const struct doctor *doctor, PGconn *session, char group[ROLE_NAME_SIZE])
{
    static const char stored[] = "SELECT role_name FROM intake.group_role WHERE purpose = 'worker'";
    static const char granted[] =
        "SELECT a.grantee::regrole FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) a "
        "WHERE p.proname = 'apply_batch' AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = "
        "'intake') AND a.grantee NOT IN (0, p.proowner) ORDER BY a.grantee LIMIT 1";
    char message[512];
    PGresult *result =
        doctor->owner == NULL ? NULL : query(doctor->owner, stored, NULL, message, sizeof message);

    if (result == NULL) {
        result = query(session, granted, NULL, message, sizeof message);
    }
    snprintf(group, ROLE_NAME_SIZE, "%s", result == NULL ? "incidents_worker" : PQgetvalue(result, 0, 0));
    PQclear(result);
}

/* Version 0.1 numbered its migrations as far as 9. It had no type of this name; the catalogue is everybody's
 * to read. */
static bool is_of_version_0_1(PGconn *session)
{
    char message[512];
    PGresult *result =
        query(session,
              "SELECT NOT EXISTS (SELECT FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace "
              "WHERE n.nspname = 'intake' AND t.typname = 'operation')",
              NULL, message, sizeof message);
    bool is_old = result != NULL && is_true(result, 0);

    PQclear(result);
    return is_old;
}

static void check_schema(struct doctor *doctor, PGconn *session, const char *group)
{
    static const char what[] = "schema";
    static const char migrate[] = "incidentctl migrate, with the owner's DATABASE_URL";
    char message[512], grant[ADVICE_MAX];
    PGresult *result = query(session, "SELECT intake.schema_version()", NULL, message, sizeof message);
    long version;

    if (result == NULL) {
        snprintf(grant, sizeof grant, "GRANT %s TO the worker's role, and incidentctl migrate once more",
                 group);
        checks_report(doctor, FINDING_PROBLEM, what,
                      strstr(message, "permission denied") != NULL ? grant : migrate, "%s", message);
        return;
    }
    version = strtol(PQgetvalue(result, 0, 0), NULL, 10);
    if (is_of_version_0_1(session)) {
        checks_report(doctor, FINDING_PROBLEM, what, "docs/operations.md, \"Moving from 0.1\"",
                      "version 0.1 made this database");
    } else if (version < (long)migration_count) {
        checks_report(doctor, FINDING_PROBLEM, what, migrate, "it has version %ld, this program needs %zu",
                      version, migration_count);
    } else if (version > (long)migration_count) {
        checks_report(doctor, FINDING_WARNING, what, "install the newer program, and restart the worker",
                      "it has version %ld, this program knows %zu", version, migration_count);
    } else {
        checks_report(doctor, FINDING_OK, what, NULL, "version %ld", version);
    }
    PQclear(result);
}

/* A member of the group may write into each database in which that has rights. */
static void check_group(struct doctor *doctor, PGconn *session, const char *group)
{
    char message[512];
    PGresult *result = query(session, "SELECT string_agg(DISTINCT d.datname, ', ')" GROUP_ROLE_DATABASES,
                             group, message, sizeof message);

    if (result != NULL && !PQgetisnull(result, 0, 0)) {
        checks_report(doctor, FINDING_WARNING, "role",
                      "incidentctl migrate --worker-role NAME --reader-role NAME gives this database its own",
                      "%s has rights in another database, too: %s", group, PQgetvalue(result, 0, 0));
    }
    PQclear(result);
}

/* Each process of the worker has connections of its own. A limit below 0 is none. */
static void check_connection_limit(struct doctor *doctor, const char *role, const char *limit)
{
    const struct settings *settings = &doctor->settings;
    int wanted = settings->db_pool_size * settings->processes;
    char detail[64] = "";

    if (strtol(limit, NULL, 10) < 0 || strtol(limit, NULL, 10) >= wanted) {
        return;
    }
    if (settings->processes > 1) {
        snprintf(detail, sizeof detail, " (%d for each process)", settings->db_pool_size);
    }
    checks_report(doctor, FINDING_PROBLEM, "role",
                  "lower INCIDENTS_DB_POOL_SIZE or INCIDENTS_PROCESSES, or raise the role's CONNECTION LIMIT",
                  "%s may have %s connections, the worker wants %d%s", role, limit, wanted, detail);
}

/* What the worker's role may do: call the one function, and no more. The catalogue is everybody's to read. */
static void check_role(struct doctor *doctor, PGconn *session, const char *group)
{
    static const char what[] = "role";
    const char *role = PQuser(doctor->worker);
    char message[512], create[ADVICE_MAX], grant[ADVICE_MAX], separate[ADVICE_MAX];
    PGresult *result =
        query(session,
              "SELECT rolcanlogin, rolsuper, coalesce((SELECT "
              "bool_and(has_function_privilege(r.oid, p.oid, 'EXECUTE') AND "
              "has_schema_privilege(r.oid, p.pronamespace, 'USAGE')) FROM pg_proc p WHERE "
              "proname = 'apply_batch' AND "
              "pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'intake')), false), "
              "coalesce((SELECT bool_or(has_table_privilege(r.oid, c.oid, 'SELECT')) FROM "
              "pg_class c WHERE relkind = 'r' AND "
              "relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'intake')), false), "
              "rolconnlimit FROM pg_roles r WHERE rolname = $1",
              role, message, sizeof message);

    snprintf(create, sizeof create, "CREATE ROLE ... LOGIN IN ROLE %s", group);
    snprintf(grant, sizeof grant,
             "GRANT %s TO it; where that group is missing, make it and run incidentctl migrate", group);
    snprintf(separate, sizeof separate, "give the worker a role of its own: CREATE ROLE ... LOGIN IN ROLE %s",
             group);
    if (result == NULL) {
        checks_report(doctor, FINDING_PROBLEM, what, create, "the worker's role %s: %s", role, message);
        return;
    }
    if (!is_true(result, 0)) {
        checks_report(doctor, FINDING_PROBLEM, what, "ALTER ROLE ... LOGIN", "%s may not log in", role);
    } else if (!is_true(result, 2)) {
        checks_report(doctor, FINDING_PROBLEM, what, grant, "%s may not call intake.apply_batch", role);
    } else if (is_true(result, 1) || is_true(result, 3)) {
        checks_report(doctor, FINDING_WARNING, what, separate,
                      "%s may read tokens and incidents, and so may whoever gets control of the worker",
                      role);
    } else {
        checks_report(doctor, FINDING_OK, what, NULL, "%s may do what the worker needs, and no more", role);
    }
    check_connection_limit(doctor, role, PQgetvalue(result, 0, 4));
    PQclear(result);
}

static void check_tokens(struct doctor *doctor)
{
    static const char what[] = "token";
    char message[512];
    PGresult *result;

    if (doctor->owner == NULL) {
        checks_report(doctor, FINDING_NOTE, what, "run it with the owner's DATABASE_URL in the environment",
                      "only the owner sees the tokens");
        return;
    }
    result = query(
        doctor->owner,
        "SELECT count(*), count(*) FILTER (WHERE expires_at IS NULL OR expires_at > now() + interval '7 "
        "days') "
        "FROM intake.api_token WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())",
        NULL, message, sizeof message);
    if (result == NULL) {
        checks_report(doctor, FINDING_NOTE, what, NULL, "%s", message);
    } else if (strcmp(PQgetvalue(result, 0, 0), "0") == 0) {
        checks_report(doctor, FINDING_PROBLEM, what, "incidentctl token create --label LABEL",
                      "there is no valid token");
    } else if (strcmp(PQgetvalue(result, 0, 1), "0") == 0) {
        checks_report(doctor, FINDING_WARNING, what, "incidentctl token rotate LABEL --grace 7d",
                      "every valid token expires within a week");
    } else {
        checks_report(doctor, FINDING_OK, what, NULL, "%s valid", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
}

/* Whether numbers will come twice. A sequence is behind its table after a logical replication, which does not
 * carry sequences over. */
static bool check_sequence(struct doctor *doctor, const char *column, const char *sql)
{
    char message[512];
    PGresult *result = query(doctor->owner, sql, NULL, message, sizeof message);
    bool is_behind = result != NULL && is_true(result, 0);

    if (result == NULL) {
        checks_report(doctor, FINDING_NOTE, "sequence", NULL, "%s: %s", column, message);
    } else if (is_behind) {
        checks_report(doctor, FINDING_PROBLEM, "sequence",
                      "docs/operations.md, \"Logical replication\", has the command that sets them all",
                      "the sequence of %s is at %s, its table at %s", column, PQgetvalue(result, 0, 1),
                      PQgetvalue(result, 0, 2));
    }
    PQclear(result);
    return result != NULL && !is_behind;
}

static void check_sequences(struct doctor *doctor)
{
    PGresult *columns;
    bool ok = true;

    if (doctor->owner == NULL) {
        return; /* check_tokens reports that there is no owner */
    }
    columns = PQexec(
        doctor->owner,
        "SELECT format('%I.%I.%I', n.nspname, c.relname, a.attname), format("
        "'SELECT t.top > s.last_value - (NOT s.is_called)::integer, s.last_value - (NOT "
        "s.is_called)::integer, "
        "t.top FROM %s s, (SELECT max(%I)::bigint AS top FROM %I.%I) t', "
        "pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname), a.attname, n.nspname, "
        "c.relname) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'intake' AND a.attidentity <> '' AND NOT a.attisdropped ORDER BY 1");
    for (int i = 0; i < PQntuples(columns); i++) {
        ok = check_sequence(doctor, PQgetvalue(columns, i, 0), PQgetvalue(columns, i, 1)) && ok;
    }
    if (ok && PQntuples(columns) > 0) {
        checks_report(doctor, FINDING_OK, "sequence", NULL, "%d, none behind its table", PQntuples(columns));
    }
    PQclear(columns);
}

/* Passwords that stand, or stood, in our documents. */
static void check_password(struct doctor *doctor, PGconn *session)
{
    static const char *const published[] = {"…", "...", "secret", "PASSWORD", "password", "$password"};
    const char *password = session == NULL ? NULL : PQpass(session);

    for (size_t i = 0; password != NULL && i < sizeof published / sizeof published[0]; i++) {
        if (strcmp(password, published[i]) == 0) {
            checks_report(doctor, FINDING_WARNING, "password",
                          "set a secret one: \\password in psql, and the same in the settings file",
                          "the password of %s is published in this program's documents", PQuser(session));
        }
    }
}

/* With peer authentication only the worker's system user can log in as the worker. */
static void check_worker_session(struct doctor *doctor)
{
    const char *message = PQerrorMessage(doctor->worker);

    if (PQstatus(doctor->worker) == CONNECTION_OK) {
        return;
    }
    if (strstr(message, "Peer authentication failed") != NULL) {
        /* No fault, so none of the server's words, which begin with FATAL. */
        checks_report(doctor, FINDING_NOTE, subject,
                      "run it as that user; or give --url, and the web server is used",
                      "only the worker's system user can log in as %s (peer authentication): not tried",
                      PQuser(doctor->worker));
    } else {
        checks_report(doctor, FINDING_PROBLEM, subject, advice_for(message), "the worker cannot connect: %s",
                      message);
    }
}

/* Whether the environment's login is the owner's, or as good. The catalogue is everybody's to read. */
static bool is_owner(struct doctor *doctor)
{
    static const char advice[] =
        "name the worker's database, as the schema's owner: DATABASE_URL, in the environment";
    const char *failure = PQerrorMessage(doctor->owner);
    char message[512];
    PGresult *result;
    bool ok;

    if (PQstatus(doctor->owner) != CONNECTION_OK) {
        if (strcmp(failure, PQerrorMessage(doctor->worker)) != 0) { /* else that has been said */
            checks_report(doctor, FINDING_WARNING, "owner", advice_for(failure),
                          "the environment's login cannot connect: %s", failure);
        }
        return false;
    }
    result = query(doctor->owner,
                   "SELECT bool_or(has_table_privilege(c.oid, 'SELECT')) FROM pg_class c JOIN pg_namespace n "
                   "ON n.oid = c.relnamespace WHERE n.nspname = 'intake' AND c.relname = 'api_token'",
                   NULL, message, sizeof message);
    ok = result != NULL && is_true(result, 0);
    if (result != NULL && PQgetisnull(result, 0, 0)) {
        checks_report(doctor, FINDING_WARNING, "owner", advice,
                      "the environment's database %s has no schema intake", PQdb(doctor->owner));
    }
    PQclear(result);
    return ok;
}

static void check_owner(struct doctor *doctor)
{
    if (doctor->owner != NULL && !is_owner(doctor)) {
        PQfinish(doctor->owner);
        doctor->owner = NULL;
    }
}

void database_check(struct doctor *doctor)
{
    char group[ROLE_NAME_SIZE];
    PGconn *session;

    check_worker_session(doctor);
    check_password(doctor, doctor->worker);
    check_password(doctor, doctor->owner);
    check_owner(doctor);
    session = PQstatus(doctor->worker) == CONNECTION_OK ? doctor->worker : doctor->owner;
    if (session != NULL) {
        check_server(doctor, session);
        find_group(doctor, session, group);
        check_schema(doctor, session, group);
        check_role(doctor, session, group);
        check_group(doctor, session, group);
    }
    check_tokens(doctor);
    check_sequences(doctor);
}
