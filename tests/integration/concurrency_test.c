/* Simultaneous requests: the stored result is always what one serial order of them gives. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "harness/fixture.h"

enum { TEXT_MAX = 16 * 1024, CLIENTS = 16 };

static struct stack stack;

/* ---- One client's request, and the state that it leaves where it is the last ---- */

/* The services differ in number, in names, and in which client has which: identifier shared-K is in every
 * set, at another place and with another name each time, so that a mixture of two sets shows. */
static size_t service_count(size_t client, size_t round)
{
    return 1 + (client + round) % 6;
}

static void append_format(struct buffer *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append_format(struct buffer *out, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_append_text(out, text);
}

static void write_service(size_t client, size_t round, size_t position, char identifier[64], char name[64])
{
    if (position % 2 == client % 2) {
        snprintf(identifier, 64, "shared-%zu", position);
    } else {
        snprintf(identifier, 64, "of-%zu-%zu-%zu", client, round % 3, position);
    }
    snprintf(name, 64, "%zu/%zu", client, round);
}

/* The body of client's request of that round. */
static void write_request(struct buffer *out, const char *reference_id, size_t client, size_t round)
{
    size_t count = service_count(client, round);

    buffer_reset(out, TEXT_MAX);
    append_format(out,
                  "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01T00:00:%02zuZ\",\"name\":\"%zu/%zu\","
                  "\"metadata\":{\"by\":\"%zu/%zu\",\"only-%02zu\":[%zu]},\"services\":[",
                  reference_id, client, client, round, client, round, client, round);
    for (size_t i = 0; i < count; i++) {
        char identifier[64], name[64];

        write_service(client, round, i, identifier, name);
        append_format(out, "%s{\"identifier\":\"%s\",\"name\":\"%s\"}", i == 0 ? "" : ",", identifier, name);
    }
    buffer_append_text(out, "]}");
}

/* What state_query says of an incident where exactly that request has been stored. */
static void write_state(struct buffer *out, size_t client, size_t round)
{
    size_t count = service_count(client, round);

    buffer_reset(out, TEXT_MAX);
    append_format(out, "%02zu|%zu/%zu|{\"by\": \"%zu/%zu\", \"only-%02zu\": [%zu]}|", client, client, round,
                  client, round, client, round);
    for (size_t i = 0; i < count; i++) {
        char identifier[64], name[64];

        write_service(client, round, i, identifier, name);
        append_format(out, "%s%zu:%s=%s", i == 0 ? "" : " ", i + 1, identifier, name);
    }
}

static const char state_query[] =
    "SELECT to_char(i.started_at AT TIME ZONE 'UTC', 'SS') || '|' || coalesce(i.name, '') || '|' ||"
    " coalesce(i.metadata::text, '') || '|' ||"
    " coalesce((SELECT string_agg(s.position || ':' || s.identifier || '=' || s.name, ' ' ORDER BY "
    "s.position)"
    "           FROM intake.incident_service s WHERE s.reference_id = i.reference_id), '')"
    " FROM intake.incident i WHERE i.reference_id = $1";

/* The stored state must be the one that some client's request of that round leaves, that being each client's
 * last. */
static void check_one_set_is_stored(const char *reference_id, size_t clients, size_t last_round)
{
    const char *stored = stack_query_for(&stack, state_query, reference_id);
    struct buffer state;
    bool found = false;

    buffer_init(&state, TEXT_MAX);
    for (size_t client = 0; client < clients && !found; client++) {
        write_state(&state, client, last_round);
        found = strcmp(state.data, stored) == 0;
    }
    buffer_free(&state);
    if (!found) {
        fail_msg("%s holds what no client sent last (round %zu): %s", reference_id, last_round, stored);
    }
}

/* Sends one request of the client's; returns whether it was answered 200, with the action in `action`.
 */
static bool send_request(struct load_client *client, const char *path, const char *body, char action[16])
{
    struct call call = {.path = path, .body = body};
    struct http_response response;
    bool ok = load_send(client, &call, 200, &response);

    snprintf(action, 16, "%s", http_response_text(&response, "action"));
    http_response_free(&response);
    return ok;
}

/* ---- (a) One incident, many clients ---- */

enum { ROUNDS_A_CHECK = 16 };

struct rounds {
    size_t first;
    size_t count;
};

static void send_own_sets(struct load_client *client)
{
    const struct rounds *rounds = client->context;
    struct buffer body;
    char action[16];

    buffer_init(&body, TEXT_MAX);
    for (size_t round = rounds->first; round < rounds->first + rounds->count; round++) {
        write_request(&body, "contested", client->number, round);
        if (!send_request(client, "incidents.upsert", body.data, action)) {
            break;
        }
    }
    buffer_free(&body);
}

static void simultaneous_upserts_leave_exactly_one_of_the_sets_sent(void **state)
{
    for (size_t checkpoint = 0; checkpoint < 24; checkpoint++) { /* 24 * 16 * 16 = 6,144 requests */
        struct rounds rounds = {.first = checkpoint * ROUNDS_A_CHECK, .count = ROUNDS_A_CHECK};

        load_run(&stack, CLIENTS, send_own_sets, &rounds);
        check_one_set_is_stored("contested", CLIENTS, rounds.first + rounds.count - 1);
    }
}

/* ---- Two callers, as the contract's example has them ---- */

static void send_one_of_two_sets(struct load_client *client)
{
    static const char *const bodies[] = {
        "{\"reference_id\":\"pair\",\"started_at\":\"2024-01-01\","
        "\"services\":[{\"identifier\":\"A1\"},{\"identifier\":\"A2\"}]}",
        "{\"reference_id\":\"pair\",\"started_at\":\"2024-01-01\","
        "\"services\":[{\"identifier\":\"B1\"},{\"identifier\":\"B2\"}]}",
    };
    char action[16];

    send_request(client, "incidents.upsert", bodies[client->number % 2], action);
}

static void two_callers_that_create_an_incident_leave_either_set_never_a_union(void **state)
{
    for (int round = 0; round < 100; round++) {
        const char *stored;

        stack_query(&stack, "DELETE FROM intake.incident WHERE reference_id = 'pair'");
        load_run(&stack, 2, send_one_of_two_sets, NULL);
        stored = stack_query(&stack, "SELECT string_agg(identifier, ' ' ORDER BY position)"
                                     " FROM intake.incident_service WHERE reference_id = 'pair'");
        if (strcmp(stored, "A1 A2") != 0 && strcmp(stored, "B1 B2") != 0) {
            fail_msg("round %d left the services \"%s\"", round, stored);
        }
    }
}

/* ---- (b) Many incidents in opposite orders ---- */

enum { MANY = 40, PASSES = 6 };

static void walk_through_many(struct load_client *client)
{
    struct buffer body;
    char reference_id[32], action[16];
    bool ok = true;

    buffer_init(&body, TEXT_MAX);
    for (size_t step = 0; ok && step < (size_t)MANY * PASSES; step++) {
        size_t at = client->number % 2 == 0 ? step % MANY : MANY - 1 - step % MANY;

        snprintf(reference_id, sizeof reference_id, "many-%02zu", at);
        if (client->number % 8 == 7 && step % 2 == 0) {
            buffer_reset(&body, TEXT_MAX);
            append_format(&body, "{\"reference_id\":\"%s\"}", reference_id);
            ok = send_request(client, "incidents.delete", body.data, action);
        } else {
            write_request(&body, reference_id, client->number, step);
            ok = send_request(client, "incidents.upsert", body.data, action);
        }
    }
    buffer_free(&body);
}

static void upserts_and_deletes_in_opposite_orders_all_get_through(void **state)
{
    /* More connections than by default: each is a transaction that could wait for another. That none waits
     * for one that waits for it is batch_test's. */
    static const char *const settings[] = {"INCIDENTS_DB_POOL_SIZE=8", "INCIDENTS_BATCH_MAX=8", NULL};

    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    load_run(&stack, 32, walk_through_many, NULL);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
}

/* ---- (c) Readers ---- */

enum { WRITERS = 8, READERS = 4, READ_INCIDENTS = 3, WRITES = 200, WRITES_MAX = 20000, READS_LEAST = 100 };

struct reading {
    atomic_size_t reads; /* that found an incident */
    atomic_size_t writers_left;
};

static void write_for_readers(struct load_client *client)
{
    struct reading *reading = client->context;
    struct buffer body;
    char reference_id[32], action[16];

    buffer_init(&body, TEXT_MAX);
    for (size_t round = 0; !load_is_stopping(client) && round < WRITES_MAX &&
                           (round < WRITES || atomic_load(&reading->reads) < READS_LEAST);
         round++) {
        snprintf(reference_id, sizeof reference_id, "read-%zu", round % READ_INCIDENTS);
        write_request(&body, reference_id, client->number, round);
        send_request(client, "incidents.upsert", body.data, action);
    }
    buffer_free(&body);
    atomic_fetch_sub(&reading->writers_left, 1);
}

/* Runs a statement on the reader's own connection; "" and a failure where it does not succeed. Free the text.
 */
static char *read_text(struct load_client *client, PGconn *connection, const char *sql, const char *value)
{
    PGresult *result = PQexecParams(connection, sql, value == NULL ? 0 : 1, NULL, &value, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    char *text = strdup(PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");

    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
        load_fail(client, "%s: %s", sql, PQerrorMessage(connection));
    }
    PQclear(result);
    return text;
}

/* Reads metadata and services by two statements of one transaction, and compares them with the request they
 * name. */
static void read_once(struct load_client *client, PGconn *connection, const char *reference_id,
                      struct buffer *state)
{
    struct reading *reading = client->context;
    size_t writer, round;
    char *by, *stored;

    free(read_text(client, connection, "BEGIN ISOLATION LEVEL REPEATABLE READ", NULL));
    by = read_text(client, connection, "SELECT metadata->>'by' FROM intake.incident WHERE reference_id = $1",
                   reference_id);
    stored = read_text(client, connection, state_query, reference_id);
    free(read_text(client, connection, "COMMIT", NULL));
    if (*stored != '\0') {
        if (sscanf(by, "%zu/%zu", &writer, &round) != 2) {
            load_fail(client, "%s has the metadata of no request: %s", reference_id, stored);
        } else {
            write_state(state, writer, round);
            if (strcmp(state->data, stored) != 0) {
                load_fail(client, "a reader saw %s, while %s was sent", stored, state->data);
            }
        }
        atomic_fetch_add(&reading->reads, 1);
    }
    free(by);
    free(stored);
}

static void read_while_others_write(struct load_client *client)
{
    struct reading *reading = client->context;
    PGconn *connection = PQconnectdb(client->stack->owner_url);
    struct buffer state;

    buffer_init(&state, TEXT_MAX);
    for (size_t i = 0; atomic_load(&reading->writers_left) > 0 && !load_is_stopping(client); i++) {
        char reference_id[32];

        snprintf(reference_id, sizeof reference_id, "read-%zu", i % READ_INCIDENTS);
        read_once(client, connection, reference_id, &state);
    }
    buffer_free(&state);
    PQfinish(connection);
}

static void write_or_read(struct load_client *client)
{
    if (client->number < WRITERS) {
        write_for_readers(client);
    } else {
        read_while_others_write(client);
    }
}

static void readers_never_see_the_services_of_one_request_with_the_metadata_of_another(void **state)
{
    struct reading reading;

    atomic_init(&reading.reads, 0);
    atomic_init(&reading.writers_left, WRITERS);
    load_run(&stack, WRITERS + READERS, write_or_read, &reading);
    if (atomic_load(&reading.reads) < READS_LEAST) {
        fail_msg("only %zu reads found an incident: the test has seen too little",
                 atomic_load(&reading.reads));
    }
}

/* ---- (d) Upsert against delete ---- */

enum { UPSERTERS = 8, DELETERS = 4 };

struct race {
    struct rounds rounds;
    atomic_long created;
    atomic_long deleted;
};

static void upsert_or_delete(struct load_client *client)
{
    struct race *race = client->context;
    struct buffer body;
    bool ok = true;

    buffer_init(&body, TEXT_MAX);
    for (size_t round = race->rounds.first; ok && round < race->rounds.first + race->rounds.count; round++) {
        char action[16];

        if (client->number >= UPSERTERS) {
            ok = send_request(client, "incidents.delete", "{\"reference_id\":\"raced\"}", action);
            if (ok && strcmp(action, "deleted") != 0 && strcmp(action, "not_found") != 0) {
                load_fail(client, "a delete's action was %s", action);
            }
            atomic_fetch_add(&race->deleted, strcmp(action, "deleted") == 0 ? 1 : 0);
        } else {
            write_request(&body, "raced", client->number, round);
            ok = send_request(client, "incidents.upsert", body.data, action);
            if (ok && strcmp(action, "created") != 0 && strcmp(action, "updated") != 0) {
                load_fail(client, "an upsert's action was %s", action); /* no two requests are equal */
            }
            atomic_fetch_add(&race->created, strcmp(action, "created") == 0 ? 1 : 0);
        }
    }
    buffer_free(&body);
}

static void an_upsert_racing_a_delete_leaves_nothing_or_one_whole_incident(void **state)
{
    struct race race;

    atomic_init(&race.created, 0);
    atomic_init(&race.deleted, 0);
    for (size_t checkpoint = 0; checkpoint < 20; checkpoint++) {
        long left;

        race.rounds = (struct rounds){.first = checkpoint * 12, .count = 12};
        load_run(&stack, UPSERTERS + DELETERS, upsert_or_delete, &race);
        left = atomic_load(&race.created) - atomic_load(&race.deleted);
        if (strcmp(stack_query(&stack, "SELECT count(*) FROM intake.incident WHERE reference_id = 'raced'"),
                   "0") == 0) {
            assert_string_equal(
                stack_query(&stack,
                            "SELECT count(*) FROM intake.incident_service WHERE reference_id = 'raced'"),
                "0");
            if (left != 0) {
                fail_msg("the incident is gone, but it was created %ld times oftener than deleted", left);
            }
        } else {
            check_one_set_is_stored("raced", UPSERTERS, race.rounds.first + race.rounds.count - 1);
            if (left != 1) {
                fail_msg("the incident is there, but it was created %ld times oftener than deleted", left);
            }
        }
    }
    if (atomic_load(&race.deleted) == 0) {
        fail_msg("no delete found the incident: the test has raced nothing");
    }
}

/* ---- (e) Partial updates ---- */

/* Each client has an argument of its own. %zu is the round; query tells what is stored of it. */
static const struct {
    const char *format;
    const char *query;
    const char *stored;
} parts[] = {
    {"\"name\":\"n%zu\"", "SELECT name FROM intake.incident WHERE reference_id = 'parts'", "n%zu"},
    {"\"priority\":\"p%zu\"", "SELECT priority FROM intake.incident WHERE reference_id = 'parts'", "p%zu"},
    {"\"source_url\":\"u%zu\"", "SELECT source_url FROM intake.incident WHERE reference_id = 'parts'",
     "u%zu"},
    {"\"resolved_at\":\"2024-01-02T00:00:00.%06zuZ\"",
     "SELECT to_char(resolved_at AT TIME ZONE 'UTC', 'US') FROM intake.incident WHERE reference_id = 'parts'",
     "%06zu"},
    {"\"metadata\":{\"m\":%zu}", "SELECT metadata->>'m' FROM intake.incident WHERE reference_id = 'parts'",
     "%zu"},
    {"\"services\":[{\"identifier\":\"s%zu\"}]",
     "SELECT string_agg(identifier, ' ') FROM intake.incident_service WHERE reference_id = 'parts'", "s%zu"},
};

enum { PARTS = sizeof parts / sizeof parts[0] };

/* The formats stand in the table above, each with one %zu. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static void write_part(char *out, size_t size, const char *format, size_t round)
{
    snprintf(out, size, format, round);
}
#pragma GCC diagnostic pop

static void send_own_argument(struct load_client *client)
{
    const struct rounds *rounds = client->context;

    for (size_t round = rounds->first; round < rounds->first + rounds->count; round++) {
        char argument[128], body[256], action[16];

        write_part(argument, sizeof argument, parts[client->number].format, round);
        snprintf(body, sizeof body, "{\"reference_id\":\"parts\",\"started_at\":\"2024-01-01\",%s}",
                 argument);
        if (!send_request(client, "incidents.upsert", body, action)) {
            return;
        }
        if (strcmp(action, "unchanged") == 0) {
            load_fail(client, "a change was answered with unchanged: %s", body);
        }
    }
}

static void partial_updates_of_different_arguments_lose_nothing(void **state)
{
    for (size_t checkpoint = 0; checkpoint < 30; checkpoint++) {
        struct rounds rounds = {.first = checkpoint * 10, .count = 10};

        load_run(&stack, PARTS, send_own_argument, &rounds);
        for (size_t i = 0; i < PARTS; i++) {
            char wanted[128];
            const char *stored = stack_query(&stack, parts[i].query);

            write_part(wanted, sizeof wanted, parts[i].stored, rounds.first + rounds.count - 1);
            if (strcmp(stored, wanted) != 0) {
                fail_msg("%s gave \"%s\", but \"%s\" was stored last", parts[i].query, stored, wanted);
            }
        }
    }
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(simultaneous_upserts_leave_exactly_one_of_the_sets_sent),
        cmocka_unit_test(two_callers_that_create_an_incident_leave_either_set_never_a_union),
        cmocka_unit_test(upserts_and_deletes_in_opposite_orders_all_get_through),
        cmocka_unit_test(readers_never_see_the_services_of_one_request_with_the_metadata_of_another),
        cmocka_unit_test(an_upsert_racing_a_delete_leaves_nothing_or_one_whole_incident),
        cmocka_unit_test(partial_updates_of_different_arguments_lose_nothing),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
