/* The records of FastCGI, as they are written. */
#include "gateway/record.h"

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
