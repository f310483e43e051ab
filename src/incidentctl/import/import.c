/* incidentctl import: stores the incidents of a file, by the very checks and the very way of the API.
 *
 * A record becomes the body of an upsert, is judged by incident_read and stored by the store, in batches,
 * with thousands of records under way. What the store does needs a bearer token: the import makes itself one,
 * and takes it back at its end. */
#include <signal.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "incidentctl/command.h"
#include "incidentctl/support/print_error.h"
#include "incidentctl/import/adapter.h"
#include "incidentctl/import/rejects.h"
#include "incidentctl/import/show.h"
#include "incidentctl/import/source.h"
#include "incidentctl/import/window.h"
#include "incidentctl/support/options.h"
#include "incidentctl/support/progress.h"
#include "incidentctl/support/session.h"
#include "incidentctl/token.h"
#include "base/digest.h"
#include "schema_version.h"

enum {
    DB_POOL_SIZE = 2,
    BATCH_MAX = 500,   /* with history on, larger ones cost Postgres more: it compares all with all */
    QUEUE_MAX = 10000, /* more than the window holds */
    REQUEST_TIMEOUT_MIN_MS = 1000, /* after this timeout the import tries again by itself */
    PREFIX_SHOWN = 8,
    MESSAGE_BYTES_MAX = 8192,
};

static const char token_label[] = "incidentctl import";

struct import_options {
    const char *path;
    const struct format *format; /* NULL where it is to be found out */
    const char *jq;              /* the caller's own filter */
    const char *separator;
    const char *services; /* DX's other tables */
    const char *metadata;
    const char *rejects;
    uint64_t skip;
    bool is_dry_run;
};

struct import {
    const struct import_options *options;
    struct source source;
    struct adapter adapter;
    struct rejects rejects;
    struct window window;
    struct settings settings;
    struct loop loop;
    struct store *store;
    struct progress progress;
    char token_hash[DIGEST_HEX_SIZE]; /* empty where there is no token */
    int signals;                      /* a signalfd */
    sigset_t former_signals;
    bool is_interrupted;
    uint64_t skipped;
    uint64_t records; /* behind those skipped; a filter may make several incidents of one */
    uint64_t records_done;
    uint64_t read; /* incidents, and records that have none */
    uint64_t done; /* of these, how many are, in order */
    bool is_cut;   /* the last record is bad, and the input ends in it */
    bool has_bad;  /* the record whose incidents are being done has a bad one */
    uint64_t created, updated, unchanged, good, left_out, bad;
    uint64_t bytes_done;
};

/* --- The database ----------------------------------------------------------------------------------------
 */

static bool check_schema(PGconn *session)
{
    PGresult *result = session_query(session, "SELECT intake.schema_version()", 0, NULL);
    bool ok = result != NULL && strtol(PQgetvalue(result, 0, 0), NULL, 10) >= SCHEMA_VERSION;

    if (!ok) {
        (void)fprintf(stderr,
                      "incidentctl: the database's schema is not the one this program needs, see incidentctl "
                      "migrate\n");
    }
    PQclear(result);
    return ok;
}

/* Makes a token that nobody else knows, and forgets it but for its hash. What an import that was killed left
 * behind has expired by the time it is removed here. */
static bool make_token(struct import *import)
{
    char token[TOKEN_SIZE], prefix[PREFIX_SHOWN + 1];
    const char *const values[] = {import->token_hash, prefix, token_label};
    PGconn *session = session_open();
    PGresult *result = NULL;

    if (session != NULL && check_schema(session) && token_make(token)) {
        digest_sha256((struct slice){.data = token, .len = strlen(token)}, import->token_hash);
        (void)snprintf(prefix, sizeof prefix, "%.*s", PREFIX_SHOWN, token);
        explicit_bzero(token, sizeof token);
        result = session_query(
            session,
            "WITH expired AS (DELETE FROM intake.api_token WHERE label = $3 AND expires_at < now()) "
            "INSERT INTO intake.api_token (token_hash, prefix, label, scopes, expires_at) "
            "VALUES (decode($1, 'hex'), $2, $3, '{upsert}', now() + interval '7 days')",
            3, values);
    }
    if (result == NULL) {
        import->token_hash[0] = '\0';
    }
    PQclear(result);
    PQfinish(session);
    return import->token_hash[0] != '\0';
}

static void remove_token(struct import *import)
{
    const char *const values[] = {import->token_hash};
    PGconn *session;
    PGresult *result = NULL;

    if (import->token_hash[0] == '\0') {
        return;
    }
    session = session_open();
    if (session != NULL) {
        result = session_query(session, "DELETE FROM intake.api_token WHERE token_hash = decode($1, 'hex')",
                               1, values);
    }
    if (result == NULL) {
        (void)fprintf(
            stderr,
            "incidentctl: the token \"%s\" could not be removed; nobody knows it, and it expires by itself\n",
            token_label);
    }
    PQclear(result);
    PQfinish(session);
}

static bool start_store(struct import *import)
{
    char error[512];

    if (!settings_load_for_admin(&import->settings, error, sizeof error)) {
        (void)fprintf(stderr, "incidentctl: %s\n", error);
        return false;
    }
    import->settings.db_pool_size = DB_POOL_SIZE;
    import->settings.batch_max = BATCH_MAX;
    import->settings.queue_max = QUEUE_MAX;
    if (import->settings.request_timeout_ms < REQUEST_TIMEOUT_MIN_MS) {
        import->settings.request_timeout_ms = REQUEST_TIMEOUT_MIN_MS;
    }
    if (!loop_open(&import->loop)) {
        (void)fprintf(stderr, "incidentctl: %s\n", strerror(errno));
        return false;
    }
    import->store = store_start(&import->settings, &import->loop);
    return import->store != NULL;
}

/* --- Signals ---------------------------------------------------------------------------------------------
 */

/* Signals are read, by this thread alone, when it has time for them. */
static bool catch_signals(struct import *import)
{
    sigset_t caught;

    (void)sigemptyset(&caught);
    (void)sigaddset(&caught, SIGINT);
    (void)sigaddset(&caught, SIGTERM);
    (void)sigaddset(&caught, SIGHUP);
    if (pthread_sigmask(SIG_BLOCK, &caught, &import->former_signals) != 0) {
        return false;
    }
    import->signals = signalfd(-1, &caught, SFD_CLOEXEC | SFD_NONBLOCK);
    return import->signals >= 0;
}

static void release_signals(struct import *import)
{
    if (import->signals >= 0) {
        (void)close(import->signals);
        (void)pthread_sigmask(SIG_SETMASK, &import->former_signals, NULL);
    }
}

static void look_for_signals(struct import *import)
{
    struct signalfd_siginfo signal;

    while (read(import->signals, &signal, sizeof signal) == sizeof signal) {
        progress_clear(&import->progress);
        if (import->is_interrupted) {
            (void)fprintf(stderr, "incidentctl: ended at once; what was under way may be stored\n");
            _exit(128 + (int)signal.ssi_signo);
        }
        import->is_interrupted = true;
        (void)fprintf(stderr, "incidentctl: waiting for what is under way; once more ends it at once\n");
    }
}

/* --- Records ---------------------------------------------------------------------------------------------
 */

static void count_stored(struct import *import, const struct window_record *record)
{
    import->good++;
    import->created += record->outcome == OP_CREATED;
    import->updated += record->outcome == OP_UPDATED;
    import->unchanged += record->outcome == OP_UNCHANGED;
}

/* Says what is wrong with an incident. */
static void complain(struct import *import, const struct window_record *record)
{
    const struct slice said = {.data = record->error.message, .len = strlen(record->error.message)};
    bool is_lost = record->error.code == ERROR_REQUEST_TOO_LARGE && import->rejects.file != NULL;
    struct buffer message;

    buffer_init(&message, MESSAGE_BYTES_MAX);
    buffer_append_format(&message, "%s:%llu: %s: ", import->source.name, (unsigned long long)record->line,
                         error_code_text(record->error.code));
    append_shown(&message, said, said.len);
    buffer_append_text(&message, is_lost ? " (and is not in the file of rejects)\n" : "\n");
    progress_clear(&import->progress);
    (void)fputs(message.data, stderr);
    buffer_free(&message);
}

/* Keeps a record that has a bad incident. False where that fails. */
static bool reject(struct import *import, const struct window_record *record)
{
    if (record->error.code != ERROR_REQUEST_TOO_LARGE && !rejects_add(&import->rejects, record->text)) {
        return false;
    }
    import->is_cut = import->is_cut || record->is_last;
    return true;
}

static void count(struct import *import, const struct window_record *record)
{
    if (record->state == WINDOW_STORED) {
        count_stored(import, record);
    } else if (record->state == WINDOW_LEFT_OUT) {
        import->left_out++;
    } else {
        import->bad++;
        import->has_bad = true;
        complain(import, record);
    }
    import->done++;
}

/* An incident is done, and all before it are. Behind a bad record that could not be kept none is: the next
 * import begins with that one. */
static void take_done(void *context, const struct window_record *record)
{
    struct import *import = context;

    if (import->rejects.failed) {
        return;
    }
    count(import, record);
    if (!record->ends_record) {
        return;
    }
    if (import->has_bad && !reject(import, record)) {
        import->bad -= record->state == WINDOW_BAD;
        import->done--;
        return;
    }
    import->has_bad = false;
    import->records_done++;
    import->bytes_done = record->end;
}

static enum window_state judge(struct import *import, struct slice body, struct window_record *record)
{
    if (!incident_read(body, DIALECT_UPSERT, &record->incident, &record->error)) {
        return WINDOW_BAD;
    }
    if (!import->options->is_dry_run && !op_upsert(&record->op, import->token_hash, &record->incident)) {
        (void)error_set(&record->error, ERROR_INTERNAL, "out of memory");
        return WINDOW_BAD;
    }
    incident_trim(&record->incident);
    return import->options->is_dry_run ? WINDOW_STORED : WINDOW_UNDERWAY;
}

/* The records of the window that one of the input becomes: each incident, or what is wrong with it, or that
 * it has none. The last one keeps the text, and ends the record. */
struct taking {
    struct import *import;
    const struct source_record *read;
    struct window_record *last; /* not added yet, because it may be the last */
};

static struct window_record *next_record(struct taking *taking)
{
    struct window_record *record = window_record_new(&taking->import->window);

    if (record != NULL) {
        record->line = taking->read->line;
        record->end = taking->read->end;
        if (taking->last != NULL) {
            window_add(&taking->import->window, taking->last);
        }
        taking->last = record;
        taking->import->read++;
    }
    return record;
}

static bool take_incidents(struct taking *taking)
{
    struct import *import = taking->import;
    struct error error = {.code = ERROR_NONE};
    enum filtered filtered = FILTERED_BAD;
    struct slice body;

    if (taking->read->is_too_large) {
        (void)error_set(&error, ERROR_REQUEST_TOO_LARGE, "the record is over 16 MiB");
    } else if (adapter_begin(&import->adapter, import->source.kind, taking->read, &error)) {
        while ((filtered = adapter_next(&import->adapter, &body, &error)) == FILTERED_OUTPUT) {
            struct window_record *record = next_record(taking);

            if (record == NULL) {
                return false;
            }
            record->state = judge(import, body, record);
        }
    }
    if (filtered == FILTERED_BAD || taking->last == NULL) {
        struct window_record *record = next_record(taking);

        if (record == NULL) {
            return false;
        }
        record->state = filtered == FILTERED_BAD ? WINDOW_BAD : WINDOW_LEFT_OUT;
        record->error = error;
    }
    return true;
}

static bool take_record(struct import *import, const struct source_record *read)
{
    struct taking taking = {.import = import, .read = read};
    bool ok = take_incidents(&taking);

    if (taking.last != NULL) {
        ok = ok && window_record_set_text(taking.last, read->text);
        taking.last->is_last = read->is_last;
        taking.last->ends_record = ok;
        window_add(&import->window, taking.last);
    }
    import->records += ok;
    return ok || print_error("out of memory");
}

/* Passes over a record that an earlier import has done. DX's tables shall know that it is there. */
static void skip_record(struct import *import, const struct source_record *read)
{
    struct error unused;

    import->skipped++;
    import->bytes_done = read->end;
    if (import->adapter.format->kind == FORMAT_DX && !read->is_too_large) {
        (void)adapter_begin(&import->adapter, import->source.kind, read, &unused);
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

    while (has_room(import) && (result = source_next(&import->source, &record)) == SOURCE_RECORD) {
        if (import->skipped < import->options->skip) {
            skip_record(import, &record);
        } else if (!take_record(import, &record)) {
            return false;
        }
    }
    look_for_signals(import);
    if (result == SOURCE_BROKEN) {
        progress_clear(&import->progress);
        (void)fprintf(stderr, "%s:%llu: the rest was not read: %s\n", import->source.name,
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

/* Finds out what the input is, by what was said and by how it begins. */
static bool find_format(struct import *import)
{
    static const char *const by_kind[] = {[SOURCE_LINES] = "jsonl", [SOURCE_VALUES] = "json"};
    const struct format *format = import->options->format;
    enum source_kind kind = SOURCE_ROWS;

    if (format != NULL && !format_is_filtered(format)) {
        kind = format->kind == FORMAT_CSV     ? SOURCE_ROWS
               : format->kind == FORMAT_JSONL ? SOURCE_LINES
                                              : SOURCE_VALUES;
    } else {
        enum source_result result = source_guess(&import->source, &kind);

        if (result != SOURCE_RECORD) {
            return print_error("unable to read %s: %s", import->source.name,
                               result == SOURCE_BROKEN ? import->source.fault : "interrupted");
        }
    }
    if (format == NULL && kind != SOURCE_ROWS) {
        format = format_by_name(by_kind[kind]);
    } else if (kind == SOURCE_LINES && format->kind != FORMAT_JSONL) {
        kind = SOURCE_VALUES; /* a line may be a whole page */
    }
    source_set_kind(&import->source, kind,
                    format != NULL && format->kind == FORMAT_FILTERED && format != &format_of_caller);
    adapter_init(&import->adapter, import->options->separator);
    return format == NULL || adapter_set_format(&import->adapter, format, import->options->jq);
}

static bool take_header(struct import *import)
{
    struct source_record header;
    enum source_result result;

    if (import->source.kind != SOURCE_ROWS) {
        return true;
    }
    result = source_next(&import->source, &header);
    if (result == SOURCE_RECORD && !header.is_too_large) {
        return adapter_take_header(&import->adapter, header.text) &&
               (import->options->rejects == NULL || rejects_set_header(&import->rejects, header.text));
    }
    if (result != SOURCE_END) {
        (void)fprintf(stderr, "incidentctl: unable to read the header of %s\n", import->source.name);
    }
    return result == SOURCE_END;
}

/* DX's other tables, which make sense with its first alone. */
static bool take_tables(struct import *import)
{
    const struct import_options *options = import->options;

    if (import->adapter.format == NULL || import->adapter.format->kind != FORMAT_DX) {
        if (options->services == NULL && options->metadata == NULL) {
            return true;
        }
        (void)fprintf(stderr, "incidentctl: --services and --metadata are tables of DX, and %s is none\n",
                      import->source.name);
        return false;
    }
    if (options->services == NULL || options->metadata == NULL) {
        (void)fprintf(stderr, "incidentctl: note: without %s the incidents come without their %s\n",
                      options->services == NULL ? "--services" : "--metadata",
                      options->services == NULL ? "services" : "metadata");
    }
    return (options->services == NULL ||
            dx_rows_read(&import->adapter.services, DX_SERVICES, options->services)) &&
           (options->metadata == NULL ||
            dx_rows_read(&import->adapter.metadata, DX_METADATA, options->metadata));
}

static bool start(struct import *import)
{
    const struct import_options *options = import->options;

    if (!source_open(&import->source, options->path, -1) || !find_format(import)) {
        return false;
    }
    if ((options->rejects != NULL &&
         !rejects_open(&import->rejects, options->rejects, &import->source, options->skip > 0)) ||
        !take_header(import) || !take_tables(import)) {
        return false;
    }
    if (!options->is_dry_run && !make_token(import)) {
        return false;
    }
    if (!catch_signals(import)) {
        (void)fprintf(stderr, "incidentctl: unable to catch signals\n");
        return false;
    }
    import->source.stop_fd = import->signals;
    return options->is_dry_run || start_store(import);
}

static void note_unused(const char *path, const struct dx_rows *rows)
{
    size_t unused = dx_rows_unused(rows);

    if (unused > 0) {
        (void)fprintf(stderr, "incidentctl: note: %zu rows of %s belong to no incident that was read\n",
                      unused, path);
    }
}

/* The last line: what was read is the sum of what follows. */
static void print_sum(const struct import *import, bool is_all_read)
{
    uint64_t unfinished = import->read - import->done;

    if (import->options->is_dry_run) {
        (void)printf("read %llu: %llu good, %llu bad", (unsigned long long)import->read,
                     (unsigned long long)import->good, (unsigned long long)import->bad);
    } else {
        (void)printf("read %llu: %llu stored (%llu created, %llu updated, %llu unchanged), %llu bad",
                     (unsigned long long)import->read, (unsigned long long)import->good,
                     (unsigned long long)import->created, (unsigned long long)import->updated,
                     (unsigned long long)import->unchanged, (unsigned long long)import->bad);
    }
    if (import->left_out > 0) {
        (void)printf(", %llu left out%s", (unsigned long long)import->left_out,
                     import->adapter.format->kind == FORMAT_DX ? " (deleted)" : "");
    }
    if (unfinished > 0) {
        (void)printf(", %llu not finished", (unsigned long long)unfinished);
    }
    if (import->read != import->records) {
        (void)printf("; of %llu records", (unsigned long long)import->records);
    }
    if (import->skipped > 0) {
        (void)printf("; %llu skipped before them", (unsigned long long)import->skipped);
    }
    (void)printf("%s\n", import->options->is_dry_run ? "; nothing was stored" : "");
    if (!is_all_read || unfinished > 0) {
        if (import->is_cut) {
            (void)printf("the input breaks off in its last record, it seems; where there is more of it,\n");
        }
        (void)printf("not all was imported: go on with --skip %llu\n",
                     (unsigned long long)(import->skipped + import->records_done - import->is_cut));
    }
}

static bool run(struct import *import)
{
    bool is_all_read;

    window_init(&import->window, &import->loop, import->store, take_done, import);
    progress_start(&import->progress, import->source.size);
    is_all_read = read_records(import);
    wait_for_end(import);
    if (window_is_refused(&import->window)) {
        (void)fprintf(stderr, "incidentctl: the database takes no more: the token \"%s\" was ended\n",
                      token_label);
    }
    if (is_all_read) {
        note_unused(import->options->services, &import->adapter.services);
        note_unused(import->options->metadata, &import->adapter.metadata);
    }
    is_all_read = is_all_read && import->read == import->done && !import->is_cut;
    print_sum(import, is_all_read);
    return is_all_read && import->bad == 0;
}

static int import_file(const struct import_options *options)
{
    struct import import = {.options = options, .signals = -1, .loop.epoll = -1};
    bool ok = start(&import) && run(&import);

    if (import.store != NULL) {
        store_stop(import.store);
    }
    loop_close(&import.loop);
    if (import.window.done != NULL) {
        window_free(&import.window);
    }
    release_signals(&import);
    remove_token(&import);
    ok = rejects_close(&import.rejects) && ok;
    adapter_free(&import.adapter);
    source_close(&import.source);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool usage_error(const char *message)
{
    return print_error("%s; see incidentctl --help", message);
}

static bool read_skip(const char *text, uint64_t *skip)
{
    if (*text == '\0' || strspn(text, "0123456789") != strlen(text) || strlen(text) > 18) {
        return usage_error("--skip must be a number of records");
    }
    *skip = strtoull(text, NULL, 10);
    return true;
}

static bool read_option(int letter, struct import_options *options)
{
    char known[512];

    switch (letter) {
    case 'f':
        options->format = format_by_name(optarg);
        format_list_names(known, sizeof known);
        return options->format != NULL || print_error("--format must be %s; see incidentctl --help", known);
    case 'j':
        options->jq = optarg;
        return true;
    case 'p':
        options->separator = optarg;
        return *optarg != '\0' || usage_error("--separator must not be empty");
    case 's':
        options->services = optarg;
        return true;
    case 'm':
        options->metadata = optarg;
        return true;
    case 'r':
        options->rejects = optarg;
        return true;
    case 'k':
        return read_skip(optarg, &options->skip);
    case 'n':
        options->is_dry_run = true;
        return true;
    default:
        return false;
    }
}

int command_import(int argc, char **argv)
{
    static const struct option names[] = {{"format", required_argument, NULL, 'f'},
                                          {"separator", required_argument, NULL, 'p'},
                                          {"services", required_argument, NULL, 's'},
                                          {"metadata", required_argument, NULL, 'm'},
                                          {"rejects", required_argument, NULL, 'r'},
                                          {"skip", required_argument, NULL, 'k'},
                                          {"dry-run", no_argument, NULL, 'n'},
                                          {"jq", required_argument, NULL, 'j'},
                                          {0}};
    struct import_options options = {.separator = ";"};
    int letter;

    while ((letter = options_next(argc, argv, names, "")) != -1) {
        if (!read_option(letter, &options)) {
            return EXIT_USAGE;
        }
    }
    if (argc - optind != 1) {
        (void)usage_error("import takes one file, or - for standard input");
        return EXIT_USAGE;
    }
    if ((options.services != NULL || options.metadata != NULL) && options.format != NULL &&
        options.format->kind != FORMAT_DX) {
        (void)usage_error("--services and --metadata go with --format dx");
        return EXIT_USAGE;
    }
    if (options.jq != NULL && options.format != NULL) {
        (void)usage_error("--jq is a format of its own: leave --format away");
        return EXIT_USAGE;
    }
    options.format = options.jq != NULL ? &format_of_caller : options.format;
    options.path = argv[optind];
    return import_file(&options);
}
