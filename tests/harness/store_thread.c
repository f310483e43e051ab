/* A store in a thread of its own. */
#include "harness/store_thread.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct submission {
    struct store_op *op;
    void (*done)(void *context);
    void *context;
    struct submission *next;
};

struct store_thread {
    struct loop loop;
    struct store *store;
    bool is_single;
    pthread_t thread;
    int event; /* readable when there is something in the mailbox */
    struct loop_handler handler;
    pthread_mutex_t mutex; /* guards what follows */
    struct submission *first, **last;
    bool stopping;
};

static void read_mailbox(void *context, uint32_t events)
{
    struct store_thread *thread = context;
    struct submission *submission;
    eventfd_t count;

    (void)events;
    pthread_mutex_lock(&thread->mutex);
    eventfd_read(thread->event, &count);
    while ((submission = thread->first) != NULL) {
        thread->first = submission->next;
        store_submit(thread->store, submission->op, submission->done, submission->context);
        free(submission);
    }
    thread->last = &thread->first;
    pthread_mutex_unlock(&thread->mutex);
}

static bool is_stopping(struct store_thread *thread)
{
    bool stopping;

    pthread_mutex_lock(&thread->mutex);
    stopping = thread->stopping && thread->first == NULL;
    pthread_mutex_unlock(&thread->mutex);
    return stopping;
}

static void *run(void *argument)
{
    struct store_thread *thread = argument;

    while (!is_stopping(thread)) {
        loop_run_once(&thread->loop, store_due_ms(thread->store));
        store_run_once(thread->store);
    }
    store_stop(thread->store);
    return NULL;
}

struct store_thread *store_thread_start(const struct settings *settings)
{
    struct store_thread *thread = calloc(1, sizeof *thread);

    if (thread == NULL || !loop_open(&thread->loop)) {
        abort();
    }
    pthread_mutex_init(&thread->mutex, NULL);
    thread->last = &thread->first;
    thread->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    thread->handler = (struct loop_handler){.ready = read_mailbox, .context = thread};
    thread->store = store_start(settings, &thread->loop);
    if (thread->store == NULL || !loop_watch(&thread->loop, thread->event, EPOLLIN, &thread->handler) ||
        pthread_create(&thread->thread, NULL, run, thread) != 0) {
        loop_close(&thread->loop);
        close(thread->event);
        free(thread);
        return NULL;
    }
    return thread;
}

struct store_thread *store_thread_start_single(const struct settings *settings)
{
    struct store_thread *thread = calloc(1, sizeof *thread);

    if (thread == NULL) {
        abort();
    }
    thread->is_single = true;
    thread->store = store_start(settings, NULL);
    return thread;
}

void store_thread_submit(struct store_thread *thread, struct store_op *op, void (*done)(void *context),
                         void *context)
{
    struct submission *submission = malloc(sizeof *submission);

    if (submission == NULL) {
        abort();
    }
    *submission = (struct submission){.op = op, .done = done, .context = context};
    pthread_mutex_lock(&thread->mutex);
    *thread->last = submission;
    thread->last = &submission->next;
    eventfd_write(thread->event, 1);
    pthread_mutex_unlock(&thread->mutex);
}

static void post(void *semaphore)
{
    sem_post(semaphore);
}

void store_thread_apply(struct store_thread *thread, struct store_op *op)
{
    sem_t is_done;

    if (thread->is_single) {
        store_apply(thread->store, op);
        return;
    }
    sem_init(&is_done, 0, 0);
    store_thread_submit(thread, op, post, &is_done);
    while (sem_wait(&is_done) != 0) {
        continue; /* interrupted */
    }
    sem_destroy(&is_done);
}

void store_thread_stop(struct store_thread *thread)
{
    if (thread->is_single) {
        store_stop(thread->store);
        free(thread);
        return;
    }
    pthread_mutex_lock(&thread->mutex);
    thread->stopping = true;
    eventfd_write(thread->event, 1);
    pthread_mutex_unlock(&thread->mutex);
    pthread_join(thread->thread, NULL);
    loop_close(&thread->loop);
    close(thread->event);
    pthread_mutex_destroy(&thread->mutex);
    free(thread);
}
