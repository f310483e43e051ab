/* The records of FastCGI, as they are written. */
#include "gateway/record.h"

static size_t padding_for(size_t len)
{
    return (8 - len % 8) % 8;
}

void record_write_header(unsigned char header[RECORD_HEADER_BYTES], int type, int id, size_t len)
{
    header[0] = RECORD_VERSION_1;
    header[1] = (unsigned char)type;
    header[2] = (unsigned char)(id >> 8);
    header[3] = (unsigned char)(id & 0xff);
    header[4] = (unsigned char)(len >> 8);
    header[5] = (unsigned char)(len & 0xff);
    header[6] = (unsigned char)padding_for(len);
    header[7] = 0;
}

void record_append(struct buffer *out, int type, int id, const void *content, size_t len)
{
    static const char zeros[8];
    unsigned char header[RECORD_HEADER_BYTES];

    record_write_header(header, type, id, len);
    buffer_append(out, header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, zeros, padding_for(len));
}
