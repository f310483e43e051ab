/* The settings: libpq's own, and a few of ours. docs/settings.md is their documentation.
 *
 * Every setting is an environment variable. One that the environment lacks may stand in the settings file, as
 * NAME=value, one a line: the file that INCIDENTS_SETTINGS names, else SETTINGS_FILE where that exists. */
#ifndef INCIDENTS_BASE_SETTINGS_H
#define INCIDENTS_BASE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/log.h"

enum {
    SETTINGS_URL_MAX = 2048,
    SETTINGS_PATH_MAX = 4096,
    SETTINGS_BODY_TIMEOUT_MS = 60000, /* INCIDENTS_BODY_TIMEOUT_MS where it is not set */
    SETTINGS_PROCESSES_MAX = 64,
    SETTINGS_TOKEN_MIN = 16,
    SETTINGS_TOKEN_SIZE = 512
};

struct settings {
    char database_url[SETTINGS_URL_MAX]; /* empty: libpq's own PGHOST, PGSERVICE ... decide */
    char file[SETTINGS_PATH_MAX];        /* the settings file that was read; empty where none was */
    size_t body_limit;                   /* bytes */
    int body_timeout_ms;                 /* for the next bytes of a request */
    int request_timeout_ms;              /* from a request's arrival to its response */
    int processes;                       /* workers */
    int db_pool_size;                    /* connections of each of them to Postgres */
    int batch_max;                       /* requests that share a transaction, at most */
    char log[SETTINGS_PATH_MAX];         /* where the log goes, as log_open takes it */
    enum log_format log_format;
    int queue_max;                           /* requests that wait for the database, at most */
    char metrics_token[SETTINGS_TOKEN_SIZE]; /* empty: no metrics */
};

/* Reads and validates all settings; libpq's that stand in the file are put into the environment, where libpq
 * looks for them. Call it before there is a second thread. On false, error (error_size bytes) names the
 * setting and says what is wrong; a value that may hold a password is never part of it. */
bool settings_load(struct settings *settings, char *error, size_t error_size);

/* The same for whoever brings the database along in the environment: a settings file that only the worker
 * may read is ignored then. */
bool settings_load_for_admin(struct settings *settings, char *error, size_t error_size);

/* Writes every setting of ours with its value, one a line; of what may hold a secret only whether it is set.
 */
void settings_print(const struct settings *settings, FILE *stream);

#endif
