/* The records of FastCGI, as they are written: names and numbers are those of its specification, version 1.0.
 */
#ifndef INCIDENTS_FASTCGI_RECORD_H
#define INCIDENTS_FASTCGI_RECORD_H

#include "base/buffer.h"

/* Section 8. */
enum {
    RECORD_VERSION_1 = 1,

    RECORD_BEGIN_REQUEST = 1,
    RECORD_ABORT_REQUEST = 2,
    RECORD_END_REQUEST = 3,
    RECORD_PARAMS = 4,
    RECORD_STDIN = 5,
    RECORD_STDOUT = 6,
    RECORD_STDERR = 7,
    RECORD_GET_VALUES = 9,
    RECORD_GET_VALUES_RESULT = 10,
    RECORD_UNKNOWN_TYPE = 11,

    RECORD_RESPONDER = 1,
    RECORD_KEEP_CONN = 1,
    RECORD_REQUEST_COMPLETE = 0,
    RECORD_CANT_MPX_CONN = 1,
    RECORD_UNKNOWN_ROLE = 3,

    RECORD_HEADER_BYTES = 8,
    RECORD_ALIGNMENT = 8,       /* of a record's length, as section 3.3 recommends */
    RECORD_CONTENT_MAX = 65528, /* the largest that needs no padding */
};

/* How many bytes of padding a record with so much content has. */
size_t record_padding(size_t len);

/* Writes the header of a record whose content has len bytes, 65,535 at most, and record_padding(len)
 * bytes of padding. */
void record_write_header(unsigned char header[RECORD_HEADER_BYTES], int type, int id, size_t len);

/* Appends one record; content has 65,535 bytes at most. */
void record_append(struct buffer *out, int type, int id, const void *content, size_t len);

#endif
