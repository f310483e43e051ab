/* Values as Postgres sends and receives them in binary: what array_send, record_send and the send functions
 * of the types in it write (src/backend/utils/adt). Numbers are in network byte order. */
#ifndef INCIDENTS_STORE_BINARY_H
#define INCIDENTS_STORE_BINARY_H

#include <stdint.h>

#include "base/buffer.h"

/* OIDs of built-in types, the same in every database (pg_type.dat). */
enum binary_type {
    BINARY_BYTEA = 17,
    BINARY_INT4 = 23,
    BINARY_TEXT = 25,
    BINARY_TIMESTAMPTZ = 1184,
    BINARY_JSONB = 3802,
};

/* Appends a number by itself. */
void binary_append_int32(struct buffer *buffer, int32_t number);

/* Each appends one field of a record; bytes whose data is NULL are NULL. */
void binary_append_null(struct buffer *buffer, enum binary_type type);
void binary_append_integer(struct buffer *buffer, int32_t number);
void binary_append_bytes(struct buffer *buffer, enum binary_type type, struct slice bytes);

/* micros: microseconds since 1970-01-01T00:00:00Z. */
void binary_append_timestamp(struct buffer *buffer, int64_t micros);

/* Begins a field whose length is not known yet; binary_end_field, with what this returned, ends it. */
size_t binary_begin_field(struct buffer *buffer, enum binary_type type);
void binary_end_field(struct buffer *buffer, size_t field);

/* Begins an array of one dimension; each element follows as its length and its bytes. */
void binary_append_array(struct buffer *buffer, uint32_t element_type, size_t count);

/* Reads the head of an array of texts of one dimension: how many there are, SIZE_MAX where it is no such
 * array. *bytes then begins with the first. */
size_t binary_read_array(struct slice *bytes);

/* Takes the next text off *bytes, into which it points; data is NULL where it is NULL. False where the bytes
 * end early. */
bool binary_next_text(struct slice *bytes, struct slice *text);

/* An integer, and a bigint, by itself: four bytes, and eight. */
int32_t binary_read_int32(const char *bytes);
int64_t binary_read_int64(const char *bytes);

/* A timestamptz by itself, of eight bytes, as binary_append_timestamp takes it. */
int64_t binary_read_timestamp(const char *bytes);

#endif
