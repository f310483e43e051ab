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
#include "harness/crowd.h"

enum { FAILURE_MAX = 1024, SHOWN_MAX = 5 };

struct slot {
    struct crowd_member member;
    pthread_t thread;
    crowd_work *work;
    char failure[FAILURE_MAX]; /* its own thread's until that is joined */
};

struct crowd {
    struct crowd *next; /* of those that run */
    size_t count;
    atomic_bool stopping;
    pthread_barrier_t start;
    struct slot slots[CROWD_MAX];
};

static struct crowd *running; /* the main thread's */

static struct slot *slot_of(struct crowd_member *member)
{
    return &member->crowd->slots[member->number];
}

void crowd_fail(struct crowd_member *member, const char *format, ...)
{
    struct slot *slot = slot_of(member);
    va_list arguments;

    if (slot->failure[0] == '\0') {
        va_start(arguments, format);
        (void)vsnprintf(slot->failure, sizeof slot->failure, format, arguments);
        va_end(arguments);
    }
    atomic_store(&member->crowd->stopping, true);
}

bool crowd_is_stopping(const struct crowd_member *member)
{
    return atomic_load(&member->crowd->stopping);
}

bool crowd_send(struct crowd_member *member, const struct call *call, int expected_status,
                struct answer *answer)
{
    http_through_nginx(member->site, call, answer);
    if (answer->status != expected_status) {
        crowd_fail(member, "%s should be answered %d, was answered %d: %s (the body was %.200s)", call->path,
                   expected_status, answer->status, answer->body, call->body == NULL ? "" : call->body);
        return false;
    }
    return true;
}

static void *run(void *argument)
{
    struct slot *slot = argument;

    (void)pthread_barrier_wait(&slot->member.crowd->start);
    slot->work(&slot->member);
    http_close();
    return NULL;
}

struct crowd *crowd_start(struct site *site, size_t count, crowd_work *work, void *context)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);

    assert_non_null(crowd);
    assert_between(count, 1, CROWD_MAX);
    crowd->count = count;
    assert_int_equal(pthread_barrier_init(&crowd->start, NULL, (unsigned)count), 0);
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = &crowd->slots[i];

        slot->member = (struct crowd_member){.crowd = crowd, .site = site, .context = context, .number = i};
        slot->work = work;
        assert_int_equal(pthread_create(&slot->thread, NULL, run, slot), 0);
    }
    crowd->next = running;
    running = crowd;
    return crowd;
}

void crowd_stop(struct crowd *crowd)
{
    atomic_store(&crowd->stopping, true);
}

static void take_from_running(const struct crowd *crowd)
{
    struct crowd **link = &running;

    while (*link != NULL && *link != crowd) {
        link = &(*link)->next;
    }
    if (*link != NULL) {
        *link = crowd->next;
    }
}

/* Joins the threads, shows what failed, frees the crowd; returns how many failed. */
static size_t finish(struct crowd *crowd)
{
    size_t failed = 0;

    for (size_t i = 0; i < crowd->count; i++) {
        (void)pthread_join(crowd->slots[i].thread, NULL);
    }
    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->slots[i].failure[0] != '\0' && failed++ < SHOWN_MAX) {
            (void)fprintf(stderr, "client %zu: %s\n", i, crowd->slots[i].failure);
        }
    }
    take_from_running(crowd);
    (void)pthread_barrier_destroy(&crowd->start);
    free(crowd);
    return failed;
}

void crowd_join(struct crowd *crowd)
{
    size_t count = crowd->count, failed = finish(crowd);

    if (failed > 0) {
        fail_msg("%zu of %zu clients failed; the first ones are shown above", failed, count);
    }
}

void crowd_run(struct site *site, size_t count, crowd_work *work, void *context)
{
    crowd_join(crowd_start(site, count, work, context));
}

void crowd_abandon_all(void)
{
    while (running != NULL) {
        crowd_stop(running);
        (void)finish(running);
    }
}
