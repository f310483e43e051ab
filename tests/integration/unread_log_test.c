/* A log that nobody reads, or that finds no room: requests are answered all the same, the worker ends when it
 * is told to, and what is missing in the log is counted, there and in the metrics. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fixture.h"
#include "harness/ledger.h"

enum { CLIENTS = 8, DEADLINE_MS = 8000, TIMEOUT_MS = 120000, TEXT_MAX = 4 * 1024 * 1024 };

static struct stack_metrics metrics;
static const char dropped_here[] = " log lines: the reader is too slow or the disk is full";

static struct stack stack;
static char place[100];       /* the log: a FIFO, a file, or the socket that stands for /dev/log */
static char log_setting[192]; /* INCIDENTS_LOG */
static int reader = -1;       /* of the FIFO or the socket */
static char text[TEXT_MAX];   /* what the log has said since it was read again */
static size_t text_len;

/* ---- The worker and its log ---- */

static void start_worker(void)
{
    const char *const settings[] = {metrics.setting, "INCIDENTS_REQUEST_TIMEOUT_MS=8000", log_setting, NULL};

    stack_start_worker(&stack, settings);
}

/* A place of its own for each test. */
static void set_place(const char *name)
{
    snprintf(place, sizeof place, "%s/%s", stack.directory, name);
    snprintf(log_setting, sizeof log_setting, "INCIDENTS_LOG=%s", place);
    text_len = 0;
    text[0] = '\0';
}

/* Reads what there is; false at its end, or where there is nothing now. */
static bool read_more(int fd)
{
    ssize_t got;

    assert_true(text_len < TEXT_MAX - 1);
    got = read(fd, text + text_len, TEXT_MAX - 1 - text_len);
    text_len += got > 0 ? (size_t)got : 0;
    text[text_len] = '\0';
    if (got > 0 && text[text_len - 1] != '\n' && strncmp(text, "<", 1) == 0) { /* a datagram is a line */
        text[text_len++] = '\n';
        text[text_len] = '\0';
    }
    return got > 0;
}

static void read_all(void)
{
    int fd = reader;

    if (fd < 0) {
        fd = open(place, O_RDONLY | O_CLOEXEC);
        text_len = 0;
    }
    assert_true(fd >= 0);
    while (read_more(fd)) {
    }
    if (fd != reader) {
        close(fd);
    }
}

static void await_in_log(const char *wanted)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;

    for (read_all(); strstr(text, wanted) == NULL; read_all()) {
        if (clock_now_ms() > deadline_ms) {
            fail_msg("the log does not say \"%s\" but: %.2000s", wanted, text);
        }
        clock_sleep_ms(5);
    }
}

/* ---- What is missing ---- */

static long count_in_metrics(void)
{
    static const char series[] = "\nincidents_log_lines_dropped_total ";
    const struct call call = {.verb = "GET", .path = "metrics", .authorization = metrics.authorization};
    struct http_response response;
    const char *value;
    long count;

    http_through_nginx(&stack, &call, &response);
    assert_int_equal(response.status, 200);
    value = strstr(response.body, series);
    assert_non_null(value);
    count = strtol(value + sizeof series - 1, NULL, 10);
    http_response_free(&response);
    return count;
}

static long count_in_log(void)
{
    long count = 0;

    for (const char *at = text; (at = strstr(at, dropped_here)) != NULL; at++) {
        const char *number = at;

        while (number > text && number[-1] >= '0' && number[-1] <= '9') {
            number--;
        }
        count += strtol(number, NULL, 10);
    }
    return count;
}

/* Under load, until lines are dropped: nothing is refused, and nothing lost. */
static void serve_until_lines_are_dropped(const char *name)
{
    int64_t deadline_ms = clock_now_ms() + TIMEOUT_MS;
    struct ledger *ledger = ledger_open(&stack, CLIENTS, name, DEADLINE_MS);
    long before = count_in_metrics();
    struct ledger_figures figures;

    while (count_in_metrics() == before) {
        assert_true(clock_now_ms() < deadline_ms);
        clock_sleep_ms(20);
    }
    ledger_await_200(ledger, clock_now_ms());
    ledger_close(ledger, &figures);
    assert_true(figures.kept > 0);
    assert_int_equal(figures.kept, figures.requests);
}

static void send_marked(const char *id, char field[64])
{
    char header[64];
    const struct call call = {.verb = "GET", .path = "healthz", .headers = {header}};
    struct http_response response;

    snprintf(header, sizeof header, "X-Request-Id: %s", id);
    snprintf(field, 64, "request_id=\"%s\"", id);
    http_through_nginx(&stack, &call, &response);
    assert_int_equal(response.status, 200);
    http_response_free(&response);
}

/* The log is read again, or has room: it says how many lines are missing, where they are missing, and as many
 * as the metrics say. */
static void check_count(long before)
{
    const char *first, *marked;
    char field[64];

    await_in_log(dropped_here);
    send_marked("after-it", field);
    await_in_log(field);
    assert_int_equal(count_in_log(), count_in_metrics() - before);
    first = strstr(text, dropped_here);
    marked = strstr(text, field);
    assert_true(first < marked);
    if (strncmp(text, "<", 1) != 0) { /* no line is cut, nor glued to another */
        for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1) {
            assert_int_equal(strncmp(line, "20", 2), 0);
        }
    }
}

/* ---- Each kind of log ---- */

/* The FIFO is the worker's standard error, as that of a web server or a supervisor would be; its one reader
 * is this test. */
static void standard_error_is_not_read(void **state)
{
    char log[sizeof stack.worker_log];
    long before;

    stack_stop_worker(&stack);
    set_place("stderr");
    snprintf(log_setting, sizeof log_setting, "INCIDENTS_LOG=stderr");
    assert_int_equal(mkfifo(place, 0666), 0);
    assert_int_equal(chmod(place, 0666), 0);
    reader = open(place, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    snprintf(log, sizeof log, "%s", stack.worker_log);
    snprintf(stack.worker_log, sizeof stack.worker_log, "%s", place);
    start_worker();
    snprintf(stack.worker_log, sizeof stack.worker_log, "%s", log);
    before = count_in_metrics();
    serve_until_lines_are_dropped("stderr");
    check_count(before);
    serve_until_lines_are_dropped("stderr again");
    stack_stop_worker(&stack); /* within 30 s, with status 0 */
    start_worker();
}

/* A worker that starts does not wait for a reader either. */
static void the_file_is_a_fifo_that_nobody_reads(void **state)
{
    long before;

    stack_stop_worker(&stack);
    set_place("fifo");
    assert_int_equal(mkfifo(place, 0666), 0);
    assert_int_equal(chmod(place, 0666), 0);
    start_worker();
    before = count_in_metrics();
    serve_until_lines_are_dropped("fifo");
    reader = open(place, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    check_count(before);
    assert_non_null(strstr(text, "serving FastCGI")); /* what came first was kept */
    close(reader);                                    /* and the reader goes */
    serve_until_lines_are_dropped("fifo again");
    stack_stop_worker(&stack);
    reader = -1;
    start_worker();
}

/* By the worker's user: root may lack the right to change the limits of others. */
static void limit_file_size(const char *bytes)
{
    char pid[24], limit[40];
    const char *const argv[] = {
        "/usr/bin/setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--",
        "/usr/bin/prlimit", "--pid",   pid,        limit,     NULL};

    snprintf(pid, sizeof pid, "%d", (int)stack.worker);
    snprintf(limit, sizeof limit, "--fsize=%s:", bytes);
    assert_int_equal(process_run(geteuid() == 0 ? argv : argv + 7, NULL, NULL, 0)->status, 0);
}

/* A limit of the file's size is a disk that is full, for who is no root either. */
static void the_file_reaches_its_limit(void **state)
{
    long before;

    stack_stop_worker(&stack);
    set_place("limited");
    start_worker();
    limit_file_size("65536");
    before = count_in_metrics();
    serve_until_lines_are_dropped("limited");
    limit_file_size("unlimited");
    check_count(before);
    limit_file_size("1024");
    serve_until_lines_are_dropped("limited again");
    stack_stop_worker(&stack);
    start_worker();
}

/* A file system of its own, which only this program and what it starts from now on see. */
static bool mount_small_disk(const char *directory)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mkdir(directory, 0777) == 0 && mount("small", directory, "tmpfs", 0, "size=64k,mode=0777") == 0;
}

static void the_disk_is_full(void **state)
{
    char directory[96], ballast[128];
    long before;

    snprintf(directory, sizeof directory, "%s/disk", stack.directory);
    snprintf(ballast, sizeof ballast, "%s/ballast", directory);
    if (!mount_small_disk(directory)) {
        print_message("a file system of its own is not to be had here: %s\n", strerror(errno));
        skip();
    }
    stack_stop_worker(&stack);
    set_place("disk/log");
    start_worker();
    before = count_in_metrics();
    serve_until_lines_are_dropped("disk");
    assert_int_equal(mount(NULL, directory, NULL, MS_REMOUNT, "size=8m"), 0);
    check_count(before);
    snprintf(log_setting, sizeof log_setting, "INCIDENTS_LOG=%s/disk/log", stack.directory);
    assert_int_equal(truncate(place, 0), 0);
    assert_int_equal(mount(NULL, directory, NULL, MS_REMOUNT, "size=4k"), 0);
    serve_until_lines_are_dropped("disk again");
    stack_stop_worker(&stack);
    assert_int_equal(umount2(directory, MNT_DETACH), 0);
    set_place("after-the-disk");
    start_worker();
}

/* The worker gets a /dev of its own, whose log is ours; as root of a namespace of its own, whoever runs this.
 */
static bool write_wrapper(const char *program, const char *dev)
{
    FILE *wrapper = fopen(stack.program, "we");

    if (wrapper == NULL || fchmod(fileno(wrapper), 0755) != 0) {
        return false;
    }
    fprintf(wrapper,
            "#!/bin/sh\n"
            "if mountpoint -q /dev; then holder=/dev; else holder=/; fi\n"
            "export holder\n"
            "exec unshare --mount --propagation=unchanged --map-root-user /bin/sh -c '\n"
            "    mount --make-private $holder && mount --bind /dev/shm \"$1/shm\" &&\n"
            "    mount --bind /dev/null \"$1/null\" && mount --rbind \"$1\" /dev &&\n"
            "    exec \"$2\"' sh '%s' '%s'\n",
            dev, program);
    return fclose(wrapper) == 0;
}

static void make_dev(const char *dev)
{
    char path[160];
    int fd;

    assert_int_equal(mkdir(dev, 0755), 0);
    snprintf(path, sizeof path, "%s/shm", dev);
    assert_int_equal(mkdir(path, 0755), 0);
    snprintf(path, sizeof path, "%s/null", dev);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    close(fd);
}

static void bind_log(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    snprintf(address.sun_path, sizeof address.sun_path, "%s", place);
    reader = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(reader, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(chmod(place, 0666), 0);
}

static bool namespaces_are_allowed(void)
{
    static const char *const argv[] = {"/usr/bin/unshare", "--mount", "--map-root-user", "/bin/true", NULL};

    return process_run(argv, NULL, NULL, 0)->status == 0;
}

static void syslog_is_not_read(void **state)
{
    char program[STACK_PATH_MAX], dev[96];
    long before;

    if (!namespaces_are_allowed()) {
        print_message("a /dev of its own is not to be had here\n");
        skip();
    }
    stack_stop_worker(&stack);
    snprintf(dev, sizeof dev, "%s/dev", stack.directory);
    make_dev(dev);
    set_place("dev/log");
    snprintf(log_setting, sizeof log_setting, "INCIDENTS_LOG=syslog");
    bind_log();
    snprintf(program, sizeof program, "%s", stack.program);
    snprintf(stack.program, sizeof stack.program, "%s/in-its-own-dev", stack.directory);
    assert_true(write_wrapper(program, dev));
    start_worker();
    snprintf(stack.program, sizeof stack.program, "%s", program);
    before = count_in_metrics();
    serve_until_lines_are_dropped("syslog");
    check_count(before);
    assert_int_equal(strncmp(text, "<30>", 4), 0); /* RFC 5424 section 6.2.1: daemon, info */
    serve_until_lines_are_dropped("syslog again");
    stack_stop_worker(&stack);
    close(reader);
    reader = -1;
    set_place("after-syslog");
    start_worker();
}

/* Else the next file that the worker opens would be its standard error: a connection to the database. */
static void a_standard_error_that_is_closed_is_no_other_file(void **state)
{
    char program[STACK_PATH_MAX], link[64], target[64] = "", field[64];
    FILE *wrapper;

    stack_stop_worker(&stack);
    snprintf(log_setting, sizeof log_setting, "INCIDENTS_LOG=stderr");
    snprintf(program, sizeof program, "%s", stack.program);
    snprintf(stack.program, sizeof stack.program, "%s/closed", stack.directory);
    wrapper = fopen(stack.program, "we");
    assert_non_null(wrapper);
    fprintf(wrapper, "#!/bin/sh\nexec '%s' >&- 2>&-\n", program);
    assert_int_equal(fchmod(fileno(wrapper), 0755), 0);
    assert_int_equal(fclose(wrapper), 0);
    start_worker();
    snprintf(stack.program, sizeof stack.program, "%s", program);
    send_marked("closed", field);
    if (geteuid() != 0) {
        return; /* the worker lets nobody of its own user look (PR_SET_DUMPABLE) */
    }
    for (int descriptor = STDOUT_FILENO; descriptor <= STDERR_FILENO; descriptor++) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)stack.worker, descriptor);
        assert_true(readlink(link, target, sizeof target - 1) > 0);
        assert_string_equal(target, "/dev/null");
    }
}

/* ---- Plain CGI ---- */

/* Runs one request behind that beginning of a shell's; returns what it printed to the standard error that it
 * had before. */
static const char *response_by_cgi(const char *beginning)
{
    static const struct call call = {.path = "incidents.upsert",
                                     .body = "{\"reference_id\":\"cgi\",\"started_at\":\"2024-01-01\"}"};
    const struct outcome *outcome;
    char program[STACK_PATH_MAX];
    struct http_response response;
    FILE *wrapper;

    snprintf(program, sizeof program, "%s", stack.program);
    snprintf(stack.program, sizeof stack.program, "%s/unread-cgi", stack.directory);
    wrapper = fopen(stack.program, "we");
    assert_non_null(wrapper);
    fprintf(wrapper, "#!/bin/bash\n%s\nexec '%s'\n", beginning, program);
    assert_int_equal(fchmod(fileno(wrapper), 0755), 0);
    assert_int_equal(fclose(wrapper), 0);
    outcome = http_run_cgi(&stack, &call, NULL, &response);
    if (response.status != 200 || outcome->status != 0) {
        fail_msg("%s: answered %d, ended with %d: %s", beginning, response.status, outcome->status,
                 outcome->err);
    }
    http_response_free(&response);
    snprintf(stack.program, sizeof stack.program, "%s", program);
    return outcome->err;
}

/* With a standard error that is full, and then one whose reader is gone. */
static void response_by_cgi_behind_a_full(const int ends[2])
{
    static char filler[4096];
    char redirection[32];

    assert_int_equal(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    while (write(ends[1], filler, sizeof filler) > 0) {
    }
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0);
    snprintf(redirection, sizeof redirection, "exec 2>&%d", ends[1]);
    response_by_cgi(redirection);
    close(ends[0]);
    response_by_cgi(redirection);
    close(ends[1]);
}

/* A socket is not opened once more as a pipe is, so its lines are the thread's from the beginning. */
static void a_cgi_program_ends_though_nobody_reads_its_standard_error(void **state)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    response_by_cgi_behind_a_full(ends);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    response_by_cgi_behind_a_full(ends);
    response_by_cgi("exec 2>/dev/full");
    response_by_cgi("exec 2>&-");
}

/* By whom else the pipe is written to is no concern of the program's: it stays as it is for them. */
static void a_cgi_program_writes_its_line_and_leaves_the_pipe_as_it_was(void **state)
{
    int ends[2];
    char redirection[64], line[1024];
    ssize_t len;

    assert_int_equal(pipe(ends), 0);
    snprintf(redirection, sizeof redirection, "exec 2>&%d", ends[1]);
    assert_string_equal(response_by_cgi(redirection), "");
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    len = read(ends[0], line, sizeof line - 1);
    assert_true(len > 0);
    line[len] = '\0';
    assert_non_null(strstr(line, " status=200 "));
    assert_ptr_equal(strchr(line, '\n'), line + len - 1); /* one line, whole */
    close(ends[0]);
    close(ends[1]);
}

static void start(void)
{
    stack_stop_worker(&stack);
    set_place("first");
    start_worker();
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack, .start = start, .metrics_token = metrics.token};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(standard_error_is_not_read),
        cmocka_unit_test(the_file_is_a_fifo_that_nobody_reads),
        cmocka_unit_test(the_file_reaches_its_limit),
        cmocka_unit_test(syslog_is_not_read),
        cmocka_unit_test(the_disk_is_full),
        cmocka_unit_test(a_standard_error_that_is_closed_is_no_other_file),
        cmocka_unit_test(a_cgi_program_ends_though_nobody_reads_its_standard_error),
        cmocka_unit_test(a_cgi_program_writes_its_line_and_leaves_the_pipe_as_it_was),
    };

    stack_name_metrics(&metrics);
    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
