/* The statements that the report's figures come from. */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_QUERY_H
#define INCIDENTS_INCIDENTCTL_REPORT_QUERY_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "incidentctl/report/report.h"
#include "incidentctl/support/service.h"

/* What all statements know of the scope; results hold the texts. */
struct query_scope {
    const char *from;        /* $1: timestamptz, '-infinity' for everything */
    const char *identifiers; /* $2: text[] of the services; NULL for all */
    const char *priority;    /* $3; NULL for all */
    struct service_match service;
    PGresult *result;
};

/* Each takes $1 to $3 and some parameters of its own. */
extern const char query_facts[];  /* none */
extern const char query_totals[]; /* none; rows of all, recent, before, which is_whole where it begins no
                                     sooner than the first incident */
extern const char query_weeks[];  /* $4: how many at most; so with the next */
extern const char query_months[];
extern const char query_services[]; /* without the names */
extern const char query_named_services[];
extern const char query_priorities[]; /* $5: whether long names are cut; so with the next */
extern const char query_causes[];
extern const char query_incidents[]; /* $4 to $6: how many open, longest, suspicious ones at most; $7: text[],
                                        the services whose names are wanted too, a name that several have with
                                        the identifier; $8: whether long texts are cut */
extern const char query_reasons[];   /* $4: how many at most */

/* Begins a transaction on one snapshot, and settles what the scope means. False, with a message on standard
 * error, where that fails. query_end in either case. */
bool query_begin(PGconn *session, const struct report_scope *scope, struct query_scope *settled);

/* Ends the transaction. False where it does not end well. */
bool query_end(PGconn *session, struct query_scope *settled, bool ok);

#endif
