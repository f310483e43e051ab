/* What to do where the database does not let incidentctl do what it was asked for: nearly always the login is
 * not the schema owner's, or the database is another one. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_LOGIN_HINT_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_LOGIN_HINT_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "base/settings.h"

/* Notes where the login comes from: settings_load_for_admin's result, and whether the environment had a
 * DATABASE_URL before it. */
void login_hint_note_source(const struct settings *settings, bool is_from_environment);

/* Prints a hint on standard error where one fits: the session could not be opened with those parameters, as
 * PQconnectdbParams takes them; or a statement failed with that SQLSTATE (NULL: not known). */
void login_hint_print_for_login(const char *const *keywords, const char *const *values);
void login_hint_print_for_statement(const PGconn *session, const char *sqlstate);

#endif
