/* What to do where the database does not let incidentctl do what it was asked for. */
#include "incidentctl/support/login_hint.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/sqlstate.h"

enum { ASK_AGAIN_MS = 2000 };

static const char insufficient_privilege[] = "42501", no_such_database[] = "3D000";

static char source[SETTINGS_PATH_MAX + 32]; /* of the login */
static bool reads_reports_alone;

void login_hint_note_source(const struct settings *settings, bool is_from_environment)
{
    if (is_from_environment) {
        snprintf(source, sizeof source, "DATABASE_URL in the environment");
    } else if (settings->database_url[0] != '\0') {
        snprintf(source, sizeof source, "%s", settings->file);
    } else {
        snprintf(source, sizeof source, "libpq's variables (PGUSER ...)");
    }
}

void login_hint_note_command(bool reads_reports)
{
    reads_reports_alone = reads_reports;
}

/* The least that the command takes: nobody should give a web server's user the owner's login for a report. */
static void print_login(const PGconn *session)
{
    const char *user = PQuser(session);

    fprintf(stderr, "HINT:  This is the login %s, from %s. It takes %s\n", user == NULL ? "" : user, source,
            reads_reports_alone
                ? "that of a member of incidents_reader (or the group role that migrate "
                  "--reader-role named): export DATABASE_URL=postgresql://grafana@localhost/incidents"
                : "that of the schema's owner: "
                  "export DATABASE_URL=postgresql://incidents_owner@localhost/incidents");
}

static void print_database(const PGconn *session)
{
    const char *name = PQdb(session);

    fprintf(stderr,
            "HINT:  The name of the database, %s, is from %s. psql -l lists the databases of a server; "
            "docs/install.md says how to create one.\n",
            name == NULL ? "" : name, source);
}

/* libpq tells the SQLSTATE of a login to who has asked for it before, which PQconnectdbParams gives no
 * occasion for. So it is asked once more. */
static void read_refusal(PGconn *session, char sqlstate[SQLSTATE_SIZE])
{
    int64_t deadline_ms = clock_now_ms() + ASK_AGAIN_MS;
    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    char message[512];

    PQsetErrorVerbosity(session, PQERRORS_VERBOSE);
    while (PQstatus(session) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
           status != PGRES_POLLING_FAILED &&
           clock_poll(PQsocket(session), status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_ms)) {
        status = PQconnectPoll(session);
    }
    sqlstate_read_login(PQerrorMessage(session), message, sizeof message, sqlstate);
}

void login_hint_print_for_login(const char *const *keywords, const char *const *values)
{
    PGconn *session = PQconnectStartParams(keywords, values, 1);
    char sqlstate[SQLSTATE_SIZE] = "";

    if (session != NULL) {
        read_refusal(session, sqlstate);
    }
    /* Class 28: invalid authorization. */
    if (strncmp(sqlstate, "28", 2) == 0 || strcmp(sqlstate, insufficient_privilege) == 0) {
        print_login(session);
    } else if (strcmp(sqlstate, no_such_database) == 0) {
        print_database(session);
    }
    PQfinish(session);
}

void login_hint_print_for_statement(const PGconn *session, const char *sqlstate)
{
    /* Undefined schema, table, column, function, type. */
    static const char *const undefined[] = {"3F000", "42P01", "42703", "42883", "42704"};

    if (sqlstate == NULL) {
        return;
    }
    if (strcmp(sqlstate, insufficient_privilege) == 0) {
        print_login(session);
        return;
    }
    for (size_t i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
        if (strcmp(sqlstate, undefined[i]) == 0) {
            fprintf(stderr,
                    "HINT:  The database is %s, from %s. Is it the right one? incidentctl migrate --status, "
                    "with the DATABASE_URL of the schema's owner, tells whether its schema is up to date.\n",
                    PQdb(session), source);
            return;
        }
    }
}
