/* Two hours' worth of requests at 100 a second, 720,000 of all kinds, sent as fast as they are answered,
 * while the worker's memory and descriptors are sampled: they must be flat. In the short form, a few
 * thousand.
 *
 * Flat: the median of the last quarter of the samples is no more than a little above that of the second. The
 * first quarter is for warming up, and so are some requests before the first sample. Large bodies leave room
 * behind, in which a small leak would not be seen for a while, so there are none in the short form. SOAK_DATA
 * names a file for the samples: requests so far, seconds, MiB, descriptors; scripts/soak.gp draws them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/figures.h"
#include "harness/fixture.h"

enum {
    CLIENTS = 8,
    REQUESTS_SHORT = 6000,
    REQUESTS_LONG = 100 * 2 * 3600,
    REQUESTS_WARM = 12000, /* before these: AddressSanitizer of gcc 14 grows for 10,000 */
    SAMPLES = 240,
    BODY_LIMIT = 1024 * 1024,
    LARGE_EVERY = 300,    /* of a client's requests: one near the limit */
    OVERSIZE_EVERY = 800, /* one byte over it */
    VANISH_EVERY = 150,   /* nobody waits for the response */
    MEMORY_MORE_MIB = 1,  /* is flat */
    DESCRIPTORS_MORE = 8, /* too: nginx opens and closes connections */
};

static struct stack stack;

/* The sanitizer keeps what was freed; so little of it that growth would be seen. */
static const char *const settings[] = {
    "ASAN_OPTIONS=quarantine_size_mb=1:thread_local_quarantine_size_kb=64:detect_leaks=1:exitcode=99", NULL};

/* What one client does again and again, to an incident of each round's own: '@' becomes its key. */
struct step {
    const char *verb;
    const char *path;
    const char *body;
    const char *authorization; /* NULL: a good token */
    int status;
    const char *said; /* the response's action, or its error */
};

#define KEY             "\"reference_id\":\"@\",\"started_at\":\"2024-01-01T00:00:00Z\""
#define TWO_SERVICES    "\"services\":[{\"identifier\":\"pay\",\"name\":\"Payments\"},{\"identifier\":\"web\"}]"
#define ANOTHER_SERVICE "\"services\":[{\"identifier\":\"se\\u0061rch\",\"name\":\"Search \\u00e9\"}]"
#define METADATA        "\"metadata\":{\"cause\":{\"kind\":\"deploy\",\"steps\":[1,2,3]},\"cost\":1.10}"

static const struct step steps[] = {
    {"POST", "incidents.upsert", "{" KEY ",\"name\":\"first\"," TWO_SERVICES "," METADATA "}", NULL, 200,
     "created"},
    {"POST", "incidents.upsert", "{" KEY ",\"name\":\"second\"}", NULL, 200, "updated"},
    {"POST", "incidents.upsert", "{" KEY ",\"name\":\"second\"}", NULL, 200, "unchanged"},
    {"POST", "incidents.upsert", "{" KEY "," ANOTHER_SERVICE "}", NULL, 200, "updated"},
    {"POST", "incidents.upsert", "{" KEY "," ANOTHER_SERVICE "," METADATA "}", NULL, 200, "unchanged"},
    {"POST", "incidents.sync", "{" KEY ",\"services\":[\"pay\",\"web\",\"search\"]}", NULL, 200, "updated"},
    {"POST", "incidents.upsert", "{" KEY ",\"name\":\"third\"}", "Bearer unknown", 401, "not_authed"},
    {"POST", "incidents.upsert", "{" KEY ",\"name\":\"third\"}", "", 401, "not_authed"},
    {"POST", "incidents.upsert", "{" KEY ",\"name\":", NULL, 422, "invalid_json"},
    {"POST", "incidents.upsert", "{" KEY ",\"resolved_at\":\"yesterday\"}", NULL, 422, "invalid_timestamp"},
    {"POST", "incidents.upsert", "{" KEY ",\"metadata\":{\"a.b\":1}}", NULL, 422, "metadata_invalid"},
    {"GET", "healthz", NULL, "", 200, ""},
    {"GET", "readyz", NULL, "", 200, ""},
    {"GET", "incidents.upsert", NULL, NULL, 405, "method_not_allowed"},
    {"POST", "incidents.upsert", "{" KEY ",\"resolved_at\":\"2024-01-01T01:00:00Z\"}", NULL, 200, "updated"},
    {"POST", "incidents.upsert", "{" KEY ",\"services\":null,\"metadata\":null}", NULL, 200, "updated"},
    {"POST", "incidents.delete", "{\"reference_id\":\"@\"}", NULL, 200, "deleted"},
    {"POST", "incidents.delete", "{\"reference_id\":\"@\"}", NULL, 200, "not_found"},
    {"POST", "incidents.upsert", "{" KEY "," TWO_SERVICES "}", NULL, 200, "created"}, /* and stays */
};

enum { STEPS = sizeof steps / sizeof steps[0] };

struct soak {
    size_t total;
    atomic_size_t sent;
    atomic_size_t vanished, large, oversize;
    atomic_size_t ended; /* clients, whose failures load_join tells */
    const char *filling; /* twice as long as the limit */
    const char *name;    /* begins its incidents' keys */
};

/* ---- Clients ---- */

static void write_body(const struct step *step, const char *key, char *body, size_t size)
{
    const char *at = strchr(step->body, '@');

    snprintf(body, size, "%.*s%s%s", (int)(at - step->body), step->body, key, at + 1);
}

static void take_step(struct load_client *client, const struct step *step, const char *key)
{
    char body[1024];
    const struct call call = {.verb = step->verb,
                              .path = step->path,
                              .body = step->body == NULL ? NULL : body,
                              .authorization = step->authorization};
    struct http_response response;

    if (step->body != NULL) {
        write_body(step, key, body, sizeof body);
    }
    if (load_send(client, &call, step->status, &response) &&
        strcmp(http_response_text(&response, step->status == 200 ? "action" : "error"), step->said) != 0) {
        load_fail(client, "%s %s: should say %s, says %s", step->path, body, step->said, response.body);
    }
    http_response_free(&response);
}

/* A body of that many bytes. */
static void send_large(struct load_client *client, size_t len, int status)
{
    struct soak *soak = client->context;
    char *body = malloc(len + 1);
    const struct call call = {.path = "incidents.upsert", .body = body, .body_len = len};
    struct http_response response;
    size_t used;

    used = (size_t)snprintf(
        body, len, "{\"reference_id\":\"large-%zu\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":\"",
        client->number);
    memcpy(body + used, soak->filling, len - used - 3);
    memcpy(body + len - 3, "\"}}", 4);
    load_send(client, &call, status, &response);
    http_response_free(&response);
    free(body);
}

/* Straight to the worker: a whole request, or half of one, and gone. */
static void vanish(struct load_client *client, size_t number)
{
    const struct fastcgi_request request = {
        .path = "incidents.upsert", .body = "{\"reference_id\":\"vanished\",\"started_at\":\"2024-01-01\"}"};
    int fd = fastcgi_connect(client->stack->worker_socket);
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, client->stack, &request);
    fastcgi_send(fd, bytes.data, number % 2 == 0 ? bytes.len : number % bytes.len);
    buffer_free(&bytes);
    close(fd);
}

/* All at once, so that the worker has been as large as it gets. */
static void warm_up(struct load_client *client)
{
    for (int i = 0; i < 5; i++) {
        send_large(client, BODY_LIMIT, 200);
    }
}

static void send_all_kinds(struct load_client *client)
{
    struct soak *soak = client->context;
    size_t taken = 0; /* steps */
    char key[64];

    for (size_t i = 0; !load_is_stopping(client) && atomic_fetch_add(&soak->sent, 1) < soak->total; i++) {
        if (i % VANISH_EVERY == VANISH_EVERY - 1) {
            vanish(client, i / VANISH_EVERY);
            atomic_fetch_add(&soak->vanished, 1);
        } else if (stress_is_long() && i % LARGE_EVERY == LARGE_EVERY - 2) {
            send_large(client, BODY_LIMIT - i % 1000, 200);
            atomic_fetch_add(&soak->large, 1);
        } else if (stress_is_long() && i % OVERSIZE_EVERY == OVERSIZE_EVERY - 3) {
            send_large(client, BODY_LIMIT + 1, 413);
            atomic_fetch_add(&soak->oversize, 1);
        } else {
            snprintf(key, sizeof key, "%s-%zu-%zu", soak->name, client->number, taken / STEPS);
            take_step(client, &steps[taken++ % STEPS], key);
        }
    }
    atomic_fetch_add(&soak->ended, 1);
}

/* ---- Samples ---- */

struct sample {
    size_t requests;
    double seconds, memory;
    size_t descriptors;
};

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

/* The median of a quarter of the samples, 0 to 3. */
static struct sample median(const struct sample *samples, size_t quarter)
{
    enum { COUNT = SAMPLES / 4 };
    double memory[COUNT], descriptors[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        memory[i] = samples[quarter * COUNT + i].memory;
        descriptors[i] = (double)samples[quarter * COUNT + i].descriptors;
    }
    qsort(memory, COUNT, sizeof memory[0], compare);
    qsort(descriptors, COUNT, sizeof descriptors[0], compare);
    return (struct sample){.memory = memory[COUNT / 2], .descriptors = (size_t)descriptors[COUNT / 2]};
}

static void write_samples(const struct sample *samples)
{
    const char *path = getenv("SOAK_DATA");
    FILE *file = path == NULL ? NULL : fopen(path, "we");

    if (file == NULL) {
        return;
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        fprintf(file, "%zu %.1f %.2f %zu\n", samples[i].requests, samples[i].seconds, samples[i].memory,
                samples[i].descriptors);
    }
    fclose(file);
}

static void take_samples(const struct soak *soak, struct sample *samples)
{
    int64_t started_ms = clock_now_ms();

    for (size_t i = 0; i < SAMPLES; i++) {
        size_t sent;

        while ((sent = atomic_load(&soak->sent)) < soak->total * (i + 1) / SAMPLES &&
               atomic_load(&soak->ended) < CLIENTS) {
            clock_sleep_ms(2);
        }
        samples[i] = (struct sample){.requests = sent < soak->total ? sent : soak->total,
                                     .seconds = (double)(clock_now_ms() - started_ms) / 1000,
                                     .memory = worker_memory(&stack),
                                     .descriptors = worker_descriptors(&stack)};
    }
}

static void two_hours_of_requests_leave_the_worker_as_large_as_it_was(void **state)
{
    static struct sample samples[SAMPLES];
    struct soak warm = {.total = REQUESTS_WARM, .name = "warm"};
    struct soak soak = {.total = (size_t)stress_amount(REQUESTS_SHORT, REQUESTS_LONG), .name = "soak"};
    char *filling = malloc(2 * BODY_LIMIT);
    struct sample second, last;
    struct load *load;
    double took_s;

    memset(filling, 'x', 2 * BODY_LIMIT);
    warm.filling = soak.filling = filling;
    load_run(&stack, CLIENTS, send_all_kinds, &warm);
    if (stress_is_long()) {
        load_run(&stack, CLIENTS, warm_up, &soak);
    }
    load = load_start(&stack, CLIENTS, send_all_kinds, &soak);
    take_samples(&soak, samples);
    load_join(load);
    free(filling);
    write_samples(samples);
    took_s = samples[SAMPLES - 1].seconds;
    second = median(samples, 1);
    last = median(samples, 3);
    figures_table("Soak",
                  "requests|of them near 1 MiB|over 1 MiB|by clients that vanish|took|a second|memory in "
                  "the 2nd quarter|in the last|descriptors in the 2nd quarter|in the last");
    figures_row("%zu|%zu|%zu|%zu|%.0f s|%.0f|%.1f MiB|%.1f MiB|%zu|%zu", soak.total, (size_t)soak.large,
                (size_t)soak.oversize, (size_t)soak.vanished, took_s, (double)soak.total / took_s,
                second.memory, last.memory, second.descriptors, last.descriptors);
    if (last.memory > second.memory + MEMORY_MORE_MIB) {
        fail_msg("the worker has grown from %.1f to %.1f MiB", second.memory, last.memory);
    }
    if (last.descriptors > second.descriptors + DESCRIPTORS_MORE) {
        fail_msg("the worker's descriptors have grown from %zu to %zu", second.descriptors, last.descriptors);
    }
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .settings = settings};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(two_hours_of_requests_leave_the_worker_as_large_as_it_was),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
