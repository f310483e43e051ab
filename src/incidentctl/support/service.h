/* Which services --service means: one rule for all commands. */
#ifndef INCIDENTS_INCIDENTCTL_SUPPORT_SERVICE_H
#define INCIDENTS_INCIDENTCTL_SUPPORT_SERVICE_H

#include <libpq-fe.h>
#include <stdbool.h>

/* The texts are the result's. */
struct service_match {
    const char
        *identifiers;  /* text[], as Postgres writes it: the text itself where there is no such service */
    const char *names; /* "Checkout (P1), Checkout (checkout)", 10 at most; NULL where there is no such */
    const char *title; /* "Checkout", or "Checkout (checkout)" where the text is the identifier */
    int count;         /* of the services */
    bool is_by_name;   /* the text is no identifier */
    PGresult *result;  /* to be cleared with PQclear */
};

/* Finds the service that has the text as its identifier or else, all of them, those that have it as their
 * one name (reporting.service_names). False, with a message on standard error, where the question fails. */
bool service_find(PGconn *session, const char *text, struct service_match *match);

#endif
