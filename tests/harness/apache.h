/* Apache before a stack's worker, with the configuration that we ship. */
#ifndef INCIDENTS_TESTS_APACHE_H
#define INCIDENTS_TESTS_APACHE_H

#include "harness/stack.h"

/* A port of 127.0.0.1 that nothing listens on. */
int find_port(void);

/* Starts Apache on that port, for so many clients at once; process_stop it. */
pid_t apache_start(const struct stack *stack, int port, size_t clients);

/* A connection to the port; below 0 if there is none. */
int apache_connect(int port);

#endif
