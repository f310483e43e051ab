/* What the log says of a database that fails. */
#include "store/failures.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { LOG_EVERY_MS = 10000 };

void failures_report(struct failures *failures, const char *what, const char *why)
{
    int64_t now = clock_now_ms();
    char failure[FAILURE_MAX];

    snprintf(failure, sizeof failure, "unable to %s: %s", what, why);
    failures->since_ms = failures->since_ms == 0 ? now : failures->since_ms;
    if (strcmp(failure, failures->last) != 0 || now - failures->logged_ms >= LOG_EVERY_MS) {
        failures->logged_ms = now;
        failures->is_logged = true;
        memcpy(failures->last, failure, sizeof failure);
        if (!failures->are_held) {
            log_error("%s", failure);
        }
    }
}

void failures_end(struct failures *failures)
{
    if (failures->is_logged) {
        log_info("the database responds again after %lld ms%s%s",
                 (long long)(clock_now_ms() - failures->since_ms), failures->are_held ? "; before: " : "",
                 failures->are_held ? failures->last : "");
    }
    failures->is_logged = false;
    failures->since_ms = 0;
}

const char *failures_last(const struct failures *failures)
{
    return failures->since_ms != 0 ? failures->last : "";
}

void failures_log_held(const struct failures *failures)
{
    if (failures->are_held && failures->since_ms != 0) {
        log_error("%s", failures->last);
    }
}
