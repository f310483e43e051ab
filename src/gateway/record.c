/* The records of FastCGI, as they are written. */
#include "gateway/record.h"

enum { CONTENT_MAX = 65528 }; /* a multiple of 8 below 65,536: such records need no padding */

void record_append(struct buffer *out, int type, int id, const void *content, size_t len)
{
    static const char zeros[8];
    size_t padding = (8 - len % 8) % 8;
    const unsigned char header[RECORD_HEADER_BYTES] = {
        RECORD_VERSION_1,           (unsigned char)type,       (unsigned char)(id >> 8),
        (unsigned char)(id & 0xff), (unsigned char)(len >> 8), (unsigned char)(len & 0xff),
        (unsigned char)padding,
    };

    buffer_append(out, header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, zeros, padding);
}

void record_append_begin(struct buffer *out, int id, int flags)
{
    const unsigned char content[8] = {0, RECORD_RESPONDER, (unsigned char)flags};

    record_append(out, RECORD_BEGIN_REQUEST, id, content, sizeof content);
}

void record_append_stream(struct buffer *out, int type, int id, struct slice content)
{
    for (size_t at = 0; at < content.len; at += CONTENT_MAX) {
        size_t left = content.len - at;

        record_append(out, type, id, content.data + at, left < CONTENT_MAX ? left : CONTENT_MAX);
    }
    record_append(out, type, id, "", 0);
}
