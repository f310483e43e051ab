/* The records of FastCGI, as they are written. */
#include "fastcgi/record.h"

size_t record_padding(size_t len)
{
    return (RECORD_ALIGNMENT - len % RECORD_ALIGNMENT) % RECORD_ALIGNMENT;
}

FCGI_Header record_header(int type, int id, size_t len)
{
    return (FCGI_Header){
        .version = FCGI_VERSION_1,
        .type = (unsigned char)type,
        .requestIdB1 = (unsigned char)(id >> 8),
        .requestIdB0 = (unsigned char)(id & 0xff),
        .contentLengthB1 = (unsigned char)(len >> 8),
        .contentLengthB0 = (unsigned char)(len & 0xff),
        .paddingLength = (unsigned char)record_padding(len),
    };
}

void record_append(struct buffer *out, int type, int id, const void *content, size_t len)
{
    static const char zeros[RECORD_ALIGNMENT];
    const FCGI_Header header = record_header(type, id, len);

    buffer_append(out, &header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, zeros, record_padding(len));
}
