/* One operation on the database: its record, as intake.apply_batch reads it, and its outcome. */
#ifndef INCIDENTS_STORE_OP_H
#define INCIDENTS_STORE_OP_H

#include <stdint.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "base/error.h"
#include "model/incident.h"

/* What a token may do. */
enum scope { SCOPE_UPSERT, SCOPE_DELETE };

/* What intake.apply_batch returned for the operation, or why it did not. */
enum op_outcome {
    OP_PENDING,
    OP_CREATED,
    OP_UPDATED,
    OP_UNCHANGED,
    OP_DELETED,
    OP_NOT_FOUND,
    OP_AUTHORIZED,
    OP_READY,
    OP_NOT_AUTHED,
    OP_NOT_PERMITTED,
    OP_UNAVAILABLE,   /* not stored, or not known to be: sending it again is safe */
    OP_INVALID_VALUE, /* the database refused a value of it */
    OP_FAILED,        /* a defect, logged where it happened */
};

/* Why an operation is OP_UNAVAILABLE or OP_INVALID_VALUE. */
enum op_reason {
    REASON_NONE,         /* unavailable: the database cannot be reached in time; invalid value: unknown */
    REASON_LOGIN,        /* the database refuses the login */
    REASON_PRIVILEGE,    /* the role lacks a privilege */
    REASON_SCHEMA,       /* the schema is not the one that this build needs */
    REASON_WRITE_FAILED, /* the database cannot write: disk full, a sequence behind its table */
    REASON_QUEUE_FULL,   /* too many operations, or bytes of them, wait for the database */
    REASON_SIZE,         /* more than a jsonb can hold */
};

enum { TOKEN_HASH_HEX = 65, TOKEN_LABEL_MAX = 64, ORPHANED_ATTEMPTS_MAX = 8 };

/* The queue's. */
struct queue_entry {
    TAILQ_ENTRY(store_op) link;     /* of all, in order of arrival */
    TAILQ_ENTRY(store_op) same_key; /* of those in the same bucket of the hash table */
    uint64_t key;                   /* of the reference_id; 0 if there is none */
    int64_t since_ms;               /* when it began to wait */
    int64_t not_before_ms;
    bool is_sent;
    bool must_run_alone;
};

struct store_op {
    const char *reference_id; /* borrowed; NULL if it has none */
    const char *request_id;   /* borrowed, for the log; NULL if it is no request's */
    struct buffer record;     /* an element of apply_batch's array: an intake.operation in binary */
    int64_t deadline_ms;      /* of clock_now_ms() */
    enum op_outcome outcome;
    enum op_reason reason;
    int64_t queue_ms;                  /* how long it waited for a connection, between attempts too, */
    int64_t database_ms;               /* and how long its batches took */
    char token_label[TOKEN_LABEL_MAX]; /* empty if the token is unknown; cut between characters */

    /* The store's: */
    void (*done)(void *context);
    void *context;
    struct queue_entry entry;
    int attempts;
    int64_t orphaned[ORPHANED_ATTEMPTS_MAX]; /* attempts that the database may still execute */
    size_t orphaned_count;
};

/* Each sets the operation up and encodes it; false when out of memory. token_hash is the hexadecimal SHA-256
 * of the bearer token. The incident must outlive the operation. Call op_free in either case. */
bool op_upsert(struct store_op *op, const char *token_hash, const struct incident *incident);
bool op_delete(struct store_op *op, const char *token_hash, const struct incident *incident);
bool op_authorize(struct store_op *op, const char *token_hash, enum scope scope);
bool op_ping(struct store_op *op);

/* Makes it ready for the queue, whatever its last outcome was. deadline_ms is of clock_now_ms(). */
void op_prepare(struct store_op *op, int64_t deadline_ms, void (*done)(void *context), void *context);

void op_free(struct store_op *op);

/* The outcome for a text of apply_batch's; OP_FAILED for an unknown one. */
enum op_outcome op_outcome_from_text(struct slice text);

/* apply_batch's text for the outcome; NULL if it has none. */
const char *op_outcome_text(enum op_outcome outcome);

/* True if the outcome is a success, else sets the error, with its one sentence for every method. incident is
 * what was to be stored, or NULL: no argument is blamed that it does not have. */
bool op_check(const struct store_op *op, const struct incident *incident, struct error *error);

#endif
