/* A whole installation for a test: its own Postgres, worker and nginx, on sockets in its own directory. */
#ifndef INCIDENTS_TESTS_STACK_H
#define INCIDENTS_TESTS_STACK_H

#include <libpq-fe.h>
#include <sys/types.h>

#include "harness/process.h"

enum { STACK_PATH_MAX = 512, STACK_TOKEN_MAX = 128 };

struct stack {
    char directory[64];              /* below /tmp, removed at the end */
    char program[STACK_PATH_MAX];    /* incidents.fcgi */
    char control[STACK_PATH_MAX];    /* incidentctl */
    char owner_url[STACK_PATH_MAX];  /* of the schema's owner, who may create roles */
    char worker_url[STACK_PATH_MAX]; /* of a member of incidents_worker */
    char nginx_socket[128];          /* where nginx listens */
    char worker_socket[128];         /* where the worker does */
    char worker_log[128];
    char token[STACK_TOKEN_MAX]; /* label "good", every scope */
    pid_t postgres;
    char paused[256]; /* numbers of processes that stack_pause_postgres stopped */
    pid_t worker;
    pid_t nginx;
    PGconn *owner; /* for looking at the rows */
};

/* Starts Postgres, makes owner and database, and nothing else. */
void stack_start_empty(struct stack *stack);

/* The same with the schema, the worker's role incidents_fcgi and the token "good". Where the environment has
 * TEST_SERVER, such as host=/run/citus&port=5432, the database incidents of that server is used as it is,
 * with the roles incidents_owner and incidents_fcgi. */
void stack_start_migrated(struct stack *stack);

/* The same with the worker behind nginx. settings (NAME=value, NULL at the end, or NULL) are the worker's. */
void stack_start(struct stack *stack, const char *const settings[]);

/* Stops what runs, and removes the directory. The worker must end cleanly, which under a sanitizer means: no
 * leak; where anything does not, this program ends as failed. */
void stack_stop(struct stack *stack);

void stack_start_postgres(struct stack *stack, const char *arguments);
void stack_stop_postgres(struct stack *stack, int signal_number);
/* Stops the postmaster and the worker's sessions where they are, as if its machine stood still; lets all go
 * on that stand still, the latter also where nothing does. */
void stack_pause_postgres(struct stack *stack);
void stack_resume_postgres(struct stack *stack);
/* Stops one of the worker's sessions, the nth of those that there are, in the same way; false where there is
 * none. stack_resume_postgres lets it go on. */
bool stack_pause_session(struct stack *stack, int nth);
/* The same for so long; the second waits until there is a session. */
void stack_pause_postgres_for(struct stack *stack, int ms);
void stack_pause_session_for(struct stack *stack, int nth, int ms);
/* A session of the owner's that has run the statement in a transaction and stays in it, for others to wait
 * for; takes it back. */
PGconn *stack_hold(const struct stack *stack, const char *sql);
void stack_let_go(PGconn *holder);
/* Waits until somebody waits for a lock, which a session of stack_hold has. */
void stack_await_lock_wait(struct stack *stack);
/* How often Postgres's log has the text. */
size_t stack_count_in_log(const struct stack *stack, const char *text);
void stack_start_worker(struct stack *stack, const char *const settings[]);
void stack_stop_worker(struct stack *stack);
void stack_start_nginx(struct stack *stack);

/* Runs incidentctl as the owner with those arguments, NULL at the end, and that text as standard input. */
const struct outcome *stack_control(struct stack *stack, const char *input, const char *first, ...);

/* Makes a token and copies it. arguments as for stack_control, behind "token create --label LABEL". */
void stack_create_token(struct stack *stack, const char *label, const char *scope,
                        char token[STACK_TOKEN_MAX]);

/* Makes test.operations(jsonb): the array that apply_batch takes, of objects with its columns as keys. What
 * is not there is NULL, but for operation, which is upsert, scope, which is the operation, started_at, which
 * is some day, and given, which says what optional keys there are. "as" is the label of a token, "good" where
 * there is none. */
void stack_make_operations(struct stack *stack);

/* Runs a statement as the owner and returns its first value, "" for null or no row. It must succeed. The text
 * is good until the next call. */
const char *stack_query(struct stack *stack, const char *sql);

/* All rows of a statement with one text parameter, NULL for none; PQclear them. It must succeed. */
PGresult *stack_rows(struct stack *stack, const char *sql, const char *value);

/* The first value of the first of them, as stack_query gives it. */
const char *stack_query_for(struct stack *stack, const char *sql, const char *value);

/* A token for the metrics that no other test has, so that none counts where another does. */
struct stack_metrics {
    char token[64];
    char setting[96];       /* INCIDENTS_METRICS_TOKEN=token */
    char authorization[80]; /* Bearer token */
};
void stack_name_metrics(struct stack_metrics *metrics);

/* Removes what processes with that INCIDENTS_METRICS_TOKEN count in: when it is not needed any more, only who
 * runs them can say. How many such files there were. */
size_t stack_remove_metrics(const char *metrics_token);

/* The whole of a file, NUL-terminated; free it. */
char *read_whole_file(const char *path);

/* The same once the text is in it, which must come: the log is written behind the responses. */
char *await_in_file(const char *path, const char *text);

#endif
