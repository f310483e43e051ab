/* Plain CGI with INCIDENTS_CGI_PERSIST_MS: the worker that a request leaves behind, how it is found, and that
 * nothing is lost where it is not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/http.h"

enum { END_TIMEOUT_MS = 10000, NOBODY = 65534, CROWD = 20 };

static struct site site;

static const char *const persist[] = {"INCIDENTS_CGI_PERSIST_MS=60000", "INCIDENTS_DEADLINE_MS=1000", NULL};

/* Has the CGI program upsert that incident; what it wrote. */
static const struct outcome *upsert(const char *id, const char *const environment[], int wanted_status)
{
    char body[256];
    struct call call = {.path = "incidents.upsert", .body = body, .headers = {"X-Request-Id: mine"}};
    const struct outcome *outcome;
    struct answer answer;

    (void)snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", id);
    outcome = http_run_cgi(&site, &call, environment, &answer);
    if (outcome->status != 0 || answer.status != wanted_status) {
        fail_msg("%s: exit status %d, HTTP status %d: %s", id, outcome->status, answer.status, outcome->err);
    }
    answer_free(&answer);
    return outcome;
}

static bool says(const struct outcome *outcome, const char *text)
{
    return strstr(outcome->err, text) != NULL;
}

/* The number of the process that the request left behind; 0 where it left none. */
static pid_t left_behind(const struct outcome *outcome)
{
    const char *stays = strstr(outcome->err, " stays until");

    while (stays != NULL && stays > outcome->err && stays[-1] != ' ') {
        stays--;
    }
    return stays == NULL ? 0 : (pid_t)atol(stays);
}

/* A resident of this test's own; it is our child, for we are its subreaper. */
static pid_t leave_one(const char *const environment[])
{
    pid_t resident = left_behind(upsert("first", environment, 200));

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
    static const char sessions[] = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity "
                                   "WHERE usename = 'incidents_fcgi'";
    pid_t resident = leave_one(persist);
    char before[256];

    (void)state;
    (void)snprintf(before, sizeof before, "%s", site_query(&site, sessions));
    for (int i = 0; i < 10; i++) {
        const struct outcome *outcome = upsert("next", persist, 200);

        assert_int_equal(left_behind(outcome), 0);
        assert_true(says(outcome, "request_id=\"mine\" method=incidents.upsert status=200"));
    }
    assert_string_equal(site_query(&site, sessions), before);
    assert_true(is_stored("next"));
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

static void none_stays_where_it_is_not_asked_for(void **state)
{
    const struct outcome *outcome = upsert("alone", NULL, 200);

    (void)state;
    assert_int_equal(left_behind(outcome), 0);
    assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL),
                     0); /* our children: Postgres, nginx, the site's worker */
}

static void other_settings_find_another(void **state)
{
    static const char *const other[] = {"INCIDENTS_CGI_PERSIST_MS=60000", "INCIDENTS_DEADLINE_MS=1001", NULL};
    pid_t one = leave_one(persist), another = leave_one(other);

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
            char id[32], body[256];
            struct call call = {.path = "incidents.upsert", .body = body};
            struct answer answer;
            pid_t mine;

            (void)snprintf(id, sizeof id, "crowd-%d", i);
            (void)snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\"}", id);
            mine = left_behind(http_run_cgi(&site, &call, persist, &answer));
            if (mine > 0 && write(pipe_ends[1], &mine, sizeof mine) != sizeof mine) {
                _exit(WENT_WRONG);
            }
            _exit(answer.status != 200 ? WENT_WRONG : mine > 0 ? LEFT_ONE : CAME_THROUGH);
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

struct killer {
    pthread_t thread;
    pid_t victim;
    PGconn *holder;
};

static void *kill_while_it_waits(void *argument)
{
    struct killer *killer = argument;

    site_await_lock_wait(&site);
    (void)kill(killer->victim, SIGKILL);
    clock_sleep_ms(100);
    site_let_go(killer->holder);
    return NULL;
}

static void a_request_outlives_the_worker_that_had_it(void **state)
{
    struct killer killer = {.victim = leave_one(persist)};
    const struct outcome *outcome;

    (void)state;
    killer.holder = site_hold(&site, "LOCK TABLE intake.incident IN EXCLUSIVE MODE");
    assert_int_equal(pthread_create(&killer.thread, NULL, kill_while_it_waits, &killer), 0);
    outcome = upsert("outlives", persist, 200);
    assert_int_equal(pthread_join(killer.thread, NULL), 0);
    assert_true(says(outcome, "has gone"));
    assert_true(is_stored("outlives"));
    assert_int_equal(process_wait(killer.victim, END_TIMEOUT_MS), 128 + SIGKILL);
    end(leave_one(persist));
}

static void a_worker_that_stands_still_keeps_no_request_for_longer_than_its_deadline(void **state)
{
    pid_t resident = leave_one(persist);
    const struct outcome *outcome;
    int64_t before = clock_now_ms();

    (void)state;
    assert_int_equal(kill(resident, SIGSTOP), 0);
    outcome = upsert("still", persist, 503);
    assert_in_range(clock_now_ms() - before, 1000, 6000); /* 1 s of it and 1 s of grace */
    assert_true(says(outcome, "does not answer"));
    assert_int_equal(kill(resident, SIGCONT), 0);
    end(resident);
}

static void the_database_away_means_503_through_it_too(void **state)
{
    pid_t resident = leave_one(persist);

    (void)state;
    site_stop_postgres(&site, SIGINT);
    assert_true(says(upsert("away", persist, 503), "unable to connect to the database"));
    site_start_postgres(&site, "-c fsync=off");
    for (int64_t deadline = clock_now_ms() + END_TIMEOUT_MS;;) {
        struct call call = {.path = "readyz", .verb = "GET", .authorization = ""};
        struct answer answer;

        (void)http_run_cgi(&site, &call, persist, &answer);
        answer_free(&answer);
        if (answer.status == 200) {
            break;
        }
        assert_true(clock_now_ms() < deadline);
        clock_sleep_ms(50);
    }
    (void)upsert("away", persist, 200);
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
    };
    static struct answer without, with;
    pid_t resident;

    (void)state;
    memset(too_large, ' ', sizeof too_large - 1);
    (void)snprintf(large, sizeof large,
                   "{\"reference_id\":\"large\",\"started_at\":\"2024-01-01\",\"metadata\":{\"x\":\"%0*d\"}}",
                   (int)sizeof large - 100, 7);
    resident = leave_one(persist);
    for (int round = 0; round < 2;
         round++) { /* the first creates, so that the second finds the same both ways */
        for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
            calls[i].headers[0] = "X-Request-Id: same";
            (void)http_run_cgi(&site, &calls[i], NULL, &without);
            (void)http_run_cgi(&site, &calls[i], persist, &with);
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

/* The abstract name on which the resident listens, as root finds it; its length, 0 where there is none. */
static socklen_t address_of(pid_t resident, struct sockaddr_un *address)
{
    char path[64], link[64], line[512], name[128];
    unsigned long inode = 0, found;
    FILE *sockets = fopen("/proc/net/unix", "re");
    ssize_t len;

    assert_non_null(sockets);
    (void)snprintf(path, sizeof path, "/proc/%ld/fd/0", (long)resident);
    len = readlink(path, link, sizeof link - 1);
    assert_true(len > 0);
    link[len] = '\0';
    assert_int_equal(sscanf(link, "socket:[%lu]", &inode), 1);
    while (fgets(line, sizeof line, sockets) != NULL) {
        if (sscanf(line, "%*s %*s %*s %*s %*s %*s %lu @%107s", &found, name) == 2 && found == inode) {
            (void)fclose(sockets);
            *address = (struct sockaddr_un){.sun_family = AF_UNIX};
            memcpy(address->sun_path + 1, name, strlen(name));
            return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
        }
    }
    (void)fclose(sockets);
    return 0;
}

static bool may_become_a_stranger(void)
{
    if (geteuid() != 0) {
        print_message("SKIPPED: without root there is no stranger to be\n");
        return false;
    }
    return true;
}

/* As somebody else: listens under the name and waits for a client's first byte, which never comes; exit
 * status 0 where that is so. */
static void pose_as_resident(const struct sockaddr_un *address, socklen_t size, int ready)
{
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), client;
    char byte;

    if (setuid(NOBODY) != 0 || bind(listener, (const struct sockaddr *)address, size) != 0 ||
        listen(listener, 8) != 0 || write(ready, "", 1) != 1) {
        _exit(2);
    }
    client = accept(listener, NULL, NULL);
    _exit(client >= 0 && read(client, &byte, 1) == 0 ? 0 : 1);
}

static void a_stranger_who_has_its_name_gets_no_request(void **state)
{
    pid_t resident, stranger;
    const struct outcome *outcome;
    struct sockaddr_un address;
    socklen_t size;
    int ready[2];
    char byte;

    (void)state;
    if (!may_become_a_stranger()) {
        return;
    }
    resident = leave_one(persist);
    size = address_of(resident, &address);
    assert_true(size > 0);
    end(resident);
    assert_int_equal(pipe(ready), 0);
    stranger = fork();
    if (stranger == 0) {
        pose_as_resident(&address, size, ready[1]);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    outcome = upsert("stranger", persist, 200);
    assert_int_equal(left_behind(outcome), 0);
    assert_true(says(outcome, "unable to leave the request"));
    assert_true(is_stored("stranger"));
    assert_int_equal(process_wait(stranger, END_TIMEOUT_MS), 0);
    (void)close(ready[0]);
    (void)close(ready[1]);
}

static void a_stranger_is_not_answered(void **state)
{
    pid_t resident, stranger;
    struct sockaddr_un address;
    socklen_t size;

    (void)state;
    if (!may_become_a_stranger()) {
        return;
    }
    resident = leave_one(persist);
    size = address_of(resident, &address);
    stranger = fork();
    if (stranger == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char byte;

        _exit(setuid(NOBODY) == 0 && connect(fd, (const struct sockaddr *)&address, size) == 0 &&
                      read(fd, &byte, 1) == 0
                  ? 0
                  : 1);
    }
    assert_int_equal(process_wait(stranger, END_TIMEOUT_MS), 0);
    end(resident);
}

static int start(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    site_start(&site, NULL);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    site_stop(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_requests_are_answered_by_the_worker_that_stays),
        cmocka_unit_test(it_goes_when_no_request_comes),
        cmocka_unit_test(none_stays_where_it_is_not_asked_for),
        cmocka_unit_test(other_settings_find_another),
        cmocka_unit_test(those_that_come_at_once_leave_one_worker),
        cmocka_unit_test(a_request_outlives_the_worker_that_had_it),
        cmocka_unit_test(a_worker_that_stands_still_keeps_no_request_for_longer_than_its_deadline),
        cmocka_unit_test(the_database_away_means_503_through_it_too),
        cmocka_unit_test(answers_are_the_same_with_it_and_without),
        cmocka_unit_test(a_stranger_who_has_its_name_gets_no_request),
        cmocka_unit_test(a_stranger_is_not_answered),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
