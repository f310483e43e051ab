/* The settings file: whatever stands in it, it is either taken whole or refused with a sentence. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/settings.h"
#include "fuzz/fuzz.h"

/* Where a build that counts puts its counts stays known. */
static void clear_environment(void)
{
    static char prefix[4096], strip[16];

    if (prefix[0] == '\0' && getenv("GCOV_PREFIX") != NULL && getenv("GCOV_PREFIX_STRIP") != NULL) {
        snprintf(prefix, sizeof prefix, "%s", getenv("GCOV_PREFIX"));
        snprintf(strip, sizeof strip, "%s", getenv("GCOV_PREFIX_STRIP"));
    }
    MUST(clearenv() == 0);
    if (prefix[0] != '\0') {
        MUST(setenv("GCOV_PREFIX", prefix, 1) == 0 && setenv("GCOV_PREFIX_STRIP", strip, 1) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings settings;
    char path[64], error[512] = "";
    int file = memfd_create("settings", MFD_CLOEXEC);
    bool ok;

    MUST(file >= 0 && write(file, data, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    clear_environment();
    MUST(setenv("INCIDENTS_SETTINGS", path, 1) == 0);
    ok = settings_load(&settings, error, sizeof error);
    MUST(ok || *error != '\0');
    MUST(!ok || (settings.processes >= 1 && settings.db_pool_size >= 1 && settings.batch_max >= 1 &&
                 settings.queue_max >= 1));
    close(file);
    return 0;
}
