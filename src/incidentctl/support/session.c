/* The administrator's connection to Postgres, as the schema's owner. */
#include "incidentctl/support/session.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/settings.h"
#include "incidentctl/support/login_hint.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/support/progress.h"

/* Without the line end that libpq's messages have. */
static void print_failure(const char *what, const char *why)
{
    size_t len = strlen(why);

    print_error("unable to %s: %.*s", what, (int)(len > 0 && why[len - 1] == '\n' ? len - 1 : len), why);
}

enum { LOOK_EVERY_MS = 100 };

static struct progress waiting; /* for the database */

static void print_notice(void *unused, const char *message)
{
    (void)unused;
    progress_clear(&waiting);
    fputs(message, stderr);
}

/* Waits until there is a result, or an error; on a terminal it says so when that takes long. */
static void wait_for_result(PGconn *session)
{
    bool goes_on = true;

    progress_start(&waiting, 0);
    while (waiting.is_terminal && goes_on && PQisBusy(session)) {
        clock_poll(PQsocket(session), POLLIN, clock_now_ms() + LOOK_EVERY_MS);
        goes_on = PQconsumeInput(session) == 1;
        progress_show_wait(&waiting);
    }
    progress_clear(&waiting);
}

/* As PQexecParams, of one statement. */
static PGresult *execute(PGconn *session, const char *sql, int count, const char *const *values)
{
    PGresult *result = NULL, *next;

    if (!PQsendQueryParams(session, sql, count, NULL, values, NULL, NULL, 0)) {
        return NULL;
    }
    wait_for_result(session);
    while ((next = PQgetResult(session)) != NULL) {
        PQclear(result);
        result = next;
    }
    return result;
}

/* Text is stored as UTF-8; a database in another encoding would refuse or mangle some of it. */
static bool check_encoding(PGconn *session)
{
    const char *encoding = PQparameterStatus(session, "server_encoding");

    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        return print_error("the database's encoding is %s, it must be UTF8",
                           encoding == NULL ? "unknown" : encoding);
    }
    return true;
}

PGconn *session_open(void)
{
    static const char *const keywords[] = {"fallback_application_name", "dbname", "client_encoding", NULL};
    const char *values[] = {"incidentctl", NULL, "UTF8", NULL};
    char error[512];
    struct settings settings;
    PGconn *session;
    bool is_from_environment = getenv("DATABASE_URL") != NULL;

    if (!settings_load_for_admin(&settings, error, sizeof error)) {
        print_error("%s", error);
        return NULL;
    }
    if (settings.database_url[0] != '\0') {
        values[1] = settings.database_url;
    }
    login_hint_note_source(&settings, is_from_environment);
    session = PQconnectdbParams(keywords, values, 1);
    if (session == NULL || PQstatus(session) != CONNECTION_OK) {
        print_failure("connect to the database", session == NULL ? "out of memory" : PQerrorMessage(session));
        PQfinish(session);
        login_hint_print_for_login(keywords, values);
        return NULL;
    }
    PQsetNoticeProcessor(session, print_notice, NULL);
    /* Nobody else's functions and operators: what this session does it does with the owner's rights. */
    if (!check_encoding(session) || !session_run(session, "SET client_min_messages = warning") ||
        !session_run(session, "SET search_path = pg_catalog, pg_temp")) {
        PQfinish(session);
        return NULL;
    }
    return session;
}

static void print_result_error(PGconn *session, const PGresult *result)
{
    static const struct {
        int field;
        const char *name;
    } more[] = {{PG_DIAG_MESSAGE_DETAIL, "DETAIL"}, {PG_DIAG_MESSAGE_HINT, "HINT"}};
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    print_failure("do that in the database", message != NULL ? message : PQerrorMessage(session));
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        const char *text = PQresultErrorField(result, more[i].field);

        if (text != NULL) { /* as psql shows them */
            fprintf(stderr, "%s:  %s\n", more[i].name, text);
        }
    }
    login_hint_print_for_statement(session, PQresultErrorField(result, PG_DIAG_SQLSTATE));
}

PGresult *session_query(PGconn *session, const char *sql, int count, const char *const *values)
{
    static const char comment[] = "/* writes */ "; /* has pgpool-II send it to the primary */
    size_t size = sizeof comment + strlen(sql);
    char *text = malloc(size);
    PGresult *result;
    ExecStatusType status;

    if (text == NULL) {
        print_failure("do that in the database", "out of memory");
        return NULL;
    }
    snprintf(text, size, "%s%s", comment, sql);
    result = execute(session, text, count, values);
    free(text);
    status = PQresultStatus(result);

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        print_result_error(session, result);
        PQclear(result);
        return NULL;
    }
    return result;
}

bool session_run(PGconn *session, const char *sql)
{
    PGresult *result = session_query(session, sql, 0, NULL);

    PQclear(result);
    return result != NULL;
}

bool session_stream(PGconn *session, const char *sql, int count, const char *const *values, bool is_binary,
                    session_row *row, void *context)
{
    PGresult *result;
    bool ok = true;

    if (!PQsendQueryParams(session, sql, count, NULL, values, NULL, NULL, is_binary) ||
        !PQsetSingleRowMode(session)) {
        print_result_error(session, NULL);
        return false;
    }
    wait_for_result(session);
    while (ok && (result = PQgetResult(session)) != NULL) {
        ExecStatusType status = PQresultStatus(result);

        if (status == PGRES_SINGLE_TUPLE) {
            ok = row(result, context);
        } else if (status != PGRES_TUPLES_OK) {
            print_result_error(session, result);
            ok = false;
        }
        PQclear(result);
    }
    return ok;
}
