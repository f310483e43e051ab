/* Values in Postgres's binary format: what is written is what array_send and record_send write, and nothing
 * that is read leads beyond its end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/binary.h"

enum { MAX = 1024 };

static void check_bytes(const struct buffer *buffer, const void *bytes, size_t len)
{
    assert_false(buffer->failed);
    assert_int_equal(buffer->len, len);
    assert_memory_equal(buffer->data, bytes, len);
}

#define CHECK_BYTES(buffer, literal) check_bytes(buffer, literal, sizeof(literal) - 1)

static void each_field_is_its_type_its_length_and_its_bytes(void **state)
{
    struct buffer buffer;

    buffer_init(&buffer, MAX);
    binary_append_null(&buffer, BINARY_JSONB);
    CHECK_BYTES(&buffer, "\0\0\x0e\xda\xff\xff\xff\xff");
    buffer_reset(&buffer, MAX);
    binary_append_integer(&buffer, -2);
    CHECK_BYTES(&buffer, "\0\0\0\x17\0\0\0\x04\xff\xff\xff\xfe");
    buffer_reset(&buffer, MAX);
    binary_append_bytes(&buffer, BINARY_TEXT, (struct slice){.data = "a\0b", .len = 3});
    CHECK_BYTES(&buffer, "\0\0\0\x19\0\0\0\x03"
                         "a\0b");
    buffer_reset(&buffer, MAX);
    binary_append_bytes(&buffer, BINARY_BYTEA, (struct slice){.data = "", .len = 0});
    CHECK_BYTES(&buffer, "\0\0\0\x11\0\0\0\0");
    buffer_free(&buffer);
}

/* Postgres counts from 2000 on. */
static void a_timestamp_is_counted_from_2000(void **state)
{
    static const struct {
        int64_t micros;
        const char *bytes;
    } cases[] = {
        {INT64_C(946684800000000), "\0\0\0\0\0\0\0\0"},
        {INT64_C(946684799999999), "\xff\xff\xff\xff\xff\xff\xff\xff"},
        {0, "\xff\xfc\xa2\xfe\xc4\xc8\x20\x00"}, /* as timestamptz_send writes 1970-01-01 */
    };
    struct buffer buffer;

    buffer_init(&buffer, MAX);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer_reset(&buffer, MAX);
        binary_append_timestamp(&buffer, cases[i].micros);
        assert_int_equal(buffer.len, 16);
        assert_memory_equal(buffer.data, "\0\0\x04\xa0\0\0\0\x08", 8);
        assert_memory_equal(buffer.data + 8, cases[i].bytes, 8);
    }
    buffer_free(&buffer);
}

static void a_field_whose_length_comes_later_has_it(void **state)
{
    struct buffer buffer;
    size_t field;

    buffer_init(&buffer, MAX);
    binary_append_int32(&buffer, 2);
    field = binary_begin_field(&buffer, BINARY_TEXT);
    buffer_append_text(&buffer, "later");
    binary_end_field(&buffer, field);
    field = binary_begin_field(&buffer, BINARY_TEXT);
    binary_end_field(&buffer, field);
    CHECK_BYTES(&buffer, "\0\0\0\x02"
                         "\0\0\0\x19\0\0\0\x05later"
                         "\0\0\0\x19\0\0\0\0");
    buffer_free(&buffer);
}

/* One that has no room, or no memory, says so in the end, and nothing is written where nothing is. */
static void a_buffer_that_is_full_stays_so(void **state)
{
    for (size_t max = 0; max < 40; max++) {
        struct buffer buffer;
        size_t field;

        buffer_init(&buffer, max);
        binary_append_array(&buffer, BINARY_TEXT, 1);
        field = binary_begin_field(&buffer, BINARY_TEXT);
        buffer_append_text(&buffer, "twelve bytes");
        binary_end_field(&buffer, field);
        assert_true(buffer.failed);
        buffer_free(&buffer);
    }
}

/* An array of texts as the worker reads it, its elements behind it. */
static void append_texts(struct buffer *buffer, const char *const *texts, size_t count)
{
    binary_append_array(buffer, BINARY_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        binary_append_int32(buffer, texts[i] == NULL ? -1 : (int32_t)strlen(texts[i]));
        buffer_append_text(buffer, texts[i] == NULL ? "" : texts[i]);
    }
}

/* A copy with nothing behind it that a sanitizer would let pass. */
static struct slice copy_of(const char *data, size_t len)
{
    char *copy = malloc(len == 0 ? 1 : len);

    assert_non_null(copy);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    return (struct slice){.data = copy, .len = len};
}

static void an_array_is_read_as_it_was_written(void **state)
{
    static const char *const texts[] = {"created", NULL, "", "n\xc3\xa4me"};
    const size_t count = sizeof texts / sizeof texts[0];
    struct buffer buffer;
    struct slice bytes, text;

    buffer_init(&buffer, MAX);
    append_texts(&buffer, texts, count);
    bytes = (struct slice){.data = buffer.data, .len = buffer.len};
    assert_int_equal(binary_read_array(&bytes), count);
    for (size_t i = 0; i < count; i++) {
        assert_true(binary_next_text(&bytes, &text));
        if (texts[i] == NULL) {
            assert_null(text.data);
        } else {
            assert_non_null(text.data);
            assert_int_equal(text.len, strlen(texts[i]));
            assert_memory_equal(text.data, texts[i], text.len);
        }
    }
    assert_int_equal(bytes.len, 0);
    assert_false(binary_next_text(&bytes, &text));

    buffer_reset(&buffer, MAX);
    append_texts(&buffer, NULL, 0);
    CHECK_BYTES(&buffer, "\0\0\0\0\0\0\0\0\0\0\0\x19");
    bytes = (struct slice){.data = buffer.data, .len = buffer.len};
    assert_int_equal(binary_read_array(&bytes), 0);
    buffer_free(&buffer);
}

/* How many texts can be read of the bytes; SIZE_MAX where it is no array of them. */
static size_t read_all(struct slice bytes, size_t *count)
{
    size_t read = 0;
    struct slice text;

    *count = binary_read_array(&bytes);
    while (*count != SIZE_MAX && read < *count && binary_next_text(&bytes, &text)) {
        read++;
    }
    return read;
}

static void one_that_is_cut_short_is_not_read_beyond_its_end(void **state)
{
    static const char *const texts[] = {"one", NULL, "", "four"};
    struct buffer buffer;
    size_t count;

    buffer_init(&buffer, MAX);
    append_texts(&buffer, texts, 4);
    for (size_t len = 0; len < buffer.len; len++) {
        struct slice bytes = copy_of(buffer.data, len);
        size_t read = read_all(bytes, &count);

        assert_true(count == SIZE_MAX || (count == 4 && read < 4));
        assert_true((count == SIZE_MAX) == (len < 20));
        free((char *)bytes.data);
    }
    buffer_free(&buffer);
}

static void what_is_no_array_of_texts_is_refused(void **state)
{
    static const struct {
        const char *what;
        size_t at; /* the byte that is another */
        char byte;
    } cases[] = {
        {"two dimensions", 3, 2},     {"a negative number of them", 0, (char)0x80},
        {"of integers", 11, 23},      {"of a type that begins alike", 8, 1},
        {"a negative count", 12, -1},
    };
    static const char *const texts[] = {"a", "b"};
    struct buffer buffer;

    buffer_init(&buffer, MAX);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice bytes;

        buffer_reset(&buffer, MAX);
        append_texts(&buffer, texts, 2);
        buffer.data[cases[i].at] = cases[i].byte;
        bytes = (struct slice){.data = buffer.data, .len = buffer.len};
        if (binary_read_array(&bytes) != SIZE_MAX) {
            fail_msg("%s: it is read", cases[i].what);
        }
    }
    buffer_free(&buffer);
}

static void a_length_that_cannot_be_is_refused(void **state)
{
    static const int32_t lengths[] = {-2, INT32_MIN, 2, INT32_MAX};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct buffer buffer;
        struct slice bytes, text;

        buffer_init(&buffer, MAX);
        binary_append_int32(&buffer, lengths[i]);
        buffer_append_text(&buffer, "x");
        bytes = copy_of(buffer.data, buffer.len);
        text = bytes;
        assert_false(binary_next_text(&text, &(struct slice){0}));
        free((char *)bytes.data);
        buffer_free(&buffer);
    }
}

static void a_bigint_is_eight_bytes(void **state)
{
    assert_true(binary_read_int64("\0\0\0\0\0\0\x01\x02") == 258);
    assert_true(binary_read_int64("\xff\xff\xff\xff\xff\xff\xff\xff") == -1);
    assert_true(binary_read_int64("\x80\0\0\0\0\0\0\0") == INT64_MIN);
    assert_true(binary_read_int32("\0\0\x01\x02") == 258);
    assert_true(binary_read_int32("\xff\xff\xff\xff") == -1);
    assert_true(binary_read_timestamp("\0\0\0\0\0\0\0\x01") == INT64_C(946684800000001));
    assert_true(binary_read_timestamp("\xff\xff\xff\xff\xff\xff\xff\xff") == INT64_C(946684799999999));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_is_its_type_its_length_and_its_bytes),
        cmocka_unit_test(a_timestamp_is_counted_from_2000),
        cmocka_unit_test(a_field_whose_length_comes_later_has_it),
        cmocka_unit_test(a_buffer_that_is_full_stays_so),
        cmocka_unit_test(an_array_is_read_as_it_was_written),
        cmocka_unit_test(one_that_is_cut_short_is_not_read_beyond_its_end),
        cmocka_unit_test(what_is_no_array_of_texts_is_refused),
        cmocka_unit_test(a_length_that_cannot_be_is_refused),
        cmocka_unit_test(a_bigint_is_eight_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
