/* What plain CGI makes of the bytes that come from a worker that stays: the answer, or nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases/between.h"
#include "gateway/guard.h"
#include "gateway/relay.h"

enum { TIME_MS = 300, BODY_LIMIT = 4 * 1024 * 1024 };

static const char *read_variable(void *context, const char *name)
{
    (void)context;
    return strcmp(name, "REQUEST_METHOD") == 0 ? "POST" : strcmp(name, "PATH_INFO") == 0 ? "/x" : NULL;
}

/* The worker: takes the request in, says what it is told to, in pieces, and then hangs up, or not. */
struct peer {
    pthread_t thread;
    int socket;
    struct buffer reply;
    size_t piece; /* bytes at once; 0: all */
    bool stays_silent;
    struct guard guard; /* what it received */
    enum guard_verdict verdict;
};

static void *play(void *argument)
{
    struct peer *peer = argument;
    char chunk[16 * 1024];
    ssize_t n;

    while (peer->verdict == GUARD_MORE && (n = read(peer->socket, chunk, sizeof chunk)) > 0) {
        peer->verdict = guard_feed(&peer->guard, chunk, (size_t)n);
    }
    for (size_t at = 0; at < peer->reply.len;) {
        size_t left = peer->reply.len - at, len = peer->piece > 0 && peer->piece < left ? peer->piece : left;

        n = send(peer->socket, peer->reply.data + at, len, MSG_NOSIGNAL);
        if (n <= 0) {
            break;
        }
        at += (size_t)n;
    }
    if (!peer->stays_silent) {
        (void)shutdown(peer->socket, SHUT_RDWR);
    }
    return NULL;
}

static void begin(struct peer *peer)
{
    *peer = (struct peer){.socket = -1, .verdict = GUARD_MORE};
    buffer_init(&peer->reply, BODY_LIMIT);
    guard_init(&peer->guard, BODY_LIMIT);
}

static void end(struct peer *peer)
{
    buffer_free(&peer->reply);
    guard_free(&peer->guard);
}

static void say(struct peer *peer, int type, const char *text)
{
    record_append(&peer->reply, type, 1, text, strlen(text));
}

static void say_end(struct peer *peer, char protocol_status)
{
    const char content[8] = {0, 0, 0, 0, protocol_status};

    record_append(&peer->reply, RECORD_END_REQUEST, 1, content, sizeof content);
}

/* Sends a request of that body to the peer; what came of it. */
static enum relay_result ask(struct peer *peer, struct slice body, struct buffer *answer)
{
    enum relay_result result;
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    peer->socket = ends[1];
    assert_int_equal(pthread_create(&peer->thread, NULL, play, peer), 0);
    result = relay_request(ends[0], &(struct request){.id = "mine", .body = body}, read_variable, NULL, 12345,
                           clock_now_ms() + TIME_MS, answer);
    (void)close(ends[0]);
    assert_int_equal(pthread_join(peer->thread, NULL), 0);
    (void)close(ends[1]);
    return result;
}

/* The result where nothing but that depends on the peer. */
static enum relay_result result_of(struct peer *peer)
{
    struct buffer answer;
    enum relay_result result;

    buffer_init(&answer, 64 * 1024);
    result = ask(peer, (struct slice){.data = "{}", .len = 2}, &answer);
    buffer_free(&answer);
    end(peer);
    return result;
}

static void an_answer_comes_through_however_it_is_cut(void **state)
{
    static const size_t pieces[] = {0, 1, 7, 8, 9};

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        struct buffer answer;
        struct peer peer;

        begin(&peer);
        buffer_init(&answer, 64 * 1024);
        peer.piece = pieces[i];
        say(&peer, RECORD_STDOUT, "Status: 200 OK\r\n");
        say(&peer, RECORD_STDOUT, "\r\n{}");
        say(&peer, RECORD_STDOUT, "");
        say_end(&peer, RECORD_REQUEST_COMPLETE);
        assert_int_equal(ask(&peer, (struct slice){.data = "body", .len = 4}, &answer), RELAY_ANSWERED);
        assert_string_equal(answer.data, "Status: 200 OK\r\n\r\n{}");
        assert_int_equal(peer.verdict, GUARD_REQUEST);
        assert_false(peer.guard.keep);
        assert_int_equal(peer.guard.body.len, 4);
        assert_memory_equal(peer.guard.body.data, "body", 4);
        assert_memory_equal(peer.guard.params.data,
                            "\16\4REQUEST_METHODPOST\11\2PATH_INFO/x\21\4HTTP_X_REQUEST_IDmine"
                            "\23\5RELAY_TAKE_UNTIL_MS12345",
                            20 + 13 + 23 + 26);
        buffer_free(&answer);
        end(&peer);
    }
}

static void a_large_body_arrives_as_it_was(void **state)
{
    static char body[3 * 1024 * 1024];
    struct buffer answer;
    struct peer peer;

    (void)state;
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (char)(i * 31 >> 3);
    }
    begin(&peer);
    buffer_init(&answer, 64 * 1024);
    say(&peer, RECORD_STDOUT, "x");
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    assert_int_equal(ask(&peer, (struct slice){.data = body, .len = sizeof body}, &answer), RELAY_ANSWERED);
    assert_int_equal(peer.guard.body.len, sizeof body);
    assert_memory_equal(peer.guard.body.data, body, sizeof body);
    buffer_free(&answer);
    end(&peer);
}

static void what_the_worker_logs_goes_to_standard_error(void **state)
{
    int saved = dup(STDERR_FILENO), ends[2];
    char line[64] = "";
    struct peer peer;
    enum relay_result result;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    begin(&peer);
    say(&peer, RECORD_STDERR, "a line\n");
    say(&peer, RECORD_STDOUT, "x");
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    result = result_of(&peer);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    assert_int_equal(result, RELAY_ANSWERED);
    assert_int_equal(read(ends[0], line, sizeof line - 1), 7);
    assert_string_equal(line, "a line\n");
    (void)close(saved);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void half_an_answer_is_none(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer);
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    say(&peer, RECORD_STDOUT, "Status: 200 OK\r\n\r\n{}");
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    say(&peer, RECORD_STDOUT, "Status: 200 OK\r\n\r\n{}");
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    peer.reply.len -= 1;
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    say(&peer, RECORD_STDERR, "a line\n");
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    assert_int_equal(result_of(&peer), RELAY_LOST);
}

static void a_worker_that_refuses_or_makes_no_sense_has_not_answered(void **state)
{
    struct peer peer;

    (void)state;
    begin(&peer);
    say_end(&peer, RECORD_CANT_MPX_CONN);
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    record_append(&peer.reply, RECORD_END_REQUEST, 1, "", 0);
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    say(&peer, RECORD_UNKNOWN_TYPE, "x");
    peer.stays_silent = true;
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    record_append(&peer.reply, RECORD_STDOUT, 2, "x", 1); /* somebody else's */
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    assert_int_equal(result_of(&peer), RELAY_LOST);
    begin(&peer);
    say(&peer, RECORD_STDOUT, "x");
    say_end(&peer, RECORD_REQUEST_COMPLETE);
    peer.reply.data[0] = 2; /* of another version */
    assert_int_equal(result_of(&peer), RELAY_LOST);
}

static void an_answer_without_end_is_given_up(void **state)
{
    static char text[65001];
    struct peer peer;

    (void)state;
    memset(text, 'x', sizeof text - 1);
    begin(&peer);
    for (int i = 0; i < 20; i++) {
        say(&peer, RECORD_STDOUT, text);
    }
    peer.stays_silent = true;
    assert_int_equal(result_of(&peer), RELAY_LOST);
}

static void a_silent_worker_keeps_nobody_beyond_the_deadline(void **state)
{
    int64_t before = clock_now_ms();
    struct peer peer;

    (void)state;
    begin(&peer);
    say(&peer, RECORD_STDOUT, "Status: 200 OK\r\n");
    peer.stays_silent = true;
    assert_int_equal(result_of(&peer), RELAY_SILENT);
    assert_between(clock_now_ms() - before, TIME_MS, TIME_MS + 5000);
}

/* A body that no socket takes at once, and nobody reads. */
static void a_worker_that_does_not_read_keeps_nobody_beyond_the_deadline(void **state)
{
    static char body[3 * 1024 * 1024];
    const struct request request = {.id = "mine", .body = {.data = body, .len = sizeof body}};
    static const enum relay_result results[] = {RELAY_SILENT, RELAY_UNSENT};
    struct buffer answer;
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    buffer_init(&answer, 1024);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(
            relay_request(ends[0], &request, read_variable, NULL, 0, clock_now_ms() + TIME_MS, &answer),
            results[i]);
        (void)shutdown(ends[1], SHUT_RDWR); /* the second time it has gone */
    }
    (void)close(ends[0]);
    (void)close(ends[1]);
    buffer_free(&answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_comes_through_however_it_is_cut),
        cmocka_unit_test(a_large_body_arrives_as_it_was),
        cmocka_unit_test(what_the_worker_logs_goes_to_standard_error),
        cmocka_unit_test(half_an_answer_is_none),
        cmocka_unit_test(a_worker_that_refuses_or_makes_no_sense_has_not_answered),
        cmocka_unit_test(an_answer_without_end_is_given_up),
        cmocka_unit_test(a_silent_worker_keeps_nobody_beyond_the_deadline),
        cmocka_unit_test(a_worker_that_does_not_read_keeps_nobody_beyond_the_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
