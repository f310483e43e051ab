/* The signals that ask a worker to stop. */
#include "base/stop_signals.h"

#include <stddef.h>

void stop_signals_block(sigset_t *signals)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGXCPU};

    sigemptyset(signals);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(signals, numbers[i]);
    }
    sigprocmask(SIG_BLOCK, signals, NULL); /* cannot fail with these arguments */
}
