/* Standard output, or a file that others may be reading. */
#include "incidentctl/support/output.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "incidentctl/support/print_error.h"

static bool fail(const char *path)
{
    return print_error("unable to write %s: %s", path, strerror(errno));
}

static bool find_target(struct output *output, const char *path)
{
    if (strlen(path) >= sizeof output->target) {
        errno = ENAMETOOLONG;
        return fail(path);
    }
    if (realpath(path, output->target) == NULL) { /* where a symbolic link leads to */
        snprintf(output->target, sizeof output->target, "%s", path);
        return errno == ENOENT || fail(path);
    }
    return true;
}

/* A device or a pipe would be lost if a file took its name. */
static bool is_replaceable(const char *path)
{
    struct stat status;

    return stat(path, &status) != 0 || S_ISREG(status.st_mode);
}

static bool open_beside(struct output *output)
{
    mode_t mask = umask(0);
    struct stat status;
    int fd;

    umask(mask);
    snprintf(output->beside, sizeof output->beside, "%s.XXXXXX", output->target);
    fd = mkostemp(output->beside, O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    output->stream =
        fchmod(fd, stat(output->target, &status) == 0 ? status.st_mode & 0777 : 0666 & ~mask) == 0
            ? fdopen(fd, "w")
            : NULL;
    if (output->stream == NULL) {
        close(fd);
        unlink(output->beside);
    }
    return output->stream != NULL;
}

bool output_open(struct output *output, const char *path)
{
    bool ok;

    *output = (struct output){.stream = stdout};
    if (path == NULL || strcmp(path, "-") == 0) {
        return true;
    }
    if (*path == '\0') {
        return print_error("the name of the file to write is empty");
    }
    if (!find_target(output, path)) {
        return false;
    }
    if (is_replaceable(output->target)) {
        ok = open_beside(output);
    } else {
        output->stream = fopen(output->target, "we");
        ok = output->stream != NULL;
    }
    return ok || fail(path);
}

/* The name is on the disk once its directory is. Some file systems cannot do that, and need not. */
static void sync_directory(const char *path)
{
    char copy[PATH_MAX];
    int fd;

    snprintf(copy, sizeof copy, "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

bool output_close(struct output *output, bool is_whole)
{
    bool is_beside = output->beside[0] != '\0', ok;

    if (output->target[0] == '\0') {
        return true; /* main checks standard output */
    }
    ok = fflush(output->stream) == 0 && !ferror(output->stream);
    ok = ok && (!is_beside || !is_whole || fsync(fileno(output->stream)) == 0);
    ok = fclose(output->stream) == 0 && ok;
    if (is_beside && is_whole && ok) {
        ok = rename(output->beside, output->target) == 0;
    }
    if (!ok) {
        fail(output->target);
    }
    if (is_beside && ok && is_whole) {
        sync_directory(output->target);
    } else if (is_beside) {
        unlink(output->beside);
    }
    return ok;
}
