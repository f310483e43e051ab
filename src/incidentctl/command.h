/* incidentctl's commands. */
#ifndef INCIDENTS_INCIDENTCTL_COMMAND_H
#define INCIDENTS_INCIDENTCTL_COMMAND_H

/* Each takes its own name as argv[0] and returns the exit status: 0, 1 where it failed, 2 where its arguments
 * are wrong. It has said why on standard error. */
typedef int command_function(int argc, char **argv);

command_function command_delete;  /* admin/delete.c */
command_function command_doctor;  /* admin/doctor.c */
command_function command_export;  /* admin/export.c */
command_function command_history; /* admin/history.c */
command_function command_import;  /* admin/import.c */
command_function command_list;    /* admin/list.c */
command_function command_migrate; /* admin/migrate.c */
command_function command_purge;   /* admin/delete.c */
command_function command_report;  /* admin/report.c */
command_function command_show;    /* admin/list.c */
command_function command_token;   /* admin/token.c */

enum { EXIT_USAGE = 2 };

#endif
