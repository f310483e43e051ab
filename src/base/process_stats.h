/* What this process uses of the machine. */
#ifndef INCIDENTS_BASE_PROCESS_STATS_H
#define INCIDENTS_BASE_PROCESS_STATS_H

#include <stdint.h>

struct process_stats {
    int64_t cpu_us;         /* user and system time of all its threads */
    int64_t resident_bytes; /* -1 where /proc is not there to say it; open_files too */
    int64_t open_files;     /* file descriptors */
    int64_t open_files_max; /* soft limit of them; -1: none */
};

/* A few system calls; on Linux before 6.2 one more for each hundred open files or so. */
struct process_stats process_stats_read(void);

#endif
