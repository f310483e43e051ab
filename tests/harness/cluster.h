/* A stack's Postgres and a synchronous standby of it by streaming replication, which change places.
 *
 * A primary whose standby is there and has caught up is synchronous: it confirms a commit when both have it.
 * One that has just been promoted has no standby yet and confirms alone, as Patroni's synchronous_mode has
 * it, until cluster_rejoin. A test of what is lost must not kill it before. */
#ifndef INCIDENTS_TESTS_CLUSTER_H
#define INCIDENTS_TESTS_CLUSTER_H

#include "harness/stack.h"

enum { CLUSTER_NODES = 2, CLUSTER_FIRST_PORT = 5432 };

struct cluster {
    struct stack *stack;
    struct {
        pid_t pid; /* 0 while it does not run */
        char data[128];
        char log[128];
        char url[STACK_PATH_MAX]; /* of the superuser, to this node and no other */
    } nodes[CLUSTER_NODES];
    size_t primary;
};

/* Makes a cluster of a stack that runs. Its worker_url leads to both nodes from now on, its owner to
 * whichever is the primary. */
void cluster_start(struct cluster *cluster, struct stack *stack);

/* Stops the nodes; stack_stop does the rest. */
void cluster_stop(struct cluster *cluster);

/* The node that is not the primary. */
size_t cluster_other(const struct cluster *cluster);

/* SIGKILL for a node and all its sessions. */
void cluster_kill(struct cluster *cluster, size_t node);

/* A node and all its sessions stand still, as if its machine did. */
void cluster_pause(struct cluster *cluster, size_t node);

/* The standby becomes the primary. Returns when that was done, of clock_now_ms. */
int64_t cluster_promote(struct cluster *cluster);

/* The other node, which does not run, becomes the primary's standby, and the primary synchronous again. */
void cluster_rejoin(struct cluster *cluster);

/* Starts a node that was killed with the data and settings that it has, as whatever it was. */
void cluster_start_again(struct cluster *cluster, size_t node);

/* Runs a statement on a node as the superuser and returns its first value, good until the next call. */
const char *cluster_query(const struct cluster *cluster, size_t node, const char *sql);

/* Waits until the statement's first value is that one; fails the test where it is not within two minutes. */
void cluster_await(const struct cluster *cluster, size_t node, const char *sql, const char *value);

#endif
