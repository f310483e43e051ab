/* Whether an incident's times can be right. */
#include "incidentctl/import/plausible.h"

static const int64_t YEAR_1971 = INT64_C(31536000000000);

bool times_are_plausible(const struct incident *incident, bool is_new, int64_t now_micros,
                         int64_t longest_seconds)
{
    int64_t started = incident->started_at.micros, longest = longest_seconds * 1000000;
    int64_t ended = now_micros;

    if (started < YEAR_1971 || started > now_micros) {
        return false;
    }
    if (incident->resolved_at.presence == PRESENCE_GIVEN) {
        ended = incident->resolved_at.micros;
        if (ended <= started || ended > now_micros) {
            return false;
        }
    } else if (incident->resolved_at.presence == PRESENCE_ABSENT && !is_new) {
        return true;
    }
    return ended - started <= longest;
}
