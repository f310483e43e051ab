/* Upserts that are sent to a store without a worker, each from a thread of its own. They are made to gather
 * by a gate: an incident whose row a trigger holds back until the test opens the gate of its name. Each row
 * that passes is noted in test.passed. */
#ifndef INCIDENTS_TESTS_STORE_REQUESTS_H
#define INCIDENTS_TESTS_STORE_REQUESTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "harness/fixture.h"
#include "harness/store_thread.h"

/* SANITY_MS: no wait for what would not have come ends within it, and no busy machine takes so long. */
enum { STORE_REQUESTS_MAX = 128, GATE_TIMEOUT_MS = 20000, SANITY_MS = 30000 };

/* An upsert on its way, in a thread of its own. Behind await_outcome op has its outcome. */
struct store_request {
    struct store_thread *store;
    struct incident incident;
    struct store_op op;
    char body[256];
    int64_t took_ms;
    pthread_t thread;
    atomic_bool is_done;
    bool is_joined;
};

/* Those that were sent since the last forget_all. */
extern struct store_request sent_requests[STORE_REQUESTS_MAX];
extern size_t sent_count;

/* Runs the cases on a stack without a worker. What a failed case has left is stopped behind it. */
int store_requests_run(struct stack *of, const struct CMUnitTest cases[], size_t count);

/* ---- Stores ---- */

/* With so many connections, and limits that no case reaches by itself. */
struct settings settings_for(int connections);

/* Starts a store by store_thread_start or its sibling; stop_store stops it, else the end of the case. */
struct store_thread *start_store(struct store_thread *(*start)(const struct settings *),
                                 const struct settings *settings);
void stop_store(struct store_thread *store);

/* By store_thread_start, with settings_for so many connections. */
struct store_thread *start_store_with(int connections);

/* A store with one connection, on which an upsert of gate0 is under way that the closed gate holds back. */
struct store_thread *start_behind_gate(const struct settings *settings);

/* Leads the log to a file, whose path is written there, and back. stop_logging returns what was logged, to be
 * freed. */
void start_logging(char *path, size_t size);
char *stop_logging(const char *path);

/* ---- Requests ---- */

/* Sets a request up that is not sent. */
void encode_request(struct store_request *request, const char *id, const char *name);

/* Sends an upsert without waiting for its outcome. */
struct store_request *send_upsert(struct store_thread *store, const char *id, const char *name);

/* The same with a name of 2.5 MiB. The body is for the caller to free, behind await_outcome. */
struct store_request *send_large(struct store_thread *store, const char *id, struct buffer *body);

/* The same for incidents prefix0, prefix1, ... */
void send_upserts(struct store_thread *store, const char *prefix, size_t count);

/* As send_upsert and send_upserts, while all connections are held back, so that the new requests wait behind
 * those that do. */
struct store_request *queue_upsert(struct store_thread *store, const char *id, const char *name);
void queue_upserts(struct store_thread *store, const char *prefix, size_t count);

/* Waits for the outcome; which it is. */
enum op_outcome await_outcome(struct store_request *request);
void await_all(void);

/* Fails the test if one of those that were sent has another outcome. exception may be NULL. */
void check_all_but(const struct store_request *exception, enum op_outcome expected);

/* Frees the requests. Their outcomes are gone then. */
void forget_all(void);

/* ---- Gates and the database ---- */

void close_gate(const char *gate);
void open_gate(const char *gate);

/* Waits until that many requests wait for others to come back. */
void await_queue(int64_t length);

/* Waits until the statement's first value is that one. */
void await_result(const char *sql, const char *expected);

/* Waits until that many of the store's connections are in the middle of something. */
void await_busy(const char *count);

/* The same of all that was sent: none waits. A session may be busy a time before the store has said that
 * what it was sent waits no longer. */
void await_under_way(const char *count);

/* Waits until the store has none. */
void await_no_connection(void);

/* How many transactions, and how many incidents with their service, of a name that begins so. */
const char *count_transactions(const char *prefix);
const char *count_stored(const char *prefix);

#endif
