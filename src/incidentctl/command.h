/* incidentctl's commands. */
#ifndef INCIDENTS_INCIDENTCTL_COMMAND_H
#define INCIDENTS_INCIDENTCTL_COMMAND_H

/* Each takes its own name as argv[0] and returns the exit status: 0, 1 where it failed, 2 where its arguments
 * are wrong. It prints why on standard error. */
typedef int command_function(int argc, char **argv);

command_function command_delete;  /* delete.c */
command_function command_doctor;  /* doctor/doctor.c */
command_function command_export;  /* export.c */
command_function command_history; /* history.c */
command_function command_import;  /* import/import.c */
command_function command_list;    /* list.c */
command_function command_migrate; /* migrate.c */
command_function command_purge;   /* delete.c */
command_function command_report;  /* report/report.c */
command_function command_show;    /* list.c */
command_function command_token;   /* token.c */

enum { EXIT_USAGE = 2 };

#endif
