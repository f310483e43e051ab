/* Why the database refused a connection. */
#include "store/login_error.h"

#include <stdio.h>
#include <string.h>

/* What libpq writes between a severity, which may be in any language, and the error's sentence. */
static const char BEFORE_STATE[] = ":  ";
static const char LOCATION[] = "LOCATION:";

/* The state in a line, NULL where it has none. */
static const char *find_state(const char *line, size_t len)
{
    const char *at = line;

    while ((at = memmem(at, len - (size_t)(at - line), BEFORE_STATE, sizeof BEFORE_STATE - 1)) != NULL) {
        at += sizeof BEFORE_STATE - 1;
        if (strspn(at, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == SQLSTATE_SIZE - 1 &&
            strncmp(at + SQLSTATE_SIZE - 1, ": ", 2) == 0) {
            return at;
        }
    }
    return NULL;
}

void login_error_read(const char *verbose, char *message, size_t size, char sqlstate[SQLSTATE_SIZE])
{
    size_t used = 0;

    message[0] = '\0';
    sqlstate[0] = '\0';
    while (*verbose != '\0' && used < size) {
        int len = (int)strcspn(verbose, "\n");
        const char *state = find_state(verbose, (size_t)len);
        int before = state == NULL ? len : (int)(state - verbose);
        int behind = state == NULL ? len : before + SQLSTATE_SIZE - 1 + (int)strlen(": ");

        if (state != NULL) {
            (void)snprintf(sqlstate, SQLSTATE_SIZE, "%s", state);
        }
        if (strncmp(verbose, LOCATION, sizeof LOCATION - 1) != 0) {
            used += (size_t)snprintf(message + used, size - used, "%s%.*s%.*s", used == 0 ? "" : "\n", before,
                                     verbose, len - behind, verbose + behind);
        }
        verbose += len + (verbose[len] == '\n');
    }
}
