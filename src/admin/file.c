/* Files that others may be reading. */
#include "admin/file.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool complain(const char *path, const char *why)
{
    (void)fprintf(stderr, "incidentctl: unable to write %s: %s\n", path, why);
    return false;
}

static bool write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t written = write(fd, data, len);

        if (written < 0 && errno != EINTR) {
            return false;
        }
        data += written > 0 ? written : 0;
        len -= written > 0 ? (size_t)written : 0;
    }
    return true;
}

/* Where the bytes go in the end. A device or a pipe would be lost if a file took its name. */
static bool find_target(const char *path, char target[PATH_MAX])
{
    struct stat status;

    if (stat(path, &status) != 0) {
        (void)snprintf(target, PATH_MAX, "%s", path);
        return strlen(path) < PATH_MAX || complain(path, strerror(ENAMETOOLONG));
    }
    if (!S_ISREG(status.st_mode)) {
        return complain(path, "it is no regular file");
    }
    return realpath(path, target) != NULL || complain(path, strerror(errno));
}

/* The name is on the disk once its directory is. Some file systems cannot do that, and need not. */
static void sync_directory(const char *path)
{
    char copy[PATH_MAX];
    int fd;

    (void)snprintf(copy, sizeof copy, "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)close(fd);
    }
}

bool file_replace(const char *path, const void *data, size_t len)
{
    char target[PATH_MAX], beside[PATH_MAX + 8];
    mode_t mask = umask(0);
    bool ok;
    int fd;

    (void)umask(mask);
    if (!find_target(path, target)) {
        return false;
    }
    (void)snprintf(beside, sizeof beside, "%s.XXXXXX", target);
    fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) {
        return complain(path, strerror(errno));
    }
    ok = write_all(fd, data, len) && fchmod(fd, 0666 & ~mask) == 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(beside, target) == 0;
    if (!ok) {
        (void)complain(path, strerror(errno));
        (void)unlink(beside);
        return false;
    }
    sync_directory(target);
    return true;
}
