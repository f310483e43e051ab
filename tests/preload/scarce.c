/* A library for LD_PRELOAD that stands before malloc and pthread_create, for the program and all its
 * libraries, and refuses what the test says (scarce.h). It hands on to whoever is next, so AddressSanitizer
 * may be behind it (ASAN_OPTIONS=verify_asan_link_order=0).
 *
 * libfcgi ends the program where it gets no memory, so what it asks for is counted by itself, and only the
 * limit refuses it any. */
#include "preload/scarce.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct scarce *scarce; /* NULL in other programs, and until this one has begun */
static uintptr_t libfcgi_begin, libfcgi_end;

static struct {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*memalign)(size_t, size_t);
    void (*free)(void *);
    size_t (*malloc_usable_size)(void *);
    int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} next;

static void *find(const char *name)
{
    void *symbol = dlsym(RTLD_NEXT, name);

    if (symbol == NULL) {
        abort();
    }
    return symbol;
}

/* ISO C knows no cast between pointers to functions and to objects; POSIX has both of one size. */
#define FIND(name) (*(void **)&next.name = find(#name))

/* All at once and first of all: dlsym needs no memory where it finds what it looks for (glibc 2.34 and
 * later), but frees what an earlier failure of its own has left. */
static void find_next(void)
{
    if (next.free == NULL) {
        FIND(malloc);
        FIND(calloc);
        FIND(realloc);
        FIND(memalign);
        FIND(pthread_create);
        FIND(malloc_usable_size);
        FIND(free);
    }
}

static int note_libfcgi(struct dl_phdr_info *info, size_t size, void *context)
{
    (void)size;
    (void)context;
    if (strstr(info->dlpi_name, "libfcgi.so") == NULL) {
        return 0;
    }
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) != 0) {
            libfcgi_begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            libfcgi_end = libfcgi_begin + info->dlpi_phdr[i].p_memsz;
        }
    }
    return 1;
}

/* Runs behind the constructors of all libraries, right before the program's own code. */
__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv(SCARCE_FILE), *program = getenv(SCARCE_PROGRAM);
    void *mapped;
    int file;

    if (path == NULL || program == NULL || strcmp(program_invocation_short_name, program) != 0) {
        return;
    }
    file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0) {
        abort();
    }
    mapped = mmap(NULL, sizeof *scarce, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (mapped == MAP_FAILED) {
        abort();
    }
    dl_iterate_phdr(note_libfcgi, NULL);
    scarce = mapped;
    atomic_store(&scarce->live, 0);
    atomic_store(&scarce->bytes, 0);
}

static int refuses(struct scarce_kind *kind)
{
    long number = atomic_fetch_add(&kind->asked, 1) + 1, first = atomic_load(&kind->first);
    int refused = first > 0 && number >= first && number - first < atomic_load(&kind->many);

    if (refused) {
        atomic_fetch_add(&kind->refused, 1);
    }
    return refused;
}

/* `freed` bytes go back where this is granted. */
static int is_over_limit(size_t size, size_t freed)
{
    long limit = atomic_load(&scarce->limit);

    return limit > 0 && atomic_load(&scarce->bytes) + (long)size - (long)freed > limit;
}

static int is_refused(const void *caller, size_t size, size_t freed)
{
    uintptr_t address = (uintptr_t)caller;

    if (scarce == NULL) {
        return 0;
    }
    if (is_over_limit(size, freed)) {
        errno = ENOMEM;
        return 1;
    }
    if (address >= libfcgi_begin && address < libfcgi_end) {
        atomic_fetch_add(&scarce->libfcgi, 1);
        return 0;
    }
    if (refuses(&scarce->allocations)) {
        errno = ENOMEM;
        return 1;
    }
    return 0;
}

static size_t size_of(void *block)
{
    return block == NULL ? 0 : next.malloc_usable_size(block);
}

static void *count(void *block)
{
    if (block != NULL && scarce != NULL) {
        atomic_fetch_add(&scarce->live, 1);
        atomic_fetch_add(&scarce->bytes, (long)size_of(block));
    }
    return block;
}

static void count_out(size_t size)
{
    atomic_fetch_sub(&scarce->live, 1);
    atomic_fetch_sub(&scarce->bytes, (long)size);
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t size)
{
    find_next();
    return is_refused(CALLER, size, 0) ? NULL : count(next.malloc(size));
}

void *calloc(size_t number, size_t size)
{
    find_next();
    return is_refused(CALLER, number * size, 0) ? NULL : count(next.calloc(number, size));
}

void free(void *block)
{
    find_next();
    if (block != NULL && scarce != NULL) {
        count_out(size_of(block));
    }
    next.free(block);
}

static void *resize(const void *caller, void *block, size_t size)
{
    size_t before;
    void *resized;

    find_next();
    before = size_of(block);
    if (is_refused(caller, size, before)) {
        return NULL;
    }
    resized = next.realloc(block, size);
    if (resized != NULL || size == 0) { /* the old one is gone */
        if (block != NULL && scarce != NULL) {
            count_out(before);
        }
        count(resized);
    }
    return resized;
}

void *realloc(void *block, size_t size)
{
    return resize(CALLER, block, size);
}

void *reallocarray(void *block, size_t number, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(number, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(CALLER, block, bytes);
}

static void *align(size_t alignment, size_t size)
{
    find_next();
    return count(next.memalign(alignment, size));
}

void *memalign(size_t alignment, size_t size)
{
    return is_refused(CALLER, size, 0) ? NULL : align(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return is_refused(CALLER, size, 0) ? NULL : align(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    if (is_refused(CALLER, size, 0)) {
        return ENOMEM;
    }
    *block = align(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}

/* The C library's own would do, but AddressSanitizer has these too, and they come past malloc. */
static char *copy(const char *text, size_t len)
{
    char *block;

    find_next();
    block = count(next.malloc(len + 1));
    if (block != NULL) {
        memcpy(block, text, len);
        block[len] = '\0';
    }
    return block;
}

char *strndup(const char *text, size_t size)
{
    return is_refused(CALLER, strnlen(text, size) + 1, 0) ? NULL : copy(text, strnlen(text, size));
}

char *strdup(const char *text)
{
    return is_refused(CALLER, strlen(text) + 1, 0) ? NULL : copy(text, strlen(text));
}

char *__strdup(const char *text)
{
    return is_refused(CALLER, strlen(text) + 1, 0) ? NULL : copy(text, strlen(text));
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*work)(void *), void *argument)
{
    find_next();
    return scarce != NULL && refuses(&scarce->threads)
               ? EAGAIN
               : next.pthread_create(thread, attributes, work, argument);
}
