/* incidentctl migrate: brings the database's schema up to date. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "admin/command.h"
#include "admin/listing.h"
#include "admin/migrations.h"
#include "admin/options.h"
#include "admin/session.h"
#include "base/digest.h"

/* Any number will do, as long as every incidentctl takes the same. */
#define LOCK_KEY "7236483712"

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

/* Refuses to go on where the database has seen something that this program has not. */
static bool check_applied(const PGresult *applied)
{
    for (int row = 0; row < PQntuples(applied); row++) {
        const char *fault = find_fault(applied, row);

        if (fault != NULL) {
            (void)fprintf(
                stderr,
                "incidentctl: refusing to migrate: migration %s (%s), which this database has seen, is %s "
                "to this program\n",
                PQgetvalue(applied, row, 0), PQgetvalue(applied, row, 1), fault);
            return false;
        }
        if (version_at(applied, row) != row + 1) {
            (void)fprintf(stderr, "incidentctl: refusing to migrate: migration %d is missing before %s\n",
                          row + 1, PQgetvalue(applied, row, 0));
            return false;
        }
    }
    return true;
}

static int print_status(const PGresult *applied, bool as_json)
{
    static const struct column columns[] = {{"version", COLUMN_NUMBER},
                                            {"name", COLUMN_TEXT},
                                            {"state", COLUMN_TEXT},
                                            {"applied_at", COLUMN_TEXT}};
    struct listing *listing = listing_new(columns, sizeof columns / sizeof columns[0]);
    bool ok = listing != NULL;

    for (int row = 0; ok && row < PQntuples(applied); row++) {
        const char *fault = find_fault(applied, row);
        const char *cells[] = {PQgetvalue(applied, row, 0), PQgetvalue(applied, row, 1),
                               fault == NULL ? "applied" : fault, PQgetvalue(applied, row, 3)};

        ok = listing_add(listing, cells);
    }
    for (size_t i = (size_t)PQntuples(applied); ok && i < migration_count; i++) {
        char version[16];
        const char *cells[] = {version, migrations[i].name, "pending", NULL};

        (void)snprintf(version, sizeof version, "%d", migrations[i].version);
        ok = listing_add(listing, cells);
    }
    ok = ok && listing_print(listing, as_json, stdout);
    listing_free(listing);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
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
        (void)fprintf(stderr, "incidentctl: migration %d (%s) failed, nothing of it was kept: %s",
                      migration->version, migration->name, PQerrorMessage(session));
        PQclear(PQexec(session, "ROLLBACK"));
        return false;
    }
    (void)printf("applied migration %d (%s)\n", migration->version, migration->name);
    return true;
}

/* A migration that psql applied has no checksum yet. */
static bool record_checksum(PGconn *session, const struct migration *migration)
{
    char checksum[DIGEST_HEX_SIZE], version[16];
    const char *const values[] = {checksum, version};
    PGresult *result;

    checksum_of(migration, checksum);
    (void)snprintf(version, sizeof version, "%d", migration->version);
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
            (void)printf("would apply migration %d (%s)\n", migrations[i].version, migrations[i].name);
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
        (void)printf("the schema is up to date at version %zu\n", migration_count);
    }
    return dry_run || session_run(session, "SELECT intake.grant_roles()");
}

static int migrate(PGconn *session, bool status, bool as_json, bool dry_run)
{
    PGresult *applied;
    int exit_status = EXIT_FAILURE;

    /* Held until the session ends. Another incidentctl waits here, and then finds the work done. */
    if (!status && !session_run(session, "SELECT pg_advisory_lock(" LOCK_KEY ")")) {
        return EXIT_FAILURE;
    }
    applied = read_applied(session);
    if (applied == NULL) {
        return EXIT_FAILURE;
    }
    if (status) {
        exit_status = print_status(applied, as_json);
    } else if (check_applied(applied) && apply_pending(session, (size_t)PQntuples(applied), dry_run)) {
        exit_status = EXIT_SUCCESS;
    }
    PQclear(applied);
    return exit_status;
}

int command_migrate(int argc, char **argv)
{
    static const struct option options[] = {{"status", no_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"dry-run", no_argument, NULL, 'n'},
                                            {0}};
    bool status = false, as_json = false, dry_run = false;
    PGconn *session;
    int option, exit_status;

    while ((option = options_next(argc, argv, options, "")) != -1) {
        if (option == '?') {
            return EXIT_USAGE;
        }
        status = status || option == 's';
        as_json = as_json || option == 'j';
        dry_run = dry_run || option == 'n';
    }
    if (optind != argc || (status && dry_run) || (as_json && !status)) {
        (void)fprintf(stderr, "incidentctl: migrate takes --status, with or without --json, or --dry-run\n");
        return EXIT_USAGE;
    }
    session = session_open();
    if (session == NULL) {
        return EXIT_FAILURE;
    }
    exit_status = migrate(session, status, as_json, dry_run);
    PQfinish(session);
    return exit_status;
}
