/* The servers that a connection string names, and in which order they are tried. */
#include "store/servers.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { PATIENCE_MS = 2000, OWN_PARAMETERS = 3 };

/* One of libpq's lists, its commas replaced by NULs; no elements where the option is not set. */
struct list {
    const char *keyword;
    char *text;
    size_t count;
};

enum { HOST, HOSTADDR, PORT, LISTS };

struct servers {
    PQconninfoOption *options;
    struct list lists[LISTS];
    size_t count;
    atomic_size_t first;
    int64_t patience_ms;
    size_t width;          /* of each row below */
    const char **keywords; /* a row for each server */
    const char **values;
};

static const char *option(const struct servers *servers, const char *keyword)
{
    for (const PQconninfoOption *each = servers->options; each->keyword != NULL; each++) {
        if (strcmp(each->keyword, keyword) == 0) {
            return each->val;
        }
    }
    return NULL;
}

static bool read_list(struct servers *servers, struct list *list, const char *keyword)
{
    const char *value = option(servers, keyword);

    list->keyword = keyword;
    if (value == NULL || *value == '\0') {
        return true;
    }
    list->text = strdup(value);
    if (list->text == NULL) {
        return false;
    }
    list->count = 1;
    for (char *comma = list->text; (comma = strchr(comma, ',')) != NULL; comma++) {
        *comma = '\0';
        list->count++;
    }
    return true;
}

/* "" where the server has none. One port is for all. */
static const char *element(const struct list *list, size_t number)
{
    const char *text = list->text;

    if (list->count == 0) {
        return "";
    }
    for (size_t i = 0; i < number && list->count > 1; i++) {
        text += strlen(text) + 1;
    }
    return text;
}

/* Whether there are as many of them as servers, as libpq wants it. */
static bool fits(const struct list *list, size_t count)
{
    return list->count == 0 || list->count == count ||
           (list->count == 1 && strcmp(list->keyword, "port") == 0);
}

static size_t count_servers(const struct list lists[LISTS])
{
    size_t count = lists[HOSTADDR].count > 0 ? lists[HOSTADDR].count : lists[HOST].count;

    return count > 1 && fits(&lists[HOST], count) && fits(&lists[PORT], count) ? count : 1;
}

/* What a server's connection is made with: the first two unless the string says otherwise, the last in any
 * case. tcp_user_timeout ends a connection whose other end's machine is gone. */
static const char *const defaults[][2] = {{"fallback_application_name", "incidents.fcgi"},
                                          {"tcp_user_timeout", "3000"},
                                          {"client_encoding", "UTF8"}};

/* The value of an option for one server; NULL where libpq shall find one. */
static const char *value_for(const struct servers *servers, const PQconninfoOption *each, size_t server)
{
    for (size_t i = 0; servers->count > 1 && i < LISTS; i++) {
        if (strcmp(each->keyword, servers->lists[i].keyword) == 0) {
            return element(&servers->lists[i], server);
        }
    }
    return each->val;
}

/* Defaults stand before what the string says, which wins over them; behind it stands what we cannot do
 * without. An empty value is none to libpq. */
static void fill_row(struct servers *servers, size_t server)
{
    const char **keywords = servers->keywords + server * servers->width;
    const char **values = servers->values + server * servers->width;
    size_t used = 0;

    for (size_t i = 0; i + 1 < OWN_PARAMETERS; i++, used++) {
        keywords[used] = defaults[i][0];
        values[used] = defaults[i][1];
    }
    for (const PQconninfoOption *each = servers->options; each->keyword != NULL; each++) {
        const char *value = value_for(servers, each, server);

        if (value != NULL) {
            keywords[used] = each->keyword;
            values[used++] = value;
        }
    }
    keywords[used] = defaults[OWN_PARAMETERS - 1][0];
    values[used] = defaults[OWN_PARAMETERS - 1][1];
}

static bool fill(struct servers *servers)
{
    servers->width = OWN_PARAMETERS + 1;
    for (const PQconninfoOption *each = servers->options; each->keyword != NULL; each++) {
        servers->width++;
    }
    servers->keywords = calloc(servers->count * servers->width, sizeof *servers->keywords);
    servers->values = calloc(servers->count * servers->width, sizeof *servers->values);
    if (servers->keywords == NULL || servers->values == NULL) {
        return false;
    }
    for (size_t i = 0; i < servers->count; i++) {
        fill_row(servers, i);
    }
    return true;
}

static int64_t read_patience_ms(const struct servers *servers)
{
    const char *text = option(servers, "connect_timeout");
    long seconds = text == NULL ? 0 : strtol(text, NULL, 10);

    if (seconds > 0 && seconds < INT32_MAX) {
        return (int64_t)seconds * 1000;
    }
    return servers->count > 1 ? PATIENCE_MS : INT64_MAX;
}

struct servers *servers_new(const char *url)
{
    static const char *const keywords[LISTS] = {"host", "hostaddr", "port"};
    struct servers *servers = calloc(1, sizeof *servers);
    bool ok = servers != NULL;

    if (ok) {
        servers->options = PQconninfoParse(url, NULL); /* settings.c has tried it: NULL is out of memory */
        ok = servers->options != NULL;
    }
    for (size_t i = 0; ok && i < LISTS; i++) {
        ok = read_list(servers, &servers->lists[i], keywords[i]);
    }
    if (ok) {
        servers->count = count_servers(servers->lists);
        servers->patience_ms = read_patience_ms(servers);
    }
    if (!ok || !fill(servers)) {
        log_error("unable to read the connection string: out of memory");
        servers_free(servers);
        return NULL;
    }
    return servers;
}

void servers_free(struct servers *servers)
{
    if (servers == NULL) {
        return;
    }
    for (size_t i = 0; i < LISTS; i++) {
        free(servers->lists[i].text);
    }
    PQconninfoFree(servers->options);
    free(servers->keywords);
    free(servers->values);
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

const char *const *servers_keywords(const struct servers *servers, size_t server)
{
    return servers->keywords + server * servers->width;
}

const char *const *servers_values(const struct servers *servers, size_t server)
{
    return servers->values + server * servers->width;
}
