/* Which incidents a command is about: the options that filter them, and their condition in SQL. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_FILTER_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_FILTER_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "incidentctl/support/service.h"
#include "incidentctl/support/time_text.h"

/* The parameters of FILTER_SQL, in its order. NULL filters nothing. */
enum filter_value {
    FILTER_SINCE,
    FILTER_UNTIL,
    FILTER_SERVICE,
    FILTER_PRIORITY,
    FILTER_TEXT,
    FILTER_OPEN,
    FILTER_WRITER,
    FILTER_COUNT
};

/* Set it to zero before the first option. Texts point into the command line. */
struct filter {
    char since[TIME_TEXT_MAX];
    char until[TIME_TEXT_MAX];
    const char *values[FILTER_COUNT];
    struct service_match service; /* filter_settle's */
};

/* The condition on intake.incident i, with $1 to $7. One text for all: Postgres plans it with the values, so
 * what is NULL leaves nothing behind. The key's own collation knows no letters but ASCII's. There is no
 * sub-select in it, so Citus hands it to the shards wherever it stands. */
#define FILTER_SQL                                                                                           \
    " ($1::timestamptz IS NULL OR i.started_at >= $1)"                                                       \
    " AND ($2::timestamptz IS NULL OR i.started_at < $2)"                                                    \
    " AND ($3::text[] IS NULL OR jsonb_path_exists(i.services, 'strict $[*] ? (@[0] == $service[*])',"       \
    " jsonb_build_object('service', $3::text[]), true))"                                                     \
    " AND ($4::text IS NULL OR i.priority = $4)"                                                             \
    " AND ($5::text IS NULL OR position(lower($5) IN lower(i.reference_id COLLATE \"default\")) > 0"         \
    " OR position(lower($5) IN lower(i.name)) > 0)"                                                          \
    " AND ($6::boolean IS NULL OR i.resolved_at IS NULL)"                                                    \
    " AND ($7::text IS NULL OR i.updated_by = $7) "

/* Incident i's services; NULL where somebody has stored by hand what is no array. */
#define FILTER_SERVICES "CASE WHEN jsonb_typeof(i.services) = 'array' THEN i.services END"

/* The services as the API takes them; NULL where there are none. No line feeds in it. */
#define FILTER_SERVICES_JSON                                                                                 \
    "(SELECT array_to_json(array_agg(row_to_json(l))) FROM (SELECT s->>0 AS identifier,"                     \
    " s->>1 AS name FROM jsonb_array_elements(" FILTER_SERVICES                                              \
    ") WITH ORDINALITY AS _ (s, n) ORDER BY n) l)"

/* What a client can send of incident i but its metadata, as columns for row_to_json, which then is JSON that
 * the API takes back. No line feeds in it. */
#define FILTER_FIELDS                                                                                        \
    "i.reference_id, i.name, i.priority, i.source_url, intake.timestamp_text(i.started_at) AS started_at,"   \
    " intake.timestamp_text(i.resolved_at) AS resolved_at,"                                                  \
    " coalesce(" FILTER_SERVICES_JSON ", '[]') AS services"

/* The identifiers of incident i's services. */
#define FILTER_IDENTIFIERS(separator)                                                                        \
    "(SELECT string_agg(s->>0, '" separator "' ORDER BY n) FROM jsonb_array_elements(" FILTER_SERVICES       \
    ") WITH ORDINALITY AS _ (s, n))"

/* For statements that read many: the planner expects a hundred services of each, and to compile for so many
 * would take a second or two. */
#define FILTER_PLANS "SET jit = off"

/* For several statements that read the same incidents. */
#define FILTER_SNAPSHOT "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

/* Rows of getopt_long's table for --open, --since, --until, --service, --priority and --text. */
/* Braces in a macro: versions of clang-format differ. */
/* clang-format off */
#define FILTER_OPTIONS                         \
    {"open", no_argument, NULL, 'o'},             \
    {"since", required_argument, NULL, 'a'},      \
    {"until", required_argument, NULL, 'b'},      \
    {"service", required_argument, NULL, 's'},    \
    {"priority", required_argument, NULL, 'p'},   \
    {"text", required_argument, NULL, 't'}
/* clang-format on */

/* Reads one of these options by its letter. False, with a message on standard error where its value is of no
 * use, and without one where the letter is none of them. */
bool filter_parse_option(struct filter *filter, int letter, const char *value);

/* Finds out which services are meant, before the first statement with FILTER_SQL. False, with a message on
 * standard error, where that fails; filter_free in either case. */
bool filter_settle(PGconn *session, struct filter *filter);

void filter_free(struct filter *filter);

/* Whether there is any filter at all. */
bool filter_is_given(const struct filter *filter);

#endif
