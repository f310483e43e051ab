/* A system that responses late, or in another time: what tests/preload/late.c reads. */
#ifndef INCIDENTS_TESTS_LATE_H
#define INCIDENTS_TESTS_LATE_H

/* Environment variables that name files. While the first is there, no host's name is found or refused: the
 * look for it does not come back. The second holds seconds, by which CLOCK_REALTIME is off. */
#define LATE_NAMES "LATE_NAMES"
#define LATE_CLOCK "LATE_CLOCK"

#endif
