/* Asking before something is deleted. */
#include "incidentctl/support/ask.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "incidentctl/support/print_error.h"

bool ask(void)
{
    char line[16];

    if (!isatty(STDIN_FILENO)) {
        print_error("nobody is here to be asked: --yes deletes without asking");
        return false;
    }
    fputs("Type yes to delete them for good: ", stderr);
    if (fgets(line, sizeof line, stdin) == NULL || strcmp(line, "yes\n") != 0) {
        print_error("nothing was deleted");
        return false;
    }
    return true;
}
