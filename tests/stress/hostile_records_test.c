/* A generator of sequences of FastCGI records, straight at the worker's socket: good requests in every shape
 * that the specification allows, requests that are spoilt in one way each, and such that nobody knows what
 * they are. What is good is answered and stored, what is spoilt is neither, and the worker stays as it is.
 *
 * HOSTILE_SEED in the environment repeats a run. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness/background_load.h"
#include "harness/fastcgi_checks.h"
#include "harness/figures.h"
#include "harness/fixture.h"
#include "harness/prng.h"

enum { TIMEOUT_MS = 20000, RECORD_MAX = 60000 };

static struct stack stack;

/* ---- Records ---- */

/* A record with any padding. */
static void put(struct buffer *out, int version, int type, int id, const void *content, size_t len)
{
    static const char filling[256] = {1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 1}; /* it might be taken for a record */
    size_t padding = prng_one_in(3) ? prng_below(256) : 0;
    const unsigned char header[8] = {
        (unsigned char)version,    (unsigned char)type, (unsigned char)(id >> 8), (unsigned char)id,
        (unsigned char)(len >> 8), (unsigned char)len,  (unsigned char)padding,   (unsigned char)prng_draw()};

    buffer_append(out, header, sizeof header);
    buffer_append(out, content, len);
    buffer_append(out, filling, padding);
}

/* Now and then a record that may stand anywhere and changes nothing. */
static void put_harmless(struct buffer *out, int id, int *left)
{
    static const char names[] = "\17\0FCGI_MPXS_CONNS\16\0FCGI_MAX_CONNS",
                      stray[] = "{\"reference_id\":\"bad\"}";
    static const char zeros[64];
    int other = id % 65535 + 1;

    if (*left == 0 || !prng_one_in(4)) {
        return;
    }
    (*left)--;
    switch (prng_below(4)) {
    case 0:
        put(out, 1, FASTCGI_GET_VALUES, 0, names, prng_one_in(2) ? 17 : sizeof names - 1);
        break;
    case 1:
        put(out, 1, 12 + (int)prng_below(244), 0, zeros, prng_below(sizeof zeros));
        break;
    case 2:
        put(out, 1, 2 + (int)prng_below(254), other, zeros, prng_below(sizeof zeros));
        break;
    default:
        put(out, 1, FASTCGI_STDIN, other, stray, sizeof stray - 1);
        break;
    }
}

/* How a request is spoilt, each so that nothing of it may be stored. */
enum fault {
    NO_FAULT,
    CUT,
    ABORTED,
    LYING_LENGTH,
    OTHER_VERSION,
    MISPLACED_TYPE,
    BEGUN_TWICE,
    WRONG_BEGIN,
    OTHER_ROLE,
    FORGED_IN_A_BODY,
    FLOODED,
    LYING_VARIABLES,
    TOO_MANY_VARIABLES,
    OTHER_TOKEN,
    NOISE_BEFORE_IT,
    FAULTS
};

static void put_begin(struct buffer *out, enum fault fault, int id, bool keep)
{
    unsigned char begin[16] = {0, 1, keep ? 1 : 0};
    size_t len = 8;

    if (fault == WRONG_BEGIN) {
        len = prng_one_in(2) ? prng_below(8) : 9 + prng_below(7);
    }
    if (fault == OTHER_ROLE) {
        begin[1] = (unsigned char)(2 + prng_below(254));
    }
    put(out, 1, FASTCGI_BEGIN_REQUEST, id, begin, len);
}

/* The records that spoil a request in its middle. */
static void put_fault(struct buffer *out, enum fault fault, int id, bool in_body)
{
    static const int no_params[] = {0, 3, 5, 6, 7, 8, 9, 10, 11, 12, 200};
    static const int no_body[] = {0, 3, 4, 6, 7, 8, 9, 10, 11, 77, 255};

    switch (fault) {
    case ABORTED:
        put(out, 1, FASTCGI_ABORT_REQUEST, id, "", 0);
        break;
    case OTHER_VERSION:
        put(out, prng_one_in(2) ? 0 : 2 + (int)prng_below(254), FASTCGI_STDIN, id, "x", 1);
        break;
    case MISPLACED_TYPE:
        put(out, 1, in_body ? no_body[prng_below(11)] : no_params[prng_below(11)], id, "abcdefgh",
            prng_below(9));
        break;
    case BEGUN_TWICE:
        put(out, 1, FASTCGI_BEGIN_REQUEST, id, "\0\1\1\0\0\0\0\0", 8);
        break;
    case FLOODED:
        for (int i = 0; i < 70; i++) {
            put(out, 1, prng_one_in(2) ? FASTCGI_GET_VALUES : 99, 0, "", 0);
        }
        break;
    default:
        break;
    }
}

/* A stream in records of any size, with what is harmless between them, and the fault somewhere. */
static void put_stream(struct buffer *out, int type, int id, const struct buffer *content, enum fault fault,
                       int *harmless)
{
    size_t at = 0, fault_at = prng_below(content->len + 1);
    bool is_spoilt = false;

    while (at < content->len || !is_spoilt) {
        size_t left = content->len - at;
        size_t len = prng_below((prng_one_in(4) || left > RECORD_MAX ? 4 : left) + 1);

        if (!is_spoilt && at >= fault_at) {
            put_fault(out, fault, id, type == FASTCGI_STDIN);
            is_spoilt = true;
        }
        put_harmless(out, id, harmless);
        len = left > RECORD_MAX ? RECORD_MAX - len : len;
        if (len > 0 && len <= left) {
            put(out, 1, type, id, content->data + at, len);
            at += len;
        }
    }
    put(out, 1, type, id, "", 0);
}

static void append_variables(struct buffer *params, enum fault fault, size_t body_len)
{
    char authorization[STACK_TOKEN_MAX + 16], length[32];
    size_t declared = body_len;

    if (fault == LYING_LENGTH) {
        declared = prng_one_in(2) ? prng_below(body_len) : body_len + 1 + prng_below(1000000);
    }
    snprintf(authorization, sizeof authorization, "Bearer %s", fault == OTHER_TOKEN ? "x" : stack.token);
    snprintf(length, sizeof length, "%zu", declared);
    for (size_t i = prng_below(20); i > 0; i--) {
        fastcgi_append_variable(params, "HTTP_COOKIE", "a=b");
    }
    fastcgi_append_variable(params, "REQUEST_METHOD", "POST");
    fastcgi_append_variable(params, "PATH_INFO",
                            fault == FORGED_IN_A_BODY ? "/nothing" : "/incidents.upsert");
    fastcgi_append_variable(params, "HTTP_AUTHORIZATION", authorization);
    if (fault == LYING_LENGTH || !prng_one_in(4)) {
        fastcgi_append_variable(params, "CONTENT_LENGTH", length);
    }
    if (fault == LYING_VARIABLES) {
        buffer_append(params, "\201\0\0\0\1x", 6);
    }
    for (int i = 0; fault == TOO_MANY_VARIABLES && i < 20000; i++) {
        fastcgi_append_variable(params, "HTTP_X", "y");
    }
}

static void append_body(struct buffer *body, enum fault fault, const char *reference_id)
{
    char text[160];
    const struct fastcgi_request forged = {.keep = true, .path = "incidents.upsert", .body = text};

    snprintf(text, sizeof text, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    if (fault == FORGED_IN_A_BODY) {
        fastcgi_append_request(body, &stack, &forged);
    } else {
        buffer_append_text(body, text);
    }
}

static void append_noise(struct buffer *out)
{
    unsigned char noise[256];
    size_t len = 8 + prng_below(200);

    for (size_t i = 0; i < len; i++) {
        noise[i] = (unsigned char)prng_draw();
    }
    noise[0] |= 2; /* no version 1 */
    buffer_append(out, noise, len);
}

/* Appends a request whose incident has that name. */
static void put_request(struct buffer *out, enum fault fault, const char *reference_id, bool keep)
{
    int id = 1 + (int)prng_below(65535), harmless = 40; /* fewer than a flood */
    bool in_body = prng_one_in(2);
    struct buffer params, body;

    buffer_init(&params, FASTCGI_BYTES_MAX);
    buffer_init(&body, FASTCGI_BYTES_MAX);
    append_body(&body, fault, reference_id);
    append_variables(&params, fault, body.len);
    if (fault == NOISE_BEFORE_IT) {
        append_noise(out);
    }
    put_begin(out, fault, id, keep);
    put_stream(out, FASTCGI_PARAMS, id, &params, in_body ? NO_FAULT : fault, &harmless);
    put_stream(out, FASTCGI_STDIN, id, &body, in_body ? fault : NO_FAULT, &harmless);
    buffer_free(&params);
    buffer_free(&body);
}

/* ---- Sequences ---- */

struct generator {
    uint64_t seed;
    size_t sequence;
    size_t good, spoilt, mangled;
};

static void fail_with_seed(const struct generator *generator, const char *what,
                           const struct http_response *response)
{
    fail_msg("HOSTILE_SEED=%llu, sequence %zu: %s: %d %s", (unsigned long long)generator->seed,
             generator->sequence, what, response->status, response->body);
}

static void send_in_pieces(int fd, const char *data, size_t len)
{
    size_t piece_max = prng_one_in(4) ? 1 + len / (1 + prng_below(20)) : len;

    for (size_t at = 0; at < len;) {
        size_t left = len - at, piece = piece_max == len ? len : 1 + prng_below(piece_max);

        piece = piece > left ? left : piece;
        if (!fastcgi_send(fd, data + at, piece)) {
            return; /* the worker has closed: it had enough */
        }
        at += piece;
    }
}

/* Several good requests on one connection. */
static void send_good(struct generator *generator)
{
    size_t count = 1 + prng_below(4);
    int fd = fastcgi_connect(stack.worker_socket);

    for (size_t i = 0; i < count; i++) {
        char reference_id[64];
        struct http_response response;
        struct buffer bytes;

        snprintf(reference_id, sizeof reference_id, "good-%zu-%zu", generator->sequence, i);
        buffer_init(&bytes, FASTCGI_BYTES_MAX);
        put_request(&bytes, NO_FAULT, reference_id, i + 1 < count);
        send_in_pieces(fd, bytes.data, bytes.len);
        buffer_free(&bytes);
        if (fastcgi_receive(fd, TIMEOUT_MS, &response) != FASTCGI_ANSWERED || response.status != 200 ||
            strcmp(http_response_text(&response, "reference_id"), reference_id) != 0) {
            fail_with_seed(generator, "a good request was not answered as one", &response);
        }
        http_response_free(&response);
        generator->good++;
    }
    close(fd);
}

/* Says that no more will come, and hears the worker out: it must close. */
static void hear_out(const struct generator *generator, int fd, bool may_succeed)
{
    struct http_response response;
    enum fastcgi_end end;

    shutdown(fd, SHUT_WR);
    while ((end = fastcgi_receive(fd, TIMEOUT_MS, &response)) == FASTCGI_ANSWERED) {
        if (response.status == 200 && !may_succeed) {
            fail_with_seed(generator, "a spoilt request was answered as a good one", &response);
        }
        http_response_free(&response);
    }
    if (end != FASTCGI_CLOSED) {
        fail_with_seed(generator, "the worker neither answers nor closes", &response);
    }
    http_response_free(&response);
}

static void send_spoilt(struct generator *generator)
{
    enum fault fault = (enum fault)(1 + prng_below(FAULTS - 1));
    int fd = fastcgi_connect(stack.worker_socket);
    char reference_id[64];
    struct buffer bytes;

    snprintf(reference_id, sizeof reference_id, "bad-%zu-fault-%d", generator->sequence, (int)fault);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    put_request(&bytes, fault, reference_id, prng_one_in(2));
    send_in_pieces(fd, bytes.data, fault == CUT ? prng_below(bytes.len) : bytes.len);
    buffer_free(&bytes);
    if (fault != CUT || prng_one_in(2)) {
        hear_out(generator, fd, false);
    }
    close(fd);
    generator->spoilt++;
}

/* Changes, removes or doubles some bytes. */
static void mangle(struct buffer *bytes)
{
    size_t at = prng_below(bytes->len), len = prng_below(bytes->len - at);
    char *copy;

    switch (prng_below(4)) {
    case 0:
        bytes->data[at] = (char)prng_draw();
        break;
    case 1:
        bytes->data[at] = (char)(bytes->data[at] ^ (1 << prng_below(8)));
        break;
    case 2:
        memmove(bytes->data + at, bytes->data + at + len, bytes->len - at - len);
        bytes->len -= len;
        break;
    default:
        copy = malloc(len + 1);
        assert_non_null(copy);
        memcpy(copy, bytes->data + at, len);
        buffer_append(bytes, copy, len);
        free(copy);
        break;
    }
}

/* A good request of which nobody knows what it is now. */
static void send_mangled(struct generator *generator)
{
    int fd = fastcgi_connect(stack.worker_socket);
    char reference_id[64];
    struct buffer bytes;

    snprintf(reference_id, sizeof reference_id, "any-%zu", generator->sequence);
    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    put_request(&bytes, NO_FAULT, reference_id, prng_one_in(2));
    for (size_t i = 1 + prng_below(4); i > 0 && bytes.len > 0; i--) {
        mangle(&bytes);
    }
    send_in_pieces(fd, bytes.data, bytes.len);
    buffer_free(&bytes);
    hear_out(generator, fd, true);
    close(fd);
    generator->mangled++;
}

static void generate(struct generator *generator, size_t count)
{
    for (generator->sequence = 0; generator->sequence < count; generator->sequence++) {
        prng_seed(generator->seed + generator->sequence * 1000003);
        switch (prng_below(4)) {
        case 0:
            send_good(generator);
            break;
        case 1:
            send_mangled(generator);
            break;
        default:
            send_spoilt(generator);
            break;
        }
    }
}

static void check_what_is_stored(const struct generator *generator)
{
    size_t bad = count_like(&stack, "bad%"), good = count_like(&stack, "good-%");

    if (bad > 0) {
        fail_msg("HOSTILE_SEED=%llu: %zu spoilt requests are stored, \"%s\" among them",
                 (unsigned long long)generator->seed, bad,
                 stack_query(&stack,
                             "SELECT min(reference_id) FROM intake.incident WHERE reference_id LIKE 'bad%'"));
    }
    if (good != generator->good) {
        fail_msg("HOSTILE_SEED=%llu: %zu good requests were answered, %zu are stored",
                 (unsigned long long)generator->seed, generator->good, good);
    }
}

static void records_at_random_fool_nobody(void **state)
{
    struct generator generator = {.seed = prng_find_seed("HOSTILE_SEED")};
    size_t count = (size_t)stress_amount(1500, 30000);
    struct attack attack;

    attack_begin(&attack, &stack, "sequences of records at random", count, true);
    generate(&generator, count);
    attack_end(&attack, generator.spoilt);
    figures_row("of them good %zu, spoilt %zu, mangled %zu|%zu||||||||", generator.good, generator.spoilt,
                generator.mangled, count);
    check_what_is_stored(&generator);
    assert_true(generator.good > 0 && generator.spoilt > 0 && generator.mangled > 0);
}

static void head_table(void)
{
    attack_table("Records of FastCGI at random, straight at the worker's socket");
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .start = head_table};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(records_at_random_fool_nobody),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
