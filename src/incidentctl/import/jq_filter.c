/* A filter in the jq language, run by libjq (jq 1.6 and later; https://jqlang.github.io/jq/manual/v1.6/). */
#include "incidentctl/import/jq_filter.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "incidentctl/import/filters.h"
#include "incidentctl/import/jq_value.h"
#include "incidentctl/import/tidy.h"
#include "incidentctl/support/print_error.h"

enum { KEEP_BYTES = 256 * 1024 };
static const size_t PROGRAM_BYTES_MAX = (size_t)1024 * 1024, OUTPUT_BYTES_MAX = (size_t)128 * 1024 * 1024;
static const rlim_t FILTER_GROWTH_MAX = (rlim_t)1024 * 1024 * 1024;

/* --- The bounds -----------------------------------------------------------------------------------------
 */

/* The filter that runs: a signal handler has no other way to know. There is one thread that runs them. */
static struct {
    volatile sig_atomic_t seconds; /* of processor time, for this output; negative while none is awaited */
    volatile unsigned long long line;
    bool is_bounded;
} running;

static void write_text(const char *text)
{
    ssize_t unused = write(STDERR_FILENO, text, strlen(text));

    (void)unused;
}

/* Only what a signal handler may call. */
static void give_up(const char *why)
{
    char digits[24] = {0};
    size_t at = sizeof digits - 1;

    for (unsigned long long line = running.line; at == sizeof digits - 1 || line > 0; line /= 10) {
        digits[--at] = (char)('0' + line % 10);
    }
    write_text("\nincidentctl: the filter ");
    write_text(why);
    write_text(" for the record of line ");
    write_text(digits + at);
    write_text(", and was ended; what was under way may be stored\n");
    _exit(EXIT_FAILURE);
}

static void count_second(int signal_number)
{
    (void)signal_number;
    running.seconds = running.seconds + (running.seconds >= 0);
    if (running.seconds >= FILTER_SECONDS_MAX) {
        give_up("took 5 seconds of processor time");
    }
}

/* libjq would abort. */
static void give_up_for_memory(void *context)
{
    (void)context;
    give_up("asked for more memory than 1 GiB, or than there is,");
}

/* What the process may have for its data: what it has, and the bound. proc_pid_statm(5) counts in pages;
 * where it cannot be read, there is no bound. */
static void bound_memory(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    struct rlimit limit;

    if (file != NULL && fscanf(file, "%*u %*u %*u %*u %*u %llu", &pages) == 1 &&
        getrlimit(RLIMIT_DATA, &limit) == 0) {
        rlim_t bound = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + FILTER_GROWTH_MAX;

        limit.rlim_cur = bound < limit.rlim_max ? bound : limit.rlim_max;
        setrlimit(RLIMIT_DATA, &limit);
    }
    if (file != NULL) {
        fclose(file);
    }
}

/* Once, when all that stands before the records is in memory. */
static void set_bounds(void)
{
    struct sigaction action = {.sa_handler = count_second, .sa_flags = SA_RESTART};
    const struct itimerval timer = {.it_interval.tv_sec = 1, .it_value.tv_sec = 1};

    running.seconds = -1;
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &timer, NULL);
    bound_memory();
    running.is_bounded = true;
}

/* --- Compiling ------------------------------------------------------------------------------------------
 */

static const char *find_embedded(const char *name)
{
    for (size_t i = 0; i < embedded_filter_count; i++) {
        if (strcmp(embedded_filters[i].name, name) == 0) {
            return embedded_filters[i].text;
        }
    }
    return NULL;
}

/* The prelude stands in the program's first line: without it the message has the caller's own. */
static void print_fault(void *name, jv message)
{
    const char *prelude = find_embedded("prelude"), *text, *found, *rest;
    size_t len;

    message = jq_format_error(message);
    text = jv_get_kind(message) == JV_KIND_STRING ? jv_string_value(message) : "?";
    found = strstr(text, prelude);
    rest = found != NULL ? found + strlen(prelude) : text;
    len = strlen(rest);
    while (len > 0 && rest[len - 1] == ' ') {
        len--;
    }
    print_error("%s: %.*s%.*s", (const char *)name, found != NULL ? (int)(found - text) : 0, text, (int)len,
                rest);
    jv_free(message);
}

/* input and inputs: there is one record. */
static jv refuse_input(jq_state *unused, void *context)
{
    (void)unused;
    (void)context;
    return jv_invalid_with_msg(jv_string("input has nothing to read, the filter runs for each record"));
}

static void print_debug(void *unused, jv value)
{
    (void)unused;
    value = jv_dump_string(value, 0);
    print_error("debug: %s", jv_string_value(value));
    jv_free(value);
}

static bool compile(struct jq_filter *filter, const char *name, const char *text, const char *separator)
{
    struct buffer program;
    char shown[256];
    bool ok;

    snprintf(shown, sizeof shown, "%s", name);
    *filter = (struct jq_filter){.jq = jq_init()};
    buffer_init(&filter->output, OUTPUT_BYTES_MAX);
    if (filter->jq == NULL) {
        return print_error("out of memory for the filter");
    }
    buffer_init(&program, 2 * PROGRAM_BYTES_MAX);
    buffer_append_text(&program, find_embedded("prelude"));
    buffer_append_text(&program, text);
    jq_set_error_cb(filter->jq, print_fault, shown);
    /* libjq 1.6 leaves all three undefined, and calls what it finds there. */
    jq_set_nomem_handler(filter->jq, give_up_for_memory, NULL);
    jq_set_input_cb(filter->jq, refuse_input, NULL);
    jq_set_debug_cb(filter->jq, print_debug, NULL);
    ok = !program.failed &&
         jq_compile_args(filter->jq, program.data,
                         jv_object_set(jv_object(), jv_string("separator"), jv_string(separator))) != 0;
    jq_set_error_cb(filter->jq, NULL, NULL);
    buffer_free(&program);
    return ok;
}

bool jq_filter_open_embedded(struct jq_filter *filter, const char *name, const char *separator)
{
    const char *text = find_embedded(name);

    return text != NULL ? compile(filter, name, text, separator)
                        : print_error("there is no filter for the format %s", name);
}

bool jq_filter_open_file(struct jq_filter *filter, const char *path, const char *separator)
{
    struct buffer text;
    char piece[4096];
    FILE *file = fopen(path, "re");
    size_t got;
    bool ok;

    if (file == NULL) {
        return print_error("unable to read %s: %s", path, strerror(errno));
    }
    buffer_init(&text, PROGRAM_BYTES_MAX);
    while ((got = fread(piece, 1, sizeof piece, file)) > 0) {
        buffer_append(&text, piece, got);
    }
    ok = ferror(file) == 0 ? !text.failed || print_error("%s is over 1 MiB", path)
                           : print_error("unable to read %s: %s", path, strerror(errno));
    fclose(file);
    if (ok && (text.len == 0 || strlen(text.data) != text.len)) {
        ok = print_error("%s is no filter: it is empty, or no text", path);
    }
    ok = ok && compile(filter, path, text.data, separator);
    buffer_free(&text);
    return ok;
}

void jq_filter_close(struct jq_filter *filter)
{
    if (filter->jq != NULL) {
        buffer_free(&filter->output);
        jq_teardown(&filter->jq);
    }
    *filter = (struct jq_filter){0};
}

/* --- Running --------------------------------------------------------------------------------------------
 */

void jq_filter_expect(uint64_t line)
{
    if (!running.is_bounded) {
        set_bounds();
    }
    running.line = line;
}

void jq_filter_start(struct jq_filter *filter, jv record)
{
    filter->outputs = 0;
    jq_start(filter->jq, record, 0);
}

static enum filtered invalid(struct error *error, const char *said)
{
    error_set(error, ERROR_INVALID_ARGUMENTS, "the filter says: %s", said);
    return FILTERED_INVALID;
}

/* What libjq has to say: the value that error() was given, or nothing at the end. */
static enum filtered take_end(struct jq_filter *filter, jv result, struct error *error)
{
    enum filtered filtered = FILTERED_END;
    jv message;

    if (jq_halted(filter->jq)) {
        jv_free(result);
        return invalid(error, "it halted");
    }
    if (!jv_invalid_has_msg(jv_copy(result))) {
        jv_free(result);
        return FILTERED_END;
    }
    message = jv_invalid_get_msg(result);
    if (jv_get_kind(message) != JV_KIND_STRING) {
        message = jv_dump_string(message, 0);
    }
    filtered = invalid(error, jv_string_value(message));
    jv_free(message);
    return filtered;
}

enum filtered jq_filter_next(struct jq_filter *filter, struct slice *output, struct error *error)
{
    jv result;

    running.seconds = 0;
    result = jq_next(filter->jq);
    running.seconds = -1;
    if (!jv_is_valid(result)) {
        return take_end(filter, result, error);
    }
    if (jv_get_kind(result) != JV_KIND_OBJECT) {
        error_set(error, ERROR_INVALID_ARGUMENTS,
                  "the filter must give an object, the body of an upsert, and gave: %s",
                  jv_kind_name(jv_get_kind(result)));
        jv_free(result);
        return FILTERED_INVALID;
    }
    if (++filter->outputs > FILTER_OUTPUTS_MAX) {
        jv_free(result);
        return invalid(error, "a record has more than 1000 incidents");
    }
    buffer_reset(&filter->output, KEEP_BYTES);
    jq_value_append(&filter->output, tidy_incident(result));
    if (filter->output.failed) {
        return invalid(error, "its incident is over 128 MiB");
    }
    *output = (struct slice){.data = filter->output.data, .len = filter->output.len};
    return FILTERED_OUTPUT;
}
