/* Runs a target over files, each named as an argument: what fuzzing has found stays found. */

#include "fuzz/fuzz.h"

static void run(const char *path)
{
    static uint8_t data[1024 * 1024];
    FILE *file = fopen(path, "re");
    size_t size;

    MUST(file != NULL);
    size = fread(data, 1, sizeof data, file);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(data, size);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        run(argv[i]);
    }
    printf("%d inputs\n", argc - 1);
    return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
