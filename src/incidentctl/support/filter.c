/* Which incidents a command is about: the options that select them. */
#include "incidentctl/support/filter.h"

#include <stddef.h>

#include "incidentctl/support/print_error.h"

static bool parse_time(const char **value, char buffer[TIME_TEXT_MAX], const char *option, const char *text)
{
    if (!time_parse_past(text, buffer)) {
        return print_error("%s must be an ISO-8601 date or timestamp, or a duration ago like 90d", option);
    }
    *value = buffer;
    return true;
}

/* An empty text is most likely a script's variable that is not set. It is in every incident, and a purge
 * would take them all. */
static bool take_text(const char **value, const char *option, const char *text)
{
    *value = text;
    return *text != '\0' || print_error("%s must not be empty", option);
}

bool filter_is_given(const struct filter *filter)
{
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        if (filter->values[i] != NULL) {
            return true;
        }
    }
    return false;
}

bool filter_settle(PGconn *session, struct filter *filter)
{
    if (filter->values[FILTER_SERVICE] == NULL) {
        return true;
    }
    if (!service_find(session, filter->values[FILTER_SERVICE], &filter->service)) {
        return false;
    }
    filter->values[FILTER_SERVICE] = filter->service.identifiers;
    return true;
}

void filter_free(struct filter *filter)
{
    PQclear(filter->service.result);
    *filter = (struct filter){0};
}

bool filter_parse_option(struct filter *filter, int letter, const char *value)
{
    switch (letter) {
    case 'a':
        return parse_time(&filter->values[FILTER_SINCE], filter->since, "--since", value);
    case 'b':
    case 'B':
        if (filter->values[FILTER_UNTIL] != NULL) {
            return print_error("--until and --before say the same; give one of them");
        }
        return parse_time(&filter->values[FILTER_UNTIL], filter->until,
                          letter == 'b' ? "--until" : "--before", value);
    case 's':
        return take_text(&filter->values[FILTER_SERVICE], "--service", value);
    case 'p': /* which may be empty, as sent */
        filter->values[FILTER_PRIORITY] = value;
        return true;
    case 't':
        return take_text(&filter->values[FILTER_TEXT], "--text", value);
    case 'o':
        filter->values[FILTER_OPEN] = "true";
        return true;
    case 'T':
        return take_text(&filter->values[FILTER_WRITER], "--token", value);
    default:
        return false;
    }
}
