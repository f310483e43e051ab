/* The databases in which a group role has rights: a member of it gets at each of them. */
#ifndef INCIDENTS_INCIDENTCTL_GROUP_ROLE_H
#define INCIDENTS_INCIDENTCTL_GROUP_ROLE_H

/* The end of a SELECT: the other databases d of the server in which the role $1 has rights, or to which it
 * has some. As intake.databases_with knows it, for who has no such function: before the schema is there, or
 * as the worker (PostgreSQL manual, pg_shdepend). */
#define GROUP_ROLE_DATABASES                                                                                 \
    " FROM pg_shdepend s JOIN pg_database d ON d.oid = "                                                     \
    "CASE s.classid WHEN 'pg_database'::regclass THEN s.objid ELSE s.dbid END "                              \
    "JOIN pg_roles r ON r.oid = s.refobjid WHERE s.refclassid = 'pg_authid'::regclass "                      \
    "AND d.datname <> current_database() AND r.rolname = $1"

#endif
