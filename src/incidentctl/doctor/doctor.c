/* incidentctl doctor: checks an installation from its settings to the web server's response, and prints what
 * to do about each problem. Changes nothing, but for a token that it deletes again. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/doctor/checks.h"
#include "incidentctl/doctor/database.h"
#include "incidentctl/doctor/web.h"
#include "incidentctl/support/options.h"

enum { VARIABLES_MAX = 64 };

static const char default_socket[] = "/run/incidents/incidents.sock";

/* Variables that choose the database. */
struct variables {
    struct variable {
        char name[64];
        char value[SETTINGS_URL_MAX];
    } entries[VARIABLES_MAX];
    size_t count;
};

/* Moves them out of the environment; what is longer than any setting may be is left there. */
static void unset_variables(struct variables *variables)
{
    char **entry = environ;

    variables->count = 0;
    while (*entry != NULL && variables->count < VARIABLES_MAX) {
        struct variable *variable = &variables->entries[variables->count];
        size_t len = strcspn(*entry, "=");
        bool is_database = strncmp(*entry, "PG", 2) == 0 || strncmp(*entry, "DATABASE_URL=", 13) == 0;

        if (!is_database || len >= sizeof variable->name || strlen(*entry) - len >= sizeof variable->value) {
            entry++;
            continue;
        }
        snprintf(variable->name, sizeof variable->name, "%.*s", (int)len, *entry);
        snprintf(variable->value, sizeof variable->value, "%s", *entry + len + 1);
        variables->count++;
        unsetenv(variable->name);
        entry = environ; /* which unsetenv may have moved */
    }
}

static void restore_variables(const struct variables *variables)
{
    for (size_t i = 0; i < variables->count; i++) {
        setenv(variables->entries[i].name, variables->entries[i].value, 1);
    }
}

static bool has_variable(const struct variables *variables, const char *name)
{
    for (size_t i = 0; i < variables->count; i++) {
        if (strcmp(variables->entries[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* Loads the worker's settings and opens its session, then the owner's. Which database the worker has is the
 * settings file's choice, because the environment most likely names the owner's login; only where the file
 * names none, the environment is the worker's too. */
static bool load_settings(struct doctor *doctor, char *error, size_t error_size)
{
    static struct variables given, of_file;
    const char *url;

    unset_variables(&given);
    if (!settings_load(&doctor->settings, error, error_size)) {
        restore_variables(&given);
        return false;
    }
    doctor->worker = database_connect(doctor->settings.database_url);
    unset_variables(&of_file);
    restore_variables(&given);
    if (of_file.count == 0 && given.count > 0) {
        PQfinish(doctor->worker);
        if (!settings_load(&doctor->settings, error, error_size)) {
            return false;
        }
        doctor->worker = database_connect(doctor->settings.database_url);
    }
    doctor->has_password = has_variable(&of_file, "PGPASSWORD");
    url = getenv("DATABASE_URL");
    doctor->owner = given.count == 0 ? NULL : database_connect(url == NULL ? "" : url);
    return true;
}

static bool holds_secret(const struct doctor *doctor)
{
    const struct settings *settings = &doctor->settings;
    const char *url = settings->database_url;
    const char *at = strchr(url, '@'), *colon = strstr(url, "://");

    return doctor->has_password || settings->metrics_token[0] != '\0' || strstr(url, "password=") != NULL ||
           (at != NULL && colon != NULL &&
            memchr(colon + 3, ':', (size_t)(at > colon + 3 ? at - colon - 3 : 0)) != NULL);
}

static bool check_settings(struct doctor *doctor)
{
    static const char subject[] = "settings";
    const struct settings *settings = &doctor->settings;
    char error[512];
    struct stat status;

    if (!load_settings(doctor, error, sizeof error)) {
        checks_report(
            doctor, FINDING_PROBLEM, subject,
            "correct it; the manual page incidents-settings(5), or docs/settings.md, lists them all", "%s",
            error);
        return false;
    }
    if (settings->file[0] == '\0') {
        checks_report(
            doctor, FINDING_NOTE, subject,
            "where the worker has one elsewhere, name it: INCIDENTS_SETTINGS=file incidentctl doctor",
            "there is no settings file, so the environment is looked at");
    } else if (holds_secret(doctor) && stat(settings->file, &status) == 0 &&
               (status.st_mode & S_IROTH) != 0) {
        checks_report(doctor, FINDING_WARNING, subject, "chmod o= it, and give it the worker's user or group",
                      "%s holds a password or a token, and every user may read it", settings->file);
    } else {
        checks_report(doctor, FINDING_OK, subject, NULL, "%s", settings->file);
    }
    return true;
}

static bool is_listening(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_connected;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    is_connected = fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0;
    if (fd >= 0) {
        int reason = errno;

        close(fd);
        errno = reason;
    }
    return is_connected;
}

/* A FastCGI socket is protected by its permissions alone: whoever may write to it can pretend to be the web
 * server. */
static void check_socket(struct doctor *doctor)
{
    static const char subject[] = "socket";
    const char *path = doctor->socket != NULL ? doctor->socket : default_socket;
    struct stat status;

    if (stat(path, &status) != 0) {
        bool is_wanted = doctor->socket != NULL || errno != ENOENT;

        checks_report(
            doctor, is_wanted ? FINDING_PROBLEM : FINDING_NOTE, subject,
            is_wanted ? "systemctl enable --now incidents.socket, or start the worker with spawn-fcgi; see "
                        "docs/install.md"
                      : "where it is elsewhere, name it: --socket PATH; where the web server starts the "
                        "worker, there is none",
            "%s: %s", path, strerror(errno));
    } else if (!S_ISSOCK(status.st_mode)) {
        checks_report(doctor, FINDING_PROBLEM, subject, "remove it, and start the worker again",
                      "%s is no socket", path);
    } else if (!is_listening(path)) {
        checks_report(doctor, errno == EACCES ? FINDING_NOTE : FINDING_PROBLEM, subject,
                      errno == EACCES
                          ? "run incidentctl doctor as root, or as the web server's user"
                          : "no process listens: systemctl restart incidents.socket, or start the worker "
                            "again; its log says why",
                      "%s: %s", path, strerror(errno));
    } else if ((status.st_mode & S_IWOTH) != 0) {
        checks_report(
            doctor, FINDING_WARNING, subject,
            "mode 0660 and the web server's group: SocketMode and SocketGroup of incidents.socket, -M and "
            "-G of spawn-fcgi",
            "every user of this machine may write to %s, past the web server", path);
    } else if ((status.st_mode & S_IWGRP) == 0) {
        checks_report(
            doctor, FINDING_WARNING, subject,
            "mode 0660 and the web server's group, unless the web server runs as the socket's owner",
            "%s is for its owner alone (mode %03o)", path, (unsigned)status.st_mode & 0777);
    } else {
        checks_report(doctor, FINDING_OK, subject, NULL, "%s accepts connections", path);
    }
}

/* False with a message where it is no base URL. */
static bool check_url_option(const char *url)
{
    const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : url + 8;

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return print_error("--url must begin with http:// or https://");
    }
    if (*host == '\0' || *host == '/') {
        return print_error("--url must name a host, as in https://your.host/api/");
    }
    if (memchr(host, '@', strcspn(host, "/")) != NULL) { /* it would be shown */
        return print_error("--url must not contain a user's name or password");
    }
    if (strpbrk(url, "\"\\ \t\r\n?#") != NULL) {
        return print_error("--url must not contain spaces, quotes, backslashes, ? or #");
    }
    return true;
}

static bool read_options(int argc, char **argv, struct doctor *doctor)
{
    static const struct option names[] = {
        {"url", required_argument, NULL, 'u'}, {"socket", required_argument, NULL, 's'}, {0}};
    int letter;

    while ((letter = options_next(argc, argv, names, "")) != -1) {
        switch (letter) {
        case 'u':
            doctor->url = optarg;
            break;
        case 's':
            doctor->socket = optarg;
            break;
        default:
            return false;
        }
    }
    return options_end(argc, argv, 0) && (doctor->url == NULL || check_url_option(doctor->url));
}

int command_doctor(int argc, char **argv)
{
    struct doctor doctor = {0};

    if (!read_options(argc, argv, &doctor)) {
        return EXIT_USAGE;
    }
    if (check_settings(&doctor)) {
        database_check(&doctor);
        check_socket(&doctor);
        web_check(&doctor);
    }
    PQfinish(doctor.worker);
    PQfinish(doctor.owner);
    printf("%d problem%s\n", doctor.problems, doctor.problems == 1 ? "" : "s");
    return doctor.problems == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
