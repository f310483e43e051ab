/* The records of FastCGI, as they are written. */
#include "fastcgi/record.h"

size_t record_padding(size_t len)
{
    return (RECORD_ALIGNMENT - len % RECORD_ALIGNMENT) % RECORD_ALIGNMENT;
}

void record_write_header(unsigned char header[RECORD_HEADER_BYTES], int type, int id, size_t len)
{
    header[0] = RECORD_VERSION_1;
    header[1] = (unsigned char)type;
    header[2] = (unsigned char)(id >> 8);
    header[3] = (unsigned char)(id & 0xff);
    header[4] = (unsigned char)(len >> 8);
    header[5] = (unsigned char)(len & 0xff);
    header[6] = (unsigned char)record_padding(len);
    header[7] = 0;
}

void record_append(struct buffer *out, int type, int id, const void *content, size_t len)
{
    static const char zeros[RECORD_ALIGNMENT];
    unsigned char header[RECORD_HEADER_BYTES];

    record_write_header(header, type, id, len);
    buffer_append(out, header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, zeros, record_padding(len));
}
