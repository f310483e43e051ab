/* The options of a command. */
#include "incidentctl/support/options.h"

#include <stdint.h>
#include <string.h>

#include "incidentctl/support/print_error.h"

int options_next(int argc, char **argv, const struct option *names, const char *repeatable)
{
    static uint64_t seen;
    int index = 0, letter = getopt_long(argc, argv, "", names, &index);
    uint64_t bit = (uint64_t)1 << index;

    if (letter == -1 || letter == '?' || names[index].has_arg == no_argument) {
        return letter;
    }
    if ((seen & bit) != 0 && strchr(repeatable, letter) == NULL) {
        print_error("--%s was given twice; which value is meant?", names[index].name);
        return '?';
    }
    seen |= bit;
    return letter;
}
