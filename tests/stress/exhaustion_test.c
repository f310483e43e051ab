/* Out of memory, one allocation at a time.
 *
 * tests/preload/scarce.c stands before malloc for the program and all its libraries, and refuses the
 * n-th allocation of a request, for each n until a request needs no more than that; first that one alone,
 * then all from there on. Whatever becomes of the request, a response of 200 is stored as it was sent, what
 * is stored is whole, the worker lives, and the next request is served.
 *
 * Leaks: the same library counts blocks. After each failure, the worker must come back to the number that it
 * has at rest. In a build with AddressSanitizer the library stands before that, so it watches every access
 * too, and looks for leaks at each program's end; this needs ASAN_OPTIONS=verify_asan_link_order=0 and
 * nothing else. So the same tests run in all builds.
 *
 * libfcgi ends the program where it gets no memory. It asks for memory where it is set up, at the start, and
 * for none in a request, which is counted. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fastcgi.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/scarcity.h"

enum { RECOVERY_MS = 5000, ALLOCATIONS_MAX = 20000, STORED_MAX = 8192 };

static struct stack stack;
static struct scarcity scarcity;
static long blocks_of_worker; /* at rest, once warm */

/* ---- Requests that are tried ---- */

#define METRICS_TOKEN "metrics-of-the-test"

/* '@' becomes the trial's name and the number of what is refused: each request is about an incident of its
 * own. Long strings with escapes, and more services than a small table holds, so that every buffer has to
 * grow. */
#define LONG_TEXT                                                                                            \
    "one two three four five six seven eight nine ten eleven twelve thirteen \\u00e9\\n\\t\\\"end\\\""
#define NAMED(number)                                                                                        \
    "{\"identifier\":\"service " #number " with \\u00e9scapes and \\\"quotes\\\", longer than 32 bytes\","   \
    "\"name\":\"" LONG_TEXT "\"}"
#define SERVICES                                                                                             \
    NAMED(1)                                                                                                 \
    "," NAMED(2) "," NAMED(3) "," NAMED(4) "," NAMED(5) "," NAMED(6) "," NAMED(7) "," NAMED(8) "," NAMED(    \
        9) "," NAMED(10) "," NAMED(11) "," NAMED(12) "," NAMED(13) "," NAMED(14) "," NAMED(3)
#define REFERENCE_ID "\"reference_id\":\"\\u00e9 \\\"@\\\" that is longer than 32 bytes\""

static const char full_body[] =
    "{" REFERENCE_ID ",\"started_at\":\"2024-01-01\",\"name\":\"" LONG_TEXT "\",\"services\":[" SERVICES
    "],\"metadata\":{\"a\":[1,2,{\"b\":\"" LONG_TEXT "\"}]}}";
static const char sync_body[] =
    "{" REFERENCE_ID ",\"started_at\":\"2024-01-01\",\"services\":[\"a service with an \\u00e9scape in its "
    "name\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\",\"j\",\"k\",\"l\",\"m\"]}";
static const char change_body[] =
    "{" REFERENCE_ID ",\"started_at\":\"2024-01-02\",\"name\":\"changed\",\"services\":[" NAMED(20) "]}";
#define FORM_TYPE "application/x-www-form-urlencoded"
static const char form_body[] =
    "reference_id=%C3%A9+%22@%22+that+is+longer+than+32+bytes&started_at=2024-01-01&name=" LONG_TEXT
    "&services=[{\"identifier\":\"a\"}]&metadata={\"a\":1}";
static const char delete_body[] = "{" REFERENCE_ID "}";

struct trial {
    const char *name;
    const char *verb;
    const char *path;
    const char *body;   /* NULL: none */
    const char *before; /* what is stored first, undisturbed; NULL: nothing */
    int status;         /* undisturbed */
    const char *authorization;
    bool is_form;
    bool is_apart; /* the worker has lost its session, and must connect */
};

static const struct trial trials[] = {
    {.name = "upsert", .path = "incidents.upsert", .body = full_body, .status = 200},
    {.name = "upsert, connecting",
     .path = "incidents.upsert",
     .body = full_body,
     .status = 200,
     .is_apart = true},
    {.name = "change", .path = "incidents.upsert", .body = change_body, .before = full_body, .status = 200},
    {.name = "sync", .path = "incidents.sync", .body = sync_body, .status = 200},
    {.name = "form", .path = "incidents.upsert", .body = form_body, .status = 200, .is_form = true},
    {.name = "delete", .path = "incidents.delete", .body = delete_body, .before = full_body, .status = 200},
    {.name = "healthz", .verb = "GET", .path = "healthz", .status = 200},
    {.name = "readyz", .verb = "GET", .path = "readyz", .status = 200},
    {.name = "metrics",
     .verb = "GET",
     .path = "metrics",
     .status = 200,
     .authorization = "Bearer " METRICS_TOKEN},
    {.name = "bad body", .path = "incidents.upsert", .body = "{\"reference_id\":", .status = 422},
    {.name = "bad key",
     .path = "incidents.upsert",
     .body =
         "{" REFERENCE_ID ",\"started_at\":\"2024-01-01\",\"metadata\":{\"\\u00e9\\u0001 and a key of more "
         "than 64 bytes, which is cut and then shown in the sentence\":1}}",
     .status = 422},
    {.name = "bad token",
     .path = "incidents.upsert",
     .body = full_body,
     .status = 401,
     .authorization = "Bearer no"},
    {.name = "no token", .path = "incidents.upsert", .body = full_body, .status = 401, .authorization = ""},
    {.name = "no method", .path = "incidents.list", .body = "{}", .status = 404},
};

enum { TRIALS = sizeof trials / sizeof trials[0] };

static bool is_stored_by(const struct trial *trial)
{
    return trial->body != NULL && strstr(trial->path, "incidents.") != NULL && trial->status == 200;
}

/* The incident's key as it is stored. */
static void write_key(const struct trial *trial, long number, char *key, size_t size)
{
    snprintf(key, size, "\u00e9 \"%s %ld\" that is longer than 32 bytes", trial->name, number);
}

static void write_body(const char *pattern, const struct trial *trial, long number, char *body, size_t size)
{
    const char *at = strchr(pattern, '@');

    if (at == NULL) {
        snprintf(body, size, "%s", pattern);
    } else {
        snprintf(body, size, "%.*s%s %ld%s", (int)(at - pattern), pattern, trial->name, number, at + 1);
    }
}

/* All of an incident but its key, "" where there is none. */
static const char *stored(const struct trial *trial, long number)
{
    char key[256];

    write_key(trial, number, key, sizeof key);
    return stack_query_for(
        &stack,
        "SELECT concat_ws('|', name, priority, source_url, started_at, resolved_at, metadata::text, (SELECT "
        "string_agg(identifier || '=' || coalesce(name, ''), ',' ORDER BY position) FROM "
        "intake.incident_service s WHERE s.reference_id = i.reference_id)) FROM intake.incident i WHERE "
        "reference_id = $1",
        key);
}

/* ---- What may become of one ---- */

struct tally {
    long failures; /* of the allocator */
    long succeeded, refused, unavailable, no_response;
    int64_t slowest_ms;
};

/* What the request leaves behind, undisturbed, is what it may leave behind at any time: that, or what was
 * there before. */
struct truth {
    char before[STORED_MAX];
    char after[STORED_MAX];
};

static void check_stored(const struct trial *trial, long number, const struct truth *truth, int status)
{
    const char *now = stored(trial, number);

    if (status == 200 && strcmp(now, truth->after) != 0) {
        fail_msg("%s, allocation %ld: answered 200, and stored is '%s' for '%s'", trial->name, number, now,
                 truth->after);
    }
    if (strcmp(now, truth->after) != 0 && strcmp(now, truth->before) != 0) {
        fail_msg("%s, allocation %ld: stored is '%s', which nobody sent", trial->name, number, now);
    }
}

/* Judges a response; status is 0 where there was none. */
static void check_response(const struct trial *trial, long number, const struct http_response *response,
                           struct tally *tally)
{
    char key[256];

    if (response->status == 0) {
        tally->no_response++;
        return;
    }
    if (response->status != trial->status && response->status != 500 && response->status != 503) {
        fail_msg("%s, allocation %ld: answered %d %s", trial->name, number, response->status, response->body);
    }
    if (strcmp(trial->path, "metrics") != 0 || response->status != 200) {
        if (response->json == NULL) {
            fail_msg("%s, allocation %ld: a response of %d that is no JSON: %s", trial->name, number,
                     response->status, response->body);
        }
        if ((response->status == 200) != (strncmp(response->body, "{\"ok\":true", 10) == 0)) {
            fail_msg("%s, allocation %ld: %d says %s", trial->name, number, response->status, response->body);
        }
    }
    if (response->status == 200 && is_stored_by(trial)) {
        write_key(trial, number, key, sizeof key);
        if (strcmp(http_response_text(response, "reference_id"), key) != 0) {
            fail_msg("%s, allocation %ld: the response is about '%s'", trial->name, number,
                     http_response_text(response, "reference_id"));
        }
    }
    tally->succeeded += response->status == trial->status;
    tally->refused += response->status == 500;
    tally->unavailable += response->status == 503;
}

/* ---- The worker ---- */

static void check_alive(const char *what, long number)
{
    int status;

    if (stack.worker == 0) {
        fail_msg("the worker has ended in an earlier test");
    }
    status = process_wait(stack.worker, 0);
    if (status >= 0) {
        char *log = read_whole_file(stack.worker_log);
        size_t len = strlen(log);

        fprintf(stderr, "%s\n", len > 4000 ? log + len - 4000 : log);
        free(log);
        stack.worker = 0;
        fail_msg("%s, allocation %ld: the worker has ended with %d", what, number, status);
    }
}

static enum fastcgi_end ask(const struct trial *trial, long number, struct http_response *response)
{
    char body[STORED_MAX];
    const struct fastcgi_request request = {
        .verb = trial->verb,
        .path = trial->path,
        .authorization = trial->authorization,
        .body = trial->body == NULL ? NULL : body,
        .variables = {"CONTENT_TYPE", trial->is_form ? FORM_TYPE : "application/json"},
    };

    if (trial->body != NULL) {
        write_body(trial->body, trial, number, body, sizeof body);
    }
    check_alive(trial->name, number);
    return fastcgi_exchange(&stack, &request, response);
}

/* Sends it until it is answered as it should be: behind a failure, the worker may have to connect first. */
static void ask_undisturbed(const struct trial *trial, long number)
{
    int64_t limit_ms = clock_now_ms() + RECOVERY_MS;
    int status = 0;

    while (status != trial->status) {
        struct http_response response;

        ask(trial, number, &response);
        status = response.status;
        if (status != trial->status && clock_now_ms() > limit_ms) {
            fail_msg("%s, allocation %ld: undisturbed requests are answered %d %s", trial->name, number,
                     status, response.body);
        }
        http_response_free(&response);
    }
}

/* An incident that is the same each time. */
static void await_service(void)
{
    static const struct trial rest = {
        .name = "rest", .path = "incidents.upsert", .body = full_body, .status = 200};

    ask_undisturbed(&rest, 0);
}

/* How many blocks the worker has while nothing goes on: a response is out before all of its request is freed.
 */
static long blocks_at_rest(void)
{
    long seen = atomic_load(&scarcity.shared->live);

    for (int quiet = 0; quiet < 5;) {
        long now;

        clock_sleep_ms(1);
        now = atomic_load(&scarcity.shared->live);
        quiet = now == seen ? quiet + 1 : 0;
        seen = now;
    }
    return seen;
}

static void end_sessions(void)
{
    stack_query(&stack, "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE usename = "
                        "'incidents_fcgi'");
}

/* Sends undisturbed requests until the worker has no more blocks than it had. A few are needed: each
 * connection to the database keeps some; on one where the statement could not be prepared, libpq keeps
 * more. */
static void check_no_leak(const char *what, long number)
{
    long after = 0;

    for (int i = 0; i < 20; i++) {
        if (i == 5) {
            end_sessions();
        }
        await_service();
        after = blocks_at_rest();
        if (after <= blocks_of_worker) {
            return;
        }
    }
    fail_msg("%s, allocation %ld: %ld blocks before, %ld after", what, number, blocks_of_worker, after);
}

/* Several requests at once: what they need together, the worker may keep. */
static void keep_busy(struct load_client *client)
{
    const struct fastcgi_request request = {.verb = "GET", .path = "readyz"};

    for (int i = 0; i < 100; i++) {
        struct http_response response;

        fastcgi_exchange(client->stack, &request, &response);
        if (response.status != 200 &&
            response.status != 503) { /* a busy machine may take longer than it may */
            load_fail(client, "readyz: %d %s", response.status, response.body);
        }
        http_response_free(&response);
    }
}

static void start_worker(void)
{
    const char *settings[] = {"INCIDENTS_DB_POOL_SIZE=1",
                              "INCIDENTS_REQUEST_TIMEOUT_MS=400",
                              "INCIDENTS_METRICS_TOKEN=" METRICS_TOKEN,
                              scarcity.environment[0],
                              scarcity.environment[1],
                              scarcity.environment[2],
                              scarcity.environment[3],
                              scarcity.environment[4],
                              NULL};

    scarcity_end(&scarcity);
    stack_start_worker(&stack, settings);
    load_run(&stack, 8, keep_busy, NULL);
    await_service();
    blocks_of_worker = blocks_at_rest();
}

static void prepare(const struct trial *trial, long number)
{
    if (trial->before != NULL) {
        const struct trial before = {
            .name = trial->name, .path = "incidents.upsert", .body = trial->before, .status = 200};

        ask_undisturbed(&before, number);
    }
    if (trial->is_apart) {
        end_sessions();
    }
}

/* Number 0: undisturbed. */
static void learn(const struct trial *trial, struct truth *truth)
{
    prepare(trial, 0);
    snprintf(truth->before, sizeof truth->before, "%s", stored(trial, 0));
    ask_undisturbed(trial, 0);
    snprintf(truth->after, sizeof truth->after, "%s", stored(trial, 0));
}

/* Sends one request, its n-th allocation refused, or that one and all after it. False where it needed none so
 * late. */
static bool refuse_one(const struct trial *trial, long number, long many, const struct truth *truth,
                       struct tally *tally)
{
    struct http_response response;
    int64_t before_ms, took_ms;
    long refused;

    prepare(trial, number);
    before_ms = clock_now_ms();
    scarcity_refuse_allocations(&scarcity, number, many);
    ask(trial, number, &response);
    took_ms = clock_now_ms() - before_ms;
    refused = atomic_load(&scarcity.shared->allocations.refused);
    scarcity_end(&scarcity);
    tally->failures += refused;
    tally->slowest_ms = took_ms > tally->slowest_ms ? took_ms : tally->slowest_ms;
    check_alive(trial->name, number);
    check_response(trial, number, &response, tally);
    check_no_leak(trial->name, number);
    if (is_stored_by(trial)) {
        check_stored(trial, number, truth, response.status);
    }
    http_response_free(&response);
    return refused > 0;
}

static void figures(const char *name, long numbers, const struct tally *tally)
{
    figures_row("%s|%ld|%ld|%ld|%ld|%ld|%ld|%lld", name, numbers, tally->failures, tally->succeeded,
                tally->refused, tally->unavailable, tally->no_response, (long long)tally->slowest_ms);
}

/* One of refuse_one and its sibling for plain CGI. */
typedef bool refuse_function(const struct trial *trial, long number, long many, const struct truth *truth,
                             struct tally *tally);

/* With each allocation refused in turn, from one to the next by `step`, until a request needs none so late.
 * Returns how many requests were answered 500. */
static long refuse_each(const struct trial *trial, refuse_function *refuse, const char *how, long many,
                        long step)
{
    static struct truth truth;
    struct tally tally = {0};
    long tried = 0, number = 1;
    char name[64];

    learn(trial, &truth);
    while (refuse(trial, number, many, &truth, &tally)) {
        number += step;
        tried++;
        assert_true(number < ALLOCATIONS_MAX);
    }
    assert_true(tried > 0);
    snprintf(name, sizeof name, "%s%s%s", trial->name, how, many == 1 ? "" : ", all from the n-th on");
    figures(name, tried, &tally);
    return tally.refused;
}

static void a_request_to_the_worker_survives_each_allocation_refused(void **state)
{
    assert_true(atomic_load(&scarcity.shared->libfcgi) > 0); /* at the start: it is known which are its own */
    scarcity_refuse_allocations(&scarcity, 0, 0);            /* counts anew */
    await_service();
    assert_int_equal(atomic_load(&scarcity.shared->libfcgi), 0); /* a request asks for none */
    for (size_t i = 0; i < TRIALS; i++) {
        refuse_each(&trials[i], refuse_one, "", 1, stress_amount(17, 1));
    }
}

/* Of the request that needs least, every number is tried: where there is memory to take a request, and none
 * to answer it, it is answered 500. */
static void a_request_to_the_worker_survives_all_memory_gone(void **state)
{
    for (size_t i = 0; i < TRIALS; i++) {
        bool needs_least = strcmp(trials[i].name, "healthz") == 0;
        long refused =
            refuse_each(&trials[i], refuse_one, "", LONG_MAX, needs_least ? 1 : stress_amount(83, 5));

        assert_true(!needs_least || refused > 0);
    }
}

/* The last kilobytes: so many more and none beyond. */
static void the_worker_survives_whatever_little_memory_is_left(void **state)
{
    enum { LEFT_MAX = 64 * 1024 };
    static struct truth truth;
    const struct trial *trial = &trials[0];
    const long step = stress_amount(4096, 64);
    struct tally tally = {0};

    learn(trial, &truth);
    for (long left = 0; left <= LEFT_MAX; left += step) {
        struct http_response response;

        blocks_at_rest();
        scarcity_limit_bytes(&scarcity, left);
        ask(trial, left, &response);
        scarcity_end(&scarcity);
        check_alive("bytes left", left);
        check_response(trial, left, &response, &tally);
        http_response_free(&response);
        check_no_leak("bytes left", left);
        check_stored(trial, left, &truth, response.status);
    }
    figures("upsert, 0 to 64 KiB left", LEFT_MAX / step + 1, &tally);
    assert_true(tally.no_response > 0 && tally.refused > 0 && tally.succeeded > 0);
}

/* ---- Plain CGI ---- */

/* Runs the program for one request, as refuse_one does it. It must end by itself, with a response; with 0, or
 * where it could not even begin, with another status and a response of 500. What went wrong is in the log. */
static bool refuse_one_as_cgi(const struct trial *trial, long number, long many, const struct truth *truth,
                              struct tally *tally)
{
    char body[STORED_MAX];
    const struct call call = {
        .verb = trial->verb,
        .path = trial->path,
        .authorization = trial->authorization,
        .body = trial->body == NULL ? NULL : body,
        .headers = {trial->is_form ? "Content-Type: " FORM_TYPE : NULL},
    };
    const struct outcome *outcome;
    /* HOME: where there is none, libpq has the C library look it up, and glibc 2.36 ends the program where it
     * has no memory to read nsswitch.conf. */
    const char *environment[SCARCITY_ENTRIES + 4] = {
        "INCIDENTS_REQUEST_TIMEOUT_MS=400", "INCIDENTS_METRICS_TOKEN=" METRICS_TOKEN, "HOME=/nonexistent"};
    struct http_response response;
    int64_t before_ms;
    long refused;

    memcpy(environment + 3, scarcity.environment, sizeof scarcity.environment);
    prepare(trial, number);
    if (trial->body != NULL) {
        write_body(trial->body, trial, number, body, sizeof body);
    }
    before_ms = clock_now_ms();
    scarcity_refuse_allocations(&scarcity, number, many);
    outcome = http_run_cgi(&stack, &call, environment, &response);
    refused = atomic_load(&scarcity.shared->allocations.refused);
    scarcity_end(&scarcity);
    tally->failures += refused;
    tally->slowest_ms =
        clock_now_ms() - before_ms > tally->slowest_ms ? clock_now_ms() - before_ms : tally->slowest_ms;
    if (outcome->status != EXIT_SUCCESS && outcome->status != EXIT_FAILURE) {
        fail_msg("%s, allocation %ld: the program ended with %d: %s", trial->name, number, outcome->status,
                 outcome->err);
    }
    if (response.status == 0) {
        fail_msg("%s, allocation %ld: no response but '%s', and %s", trial->name, number, outcome->out,
                 outcome->err);
    }
    if (outcome->status == EXIT_FAILURE && response.status != 500) {
        fail_msg("%s, allocation %ld: the program failed and answered %d", trial->name, number,
                 response.status);
    }
    if (response.status != trial->status && strstr(outcome->err, " error ") == NULL) {
        fail_msg("%s, allocation %ld: answered %d, and nothing about it in the log: %s", trial->name, number,
                 response.status, outcome->err);
    }
    check_response(trial, number, &response, tally);
    if (is_stored_by(trial)) {
        check_stored(trial, number, truth, response.status);
    }
    http_response_free(&response);
    return refused > 0;
}

static void plain_cgi_survives_each_allocation_refused(void **state)
{
    for (size_t i = 0; i < TRIALS; i++) {
        if (!trials[i].is_apart) {
            refuse_each(&trials[i], refuse_one_as_cgi, ", as CGI", 1, stress_amount(151, 1));
        }
    }
}

static void plain_cgi_survives_all_memory_gone(void **state)
{
    for (size_t i = 0; i < TRIALS; i++) {
        if (!trials[i].is_apart) {
            refuse_each(&trials[i], refuse_one_as_cgi, ", as CGI", LONG_MAX, stress_amount(293, 7));
        }
    }
}

/* ---- */

static void start_with_scarcity(void)
{
    stack_stop_worker(&stack);
    stack_query(&stack, "GRANT incidents_fcgi TO incidents_owner"); /* who may then end its sessions */
    scarcity_open(&scarcity, &stack);
    start_worker();
    figures_table("Allocations refused in turn",
                  "request|numbers tried|allocations refused|done|500|503|no response|slowest ms");
}

static void stop_scarcity(void)
{
    scarcity_close(&scarcity);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .metrics_token = METRICS_TOKEN, .start = start_with_scarcity, .stop = stop_scarcity};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_request_to_the_worker_survives_each_allocation_refused),
        cmocka_unit_test(a_request_to_the_worker_survives_all_memory_gone),
        cmocka_unit_test(the_worker_survives_whatever_little_memory_is_left),
        cmocka_unit_test(plain_cgi_survives_each_allocation_refused),
        cmocka_unit_test(plain_cgi_survives_all_memory_gone),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
