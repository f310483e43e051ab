/* Metrics: for whom they are, that they count what happened, and that they are one for all processes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/utf8.h"
#include "harness/fixture.h"

static struct stack stack;

static struct stack_metrics metrics;
static const char *const settings[] = {metrics.setting, "INCIDENTS_REQUEST_TIMEOUT_MS=3000", NULL};
static const char *const patient[] = {metrics.setting, "INCIDENTS_REQUEST_TIMEOUT_MS=50000",
                                      "INCIDENTS_QUEUE_MAX=400", NULL};

static const struct call scrape = {.verb = "GET", .path = "metrics", .authorization = metrics.authorization};

static int status_of(const char *with, const char *verb)
{
    struct call call = {.verb = verb, .path = "metrics", .authorization = with};
    struct http_response response;

    http_through_nginx(&stack, &call, &response);
    http_response_free(&response);
    return response.status;
}

/* The value of a series, as it stands in the text behind its name and labels; -1 where it is not there. */
static double value_in(const char *text, const char *series)
{
    size_t len = strlen(series);

    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, series, len) == 0 && line[len] == ' ') {
            return strtod(line + len, NULL);
        }
    }
    return -1;
}

static double value_of(const char *series)
{
    struct http_response response;
    double value;

    http_through_nginx(&stack, &scrape, &response);
    assert_int_equal(response.status, 200);
    value = value_in(response.body, series);
    http_response_free(&response);
    return value;
}

/* What of the metrics depends on when other processes come and go is waited for. */
static void await_value(const char *series, double wanted)
{
    int64_t limit_ms = clock_now_ms() + 60000;
    double value;

    while ((value = value_of(series)) != wanted) {
        if (clock_now_ms() > limit_ms) {
            fail_msg("%s is %g, not %g", series, value, wanted);
        }
        clock_sleep_ms(20);
    }
}

static void send_by(http_transport *transport, const char *reference_id, const char *started_at)
{
    char body[256];
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"%s\"}", reference_id, started_at);
    transport(&stack, &call, &response);
    http_response_free(&response);
}

static void without_a_token_in_the_settings_there_is_no_such_method(void **state)
{
    stack_stop_worker(&stack);
    stack_start_worker(&stack, NULL);
    assert_int_equal(status_of(metrics.authorization, "GET"), 404);
    assert_int_equal(status_of("", "POST"), 404);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    assert_int_equal(status_of(metrics.authorization, "GET"), 200);
}

static void they_are_for_who_has_their_token(void **state)
{
    struct http_response response;
    char type[128];

    assert_int_equal(status_of("", "GET"), 401);
    assert_int_equal(status_of(NULL, "GET"), 401); /* a good token of the API's */
    assert_int_equal(status_of("Bearer scraped-by-the-metrics-tesT", "GET"), 401);
    assert_int_equal(status_of(metrics.authorization, "POST"), 405);
    http_through_nginx(&stack, &scrape, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(http_response_header(&response, "Content-Type", type, sizeof type),
                        "text/plain; version=0.0.4; charset=utf-8");
    http_response_free(&response);
}

/* The format: every line is a comment or a series and a number; each has its HELP and TYPE before it; buckets
 * grow, and the last is the count. */
static void the_text_is_in_prometheus_format(void **state)
{
    struct http_response response;
    char *line, *rest, type[64] = "";
    double last = 0;
    int samples = 0;

    http_through_nginx(&stack, &scrape, &response);
    assert_int_equal(response.status, 200);
    for (line = strtok_r(response.body, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char *end, *value = strrchr(line, ' ');

        assert_non_null(value);
        if (strncmp(line, "# TYPE ", 7) == 0) {
            snprintf(type, sizeof type, "%.*s", (int)strcspn(line + 7, " "), line + 7);
        } else if (*line != '#') {
            double number = strtod(value + 1, &end);

            assert_true(*end == '\0' && number >= 0);
            assert_int_equal(strncmp(line, type, strlen(type)), 0);
            if (strstr(line, "_bucket{") != NULL) {
                last = strstr(line, "le=\"0.001\"") != NULL || strstr(line, "{le=\"1\"}") != NULL ? 0 : last;
                assert_true(number >= last);
                last = number;
            } else if (strstr(line, "_count") != NULL) {
                assert_true(number == last);
            }
            samples++;
        }
    }
    assert_true(samples > 50);
    http_response_free(&response);
}

static void requests_are_counted_by_method_and_outcome(void **state)
{
    static const char created[] = "incidents_requests_total{method=\"incidents.upsert\",outcome=\"created\"}";
    static const char timestamp[] =
        "incidents_requests_total{method=\"incidents.upsert\",outcome=\"invalid_timestamp\"}";
    static const char count[] = "incidents_request_duration_seconds_count{method=\"incidents.upsert\"}";
    static const char all[] =
        "incidents_request_duration_seconds_bucket{method=\"incidents.upsert\",le=\"+Inf\"}";
    double created_before = value_of(created), count_before = value_of(count);

    created_before = created_before < 0 ? 0 : created_before;
    assert_true(value_of(timestamp) == 0); /* there, before it happens */
    send_by(http_through_nginx, "counted", "2024-01-01");
    send_by(http_through_nginx, "counted", "2024-01-01");
    send_by(http_through_nginx, "counted", "01/02/2024");
    assert_true(value_of(created) == created_before + 1);
    assert_true(value_of("incidents_requests_total{method=\"incidents.upsert\",outcome=\"unchanged\"}") == 1);
    assert_true(value_of(timestamp) == 1);
    assert_true(value_of(count) == count_before + 3);
    assert_true(value_of(all) == count_before + 3);
    assert_true(value_of("incidents_batch_size_sum") >= 3);
    assert_true(value_of("incidents_requests_total{method=\"none\",outcome=\"unknown_method\"}") == 0);
}

/* Refused by its token's sender: 422. */
static void send_with(const char *with, const char *started_at)
{
    char body[256], header[STACK_TOKEN_MAX + 16];
    struct call call = {.path = "incidents.upsert", .body = body, .authorization = header};
    struct http_response response;

    snprintf(header, sizeof header, "Bearer %s", with);
    snprintf(body, sizeof body, "{\"reference_id\":\"by token\",\"started_at\":\"%s\"}", started_at);
    http_through_nginx(&stack, &call, &response);
    http_response_free(&response);
}

static void requests_are_counted_by_the_label_of_their_token(void **state)
{
    static const char label[] = "a \"b\" c\\d \xC3\xA9",
                      at_fault[] = "incidents_token_requests_total{token=\"a \\\"b\\\" c\\\\d \xC3\xA9\","
                                   "outcome=\"invalid_timestamp\"}",
                      permitted[] = "incidents_token_requests_total{token=\"a \\\"b\\\" c\\\\d \xC3\xA9\","
                                    "outcome=\"not_permitted\"}",
                      revoked[] = "incidents_token_requests_total{token=\"a \\\"b\\\" c\\\\d \xC3\xA9\","
                                  "outcome=\"not_authed\"}",
                      unknown[] = "incidents_token_requests_total{token=\"\",outcome=\"not_authed\"}";
    double unknown_before = value_of(unknown);
    char sent[STACK_TOKEN_MAX], hash[DIGEST_HEX_SIZE];
    struct http_response response;

    assert_true(unknown_before >= 0); /* there, before it happens */
    stack_create_token(&stack, label, "upsert", sent);
    send_with(sent, "2024-01-01");
    assert_true(value_of(at_fault) == 0);
    send_with(sent, "01/02/2024");
    send_with(sent, "01/02/2024");
    send_with("inct_unknown", "2024-01-01");
    assert_true(value_of(at_fault) == 2);
    assert_true(value_of(permitted) == 0);
    assert_true(value_of(revoked) == 0);
    assert_true(value_of(unknown) == unknown_before + 1);
    stack_query(&stack, "UPDATE intake.api_token SET revoked_at = now() WHERE label LIKE 'a \"b\"%'");
    send_with(sent, "2024-01-01");
    send_with(sent, "2024-01-01");
    assert_true(value_of(revoked) == 2);
    assert_true(value_of(unknown) == unknown_before + 1);

    digest_sha256((struct slice){.data = sent, .len = strlen(sent)}, hash);
    http_through_nginx(&stack, &scrape, &response);
    assert_null(strstr(response.body, "inct_"));
    assert_null(strstr(response.body, hash));
    http_response_free(&response);
}

static size_t count_tokens(const char *text)
{
    static const char beginning[] = "\nincidents_token_requests_total{",
                      ending[] = "outcome=\"metadata_invalid\"}";
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, beginning)) != NULL;) {
        const char *end = strchr(++at, '}');

        assert_non_null(end);
        count += memcmp(end + 1 - strlen(ending), ending, strlen(ending)) == 0;
    }
    return count;
}

static void run_sql(const char *sql)
{
    PGresult *result = PQexec(stack.owner, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s", PQresultErrorMessage(result));
    }
    PQclear(result);
}

/* Eighty tokens, whose labels are as long and as hard to write as labels can be: one row each as long as
 * there are any, one for all others, and the response is whole. One label is that of the last row, too. */
static void however_many_tokens_there_are_the_series_are_bounded(void **state)
{
    static const char other[] =
        "incidents_token_requests_total{token=\"other\",outcome=\"invalid_timestamp\"}";
    enum { TOKENS = 80 };
    struct http_response response;
    char name[32];
    double others;

    run_sql(
        "INSERT INTO intake.api_token (token_hash, prefix, label, scopes, expires_at) "
        "SELECT sha256(convert_to('inct_bounded-' || n, 'UTF8')), 'inct_b', "
        "CASE n WHEN 1 THEN 'other' ELSE n || E'\\n' || repeat(CASE n % 2 WHEN 0 THEN '\"' ELSE 'é' END, 90) "
        "END, '{upsert}', NULL FROM generate_series(1, 80) n");
    for (int i = 1; i <= TOKENS; i++) {
        snprintf(name, sizeof name, "inct_bounded-%d", i);
        send_with(name, "01/02/2024");
    }
    http_through_nginx(&stack, &scrape, &response);
    assert_int_equal(response.status, 200);
    assert_int_equal(count_tokens(response.body), 64 + 2 - 1); /* the two "other" are one */
    others = value_in(response.body, other);
    assert_true(others > TOKENS - 64 && others < TOKENS - 56); /* some rows had other labels before */
    assert_true(utf8_is_valid(response.body, strlen(response.body)));
    assert_non_null(strstr(response.body, "\nprocess_start_time_seconds{")); /* the end is there, too */
    http_response_free(&response);
}

static void why_the_database_is_not_to_be_had_is_counted(void **state)
{
    static const char schema[] = "incidents_unavailable_total{reason=\"schema\"}",
                      unreachable[] = "incidents_unavailable_total{reason=\"unreachable\"}";
    double unreachable_before = value_of(unreachable);

    assert_true(value_of(schema) == 0 && unreachable_before >= 0); /* there, before they happen */
    run_sql("ALTER SCHEMA intake RENAME TO elsewhere");
    send_by(http_through_nginx, "nowhere", "2024-01-01");
    run_sql("ALTER SCHEMA elsewhere RENAME TO intake");
    assert_true(value_of(schema) == 1);
    assert_true(value_of(unreachable) == unreachable_before);
}

/* As CGI, by the user who runs the worker, with the metrics' token: a process that is gone when it is looked
 * at; behind that beginning of a shell's. */
static const struct outcome *send_by_cgi(const char *beginning, const char *reference_id)
{
    char program[STACK_PATH_MAX], body[256];
    struct call call = {.path = "incidents.upsert", .body = body};
    const struct outcome *outcome;
    struct http_response response;
    FILE *wrapper;

    memcpy(program, stack.program, sizeof program);
    snprintf(stack.program, sizeof stack.program, "%s/cgi", stack.directory);
    wrapper = fopen(stack.program, "we");
    assert_non_null(wrapper);
    fprintf(wrapper,
            "#!/bin/sh\n[ $(id -u) != 0 ] || drop='setpriv --reuid postgres --clear-groups "
            "--inh-caps=+dac_override --ambient-caps=+dac_override'\n"
            "%s\n%s exec $drop '%s'\n",
            beginning, metrics.setting, program);
    assert_int_equal(fchmod(fileno(wrapper), 0755), 0);
    assert_int_equal(fclose(wrapper), 0);
    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", reference_id);
    outcome = http_run_cgi(&stack, &call, NULL, &response);
    if (outcome->status != 0 || response.status != 200) {
        fail_msg("%s: ended with %d, answered %d: %s", beginning, outcome->status, response.status,
                 outcome->err);
    }
    http_response_free(&response);
    memcpy(stack.program, program, sizeof program);
    return outcome;
}

/* Nor by a signal (SIGXFSZ). */
static void where_there_is_no_memory_for_them_requests_get_a_response(void **state)
{
    const struct outcome *outcome;

    stack_stop_worker(&stack);
    assert_int_equal(stack_remove_metrics(metrics.token), 1);
    outcome = send_by_cgi("ulimit -f 0", "uncounted");
    assert_non_null(
        strstr(outcome->err, "unable to open shared memory for metrics: File too large; /metrics is off"));
    stack_start_worker(&stack, settings);
    assert_int_equal(status_of(metrics.authorization, "GET"), 200);
}

/* Compared with what the kernel tells about the worker from outside. */
static void a_process_says_what_it_uses(void **state)
{
    char path[64], *limits, *soft;
    double cpu = value_of("process_cpu_seconds_total{process=\"0\"}"), now = (double)time(NULL);

    assert_true(cpu > 0 && cpu < 600);
    snprintf(path, sizeof path, "/proc/%d/limits", (int)stack.worker);
    limits = read_whole_file(path);
    assert_non_null(limits);
    soft = strstr(limits, "Max open files");
    assert_non_null(soft);
    assert_true(value_of("process_max_fds{process=\"0\"}") == strtod(soft + strlen("Max open files"), NULL));
    free(limits);
    assert_true(value_of("process_open_fds{process=\"0\"}") >= 5);
    assert_true(value_of("process_open_fds{process=\"0\"}") < 100);
    assert_true(value_of("process_resident_memory_bytes{process=\"0\"}") > 1000000);
    assert_true(value_of("process_start_time_seconds{process=\"0\"}") > now - 600);
    assert_true(value_of("process_start_time_seconds{process=\"0\"}") < now + 2);
    for (int i = 0; i < 2000; i++) {
        status_of(metrics.authorization, "GET");
    }
    assert_true(value_of("process_cpu_seconds_total{process=\"0\"}") > cpu);
}

static void processes_count_together(void **state)
{
    static const char created[] = "incidents_requests_total{method=\"incidents.upsert\",outcome=\"created\"}";
    double before = value_of(created);
    char first_socket[sizeof stack.worker_socket];
    pid_t first = stack.worker;

    before = before < 0 ? 0 : before;
    send_by_cgi(":", "by cgi");
    assert_true(value_of(created) == before + 1);
    assert_true(value_of("incidents_processes") == 1);

    /* A second worker, which then ends without a word. */
    snprintf(first_socket, sizeof first_socket, "%s", stack.worker_socket);
    snprintf(stack.worker_socket, sizeof stack.worker_socket, "%s/second.sock", stack.directory);
    stack_start_worker(&stack, settings);
    await_value("incidents_processes", 2);
    assert_true(value_of("process_open_fds{process=\"0\"}") > 0);
    assert_true(value_of("process_open_fds{process=\"1\"}") > 0);
    process_stop(stack.worker, SIGKILL);
    await_value("incidents_processes", 1);
    assert_true(value_of("process_open_fds{process=\"1\"}") == -1);
    snprintf(stack.worker_socket, sizeof stack.worker_socket, "%s", first_socket);
    stack.worker = first;
    assert_true(value_of(created) == before + 1);

    /* Counters outlive the process that counted. */
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
    await_value("incidents_processes", 1);
    assert_true(value_of(created) == before + 1);
}

/* As logind does at the end of a user's last session. */
static void processes_find_each_other_again_when_their_memory_was_removed(void **state)
{
    static const char created[] = "incidents_requests_total{method=\"incidents.upsert\",outcome=\"created\"}";

    send_by(http_through_nginx, "before the removal", "2024-01-01"); /* opens a connection to the database */
    assert_int_equal(stack_remove_metrics(metrics.token), 1);
    send_by_cgi(":", "after the removal");
    clock_sleep_ms(1100);
    await_value("incidents_processes", 1);
    assert_true(value_of(created) == 1); /* what the other process counted */
    assert_true(value_of("incidents_database_connections") >= 1);
}

/* The time to look. */
static void they_respond_while_the_database_is_away(void **state)
{
    double connects;

    send_by(http_through_nginx, "before", "2024-01-01");
    connects = value_of("incidents_database_connects_total");
    assert_true(connects >= 1);
    assert_true(value_of("incidents_database_connections") >= 1);
    assert_true(value_of("incidents_processes_without_database") == 0);
    stack_stop_postgres(&stack, SIGINT);
    send_by(http_through_nginx, "away", "2024-01-01");
    await_value("incidents_processes_without_database", 1);
    await_value("incidents_database_connections", 0);
    assert_true(value_of("incidents_database_connect_failures_total") >= 1);
    assert_true(value_of("incidents_database_connections_lost_total") >= 1);
    assert_true(
        value_of("incidents_requests_total{method=\"incidents.upsert\",outcome=\"service_unavailable\"}") >=
        1);
    assert_true(value_of("incidents_queue_length") == 0);
    stack_start_postgres(&stack, "");
    await_value("incidents_processes_without_database", 0);
    assert_true(value_of("incidents_database_connects_total") > connects);
}

static void send_queued(struct load_client *client)
{
    char body[128];
    struct call call = {.path = "incidents.upsert", .body = body};
    struct http_response response;

    snprintf(body, sizeof body, "{\"reference_id\":\"queued %zu\",\"started_at\":\"2024-01-01\"}",
             client->number);
    load_send(client, &call, 200, &response);
    http_response_free(&response);
}

static void requests_that_wait_are_the_queue(void **state)
{
    int64_t limit_ms;
    struct load *load;
    PGconn *locker;
    bool is_seen = false;

    stack_stop_worker(&stack);
    stack_start_worker(&stack, patient);
    assert_true(value_of("incidents_queue_limit") == 400); /* that of the one that runs */
    locker = stack_hold(&stack, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    load = load_start(&stack, 12, send_queued, NULL);
    limit_ms = clock_now_ms() + 20000;
    while (!is_seen && clock_now_ms() < limit_ms) {
        is_seen = value_of("incidents_queue_length") >= 1;
        clock_sleep_ms(5);
    }
    stack_let_go(locker);
    load_join(load);
    assert_true(is_seen);
    await_value("incidents_queue_length", 0);
    stack_stop_worker(&stack);
    stack_start_worker(&stack, settings);
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .settings = settings, .metrics_token = metrics.token};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(they_are_for_who_has_their_token),
        cmocka_unit_test(the_text_is_in_prometheus_format),
        cmocka_unit_test(requests_are_counted_by_method_and_outcome),
        cmocka_unit_test(requests_are_counted_by_the_label_of_their_token),
        cmocka_unit_test(why_the_database_is_not_to_be_had_is_counted),
        cmocka_unit_test(a_process_says_what_it_uses),
        cmocka_unit_test(processes_count_together),
        cmocka_unit_test(processes_find_each_other_again_when_their_memory_was_removed),
        cmocka_unit_test(however_many_tokens_there_are_the_series_are_bounded),
        cmocka_unit_test(they_respond_while_the_database_is_away),
        cmocka_unit_test(requests_that_wait_are_the_queue),
        cmocka_unit_test(where_there_is_no_memory_for_them_requests_get_a_response),
        cmocka_unit_test(without_a_token_in_the_settings_there_is_no_such_method),
    };

    stack_name_metrics(&metrics);
    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
