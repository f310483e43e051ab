/* Several clients at once, each a thread; what goes wrong in one is kept and fails the test from the main
 * thread. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cases/between.h"
#include "harness/load.h"

enum { FAILURE_MAX = 1024, SHOWN_MAX = 5 };

struct slot {
    struct load_client client;
    pthread_t thread;
    load_work *work;
    char failure[FAILURE_MAX]; /* its own thread's until that is joined */
};

struct load {
    struct load *next; /* of those that run */
    size_t count;
    atomic_bool stopping;
    pthread_barrier_t start;
    struct slot slots[LOAD_CLIENTS_MAX];
};

static struct load *running; /* the main thread's */

static struct slot *slot_of(struct load_client *client)
{
    return &client->load->slots[client->number];
}

void load_fail(struct load_client *client, const char *format, ...)
{
    struct slot *slot = slot_of(client);
    va_list arguments;

    if (slot->failure[0] == '\0') {
        va_start(arguments, format);
        vsnprintf(slot->failure, sizeof slot->failure, format, arguments);
        va_end(arguments);
    }
    atomic_store(&client->load->stopping, true);
}

bool load_is_stopping(const struct load_client *client)
{
    return atomic_load(&client->load->stopping);
}

bool load_send(struct load_client *client, const struct call *call, int expected_status,
               struct http_response *response)
{
    http_through_nginx(client->stack, call, response);
    if (response->status != expected_status) {
        load_fail(client, "%s should be answered %d, was answered %d: %s (the body was %.200s)", call->path,
                  expected_status, response->status, response->body, call->body == NULL ? "" : call->body);
        return false;
    }
    return true;
}

static void *run(void *argument)
{
    struct slot *slot = argument;

    pthread_barrier_wait(&slot->client.load->start);
    slot->work(&slot->client);
    http_close();
    return NULL;
}

struct load *load_start(struct stack *stack, size_t count, load_work *work, void *context)
{
    struct load *load = calloc(1, sizeof *load);

    assert_non_null(load);
    assert_between(count, 1, LOAD_CLIENTS_MAX);
    load->count = count;
    assert_int_equal(pthread_barrier_init(&load->start, NULL, (unsigned)count), 0);
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &load->slots[i];

        slot->client = (struct load_client){.load = load, .stack = stack, .context = context, .number = i};
        slot->work = work;
        assert_int_equal(pthread_create(&slot->thread, NULL, run, slot), 0);
    }
    load->next = running;
    running = load;
    return load;
}

void load_stop(struct load *load)
{
    atomic_store(&load->stopping, true);
}

static void take_from_running(const struct load *load)
{
    struct load **link = &running;

    while (*link != NULL && *link != load) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = load->next;
    }
}

/* Joins the threads, shows what failed, frees the load; returns how many failed. */
static size_t finish(struct load *load)
{
    size_t failed = 0;

    for (size_t i = 0; i < load->count; i++) {
        pthread_join(load->slots[i].thread, NULL);
    }
    for (size_t i = 0; i < load->count; i++) {
        if (load->slots[i].failure[0] != '\0' && failed++ < SHOWN_MAX) {
            fprintf(stderr, "client %zu: %s\n", i, load->slots[i].failure);
        }
    }
    take_from_running(load);
    pthread_barrier_destroy(&load->start);
    free(load);
    return failed;
}

void load_join(struct load *load)
{
    size_t count = load->count, failed = finish(load);

    if (failed > 0) {
        fail_msg("%zu of %zu clients failed; the first ones are shown above", failed, count);
    }
}

void load_run(struct stack *stack, size_t count, load_work *work, void *context)
{
    load_join(load_start(stack, count, work, context));
}

void load_abandon_all(void)
{
    while (running != NULL) {
        load_stop(running);
        finish(running);
    }
}
