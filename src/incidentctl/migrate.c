/* incidentctl migrate: brings the database's schema up to date. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/group_role.h"
#include "incidentctl/support/table.h"
#include "incidentctl/migrations.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/session.h"
#include "base/digest.h"

/* Any number will do, as long as every incidentctl takes the same. */
#define LOCK_KEY "7236483712"

enum { ROLE_NAME_MAX = 63, ROLES = 2 };

/* The group roles, in the order in which intake.name_roles takes them. */
static const struct {
    const char *option;
    const char
        *setting; /* where the migration that makes them finds the name; without one it takes the usual */
    const char *usual;
} group_roles[ROLES] = {{"--worker-role", "incidents.worker_role", "incidents_worker"},
                        {"--reader-role", "incidents.reader_role", "incidents_reader"}};

struct request {
    bool status, as_json, dry_run;
    const char *roles[ROLES]; /* NULL where none is named: it stays as it is */
};

/* A row of intake.migration beside what this program knows. */
static const struct migration *find_migration(int version)
{
    return version >= 1 && (size_t)version <= migration_count ? &migrations[version - 1] : NULL;
}

static void checksum_of(const struct migration *migration, char hex[DIGEST_HEX_SIZE])
{
    digest_sha256((struct slice){.data = migration->sql, .len = migration->len}, hex);
}

/* The migrations that the database has seen, oldest first; no rows where it has seen none. */
static PGresult *read_applied(PGconn *session)
{
    PGresult *exists = session_query(session, "SELECT to_regclass('intake.migration') IS NOT NULL", 0, NULL);
    bool has_table = exists != NULL && *PQgetvalue(exists, 0, 0) == 't';

    PQclear(exists);
    if (exists == NULL) {
        return NULL;
    }
    return session_query(
        session,
        has_table ? "SELECT version, name, checksum, applied_at FROM intake.migration ORDER BY version"
                  : "SELECT NULL, NULL, NULL, NULL WHERE false",
        0, NULL);
}

static int version_at(const PGresult *applied, int row)
{
    return (int)strtol(PQgetvalue(applied, row, 0), NULL, 10); /* a column of type integer */
}

/* What is wrong with a migration that the database has seen; NULL where nothing is. */
static const char *find_fault(const PGresult *applied, int row)
{
    const struct migration *migration = find_migration(version_at(applied, row));
    char checksum[DIGEST_HEX_SIZE];

    if (migration == NULL) {
        return "unknown";
    }
    checksum_of(migration, checksum);
    if (strcmp(migration->name, PQgetvalue(applied, row, 1)) != 0 ||
        (!PQgetisnull(applied, row, 2) && strcmp(checksum, PQgetvalue(applied, row, 2)) != 0)) {
        return "changed";
    }
    return NULL;
}

/* Version 0.1 numbered its nine migrations from 1, too. Nobody but it had one of that name. */
static bool is_of_version_0_1(const PGresult *applied)
{
    return PQntuples(applied) > 0 && version_at(applied, 0) == 1 &&
           strcmp(PQgetvalue(applied, 0, 1), "initial") == 0;
}

/* Refuses to go on where the database has seen something that this program has not. */
static bool check_applied(const PGresult *applied)
{
    for (int row = 0; row < PQntuples(applied); row++) {
        const char *fault = find_fault(applied, row);

        if (fault != NULL) {
            fprintf(
                stderr,
                "incidentctl: refusing to migrate: migration %s (%s), which this database has seen, is %s "
                "to this program\n",
                PQgetvalue(applied, row, 0), PQgetvalue(applied, row, 1), fault);
            return false;
        }
        if (version_at(applied, row) != row + 1) {
            fprintf(stderr, "incidentctl: refusing to migrate: migration %d is missing before %s\n", row + 1,
                    PQgetvalue(applied, row, 0));
            return false;
        }
    }
    return true;
}

static bool print_status(const PGresult *applied, bool as_json)
{
    static const struct column columns[] = {{"version", COLUMN_NUMBER, 0},
                                            {"name", COLUMN_TEXT, 0},
                                            {"state", COLUMN_TEXT, 0},
                                            {"applied_at", COLUMN_TIME, 0}};
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    bool ok = table != NULL;

    for (int row = 0; ok && row < PQntuples(applied); row++) {
        const char *fault = find_fault(applied, row);
        const char *cells[] = {PQgetvalue(applied, row, 0), PQgetvalue(applied, row, 1),
                               fault == NULL ? "applied" : fault, PQgetvalue(applied, row, 3)};

        ok = table_add(table, cells);
    }
    for (size_t i = (size_t)PQntuples(applied); ok && i < migration_count; i++) {
        char version[16];
        const char *cells[] = {version, migrations[i].name, "pending", NULL};

        snprintf(version, sizeof version, "%d", migrations[i].version);
        ok = table_add(table, cells);
    }
    ok = ok && table_print(table, as_json, stdout);
    table_free(table);
    return ok;
}

/* Runs one migration, which is one transaction and records itself, with the checksum that it finds in the
 * session. */
static bool apply_migration(PGconn *session, const struct migration *migration)
{
    char checksum[DIGEST_HEX_SIZE];
    const char *const values[] = {checksum};
    PGresult *result;
    bool ok;

    checksum_of(migration, checksum);
    result =
        session_query(session, "SELECT set_config('incidents.migration_checksum', $1, false)", 1, values);
    PQclear(result);
    if (result == NULL) {
        return false;
    }
    result = PQexec(session, migration->sql);
    ok = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    if (!ok) {
        fprintf(stderr, "incidentctl: migration %d (%s) failed, nothing of it was kept: %s",
                migration->version, migration->name, PQerrorMessage(session));
        PQclear(PQexec(session, "ROLLBACK"));
        return false;
    }
    printf("applied migration %d (%s)\n", migration->version, migration->name);
    return true;
}

/* A migration that psql applied has no checksum yet. */
static bool record_checksum(PGconn *session, const struct migration *migration)
{
    char checksum[DIGEST_HEX_SIZE], version[16];
    const char *const values[] = {checksum, version};
    PGresult *result;

    checksum_of(migration, checksum);
    snprintf(version, sizeof version, "%d", migration->version);
    result = session_query(
        session, "UPDATE intake.migration SET checksum = $1 WHERE version = $2::integer AND checksum IS NULL",
        2, values);
    PQclear(result);
    return result != NULL;
}

static bool apply_pending(PGconn *session, size_t applied, bool dry_run)
{
    for (size_t i = 0; i < migration_count; i++) {
        bool ok = true;

        if (i >= applied && dry_run) {
            printf("would apply migration %d (%s)\n", migrations[i].version, migrations[i].name);
        } else if (i >= applied) {
            ok = apply_migration(session, &migrations[i]);
        } else if (!dry_run) {
            ok = record_checksum(session, &migrations[i]);
        }
        if (!ok) {
            return false;
        }
    }
    if (applied == migration_count) {
        printf("the schema is up to date at version %zu\n", migration_count);
    }
    return true;
}

/* Whether the usual names, which every database would take, are another's. Checked only where the
 * database has no group roles yet: who has shared them since wants to. Leaves the names where the migration
 * finds them. */
static bool choose_roles(PGconn *session, const struct request *request)
{
    static const char taken_sql[] =
        "SELECT string_agg(DISTINCT quote_ident(d.datname), ', ')" GROUP_ROLE_DATABASES
        " AND to_regclass('intake.group_role') IS NULL";
    bool ok = true;

    for (size_t i = 0; ok && i < ROLES; i++) {
        const char *name = request->roles[i];
        const char *const setting[] = {group_roles[i].setting, name == NULL ? "" : name};
        PGresult *taken = session_query(session, taken_sql, 1, &group_roles[i].usual);

        ok = taken != NULL;
        if (ok && name == NULL && !PQgetisnull(taken, 0, 0)) {
            ok = print_error(
                "refusing to migrate: the role %s has rights in another database of this server, %s; give "
                "this one group roles of its own with --worker-role NAME --reader-role NAME, or the same "
                "names, if its workers may get at the other",
                group_roles[i].usual, PQgetvalue(taken, 0, 0));
        }
        PQclear(taken);
        taken = ok ? session_query(session, "SELECT set_config($1, $2, false)", 2, setting) : NULL;
        ok = taken != NULL;
        PQclear(taken);
    }
    return ok;
}

static bool grant_roles(PGconn *session, const struct request *request)
{
    PGresult *result;

    if (request->roles[0] == NULL && request->roles[1] == NULL) {
        return session_run(session, "SELECT intake.grant_roles()");
    }
    result = session_query(session, "SELECT intake.name_roles($1, $2)", ROLES, request->roles);
    PQclear(result);
    return result != NULL;
}

static bool migrate_from(PGconn *session, const PGresult *applied, const struct request *request)
{
    if (is_of_version_0_1(applied)) {
        return print_error(
            "refusing to migrate: this database was made by version 0.1, whose schema is not brought up "
            "to date; export its incidents, migrate a fresh database and import them there: "
            "docs/operations.md, \"Moving from 0.1\", has the commands");
    }
    if (request->status) {
        return print_status(applied, request->as_json);
    }
    return check_applied(applied) && choose_roles(session, request) &&
           apply_pending(session, (size_t)PQntuples(applied), request->dry_run) &&
           (request->dry_run || grant_roles(session, request));
}

static bool migrate(PGconn *session, const struct request *request)
{
    PGresult *applied;
    bool ok;

    /* Held until the session ends. Another incidentctl waits here, and then finds the work done. */
    if (!request->status && !session_run(session, "SELECT pg_advisory_lock(" LOCK_KEY ")")) {
        return false;
    }
    applied = read_applied(session);
    ok = applied != NULL && migrate_from(session, applied, request);
    PQclear(applied);
    return ok;
}

/* Names that no role can have. The server would cut a long one, and "public" is all roles. */
static bool check_name(const char *option, const char *name)
{
    size_t len = strlen(name);

    if (len == 0 || len > ROLE_NAME_MAX || strncmp(name, "pg_", 3) == 0 || strcmp(name, "public") == 0 ||
        strcmp(name, "none") == 0) {
        return print_error(
            "%s takes the name of a role: of 1 to %d bytes, and neither public, none nor pg_...", option,
            ROLE_NAME_MAX);
    }
    return true;
}

static bool take_option(struct request *request, int letter)
{
    switch (letter) {
    case 's':
        request->status = true;
        return true;
    case 'j':
        request->as_json = true;
        return true;
    case 'n':
        request->dry_run = true;
        return true;
    case 'w':
        request->roles[0] = optarg;
        return check_name(group_roles[0].option, optarg);
    case 'r':
        request->roles[1] = optarg;
        return check_name(group_roles[1].option, optarg);
    default:
        return false;
    }
}

int command_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"status", no_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {"worker-role", required_argument, NULL, 'w'},
                                            {"reader-role", required_argument, NULL, 'r'},
                                            {0}};
    struct request request = {0};
    bool names_roles, ok;
    PGconn *session;
    int letter;

    while ((letter = options_next(argc, argv, options, "")) != -1) {
        if (!take_option(&request, letter)) {
            return EXIT_USAGE;
        }
    }
    names_roles = request.roles[0] != NULL || request.roles[1] != NULL;
    if (!options_end(argc, argv, 0)) {
        return EXIT_USAGE;
    }
    if ((request.status && (request.dry_run || names_roles)) || (request.as_json && !request.status)) {
        print_error(
            "migrate takes --status, with or without --json, or --worker-role, --reader-role and --dry-run");
        return EXIT_USAGE;
    }
    session = session_open();
    ok = session != NULL && migrate(session, &request);
    PQfinish(session);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
