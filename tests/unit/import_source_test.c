/* Records of a stream, wherever the pieces in which it comes are cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "incidentctl/import/source.h"

/* A source that gets the text in pieces of that size: a read of a SOCK_SEQPACKET socket returns one packet.
 */
static void open_pieces(struct source *source, const char *text, size_t piece)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0);
    for (size_t at = 0; at < strlen(text); at += piece) {
        size_t left = strlen(text) - at, len = left < piece ? left : piece;

        assert_int_equal(write(ends[1], text + at, len), (ssize_t)len);
    }
    close(ends[1]);
    *source = (struct source){.name = "pieces", .fd = ends[0], .stop_fd = -1, .line = 1};
}

/* Writes every record as LINE:TEXT, in brackets, and the fault where there is one. */
static void read_all(struct source *source, char found[512])
{
    struct source_record record;
    enum source_result result;
    uint64_t end = 0;
    size_t used = 0;

    found[0] = '\0';
    while ((result = source_next(source, &record)) == SOURCE_RECORD) {
        assert_true(record.end > end || record.text.len == 0);
        end = record.end;
        used += (size_t)snprintf(found + used, 512 - used, "[%llu:%.*s]", (unsigned long long)record.line,
                                 (int)record.text.len, record.text.data);
    }
    if (result == SOURCE_BROKEN) {
        snprintf(found + used, 512 - used, "%s", source->fault);
    }
}

static const struct {
    enum source_kind kind;
    bool looks_into_wrappers;
    const char *text, *found;
} cases[] = {
    {SOURCE_LINES, false, "", ""},
    {SOURCE_LINES, false, "a\n\n \r\nb\r\nc", "[1:a][4:b][5:c]"},
    {SOURCE_ROWS, false, "a,b\n\"x\ny\",z\n\nc,d\r\n", "[1:a,b][2:\"x\ny\",z][5:c,d]"},
    {SOURCE_ROWS, false, "a,\"b\nc", "[1:a,\"b\nc]"},
    {SOURCE_VALUES, false, " \n", ""},
    {SOURCE_VALUES, false, "[]", ""},
    {SOURCE_VALUES, false, "[ {\"a\":[1,2]} ,\n {\"b\":\"],[\\\"\"}]\n",
     "[1:{\"a\":[1,2]}][2:{\"b\":\"],[\\\"\"}]"},
    {SOURCE_VALUES, false, "{\"a\":1}{\"b\":\"}\"}\n{\n}", "[1:{\"a\":1}][1:{\"b\":\"}\"}][2:{\n}]"},
    {SOURCE_VALUES, false, "[1,\"x\",null , {}x]", "[1:1][1:\"x\"][1:null][1:{}x]"},
    {SOURCE_VALUES, false, "[1,,2]", "[1:1][1:][1:2]"},
    {SOURCE_VALUES, false, "[{\"a\":1]},{\"b\":2}]", "[1:{\"a\":1]}][1:{\"b\":2}]"},
    {SOURCE_VALUES, false, "[1,2", "[1:1][1:2]the array is not closed"},
    {SOURCE_VALUES, false, "[1,\n{\"a\":\"]", "[1:1][2:{\"a\":\"]]the array is not closed"},
    {SOURCE_VALUES, false, "{\"incidents\":[1]}", "[1:{\"incidents\":[1]}]"},
    {SOURCE_VALUES, true,
     "{\"incidents\":[1,{\"data\":[2]}],\"more\":{\"x\":\"}\"}}\n{\"x\":{\"data\":[]},\"data\" : [3]}",
     "[1:1][1:{\"data\":[2]}][2:3]"},
    {SOURCE_VALUES, true, "{\"id\":\"incidents\",\"a\":[{\"incidents\":[1]}]}",
     "[1:{\"id\":\"incidents\",\"a\":[{\"incidents\":[1]}]}]"},
    {SOURCE_VALUES, true, "{\"data\":[],\"x\":1}{\"id\":1}", "[1:{\"id\":1}]"},
    {SOURCE_VALUES, true, "{\"data\":[1],\"x\":1", "[1:1]an object is not closed"},
};

static void records_are_found_wherever_the_pieces_end(void **state)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (size_t piece = 1; piece <= strlen(cases[i].text) + 1; piece++) {
            struct source source;
            char found[512];

            open_pieces(&source, cases[i].text, piece);
            source_set_kind(&source, cases[i].kind, cases[i].looks_into_wrappers);
            read_all(&source, found);
            source_close(&source);
            if (strcmp(found, cases[i].found) != 0) {
                fail_msg("case %zu, by %zu bytes: %s, not %s", i, piece, found, cases[i].found);
            }
        }
    }
}

static void a_format_is_guessed_and_nothing_of_it_lost(void **state)
{
    static const struct {
        const char *text;
        enum source_kind kind;
        const char *found;
    } guesses[] = {
        {"", SOURCE_ROWS, ""},
        {"a,b\n", SOURCE_ROWS, "[1:a,b]"},
        {"\xEF\xBB\xBF"
         "a,b\n",
         SOURCE_ROWS, "[1:a,b]"},
        {"\n [1]", SOURCE_VALUES, "[2:1]"},
        {"{\"a\":\"{\"}\n{}", SOURCE_LINES, "[1:{\"a\":\"{\"}][2:{}]"},
        {"{\"a\":\n1}\n", SOURCE_VALUES, "[1:{\"a\":\n1}]"},
        {"{}", SOURCE_LINES, "[1:{}]"},
    };

    for (size_t i = 0; i < sizeof guesses / sizeof guesses[0]; i++) {
        for (size_t piece = 1; piece <= strlen(guesses[i].text) + 1; piece++) {
            enum source_kind kind = SOURCE_LINES;
            struct source source;
            char found[512];

            open_pieces(&source, guesses[i].text, piece);
            assert_int_equal(source_guess(&source, &kind), SOURCE_RECORD);
            source_set_kind(&source, kind, false);
            read_all(&source, found);
            source_close(&source);
            if (kind != guesses[i].kind || strcmp(found, guesses[i].found) != 0) {
                fail_msg("guess %zu, by %zu bytes: kind %d, %s", i, piece, (int)kind, found);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_found_wherever_the_pieces_end),
        cmocka_unit_test(a_format_is_guessed_and_nothing_of_it_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
