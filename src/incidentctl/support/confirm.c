/* The question before something is deleted. */
#include "incidentctl/support/confirm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "incidentctl/support/print_error.h"

bool confirm(void)
{
    char line[16];

    if (!isatty(STDIN_FILENO)) {
        print_error("standard input is no terminal; --yes deletes without a question");
        return false;
    }
    fputs("Type yes to delete them for good: ", stderr);
    if (fgets(line, sizeof line, stdin) == NULL || strcmp(line, "yes\n") != 0) {
        print_error("nothing was deleted");
        return false;
    }
    return true;
}
