/* The FastCGI parser: what it takes for a request, what it responds to by itself, what it refuses, however
 * the bytes are cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fastcgi/parser.h"

enum { LIMIT = 1024, BYTES_MAX = 16 * 1024 * 1024 };

/* The specification's numbers. */
enum { BEGIN = 1, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN };

static struct buffer bytes;
static struct parser parser;

static void record_as(int version, int type, int id, const void *content, size_t len, size_t padding)
{
    static const char filling[256] = {'\1', '\1', '\1'};
    const unsigned char header[8] = {
        (unsigned char)version,    (unsigned char)type, (unsigned char)(id >> 8), (unsigned char)id,
        (unsigned char)(len >> 8), (unsigned char)len,  (unsigned char)padding,   0xaa};

    buffer_append(&bytes, header, sizeof header);
    buffer_append(&bytes, content, len);
    buffer_append(&bytes, filling, padding);
}

static void record(int type, int id, const void *content, size_t len)
{
    record_as(1, type, id, content, len, (8 - len % 8) % 8);
}

static void text_record(int type, int id, const char *content)
{
    record(type, id, content, strlen(content));
}

static void begin(int id, int role, int flags)
{
    const char content[8] = {(char)(role >> 8), (char)role, (char)flags};

    record(BEGIN, id, content, sizeof content);
}

/* A request without a body's records. */
static void head(void)
{
    begin(1, 1, 1);
    text_record(PARAMS, 1, "\16\4REQUEST_METHODPOST");
    text_record(PARAMS, 1, "");
}

static void body(const char *text)
{
    text_record(STDIN, 1, text);
    text_record(STDIN, 1, "");
}

static enum parser_result feed_in_pieces(size_t piece)
{
    enum parser_result result = PARSER_INCOMPLETE;

    parser_free(&parser);
    parser_init(&parser, LIMIT);
    for (size_t at = 0; at < bytes.len && result == PARSER_INCOMPLETE; at += piece) {
        size_t len = bytes.len - at < piece ? bytes.len - at : piece;
        char *exact = malloc(len); /* so that a sanitizer sees who reads behind it */

        assert_non_null(exact);
        memcpy(exact, bytes.data + at, len);
        result = parser_feed(&parser, exact, len);
        free(exact);
    }
    return result;
}

/* Feeds what was put together, in pieces of several sizes, each of which must come to the same. */
static void expect(enum parser_result expected)
{
    static const size_t pieces[] = {1, 2, 3, 7, 8, 9, 13, 64, 1000, BYTES_MAX};

    for (size_t i = bytes.len > 100000 ? 8 : 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        enum parser_result result = feed_in_pieces(pieces[i]);

        if (result != expected) {
            fail_msg("in pieces of %zu: result %d, not %d (%s)", pieces[i], result, expected,
                     parser.error == NULL ? "no error" : parser.error);
        }
    }
}

static void expect_variable(enum request_variable number, const char *value)
{
    const char *is = parser.variables[number];

    if (is == NULL || strcmp(is, value) != 0) {
        fail_msg("%s is %s, not %s", request_variable_name(number), is == NULL ? "(none)" : is, value);
    }
}

static void expect_no_variable_but(enum request_variable number)
{
    for (int i = 0; i < REQUEST_VARIABLES; i++) {
        if (i != (int)number) {
            assert_null(parser.variables[i]);
        }
    }
}

static void expect_body(const char *text)
{
    expect(PARSER_COMPLETE);
    assert_int_equal(parser.body.total, strlen(text));
    assert_string_equal(parser.body.bytes.len == 0 ? "" : parser.body.bytes.data, text);
}

/* What the parser itself says to the peer. */
static void expect_output(const void *output, size_t len)
{
    if (parser.output.len != len || memcmp(len == 0 ? "" : parser.output.data, output, len) != 0) {
        fail_msg("the output is %zu bytes, and not those %zu", parser.output.len, len);
    }
}

static void a_request_is_taken_however_it_is_cut(void **state)
{
    head();
    body("{}");
    expect_body("{}");
    expect_variable(REQUEST_METHOD, "POST");
    expect_no_variable_but(REQUEST_METHOD);
    assert_int_equal(parser.request_id, 1);
    assert_true(parser.keep);
    expect_output("", 0);
}

static void a_stream_in_many_records_of_any_padding_is_one(void **state)
{
    static const char params[] = "\16\4REQUEST_METHODPOST\11\5PATH_INFO/a/bc";

    begin(65535, 1, 0);
    for (size_t i = 0; i < sizeof params - 1; i++) {
        record_as(1, PARAMS, 65535, params + i, 1, (i * 37) % 256);
    }
    record_as(1, PARAMS, 65535, "", 0, 255);
    for (int i = 0; i < 256; i++) {
        record_as(1, STDIN, 65535, "x", 1, (size_t)i);
    }
    record_as(1, STDIN, 65535, "", 0, 1);
    expect(PARSER_COMPLETE);
    assert_int_equal(parser.request_id, 65535);
    assert_false(parser.keep);
    assert_int_equal(parser.body.bytes.len, 256);
    expect_variable(REQUEST_METHOD, "POST");
    expect_variable(PATH_INFO, "/a/bc");
}

static void a_request_without_its_last_byte_is_none(void **state)
{
    head();
    body("{\"a\":1}");
    while (bytes.len > 1) {
        bytes.len--;
        assert_int_equal(feed_in_pieces(BYTES_MAX), PARSER_INCOMPLETE);
    }
}

/* Nothing of one request is left for the next. */
static void the_next_request_is_taken_too(void **state)
{
    parser_init(&parser, LIMIT);
    for (int i = 0; i < 3; i++) {
        buffer_reset(&bytes, BYTES_MAX);
        begin(1, 1, 1);
        text_record(PARAMS, 1, i == 0 ? "\16\4REQUEST_METHODPOST\16\1CONTENT_LENGTH5" : "\11\1PATH_INFO/");
        text_record(PARAMS, 1, "");
        body(i == 0 ? "first" : "another");
        assert_int_equal(parser_feed(&parser, bytes.data, bytes.len), PARSER_COMPLETE);
        assert_string_equal(parser.body.bytes.data, i == 0 ? "first" : "another");
        if (i > 0) {
            expect_variable(PATH_INFO, "/");
            expect_no_variable_but(PATH_INFO);
        }
        parser_next(&parser);
        assert_true(parser_is_idle(&parser));
        expect_no_variable_but(REQUEST_VARIABLES);
    }
}

enum { LARGE = 20000 };

static void take_large_body(void)
{
    static const char large[LARGE];

    parser_free(&parser);
    parser_init(&parser, LARGE);
    buffer_reset(&bytes, BYTES_MAX);
    head();
    record(STDIN, 1, large, LARGE);
    text_record(STDIN, 1, "");
    assert_int_equal(parser_feed(&parser, bytes.data, bytes.len), PARSER_COMPLETE);
    assert_true(parser_memory(&parser) > LARGE);
}

/* So that a request on a connection that is kept needs none of its own. */
static void little_memory_is_kept_for_the_next_request(void **state)
{
    size_t memory;

    head();
    body("small");
    expect_body("small");
    memory = parser_memory(&parser);
    parser_next(&parser);
    assert_int_equal(parser_memory(&parser), memory);
    assert_int_equal(parser_feed(&parser, bytes.data, bytes.len), PARSER_COMPLETE);
    assert_int_equal(parser_memory(&parser), memory);
    take_large_body();
    parser_next(&parser);
    assert_true(parser_memory(&parser) < LARGE);
}

static void a_large_body_is_freed_and_the_variables_stay(void **state)
{
    take_large_body();
    parser_free_body(&parser);
    assert_true(parser_memory(&parser) < LARGE);
    expect_variable(REQUEST_METHOD, "POST");
}

static void what_comes_behind_a_request_ends_its_connection(void **state)
{
    head();
    body("{}");
    buffer_append(&bytes, "\1", 1);
    assert_int_equal(feed_in_pieces(BYTES_MAX), PARSER_COMPLETE);
    assert_false(parser.keep);
    assert_string_equal(parser.body.bytes.data, "{}");
}

static void each_variable_has_the_first_value_of_its_name(void **state)
{
    begin(1, 1, 1);
    text_record(PARAMS, 1, "\11\1PATH_INFO/\11\1PATH_INFOx\13\3HTTP_COOKIEabc\11\1PATH_INFOy");
    record(PARAMS, 1, "\200\0\0\16\3CONTENT_LENGTH123\16\0REQUEST_METHOD", 38);
    record(PARAMS, 1, "\0\0\0\3abc\15\0PATH_INFOXYZW", 22);
    text_record(PARAMS, 1, "\16\1CONTENT_LENGTH9\16\3REQUEST_METHODGET");
    text_record(PARAMS, 1, "");
    expect(PARSER_INCOMPLETE);
    expect_variable(PATH_INFO, "/");
    expect_variable(CONTENT_LENGTH, "123");
    expect_variable(REQUEST_METHOD, ""); /* there, and empty */
    assert_null(parser.variables[SCRIPT_NAME]);
    assert_int_equal(parser.body_declared, 123);
}

/* Until the stream ends, a later record may belong to the same variable. */
static void there_are_no_variables_before_all_have_come(void **state)
{
    begin(1, 1, 1);
    text_record(PARAMS, 1, "\11\1PATH_INFO/");
    expect(PARSER_INCOMPLETE);
    expect_no_variable_but(REQUEST_VARIABLES);
}

static void every_variable_that_is_read_is_found_by_its_number(void **state)
{
    begin(1, 1, 1);
    for (int i = REQUEST_VARIABLES - 1; i >= 0; i--) {
        const char *name = request_variable_name((enum request_variable)i);
        char pair[64];
        int len = snprintf(pair, sizeof pair, "%c\2%s-%c", (int)strlen(name), name, 'a' + i);

        record(PARAMS, 1, pair, (size_t)len);
    }
    text_record(PARAMS, 1, "");
    body("");
    expect_body("");
    for (int i = 0; i < REQUEST_VARIABLES; i++) {
        const char value[] = {'-', (char)('a' + i), '\0'};

        expect_variable((enum request_variable)i, value);
    }
}

static void a_nul_ends_no_value(void **state)
{
    begin(1, 1, 1);
    record(PARAMS, 1, "\11\12PATH_INFO/upsert\0\0x", 2 + 9 + 10);
    record(PARAMS, 1, "\13\3REMOTE_ADDR\0\0\0", 2 + 11 + 3);
    record(PARAMS, 1, "\16\3CONTENT_LENGTH1\0002", 2 + 14 + 3);
    text_record(PARAMS, 1, "");
    body("");
    expect_body("");
    expect_variable(PATH_INFO, "/upsert\177\177x");
    expect_variable(REMOTE_ADDR, "\177\177\177");
    expect_variable(CONTENT_LENGTH, "1\1772");
    assert_int_equal(parser.body_declared, 0);
}

/* A name is one of ours as a whole, or not at all. */
static void a_nul_ends_no_name(void **state)
{
    begin(1, 1, 1);
    record(PARAMS, 1, "\12\1PATH_INFO\0x", 2 + 10 + 1);
    record(PARAMS, 1, "\10\1PATH_INFx", 2 + 8 + 1);
    record(PARAMS, 1, "\12\1PATH_INFOSx", 2 + 10 + 1);
    record(PARAMS, 1, "\11\1path_infox", 2 + 9 + 1);
    record(PARAMS, 1, "\0\1x", 2 + 1);
    text_record(PARAMS, 1, "");
    body("");
    expect_body("");
    expect_no_variable_but(REQUEST_VARIABLES);
}

/* A request's head with that CONTENT_LENGTH, of three bytes. */
static void head_of_length(const char *length)
{
    begin(1, 1, 1);
    text_record(PARAMS, 1, "\16\3CONTENT_LENGTH");
    text_record(PARAMS, 1, length);
    text_record(PARAMS, 1, "");
}

/* mod_fcgid 2.3.9 sends such for a body that came in HTTP/2 without a length. */
static void empty_records_within_a_body_that_is_declared_do_not_end_it(void **state)
{
    head_of_length("006");
    text_record(STDIN, 1, "");
    text_record(STDIN, 1, "");
    expect(PARSER_INCOMPLETE);
    assert_true(parser.has_ended_early);
    text_record(STDIN, 1, "abc");
    expect(PARSER_INCOMPLETE);
    assert_false(parser.has_ended_early);
    text_record(STDIN, 1, "");
    text_record(STDIN, 1, "def");
    expect(PARSER_INCOMPLETE);
    text_record(STDIN, 1, "");
    expect(PARSER_COMPLETE);
    assert_int_equal(parser.body.total, 6);
    assert_string_equal(parser.body.bytes.data, "abcdef");
}

static void without_a_length_the_first_empty_record_ends_the_body(void **state)
{
    static const char *const lengths[] = {"000", "abc", "-01", "+99", " 99"};

    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        buffer_reset(&bytes, BYTES_MAX);
        head_of_length(lengths[i]);
        text_record(STDIN, 1, "");
        expect(PARSER_COMPLETE);
    }
}

static void a_body_that_ended_early_is_a_request_once_no_more_comes(void **state)
{
    head_of_length("006");
    text_record(STDIN, 1, "abc");
    expect(PARSER_INCOMPLETE);
    assert_int_equal(parser_end(&parser), PARSER_ERROR);
    text_record(STDIN, 1, "");
    expect(PARSER_INCOMPLETE);
    assert_int_equal(parser_end(&parser), PARSER_COMPLETE);
    assert_int_equal(parser.body.total, 3);
    assert_false(parser.keep);
}

static void a_body_that_ends_again_and_again_is_refused(void **state)
{
    head_of_length("999");
    for (int i = 0; i < PARSER_STRAY_MAX; i++) {
        text_record(STDIN, 1, "");
        text_record(STDIN, 1, "x");
        text_record(STDIN, 1, "");
    }
    expect(PARSER_INCOMPLETE);
    text_record(STDIN, 1, "");
    expect(PARSER_ERROR);
}

/* A request with one variable, whose value has that many bytes and comes in several records. */
static void expect_value_of(size_t len)
{
    const char lengths[] = {18, (char)(0x80 | len >> 24), (char)(len >> 16), (char)(len >> 8), (char)len};
    struct buffer variable;
    const char *value;

    buffer_init(&variable, REQUEST_PARAMS_MAX);
    buffer_append(&variable, lengths, sizeof lengths);
    buffer_append_text(&variable, "HTTP_AUTHORIZATION");
    for (size_t i = 0; i < len; i++) {
        buffer_append(&variable, &"0123456789"[i % 10], 1);
    }
    buffer_reset(&bytes, BYTES_MAX);
    begin(7, 1, 1);
    for (size_t at = 0; at < variable.len; at += 5000) {
        record(PARAMS, 7, variable.data + at, variable.len - at < 5000 ? variable.len - at : 5000);
    }
    text_record(PARAMS, 7, "");
    text_record(STDIN, 7, "");
    assert_int_equal(feed_in_pieces(BYTES_MAX), PARSER_COMPLETE);
    value = parser.variables[HTTP_AUTHORIZATION];
    assert_non_null(value);
    assert_int_equal(strlen(value), len);
    assert_memory_equal(value, variable.data + variable.len - len, len);
    buffer_free(&variable);
}

static void a_value_of_any_length_is_read_whole(void **state)
{
    enum { VALUE_MAX = REQUEST_PARAMS_MAX - 23 };

    for (size_t len = 0; len < 300; len++) {
        expect_value_of(len);
    }
    for (size_t len = 65535 - 40; len < 65536 + 40; len++) {
        expect_value_of(len);
    }
    expect_value_of(VALUE_MAX);
}

/* They say how much memory is taken, and how far is read. */
static void lengths_that_lie_are_never_believed(void **state)
{
    static const struct {
        const char *content;
        size_t len;
    } cases[] = {
        {"\1", 1},
        {"\1\1", 2},
        {"\1\1a", 3},
        {"\2\0a", 3},
        {"\0\1", 2},
        {"\377\377\377\377", 4},
        {"\200\0\0", 3},
        {"\1\200\0\0", 4},
        {"\1\377\377\377\377a", 6},
        {"\377\377\377\376\377\377\377\376ab", 10},
        {"\377\377\377\377\1ab", 7},
        {"\300\0\0\0\300\0\0\0ab", 10},
        {"\200\0\0\1\200\0\0\1a", 9},
        {"\377\377\377\360\200\0\0\20PATH_INFO", 17},
        {"\11\1PATH_INFO/\1", 13},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer_reset(&bytes, BYTES_MAX);
        begin(1, 1, 1);
        record(PARAMS, 1, cases[i].content, cases[i].len);
        text_record(PARAMS, 1, "");
        expect(PARSER_ERROR);
        buffer_reset(&bytes, BYTES_MAX);
        record(GET_VALUES, 0, cases[i].content, cases[i].len);
        expect(PARSER_ERROR);
        expect_output("", 0);
    }
}

static void variables_over_the_limit_are_counted_and_not_kept(void **state)
{
    char *filling = calloc(1, 60000);

    begin(1, 1, 1);
    record(PARAMS, 1, filling, 60000);
    record(PARAMS, 1, filling, 60000);
    record(PARAMS, 1, filling, REQUEST_PARAMS_MAX - 120000);
    text_record(PARAMS, 1, "");
    text_record(STDIN, 1, "");
    expect_body("");
    assert_int_equal(parser.params.total, REQUEST_PARAMS_MAX);

    buffer_reset(&bytes, BYTES_MAX);
    begin(1, 1, 1);
    record(PARAMS, 1, filling, 60000);
    record(PARAMS, 1, filling, 60000);
    record(PARAMS, 1, filling, REQUEST_PARAMS_MAX - 120000 + 1);
    text_record(PARAMS, 1, "");
    body("and its body");
    expect_body("and its body");
    assert_int_equal(parser.params.total, REQUEST_PARAMS_MAX + 1);
    expect_no_variable_but(REQUEST_VARIABLES);

    buffer_reset(&bytes, BYTES_MAX);
    begin(1, 1, 1);
    for (int i = 0; i < 36; i++) {
        record(PARAMS, 1, filling, 60000);
    }
    expect(PARSER_COMPLETE); /* to be refused, and not read any further */
    assert_false(parser.keep);
    assert_int_equal(parser_memory(&parser), 0);
    free(filling);
}

static void a_body_over_the_limit_is_counted_and_not_kept(void **state)
{
    char filling[LIMIT + 1] = {0};

    head();
    record(STDIN, 1, filling, LIMIT);
    text_record(STDIN, 1, "");
    expect(PARSER_COMPLETE);
    assert_int_equal(parser.body.bytes.len, LIMIT);

    buffer_reset(&bytes, BYTES_MAX);
    head();
    record(STDIN, 1, filling, LIMIT + 1);
    text_record(STDIN, 1, "");
    expect(PARSER_COMPLETE);
    assert_int_equal(parser.body.total, LIMIT + 1);
    assert_null(parser.body.bytes.data);
    assert_true(parser.keep);

    buffer_reset(&bytes, BYTES_MAX);
    head();
    for (int i = 0; i < 17; i++) {
        record(STDIN, 1, filling, LIMIT);
    }
    expect(PARSER_COMPLETE);
    assert_false(parser.keep);
}

static void values_are_sent_once_however_often_they_are_asked_for(void **state)
{
    static const char name[] = "\17\0FCGI_MPXS_CONNS";
    static const char output[] = "\1\12\0\0\0\22\6\0\17\1FCGI_MPXS_CONNS0\0\0\0\0\0\0";
    char many[PARSER_CONTENT_MAX + 1];

    for (size_t i = 0; i < sizeof many; i++) {
        many[i] = name[i % (sizeof name - 1)];
    }
    record(GET_VALUES, 0, many, 15 * (sizeof name - 1));
    expect(PARSER_INCOMPLETE);
    expect_output(output, sizeof output - 1);
    assert_true(parser_is_idle(&parser));

    buffer_reset(&bytes, BYTES_MAX);
    text_record(GET_VALUES, 0, "");
    expect(PARSER_INCOMPLETE);
    expect_output("\1\12\0\0\0\0\0\0", 8);

    buffer_reset(&bytes, BYTES_MAX);
    record(GET_VALUES, 0, many, PARSER_CONTENT_MAX);
    expect(PARSER_ERROR); /* the last name is cut */

    buffer_reset(&bytes, BYTES_MAX);
    record(GET_VALUES, 0, many, sizeof many);
    expect(PARSER_ERROR);
}

static void management_records_do_not_disturb_a_request(void **state)
{
    static const char output[] = "\1\13\0\0\0\10\0\0M\0\0\0\0\0\0\0";

    begin(1, 1, 1);
    text_record(77, 0, "a type that is unknown");
    text_record(PARAMS, 1, "\16\4REQUEST_METHODPOST");
    text_record(PARAMS, 1, "");
    text_record(STDIN, 1, "a");
    record_as(1, 9, 2, "of no request", 13, 255);
    text_record(STDIN, 1, "b");
    text_record(STDIN, 1, "");
    expect_body("ab");
    expect_variable(REQUEST_METHOD, "POST");
    expect_output(output, sizeof output - 1);
}

static void a_flood_of_stray_records_is_refused(void **state)
{
    static const struct {
        int type, id;
    } cases[] = {{GET_VALUES, 0}, {77, 0}, {STDIN, 9}, {PARAMS, 9}, {ABORT, 9}, {77, 9}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        buffer_reset(&bytes, BYTES_MAX);
        for (int n = 0; n < PARSER_STRAY_MAX; n++) {
            text_record(cases[i].type, cases[i].id, "");
        }
        expect(PARSER_INCOMPLETE);
        text_record(cases[i].type, cases[i].id, "");
        expect(PARSER_ERROR);
        assert_true(parser.output.len <= 16 * PARSER_STRAY_MAX);
    }
}

static void another_request_in_between_has_responded_and_this_one_goes_on(void **state)
{
    static const char refusal[] = "\1\3\0\2\0\10\0\0\0\0\0\0\1\0\0\0"; /* FCGI_CANT_MPX_CONN */

    head();
    begin(2, 1, 1);
    text_record(PARAMS, 2, "\11\1PATH_INFO/");
    text_record(PARAMS, 2, "");
    text_record(STDIN, 1, "mi");
    text_record(STDIN, 2, "others'");
    text_record(STDIN, 2, "");
    text_record(STDIN, 1, "ne");
    text_record(STDIN, 1, "");
    expect_body("mine");
    expect_variable(REQUEST_METHOD, "POST");
    expect_no_variable_but(REQUEST_METHOD);
    expect_output(refusal, sizeof refusal - 1);
}

static void other_roles_are_refused(void **state)
{
    static const int roles[] = {0, 2, 3, 4, 257, 65535};

    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++) {
        buffer_reset(&bytes, BYTES_MAX);
        begin(1, roles[i], 1);
        expect(PARSER_ERROR);
        expect_output("\1\3\0\1\0\10\0\0\0\0\0\0\3\0\0\0", 16); /* FCGI_UNKNOWN_ROLE */
    }
}

static void records_out_of_place_end_the_connection(void **state)
{
    for (int stage = 0; stage < 3; stage++) {
        for (int type = 0; type < 256; type++) {
            bool has_place = stage == 0 ? type != BEGIN : type == (stage == 1 ? PARAMS : STDIN);

            buffer_reset(&bytes, BYTES_MAX);
            if (stage > 0) {
                begin(1, 1, 1);
            }
            if (stage > 1) {
                text_record(PARAMS, 1, "");
            }
            text_record(type, 1, "abcdefg");
            expect(has_place ? PARSER_INCOMPLETE : PARSER_ERROR);
        }
    }
}

static void what_is_no_fastcgi_is_refused_at_once(void **state)
{
    for (int version = 0; version < 256; version++) {
        buffer_reset(&bytes, BYTES_MAX);
        record_as(version, BEGIN, 1, "\0\1\1\0\0\0\0\0", 8, 0);
        expect(version == 1 ? PARSER_INCOMPLETE : PARSER_ERROR);
    }
    for (size_t len = 0; len < 20; len++) {
        buffer_reset(&bytes, BYTES_MAX);
        record(BEGIN, 1, "\0\1\1\0\0\0\0\0abcdefghijklmnopq", len);
        expect(len == 8 ? PARSER_INCOMPLETE : PARSER_ERROR);
    }
    buffer_reset(&bytes, BYTES_MAX);
    begin(0, 1, 1);
    expect(PARSER_ERROR);
    buffer_reset(&bytes, BYTES_MAX);
    begin(1, 1, 1);
    begin(1, 1, 1);
    expect(PARSER_ERROR);
}

static void an_abort_ends_the_connection_and_is_no_error(void **state)
{
    begin(1, 1, 1);
    text_record(ABORT, 1, "");
    expect(PARSER_ERROR);
    assert_null(parser.error);
}

static int set_up(void **state)
{
    buffer_init(&bytes, BYTES_MAX);
    parser_init(&parser, LIMIT);
    return 0;
}

static int clean_up(void **state)
{
    buffer_free(&bytes);
    parser_free(&parser);
    return 0;
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, clean_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_request_is_taken_however_it_is_cut),
        CASE(a_stream_in_many_records_of_any_padding_is_one),
        CASE(a_request_without_its_last_byte_is_none),
        CASE(the_next_request_is_taken_too),
        CASE(little_memory_is_kept_for_the_next_request),
        CASE(a_large_body_is_freed_and_the_variables_stay),
        CASE(what_comes_behind_a_request_ends_its_connection),
        CASE(each_variable_has_the_first_value_of_its_name),
        CASE(there_are_no_variables_before_all_have_come),
        CASE(every_variable_that_is_read_is_found_by_its_number),
        CASE(a_nul_ends_no_value),
        CASE(a_nul_ends_no_name),
        CASE(empty_records_within_a_body_that_is_declared_do_not_end_it),
        CASE(without_a_length_the_first_empty_record_ends_the_body),
        CASE(a_body_that_ended_early_is_a_request_once_no_more_comes),
        CASE(a_body_that_ends_again_and_again_is_refused),
        CASE(a_value_of_any_length_is_read_whole),
        CASE(lengths_that_lie_are_never_believed),
        CASE(variables_over_the_limit_are_counted_and_not_kept),
        CASE(a_body_over_the_limit_is_counted_and_not_kept),
        CASE(values_are_sent_once_however_often_they_are_asked_for),
        CASE(management_records_do_not_disturb_a_request),
        CASE(a_flood_of_stray_records_is_refused),
        CASE(another_request_in_between_has_responded_and_this_one_goes_on),
        CASE(other_roles_are_refused),
        CASE(records_out_of_place_end_the_connection),
        CASE(what_is_no_fastcgi_is_refused_at_once),
        CASE(an_abort_ends_the_connection_and_is_no_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
