/* Clients who go on sending whatever becomes of the servers, and a ledger of all that they were answered. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "harness/figures.h"
#include "harness/ledger.h"

enum {
    SHARED_INCIDENTS = 8,
    PAUSE_MS = 2,
    PAUSE_REFUSED_MS = 20,
    RECOVERY_TIMEOUT_MS = 60000,
    NAME_SIZE = 32,
    REFERENCE_SIZE = NAME_SIZE + 48, /* "-shared-" or "-new-", and two numbers */
    STAMP_MAX = 48,
    SHOWN_MAX = 10,
    SLOWEST_DEADLINES = 4, /* and SLOWEST_MORE_MS on top: what no busy machine takes for a request */
    SLOWEST_MORE_MS = 20000,
};

/* One request. Its stamp is its client's number and its own. */
struct entry {
    int64_t begun_ms;
    int64_t ended_ms; /* later than this it cannot have been stored */
    bool is_kept;
    bool is_stored; /* found in the database, for a new incident */
};

/* One client's pages: its own until it is joined. */
struct pages {
    struct entry *entries;
    size_t count;
    size_t size;
    struct ledger_figures figures;
};

struct ledger {
    struct stack *stack;
    struct load *load;
    size_t clients;
    int64_t deadline_ms;
    char name[NAME_SIZE];
    atomic_llong awaited_since_ms; /* of ledger_await_200; INT64_MAX while nobody waits */
    atomic_llong first_200_ms;     /* after that; 0 while there is none */
    struct pages pages[LOAD_CLIENTS_MAX];
};

/* Every other request of a client is for an incident that all share. */
static bool is_shared(size_t number)
{
    return number % 2 == 1;
}

static size_t shared_by(size_t client, size_t number)
{
    return (client + number / 2) % SHARED_INCIDENTS;
}

static void write_reference(const struct ledger *ledger, size_t client, size_t number, char *text,
                            size_t size)
{
    if (is_shared(number)) {
        snprintf(text, size, "%s-shared-%zu", ledger->name, shared_by(client, number));
    } else {
        snprintf(text, size, "%s-new-%zu-%zu", ledger->name, client, number);
    }
}

static struct entry *new_entry(struct pages *pages)
{
    if (pages->count == pages->size) {
        size_t size = pages->size == 0 ? 1024 : 2 * pages->size;
        struct entry *entries = realloc(pages->entries, size * sizeof *entries);

        if (entries == NULL) {
            return NULL;
        }
        pages->entries = entries;
        pages->size = size;
    }
    pages->entries[pages->count] = (struct entry){0};
    return &pages->entries[pages->count++];
}

static void tell_who_waits(struct ledger *ledger, int64_t now_ms)
{
    long long none = 0;

    if (now_ms > atomic_load(&ledger->awaited_since_ms)) {
        atomic_compare_exchange_strong(&ledger->first_200_ms, &none, now_ms);
    }
}

static void note_response(struct load_client *client, struct entry *entry, bool shared,
                          const struct http_response *response)
{
    struct ledger *ledger = client->context;
    struct ledger_figures *figures = &ledger->pages[client->number].figures;
    const char *error = http_response_text(response, "error"),
               *action = http_response_text(response, "action");

    figures->requests++;
    if (entry->ended_ms - entry->begun_ms > figures->slowest_ms) {
        figures->slowest_ms = entry->ended_ms - entry->begun_ms;
    }
    if (response->status == 200 && (shared || strcmp(action, "updated") != 0)) {
        entry->is_kept = true;
        figures->kept++;
        tell_who_waits(ledger, entry->ended_ms);
    } else if (response->status == 503 && strcmp(error, "service_unavailable") == 0) {
        figures->refused++;
    } else if (response->status == 0 || response->status == 502 || response->status == 504) {
        figures->cut_off++;
        entry->ended_ms = entry->begun_ms + ledger->deadline_ms;
    } else {
        load_fail(client, "answered %d %s", response->status, response->body);
    }
}

static void send_on(struct load_client *client)
{
    struct ledger *ledger = client->context;
    struct pages *pages = &ledger->pages[client->number];

    while (!load_is_stopping(client)) {
        size_t number = pages->count;
        struct entry *entry = new_entry(pages);
        char reference[REFERENCE_SIZE], stamp[STAMP_MAX], body[512];
        const struct call call = {.path = "incidents.upsert", .body = body};
        struct http_response response;

        if (entry == NULL) {
            load_fail(client, "out of memory for the ledger");
            return;
        }
        write_reference(ledger, client->number, number, reference, sizeof reference);
        snprintf(stamp, sizeof stamp, "%zu-%zu", client->number, number);
        snprintf(body, sizeof body,
                 "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01T10:00:00Z\",\"name\":\"%s\","
                 "\"services\":[{\"identifier\":\"%s-a\"},{\"identifier\":\"%s-b\"}],"
                 "\"metadata\":{\"stamp\":\"%s\"}}",
                 reference, stamp, stamp, stamp, stamp);
        entry->begun_ms = clock_now_ms();
        http_through_nginx(client->stack, &call, &response);
        entry->ended_ms = clock_now_ms();
        note_response(client, entry, is_shared(number), &response);
        clock_sleep_ms(response.status == 200 ? PAUSE_MS : PAUSE_REFUSED_MS);
        http_response_free(&response);
    }
}

struct ledger *ledger_open(struct stack *stack, size_t clients, const char *name, int64_t deadline_ms)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);

    assert_non_null(ledger);
    ledger->stack = stack;
    ledger->clients = clients;
    ledger->deadline_ms = deadline_ms;
    snprintf(ledger->name, sizeof ledger->name, "%s", name);
    atomic_store(&ledger->awaited_since_ms, INT64_MAX);
    ledger->load = load_start(stack, clients, send_on, ledger);
    return ledger;
}

int64_t ledger_await_200(struct ledger *ledger, int64_t since_ms)
{
    int64_t give_up_ms = clock_now_ms() + RECOVERY_TIMEOUT_MS, first_ms;

    atomic_store(&ledger->first_200_ms, 0);
    atomic_store(&ledger->awaited_since_ms, since_ms);
    while ((first_ms = atomic_load(&ledger->first_200_ms)) == 0) {
        if (clock_now_ms() > give_up_ms) {
            fail_msg("%s: no request was answered 200 in %d ms", ledger->name, RECOVERY_TIMEOUT_MS);
        }
        clock_sleep_ms(1);
    }
    atomic_store(&ledger->awaited_since_ms, INT64_MAX);
    return first_ms - since_ms;
}

void ledger_await_recovery(struct ledger *ledger, int64_t *slowest_ms)
{
    int64_t recovery_ms = ledger_await_200(ledger, clock_now_ms());

    if (recovery_ms > *slowest_ms) {
        *slowest_ms = recovery_ms;
    }
}

/* ---- The ledger against the database ---- */

/* What the checks have found. The first ones are shown. */
struct verdict {
    size_t lost;
    size_t mixed;
};

static void blame(size_t *count, const struct ledger *ledger, const char *reference, const char *why)
{
    if ((*count)++ < SHOWN_MAX) {
        fprintf(stderr, "%s: %s: %s\n", ledger->name, reference, why);
    }
}

/* Reads a stamp to its client and number; NULL where no such request was sent. */
static struct entry *entry_of(struct ledger *ledger, const char *stamp, size_t *client, size_t *number)
{
    char *dash, *end;

    *client = strtoul(stamp, &dash, 10);
    if (*dash != '-' || *client >= ledger->clients) {
        return NULL;
    }
    *number = strtoul(dash + 1, &end, 10);
    if (*end != '\0' || *number >= ledger->pages[*client].count) {
        return NULL;
    }
    return &ledger->pages[*client].entries[*number];
}

/* Whether a request that was answered 200 began after that one had ended, for the same incident. */
static bool is_overtaken(const struct ledger *ledger, const struct entry *stored, size_t incident)
{
    for (size_t client = 0; client < ledger->clients; client++) {
        const struct pages *pages = &ledger->pages[client];

        for (size_t number = 1; number < pages->count; number += 2) {
            if (shared_by(client, number) == incident && pages->entries[number].is_kept &&
                pages->entries[number].begun_ms > stored->ended_ms) {
                return true;
            }
        }
    }
    return false;
}

/* One row: reference_id, name, metadata's stamp, services. */
static void check_row(struct ledger *ledger, char *const columns[4], struct verdict *verdict)
{
    const char *stamp = columns[1];
    char reference[REFERENCE_SIZE], services[2 * STAMP_MAX + 8];
    size_t client, number;
    struct entry *entry = entry_of(ledger, stamp, &client, &number);

    if (entry == NULL) {
        blame(&verdict->mixed, ledger, columns[0], "nobody has sent this name");
        return;
    }
    write_reference(ledger, client, number, reference, sizeof reference);
    snprintf(services, sizeof services, "%s-a,%s-b", stamp, stamp);
    if (strcmp(reference, columns[0]) != 0 || strcmp(columns[2], stamp) != 0 ||
        strcmp(columns[3], services) != 0) {
        blame(&verdict->mixed, ledger, columns[0], "it is not all of one request");
        return;
    }
    entry->is_stored = true;
    if (is_shared(number) && is_overtaken(ledger, entry, shared_by(client, number))) {
        blame(&verdict->lost, ledger, columns[0],
              "it is an earlier request's than one that was answered 200");
    }
}

static void check_rows(struct ledger *ledger, struct verdict *verdict)
{
    char pattern[NAME_SIZE + 4];
    PGresult *rows;

    snprintf(pattern, sizeof pattern, "%s-%%", ledger->name);
    rows = stack_rows(
        ledger->stack,
        "SELECT reference_id, name, metadata->>'stamp', (SELECT string_agg(identifier, ',' ORDER BY "
        "position) FROM intake.incident_service s WHERE s.reference_id = i.reference_id) "
        "FROM intake.incident i WHERE reference_id LIKE $1",
        pattern);
    for (int row = 0; row < PQntuples(rows); row++) {
        char *columns[4];

        for (int column = 0; column < 4; column++) {
            columns[column] = PQgetvalue(rows, row, column);
        }
        check_row(ledger, columns, verdict);
    }
    PQclear(rows);
}

static void check_new_incidents(const struct ledger *ledger, struct verdict *verdict)
{
    for (size_t client = 0; client < ledger->clients; client++) {
        const struct pages *pages = &ledger->pages[client];

        for (size_t number = 0; number < pages->count; number += 2) {
            char reference[REFERENCE_SIZE];

            if (pages->entries[number].is_kept && !pages->entries[number].is_stored) {
                write_reference(ledger, client, number, reference, sizeof reference);
                blame(&verdict->lost, ledger, reference, "it was answered 200 and is not there");
            }
        }
    }
}

static void check_shared_incidents(const struct ledger *ledger, struct verdict *verdict)
{
    bool is_kept[SHARED_INCIDENTS] = {false}, is_stored[SHARED_INCIDENTS] = {false};

    for (size_t client = 0; client < ledger->clients; client++) {
        const struct pages *pages = &ledger->pages[client];

        for (size_t number = 1; number < pages->count; number += 2) {
            is_kept[shared_by(client, number)] |= pages->entries[number].is_kept;
            is_stored[shared_by(client, number)] |= pages->entries[number].is_stored;
        }
    }
    for (size_t i = 0; i < SHARED_INCIDENTS; i++) {
        if (is_kept[i] && !is_stored[i]) {
            blame(&verdict->lost, ledger, "a shared incident", "it was answered 200 and is not there");
        }
    }
}

static void add_up(struct ledger_figures *sum, const struct ledger_figures *figures)
{
    sum->requests += figures->requests;
    sum->kept += figures->kept;
    sum->refused += figures->refused;
    sum->cut_off += figures->cut_off;
    if (figures->slowest_ms > sum->slowest_ms) {
        sum->slowest_ms = figures->slowest_ms;
    }
}

int64_t ledger_repeat(struct ledger *ledger, int times, void (*fault)(int number))
{
    int64_t slowest_ms = 0;

    for (int i = 0; i < times; i++) {
        clock_sleep_ms(LEDGER_PAUSE_MS);
        fault(i);
        ledger_await_recovery(ledger, &slowest_ms);
    }
    return slowest_ms;
}

void ledger_close(struct ledger *ledger, struct ledger_figures *figures)
{
    struct verdict verdict = {0};

    load_stop(ledger->load);
    load_join(ledger->load);
    *figures = (struct ledger_figures){0};
    for (size_t client = 0; client < ledger->clients; client++) {
        add_up(figures, &ledger->pages[client].figures);
    }
    assert_true(figures->kept > 0);
    check_rows(ledger, &verdict);
    check_new_incidents(ledger, &verdict);
    check_shared_incidents(ledger, &verdict);
    for (size_t client = 0; client < ledger->clients; client++) {
        free(ledger->pages[client].entries);
    }
    if (verdict.lost > 0 || verdict.mixed > 0) {
        fail_msg("%s: %zu lost, %zu mixed, of %zu that were answered 200", ledger->name, verdict.lost,
                 verdict.mixed, figures->kept);
    }
    if (figures->slowest_ms > SLOWEST_DEADLINES * ledger->deadline_ms + SLOWEST_MORE_MS) {
        fail_msg("%s: a request with a deadline of %lld ms waited %lld ms", ledger->name,
                 (long long)ledger->deadline_ms, (long long)figures->slowest_ms);
    }
    free(ledger);
}

void ledger_table(const char *heading)
{
    figures_table(heading, "what happened|times|requests|200|503|no response|lost|mixed|"
                           "slowest ms|slowest recovery, ms");
}

void ledger_row(const char *what, int times, const struct ledger_figures *figures, int64_t recovery_ms)
{
    char recovery[24] = "-";

    if (recovery_ms >= 0) {
        snprintf(recovery, sizeof recovery, "%lld", (long long)recovery_ms);
    }
    /* Were something lost or mixed, ledger_close would have failed. */
    figures_row("%s|%d|%zu|%zu|%zu|%zu|0|0|%lld|%s", what, times, figures->requests, figures->kept,
                figures->refused, figures->cut_off, (long long)figures->slowest_ms, recovery);
}
