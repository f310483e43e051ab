/* A program that is refused allocations or threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/scarcity.h"

static void add(struct scarcity *scarcity, size_t number, const char *name, const char *value)
{
    snprintf(scarcity->entries[number], sizeof scarcity->entries[number], "%s=%s", name, value);
    scarcity->environment[number] = scarcity->entries[number];
}

/* ASan: the library stands before it, which it takes for a mistake; and as a CGI program it does not get what
 * scripts/test says. */
static void make_environment(struct scarcity *scarcity, const struct stack *stack, const char *file)
{
    char library[STACK_PATH_MAX], *name;

    snprintf(library, sizeof library, "%s", stack->program);
    name = strrchr(library, '/');
    assert_non_null(name);
    snprintf(name, sizeof library - (size_t)(name - library), "/tests/preload/scarce.so");
    assert_int_equal(access(library, R_OK), 0);
    add(scarcity, 0, "LD_PRELOAD", library);
    add(scarcity, 1, SCARCE_FILE, file);
    add(scarcity, 2, SCARCE_PROGRAM, "incidents.fcgi");
    add(scarcity, 3, "ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=1:abort_on_error=0:exitcode=99");
    add(scarcity, 4, "UBSAN_OPTIONS", "print_stacktrace=1:exitcode=99");
}

void scarcity_open(struct scarcity *scarcity, const struct stack *stack)
{
    char path[STACK_PATH_MAX];
    int file;

    *scarcity = (struct scarcity){0};
    snprintf(path, sizeof path, "%s/scarce", stack->directory);
    file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    assert_int_equal(fchmod(file, 0666), 0); /* the worker may run as another user */
    assert_int_equal(ftruncate(file, sizeof *scarcity->shared), 0);
    scarcity->shared = mmap(NULL, sizeof *scarcity->shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_true(scarcity->shared != MAP_FAILED);
    close(file);
    make_environment(scarcity, stack, path);
}

void scarcity_close(struct scarcity *scarcity)
{
    munmap(scarcity->shared, sizeof *scarcity->shared);
    scarcity->shared = NULL;
}

static void refuse(struct scarce_kind *kind, long first, long many)
{
    atomic_store(&kind->first, 0);
    atomic_store(&kind->many, many);
    atomic_store(&kind->asked, 0);
    atomic_store(&kind->refused, 0);
    atomic_store(&kind->first, first);
}

void scarcity_refuse_allocations(struct scarcity *scarcity, long first, long many)
{
    atomic_store(&scarcity->shared->libfcgi, 0);
    refuse(&scarcity->shared->allocations, first, many);
}

void scarcity_refuse_threads(struct scarcity *scarcity, long first, long many)
{
    refuse(&scarcity->shared->threads, first, many);
}

void scarcity_limit_bytes(struct scarcity *scarcity, long more)
{
    atomic_store(&scarcity->shared->limit, atomic_load(&scarcity->shared->bytes) + more);
}

void scarcity_end(struct scarcity *scarcity)
{
    atomic_store(&scarcity->shared->limit, 0);
    atomic_store(&scarcity->shared->allocations.first, 0);
    atomic_store(&scarcity->shared->threads.first, 0);
}
