/* One operation on the database: what it asks, as intake.apply_batch reads it, and what became of it. */
#ifndef INCIDENTS_STORE_ITEM_H
#define INCIDENTS_STORE_ITEM_H

#include <stdint.h>
#include <sys/queue.h>

#include "base/buffer.h"
#include "model/incident.h"

enum item_operation { ITEM_UPSERT, ITEM_DELETE, ITEM_AUTHORIZE, ITEM_PING };

/* What a token may do. */
enum scope { SCOPE_UPSERT, SCOPE_DELETE };

/* What intake.apply_batch said of the item, or why it was not asked. */
enum item_outcome {
    ITEM_PENDING,
    ITEM_CREATED,
    ITEM_UPDATED,
    ITEM_UNCHANGED,
    ITEM_DELETED,
    ITEM_NOT_FOUND,
    ITEM_AUTHORIZED,
    ITEM_READY,
    ITEM_NOT_AUTHED,
    ITEM_NOT_PERMITTED,
    ITEM_UNAVAILABLE, /* not stored, or not known to be: sending it again is safe */
    ITEM_UNSTORABLE,  /* the database refused a value of it */
    ITEM_FAILED,      /* a defect, logged where it happened */
};

/* Why an item is ITEM_UNAVAILABLE or ITEM_UNSTORABLE. */
enum item_reason {
    REASON_NONE,   /* unavailable: the database cannot be reached in time; unstorable: not known */
    REASON_LOGIN,  /* the database refuses the login */
    REASON_RIGHT,  /* the role lacks a right */
    REASON_SCHEMA, /* the schema is not the one that this build needs */
    REASON_STATE,  /* the database can be reached, but cannot store: disk full, a sequence behind its table */
    REASON_SIZE,   /* more than a jsonb can hold */
};

enum { TOKEN_HASH_HEX = 65, TOKEN_LABEL_MAX = 64, ORPHANED_ATTEMPTS_MAX = 8 };

/* How an item stands in the queue; queue.c's own. */
struct item_place {
    TAILQ_ENTRY(item) link;     /* of all, in order of arrival */
    TAILQ_ENTRY(item) same_key; /* of those whose reference_id has the same place in the hash table */
    uint64_t key;               /* of the reference_id; 0 where there is none */
    int64_t since_ms;           /* when it began to wait */
    int64_t not_before_ms;
    bool is_sent;
    bool must_run_alone;
};

struct item {
    const char
        *reference_id; /* borrowed, NULL where the operation has none; no two items of a batch share it */
    const char *request_id; /* borrowed, for the log; NULL where it is no request's */
    struct buffer record;   /* the element of apply_batch's array, an intake.operation in binary */
    int64_t deadline_ms;    /* clock_now_ms() after which nobody waits any more */
    enum item_outcome outcome;
    enum item_reason reason;
    int64_t queue_ms;                  /* how long it waited for a connection, between attempts too, */
    int64_t database_ms;               /* and how long its batches took */
    char token_label[TOKEN_LABEL_MAX]; /* empty where the token is not known; cut where longer */

    void (*done)(void *context); /* the store's own from here on */
    void *context;
    struct item_place place;
    int attempts;
    int64_t orphaned[ORPHANED_ATTEMPTS_MAX]; /* attempts that may still run in the database */
    size_t orphaned_count;
};

/* Each sets the item up and encodes what is asked; false when out of memory. token_hash is the hexadecimal
 * SHA-256 of the bearer token. The incident must outlive the item. Call item_free in either case. */
bool item_upsert(struct item *item, const char *token_hash, const struct incident *incident);
bool item_delete(struct item *item, const char *token_hash, const struct incident *incident);
bool item_authorize(struct item *item, const char *token_hash, enum scope scope);
bool item_ping(struct item *item);

void item_free(struct item *item);

/* The outcome that apply_batch's word stands for; ITEM_FAILED for one that is unknown. */
enum item_outcome item_outcome_from_text(struct slice text);

/* The word for an outcome that is one of apply_batch's; NULL for the others. */
const char *item_outcome_text(enum item_outcome outcome);

#endif
