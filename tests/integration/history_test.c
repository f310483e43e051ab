/* The history of incidents: every change is in it, in an order that it could have happened in, and nothing
 * while it is off. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fixture.h"

static struct stack stack;

static void send_to(const char *path, const char *body, const char *action)
{
    assert_string_equal(http_post(&stack, path, body, 200), action);
}

static void turn(const char *how)
{
    assert_int_equal(stack_control(&stack, NULL, "history", how, NULL)->status, 0);
}

static const char *count(void)
{
    return stack_query(&stack, "SELECT count(*) FROM intake.incident_change");
}

static void empty_history(void)
{
    stack_query(&stack, "WITH c AS MATERIALIZED (SELECT change_id FROM intake.incident_change) "
                        "SELECT intake.purge_history(array_agg(change_id), 'infinity') FROM c");
}

static void every_change_is_kept_and_no_resend(void **state)
{
    static const char first[] =
        "{\"reference_id\":\"h\",\"started_at\":\"2024-01-01\",\"name\":\"n\",\"metadata\":{\"d\":1.10,"
        "\"big\":18446744073709551616},\"services\":[{\"identifier\":\"b\",\"name\":\"B\"},{\"identifier\":"
        "\"a\"}]}";
    static const char services[] =
        "{\"reference_id\":\"h\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"c\"}]}";

    turn("--on");
    send_to("incidents.upsert", first, "created");
    send_to("incidents.upsert", first, "unchanged");
    send_to("incidents.upsert", services, "updated");
    send_to("incidents.upsert",
            "{\"reference_id\":\"h\",\"started_at\":\"2024-01-01\",\"metadata\":{\"d\":1.1}}", "updated");
    send_to("incidents.delete", "{\"reference_id\":\"h\"}", "deleted");
    send_to("incidents.delete", "{\"reference_id\":\"h\"}", "not_found");
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(action || ' ' || token_label, ', ' ORDER BY change_id) "
                            "FROM intake.incident_change"),
        "created good, updated good, updated good, deleted good");
    assert_string_equal(
        stack_query(&stack, "SELECT after FROM reporting.incident_history WHERE action = 'created'"),
        "{\"name\": \"n\", \"metadata\": {\"d\": 1.10, \"big\": 18446744073709551616}, "
        "\"priority\": null, \"services\": [[\"b\", \"B\"], [\"a\", null]], \"source_url\": null, "
        "\"started_at\": \"2024-01-01T00:00:00.000000Z\", \"resolved_at\": null, "
        "\"reference_id\": \"h\"}");
    assert_string_equal(stack_query(&stack,
                                    "SELECT (before->>'services') || (after->>'services') "
                                    "FROM reporting.incident_history WHERE action = 'updated' LIMIT 1"),
                        "[[\"b\", \"B\"], [\"a\", null]][[\"c\", null]]");
    assert_string_equal(
        stack_query(&stack, "SELECT before IS NOT NULL AND after IS NULL FROM reporting.incident_history "
                            "WHERE action = 'deleted'"),
        "t");
    turn("--off");
}

static void nothing_is_written_while_it_is_off(void **state)
{
    send_to("incidents.upsert", "{\"reference_id\":\"o\",\"started_at\":\"2024-01-01\"}", "created");
    turn("--on");
    turn("--off");
    send_to("incidents.upsert", "{\"reference_id\":\"o\",\"started_at\":\"2024-01-02\"}", "updated");
    send_to("incidents.delete", "{\"reference_id\":\"o\"}", "deleted");
    assert_string_equal(count(), "0");
    assert_non_null(strstr(stack_control(&stack, NULL, "history", "--status", NULL)->out, "history is off"));
}

static void what_an_administrator_deletes_is_in_it(void **state)
{
    turn("--on");
    for (char body[] = "{\"reference_id\":\"1\",\"started_at\":\"2024-01-01\"}"; body[17] <= '3';
         body[17]++) {
        send_to("incidents.upsert", body, "created");
    }
    assert_int_equal(stack_control(&stack, NULL, "delete", "1", NULL)->status, 0);
    assert_int_equal(stack_control(&stack, NULL, "purge", "--before", "1d", "--yes", NULL)->status, 0);
    assert_string_equal(stack_query(&stack, "SELECT string_agg(reference_id, ' ' ORDER BY reference_id) "
                                            "FROM intake.incident_change "
                                            "WHERE action = 'deleted' AND token_label = 'incidentctl'"),
                        "1 2 3");
    turn("--off");
}

static void it_is_shown_field_by_field(void **state)
{
    static const char *const lines[] = {
        "  created  name: \"old\"\n",        "  updated  metadata.cause.kind: \"deploy\" -> (none)\n",
        "metadata.cause.n: 1.10 -> 1.1\n",   "name: \"old\" -> \"new\"\n",
        "services: [] -> [[\"s\", null]]\n",
    };
    const struct outcome *outcome;
    struct json_object *rows, *changes, *value;

    turn("--on");
    send_to("incidents.upsert", "{\"reference_id\":\"f\",\"started_at\":\"2024-01-01\",\"name\":\"old\"}",
            "created");
    send_to("incidents.upsert",
            "{\"reference_id\":\"f\",\"started_at\":\"2024-01-01\",\"metadata\":{\"cause\":{\"kind\":"
            "\"deploy\",\"n\":1.10}}}",
            "updated");
    send_to("incidents.upsert",
            "{\"reference_id\":\"f\",\"started_at\":\"2024-01-01\",\"name\":\"new\",\"metadata\":{\"cause\":{"
            "\"n\":1.1}},\"services\":[{\"identifier\":\"s\"}]}",
            "updated");
    outcome = stack_control(&stack, NULL, "history", "f", NULL);
    assert_int_equal(outcome->status, 0);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (strstr(outcome->out, lines[i]) == NULL) {
            fail_msg("the history lacks %s:\n%s", lines[i], outcome->out);
        }
    }
    outcome = stack_control(&stack, NULL, "history", "f", "--json", NULL);
    assert_non_null(strstr(outcome->out, "{\"field\":\"metadata.cause.n\",\"old\":1.10,\"new\":1.1}"));
    rows = json_tokener_parse(outcome->out);
    assert_int_equal(json_object_array_length(rows), 3);
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 2), "changes", &changes));
    assert_int_equal(json_object_array_length(changes), 4);
    assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, 0), "before", &value));
    assert_null(value);
    json_object_put(rows);

    outcome = stack_control(&stack, NULL, "history", "nobody", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->err, "nothing"));
    assert_string_equal(stack_control(&stack, NULL, "history", "nobody", "--json", NULL)->out, "[]\n");
    turn("--off");
}

static void nothing_in_it_can_be_rewritten(void **state)
{
    static const char *const statements[] = {"UPDATE intake.incident_change SET after = before",
                                             "DELETE FROM intake.incident_change",
                                             "TRUNCATE intake.incident_change",
                                             "INSERT INTO intake.incident_change (reference_id, changed_at, "
                                             "action) VALUES ('x', now(), 'updated')"};

    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        PGresult *result = PQexec(stack.owner, statements[i]);

        assert_int_equal(PQresultStatus(result), PGRES_FATAL_ERROR);
        assert_true(i == 3 || strstr(PQresultErrorMessage(result), "append-only") != NULL);
        PQclear(result);
    }
}

static void upsert(const char *id, const char *name, const char *action)
{
    char body[200];

    snprintf(body, sizeof body, "{\"reference_id\":\"%s\",\"started_at\":\"2024-01-01\",\"name\":\"%s\"}", id,
             name);
    send_to("incidents.upsert", body, action);
}

static void purging_forgets_what_is_older(void **state)
{
    const struct outcome *outcome;

    turn("--on");
    upsert("old", "1", "created");
    /* Numbers and times disagree, as the server's clock may be set back. */
    stack_query(&stack, "INSERT INTO intake.incident_change (reference_id, changed_at, action, after) "
                        "SELECT 'ancient', now() - CASE WHEN n BETWEEN 1000 AND 2999 THEN interval '1 "
                        "year' ELSE interval '3 years' END, 'created', "
                        "ROW ('n', NULL, NULL, now(), NULL, NULL, NULL)::intake.incident_state "
                        "FROM generate_series(1, 4500) n ORDER BY n");
    upsert("new", "1", "created");
    outcome = stack_control(&stack, NULL, "history", "--purge", "--before", "730d", NULL);
    assert_int_equal(outcome->status, 1); /* nobody is there to be asked */
    assert_non_null(strstr(outcome->err, "changes to be deleted: 2500"));
    assert_string_equal(count(), "4502");
    outcome = stack_control(&stack, NULL, "history", "--purge", "--before", "730d", "--yes", NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(outcome->out, "changes deleted: 2500\n");
    assert_string_equal(count(), "2002");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident_change "
                                            "WHERE changed_at < now() - interval '730 days'"),
                        "0");
    outcome = stack_control(&stack, NULL, "history", "--purge", "--before", "730d", "--yes", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->err, "there is nothing to delete"));
    assert_int_equal(stack_control(&stack, NULL, "history", "--purge", "--yes", NULL)->status, 2);
    assert_int_equal(stack_control(&stack, NULL, "history", "--status", "--before", "1d", NULL)->status, 2);
    assert_int_equal(stack_control(&stack, NULL, "history", "--purge", "--before", "soon", NULL)->status, 2);
    turn("--off");
}

/* While it waits for one row, which somebody holds, requests are answered and their changes are written,
 * which were not announced and stay. */
static void requests_go_on_while_it_is_purged(void **state)
{
    PGconn *holder;
    pid_t purger;

    turn("--on");
    upsert("held", "1", "created");
    holder =
        stack_hold(&stack, "SELECT 1 FROM intake.incident_change WHERE reference_id = 'held' FOR UPDATE");
    purger = fork();
    if (purger == 0) {
        setenv("DATABASE_URL", stack.owner_url, 1);
        execl(stack.control, stack.control, "history", "--purge", "--before", "2100-01-01", "--yes",
              (char *)NULL);
        _exit(127);
    }
    stack_await_lock_wait(&stack);
    upsert("held", "2", "updated");
    upsert("other", "1", "created");
    assert_string_equal(count(), "3");
    stack_let_go(holder);
    assert_int_equal(waitpid(purger, &(int){0}, 0), purger);
    assert_string_equal(stack_query(&stack,
                                    "SELECT count(*) FROM intake.incident_change WHERE (after).name = '1' "
                                    "AND reference_id = 'held'"),
                        "0");
    assert_string_equal(count(), "2");
    turn("--off");
}

/* --- concurrency
 * ---------------------------------------------------------------------------------------------------- */

static atomic_int changes;

/* Upserts and deletes a few incidents, as fast as it can, each time with something new. */
static void work(struct load_client *client)
{
    int rounds = *(const int *)client->context;

    for (int i = 0; i < rounds || (rounds == 0 && !load_is_stopping(client)); i++) {
        char body[300];
        bool is_delete = (i + (int)client->number) % 7 == 6;
        struct call call = {.path = is_delete ? "incidents.delete" : "incidents.upsert", .body = body};
        struct http_response response;

        snprintf(body, sizeof body,
                 "{\"reference_id\":\"r%d\",\"started_at\":\"2024-01-01\",\"name\":\"%zu-%d\",\"services\":[{"
                 "\"identifier\":\"s%zu\"},{\"identifier\":\"t%d\"}],\"metadata\":{\"i\":%d}}",
                 i % 3, client->number, i, client->number, i, i);
        if (!load_send(client, &call, 200, &response)) {
            http_response_free(&response);
            return;
        }
        changes += strstr("created updated deleted", http_response_text(&response, "action")) != NULL;
        http_response_free(&response);
    }
}

/* Each change begins with what the one before it left, and the last one left what is stored. Compared as
 * JSON, in which every digit counts. */
static void check_chains(void)
{
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM (SELECT before, lag(after) OVER w AS left_behind, "
                            "lag(change_id) OVER w AS previous FROM reporting.incident_history "
                            "WINDOW w AS (PARTITION BY source_id ORDER BY change_id)) chain "
                            "WHERE previous IS NOT NULL AND before::text IS DISTINCT FROM left_behind::text"),
        "0");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM (SELECT DISTINCT ON (source_id) source_id, after "
                            "FROM reporting.incident_history ORDER BY source_id, change_id DESC) newest "
                            "FULL JOIN (SELECT i.reference_id AS source_id, "
                            "reporting.incident_json(i.reference_id, ROW (i.name, i.priority, i.source_url, "
                            "i.started_at, i.resolved_at, i.services, i.metadata)) AS stored "
                            "FROM intake.incident i) i USING (source_id) "
                            "WHERE after::text IS DISTINCT FROM stored::text"),
        "0");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM (SELECT changed_at < lag(changed_at) OVER w AS back "
                            "FROM intake.incident_change "
                            "WINDOW w AS (PARTITION BY reference_id ORDER BY change_id)) t WHERE back"),
        "0");
}

static void changes_that_race_leave_a_serial_order(void **state)
{
    int rounds = 120;

    turn("--on");
    changes = 0;
    load_run(&stack, 8, work, &rounds);
    check_chains();
    assert_int_equal(strtol(count(), NULL, 10), changes);
    assert_true(changes > 8 * 60);
    turn("--off");
}

/* Waits until the load has made some. */
static void await_changes(void)
{
    int64_t give_up_ms = clock_now_ms() + 60000;

    while (strtol(count(), NULL, 10) < 200) {
        assert_true(clock_now_ms() < give_up_ms);
        clock_sleep_ms(20);
    }
}

/* When the command has returned, every change is in the history: what was stored after it ends the chains. */
static void it_can_be_turned_on_under_load(void **state)
{
    int rounds = 0;
    struct load *load;

    for (int i = 0; i < 5; i++) {
        load = load_start(&stack, 8, work, &rounds);
        clock_sleep_ms(100);
        turn("--on");
        await_changes();
        load_stop(load);
        load_join(load);
        check_chains();
        turn("--off");
        empty_history();
        stack_query(&stack, "TRUNCATE intake.incident");
    }
}

int main(void)
{
    /* At the start, too: make citus-test has other tests change the same database before. */
    static const struct fixture fixture = {.stack = &stack, .start = empty_history, .clean = empty_history};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(every_change_is_kept_and_no_resend),
        cmocka_unit_test(nothing_is_written_while_it_is_off),
        cmocka_unit_test(what_an_administrator_deletes_is_in_it),
        cmocka_unit_test(it_is_shown_field_by_field),
        cmocka_unit_test(purging_forgets_what_is_older),
        cmocka_unit_test(requests_go_on_while_it_is_purged),
        cmocka_unit_test(nothing_in_it_can_be_rewritten),
        cmocka_unit_test(changes_that_race_leave_a_serial_order),
        cmocka_unit_test(it_can_be_turned_on_under_load),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
