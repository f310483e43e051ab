/* The options of a command. */
#include "incidentctl/support/options.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "incidentctl/support/print_error.h"

/* " --service --since", those that begin with name; empty where fewer than two do. */
static void list_beginning(const char *name, const struct option *names, char *list, size_t size)
{
    size_t count = 0, used = 0;

    *list = '\0';
    for (; names->name != NULL; names++) {
        if (strncmp(names->name, name, strlen(name)) == 0 && used < size) {
            used += (size_t)snprintf(list + used, size - used, " --%s", names->name);
            count++;
        }
    }
    if (count < 2) {
        *list = '\0';
    }
}

static void refuse_unknown(const char *command, const char *argument, const struct option *names)
{
    char name[SUGGEST_NAME_MAX + 1], meant[256];
    struct suggestion best = {0};

    snprintf(name, sizeof name, "%.*s", (int)strcspn(argument, "="), argument);
    list_beginning(name, names, meant, sizeof meant);
    for (const struct option *known = names; known->name != NULL; known++) {
        suggest_consider(&best, name, known->name);
    }
    if (meant[0] != '\0') {
        print_error("%s: --%s may be any of%s", command, name, meant);
    } else if (best.known != NULL) {
        print_error("%s has no option --%s; did you mean --%s?", command, name, best.known);
    } else {
        print_error("%s has no option --%s; incidentctl %s --help lists them", command, name, command);
    }
}

/* getopt_long has gone past the argument at fault, but in the middle of "-abc". */
static void refuse(int argc, char **argv, int letter, const struct option *names)
{
    const char *argument = optind > 0 && optind <= argc ? argv[optind - 1] : "";
    bool is_long = strncmp(argument, "--", 2) == 0;

    if (letter == ':') {
        print_error("%s: %s needs a value", argv[0], argument);
    } else if (is_long && optopt == 0) {
        refuse_unknown(argv[0], argument + 2, names);
    } else if (is_long && strchr(argument, '=') != NULL) {
        print_error("%s: %.*s takes no value", argv[0], (int)strcspn(argument, "="), argument);
    } else {
        print_error("%s has no option -%c; options begin with --", argv[0], optopt);
    }
}

int options_next(int argc, char **argv, const struct option *names, const char *repeatable)
{
    static uint64_t seen;
    int index = 0, letter;
    uint64_t bit;

    opterr = 0;
    letter = getopt_long(argc, argv, ":", names, &index);
    bit = (uint64_t)1 << index;
    if (letter == '?' || letter == ':') {
        refuse(argc, argv, letter, names);
        return '?';
    }
    if (letter == -1 || names[index].has_arg == no_argument) {
        return letter;
    }
    if ((seen & bit) != 0 && strchr(repeatable, letter) == NULL) {
        print_error("--%s was given twice; which value is meant?", names[index].name);
        return '?';
    }
    seen |= bit;
    return letter;
}

bool options_end(int argc, char **argv, int most)
{
    return argc - optind <= most || print_error("%s takes %s argument \"%s\"; see incidentctl %.*s --help",
                                                argv[0], most == 0 ? "no" : "no second", argv[optind + most],
                                                (int)strcspn(argv[0], " "), argv[0]);
}
