/* Good clients who go on while something happens beside them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/figures.h"

enum {
    ANSWERS_MAX = 200000,
    PAUSE_MS = 5,
    GOOD_CLIENTS = 4,
    TO_POSTGRES = 2,     /* connections that the worker may open meanwhile */
    SLOWEST_MS = 20000,  /* of a good client's answers: generous, for sanitizers on a busy machine */
    GROWTH_MAX_MIB = 48, /* of the worker in the long form: sanitizers keep for a while what was freed */
    SETTLE_MS = 20000,
};

struct background_load {
    struct stack *stack;
    struct load *load;
    bool straight;
    char name[32];
    atomic_size_t sent;
    double took_ms[ANSWERS_MAX];
};

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void send_one(struct load_client *client, size_t number)
{
    struct background_load *background = client->context;
    char body[160], reference_id[64];
    const struct call call = {.path = "incidents.upsert", .body = body};
    const struct fastcgi_request request = {.path = "incidents.upsert", .body = body};
    struct http_response response;
    double before;

    snprintf(reference_id, sizeof reference_id, "%s-%zu", background->name, number);
    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    before = now_ms();
    if (background->straight) {
        fastcgi_exchange(client->stack, &request, &response);
    } else {
        http_through_nginx(client->stack, &call, &response);
    }
    background->took_ms[number] = now_ms() - before;
    if (response.status != 200 || strcmp(http_response_text(&response, "reference_id"), reference_id) != 0) {
        load_fail(client, "%s was answered %d %s", reference_id, response.status, response.body);
    }
    http_response_free(&response);
}

/* Each sends one at least, however soon it is over. */
static void go_on(struct load_client *client)
{
    struct background_load *background = client->context;

    do {
        size_t number = atomic_fetch_add(&background->sent, 1);

        if (number >= ANSWERS_MAX) {
            load_fail(client, "there is no room for so many responses");
            return;
        }
        send_one(client, number);
        clock_sleep_ms(PAUSE_MS);
    } while (!load_is_stopping(client));
}

struct background_load *background_load_start(struct stack *stack, size_t count, bool straight,
                                              const char *name)
{
    struct background_load *background = calloc(1, sizeof *background);

    assert_non_null(background);
    background->stack = stack;
    background->straight = straight;
    snprintf(background->name, sizeof background->name, "%s", name);
    background->load = load_start(stack, count, go_on, background);
    return background;
}

static int compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

void background_load_stop(struct background_load *background, struct background_load_figures *figures)
{
    char pattern[48];
    size_t responses, stored;

    load_stop(background->load);
    load_join(background->load);
    responses = background->sent;
    assert_true(responses > 0);
    qsort(background->took_ms, responses, sizeof background->took_ms[0], compare);
    *figures = (struct background_load_figures){
        .responses = responses,
        .p50_ms = background->took_ms[responses / 2],
        .p99_ms = background->took_ms[responses * 99 / 100],
        .slowest_ms = background->took_ms[responses - 1],
    };
    snprintf(pattern, sizeof pattern, "%s-%%", background->name);
    stored =
        strtoul(stack_query_for(background->stack,
                                "SELECT count(*) FROM intake.incident WHERE reference_id LIKE $1", pattern),
                NULL, 10);
    if (stored != responses) {
        fail_msg("%zu answers of 200, and %zu incidents are stored", responses, stored);
    }
    free(background);
}

long worker_memory_kib(const struct stack *stack, const char *figure)
{
    char path[64], *status, *line;
    long kib;

    snprintf(path, sizeof path, "/proc/%d/status", (int)stack->worker);
    status = read_whole_file(path);
    line = strstr(status, figure);
    assert_non_null(line);
    kib = strtol(line + strlen(figure), NULL, 10);
    free(status);
    assert_true(kib > 0);
    return kib;
}

double worker_memory(const struct stack *stack)
{
    return (double)worker_memory_kib(stack, "VmRSS:") / 1024;
}

size_t worker_descriptors(const struct stack *stack)
{
    char path[64];
    size_t count = 0;
    DIR *directory;

    snprintf(path, sizeof path, "/proc/%d/fd", (int)stack->worker);
    directory = opendir(path);
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count - 2; /* itself and its parent */
}

long worker_cpu_ms(const struct stack *stack)
{
    char path[64], *text, *at;
    unsigned long user = 0, system = 0;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)stack->worker);
    text = read_whole_file(path);
    at = strrchr(text, ')'); /* behind the program's name; proc(5): utime and stime are fields 14 and 15 */
    assert_non_null(at);
    for (int field = 2; field < 14; field++) {
        at = strchr(at + 1, ' ');
        assert_non_null(at);
    }
    user = strtoul(at, &at, 10);
    system = strtoul(at, NULL, 10);
    free(text);
    return (long)((user + system) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK));
}

/* ---- Attacks ---- */

static void check_the_worker_serves(const struct attack *attack)
{
    const struct fastcgi_request request = {.path = "incidents.delete",
                                            .body = "{\"reference_id\":\"none\"}"};
    struct http_response response;

    if (process_wait(attack->stack->worker, 0) >= 0) {
        attack->stack->worker = 0;
        fail_msg("%s: the worker has ended, see %s", attack->what, attack->stack->worker_log);
    }
    if (fastcgi_exchange(attack->stack, &request, &response) != FASTCGI_ANSWERED || response.status != 200) {
        fail_msg("%s: the worker does not serve any more: %d %s", attack->what, response.status,
                 response.body);
    }
    http_response_free(&response);
}

/* Waits until the worker has noticed which connections are closed. Those of a web server may stay. */
static size_t settled_descriptors(const struct attack *attack)
{
    int64_t deadline_ms = clock_now_ms() + SETTLE_MS;

    while (attack->straight && worker_descriptors(attack->stack) > attack->descriptors &&
           clock_now_ms() < deadline_ms) {
        clock_sleep_ms(20);
    }
    return worker_descriptors(attack->stack);
}

void attack_table(const char *heading)
{
    figures_table(heading, "attack|how many|refused or given up|good responses|p50 ms|p99 ms|slowest ms|"
                           "worker alive|its memory|its descriptors");
}

void attack_begin(struct attack *attack, struct stack *stack, const char *what, size_t many, bool straight)
{
    static int number;
    char name[32];

    *attack = (struct attack){.stack = stack, .what = what, .many = many, .straight = straight};
    check_the_worker_serves(attack);
    attack->memory = worker_memory(stack);
    attack->descriptors = worker_descriptors(stack);
    snprintf(name, sizeof name, "beside%d", ++number);
    attack->background = background_load_start(stack, GOOD_CLIENTS, straight, name);
}

void attack_end(struct attack *attack, size_t refused)
{
    struct background_load_figures figures;
    size_t descriptors;
    double growth;

    background_load_stop(attack->background, &figures);
    check_the_worker_serves(attack);
    descriptors = settled_descriptors(attack);
    growth = worker_memory(attack->stack) - attack->memory;
    figures_row("%s|%zu|%zu|%zu|%.1f|%.1f|%.1f|yes|%+.1f MiB|%+d", attack->what, attack->many, refused,
                figures.responses, figures.p50_ms, figures.p99_ms, figures.slowest_ms, growth,
                (int)descriptors - (int)attack->descriptors);
    if (figures.slowest_ms > SLOWEST_MS) {
        fail_msg("%s: a good client waited %.0f ms", attack->what, figures.slowest_ms);
    }
    if (attack->straight && descriptors > attack->descriptors + TO_POSTGRES) {
        fail_msg("%s: %zu descriptors before, %zu after", attack->what, attack->descriptors, descriptors);
    }
    if (stress_is_long() && growth > GROWTH_MAX_MIB) {
        fail_msg("%s: the worker has grown by %.1f MiB", attack->what, growth);
    }
}

void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}
