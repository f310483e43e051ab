/* The FastCGI parser: takes a request out of the bytes that come on a connection, piece by piece. Whatever
 * else a peer may send (management records, other requests in between, records that make no sense, lengths
 * that lie) ends here, as the FastCGI specification, version 1.0, asks for it.
 *
 * It does no input or output: bytes go in, a request and replies come out. */
#ifndef INCIDENTS_GATEWAY_GUARD_H
#define INCIDENTS_GATEWAY_GUARD_H

#include "gateway/record.h"
#include "gateway/request.h"

enum {
    GUARD_PARAMS_MAX = 128 * 1024, /* bytes of a request's variables; what web servers let through is less */
    GUARD_ASIDE_MAX =
        64, /* records for each request that belong to no request of ours; web servers send none */
    GUARD_CONTENT_MAX = 256, /* of the records that are read as a whole */
};

enum guard_verdict {
    GUARD_MORE,    /* the request goes on */
    GUARD_REQUEST, /* it is there as a whole, or will never be and is to be refused */
    GUARD_BROKEN,  /* no request can come on this connection any more */
};

/* Where in a request it is. */
enum guard_stage { GUARD_BEGIN, GUARD_PARAMS, GUARD_BODY, GUARD_COMPLETE };

/* What becomes of a record's content. */
enum guard_content { GUARD_SKIPPED, GUARD_KEPT, GUARD_TO_PARAMS, GUARD_TO_BODY };

struct guard {
    size_t body_limit;

    enum guard_stage stage;
    int request_id;
    bool keep;            /* whether the connection may carry another request behind this one */
    struct buffer params; /* as they come; once complete, the values of those that request.h knows */
    size_t variables[REQUEST_VARIABLES]; /* where each value begins, counted from 1; 0: it is not there */
    size_t params_total;   /* bytes that came; over GUARD_PARAMS_MAX the request is to be refused */
    struct buffer body;    /* empty where body_total is over the limit */
    size_t body_total;     /* bytes that came */
    size_t body_declared;  /* CONTENT_LENGTH; 0 where there is none that can be read */
    bool has_ended_early;  /* the record that ends the body came last, and more of it was declared */
    size_t early_ends;     /* such records, so far */
    struct buffer replies; /* for the peer, to be sent and reset */
    const char *fault;     /* why it is broken */
    bool is_refused;       /* it is broken, and the replies tell the peer so */

    size_t aside; /* records that belonged to no request of ours, so far */
    unsigned char header[RECORD_HEADER_BYTES];
    size_t header_len;
    enum guard_content content;
    char kept[GUARD_CONTENT_MAX];
    size_t kept_len;
    size_t content_left, padding_left; /* of the record */
};

void guard_init(struct guard *guard, size_t body_limit);

/* Frees what it holds. */
void guard_free(struct guard *guard);

/* Takes bytes in. Behind GUARD_REQUEST and GUARD_BROKEN it takes no more; what came behind a request in the
 * same bytes is lost, and keep is false then. */
enum guard_verdict guard_feed(struct guard *guard, const char *data, size_t len);

/* A variable of the request, once its variables are complete; NULL where it is not there. */
const char *guard_variable(const struct guard *guard, enum request_variable_number number);

/* No more bytes will come. GUARD_REQUEST where the request is one to be answered nevertheless: its body has
 * ended, if early. */
enum guard_verdict guard_end(struct guard *guard);

/* Frees the body alone, which is read. */
void guard_free_body(struct guard *guard);

/* Makes it ready for the connection's next request. */
void guard_next(struct guard *guard);

/* Whether no request and no record has begun. */
bool guard_is_idle(const struct guard *guard);

/* The memory that it holds for a request. */
size_t guard_holds(const struct guard *guard);

#endif
