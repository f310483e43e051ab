/* A database that stands still while large requests come: the queue takes 64 MiB and refuses at once what is
 * beyond, the worker's memory stays within bounds, and what was accepted is stored later. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/background_load.h"
#include "harness/fastcgi.h"
#include "harness/fixture.h"

enum {
    METADATA_BYTES = 1024 * 1024, /* of each request */
    QUEUE_BYTES = 64 * METADATA_BYTES,
    REQUESTS = 320, /* what they are together is far over both bounds */
    ACCEPTED_MAX = QUEUE_BYTES / METADATA_BYTES,
    ACCEPTED_MIN = ACCEPTED_MAX / 2 - 1, /* a record's memory is at most twice its bytes */
    MEMORY_MAX_KIB = 192 * 1024,
    SANITY_MS = 300000, /* half of the request timeout: who waits for that has not been refused at once */
};

/* Those of AddressSanitizer keep what is freed out of the figure. */
static const char *const settings[] = {
    "INCIDENTS_BODY_LIMIT=2097152", "INCIDENTS_REQUEST_TIMEOUT_MS=600000", "INCIDENTS_QUEUE_MAX=1000",
    "ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:exitcode=99:quarantine_size_mb=1", NULL};

static struct stack stack;
static char *body;

static const char *write_body(int number)
{
    static const char end[] = "\"}}";
    int len = sprintf(
        body, "{\"reference_id\":\"large-%d\",\"started_at\":\"2024-01-01\",\"metadata\":{\"a\":\"", number);

    memset(body + len, 'x', METADATA_BYTES);
    memcpy(body + len + METADATA_BYTES, end, sizeof end);
    return body;
}

/* Sends the whole request, which the worker reads to its end before it answers; the connection. */
static int send_upsert(int number)
{
    struct fastcgi_request request = {.path = "incidents.upsert", .body = write_body(number)};
    int fd = fastcgi_connect(stack.worker_socket);
    struct buffer bytes;

    buffer_init(&bytes, FASTCGI_BYTES_MAX);
    fastcgi_append_request(&bytes, &stack, &request);
    assert_true(fastcgi_send(fd, bytes.data, bytes.len));
    buffer_free(&bytes);
    return fd;
}

static int receive(int fd)
{
    struct http_response response;
    char retry_after[16];
    int status;

    assert_int_equal(fastcgi_receive(fd, SANITY_MS, &response), FASTCGI_ANSWERED);
    status = response.status;
    if (status == 503) {
        assert_string_equal(http_response_text(&response, "error"), "service_unavailable");
        assert_non_null(http_response_header(&response, "Retry-After", retry_after, sizeof retry_after));
    } else {
        assert_int_equal(status, 200);
    }
    http_response_free(&response);
    close(fd);
    return status;
}

static int upsert(int number)
{
    return receive(send_upsert(number));
}

static int get(const char *path)
{
    struct fastcgi_request request = {.verb = "GET", .path = path};
    struct http_response response;
    int status;

    assert_int_equal(fastcgi_exchange(&stack, &request, &response), FASTCGI_ANSWERED);
    status = response.status;
    http_response_free(&response);
    return status;
}

static void await_200(int number)
{
    int64_t give_up_ms = clock_now_ms() + SANITY_MS;

    while (upsert(number) != 200) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(50);
    }
}

static void check_memory(void)
{
    long kib = worker_memory_kib(&stack, "VmHWM:");

    if (kib > MEMORY_MAX_KIB) {
        fail_msg("the worker has had %ld KiB, not at most %d", kib, MEMORY_MAX_KIB);
    }
}

/* Receives the responses that have come, each a refusal, and marks their connections as done; how many. */
static int receive_refusals(struct pollfd *peers)
{
    int count = 0;

    assert_true(poll(peers, REQUESTS, 50) >= 0);
    for (int i = 0; i < REQUESTS; i++) {
        if (peers[i].fd >= 0 && peers[i].revents != 0) {
            assert_int_equal(receive(peers[i].fd), 503);
            peers[i].fd = -1;
            count++;
        }
    }
    return count;
}

/* One after the other: what is not read to its end yet has a bound of its own. */
static void fill_queue(struct pollfd *peers)
{
    int64_t give_up_ms;
    int refused = 0;

    for (int i = 0; i < REQUESTS; i++) {
        peers[i] = (struct pollfd){.fd = send_upsert(i), .events = POLLIN};
    }
    check_memory();
    give_up_ms = clock_now_ms() + SANITY_MS;
    while (refused < REQUESTS - ACCEPTED_MAX) {
        assert_true(clock_now_ms() < give_up_ms);
        refused += receive_refusals(peers);
    }
}

static void a_queue_of_64_mib_refuses_at_once_what_is_beyond(void **state)
{
    static struct pollfd peers[REQUESTS];
    char stored[16];
    int accepted = 0;

    await_200(REQUESTS); /* there is a session to stop */
    stack_pause_postgres(&stack);
    fill_queue(peers);
    assert_int_equal(get("healthz"), 200);
    stack_resume_postgres(&stack);
    for (int i = 0; i < REQUESTS; i++) { /* among them refusals that are only read now */
        accepted += peers[i].fd >= 0 && receive(peers[i].fd) == 200 ? 1 : 0;
    }
    if (accepted < ACCEPTED_MIN || accepted > ACCEPTED_MAX) {
        fail_msg("%d requests were accepted, not %d to %d", accepted, ACCEPTED_MIN, ACCEPTED_MAX);
    }
    check_memory();
    snprintf(stored, sizeof stored, "%d", accepted + 1);
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident"), stored);
    for (int i = 0; i < 3; i++) { /* the queue has its room back */
        assert_int_equal(upsert(i), 200);
    }
}

static void make_body(void)
{
    body = malloc(METADATA_BYTES + 256);
    assert_non_null(body);
}

static void free_body(void)
{
    free(body);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .settings = settings, .start = make_body, .stop = free_body};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_queue_of_64_mib_refuses_at_once_what_is_beyond),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
