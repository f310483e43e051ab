/* The hosts of a connection string. */
#include "store/hosts.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_MS = 2000 };

/* libpq's, for an empty element; a URI of several hosts always has a list of ports. */
static const char DEFAULT_PORT[] = "5432";

/* The options that are lists with an element for each host, and their environment variables. */
enum { HOST, HOSTADDR, PORT, LISTS };
static const struct {
    const char *keyword;
    const char *variable;
} lists[LISTS] = {{"host", "PGHOST"}, {"hostaddr", "PGHOSTADDR"}, {"port", "PGPORT"}};

/* The whole string is dbname: what follows it overrides it, and it overrides what precedes it.
 * tcp_user_timeout ends a connection to a machine that is gone. */
enum { AT_APPLICATION, AT_TIMEOUT, AT_STRING, AT_LISTS, AT_ENCODING = AT_LISTS + LISTS };
const char *const hosts_keywords[HOSTS_PARAMETERS] = {"fallback_application_name",
                                                      "tcp_user_timeout",
                                                      "dbname",
                                                      "host",
                                                      "hostaddr",
                                                      "port",
                                                      "client_encoding",
                                                      NULL};

struct hosts {
    char *url;
    char *elements[LISTS]; /* of a list, each ended by a NUL; NULL where there is none */
    size_t counts[LISTS];
    size_t count;
    atomic_size_t first;
    int64_t timeout_ms;
};

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    while (strcmp(options->keyword, keyword) != 0) {
        options++; /* libpq knows each that we ask for */
    }
    return options->val == NULL ? "" : options->val;
}

/* Splits a list. *is_plain becomes false if libpq has its own rules for it: an element is empty, or the
 * environment has a list. */
static bool read_list(struct hosts *hosts, size_t list, const char *value, bool *is_plain)
{
    const char *variable = getenv(lists[list].variable);
    char *element;

    *is_plain = *is_plain && (variable == NULL || strchr(variable, ',') == NULL);
    if (*value == '\0') {
        return true;
    }
    element = hosts->elements[list] = strdup(value);
    while (element != NULL) {
        size_t len = strcspn(element, ",");
        bool is_last = element[len] == '\0';

        hosts->counts[list]++;
        *is_plain = *is_plain && (len > 0 || list == PORT);
        element[len] = '\0';
        element = is_last ? NULL : element + len + 1;
    }
    return hosts->elements[list] != NULL;
}

/* The number that libpq finds: of hostaddr, else of host; one port is for all. 1 if it refuses the string. */
static size_t count_hosts(const size_t counts[LISTS])
{
    size_t count = counts[HOSTADDR] > 0 ? counts[HOSTADDR] : counts[HOST];
    bool fits = (counts[HOST] == 0 || counts[HOST] == count) && (counts[PORT] <= 1 || counts[PORT] == count);

    return count > 1 && fits ? count : 1;
}

static const char *element_of(const struct hosts *hosts, size_t list, size_t number)
{
    const char *element = hosts->elements[list];

    for (size_t i = 0; i < number && hosts->counts[list] > 1; i++) {
        element += strlen(element) + 1;
    }
    return list == PORT && element != NULL && *element == '\0' ? DEFAULT_PORT : element;
}

static int64_t read_timeout_ms(const struct hosts *hosts, const char *connect_timeout)
{
    long seconds = strtol(connect_timeout, NULL, 10);

    if (seconds > 0 && seconds < INT32_MAX) {
        return (int64_t)seconds * 1000;
    }
    return hosts->count > 1 ? TIMEOUT_MS : INT64_MAX;
}

static bool read_url(struct hosts *hosts)
{
    PQconninfoOption *options =
        PQconninfoParse(hosts->url, NULL); /* settings.c has tried it: NULL is out of memory */
    bool ok = options != NULL, is_plain = true;

    for (size_t i = 0; ok && i < LISTS; i++) {
        ok = read_list(hosts, i, option(options, lists[i].keyword), &is_plain);
    }
    if (ok) {
        hosts->count = is_plain ? count_hosts(hosts->counts) : 1;
        hosts->timeout_ms = read_timeout_ms(hosts, option(options, "connect_timeout"));
    }
    PQconninfoFree(options);
    return ok;
}

struct hosts *hosts_new(const char *url)
{
    struct hosts *hosts = calloc(1, sizeof *hosts);

    if (hosts == NULL || (hosts->url = strdup(url)) == NULL || !read_url(hosts)) {
        /* LCOV_EXCL_START: out of memory (exhaustion_test) */
        hosts_free(hosts);
        return NULL;
        /* LCOV_EXCL_STOP */
    }
    return hosts;
}

void hosts_free(struct hosts *hosts)
{
    if (hosts == NULL) {
        return; /* LCOV_EXCL_LINE: out of memory (exhaustion_test) */
    }
    for (size_t i = 0; i < LISTS; i++) {
        free(hosts->elements[i]);
    }
    free(hosts->url);
    free(hosts);
}

size_t hosts_count(const struct hosts *hosts)
{
    return hosts->count;
}

size_t hosts_first(const struct hosts *hosts)
{
    return atomic_load(&hosts->first);
}

void hosts_mark_working(struct hosts *hosts, size_t host)
{
    atomic_store(&hosts->first, host);
}

void hosts_mark_failed(struct hosts *hosts, size_t host)
{
    /* Not where the other thread has marked another meanwhile. */
    atomic_compare_exchange_strong(&hosts->first, &host, (host + 1) % hosts->count);
}

int64_t hosts_timeout_ms(const struct hosts *hosts)
{
    return hosts->timeout_ms;
}

void hosts_values(const struct hosts *hosts, size_t host, const char *values[HOSTS_PARAMETERS])
{
    memset(values, 0, HOSTS_PARAMETERS * sizeof values[0]); /* NULL: libpq's default, or the string's */
    values[AT_APPLICATION] = "incidents.fcgi";
    values[AT_TIMEOUT] = "3000";
    values[AT_STRING] = hosts->url[0] == '\0' ? NULL : hosts->url;
    for (size_t i = 0; hosts->count > 1 && i < LISTS; i++) {
        values[AT_LISTS + i] = element_of(hosts, i, host);
    }
    values[AT_ENCODING] = "UTF8";
}
