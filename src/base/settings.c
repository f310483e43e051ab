/* The settings: libpq's own, and a few of ours. */
#include "base/settings.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef SETTINGS_FILE
#error "the Makefile gives SETTINGS_FILE"
#endif

enum { LINE_BYTES_MAX = 4096 };

/* The numbers: name, bounds, default. */
enum number {
    BODY_LIMIT,
    BODY_TIMEOUT_MS,
    DEADLINE_MS,
    THREADS,
    CONNECTIONS,
    BATCH_MAX,
    QUEUE_MAX,
    CGI_PERSIST_MS,
    NUMBER_COUNT
};

static const struct {
    const char *name;
    long min;
    long max;
    long otherwise;
} numbers[NUMBER_COUNT] = {
    [BODY_LIMIT] = {"INCIDENTS_BODY_LIMIT", 1024, 64L * 1024 * 1024, 1024L * 1024},
    [BODY_TIMEOUT_MS] = {"INCIDENTS_BODY_TIMEOUT_MS", 100, 3600000, SETTINGS_BODY_TIMEOUT_MS},
    [DEADLINE_MS] = {"INCIDENTS_DEADLINE_MS", 100, 600000, 8000},
    [THREADS] = {"INCIDENTS_THREADS", 1, 1024, 2},
    [CONNECTIONS] = {"INCIDENTS_CONNECTIONS", 1, 64, 2},
    [BATCH_MAX] = {"INCIDENTS_BATCH_MAX", 1, 1000, 64},
    [QUEUE_MAX] = {"INCIDENTS_QUEUE_MAX", 1, 100000, 1000},
    [CGI_PERSIST_MS] = {"INCIDENTS_CGI_PERSIST_MS", 0, 3600000, 0},
};

/* The words. */
static const char log_name[] = "INCIDENTS_LOG", log_format_name[] = "INCIDENTS_LOG_FORMAT",
                  metrics_token_name[] = "INCIDENTS_METRICS_TOKEN";
static const char *const words[] = {log_name, log_format_name, metrics_token_name};
enum { WORD_COUNT = sizeof words / sizeof words[0] };

static bool is_ours(const char *name, size_t len)
{
    for (size_t i = 0; i < NUMBER_COUNT + WORD_COUNT; i++) {
        const char *known = i < NUMBER_COUNT ? numbers[i].name : words[i - NUMBER_COUNT];

        if (strlen(known) == len && strncmp(name, known, len) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_known_name(const char *name)
{
    return is_ours(name, strlen(name)) || strcmp(name, "DATABASE_URL") == 0 ||
           (strncmp(name, "PG", 2) == 0 && name[2] != '\0');
}

static bool is_name(const char *name)
{
    return *name != '\0' && strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(name);
}

/* Takes one line of the file: blank, a comment, or NAME=value, the value in double or single quotes where it
 * has them. NULL, or why it is no good. */
static const char *take_line(char *line)
{
    char *name = line + strspn(line, " \t");
    char *value = strchr(name, '=');
    size_t len;

    if (*name == '\0' || *name == '#') {
        return NULL;
    }
    if (value == NULL) {
        return "is not of the form NAME=value";
    }
    *value++ = '\0';
    if (!is_name(name)) {
        return "has a name that is not made of capital letters, digits and underscores";
    }
    if (!is_known_name(name)) {
        return "names a setting that does not exist";
    }
    len = strlen(value);
    if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
        value[len - 1] = '\0';
        value++;
    }
    return setenv(name, value, 0) == 0 ? NULL : "could not be kept: out of memory"; /* the environment wins */
}

static void strip_end(char *line)
{
    size_t len = strlen(line);

    while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL) {
        line[--len] = '\0';
    }
}

static bool read_file(const char *path, FILE *file, char *error, size_t error_size)
{
    char line[LINE_BYTES_MAX];

    for (int number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        const char *fault;

        fault = strchr(line, '\n') == NULL && !feof(file) ? "is too long" : NULL;
        strip_end(line);
        if (fault == NULL) {
            fault = take_line(line);
        }
        if (fault != NULL) {
            (void)snprintf(error, error_size, "%s: line %d %s", path, number, fault);
            return false;
        }
    }
    if (ferror(file)) {
        (void)snprintf(error, error_size, "unable to read %s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/* A misspelt setting in the environment would otherwise be passed over in silence. The last two of them
 * belong to clients: `make run` writes them for scripts, which may well start a worker too. */
static bool check_environment(char *error, size_t error_size)
{
    static const char prefix[] = "INCIDENTS_";
    static const char *const others[] = {"INCIDENTS_SETTINGS", "INCIDENTS_URL", "INCIDENTS_TOKEN"};

    for (char **entry = environ; *entry != NULL; entry++) {
        size_t len = strcspn(*entry, "=");
        bool known = strncmp(*entry, prefix, sizeof prefix - 1) != 0 || is_ours(*entry, len);

        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            known = known || (strlen(others[i]) == len && strncmp(*entry, others[i], len) == 0);
        }
        if (!known) {
            (void)snprintf(error, error_size, "%.*s is not a setting", (int)len, *entry);
            return false;
        }
    }
    return true;
}

static bool read_settings_file(struct settings *settings, bool may_be_closed, char *error, size_t error_size)
{
    const char *named = getenv("INCIDENTS_SETTINGS");
    const char *path = named != NULL && *named != '\0' ? named : SETTINGS_FILE;
    FILE *file = fopen(path, "re");
    bool ok;

    if (file == NULL) {
        if (path != named && (errno == ENOENT || (may_be_closed && errno == EACCES))) {
            return true;
        }
        (void)snprintf(error, error_size, "%s: unable to open %s: %s",
                       path == named ? "INCIDENTS_SETTINGS" : "settings file", path, strerror(errno));
        return false;
    }
    ok = read_file(path, file, error, error_size);
    (void)fclose(file);
    (void)snprintf(settings->file, sizeof settings->file, "%s", path);
    return ok;
}

static bool read_number(enum number which, long *value, char *error, size_t error_size)
{
    const char *text = getenv(numbers[which].name);
    char *end;

    *value = numbers[which].otherwise;
    if (text == NULL || *text == '\0') {
        return true;
    }
    errno = 0;
    *value = strtol(text, &end, 10);
    if (strspn(text, "0123456789") != strlen(text) || errno != 0 || *value < numbers[which].min ||
        *value > numbers[which].max) {
        (void)snprintf(error, error_size, "%s must be a whole number from %ld to %ld", numbers[which].name,
                       numbers[which].min, numbers[which].max);
        return false;
    }
    return true;
}

static bool read_database_url(struct settings *settings, char *error, size_t error_size)
{
    const char *url = getenv("DATABASE_URL");
    PQconninfoOption *options;

    settings->database_url[0] = '\0';
    if (url == NULL || *url == '\0') {
        return true;
    }
    if (strlen(url) >= sizeof settings->database_url) {
        (void)snprintf(error, error_size, "DATABASE_URL is too long");
        return false;
    }
    options = PQconninfoParse(url, NULL); /* its message could repeat a password, so ours stands alone */
    if (options == NULL) {
        (void)snprintf(error, error_size, "DATABASE_URL is not a PostgreSQL connection string or URI");
        return false;
    }
    PQconninfoFree(options);
    (void)snprintf(settings->database_url, sizeof settings->database_url, "%s", url);
    return true;
}

static bool read_log(struct settings *settings, char *error, size_t error_size)
{
    const char *target = getenv(log_name), *format = getenv(log_format_name);

    target = target == NULL || *target == '\0' ? "stderr" : target;
    format = format == NULL || *format == '\0' ? "text" : format;
    if ((strcmp(target, "stderr") != 0 && strcmp(target, "syslog") != 0 && *target != '/') ||
        strlen(target) >= sizeof settings->log) {
        (void)snprintf(error, error_size, "%s must be stderr, syslog or a file's full path", log_name);
        return false;
    }
    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
        (void)snprintf(error, error_size, "%s must be text or json", log_format_name);
        return false;
    }
    memcpy(settings->log, target, strlen(target) + 1);
    settings->log_format = strcmp(format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
    return true;
}

/* The bytes that an Authorization header can bring (see bearer_token), enough of them. */
static bool read_metrics_token(struct settings *settings, char *error, size_t error_size)
{
    const char *token = getenv(metrics_token_name);
    size_t len = token == NULL ? 0 : strlen(token);

    for (size_t i = 0; i < len; i++) {
        if (token[i] < 0x21 || token[i] > 0x7e) {
            (void)snprintf(error, error_size, "%s must be visible ASCII", metrics_token_name);
            return false;
        }
    }
    if (len > 0 && (len < SETTINGS_TOKEN_MIN || len >= sizeof settings->metrics_token)) {
        (void)snprintf(error, error_size, "%s must have %d to %zu characters", metrics_token_name,
                       SETTINGS_TOKEN_MIN, sizeof settings->metrics_token - 1);
        return false;
    }
    memcpy(settings->metrics_token, len > 0 ? token : "", len + 1);
    return true;
}

static bool load(struct settings *settings, bool may_be_closed, char *error, size_t error_size)
{
    long values[NUMBER_COUNT];

    *settings = (struct settings){0};
    if (!check_environment(error, error_size) ||
        !read_settings_file(settings, may_be_closed, error, error_size) ||
        !read_database_url(settings, error, error_size) || !read_log(settings, error, error_size) ||
        !read_metrics_token(settings, error, error_size)) {
        return false;
    }
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        if (!read_number((enum number)i, &values[i], error, error_size)) {
            return false;
        }
    }
    settings->body_limit = (size_t)values[BODY_LIMIT];
    settings->body_timeout_ms = (int)values[BODY_TIMEOUT_MS];
    settings->deadline_ms = (int)values[DEADLINE_MS];
    settings->threads = (int)values[THREADS];
    settings->connections = (int)values[CONNECTIONS];
    settings->batch_max = (int)values[BATCH_MAX];
    settings->queue_max = (int)values[QUEUE_MAX];
    settings->cgi_persist_ms = (int)values[CGI_PERSIST_MS];
    return true;
}

bool settings_load(struct settings *settings, char *error, size_t error_size)
{
    return load(settings, false, error, error_size);
}

bool settings_load_for_admin(struct settings *settings, char *error, size_t error_size)
{
    return load(settings, getenv("DATABASE_URL") != NULL, error, error_size);
}

void settings_print(const struct settings *settings, FILE *stream)
{
    const long values[NUMBER_COUNT] = {
        [BODY_LIMIT] = (long)settings->body_limit, [BODY_TIMEOUT_MS] = settings->body_timeout_ms,
        [DEADLINE_MS] = settings->deadline_ms,     [THREADS] = settings->threads,
        [CONNECTIONS] = settings->connections,     [BATCH_MAX] = settings->batch_max,
        [QUEUE_MAX] = settings->queue_max,         [CGI_PERSIST_MS] = settings->cgi_persist_ms,
    };

    (void)fprintf(stream, "settings file: %s\n", settings->file[0] == '\0' ? "none" : settings->file);
    (void)fprintf(stream, "DATABASE_URL: %s\n", settings->database_url[0] == '\0' ? "not set" : "set");
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        (void)fprintf(stream, "%s=%ld\n", numbers[i].name, values[i]);
    }
    (void)fprintf(stream, "%s=%s\n", log_name, settings->log);
    (void)fprintf(stream, "%s=%s\n", log_format_name,
                  settings->log_format == LOG_FORMAT_JSON ? "json" : "text");
    (void)fprintf(stream, "%s: %s\n", metrics_token_name,
                  settings->metrics_token[0] == '\0' ? "not set" : "set");
}
