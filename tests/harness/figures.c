/* The figures of `make stress`: tables in Markdown. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/figures.h"

bool stress_is_long(void)
{
    const char *form = getenv("STRESS");

    return form != NULL && strcmp(form, "long") == 0;
}

int stress_amount(int in_short, int in_long)
{
    return stress_is_long() ? in_long : in_short;
}

static void write_down(const char *text)
{
    const char *path = getenv("FIGURES");
    FILE *file = path == NULL ? NULL : fopen(path, "ae");

    fputs(text, stdout);
    fflush(stdout);
    if (file != NULL) {
        fputs(text, file);
        fclose(file);
    }
}

/* "a|b" as "| a | b |". */
static void write_cells(const char *cells)
{
    char *line = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&line, &size);

    if (memory == NULL) {
        return;
    }
    fputs("| ", memory);
    for (; *cells != '\0'; cells++) {
        if (*cells == '|') {
            fputs(" | ", memory);
        } else {
            fputc(*cells, memory);
        }
    }
    fputs(" |\n", memory);
    fclose(memory);
    write_down(line);
    free(line);
}

void figures_table(const char *heading, const char *columns)
{
    char rule[512] = "---";
    size_t used = strlen(rule);

    for (const char *next = columns; (next = strchr(next, '|')) != NULL && used + 4 < sizeof rule; next++) {
        memcpy(rule + used, "|---", sizeof "|---");
        used += 4;
    }
    write_down("\n### ");
    write_down(heading);
    write_down("\n\n");
    write_cells(columns);
    write_cells(rule);
}

void figures_row(const char *format, ...)
{
    char *cells = NULL;
    va_list arguments;

    va_start(arguments, format);
    if (vasprintf(&cells, format, arguments) >= 0) {
        write_cells(cells);
        free(cells);
    }
    va_end(arguments);
}
