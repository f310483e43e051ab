/* The servers that a connection string names, and in which order they are tried. */
#include "store/servers.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { PATIENCE_MS = 2000 };

/* Of libpq, where a list has none; a URI of several hosts always has such a list. */
static const char DEFAULT_PORT[] = "5432";

/* The options that are lists, an element for each server, and what the environment calls them. */
enum { HOST, HOSTADDR, PORT, LISTS };
static const struct {
    const char *keyword;
    const char *variable;
} lists[LISTS] = {{"host", "PGHOST"}, {"hostaddr", "PGHOSTADDR"}, {"port", "PGPORT"}};

/* What a connection is made with. What stands behind dbname, which is the whole string, wins over it, and the
 * string over what stands before. tcp_user_timeout ends a connection whose other end's machine is gone. */
enum { AT_APPLICATION, AT_TIMEOUT, AT_STRING, AT_LISTS, AT_ENCODING = AT_LISTS + LISTS, PARAMETERS };
static const char *const keywords[PARAMETERS + 1] = {"fallback_application_name",
                                                     "tcp_user_timeout",
                                                     "dbname",
                                                     "host",
                                                     "hostaddr",
                                                     "port",
                                                     "client_encoding",
                                                     NULL};

/* Of one server: NULL where the string, or libpq, says it. */
struct parameters {
    const char *values[PARAMETERS + 1];
};

struct servers {
    const char *url;
    char *elements[LISTS]; /* of a list, each ended by a NUL; NULL where there is none */
    size_t counts[LISTS];
    size_t count;
    atomic_size_t first;
    int64_t patience_ms;
    struct parameters *each;
};

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    while (strcmp(options->keyword, keyword) != 0) {
        options++; /* libpq knows each that we ask for */
    }
    return options->val == NULL ? "" : options->val;
}

/* Takes a list apart. *is_plain becomes false where libpq has rules for it that are not ours: an element is
 * left out, or the environment has a list of its own. */
static bool read_list(struct servers *servers, size_t list, const char *value, bool *is_plain)
{
    const char *variable = getenv(lists[list].variable);
    char *element;

    *is_plain = *is_plain && (variable == NULL || strchr(variable, ',') == NULL);
    if (*value == '\0') {
        return true;
    }
    element = servers->elements[list] = strdup(value);
    while (element != NULL) {
        size_t len = strcspn(element, ",");
        bool is_last = element[len] == '\0';

        servers->counts[list]++;
        *is_plain = *is_plain && (len > 0 || list == PORT);
        element[len] = '\0';
        element = is_last ? NULL : element + len + 1;
    }
    return servers->elements[list] != NULL;
}

/* As many as libpq would see: hostaddr's number counts, else host's; one port is for all. 1 where it would
 * refuse the string. */
static size_t count_servers(const size_t counts[LISTS])
{
    size_t count = counts[HOSTADDR] > 0 ? counts[HOSTADDR] : counts[HOST];
    bool fits = (counts[HOST] == 0 || counts[HOST] == count) && (counts[PORT] <= 1 || counts[PORT] == count);

    return count > 1 && fits ? count : 1;
}

static const char *element_of(const struct servers *servers, size_t list, size_t number)
{
    const char *element = servers->elements[list];

    for (size_t i = 0; i < number && servers->counts[list] > 1; i++) {
        element += strlen(element) + 1;
    }
    return list == PORT && element != NULL && *element == '\0' ? DEFAULT_PORT : element;
}

static void fill(const struct servers *servers, size_t server)
{
    const char **values = servers->each[server].values;

    values[AT_APPLICATION] = "incidents.fcgi";
    values[AT_TIMEOUT] = "3000";
    values[AT_STRING] = servers->url[0] == '\0' ? NULL : servers->url;
    for (size_t i = 0; servers->count > 1 && i < LISTS; i++) {
        values[AT_LISTS + i] = element_of(servers, i, server);
    }
    values[AT_ENCODING] = "UTF8";
}

static int64_t read_patience_ms(const struct servers *servers, const char *connect_timeout)
{
    long seconds = strtol(connect_timeout, NULL, 10);

    if (seconds > 0 && seconds < INT32_MAX) {
        return (int64_t)seconds * 1000;
    }
    return servers->count > 1 ? PATIENCE_MS : INT64_MAX;
}

static bool read_url(struct servers *servers)
{
    PQconninfoOption *options =
        PQconninfoParse(servers->url, NULL); /* settings.c has tried it: NULL is out of memory */
    bool ok = options != NULL, is_plain = true;

    for (size_t i = 0; ok && i < LISTS; i++) {
        ok = read_list(servers, i, option(options, lists[i].keyword), &is_plain);
    }
    if (ok) {
        servers->count = is_plain ? count_servers(servers->counts) : 1;
        servers->patience_ms = read_patience_ms(servers, option(options, "connect_timeout"));
        servers->each = calloc(servers->count, sizeof *servers->each);
    }
    PQconninfoFree(options);
    return ok && servers->each != NULL;
}

struct servers *servers_new(const char *url)
{
    struct servers *servers = calloc(1, sizeof *servers);

    if (servers != NULL) {
        servers->url = url;
    }
    if (servers == NULL || !read_url(servers)) {
        log_error("unable to read the connection string: out of memory");
        servers_free(servers);
        return NULL;
    }
    for (size_t i = 0; i < servers->count; i++) {
        fill(servers, i);
    }
    return servers;
}

void servers_free(struct servers *servers)
{
    if (servers == NULL) {
        return;
    }
    for (size_t i = 0; i < LISTS; i++) {
        free(servers->elements[i]);
    }
    free(servers->each);
    free(servers);
}

size_t servers_count(const struct servers *servers)
{
    return servers->count;
}

size_t servers_first(const struct servers *servers)
{
    return atomic_load(&servers->first);
}

void servers_choose(struct servers *servers, size_t server)
{
    atomic_store(&servers->first, server);
}

void servers_pass_over(struct servers *servers, size_t server)
{
    /* Not where another thread has found a better one meanwhile. */
    (void)atomic_compare_exchange_strong(&servers->first, &server, (server + 1) % servers->count);
}

int64_t servers_patience_ms(const struct servers *servers)
{
    return servers->patience_ms;
}

const char *const *servers_keywords(void)
{
    return keywords;
}

const char *const *servers_values(const struct servers *servers, size_t server)
{
    return servers->each[server].values;
}
