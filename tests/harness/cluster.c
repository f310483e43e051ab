/* A stack's Postgres and a synchronous standby of it by streaming replication, which change places. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/shm.h>

#include "base/clock.h"
#include "harness/cluster.h"
#include "harness/figures.h"

enum { TIMEOUT_MS = 120000 };

static const char service[] = "scripts/service";

static void start_node(struct cluster *cluster, size_t node, const char *kind, const char *source)
{
    const char *const argv[] = {service, kind, cluster->nodes[node].data, cluster->stack->directory,
                                source,  NULL};
    char setting[160];
    const char *const environment[] = {setting, NULL};
    int64_t give_up_ms = clock_now_ms() + TIMEOUT_MS;

    snprintf(setting, sizeof setting, "PG_ARGUMENTS=-p %zu", CLUSTER_FIRST_PORT + node);
    cluster->nodes[node].pid = process_start(argv, environment, cluster->nodes[node].log);
    while (PQping(cluster->nodes[node].url) != PQPING_OK) {
        if (clock_now_ms() > give_up_ms) {
            char *log = read_whole_file(cluster->nodes[node].log);
            size_t len = strlen(log);

            fprintf(stderr, "%s\n", len > 2000 ? log + len - 2000 : log);
            free(log);
            fail_msg("Postgres does not start");
        }
        /* After a SIGKILL its memory is in use until the last of its sessions has noticed. */
        if (process_wait(cluster->nodes[node].pid, 20) >= 0) {
            cluster->nodes[node].pid = process_start(argv, environment, cluster->nodes[node].log);
        }
    }
}

/* The owner's connection and the tests' questions go to the primary and nowhere else: a former one may be up.
 */
static void lead_owner_to_primary(struct cluster *cluster)
{
    struct stack *stack = cluster->stack;

    snprintf(stack->owner_url, sizeof stack->owner_url,
             "postgresql:///incidents?host=%s&port=%zu&user=incidents_owner", stack->directory,
             CLUSTER_FIRST_PORT + cluster->primary);
    PQfinish(stack->owner);
    stack->owner = PQconnectdb(stack->owner_url);
    assert_int_equal(PQstatus(stack->owner), CONNECTION_OK);
}

static void become_primary(struct cluster *cluster, size_t node)
{
    cluster->primary = node;
    lead_owner_to_primary(cluster);
    cluster->stack->postgres = cluster->nodes[node].pid;
}

void cluster_start(struct cluster *cluster, struct stack *stack)
{
    *cluster = (struct cluster){.stack = stack};
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        snprintf(cluster->nodes[i].data, sizeof cluster->nodes[i].data, "%s/data%s", stack->directory,
                 i == 0 ? "" : "-1");
        snprintf(cluster->nodes[i].log, sizeof cluster->nodes[i].log, "%s/postgres%s.log", stack->directory,
                 i == 0 ? "" : "-1");
        snprintf(cluster->nodes[i].url, sizeof cluster->nodes[i].url,
                 "host=%s port=%zu user=postgres dbname=incidents", stack->directory, CLUSTER_FIRST_PORT + i);
    }
    snprintf(
        stack->worker_url, sizeof stack->worker_url,
        "postgresql:///incidents?host=%s,%s&port=%d,%d&user=incidents_fcgi&target_session_attrs=read-write",
        stack->directory, stack->directory, CLUSTER_FIRST_PORT, CLUSTER_FIRST_PORT + 1);
    /* pg_rewind wants both, and starts Postgres once by itself: so they stand in its configuration. */
    cluster_query(cluster, 0, "ALTER SYSTEM SET wal_log_hints = on");
    cluster_query(cluster, 0, "ALTER SYSTEM SET wal_keep_size = '512MB'");
    /* Then what a killed one shared goes with its directory. */
    cluster_query(cluster, 0, "ALTER SYSTEM SET dynamic_shared_memory_type = mmap");
    /* What is killed here are processes, whose writes the kernel keeps. */
    cluster_query(cluster, 0, stress_is_long() ? "SELECT 1" : "ALTER SYSTEM SET fsync = off");
    stack_stop_postgres(stack, SIGINT);
    start_node(cluster, 0, "postgres", NULL);
    become_primary(cluster, 0);
    cluster_rejoin(cluster);
}

void cluster_stop(struct cluster *cluster)
{
    for (size_t i = 0; i < CLUSTER_NODES; i++) {
        if (cluster->nodes[i].pid != 0) {
            cluster_kill(cluster, i); /* an orderly one would wait for its standby */
        }
    }
    if (cluster->stack != NULL) { /* else it was never started */
        cluster->stack->postgres = 0;
    }
}

size_t cluster_other(const struct cluster *cluster)
{
    return CLUSTER_NODES - 1 - cluster->primary;
}

/* Signals the postmaster first, which then starts no more of them. */
static void signal_all(const struct cluster *cluster, size_t node, int signal_number)
{
    pid_t pid = cluster->nodes[node].pid;
    char path[64], *children, *end;

    assert_true(pid > 0);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    assert_int_equal(kill(pid, SIGSTOP), 0);
    children = read_whole_file(path);
    for (const char *child = children; *child != '\0'; child = *end == ' ' ? end + 1 : end) {
        kill((pid_t)strtol(child, &end, 10), signal_number);
    }
    free(children);
    kill(pid, signal_number);
}

/* Removes what a node that is killed shares with its own processes, as the end of its machine would. Its
 * number ends the seventh line of postmaster.pid (PostgreSQL, miscadmin.h). */
static void remove_shared_memory(const struct cluster *cluster, size_t node)
{
    char path[STACK_PATH_MAX], *lock_file, *line;

    snprintf(path, sizeof path, "%s/postmaster.pid", cluster->nodes[node].data);
    line = lock_file = read_whole_file(path);
    for (int skipped = 0; skipped < 6 && line != NULL; skipped++) {
        line = strchr(line, '\n');
        line = line == NULL ? NULL : line + 1;
    }
    if (line != NULL) {
        char *id;

        strtoul(line, &id, 10); /* the key */
        shmctl((int)strtol(id, NULL, 10), IPC_RMID, NULL);
    }
    free(lock_file);
}

void cluster_kill(struct cluster *cluster, size_t node)
{
    signal_all(cluster, node, SIGKILL);
    process_wait(cluster->nodes[node].pid, TIMEOUT_MS);
    cluster->nodes[node].pid = 0;
    if (node == cluster->primary) {
        cluster->stack->postgres = 0;
    }
    remove_shared_memory(cluster, node);
}

void cluster_pause(struct cluster *cluster, size_t node)
{
    signal_all(cluster, node, SIGSTOP);
}

int64_t cluster_promote(struct cluster *cluster)
{
    size_t standby = cluster_other(cluster);
    int64_t done_ms;

    assert_string_equal(cluster_query(cluster, standby, "SELECT pg_promote()"), "t");
    done_ms = clock_now_ms();
    become_primary(cluster, standby);
    return done_ms;
}

void cluster_rejoin(struct cluster *cluster)
{
    /* pg_rewind learns from the last checkpoint that there was a promotion. */
    cluster_query(cluster, cluster->primary, "CHECKPOINT");
    start_node(cluster, cluster_other(cluster), "standby", cluster->nodes[cluster->primary].url);
    cluster_await(cluster, cluster->primary,
                  "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", "1");
    cluster_query(cluster, cluster->primary, "ALTER SYSTEM SET synchronous_standby_names = '*'");
    cluster_query(cluster, cluster->primary, "SELECT pg_reload_conf()");
    cluster_await(cluster, cluster->primary, "SELECT sync_state FROM pg_stat_replication", "sync");
    /* Commits wait for the standby once the checkpointer has read the setting, which it does before a
     * checkpoint; and what was confirmed before must have arrived there. */
    cluster_query(cluster, cluster->primary, "CHECKPOINT");
    cluster_await(cluster, cluster->primary,
                  "SELECT count(*) FROM pg_stat_replication, "
                  "(SELECT pg_current_wal_insert_lsn() AS now, pg_sleep(0.2)) AS log WHERE flush_lsn >= now",
                  "1");
}

void cluster_start_again(struct cluster *cluster, size_t node)
{
    start_node(cluster, node, "postgres", NULL);
    if (node == cluster->primary) {
        cluster->stack->postgres = cluster->nodes[node].pid;
    }
}

const char *cluster_query(const struct cluster *cluster, size_t node, const char *sql)
{
    static char text[256];
    PGconn *connection = PQconnectdb(cluster->nodes[node].url);
    PGresult *result = PQexec(connection, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(connection));
    }
    snprintf(text, sizeof text, "%s", PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
    PQfinish(connection);
    return text;
}

void cluster_await(const struct cluster *cluster, size_t node, const char *sql, const char *value)
{
    int64_t give_up_ms = clock_now_ms() + TIMEOUT_MS;

    while (strcmp(cluster_query(cluster, node, sql), value) != 0) {
        if (clock_now_ms() > give_up_ms) {
            fail_msg("%s: it is %s, not %s", sql, cluster_query(cluster, node, sql), value);
        }
        clock_sleep_ms(20);
    }
}
