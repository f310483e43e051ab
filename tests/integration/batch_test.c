/* intake.apply_batch by itself: what it makes of a batch, in which order it says so, and what it does where
 * another transaction takes or makes an incident in the midst of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/fixture.h"

static struct stack stack;

/* test.apply takes operations as test.operations does, and gives the outcomes in their order, each with the
 * label that came with it. */
static void make_helpers(void)
{
    stack_make_operations(&stack);
    stack_query(&stack,
                "CREATE FUNCTION test.apply(items jsonb) RETURNS text LANGUAGE sql AS $$ "
                "SELECT coalesce(string_agg(outcome || coalesce(' ' || label, ''), ', ' ORDER BY n), '') "
                "FROM intake.apply_batch(intake.schema_version(), test.operations(items)), "
                "unnest(outcomes, token_labels) WITH ORDINALITY AS _ (outcome, label, n) $$");
    /* On a busy machine who waits must not be given up before it is let go. */
    stack_query(&stack, "ALTER FUNCTION intake.apply_batch SET lock_timeout = '20s'");
}

static const char *apply(const char *items)
{
    return stack_query_for(&stack, "SELECT test.apply($1::jsonb)", items);
}

/* Its name, the label of who wrote it last, and its services. */
static const char *stored(const char *id)
{
    return stack_query_for(&stack,
                           "SELECT concat_ws(' ', i.name, i.updated_by, (SELECT "
                           "jsonb_agg(jsonb_build_array(s.identifier, s.name) ORDER BY s.position) "
                           "FROM intake.incident_service s WHERE s.reference_id = i.reference_id)) "
                           "FROM intake.incident i WHERE i.reference_id = $1",
                           id);
}

/* What a failed case has left would keep the next one waiting. */
static void end_other_sessions(void)
{
    stack_query(&stack, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                        "WHERE usename = current_user AND pid <> pg_backend_pid()");
}

static void remove_incidents(void)
{
    end_other_sessions();
    stack_query(&stack, "TRUNCATE intake.incident");
}

static void outcomes_come_in_the_order_of_the_items(void **state)
{
    assert_string_equal(apply("[]"), "");
    assert_string_equal(apply("[{\"reference_id\":\"u\"},{\"reference_id\":\"c\"},{\"reference_id\":\"d\"}]"),
                        "created good, created good, created good");
    assert_string_equal(
        apply(
            "[{\"operation\":\"ping\"},{\"reference_id\":\"z\"},{\"reference_id\":\"u\"},{\"as\":\"nobody\"},"
            "{\"operation\":\"delete\",\"reference_id\":\"d\"},{\"reference_id\":\"c\",\"name\":\"n\"},"
            "{\"operation\":\"authorize\",\"scope\":\"delete\"},{\"operation\":\"delete\",\"reference_id\":"
            "\"q\"},"
            "{\"operation\":\"delete\",\"reference_id\":\"u2\",\"as\":\"writer\"},"
            "{\"reference_id\":\"a\",\"as\":\"writer\"},"
            "{\"operation\":\"authorize\",\"scope\":\"delete\",\"as\":\"writer\"}]"),
        "ready good, created good, unchanged good, not_authed, deleted good, updated good, authorized good, "
        "not_found good, not_permitted writer, created writer, not_permitted writer");
    assert_string_equal(stored("a"), "writer");
    assert_string_equal(stored("z"), "good");
    assert_string_equal(stored("d"), "");
}

/* An unknown token has no label. One that has ended has its label, so that an operator knows whose it is, and
 * no use of it is recorded. */
static void a_token_that_has_ended_is_refused_under_its_label(void **state)
{
    static const char *const ends[] = {"revoked_at = now()", "expires_at = clock_timestamp()"};
    char token[STACK_TOKEN_MAX], label[16], sql[160], items[256], expected[128];

    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        snprintf(label, sizeof label, "ended %zu", i);
        stack_create_token(&stack, label, "upsert,delete", token);
        snprintf(sql, sizeof sql, "UPDATE intake.api_token SET %s WHERE label = '%s'", ends[i], label);
        stack_query(&stack, sql);
        snprintf(items, sizeof items,
                 "[{\"reference_id\":\"e\",\"as\":\"%s\"},{\"operation\":\"delete\",\"reference_id\":\"e\","
                 "\"as\":\"%s\"},{\"operation\":\"authorize\",\"scope\":\"upsert\",\"as\":\"%s\"},"
                 "{\"as\":\"nobody\"},{\"reference_id\":\"f\"}]",
                 label, label, label);
        snprintf(expected, sizeof expected,
                 "not_authed %s, not_authed %s, not_authed %s, not_authed, %s good", label, label, label,
                 i == 0 ? "created" : "unchanged");
        assert_string_equal(apply(items), expected);
    }
    assert_string_equal(stored("e"), "");
    assert_string_equal(stack_query(&stack, "SELECT count(last_used_at) FROM intake.api_token "
                                            "WHERE label LIKE 'ended%'"),
                        "0");
}

/* Each against what is stored, and what is to be said; then once more, which is unchanged. */
static void services_are_the_same_only_in_number_place_and_name(void **state)
{
    static const struct {
        const char *services;
        const char *outcome;
    } sent[] = {
        {"[[\"a\",\"A\"],[\"b\",null]]", "created good"},
        {"[[\"b\",null],[\"a\",\"A\"]]", "updated good"}, /* another order */
        {"[[\"b\",null]]", "updated good"},               /* one less, in its place */
        {"[[\"b\",\"B\"]]", "updated good"},              /* a name */
        {"[[\"b\",null]]", "updated good"},               /* and none again */
        {"[[\"b\",null],[\"c\",null],[\"d\",\"\"]]", "updated good"},
        {"[[\"b\",null],[\"c\",null],[\"d\",null]]", "updated good"}, /* no name is not an empty one */
        {"[[\"b\",null],[\"x\",null],[\"d\",null]]", "updated good"}, /* as many, another */
        {"[]", "updated good"},
    };
    char item[256];

    for (size_t i = 0; i < sizeof sent / sizeof sent[0]; i++) {
        snprintf(item, sizeof item, "[{\"reference_id\":\"s\",\"services\":%s}]", sent[i].services);
        assert_string_equal(apply(item), sent[i].outcome);
        assert_string_equal(apply(item), "unchanged good");
        assert_string_equal(apply("[{\"reference_id\":\"s\"}]"), "unchanged good"); /* said nothing of them */
    }
}

static void what_somebody_did_to_the_services_by_hand_is_put_right(void **state)
{
    static const char item[] = "[{\"reference_id\":\"s\",\"services\":[[\"a\",\"A\"],[\"b\",null]]}]";
    static const char *const harms[] = {
        "UPDATE intake.incident SET services = NULL",
        "UPDATE intake.incident SET services = '[[\"b\",null],[\"a\",\"A\"]]'",
        "UPDATE intake.incident SET services = '[[\"a\",\"A\"],[\"b\",null],[\"c\",null]]'",
        "UPDATE intake.incident SET services = '[{\"identifier\":\"a\"}]'",
    };

    apply(item);
    for (size_t i = 0; i < sizeof harms / sizeof harms[0]; i++) {
        stack_query(&stack, harms[i]);
        assert_string_equal(apply(item), "updated good");
        assert_string_equal(stored("s"), "good [[\"a\", \"A\"], [\"b\", null]]");
        assert_string_equal(apply(item), "unchanged good");
    }
}

/* The SQLSTATE with which the items are refused; "" where they are not. */
static const char *sqlstate_of(const char *items)
{
    static char sqlstate[8];
    PGconn *connection = PQconnectdb(stack.owner_url);
    PGresult *result =
        PQexecParams(connection, "SELECT test.apply($1::jsonb)", 1, NULL, &items, NULL, NULL, 0);
    const char *given = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    snprintf(sqlstate, sizeof sqlstate, "%s", given != NULL ? given : "");
    PQclear(result);
    PQfinish(connection);
    return sqlstate;
}

/* Where it would matter which of two came first. */
static void a_batch_that_changes_an_incident_twice_is_refused_whole(void **state)
{
    static const char *const twice[] = {
        "[{\"reference_id\":\"new\"},{\"reference_id\":\"n\",\"name\":\"1\"},{\"reference_id\":\"n\"}]",
        "[{\"reference_id\":\"new\"},{\"reference_id\":\"old\",\"name\":\"1\"},"
        "{\"reference_id\":\"old\",\"name\":\"2\"}]",
        "[{\"reference_id\":\"new\"},{\"reference_id\":\"old\",\"name\":\"1\"},"
        "{\"operation\":\"delete\",\"reference_id\":\"old\"}]",
        "[{\"reference_id\":\"new\"},{\"operation\":\"delete\",\"reference_id\":\"old\"},"
        "{\"operation\":\"delete\",\"reference_id\":\"old\"}]",
    };

    apply("[{\"reference_id\":\"old\",\"name\":\"0\"}]");
    for (size_t i = 0; i < sizeof twice / sizeof twice[0]; i++) {
        assert_string_equal(sqlstate_of(twice[i]), "21000");
    }
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(reference_id || name, ' ') FROM intake.incident"), "old0");
    apply("[{\"reference_id\":\"kept\",\"name\":\"0\"}]");
    assert_string_equal(apply("[{\"reference_id\":\"kept\",\"name\":\"0\"},{\"reference_id\":\"kept\"}]"),
                        "unchanged good, unchanged good");
}

/* Applies the items while another transaction, which has run the statement, is not committed; commits that
 * once this one waits for it, and after the second statement, where there is one, has been run and committed.
 */
static const char *apply_between(const char *statement, const char *second, const char *items)
{
    static char outcomes[256];
    PGconn *other = stack_hold(&stack, statement), *connection = PQconnectdb(stack.owner_url);
    PGresult *result;

    assert_int_equal(
        PQsendQueryParams(connection, "SELECT test.apply($1::jsonb)", 1, NULL, &items, NULL, NULL, 0), 1);
    stack_await_lock_wait(&stack);
    if (second != NULL) {
        stack_query(&stack, second);
    }
    PQclear(PQexec(other, "COMMIT"));
    result = PQgetResult(connection);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQresultErrorMessage(result));
    }
    snprintf(outcomes, sizeof outcomes, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    PQfinish(connection);
    PQfinish(other);
    return outcomes;
}

static const char *apply_across(const char *statement, const char *items)
{
    return apply_between(statement, NULL, items);
}

static void an_incident_that_appears_in_the_midst_is_updated(void **state)
{
    static const char appear[] =
        "INSERT INTO intake.incident (reference_id, name, started_at, created_at, updated_at, services) "
        "VALUES ('m', 'theirs', '2024-01-01 00:00Z', now(), now(), '[[\"theirs\",null]]')";

    apply("[{\"reference_id\":\"o\"}]");
    assert_string_equal(
        apply_across(
            appear,
            "[{\"reference_id\":\"n\",\"as\":\"writer\",\"services\":[[\"n\",null]]},"
            "{\"reference_id\":\"m\",\"name\":\"ours\",\"as\":\"writer\",\"services\":[[\"ours\",null]]},"
            "{\"reference_id\":\"o\",\"name\":\"o\"},{\"reference_id\":\"a\",\"services\":[[\"a\",\"A\"]]}]"),
        "created writer, updated writer, updated good, created good");
    assert_string_equal(stored("m"), "ours writer [[\"ours\", null]]");
    assert_string_equal(stored("n"), "writer [[\"n\", null]]");
    assert_string_equal(stored("o"), "o good");
    assert_string_equal(stored("a"), "good [[\"a\", \"A\"]]");
}

static void an_incident_that_appears_as_it_was_sent_is_unchanged(void **state)
{
    static const char appear[] =
        "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
        "VALUES ('m', '2024-01-01 00:00Z', now(), now())";

    assert_string_equal(apply_across(appear, "[{\"reference_id\":\"z\"},{\"reference_id\":\"m\"}]"),
                        "created good, unchanged good");
    assert_string_equal(stored("m"), "");
}

static void an_incident_that_vanishes_in_the_midst_is_created(void **state)
{
    apply("[{\"reference_id\":\"m\",\"name\":\"m\",\"services\":[[\"old\",null]]},{\"reference_id\":\"o\"},"
          "{\"reference_id\":\"s\"}]");
    assert_string_equal(
        apply_across(
            "DELETE FROM intake.incident WHERE reference_id = 'm'",
            "[{\"reference_id\":\"o\",\"name\":\"o\"},{\"reference_id\":\"n\"},{\"reference_id\":\"m\","
            "\"as\":\"writer\",\"services\":[[\"new\",null],[\"more\",\"M\"]]},{\"reference_id\":\"s\"}]"),
        "updated good, created good, created writer, unchanged good");
    assert_string_equal(stored("m"), "writer [[\"new\", null], [\"more\", \"M\"]]");
    assert_string_equal(stored("o"), "o good");
}

/* In one batch, and with a history. */
static void one_may_appear_and_another_vanish_at_once(void **state)
{
    static const char both[] =
        "WITH gone AS (DELETE FROM intake.incident WHERE reference_id = 'v') "
        "INSERT INTO intake.incident (reference_id, name, started_at, created_at, updated_at) "
        "VALUES ('a', 'theirs', '2024-01-01 00:00Z', now(), now())";
    static const char changes[] =
        "SELECT string_agg(concat_ws(' ', source_id, action, changed_by, before->>'name', '->', "
        "after->>'name', after->>'services'), ', ' ORDER BY source_id, change_id) "
        "FROM reporting.incident_history";

    apply("[{\"reference_id\":\"v\",\"name\":\"old\",\"services\":[[\"old\",null]]},"
          "{\"reference_id\":\"o\",\"name\":\"o\"},{\"reference_id\":\"d\"}]");
    stack_query(&stack, "SELECT intake.enable_history(true)");
    assert_string_equal(
        apply_across(both, "[{\"reference_id\":\"v\",\"name\":\"new\",\"as\":\"writer\",\"services\":"
                           "[[\"new\",null]]},{\"operation\":\"delete\",\"reference_id\":\"d\"},"
                           "{\"reference_id\":\"a\",\"name\":\"ours\",\"services\":[[\"s\",null]]},"
                           "{\"reference_id\":\"n\",\"as\":\"writer\"},{\"reference_id\":\"o\"}]"),
        "created writer, deleted good, updated good, created writer, unchanged good");
    stack_query(&stack, "SELECT intake.enable_history(false)");
    assert_string_equal(stored("v"), "new writer [[\"new\", null]]");
    assert_string_equal(stored("a"), "ours good [[\"s\", null]]");
    assert_string_equal(stack_query(&stack, changes),
                        "a updated good theirs -> ours [[\"s\", null]], d deleted good ->, "
                        "n created writer -> [], v created writer -> new [[\"new\", null]]");
}

/* What changes when the batch has compared it, and before it is updated: the batch waits for another that
 * creates the first of its incidents meanwhile. */
static void what_changed_since_it_was_compared_is_merged_with_what_it_is_now(void **state)
{
    static const char appear[] =
        "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
        "VALUES ('a', '2024-01-01 00:00Z', now(), now())";
    static const char items[] = "[{\"reference_id\":\"a\"},{\"reference_id\":\"m\",\"name\":\"ours\"}]";
    static const struct {
        const char *meanwhile;
        const char *outcomes;
        const char *stored;
    } cases[] = {
        {"UPDATE intake.incident SET priority = 'P1' WHERE reference_id = 'm'",
         "unchanged good, updated good", "ours P1"},
        {"UPDATE intake.incident SET name = 'ours' WHERE reference_id = 'm'",
         "unchanged good, unchanged good", "ours P0"},
        {"DELETE FROM intake.incident WHERE reference_id = 'm'", "unchanged good, created good", "ours"},
        {"SELECT test.apply('[{\"reference_id\":\"m\",\"name\":\"theirs\",\"priority\":\"P2\"}]')",
         "unchanged good, updated good", "ours P2"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        remove_incidents();
        apply("[{\"reference_id\":\"m\",\"name\":\"old\",\"priority\":\"P0\"}]");
        assert_string_equal(apply_between(appear, cases[i].meanwhile, items), cases[i].outcomes);
        assert_string_equal(stack_query(&stack, "SELECT concat_ws(' ', name, priority) FROM intake.incident "
                                                "WHERE reference_id = 'm'"),
                            cases[i].stored);
    }
}

static void the_history_has_what_was_there_when_it_was_changed(void **state)
{
    apply("[{\"reference_id\":\"hm\",\"name\":\"old\",\"priority\":\"P0\"}]");
    stack_query(&stack, "SELECT intake.enable_history(true)");
    assert_string_equal(
        apply_between("INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                      "VALUES ('a', '2024-01-01 00:00Z', now(), now())",
                      "UPDATE intake.incident SET priority = 'P1' WHERE reference_id = 'hm'",
                      "[{\"reference_id\":\"a\"},{\"reference_id\":\"hm\",\"name\":\"ours\"},"
                      "{\"reference_id\":\"hz\"}]"),
        "unchanged good, updated good, created good");
    stack_query(&stack, "SELECT intake.enable_history(false)");
    assert_string_equal(
        stack_query(&stack, "SELECT string_agg(concat_ws(' ', source_id, action, before->>'name', "
                            "before->>'priority', '->', after->>'name', after->>'priority'), ', ' "
                            "ORDER BY source_id) FROM reporting.incident_history WHERE source_id LIKE 'h_'"),
        "hm updated old P1 -> ours P1, hz created ->");
}

static const char from_e_to_a[] =
    "[{\"reference_id\":\"e\",\"name\":\"n\"},{\"reference_id\":\"d\",\"name\":\"n\"},"
    "{\"reference_id\":\"c\",\"name\":\"n\"},{\"reference_id\":\"b\",\"name\":\"n\"},"
    "{\"reference_id\":\"a\",\"name\":\"n\"}]";

/* Starts a batch while another transaction has the incident of the least id in it. It must not have any of
 * the others meanwhile, or two such batches could wait for one another. */
static void the_first_is_waited_for_before_the_others_are_touched(const char *items, const char *statement,
                                                                  const char *attempt, const char *outcomes)
{
    PGconn *other = stack_hold(&stack, statement), *connection = PQconnectdb(stack.owner_url);
    PGresult *result;

    assert_int_equal(
        PQsendQueryParams(connection, "SELECT test.apply($1::jsonb)", 1, NULL, &items, NULL, NULL, 0), 1);
    stack_await_lock_wait(&stack);
    stack_let_go(stack_hold(&stack, attempt)); /* which fails where it cannot */
    stack_let_go(other);
    result = PQgetResult(connection);
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    assert_string_equal(PQgetvalue(result, 0, 0), outcomes);
    PQclear(result);
    PQfinish(connection);
}

static void incidents_are_locked_in_the_order_of_their_ids(void **state)
{
    apply("[{\"reference_id\":\"a\"},{\"reference_id\":\"b\"},{\"reference_id\":\"c\"},"
          "{\"reference_id\":\"d\"},{\"reference_id\":\"e\"}]");
    the_first_is_waited_for_before_the_others_are_touched(
        from_e_to_a, "UPDATE intake.incident SET name = 'held' WHERE reference_id = 'a'",
        "SELECT FROM intake.incident WHERE reference_id > 'a' FOR UPDATE NOWAIT",
        "updated good, updated good, updated good, updated good, updated good");
}

static void incidents_are_created_in_the_order_of_their_ids(void **state)
{
    the_first_is_waited_for_before_the_others_are_touched(
        from_e_to_a,
        "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
        "VALUES ('a', now(), now(), now())",
        "SET LOCAL lock_timeout = '1s'; INSERT INTO intake.incident (reference_id, started_at, created_at, "
        "updated_at) "
        "SELECT id, now(), now(), now() FROM unnest('{b,c,d,e}'::text[]) id",
        "created good, created good, created good, created good, created good");
}

/* ---- What another call is about to store, whose client was told long ago that it failed ---- */

static void unchanged_is_not_said_of_what_is_about_to_change(void **state)
{
    apply("[{\"reference_id\":\"r\",\"name\":\"v0\"}]");
    assert_string_equal(apply_across("SELECT test.apply('[{\"reference_id\":\"r\",\"name\":\"v1\"}]')",
                                     "[{\"reference_id\":\"r\",\"name\":\"v0\"}]"),
                        "updated good");
    assert_string_equal(stored("r"), "v0 good");
}

static void unchanged_is_not_said_of_what_is_about_to_go(void **state)
{
    apply("[{\"reference_id\":\"r\",\"name\":\"v0\"}]");
    assert_string_equal(
        apply_across("SELECT test.apply('[{\"operation\":\"delete\",\"reference_id\":\"r\"}]')",
                     "[{\"reference_id\":\"r\",\"name\":\"v0\"}]"),
        "created good");
    assert_string_equal(stored("r"), "v0 good");
}

/* Beside others of which one is there and one is not. */
static void not_found_is_not_said_of_what_is_about_to_come(void **state)
{
    apply("[{\"reference_id\":\"there\"}]");
    assert_string_equal(apply_across("SELECT test.apply('[{\"reference_id\":\"r\",\"name\":\"v1\"}]')",
                                     "[{\"operation\":\"delete\",\"reference_id\":\"r\"},"
                                     "{\"operation\":\"delete\",\"reference_id\":\"there\"},"
                                     "{\"operation\":\"delete\",\"reference_id\":\"nowhere\"}]"),
                        "deleted good, deleted good, not_found good");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.incident"), "0");
}

/* Whether such a call writes nothing: a transaction that does has a number. */
static bool writes_nothing(const char *items, const char *outcomes)
{
    const char *text = stack_query_for(
        &stack, "SELECT test.apply($1::jsonb) || (pg_current_xact_id_if_assigned() IS NULL)::text", items);

    assert_memory_equal(text, outcomes, strlen(outcomes));
    return strcmp(text + strlen(outcomes), "true") == 0;
}

static void a_resend_writes_nothing_and_takes_no_lock(void **state)
{
    static const char items[] =
        "[{\"reference_id\":\"r\",\"name\":\"v0\",\"services\":[[\"a\",null]],\"metadata\":{\"k\":1.10}},"
        "{\"reference_id\":\"s\"}]";

    apply(items);
    assert_true(writes_nothing(items, "unchanged good, unchanged good"));
    apply("[{\"reference_id\":\"r\",\"name\":\"v1\"}]");
    apply("[{\"reference_id\":\"r\",\"name\":\"v0\"}]");
    assert_true(writes_nothing(items, "unchanged good, unchanged good"));
}

/* A lock that is long gone, and a change that was never committed, leave a mark with a row. */
static void a_lock_of_once_costs_one_resend_a_write_and_no_more(void **state)
{
    static const char item[] = "[{\"reference_id\":\"r\",\"name\":\"v0\"}]";
    static const char *const marks[] = {
        "BEGIN; SELECT FROM intake.incident FOR UPDATE; COMMIT",
        "BEGIN; UPDATE intake.incident SET name = 'never'; ROLLBACK",
    };

    apply(item);
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        PQclear(PQexec(stack.owner, marks[i]));
        assert_false(writes_nothing(item, "unchanged good"));
        assert_true(writes_nothing(item, "unchanged good"));
    }
    assert_string_equal(stack_query(&stack, "SELECT updated_at = created_at FROM intake.incident"), "t");
}

/* Two batches for one incident: the second waits, compares again and updates what it has locked. */
static void an_update_that_had_to_wait_leaves_no_mark(void **state)
{
    apply("[{\"reference_id\":\"r\",\"name\":\"v0\"}]");
    assert_string_equal(apply_across("SELECT test.apply('[{\"reference_id\":\"r\",\"name\":\"v1\"}]')",
                                     "[{\"reference_id\":\"r\",\"name\":\"v2\"}]"),
                        "updated good");
    assert_true(writes_nothing("[{\"reference_id\":\"r\",\"name\":\"v2\"}]", "unchanged good"));
}

/* ---- Triggers of somebody else's ---- */

/* It would go round for ever. */
static void a_trigger_that_keeps_a_row_from_its_change_is_an_error(void **state)
{
    static const char *const kept[] = {"INSERT", "UPDATE", "DELETE"};
    static const char *const items[] = {"[{\"reference_id\":\"new\"}]",
                                        "[{\"reference_id\":\"old\",\"name\":\"n\"}]",
                                        "[{\"operation\":\"delete\",\"reference_id\":\"old\"}]"};
    char sql[256];

    apply("[{\"reference_id\":\"old\"}]");
    for (size_t i = 0; i < 3; i++) {
        stack_query(&stack, "CREATE FUNCTION test.keep() RETURNS trigger LANGUAGE plpgsql AS "
                            "$$ BEGIN RETURN NULL; END $$");
        snprintf(sql, sizeof sql,
                 "CREATE TRIGGER keep BEFORE %s ON intake.incident FOR EACH ROW EXECUTE FUNCTION "
                 "test.keep()",
                 kept[i]);
        stack_query(&stack, sql);
        assert_string_equal(sqlstate_of(items[i]), "27000");
        stack_query(&stack, "DROP FUNCTION test.keep() CASCADE");
    }
    assert_string_equal(stack_query(&stack, "SELECT string_agg(reference_id, ' ') FROM intake.incident"),
                        "old");
}

static void incidents_are_deleted_in_the_order_of_their_ids(void **state)
{
    apply("[{\"reference_id\":\"z\"}]"); /* which lies before it in the table */
    apply("[{\"reference_id\":\"a\"}]");
    the_first_is_waited_for_before_the_others_are_touched(
        "[{\"operation\":\"delete\",\"reference_id\":\"z\"},{\"operation\":\"delete\",\"reference_id\":\"a\"}"
        "]",
        "SELECT FROM intake.incident WHERE reference_id = 'a' FOR UPDATE",
        "SELECT FROM intake.incident WHERE reference_id = 'z' FOR UPDATE NOWAIT",
        "deleted good, deleted good");
}

/* ---- What must not be stored any more ---- */

/* The SQLSTATE with which apply_batch refuses the item with those further arguments; "" where it does not. */
static const char *refusal(const char *arguments)
{
    static char sqlstate[8];
    char sql[512];
    PGconn *connection = PQconnectdb(stack.owner_url);
    const char *given;
    PGresult *result;

    snprintf(sql, sizeof sql,
             "SELECT * FROM intake.apply_batch(intake.schema_version(), "
             "test.operations('[{\"reference_id\":\"r\",\"name\":\"late\"}]'), %s)",
             arguments);
    result = PQexec(connection, sql);
    given = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    snprintf(sqlstate, sizeof sqlstate, "%s", given != NULL ? given : "");
    PQclear(result);
    PQfinish(connection);
    return sqlstate;
}

static void a_batch_is_stored_until_a_moment_of_the_servers_clock(void **state)
{
    assert_string_equal(
        refusal("store_until_us => intake.to_microseconds(clock_timestamp() - interval '1 microsecond')"),
        "IS002");
    assert_string_equal(stored("r"), "");
    assert_string_equal(
        refusal("store_until_us => intake.to_microseconds(clock_timestamp() + interval '1 hour'), "
                "expected_server_us => intake.to_microseconds(pg_postmaster_start_time())"),
        "");
    assert_string_equal(stored("r"), "late good");
}

/* Which comes late by whatever the clock of this one says. */
static void a_batch_is_not_stored_by_the_clock_of_another_server(void **state)
{
    assert_string_equal(
        refusal("store_until_us => intake.to_microseconds(clock_timestamp() + interval '1 hour'), "
                "expected_server_us => intake.to_microseconds(pg_postmaster_start_time()) - 1"),
        "IS002");
    assert_string_equal(stored("r"), "");
}

static void a_call_that_begins_behind_its_repetition_stores_nothing(void **state)
{
    assert_string_equal(refusal("attempt => 8, orphaned => '{7}'"), "");
    apply("[{\"reference_id\":\"r\",\"name\":\"newer\"}]");
    assert_string_equal(refusal("attempt => 7"), "55P03");
    assert_string_equal(stored("r"), "newer good");
    assert_string_equal(refusal("attempt => 9"), "");
}

static void abandoned_calls_are_forgotten_after_a_day(void **state)
{
    stack_query(&stack, "TRUNCATE intake.abandoned_attempt");
    stack_query(&stack, "INSERT INTO intake.abandoned_attempt VALUES (1, now() - interval '25 hours'), "
                        "(2, now() - interval '23 hours')");
    assert_string_equal(refusal("attempt => 8, orphaned => '{3}'"), "");
    assert_string_equal(
        stack_query(&stack,
                    "SELECT string_agg(number::text, ' ' ORDER BY number) FROM intake.abandoned_attempt"),
        "2 3");
}

/* The next call of all that writes when its token was last used sees to it, and then none is asked for any
 * more. */
static void the_last_abandoned_call_is_forgotten_without_another(void **state)
{
    stack_query(&stack, "TRUNCATE intake.abandoned_attempt");
    stack_query(&stack, "INSERT INTO intake.abandoned_attempt VALUES (1, now() - interval '25 hours')");
    stack_query(&stack, "UPDATE intake.api_token SET last_used_at = now() - interval '2 minutes'");
    assert_string_equal(apply("[{\"operation\":\"authorize\",\"scope\":\"delete\"}]"), "authorized good");
    assert_string_equal(stack_query(&stack, "SELECT count(*) FROM intake.abandoned_attempt"), "0");
    stack_query(&stack, "VACUUM intake.abandoned_attempt");
    assert_string_equal(stack_query(&stack, "SELECT pg_relation_size('intake.abandoned_attempt')"), "0");
}

/* What is above counts on a fresh snapshot for each statement. */
static void a_session_that_keeps_its_snapshot_is_refused(void **state)
{
    stack_query(&stack, "ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'repeatable read'");
    assert_string_equal(refusal("attempt => 10"), "IS003");
    stack_query(&stack, "ALTER ROLE CURRENT_USER RESET default_transaction_isolation");
    assert_string_equal(stored("r"), "");
}

/* ---- Plans ---- */

enum { PLANS_MAX = 65536 };

/* Adds to the text what auto_explain says of a statement, without its figures. */
static void note_plan(void *context, const char *message)
{
    char *plans = context;
    size_t used = strlen(plans);

    while (*message != '\0' && used < PLANS_MAX - 1) {
        if (strncmp(message, "  (cost=1000000", strlen("  (cost=1000000")) == 0) { /* until PostgreSQL 17 */
            static const char disabled[] = " Disabled: true";

            if (used + sizeof disabled < PLANS_MAX) {
                memcpy(plans + used, disabled, sizeof disabled - 1);
                used += sizeof disabled - 1;
            }
            message += strcspn(message, ")");
        } else if (strncmp(message, "  (cost=", strlen("  (cost=")) == 0) {
            message += strcspn(message, ")");
        } else if (strncmp(message, "duration: ", strlen("duration: ")) == 0 ||
                   strncmp(message, "Query Parameters: ", strlen("Query Parameters: ")) == 0) {
            message += strcspn(message, "\n");
        } else {
            plans[used++] = *message;
        }
        message += *message != '\0';
    }
    plans[used] = '\0';
}

/* Creates, updates, deletes, and leaves as it is. */
static const char all_operations[] =
    "[{\"reference_id\":\"I-new\"},{\"reference_id\":\"I-1\",\"name\":\"n\"},{\"reference_id\":\"I-2\"},"
    "{\"operation\":\"delete\",\"reference_id\":\"I-3\"}]";

/* The plans of a batch, whose tokens were last used long ago; nothing of it is kept. */
static void explain(const char *items, char *plans)
{
    char operations[512];
    const char *const statements[] = {
        operations,
        "BEGIN",
        "UPDATE intake.api_token SET last_used_at = NULL",
        "LOAD 'auto_explain'",
        "SET auto_explain.log_nested_statements = on",
        "SET auto_explain.log_min_duration = 0",
        "SET client_min_messages = log",
        "SELECT outcomes FROM intake.apply_batch(intake.schema_version(), "
        "current_setting('test.operations')::intake.operation[])",
        "ROLLBACK",
    };
    char url[STACK_PATH_MAX];
    PGconn *connection;

    snprintf(operations, sizeof operations,
             "SELECT set_config('test.operations', test.operations('%s')::text, false)", items);
    snprintf(url, sizeof url, "postgresql:///incidents?host=%s&user=postgres", stack.directory);
    connection = PQconnectdb(url);
    plans[0] = '\0';
    (void)PQsetNoticeProcessor(connection, note_plan, plans);
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        PGresult *result = PQexec(connection, statements[i]);

        if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
            fail_msg("%s: %s", statements[i], PQresultErrorMessage(result));
        }
        PQclear(result);
    }
    PQfinish(connection);
}

static void check_same_lines(const char *first, const char *later)
{
    while (*first != '\0' || *later != '\0') {
        size_t first_len = strcspn(first, "\n"), later_len = strcspn(later, "\n");

        if (first_len != later_len || strncmp(first, later, first_len) != 0) {
            fail_msg("a plan was \"%.*s\" and is \"%.*s\"", (int)first_len, first, (int)later_len, later);
        }
        first += first_len + (first[first_len] == '\n');
        later += later_len + (later[later_len] == '\n');
    }
}

/* The function's settings see to that. Each statement finds incidents by their index alone. */
static void the_plans_are_the_same_whatever_the_table_holds(void **state)
{
    static const char *const sizes[] = {"5", "500", "50000"};
    char *first = calloc(2, PLANS_MAX), *later = first + PLANS_MAX;

    assert_non_null(first);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        remove_incidents();
        stack_query_for(&stack,
                        "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                        "SELECT 'I-' || n, '2024-01-01 00:00Z', now(), now() "
                        "FROM generate_series(1, $1::integer) n",
                        sizes[i]);
        stack_query(&stack, "ANALYZE intake.incident");
        explain(all_operations, i == 0 ? first : later);
        if (i > 0) {
            check_same_lines(first, later);
        }
    }
    assert_non_null(strstr(first, "Index Scan using incident_pkey on incident i"));
    assert_non_null(strstr(first, "Insert on incident i"));
    assert_non_null(strstr(first, "Update on incident i"));
    assert_non_null(strstr(first, "Delete on incident i"));
    assert_null(strstr(first, "Seq Scan on incident"));
    assert_non_null(strstr(first, "Update on api_token t"));
    assert_null(strstr(first, "Bitmap"));
    free(first);
}

/* A node that the function's settings forbid has such a price that Postgres compiles the statement (jit). */
static void no_plan_holds_what_the_settings_forbid(void **state)
{
    char *plans = calloc(1, PLANS_MAX);

    assert_non_null(plans);
    explain(all_operations, plans);
    assert_non_null(strstr(plans, "Delete on abandoned_attempt"));
    assert_null(strstr(plans, "Disabled: true"));
    assert_null(strstr(plans, "JIT:"));
    free(plans);
}

/* Anybody can send a token that is unknown, and a probe comes every few seconds. */
static void an_unknown_token_and_a_ping_cost_one_statement(void **state)
{
    static const char *const batches[] = {"[{\"reference_id\":\"I-1\",\"as\":\"nobody\"}]",
                                          "[{\"operation\":\"ping\",\"as\":\"nobody\"}]"};
    char *plans = calloc(1, PLANS_MAX);

    assert_non_null(plans);
    for (size_t i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        explain(batches[i], plans);
        assert_non_null(strstr(plans, "Index Scan using incident_pkey on incident i"));
        assert_null(strstr(plans, "Update on"));
        assert_null(strstr(plans, "Delete on"));
    }
    free(plans);
}

static void start(void)
{
    char token[STACK_TOKEN_MAX];

    stack_create_token(&stack, "writer", "upsert", token);
    make_helpers();
}

int main(void)
{
    static const struct fixture fixture = {
        .stack = &stack, .extent = FIXTURE_MIGRATED, .start = start, .clean = end_other_sessions};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(outcomes_come_in_the_order_of_the_items),
        cmocka_unit_test(a_token_that_has_ended_is_refused_under_its_label),
        cmocka_unit_test(services_are_the_same_only_in_number_place_and_name),
        cmocka_unit_test(what_somebody_did_to_the_services_by_hand_is_put_right),
        cmocka_unit_test(a_batch_that_changes_an_incident_twice_is_refused_whole),
        cmocka_unit_test(an_incident_that_appears_in_the_midst_is_updated),
        cmocka_unit_test(an_incident_that_appears_as_it_was_sent_is_unchanged),
        cmocka_unit_test(an_incident_that_vanishes_in_the_midst_is_created),
        cmocka_unit_test(one_may_appear_and_another_vanish_at_once),
        cmocka_unit_test(what_changed_since_it_was_compared_is_merged_with_what_it_is_now),
        cmocka_unit_test(the_history_has_what_was_there_when_it_was_changed),
        cmocka_unit_test(incidents_are_locked_in_the_order_of_their_ids),
        cmocka_unit_test(incidents_are_created_in_the_order_of_their_ids),
        cmocka_unit_test(unchanged_is_not_said_of_what_is_about_to_change),
        cmocka_unit_test(unchanged_is_not_said_of_what_is_about_to_go),
        cmocka_unit_test(not_found_is_not_said_of_what_is_about_to_come),
        cmocka_unit_test(a_resend_writes_nothing_and_takes_no_lock),
        cmocka_unit_test(a_lock_of_once_costs_one_resend_a_write_and_no_more),
        cmocka_unit_test(an_update_that_had_to_wait_leaves_no_mark),
        cmocka_unit_test(a_trigger_that_keeps_a_row_from_its_change_is_an_error),
        cmocka_unit_test(incidents_are_deleted_in_the_order_of_their_ids),
        cmocka_unit_test(the_plans_are_the_same_whatever_the_table_holds),
        cmocka_unit_test(no_plan_holds_what_the_settings_forbid),
        cmocka_unit_test(an_unknown_token_and_a_ping_cost_one_statement),
        cmocka_unit_test(a_batch_is_stored_until_a_moment_of_the_servers_clock),
        cmocka_unit_test(a_batch_is_not_stored_by_the_clock_of_another_server),
        cmocka_unit_test(a_call_that_begins_behind_its_repetition_stores_nothing),
        cmocka_unit_test(abandoned_calls_are_forgotten_after_a_day),
        cmocka_unit_test(the_last_abandoned_call_is_forgotten_without_another),
        cmocka_unit_test(a_session_that_keeps_its_snapshot_is_refused),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
