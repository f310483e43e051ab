/* Standard input, output and error, of which whoever started the program may have closed one. */
#include "base/standard_files.h"

#include <fcntl.h>
#include <unistd.h>

void standard_files_open(int access)
{
    int descriptor;

    do {
        descriptor = open("/dev/null", access | O_CLOEXEC);
    } while (descriptor >= 0 && descriptor <= STDERR_FILENO);
    if (descriptor >= 0) {
        close(descriptor);
    }
}
