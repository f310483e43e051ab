/* The store by itself, before a database that is slow, stands still, is lost, or refuses: what is given up,
 * and when; and that nothing of it is stored later. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "cases/between.h"
#include "harness/store_requests.h"

static struct stack stack;

static void whoever_waits_past_the_deadline_is_not_stored_later(void **state)
{
    struct settings settings = settings_for(1);
    struct store_thread *store;

    settings.request_timeout_ms = 3000; /* in which a busy machine opens a connection and sends the first */
    store = start_behind_gate(&settings);
    send_upserts(store, "late", 8);
    await_all();
    for (size_t i = 0; i < sent_count; i++) {
        assert_int_equal(sent_requests[i].op.outcome, OP_UNAVAILABLE);
        assert_true(sent_requests[i].took_ms < SANITY_MS); /* it is the gate that never opens by itself */
    }
    stop_store(store);
    open_gate("gate0");
    await_no_connection();
    assert_string_equal(count_stored(""), "0"); /* gate0, which was under way, neither */
}

/* All others have come to their outcome, while the slow ones, which the locker holds back, have none. Then it
 * lets them go. */
static void check_others_are_first(size_t first_slow, size_t slow, PGconn *locker)
{
    for (size_t i = 0; i < sent_count; i++) {
        if (i < first_slow || i >= first_slow + slow) {
            assert_int_equal(await_outcome(&sent_requests[i]), OP_CREATED);
        }
    }
    for (size_t i = first_slow; i < first_slow + slow; i++) {
        assert_false(atomic_load(&sent_requests[i].is_done));
    }
    stack_let_go(locker);
    for (size_t i = first_slow; i < first_slow + slow; i++) {
        assert_int_equal(await_outcome(&sent_requests[i]), OP_UPDATED);
    }
}

static void one_slow_op_does_not_take_the_others_along(void **state)
{
    struct settings settings = settings_for(1);
    PGconn *locker;
    struct store_thread *store;

    settings.request_timeout_ms = 2 * SANITY_MS;
    store = start_behind_gate(&settings);
    open_gate("gate0");
    await_all();
    forget_all();
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'gate0'");
    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_under_way("1");
    queue_upsert(store, "gate0", "another name");
    queue_upserts(store, "quick", 40);
    open_gate("gate1");
    check_others_are_first(1, 1, locker);
    assert_string_equal(count_stored("quick"), "40");
    stop_store(store);
}

/* As many as would keep every connection busy; the others come with them, and while they are tried again. */
static void several_slow_ops_do_not_take_the_others_along(int connections, size_t slow)
{
    struct settings settings = settings_for(connections);
    struct store_thread *store;
    PGconn *locker;

    settings.request_timeout_ms = 2 * SANITY_MS;
    store = start_store(store_thread_start, &settings);
    send_upserts(store, "slow", slow);
    await_all();
    forget_all();
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held'");
    for (size_t i = 0; i < slow; i++) {
        char id[32];

        snprintf(id, sizeof id, "slow%zu", i);
        send_upsert(store, id, "another name");
    }
    send_upserts(store, "with", 20);
    clock_sleep_ms(1500);
    send_upserts(store, "meanwhile", 20);
    check_others_are_first(0, slow, locker);
    stop_store(store);
}

static void several_slow_ops_leave_one_connection_to_the_others(void **state)
{
    several_slow_ops_do_not_take_the_others_along(1, 4);
}

static void several_slow_ops_leave_two_connections_to_the_others(void **state)
{
    several_slow_ops_do_not_take_the_others_along(2, 8);
}

/* A stop, and plain CGI, while an incident is locked for longer than anybody waits. */
static void whoever_gives_up_at_a_lock_ends(void **state)
{
    struct settings settings = settings_for(2);
    PGconn *locker;
    struct store_thread *store, *single;
    struct store_request *request;

    settings.request_timeout_ms =
        5500; /* a tenth of it is longer than lock_timeout: the last attempt is no timeout of ours */
    store = start_store(store_thread_start, &settings);
    single = start_store(store_thread_start_single, &settings);
    assert_int_equal(await_outcome(send_upsert(store, "locked", "n")), OP_CREATED);
    locker = stack_hold(&stack, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'locked'");
    for (int i = 0; i < 4; i++) { /* whether it is seen depends on which thread is first */
        send_upsert(store, "locked", "another name");
    }
    await_queue(3); /* the fourth is under way */
    request = send_upsert(single, "locked", "another name");
    await_busy("2");
    stop_store(store);
    await_all();
    stack_let_go(locker);
    check_all_but(&sent_requests[0], OP_UNAVAILABLE);
    assert_int_equal(request->op.outcome, OP_UNAVAILABLE);
    stop_store(single);
}

/* Ends the store's connections on this side alone: what runs in the database goes on and hears nothing of it.
 */
static void cut_connections(void)
{
    for (int fd = 3; fd < 256; fd++) {
        struct sockaddr_un peer = {0};
        socklen_t size = sizeof peer;

        if (fd != PQsocket(stack.owner) && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
            peer.sun_family == AF_UNIX && strstr(peer.sun_path, "/.s.PGSQL.") != NULL) {
            assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
        }
    }
}

/* Whether the request has no outcome for as long as its repetition would take, did it not wait. */
static bool is_held_back(struct store_request *request)
{
    int64_t until_ms = clock_now_ms() + 1000;

    while (!atomic_load(&request->is_done) && clock_now_ms() < until_ms) {
        clock_sleep_ms(5);
    }
    return !atomic_load(&request->is_done);
}

/* A batch whose connection is lost still runs: it has no business to come after its own repetition, and after
 * what was sent since. */
static void a_batch_that_was_lost_undoes_nothing_newer(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_behind_gate(&settings);
    struct store_request *first;

    close_gate("gate1");
    close_gate("a-gate");
    send_upsert(store, "gate1", "n");
    await_under_way("2");
    first = queue_upsert(store, "behind", "old");
    queue_upsert(store, "a-gate", "n"); /* which comes first in the batch */
    open_gate("gate0");
    await_outcome(&sent_requests[0]);
    await_busy("2");
    open_gate("gate1");
    await_busy("1");
    cut_connections();

    /* Its repetition is answered, if it does not wait for the lost batch. */
    if (is_held_back(first)) {
        open_gate("a-gate");
    }
    await_outcome(first);
    assert_int_equal(await_outcome(send_upsert(store, "behind", "new")), OP_UPDATED);
    open_gate("a-gate");
    await_all();
    await_busy("0");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'behind'"),
                        "new");
    stop_store(store);
}

/* Each of the two was a batch by itself, so what waits for one waits not for the other. */
static void two_requests_that_were_lost_undo_nothing_newer(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store = start_behind_gate(&settings);
    struct store_request *one;

    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_busy("2"); /* both connections are open */
    open_gate("gate0");
    open_gate("gate1");
    await_all();
    await_busy("0");
    stack_query(&stack, "CREATE TABLE test.stalled AS SELECT pid, reference_id FROM pg_stat_activity, "
                        "(VALUES ('one'), ('two')) AS _(reference_id) WHERE usename = 'incidents_fcgi'");
    stack_query(&stack, "CREATE FUNCTION test.stall() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                        "WHILE EXISTS (SELECT FROM test.stalled s WHERE s.reference_id = NEW.reference_id "
                        "AND pid = pg_backend_pid()) LOOP PERFORM pg_sleep(0.005); END LOOP; "
                        "RETURN NEW; END $$");
    stack_query(&stack, "CREATE TRIGGER stall BEFORE INSERT ON intake.incident "
                        "FOR EACH ROW EXECUTE FUNCTION test.stall()");
    one = send_upsert(store, "one", "old");
    await_busy("1");
    send_upsert(store, "two", "old");
    await_busy("2");
    cut_connections();
    stack_query(&stack, "DELETE FROM test.stalled WHERE reference_id = 'two'");

    /* Its repetition is answered, if it does not wait for what was lost. */
    if (is_held_back(one)) {
        stack_query(&stack, "DELETE FROM test.stalled");
    }
    await_all();
    assert_int_equal(await_outcome(send_upsert(store, "one", "new")), OP_UPDATED);
    stack_query(&stack, "DELETE FROM test.stalled");
    await_busy("0");
    stack_query(&stack, "DROP FUNCTION test.stall() CASCADE");
    stack_query(&stack, "DROP TABLE test.stalled");
    assert_string_equal(stack_query(&stack, "SELECT name FROM intake.incident WHERE reference_id = 'one'"),
                        "new");
    stop_store(store);
}

/* The one session of the store's. */
static pid_t session_of_the_store(void)
{
    return (pid_t)strtol(
        stack_query(&stack, "SELECT pid FROM pg_stat_activity WHERE usename = 'incidents_fcgi'"), NULL, 10);
}

static void await_end_of_session(pid_t session)
{
    char sql[128];

    snprintf(sql, sizeof sql, "SELECT count(*) FROM pg_stat_activity WHERE pid = %ld", (long)session);
    await_result(sql, "0");
}

static const char *name_of(const char *id)
{
    return stack_query_for(&stack, "SELECT name FROM intake.incident WHERE reference_id = $1", id);
}

/* A session that stands still has the batch in its socket, and reads it when nobody waits any more. It could
 * not be stored then, but it is ended, too, which holds where the server's clock was set back. */
static void a_batch_that_was_given_up_is_never_stored(void **state)
{
    static const char terminating[] = "terminating connection due to administrator command";
    struct settings settings = settings_for(1);
    char path[128], *log;
    struct store_thread *store;
    pid_t session;
    enum op_outcome given_up, newer;
    size_t terminated = stack_count_in_log(&stack, terminating);

    start_logging(path, sizeof path);
    settings.request_timeout_ms = 4000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await_outcome(send_upsert(store, "given up", "v0")), OP_CREATED);
    session = session_of_the_store();
    assert_int_equal(kill(session, SIGSTOP), 0);
    given_up = await_outcome(send_upsert(store, "given up", "v1"));
    newer = await_outcome(send_upsert(store, "given up", "v2"));
    assert_int_equal(kill(session, SIGCONT), 0);
    await_end_of_session(session);
    stop_store(store);
    log = stop_logging(path);
    assert_int_equal(given_up, OP_UNAVAILABLE);
    assert_int_equal(newer, OP_UPDATED);
    assert_string_equal(name_of("given up"), "v2");
    assert_non_null(strstr(log, " warning terminated an abandoned database session\n"));
    free(log);
    assert_int_equal(stack_count_in_log(&stack, terminating), terminated + 1);
}

/* Asks until the store has the database back. */
static void await_return(struct store_thread *store)
{
    int64_t deadline = clock_now_ms() + SANITY_MS;
    enum op_outcome outcome = OP_UNAVAILABLE;

    for (int i = 0; outcome == OP_UNAVAILABLE; i++) {
        char id[32];

        assert_true(clock_now_ms() < deadline);
        snprintf(id, sizeof id, "back%d", i);
        outcome = await_outcome(send_upsert(store, id, "n"));
        clock_sleep_ms(2 * SANITY_MS / STORE_REQUESTS_MAX);
    }
    assert_int_equal(outcome, OP_CREATED);
}

/* While it stands still, a probe gets no response, and lasts for longer than anything else waits. */
static void a_database_that_stood_still_is_found_again(int connections)
{
    struct settings settings = settings_for(connections);
    struct store_thread *store;

    settings.request_timeout_ms = 3000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await_outcome(send_upsert(store, "before", "n")), OP_CREATED);
    stack_pause_postgres(&stack);
    assert_int_equal(await_outcome(send_upsert(store, "meanwhile", "n")), OP_UNAVAILABLE);
    clock_sleep_ms(4000);
    stack_resume_postgres(&stack);
    await_return(store);
    stop_store(store);
}

static void a_database_that_stood_still_is_found_again_by_one_connection(void **state)
{
    a_database_that_stood_still_is_found_again(1);
}

static void a_database_that_stood_still_is_found_again_by_several(void **state)
{
    a_database_that_stood_still_is_found_again(2);
}

/* A server whose machine hangs: its kernel takes connections, and nobody says anything. */
static int listen_in_silence(char *directory, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(directory, size, "%s/silent", stack.directory);
    assert_true(mkdir(directory, 0700) == 0 || errno == EEXIST);
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/.s.PGSQL.5432", directory);
    unlink(address.sun_path);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 100), 0);
    return fd;
}

/* It stands before the good one. Whatever it may take, by the time that there is or by connect_timeout, is
 * its share. */
static void a_silent_server_leaves_the_next_one_its_share_of_the_time(void **state)
{
    static const char *const timeouts[] = {"0", "60"};
    char directory[128];
    int fd = listen_in_silence(directory, sizeof directory);

    for (size_t i = 0; i < 2; i++) {
        struct settings settings = settings_for(1);
        struct store_thread *store;

        settings.request_timeout_ms = 5000;
        snprintf(settings.database_url, sizeof settings.database_url,
                 "postgresql:///incidents?host=%s,%s&user=incidents_fcgi&connect_timeout=%s", directory,
                 stack.directory, timeouts[i]);
        store = start_store(store_thread_start, &settings);
        assert_int_equal(await_outcome(send_upsert(store, timeouts[i], "n")), OP_CREATED);
        /* Away for longer than a deadline, so that nothing but a probe will find it. */
        stack_stop_postgres(&stack, SIGINT);
        assert_int_equal(await_outcome(send_upsert(store, "away", "n")), OP_UNAVAILABLE);
        clock_sleep_ms(settings.request_timeout_ms);
        stack_start_postgres(&stack, "-c fsync=off");
        await_return(store);
        stop_store(store);
        stack_query(&stack, "DELETE FROM intake.incident"); /* await_return wants to create */
    }
    close(fd);
}

/* The same Postgres, by two names: what one of its connections finds out about a server counts for the idle
 * one too. */
static void a_host_that_has_failed_is_left_by_idle_connections_too(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store;
    char before[64];

    settings.request_timeout_ms = 5000;
    snprintf(settings.database_url, sizeof settings.database_url,
             "postgresql:///incidents?host=%s,%s/.&user=incidents_fcgi", stack.directory, stack.directory);
    store = start_behind_gate(&settings);
    close_gate("gate1");
    send_upsert(store, "gate1", "n");
    await_busy("2");
    open_gate("gate0");
    open_gate("gate1");
    await_all();
    snprintf(before, sizeof before, "%s", stack_query(&stack, "SELECT clock_timestamp()"));
    stack_pause_postgres(&stack);
    assert_int_equal(await_outcome(send_upsert(store, "lost", "n")), OP_UNAVAILABLE);
    stack_resume_postgres(&stack);
    await_return(store);
    for (int64_t give_up_ms = clock_now_ms() + GATE_TIMEOUT_MS;
         strcmp(stack_query_for(&stack,
                                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'incidents_fcgi' AND "
                                "backend_start < $1::timestamptz",
                                before),
                "0") != 0;) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(10);
    }
    stop_store(store);
}

/* More than the socket takes, so that it cannot even be sent. */
static void a_large_request_to_a_database_that_stands_still_ends_in_time(void **state)
{
    struct settings settings = settings_for(1);
    struct store_request *large;
    struct store_thread *store;
    struct buffer body;

    settings.request_timeout_ms = 3000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await_outcome(send_upsert(store, "first", "n")), OP_CREATED);
    assert_int_equal(await_outcome(send_upsert(store, "second", "n")),
                     OP_CREATED); /* the statement is prepared */
    stack_pause_postgres(&stack);
    large = send_large(store, "large", &body);
    assert_int_equal(await_outcome(large), OP_UNAVAILABLE);
    assert_true(large->took_ms < SANITY_MS); /* Postgres never takes it */
    stack_resume_postgres(&stack);
    await_return(store);
    stop_store(store);
    assert_string_equal(count_stored("large"), "0");
    buffer_free(&body);
}

static void a_request_that_comes_within_a_probe_is_sent_behind_it(void **state)
{
    struct settings settings = settings_for(1);
    struct store_request *request;
    struct store_thread *store;

    settings.request_timeout_ms = 10000;
    store = start_store(store_thread_start, &settings);
    assert_int_equal(await_outcome(send_upsert(store, "before", "n")), OP_CREATED);
    stack_pause_postgres(&stack);
    assert_int_equal(await_outcome(send_upsert(store, "meanwhile", "n")), OP_UNAVAILABLE);
    clock_sleep_ms(800); /* the first probe begins half a second behind it, and gives up after two */
    request = send_upsert(store, "within", "n");
    clock_sleep_ms(300);
    stack_resume_postgres(&stack);
    assert_int_equal(await_outcome(request), OP_CREATED); /* before its deadline, that is */
    stop_store(store);
}

static size_t count_refused(void)
{
    return stack_count_in_log(&stack, "too many connections for role");
}

/* How many more refusals there may be, at most: twenty a second, and what a time brings. */
static size_t most_refused(int64_t since_ms)
{
    return 20 + (size_t)(20 * (clock_now_ms() - since_ms) / 1000);
}

static void a_database_that_refuses_is_not_stormed(void **state)
{
    struct settings settings = settings_for(2);
    int64_t since_ms = clock_now_ms();
    struct store_thread *store;

    settings.request_timeout_ms = SANITY_MS;
    store = start_store(store_thread_start, &settings);
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT 0"); /* 53300: try again */
    send_upserts(store, "storm", 100);
    while (count_refused() < 2 || clock_now_ms() < since_ms + 2000) {
        assert_true(clock_now_ms() < since_ms + GATE_TIMEOUT_MS);
        clock_sleep_ms(20);
    }
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT -1");
    await_all();
    check_all_but(NULL, OP_CREATED);
    stop_store(store);
    assert_between(count_refused(), 2, most_refused(since_ms));
}

/* Where one connection is all that there is, the other is not asked for all the time. */
static void a_database_that_refuses_one_of_two_is_not_stormed(void **state)
{
    struct store_thread *store = start_store_with(2);
    size_t refused = count_refused();
    int64_t since_ms = clock_now_ms();

    /* From the beginning: on a busy machine both might be open else. */
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT 1");
    stack_query(&stack, "CREATE FUNCTION test.linger() RETURNS trigger LANGUAGE plpgsql AS "
                        "$$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$");
    stack_query(&stack, "CREATE TRIGGER linger AFTER INSERT ON intake.incident "
                        "FOR EACH STATEMENT EXECUTE FUNCTION test.linger()");
    for (int round = 0; count_refused() == refused || clock_now_ms() < since_ms + 2000; round++) {
        char prefix[16];

        assert_true(clock_now_ms() < since_ms + GATE_TIMEOUT_MS);
        snprintf(prefix, sizeof prefix, "%d-", round);
        send_upserts(store, prefix, 8);
        await_all();
        check_all_but(NULL, OP_CREATED);
        forget_all();
    }
    stack_query(&stack, "ALTER ROLE incidents_fcgi CONNECTION LIMIT -1");
    stack_query(&stack, "DROP FUNCTION test.linger() CASCADE");
    stop_store(store);
    assert_between(count_refused() - refused, 1, most_refused(since_ms) / 2);
}

/* The name servers do not answer while this is set: libpq's look-ups come here. */
static atomic_bool names_are_silent;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    while (atomic_load(&names_are_silent)) {
        clock_sleep_ms(10);
    }
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(name, service, hints, found);
}

/* The system's resolver asks for half a minute and cannot be stopped. */
static void a_name_server_that_is_silent_keeps_nobody_past_the_deadline(void **state)
{
    struct settings settings = settings_for(2);
    struct store_thread *store;

    settings.request_timeout_ms = 1000;
    snprintf(settings.database_url, sizeof settings.database_url,
             "host=localhost port=1 dbname=incidents user=x");
    atomic_store(&names_are_silent, true);
    store = start_store(store_thread_start, &settings);
    for (int i = 0; i < 3; i++) { /* more than there are connections to hold up */
        send_upserts(store, "nameless", 8);
        await_all();
        check_all_but(NULL, OP_UNAVAILABLE);
        for (size_t n = 0; n < sent_count; n++) {
            assert_true(sent_requests[n].took_ms < SANITY_MS); /* the name server stays silent */
        }
        forget_all();
    }
    atomic_store(&names_are_silent, false);
    stop_store(store);
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(whoever_waits_past_the_deadline_is_not_stored_later),
        cmocka_unit_test(one_slow_op_does_not_take_the_others_along),
        cmocka_unit_test(several_slow_ops_leave_one_connection_to_the_others),
        cmocka_unit_test(several_slow_ops_leave_two_connections_to_the_others),
        cmocka_unit_test(a_batch_that_was_lost_undoes_nothing_newer),
        cmocka_unit_test(two_requests_that_were_lost_undo_nothing_newer),
        cmocka_unit_test(a_batch_that_was_given_up_is_never_stored),
        cmocka_unit_test(whoever_gives_up_at_a_lock_ends),
        cmocka_unit_test(a_database_that_stood_still_is_found_again_by_one_connection),
        cmocka_unit_test(a_database_that_stood_still_is_found_again_by_several),
        cmocka_unit_test(a_silent_server_leaves_the_next_one_its_share_of_the_time),
        cmocka_unit_test(a_host_that_has_failed_is_left_by_idle_connections_too),
        cmocka_unit_test(a_large_request_to_a_database_that_stands_still_ends_in_time),
        cmocka_unit_test(a_request_that_comes_within_a_probe_is_sent_behind_it),
        cmocka_unit_test(a_database_that_refuses_is_not_stormed),
        cmocka_unit_test(a_database_that_refuses_one_of_two_is_not_stormed),
        cmocka_unit_test(a_name_server_that_is_silent_keeps_nobody_past_the_deadline),
    };

    return store_requests_run(&stack, cases, sizeof cases / sizeof cases[0]);
}
