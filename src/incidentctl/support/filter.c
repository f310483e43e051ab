/* Which incidents a command is about: the options that select them. */
#include "incidentctl/support/filter.h"

#include <stdio.h>

static bool take_moment(const char **value, char buffer[MOMENT_TEXT_MAX], const char *option,
                        const char *text)
{
    if (!moment_parse_past(text, buffer)) {
        (void)fprintf(stderr,
                      "incidentctl: %s must be an ISO-8601 date or timestamp, or a duration ago like 90d\n",
                      option);
        return false;
    }
    *value = buffer;
    return true;
}

bool selection_take(struct selection *selection, int letter, const char *value)
{
    switch (letter) {
    case 'a':
        return take_moment(&selection->values[SELECT_SINCE], selection->since, "--since", value);
    case 'b':
        return take_moment(&selection->values[SELECT_UNTIL], selection->until, "--until", value);
    case 'B':
        return take_moment(&selection->values[SELECT_UNTIL], selection->until, "--before", value);
    case 's':
        selection->values[SELECT_SERVICE] = value;
        return true;
    case 'p':
        selection->values[SELECT_PRIORITY] = value;
        return true;
    case 't':
        selection->values[SELECT_TEXT] = value;
        return true;
    case 'o':
        selection->values[SELECT_OPEN] = "true";
        return true;
    case 'T':
        selection->values[SELECT_WRITER] = value;
        return true;
    default:
        return false;
    }
}
