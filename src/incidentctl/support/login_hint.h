/* What to do where the database does not let incidentctl do what it was asked for: nearly always the login is
 * not the one that the command takes, or the database is another one or is not there. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_LOGIN_HINT_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_LOGIN_HINT_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/settings.h"

/* Notes where the login comes from: settings_load_for_admin's result, and whether the environment had a
 * DATABASE_URL before it. */
void login_hint_note_source(const struct settings *settings, bool is_from_environment);

/* Notes whether the command reads reports alone, which takes a member of the reader role; any other takes the
 * schema's owner. */
void login_hint_note_command(bool reads_reports);

/* Prints a hint on standard error where one fits: the session could not be opened with those parameters, as
 * PQconnectdbParams takes them; or a statement failed with that SQLSTATE (NULL: not known). */
void login_hint_print_for_login(const char *const *keywords, const char *const *values);
void login_hint_print_for_statement(const PGconn *session, const char *sqlstate);

#endif
