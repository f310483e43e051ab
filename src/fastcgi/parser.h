/* The FastCGI parser (specification, version 1.0): takes one request out of the bytes of a connection, piece
 * by piece. It handles management records, other requests in between, stray records and wrong lengths.
 *
 * It does no input or output: bytes go in, a request and output for the peer come out. */
#ifndef INCIDENTS_FASTCGI_PARSER_H
#define INCIDENTS_FASTCGI_PARSER_H

#include "fastcgi/record.h"
#include "http/request.h"

enum {
    PARSER_STRAY_MAX =
        64, /* records for each request that belong to no request of ours; web servers send none */
    PARSER_CONTENT_MAX = 256, /* of the records that are read as a whole */
};

enum parser_result {
    PARSER_INCOMPLETE, /* the request goes on */
    PARSER_COMPLETE,   /* it is there as a whole, or will never be and is to be refused */
    PARSER_ERROR,      /* no request can come on this connection any more */
};

/* Where in a request it is. */
enum parser_stage { STAGE_BEGIN, STAGE_PARAMS, STAGE_BODY, STAGE_COMPLETE };

struct parser {
    enum parser_stage stage;
    int request_id;
    bool keep;            /* whether the connection may carry another request behind this one */
    struct stream params; /* where they are over the limit, the request is to be refused */
    const char *variables[REQUEST_VARIABLES]; /* in params, from their end to parser_next; NULL: not there */
    struct stream body;
    size_t body_declared; /* CONTENT_LENGTH; 0 where there is none that can be read */
    bool has_ended_early; /* the record that ends the body came last, and more of it was declared */
    size_t early_ends;    /* such records, so far */
    struct buffer output; /* records for the peer, to be sent and reset */
    const char *error;    /* why PARSER_ERROR, a static text; NULL while nothing is wrong */
    bool has_responded;   /* the output of PARSER_ERROR ends the request */

    size_t stray; /* records that belonged to no request of ours, so far */
    FCGI_Header header;
    size_t header_len;
    int type, id; /* of the record */
    size_t content_len, content_left, padding_left;
    struct stream *stream; /* that its content is a part of; NULL: of none */
    bool is_read_whole;    /* its content is read into `whole`; else, without a stream, it is skipped */
    char whole[PARSER_CONTENT_MAX];
};

void parser_init(struct parser *parser, size_t body_limit);

/* Frees what it holds. */
void parser_free(struct parser *parser);

/* Takes bytes in. Behind PARSER_COMPLETE and PARSER_ERROR it takes no more; what came behind a request in the
 * same bytes is lost, and keep is false then. */
enum parser_result parser_feed(struct parser *parser, const char *data, size_t len);

/* No more bytes will come. PARSER_COMPLETE where the request is to be responded to nevertheless: its body has
 * ended, if early. */
enum parser_result parser_end(struct parser *parser);

/* Forgets the body alone, which is read. */
void parser_free_body(struct parser *parser);

/* Makes it ready for the connection's next request. */
void parser_next(struct parser *parser);

/* Whether no request and no record has begun. */
bool parser_is_idle(const struct parser *parser);

/* The memory that it holds for a request. */
size_t parser_memory(const struct parser *parser);

#endif
