/* The signals that ask a worker to stop. SIGXCPU comes of a soft limit that the web server set. */
#ifndef INCIDENTS_BASE_STOP_SIGNALS_H
#define INCIDENTS_BASE_STOP_SIGNALS_H

#include <signal.h>

/* Blocks them: SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGXCPU. From then on each waits for who reads it from a
 * descriptor, signalfd(2). *signals gets the set. */
void stop_signals_block(sigset_t *signals);

#endif
