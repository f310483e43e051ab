/* incidentctl import: stores the incidents of a file, by the very checks and the very way of the API.
 *
 * A record becomes the body of an upsert, is validated by incident_read and stored by the store, in batches,
 * with thousands of records under way. What the store does needs a bearer token: the import makes itself one,
 * and takes it back at its end. */
#include "incidentctl/import/import.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "incidentctl/import/plausible.h"
#include "incidentctl/support/print_error.h"

/* --- Signals ---------------------------------------------------------------------------------------------
 */

/* Signals are read, by this thread alone, when it has time for them. */
static bool catch_signals(struct import *import)
{
    sigset_t caught;

    sigemptyset(&caught);
    sigaddset(&caught, SIGINT);
    sigaddset(&caught, SIGTERM);
    sigaddset(&caught, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &caught, &import->former_signals) != 0) {
        return false;
    }
    import->signals = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
    return import->signals >= 0;
}

static void release_signals(struct import *import)
{
    if (import->signals >= 0) {
        close(import->signals);
        pthread_sigmask(SIG_SETMASK, &import->former_signals, NULL);
    }
}

static void look_for_signals(struct import *import)
{
    struct signalfd_siginfo signal;

    while (read(import->signals, &signal, sizeof signal) == sizeof signal) {
        progress_clear(&import->progress);
        if (import->is_interrupted) {
            fprintf(stderr, "incidentctl: ended at once; what was under way may be stored\n");
            _exit(128 + (int)signal.ssi_signo);
        }
        import->is_interrupted = true;
        fprintf(stderr, "incidentctl: waiting for what is under way; once more ends it at once\n");
    }
}

static bool has_room(struct import *import)
{
    while (!import->is_interrupted && !import->rejects.failed && !window_is_refused(&import->window)) {
        bool is_room = window_wait_for_room(&import->window, true);

        progress_show(&import->progress, import->records_done, import->bytes_done);
        if (is_room) {
            return true;
        }
        look_for_signals(import);
    }
    return false;
}

/* Reads all there is. False where that was not possible. */
static bool read_records(struct import *import)
{
    struct source_record record;
    enum source_result result = SOURCE_RECORD;

    while (has_room(import) && (result = import_next_record(import, &record)) == SOURCE_RECORD) {
        if (import->skipped < import->options->skip) {
            import_skip_record(import, &record);
        } else if (!import_take_record(import, &record)) {
            return false;
        }
    }
    look_for_signals(import);
    if (result == SOURCE_BROKEN) {
        progress_clear(&import->progress);
        fprintf(stderr, "%s:%llu: the rest was not read: %s\n", import->source.name,
                (unsigned long long)import->source.line, import->source.fault);
    }
    return result == SOURCE_END;
}

static void wait_for_end(struct import *import)
{
    while (!window_wait_for_end(&import->window, !import->is_interrupted)) {
        progress_show(&import->progress, import->records_done, import->bytes_done);
        look_for_signals(import);
    }
    progress_clear(&import->progress);
}

/* --- The whole -------------------------------------------------------------------------------------------
 */

static bool start(struct import *import)
{
    const struct import_options *options = import->options;

    if (!import_open_input(import) || (!options->is_dry_run && !import_make_token(import))) {
        return false;
    }
    if (!catch_signals(import)) {
        return print_error("unable to catch signals");
    }
    import->source.stop_fd = import->signals;
    return options->is_dry_run || import_start_store(import);
}

static void note_unused(const char *path, const struct dx_rows *rows)
{
    size_t unused = dx_rows_unused(rows);

    if (unused > 0) {
        fprintf(stderr, "incidentctl: note: %zu rows of %s belong to no incident that was read\n", unused,
                path);
    }
}

/* The last line: what was read is the sum of what follows. */
static void print_sum(const struct import *import, bool is_all_read)
{
    uint64_t unfinished = import->read - import->done;

    if (import->options->is_dry_run) {
        printf("read %llu: %llu valid, %llu invalid", (unsigned long long)import->read,
               (unsigned long long)import->valid, (unsigned long long)import->invalid);
    } else {
        printf("read %llu: %llu stored (%llu created, %llu updated, %llu unchanged), %llu invalid",
               (unsigned long long)import->read, (unsigned long long)import->valid,
               (unsigned long long)import->created, (unsigned long long)import->updated,
               (unsigned long long)import->unchanged, (unsigned long long)import->invalid);
    }
    if (import->left_out > 0) {
        printf(", %llu left out%s", (unsigned long long)import->left_out,
               import->adapter.format->kind == FORMAT_DX ? " (deleted)" : "");
    }
    if (unfinished > 0) {
        printf(", %llu not finished", (unsigned long long)unfinished);
    }
    if (import->read != import->records) {
        printf("; of %llu records", (unsigned long long)import->records);
    }
    if (import->skipped > 0) {
        printf("; %llu skipped before them", (unsigned long long)import->skipped);
    }
    printf("%s\n", import->options->is_dry_run ? "; nothing was stored" : "");
    if (!is_all_read || unfinished > 0) {
        if (import->is_cut) {
            printf("the input breaks off in its last record, it seems; where there is more of it,\n");
        }
        printf("not all was imported: go on with --skip %llu\n",
               (unsigned long long)(import->skipped + import->records_done - import->is_cut));
    }
}

/* What is worth knowing of all records together, before the last line. */
static void print_notes(const struct import *import)
{
    complaints_print_rest(&import->complaints);
    if (complaints_have(&import->complaints, ERROR_INVALID_TIMESTAMP) &&
        import->options->date_format == NULL) {
        print_error("note: times that are not in ISO 8601 are read by --date-format, such as "
                    "--date-format '%%d/%%m/%%Y %%H:%%M'; those of another zone than UTC by --time-zone");
    }
    unknown_keys_print(&import->unknown_keys);
    if (import->suspicious > 0) {
        print_error("note: %llu of the %s have times that cannot be right, or were open for too long: "
                    "reports leave them out, and the view reporting.suspicious lists them",
                    (unsigned long long)import->suspicious, import->options->is_dry_run ? "valid" : "stored");
    }
}

/* Whether the input, which was read to its end, had as many records as it must have. */
static bool check_records(const struct import *import)
{
    if (import->skipped < import->options->skip) {
        return print_error("--skip %llu is more than the %llu records of %s",
                           (unsigned long long)import->options->skip, (unsigned long long)import->skipped,
                           import->source.name);
    }
    return import->records > 0 || import->skipped > 0 || import->source.consumed == 0 ||
           print_error("nothing was read from %s, which is not empty: it has no incidents",
                       import->source.name);
}

static bool run(struct import *import)
{
    bool is_all_read, has_records;

    window_init(&import->window, &import->loop, import->store, import_take_done, import);
    progress_start(&import->progress, import->source.size);
    is_all_read = read_records(import);
    wait_for_end(import);
    if (window_is_refused(&import->window)) {
        fprintf(stderr, "incidentctl: the database takes no more: the token \"%s\" was ended\n",
                import_token_label);
    }
    if (is_all_read) {
        note_unused(import->options->services, &import->adapter.services);
        note_unused(import->options->metadata, &import->adapter.metadata);
    }
    has_records = !is_all_read || check_records(import);
    print_notes(import);
    is_all_read = is_all_read && import->read == import->done && !import->is_cut;
    print_sum(import, is_all_read);
    return is_all_read && has_records && import->invalid == 0;
}

int import_file(const struct import_options *options)
{
    struct import import = {.options = options,
                            .signals = -1,
                            .loop.epoll = -1,
                            .now_micros = (int64_t)time(NULL) * 1000000,
                            .longest_seconds = LONGEST_INCIDENT_DEFAULT};
    bool ok = start(&import) && run(&import);

    if (import.store != NULL) {
        store_stop(import.store);
    }
    loop_close(&import.loop);
    if (import.window.done != NULL) {
        window_free(&import.window);
    }
    release_signals(&import);
    import_remove_token(&import);
    ok = rejects_close(&import.rejects) && ok;
    adapter_free(&import.adapter);
    source_close(&import.source);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
