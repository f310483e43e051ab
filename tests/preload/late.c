/* Stands before the C library in a program under test: name servers that are silent, a clock that is set. */
#include "late.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    static const struct timespec nap = {.tv_nsec = 10000000};
    const char *silent = getenv(LATE_NAMES);
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    while (silent != NULL && access(silent, F_OK) == 0) {
        nanosleep(&nap, NULL);
    }
    *(void **)&next = dlsym(RTLD_NEXT, "getaddrinfo");
    return next(name, service, hints, found);
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    static int (*next)(clockid_t, struct timespec *);
    const char *path = id == CLOCK_REALTIME ? getenv(LATE_CLOCK) : NULL;
    FILE *file = path == NULL ? NULL : fopen(path, "re");
    long seconds = 0;
    int result;

    if (next == NULL) {
        *(void **)&next = dlsym(RTLD_NEXT, "clock_gettime");
    }
    result = next(id, time);
    if (file != NULL) {
        time->tv_sec += fscanf(file, "%ld", &seconds) == 1 ? seconds : 0;
        fclose(file);
    }
    return result;
}
