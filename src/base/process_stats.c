/* What this process uses of the machine, by getrusage(2), getrlimit(2) and proc(5). */
#include "base/process_stats.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t microseconds(struct timeval time)
{
    return (int64_t)time.tv_sec * 1000000 + time.tv_usec;
}

static int64_t read_cpu_us(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? microseconds(usage.ru_utime) + microseconds(usage.ru_stime)
                                               : 0;
}

/* The second number of statm, in pages. */
static int64_t read_resident_bytes(void)
{
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    char text[128], *second;
    ssize_t len = file < 0 ? -1 : read(file, text, sizeof text - 1);

    if (file >= 0) {
        close(file);
    }
    if (len <= 0) {
        return -1;
    }
    text[len] = '\0';
    second = strchr(text, ' ');
    return second == NULL ? -1 : strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE);
}

/* Besides "." and "..", and the descriptor that it is read by. */
static int64_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    int64_t count = -3;

    if (directory == NULL) {
        return -1;
    }
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* Since Linux 6.2 the directory's size is their number (proc_pid_fd(5)); before, it is 0. */
static int64_t count_open_files(void)
{
    static const char path[] = "/proc/self/fd";
    struct stat status;

    return stat(path, &status) == 0 && status.st_size > 0 ? status.st_size : count_entries(path);
}

static int64_t read_open_files_max(void)
{
    struct rlimit limit;

    return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY ? (int64_t)limit.rlim_cur
                                                                                    : -1;
}

struct process_stats process_stats_read(void)
{
    return (struct process_stats){
        .cpu_us = read_cpu_us(),
        .resident_bytes = read_resident_bytes(),
        .open_files = count_open_files(),
        .open_files_max = read_open_files_max(),
    };
}
