/* The records of FastCGI, as they are written. fastcgi.h has the names of its specification, version 1.0. */
#ifndef INCIDENTS_FASTCGI_RECORD_H
#define INCIDENTS_FASTCGI_RECORD_H

#include <fastcgi.h>

#include "base/buffer.h"

enum {
    RECORD_ALIGNMENT = 8,       /* of a record's length, as section 3.3 recommends */
    RECORD_CONTENT_MAX = 65528, /* the largest that needs no padding */
};

/* How many bytes of padding a record with so much content has. */
size_t record_padding(size_t len);

/* The header of a record whose content has len bytes, FCGI_MAX_LENGTH at most, and record_padding(len) bytes
 * of padding. */
FCGI_Header record_header(int type, int id, size_t len);

/* Appends one record; content has FCGI_MAX_LENGTH bytes at most. */
void record_append(struct buffer *out, int type, int id, const void *content, size_t len);

#endif
