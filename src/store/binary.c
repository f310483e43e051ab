/* Values as Postgres sends and receives them in binary. */
#include "store/binary.h"

#include <arpa/inet.h>
#include <endian.h>
#include <string.h>

/* 2000-01-01T00:00:00Z, from which Postgres counts, in microseconds since 1970. */
static const int64_t POSTGRES_EPOCH_US = INT64_C(946684800000000);

enum { NULL_LENGTH = -1, LENGTH_BYTES = 4, ARRAY_HEADER_BYTES = 12, ARRAY_DIMENSION_BYTES = 8 };

void binary_append_int32(struct buffer *buffer, int32_t number)
{
    uint32_t bytes = htonl((uint32_t)number);

    buffer_append(buffer, &bytes, sizeof bytes);
}

void binary_append_null(struct buffer *buffer, enum binary_type type)
{
    binary_append_bytes(buffer, type, (struct slice){0});
}

void binary_append_integer(struct buffer *buffer, int32_t number)
{
    binary_append_int32(buffer, BINARY_INT4);
    binary_append_int32(buffer, sizeof number);
    binary_append_int32(buffer, number);
}

void binary_append_bytes(struct buffer *buffer, enum binary_type type, struct slice bytes)
{
    binary_append_int32(buffer, (int32_t)type);
    binary_append_int32(buffer, bytes.data == NULL ? NULL_LENGTH : (int32_t)bytes.len);
    buffer_append_slice(buffer, bytes);
}

void binary_append_timestamp(struct buffer *buffer, int64_t micros)
{
    uint64_t bytes = htobe64((uint64_t)(micros - POSTGRES_EPOCH_US));

    binary_append_int32(buffer, BINARY_TIMESTAMPTZ);
    binary_append_int32(buffer, sizeof bytes);
    buffer_append(buffer, &bytes, sizeof bytes);
}

size_t binary_begin_field(struct buffer *buffer, enum binary_type type)
{
    binary_append_int32(buffer, (int32_t)type);
    binary_append_int32(buffer, 0);
    return buffer->len;
}

void binary_end_field(struct buffer *buffer, size_t field)
{
    uint32_t length = htonl((uint32_t)(buffer->len - field));

    if (!buffer->failed) {
        memcpy(buffer->data + field - LENGTH_BYTES, &length, sizeof length);
    }
}

void binary_append_array(struct buffer *buffer, uint32_t element_type, size_t count)
{
    binary_append_int32(buffer, count > 0); /* dimensions */
    binary_append_int32(buffer, 0);         /* no element is NULL */
    binary_append_int32(buffer, (int32_t)element_type);
    if (count > 0) {
        binary_append_int32(buffer, (int32_t)count);
        binary_append_int32(buffer, 1); /* the first one's number */
    }
}

int32_t binary_read_int32(const char *bytes)
{
    uint32_t number;

    memcpy(&number, bytes, sizeof number);
    return (int32_t)ntohl(number);
}

static void skip(struct slice *bytes, size_t count)
{
    bytes->data += count;
    bytes->len -= count;
}

size_t binary_read_array(struct slice *bytes)
{
    int32_t dimensions, count;

    if (bytes->len < ARRAY_HEADER_BYTES || binary_read_int32(bytes->data + 8) != BINARY_TEXT) {
        return SIZE_MAX;
    }
    dimensions = binary_read_int32(bytes->data);
    skip(bytes, ARRAY_HEADER_BYTES);
    if (dimensions == 0) {
        return 0;
    }
    if (dimensions != 1 || bytes->len < ARRAY_DIMENSION_BYTES) {
        return SIZE_MAX;
    }
    count = binary_read_int32(bytes->data);
    skip(bytes, ARRAY_DIMENSION_BYTES);
    return count < 0 ? SIZE_MAX : (size_t)count;
}

bool binary_next_text(struct slice *bytes, struct slice *text)
{
    int32_t length;

    if (bytes->len < LENGTH_BYTES) {
        return false;
    }
    length = binary_read_int32(bytes->data);
    skip(bytes, LENGTH_BYTES);
    if (length < 0) {
        *text = (struct slice){0};
        return length == NULL_LENGTH;
    }
    if ((size_t)length > bytes->len) {
        return false;
    }
    *text = (struct slice){.data = bytes->data, .len = (size_t)length};
    skip(bytes, (size_t)length);
    return true;
}

int64_t binary_read_int64(const char *bytes)
{
    uint64_t number;

    memcpy(&number, bytes, sizeof number);
    return (int64_t)be64toh(number);
}

int64_t binary_read_timestamp(const char *bytes)
{
    return binary_read_int64(bytes) + POSTGRES_EPOCH_US;
}
