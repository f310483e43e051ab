/* The settings: libpq's own, and a few of ours. */
#include "base/settings.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/suggest.h"

#ifndef SETTINGS_FILE
#error "the Makefile gives SETTINGS_FILE"
#endif

enum { LINE_BYTES_MAX = 4096 };

static const char prefix[] = "INCIDENTS_";

/* The numbers: name, bounds, default. */
enum number {
    BODY_LIMIT,
    BODY_TIMEOUT_MS,
    REQUEST_TIMEOUT_MS,
    PROCESSES,
    DB_POOL_SIZE,
    BATCH_MAX,
    QUEUE_MAX,
    NUMBER_COUNT
};

static const struct {
    const char *name;
    long min;
    long max;
    long default_value;
} numbers[NUMBER_COUNT] = {
    [BODY_LIMIT] = {"INCIDENTS_BODY_LIMIT", 1024, 64L * 1024 * 1024, 1024L * 1024},
    [BODY_TIMEOUT_MS] = {"INCIDENTS_BODY_TIMEOUT_MS", 100, 3600000, SETTINGS_BODY_TIMEOUT_MS},
    [REQUEST_TIMEOUT_MS] = {"INCIDENTS_REQUEST_TIMEOUT_MS", 100, 600000, 8000},
    [PROCESSES] = {"INCIDENTS_PROCESSES", 1, SETTINGS_PROCESSES_MAX, 1},
    [DB_POOL_SIZE] = {"INCIDENTS_DB_POOL_SIZE", 1, 64, 2},
    [BATCH_MAX] = {"INCIDENTS_BATCH_MAX", 1, 1000, 64},
    [QUEUE_MAX] = {"INCIDENTS_QUEUE_MAX", 1, 100000, 1000},
};

/* The texts. */
static const char log_name[] = "INCIDENTS_LOG", log_format_name[] = "INCIDENTS_LOG_FORMAT",
                  metrics_token_name[] = "INCIDENTS_METRICS_TOKEN", url_name[] = "DATABASE_URL";
static const char *const texts[] = {log_name, log_format_name, metrics_token_name, url_name};
enum { TEXT_COUNT = sizeof texts / sizeof texts[0] };

/* Retired settings, and what to do about each. */
static const struct {
    const char *name;
    const char *advice;
} retired[] = {
    {"INCIDENTS_CGI_PERSIST_MS", "plain CGI serves each request by itself; remove it"},
    {"INCIDENTS_CONNECTIONS", "it is called INCIDENTS_DB_POOL_SIZE now"},
    {"INCIDENTS_DEADLINE_MS", "it is called INCIDENTS_REQUEST_TIMEOUT_MS now"},
    {"INCIDENTS_THREADS", "a worker is one thread, and INCIDENTS_PROCESSES says how many workers there are"},
};

/* libpq's variables besides those that its options name. */
static const char *const of_libpq[] = {"PGSERVICEFILE", "PGSYSCONFDIR", "PGLOCALEDIR", "PGREQUIRESSL",
                                       "PGDATESTYLE",   "PGTZ",         "PGGEQO"};

/* Every setting that may stand in the file. */
struct known {
    const char *name;
    int line;   /* of the file, where its value is from; 0: none */
    bool given; /* by the environment, which wins */
};

enum { KNOWN_MAX = 128 };

/* The settings that may stand in the file, and where they do. */
struct source {
    const char *file; /* for messages */
    struct known known[KNOWN_MAX];
    size_t known_count;
    PQconninfoOption *options; /* own the names of libpq's */
};

static void add_known(struct source *source, const char *name)
{
    if (name != NULL && source->known_count < KNOWN_MAX) {
        source->known[source->known_count++] = (struct known){.name = name, .given = getenv(name) != NULL};
    }
}

static bool source_open(struct source *source, char *error, size_t error_size)
{
    *source = (struct source){.options = PQconninfoParse("", NULL)};
    if (source->options == NULL) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        add_known(source, numbers[i].name);
    }
    for (size_t i = 0; i < TEXT_COUNT; i++) {
        add_known(source, texts[i]);
    }
    for (const PQconninfoOption *option = source->options; option->keyword != NULL; option++) {
        add_known(source, option->envvar);
    }
    for (size_t i = 0; i < sizeof of_libpq / sizeof of_libpq[0]; i++) {
        add_known(source, of_libpq[i]);
    }
    return true;
}

static struct known *find_known(struct source *source, const char *name)
{
    for (size_t i = 0; i < source->known_count; i++) {
        if (strcmp(source->known[i].name, name) == 0) {
            return &source->known[i];
        }
    }
    return NULL;
}

/* The setting that the name is nearest to, NULL where there is none. DB_POOL_SIZE is as near as
 * INCIDENTS_DB_POOL_SIZ. */
static const char *nearest(const struct source *source, const char *name)
{
    const char *found = NULL;
    size_t least = SIZE_MAX, distance;
    bool has_prefix = strncasecmp(name, prefix, sizeof prefix - 1) == 0;

    for (size_t i = 0; i < source->known_count; i++) {
        const char *known = source->known[i].name;
        bool is_ours = strncmp(known, prefix, sizeof prefix - 1) == 0;

        if (has_prefix && is_ours
                ? suggest_is_near(name + sizeof prefix - 1, known + sizeof prefix - 1, &distance)
                : suggest_is_near(name, known, &distance) ||
                      (is_ours && suggest_is_near(name, known + sizeof prefix - 1, &distance))) {
            if (distance < least) {
                least = distance;
                found = known;
            }
        }
    }
    return found;
}

static void describe_unknown(const struct source *source, const char *name, char *error, size_t error_size)
{
    const char *meant = nearest(source, name);

    for (size_t i = 0; i < sizeof retired / sizeof retired[0]; i++) {
        if (strcmp(name, retired[i].name) == 0) {
            snprintf(error, error_size, "%s is no longer a setting: %s", name, retired[i].advice);
            return;
        }
    }
    snprintf(error, error_size, "%s is not a setting%s%s%s", name, meant == NULL ? "" : "; did you mean ",
             meant == NULL ? "" : meant, meant == NULL ? "" : "?");
}

/* A word that may be shown: what is none could hold a part of a password. */
static bool is_name(const char *name)
{
    size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    return len > 0 && len <= SUGGEST_NAME_MAX && name[len] == '\0';
}

/* Parses one line of the file: blank, a comment, or NAME=value, the value in double or single quotes where it
 * has them. On false, error says what is wrong. */
static bool parse_line(struct source *source, int number, char *line, char *error, size_t error_size)
{
    char *name = line + strspn(line, " \t");
    char *value = strchr(name, '=');
    struct known *known;
    size_t len;

    if (*name == '\0' || *name == '#') {
        return true;
    }
    if (value == NULL) {
        snprintf(error, error_size, "it is not of the form NAME=value");
        return false;
    }
    *value++ = '\0';
    if (!is_name(name)) {
        snprintf(error, error_size, "what stands before = is not the name of a setting%s",
                 strpbrk(name, " \t") != NULL ? "; there must be no space, nor \"export\"" : "");
        return false;
    }
    known = find_known(source, name);
    if (known == NULL) {
        describe_unknown(source, name, error, error_size);
        return false;
    }
    if (known->line > 0) {
        snprintf(error, error_size, "%s stands in line %d already", name, known->line);
        return false;
    }
    known->line = number;
    len = strlen(value);
    if (len >= 2 && (value[0] == '"' || value[0] == '\'') && value[len - 1] == value[0]) {
        value[len - 1] = '\0';
        value++;
    }
    if (!known->given && setenv(name, value, 1) != 0) {
        snprintf(error, error_size, "out of memory");
        return false;
    }
    return true;
}

static void strip_end(char *line)
{
    size_t len = strlen(line);

    while (len > 0 && strchr(" \t\r\n", line[len - 1]) != NULL) {
        line[--len] = '\0';
    }
}

static bool read_file(struct source *source, FILE *file, char *error, size_t error_size)
{
    char line[LINE_BYTES_MAX], fault[256];

    for (int number = 1; fgets(line, sizeof line, file) != NULL; number++) {
        bool ok = strchr(line, '\n') != NULL || feof(file);

        strip_end(line);
        if (!ok) {
            snprintf(fault, sizeof fault, "it is too long");
        } else {
            ok = parse_line(source, number, line, fault, sizeof fault);
        }
        if (!ok) {
            snprintf(error, error_size, "%s: line %d: %s", source->file, number, fault);
            return false;
        }
    }
    if (ferror(file)) {
        snprintf(error, error_size, "unable to read %s: %s", source->file, strerror(errno));
        return false;
    }
    return true;
}

/* A misspelt setting in the environment would otherwise be ignored. The last two of them
 * belong to clients: `make run` writes them for scripts, which may well start a worker too. */
static bool check_environment(struct source *source, char *error, size_t error_size)
{
    static const char *const others[] = {"INCIDENTS_SETTINGS", "INCIDENTS_URL", "INCIDENTS_TOKEN"};

    for (char **entry = environ; *entry != NULL; entry++) {
        char name[SUGGEST_NAME_MAX + 1];
        bool known;

        if (strncmp(*entry, prefix, sizeof prefix - 1) != 0) {
            continue;
        }
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*entry, "="), *entry);
        known = find_known(source, name) != NULL;
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
            known = known || strcmp(others[i], name) == 0;
        }
        if (!known) {
            describe_unknown(source, name, error, error_size);
            return false;
        }
    }
    return true;
}

/* The file that the administrator edits, for messages. Under systemd the worker reads a copy of it
 * (LoadCredential=, systemd.exec(5)), which is as long. */
static const char *edited_file(const char *path)
{
    const char *directory = getenv("CREDENTIALS_DIRECTORY");
    size_t len = directory == NULL ? 0 : strlen(directory);
    struct stat copy, original;

    return len > 0 && strncmp(path, directory, len) == 0 && path[len] == '/' && stat(path, &copy) == 0 &&
                   stat(SETTINGS_FILE, &original) == 0 && copy.st_size == original.st_size
               ? SETTINGS_FILE
               : path;
}

static bool read_settings_file(struct source *source, struct settings *settings, bool may_be_closed,
                               char *error, size_t error_size)
{
    const char *named = getenv("INCIDENTS_SETTINGS");
    const char *path = named != NULL && *named != '\0' ? named : SETTINGS_FILE;
    FILE *file = fopen(path, "re");
    bool ok;

    if (file == NULL) {
        if (path != named && (errno == ENOENT || (may_be_closed && errno == EACCES))) {
            return true;
        }
        snprintf(error, error_size, "%s: unable to open %s: %s",
                 path == named ? "INCIDENTS_SETTINGS" : "settings file", path, strerror(errno));
        return false;
    }
    source->file = edited_file(path);
    ok = read_file(source, file, error, error_size);
    fclose(file);
    snprintf(settings->file, sizeof settings->file, "%s", source->file);
    return ok;
}

static bool read_number(enum number which, long *value, char *error, size_t error_size)
{
    const char *text = getenv(numbers[which].name);
    char *end;

    *value = numbers[which].default_value;
    if (text == NULL || *text == '\0') {
        return true;
    }
    errno = 0;
    *value = strtol(text, &end, 10);
    if (strspn(text, "0123456789") != strlen(text) || errno != 0 || *value < numbers[which].min ||
        *value > numbers[which].max) {
        snprintf(error, error_size, "%s must be a whole number from %ld to %ld", numbers[which].name,
                 numbers[which].min, numbers[which].max);
        return false;
    }
    return true;
}

static bool read_database_url(struct settings *settings, char *error, size_t error_size)
{
    const char *url = getenv(url_name);
    PQconninfoOption *options;

    settings->database_url[0] = '\0';
    if (url == NULL || *url == '\0') {
        return true;
    }
    if (strlen(url) >= sizeof settings->database_url) {
        snprintf(error, error_size, "DATABASE_URL is too long");
        return false;
    }
    options = PQconninfoParse(url, NULL); /* its message could repeat a password, so ours stands alone */
    if (options == NULL) {
        snprintf(error, error_size, "DATABASE_URL is not a PostgreSQL connection string or URI");
        return false;
    }
    PQconninfoFree(options);
    snprintf(settings->database_url, sizeof settings->database_url, "%s", url);
    return true;
}

static bool read_log(struct settings *settings, char *error, size_t error_size)
{
    const char *target = getenv(log_name);

    target = target == NULL || *target == '\0' ? "stderr" : target;
    if ((strcmp(target, "stderr") != 0 && strcmp(target, "syslog") != 0 && *target != '/') ||
        strlen(target) >= sizeof settings->log) {
        snprintf(error, error_size, "%s must be stderr, syslog or a file's full path", log_name);
        return false;
    }
    memcpy(settings->log, target, strlen(target) + 1);
    return true;
}

static bool read_log_format(struct settings *settings, char *error, size_t error_size)
{
    const char *format = getenv(log_format_name);

    format = format == NULL || *format == '\0' ? "text" : format;
    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0) {
        snprintf(error, error_size, "%s must be text or json", log_format_name);
        return false;
    }
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
            snprintf(error, error_size, "%s must be visible ASCII", metrics_token_name);
            return false;
        }
    }
    if (len > 0 && (len < SETTINGS_TOKEN_MIN || len >= sizeof settings->metrics_token)) {
        snprintf(error, error_size, "%s must have %d to %zu characters", metrics_token_name,
                 SETTINGS_TOKEN_MIN, sizeof settings->metrics_token - 1);
        return false;
    }
    memcpy(settings->metrics_token, len > 0 ? token : "", len + 1);
    return true;
}

static bool read_text(const char *name, struct settings *settings, char *error, size_t error_size)
{
    return name == url_name          ? read_database_url(settings, error, error_size)
           : name == log_name        ? read_log(settings, error, error_size)
           : name == log_format_name ? read_log_format(settings, error, error_size)
                                     : read_metrics_token(settings, error, error_size);
}

/* The first settings that are known are the numbers, then the texts. An error names the line, if the value
 * is from the file. */
static bool read_values(const struct source *source, struct settings *settings, long values[NUMBER_COUNT],
                        char *error, size_t error_size)
{
    char fault[256];

    for (size_t i = 0; i < NUMBER_COUNT + TEXT_COUNT; i++) {
        const struct known *known = &source->known[i];

        if (i < NUMBER_COUNT ? read_number((enum number)i, &values[i], fault, sizeof fault)
                             : read_text(known->name, settings, fault, sizeof fault)) {
            continue;
        }
        if (known->line > 0 && !known->given) {
            snprintf(error, error_size, "%s: line %d: %s", source->file, known->line, fault);
        } else {
            snprintf(error, error_size, "%s", fault);
        }
        return false;
    }
    return true;
}

static bool load(struct settings *settings, bool may_be_closed, char *error, size_t error_size)
{
    long values[NUMBER_COUNT];
    struct source source;
    bool ok;

    *settings = (struct settings){0};
    ok = source_open(&source, error, error_size) && check_environment(&source, error, error_size) &&
         read_settings_file(&source, settings, may_be_closed, error, error_size) &&
         read_values(&source, settings, values, error, error_size);
    PQconninfoFree(source.options);
    if (!ok) {
        return false;
    }
    settings->body_limit = (size_t)values[BODY_LIMIT];
    settings->body_timeout_ms = (int)values[BODY_TIMEOUT_MS];
    settings->request_timeout_ms = (int)values[REQUEST_TIMEOUT_MS];
    settings->processes = (int)values[PROCESSES];
    settings->db_pool_size = (int)values[DB_POOL_SIZE];
    settings->batch_max = (int)values[BATCH_MAX];
    settings->queue_max = (int)values[QUEUE_MAX];
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
        [BODY_LIMIT] = (long)settings->body_limit,
        [BODY_TIMEOUT_MS] = settings->body_timeout_ms,
        [REQUEST_TIMEOUT_MS] = settings->request_timeout_ms,
        [PROCESSES] = settings->processes,
        [DB_POOL_SIZE] = settings->db_pool_size,
        [BATCH_MAX] = settings->batch_max,
        [QUEUE_MAX] = settings->queue_max,
    };

    fprintf(stream, "settings file: %s\n", settings->file[0] == '\0' ? "none" : settings->file);
    fprintf(stream, "DATABASE_URL: %s\n", settings->database_url[0] == '\0' ? "not set" : "set");
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        fprintf(stream, "%s=%ld\n", numbers[i].name, values[i]);
    }
    fprintf(stream, "%s=%s\n", log_name, settings->log);
    fprintf(stream, "%s=%s\n", log_format_name, settings->log_format == LOG_FORMAT_JSON ? "json" : "text");
    fprintf(stream, "%s: %s\n", metrics_token_name, settings->metrics_token[0] == '\0' ? "not set" : "set");
}
