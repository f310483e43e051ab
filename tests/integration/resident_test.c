/* Plain CGI with INCIDENTS_CGI_PERSIST_MS: the worker that a request leaves behind, how it is found, and that
 * nothing is lost where it is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases/between.h"
#include "harness/http.h"

/* What is waited for comes soon, but on a busy machine. */
enum { END_TIMEOUT_MS = 60000, CROWD = 20 };

/* A worker that stays, and a deadline that nothing meets but what is made to. */
#define STAYS     "INCIDENTS_CGI_PERSIST_MS=60000"
#define UNHURRIED STAYS, "INCIDENTS_DEADLINE_MS=60000"

static struct site site;

static const char *const patient[] = {UNHURRIED, NULL};
static const char *const hurried[] = {STAYS, "INCIDENTS_DEADLINE_MS=3000", NULL};

/* Has the CGI program upsert that incident, with that name; what it wrote. */
static const struct outcome *send_upsert(const char *id, const char *name, const char *const environment[],
                                         int *status)
{
    char body[256];
    struct call call = {.path = "incidents.upsert", .body = body, .headers = {"X-Request-Id: mine"}};
    const struct outcome *outcome;
    struct answer answer;

    (void)snprintf(body, sizeof body,
                   "{\"reference_id\":\"%s\",\"name\":\"%s\",\"started_at\":\"2024-01-01\"}", id, name);
    outcome = http_run_cgi(&site, &call, environment, &answer);
    *status = answer.status;
    answer_free(&answer);
    return outcome;
}

static const struct outcome *upsert_named(const char *id, const char *name, const char *const environment[],
                                          int wanted_status)
{
    int status;
    const struct outcome *outcome = send_upsert(id, name, environment, &status);

    if (outcome->status != 0 || status != wanted_status) {
        fail_msg("%s: exit status %d, HTTP status %d: %s", id, outcome->status, status, outcome->err);
    }
    return outcome;
}

static const struct outcome *upsert(const char *id, const char *const environment[], int wanted_status)
{
    return upsert_named(id, "any", environment, wanted_status);
}

static bool says(const struct outcome *outcome, const char *text)
{
    return strstr(outcome->err, text) != NULL;
}

/* The number of the process that the request left behind; 0 where it left none. */
static pid_t left_behind(const struct outcome *outcome)
{
    const char *stays = strstr(outcome->err, " was left, and stays until");

    while (stays != NULL && stays > outcome->err && stays[-1] != ' ') {
        stays--;
    }
    return stays == NULL ? 0 : (pid_t)atol(stays);
}

/* The same until it is answered 200, for on a busy machine a short deadline may pass. Returns the process
 * that one of them left behind; 0 where none did. */
static pid_t upsert_at_last(const char *id, const char *name, const char *const environment[])
{
    int64_t deadline_ms = clock_now_ms() + END_TIMEOUT_MS;
    pid_t resident = 0;
    int status = 0;

    while (status != 200) {
        pid_t left = left_behind(send_upsert(id, name, environment, &status));

        resident = left > 0 ? left : resident;
        assert_true(status == 200 || status == 503);
        assert_true(clock_now_ms() < deadline_ms);
    }
    return resident;
}

/* A resident of this test's own; it is our child, for we are its subreaper. It can be found when the
 * request's standard error has ended, which http_run_cgi waits for. */
static pid_t leave_one(const char *const environment[])
{
    pid_t resident = upsert_at_last("first", "any", environment);

    assert_true(resident > 0);
    return resident;
}

static void end(pid_t resident)
{
    assert_int_equal(kill(resident, SIGTERM), 0);
    assert_int_equal(process_wait(resident, END_TIMEOUT_MS), 0); /* under a sanitizer: without a leak */
}

static bool is_stored(const char *id)
{
    return *site_query_for(&site, "SELECT 1 FROM intake.incident WHERE reference_id = $1", id) != '\0';
}

static void the_next_requests_are_answered_by_the_worker_that_stays(void **state)
{
    pid_t resident = leave_one(patient);

    (void)state;
    for (int i = 0; i < 10; i++) {
        const struct outcome *outcome = upsert("next", patient, 200);

        assert_int_equal(left_behind(outcome), 0);
        assert_true(says(outcome, "request_id=\"mine\" method=incidents.upsert status=200"));
    }
    assert_true(is_stored("next"));
    end(resident);
}

/* What the web server says of the client goes with the request, and into the log there. */
static void the_client_is_known_to_it_too(void **state)
{
    static const char *const known[] = {UNHURRIED, "REMOTE_ADDR=192.0.2.7", NULL};
    static const struct call call = {
        .path = "incidents.upsert", .body = "{", .headers = {"X-Request-Id: mine"}};
    pid_t resident = leave_one(patient);
    const struct outcome *outcome;
    struct answer answer;

    (void)state;
    outcome = http_run_cgi(&site, &call, known, &answer);
    assert_int_equal(answer.status, 422);
    answer_free(&answer);
    assert_int_equal(left_behind(outcome), 0);
    assert_true(says(outcome, "status=422 outcome=invalid_json"));
    assert_true(says(outcome, "client=\"192.0.2.7\""));
    end(resident);
}

static void it_goes_when_no_request_comes(void **state)
{
    static const char *const briefly[] = {"INCIDENTS_CGI_PERSIST_MS=300", NULL};
    pid_t first = leave_one(briefly), second;

    (void)state;
    assert_int_equal(process_wait(first, END_TIMEOUT_MS), 0);
    second = leave_one(briefly);
    assert_int_equal(process_wait(second, END_TIMEOUT_MS), 0);
}

/* Requests that come at the very moment when it goes. */
static void nobody_is_failed_by_its_going(void **state)
{
    static const char *const briefly[] = {"INCIDENTS_CGI_PERSIST_MS=100", NULL};
    pid_t residents[16], resident;
    size_t count = 0;

    (void)state;
    for (int i = 0; i < 16; i++) {
        const struct outcome *outcome = upsert("going", briefly, 200);

        assert_false(says(outcome, "has gone"));
        resident = left_behind(outcome);
        if (resident > 0) {
            residents[count++] = resident;
        }
        clock_sleep_ms(90 + 2 * i);
    }
    assert_true(count > 1);
    while (count > 0) {
        assert_int_equal(process_wait(residents[--count], END_TIMEOUT_MS), 0);
    }
}

static void none_stays_where_it_is_not_asked_for(void **state)
{
    (void)state;
    assert_int_equal(left_behind(upsert("alone", NULL, 200)), 0);
}

static void other_settings_find_another(void **state)
{
    static const char *const other[] = {STAYS, "INCIDENTS_DEADLINE_MS=60001", NULL};
    pid_t one = leave_one(patient), another = leave_one(other);

    (void)state;
    assert_int_not_equal(one, another);
    end(one);
    end(another);
}

/* What each of the crowd's processes says with its exit status. */
enum { CAME_THROUGH, LEFT_ONE, WENT_WRONG };

static void those_that_come_at_once_leave_one_worker(void **state)
{
    int left = 0;
    pid_t children[CROWD], resident = 0;
    int pipe_ends[2];

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    for (int i = 0; i < CROWD; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0) {
            char id[32];
            pid_t mine;
            int status;

            (void)snprintf(id, sizeof id, "crowd-%d", i);
            mine = left_behind(send_upsert(id, "any", patient, &status));
            if (mine > 0 && write(pipe_ends[1], &mine, sizeof mine) != sizeof mine) {
                _exit(WENT_WRONG);
            }
            _exit(status != 200 ? WENT_WRONG : mine > 0 ? LEFT_ONE : CAME_THROUGH);
        }
    }
    for (int i = 0; i < CROWD; i++) {
        int status = process_wait(children[i], END_TIMEOUT_MS);
        char id[32];

        assert_true(status == CAME_THROUGH || status == LEFT_ONE);
        left += status == LEFT_ONE;
        (void)snprintf(id, sizeof id, "crowd-%d", i);
        assert_true(is_stored(id));
    }
    assert_int_equal(left, 1);
    assert_int_equal(read(pipe_ends[0], &resident, sizeof resident), sizeof resident);
    (void)close(pipe_ends[0]);
    (void)close(pipe_ends[1]);
    end(resident);
}

/* A request that has a process of its own to wait in. It ends with 0 where it was answered with the status
 * that was wanted, and said what it was to say. */
struct waiting {
    pid_t process; /* with its CGI process in a group */
    PGconn *holder;
};

/* Has the request wait for the incident's row. */
static void begin_waiting(struct waiting *waiting, const char *id, const char *const environment[],
                          int wanted_status, const char *wanted_text)
{
    char statement[128];

    (void)upsert_at_last(id, "old", environment);
    (void)snprintf(statement, sizeof statement,
                   "SELECT 1 FROM intake.incident WHERE reference_id = '%s' FOR UPDATE", id);
    waiting->holder = site_hold(&site, statement);
    waiting->process = fork();
    if (waiting->process == 0) {
        const struct outcome *outcome;
        int status = 0;

        (void)setpgid(0, 0);
        outcome = send_upsert(id, "new", environment, &status);
        _exit(status == wanted_status && says(outcome, wanted_text) ? 0 : 1);
    }
    site_await_lock_wait(&site);
}

/* Its session in Postgres may go on until the deadline; it is told behind that. */
static void the_client_of_a_worker_that_is_killed_is_to_send_again_in_time(void **state)
{
    enum { DEADLINE_MS = 10000 };
    static const char *const killed[] = {STAYS, "INCIDENTS_DEADLINE_MS=10000", NULL};
    int64_t before = clock_now_ms();
    pid_t resident = leave_one(killed);
    struct waiting waiting;

    (void)state;
    begin_waiting(&waiting, "killed", killed, 503, "has gone");
    assert_int_equal(kill(resident, SIGKILL), 0);
    assert_int_equal(process_wait(resident, END_TIMEOUT_MS), 128 + SIGKILL);
    assert_int_equal(process_wait(waiting.process, END_TIMEOUT_MS), 0);
    assert_true(clock_now_ms() - before >= DEADLINE_MS);
    site_let_go(waiting.holder);
    resident = upsert_at_last("killed", "newest", killed);
    assert_true(resident > 0);
    assert_string_equal(site_query(&site, "SELECT name FROM intake.incident WHERE reference_id = 'killed'"),
                        "newest");
    end(resident);
}

static void a_worker_that_stops_answers_what_it_has_and_keeps_nobody_else(void **state)
{
    pid_t resident = leave_one(patient), another;
    struct waiting waiting;

    (void)state;
    begin_waiting(&waiting, "in hand", patient, 200, "");
    assert_int_equal(kill(resident, SIGTERM), 0);
    do { /* it serves those that come before it has seen the signal */
        another = left_behind(upsert("others", patient, 200));
    } while (another == 0);
    assert_int_equal(process_wait(resident, 0), -1); /* so they have not waited for its end */
    assert_int_equal(left_behind(upsert("others", patient, 200)), 0);
    site_let_go(waiting.holder);
    assert_int_equal(process_wait(waiting.process, END_TIMEOUT_MS), 0);
    assert_int_equal(process_wait(resident, END_TIMEOUT_MS), 0);
    end(another);
}

static void a_worker_that_stood_still_undoes_nothing(void **state)
{
    enum { DEADLINE_MS = 3000 };
    pid_t resident = leave_one(hurried);
    const struct outcome *outcome;
    int64_t before = clock_now_ms();

    (void)state;
    assert_int_equal(kill(resident, SIGSTOP), 0);
    outcome = upsert_named("still", "older", hurried, 503);
    assert_true(clock_now_ms() - before >= DEADLINE_MS);
    assert_true(says(outcome, "does not answer"));
    (void)upsert_at_last("still", "newer", hurried); /* by itself */
    assert_int_equal(kill(resident, SIGCONT), 0);
    /* It goes when it has read what was sent to it, for nobody finds it any more; long before its time. */
    assert_int_equal(process_wait(resident, END_TIMEOUT_MS), 0);
    end(leave_one(hurried));
    assert_string_equal(site_query(&site, "SELECT name FROM intake.incident WHERE reference_id = 'still'"),
                        "newer");
}

static void what_it_logs_reaches_the_next_where_its_client_has_gone(void **state)
{
    static const char updated[] =
        "SELECT 1 FROM intake.incident WHERE reference_id = 'walks out' AND name = 'new'";
    pid_t resident = leave_one(patient);
    struct waiting waiting;

    (void)state;
    begin_waiting(&waiting, "walks out", patient, 200, "");
    assert_int_equal(kill(-waiting.process, SIGKILL), 0);
    assert_int_equal(process_wait(waiting.process, END_TIMEOUT_MS), 128 + SIGKILL);
    site_let_go(waiting.holder);
    for (int64_t deadline = clock_now_ms() + END_TIMEOUT_MS; *site_query(&site, updated) == '\0';
         clock_sleep_ms(20)) {
        assert_true(clock_now_ms() < deadline);
    }
    for (int64_t deadline = clock_now_ms() + END_TIMEOUT_MS;
         !says(upsert("walks in", patient, 200), "outcome=updated");) { /* the other one's */
        assert_true(clock_now_ms() < deadline);
    }
    end(resident);
}

static void the_database_away_means_503_through_it_too(void **state)
{
    pid_t resident = leave_one(hurried);

    (void)state;
    site_stop_postgres(&site, SIGINT);
    assert_true(says(upsert("away", hurried, 503), "unable to connect to the database"));
    site_start_postgres(&site, "-c fsync=off");
    for (int64_t deadline = clock_now_ms() + END_TIMEOUT_MS;;) {
        struct call call = {.path = "readyz", .verb = "GET", .authorization = ""};
        struct answer answer;

        (void)http_run_cgi(&site, &call, hurried, &answer);
        answer_free(&answer);
        if (answer.status == 200) {
            break;
        }
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(50);
    }
    (void)upsert_at_last("away", "any", hurried);
    assert_true(is_stored("away"));
    end(resident);
}

static void answers_are_the_same_with_it_and_without(void **state)
{
    static char large[900 * 1024], too_large[1100 * 1024];
    struct call calls[] = {
        {.path = "incidents.upsert", .body = "{\"reference_id\":\"same\",\"started_at\":\"2024-01-01\"}"},
        {.path = "incidents.upsert", .body = "{\"reference_id\":\"same\",\"started_at\":\"yesterday\"}"},
        {.path = "incidents.upsert", .body = "\xff\x00{", .body_len = 3},
        {.path = "incidents.upsert", .body = ""},
        {.path = "incidents.upsert", .body = "{}", .authorization = ""},
        {.path = "incidents.upsert", .body = "{}", .authorization = "Bearer nonsense"},
        {.path = "incidents.upsert", .body = large},
        {.path = "incidents.upsert", .body = too_large},
        {.path = "incidents.delete", .body = "{\"reference_id\":\"never there\"}"},
        {.path = "incidents.upsert", .verb = "GET"},
        {.path = "incidents.unheard-of", .body = "{}"},
        {.path = "healthz", .verb = "GET", .authorization = ""},
        {.path = "readyz", .verb = "GET", .authorization = ""},
        {.path = "metrics", .verb = "GET"},
        {.path = "healthz", .verb = "HEAD"},
        {.path = "readyz", .verb = "HEAD"},
        {.path = "incidents.delete",
         .body = "reference_id=never+there",
         .headers = {NULL, "Content-Type: application/x-www-form-urlencoded"}},
        {.path = "incidents.delete", .body = "--x", .headers = {NULL, "Content-Type: multipart/form-data"}},
        {.path = "incidents.delete", .body = "x", .headers = {NULL, "Content-Encoding: gzip"}},
    };
    static struct answer without, with;
    pid_t resident;

    (void)state;
    memset(too_large, ' ', sizeof too_large - 1);
    (void)snprintf(large, sizeof large,
                   "{\"reference_id\":\"large\",\"started_at\":\"2024-01-01\",\"metadata\":{\"x\":\"%0*d\"}}",
                   (int)sizeof large - 100, 7);
    resident = leave_one(patient);
    for (int round = 0; round < 2;
         round++) { /* the first creates, so that the second finds the same both ways */
        for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
            calls[i].headers[0] = "X-Request-Id: same";
            (void)http_run_cgi(&site, &calls[i], NULL, &without);
            (void)http_run_cgi(&site, &calls[i], patient, &with);
            answer_free(&without);
            answer_free(&with);
            if (round == 1 &&
                (without.status == 0 || without.status != with.status ||
                 strcmp(without.head, with.head) != 0 || strcmp(without.body, with.body) != 0)) {
                fail_msg("call %zu: %d %s%s\nand %d %s%s", i, without.status, without.head, without.body,
                         with.status, with.head, with.body);
            }
        }
    }
    end(resident);
}

static void skip_unless_root(void)
{
    if (geteuid() != 0) {
        print_message("it takes root to look into it, and to be somebody else\n");
        skip();
    }
}

static void nothing_of_the_request_stays_with_it(void **state)
{
    pid_t resident;
    char path[64], text[8192];
    int found = 0;
    FILE *file;
    size_t len;

    (void)state;
    skip_unless_root();
    resident = leave_one(patient);
    (void)snprintf(path, sizeof path, "/proc/%ld/environ", (long)resident);
    file = fopen(path, "re");
    assert_non_null(file);
    len = fread(text, 1, sizeof text, file);
    assert_int_equal(fclose(file), 0);
    assert_non_null(memmem(text, len, "INCIDENTS_CGI_PERSIST_MS", 24)); /* its settings do */
    assert_null(memmem(text, len, site.token, strlen(site.token)));
    /* The socket's name is a digest of the settings, and everybody may read this file. */
    file = fopen("/proc/net/unix", "re");
    assert_non_null(file);
    while (fgets(text, sizeof text, file) != NULL) {
        const char *name = strstr(text, "/incidents-cgi-");

        assert_true(name == NULL || strstr(name, "/new.") != NULL);
        found += name != NULL;
    }
    assert_int_equal(fclose(file), 0);
    assert_true(found > 0);
    for (int descriptor = 1; descriptor <= 2; descriptor++) {
        char target[64] = "";

        (void)snprintf(path, sizeof path, "/proc/%ld/fd/%d", (long)resident, descriptor);
        assert_true(readlink(path, target, sizeof target - 1) > 0);
        assert_string_equal(target, "/dev/null");
    }
    end(resident);
}

static void a_directory_that_is_somebody_elses_is_not_used(void **state)
{
    static const char directory[] = "/dev/shm/incidents-cgi-60123";
    const char *const argv[] = {"/usr/bin/setpriv", "--reuid=60123", "--clear-groups", "./worker", NULL};
    const char *const environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=GET",
                                       "PATH_INFO=/healthz", "INCIDENTS_CGI_PERSIST_MS=60000", NULL};
    const struct outcome *outcome;
    char command[2048], here[512];

    (void)state;
    skip_unless_root();
    assert_non_null(getcwd(here, sizeof here));
    (void)snprintf(command, sizeof command, "chmod 755 %s && cp %s %s/worker && chmod 755 %s/worker",
                   site.directory, site.program, site.directory, site.directory);
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(directory, S_IRWXU), 0);
    assert_int_equal(chdir(site.directory), 0);
    outcome = process_run_bare(argv, environment, NULL, 0);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(outcome->status, 0);
    assert_int_equal(strncmp(outcome->out, "Status: 200 ", 12), 0);
    assert_true(says(outcome, "unable to leave a worker that stays"));
}

static int start(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    site_start(&site, NULL);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    site_stop(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_requests_are_answered_by_the_worker_that_stays),
        cmocka_unit_test(the_client_is_known_to_it_too),
        cmocka_unit_test(it_goes_when_no_request_comes),
        cmocka_unit_test(nobody_is_failed_by_its_going),
        cmocka_unit_test(none_stays_where_it_is_not_asked_for),
        cmocka_unit_test(other_settings_find_another),
        cmocka_unit_test(those_that_come_at_once_leave_one_worker),
        cmocka_unit_test(the_client_of_a_worker_that_is_killed_is_to_send_again_in_time),
        cmocka_unit_test(a_worker_that_stops_answers_what_it_has_and_keeps_nobody_else),
        cmocka_unit_test(a_worker_that_stood_still_undoes_nothing),
        cmocka_unit_test(what_it_logs_reaches_the_next_where_its_client_has_gone),
        cmocka_unit_test(the_database_away_means_503_through_it_too),
        cmocka_unit_test(answers_are_the_same_with_it_and_without),
        cmocka_unit_test(nothing_of_the_request_stays_with_it),
        cmocka_unit_test(a_directory_that_is_somebody_elses_is_not_used),
    };

    return cmocka_run_group_tests(tests, start, finish);
}
