/* incidentctl list, show, delete and purge: incidents are found, shown without harm to the terminal, and
 * deleted only by who means it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "harness/fixture.h"

static struct stack stack;

/* Sends an upsert with that token, NULL for the good one; it must be taken. */
static void upsert_as(const char *token, const char *body)
{
    char authorization[256];
    struct call call = {
        .path = "incidents.upsert", .body = body, .authorization = token == NULL ? NULL : authorization};

    if (token != NULL) {
        snprintf(authorization, sizeof authorization, "Bearer %s", token);
    }
    http_expect(&stack, http_through_nginx, &call, 200);
}

static void upsert(const char *body)
{
    upsert_as(NULL, body);
}

/* Three incidents, with 'a' the oldest and 'c' the newest. */
static void store_three(void)
{
    upsert(
        "{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-02\",\"priority\":"
        "\"P1\",\"name\":\"Die ÄPFEL sind aus\",\"services\":[{\"identifier\":\"search\"}]}");
    upsert("{\"reference_id\":\"b\",\"started_at\":\"2024-02-01\",\"priority\":\"P2\",\"name\":\"b's\","
           "\"services\":[{\"identifier\":\"login\",\"name\":\"Login\"},{\"identifier\":\"search\"}]}");
    upsert("{\"reference_id\":\"C-3\",\"started_at\":\"2024-03-01T12:00:00.25Z\"}");
}

/* The reference_ids of list --json with these arguments, with spaces between. */
static const char *listed(const char *one, const char *two, const char *three, const char *four)
{
    static char ids[256];
    const struct outcome *outcome =
        stack_control(&stack, NULL, "list", "--json", one, two, three, four, NULL);
    struct json_object *rows = json_tokener_parse(outcome->out), *id;

    if (outcome->status != 0 || !json_object_is_type(rows, json_type_array)) {
        fail_msg("list: status %d, %s%s", outcome->status, outcome->out, outcome->err);
    }
    ids[0] = '\0';
    for (size_t i = 0; i < json_object_array_length(rows); i++) {
        assert_true(json_object_object_get_ex(json_object_array_get_idx(rows, i), "reference_id", &id));
        snprintf(ids + strlen(ids), sizeof ids - strlen(ids), "%s%s", i == 0 ? "" : " ",
                 json_object_get_string(id));
    }
    json_object_put(rows);
    return ids;
}

static void list_shows_the_newest_first_and_those_that_are_meant(void **state)
{
    static const struct {
        const char *arguments[4];
        const char *ids;
    } cases[] = {
        {{NULL}, "C-3 b a"},
        {{"--limit", "2"}, "C-3 b"},
        {{"--open"}, "C-3 b"},
        {{"--since", "2024-02-01"}, "C-3 b"},
        {{"--since", "2024-02-01T00:00:00.000001Z"}, "C-3"},
        {{"--until", "2024-02-01"}, "a"},
        {{"--until", "1d"}, "C-3 b a"},
        {{"--since", "1d"}, ""},
        {{"--since", "2024-01-01", "--until", "2024-02-02"}, "b a"},
        {{"--service", "search"}, "b a"},
        {{"--service", "Login"}, "b"}, /* by its name */
        {{"--service", "LOGIN"}, ""},
        {{"--priority", "P1"}, "a"},
        {{"--text", "äpfel"}, "a"},
        {{"--text", "c-3"}, "C-3"},
        {{"--text", "%"}, ""},
        {{"--text", "'"}, "b"},
        {{"--text", "b", "--open"}, "b"},
    };

    store_three();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *a = cases[i].arguments;

        if (strcmp(listed(a[0], a[1], a[2], a[3]), cases[i].ids) != 0) {
            fail_msg("case %zu: %s", i, listed(a[0], a[1], a[2], a[3]));
        }
    }
}

static void a_duration_is_that_long_ago(void **state)
{
    char body[128];

    snprintf(body, sizeof body, "{\"reference_id\":\"recent\",\"started_at\":\"%s\"}",
             stack_query(&stack, "SELECT to_char(now() AT TIME ZONE 'UTC' - interval '3 hours', "
                                 "'YYYY-MM-DD HH24:MI:SS')"));
    upsert(body);
    assert_string_equal(listed("--since", "4h", NULL, NULL), "recent");
    assert_string_equal(listed("--since", "2h", NULL, NULL), "");
    assert_string_equal(listed("--until", "2h", NULL, NULL), "recent");
}

static void the_table_says_where_it_ends_and_cuts_what_is_long(void **state)
{
    const struct outcome *outcome;
    char body[600];

    store_three();
    snprintf(body, sizeof body, "{\"reference_id\":\"a\",\"started_at\":\"2024-01-01\",\"name\":\"%0200d\"}",
             7);
    upsert(body);
    outcome = stack_control(&stack, NULL, "list", NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(outcome->err, "");
    assert_non_null(strstr(outcome->out, "Login, search"));
    assert_non_null(strstr(outcome->out, "2024-03-01T12:00:00Z"));
    assert_non_null(strstr(outcome->out, "0000…\n"));
    outcome = stack_control(&stack, NULL, "list", "--limit", "1", NULL);
    assert_null(strstr(outcome->out, "2024-02-01"));
    assert_non_null(strstr(outcome->err, "--limit"));
}

/* ESC, DEL, U+009B, a line feed, U+202E, which turns the line around: what is stored must not command the
 * terminal. */
static void nothing_stored_commands_the_terminal(void **state)
{
    static const char body[] =
        "{\"reference_id\":\"e\\u001b[2J\",\"started_at\":\"2024-01-01\",\"name\":"
        "\"n\\u202e\\u001b]0;x\\u0007\\nend\","
        "\"priority\":\"p\\u009b31m\\u202e\",\"source_url\":\"u\\u007f\",\"services\":[{"
        "\"identifier\":\"s\\u001b[1m\","
        "\"name\":\"t\\u001bc\\u202e\"}],\"metadata\":{\"k\":\"\\u009b\\u007f\\u001b\\u202e\"}}";
    static const char *const commands[][3] = {{"list", NULL},
                                              {"show", "e\x1b[2J", NULL},
                                              {"history", "e\x1b[2J", NULL},
                                              {"delete", "e\x1b[2J", NULL}};

    assert_int_equal(stack_control(&stack, NULL, "history", "--on", NULL)->status, 0);
    upsert(body);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        const struct outcome *outcome = stack_control(&stack, NULL, commands[i][0], commands[i][1], NULL);

        assert_int_equal(outcome->status, 0);
        assert_true(outcome->out_len > 0);
        if (strpbrk(outcome->out, "\x1b\x07\x7f") != NULL || strstr(outcome->out, "\xc2\x9b") != NULL ||
            strstr(outcome->out, "\nend") != NULL || strstr(outcome->out, "\u202E") != NULL) {
            fail_msg("%s lets control characters through", commands[i][0]);
        }
    }
    assert_int_equal(stack_control(&stack, NULL, "history", "--off", NULL)->status, 0);
}

static void show_has_everything(void **state)
{
    static const char *const parts[] = {
        "reference_id  one\n",
        "name          -\n",
        "priority      \n",
        "started_at    2024-01-01T00:00:00.000000Z\n",
        "updated_by    good\n",
        "services      z (Z)\n              y\n",
        "metadata      {\n                  \"n\": 1.10,\n",
    };
    const struct outcome *outcome;
    struct json_object *one;

    upsert("{\"reference_id\":\"one\",\"started_at\":\"2024-01-01\",\"priority\":\"\",\"services\":[{"
           "\"identifier\":"
           "\"z\",\"name\":\"Z\"},{\"identifier\":\"y\"}],\"metadata\":{\"n\":1.10,\"big\":"
           "18446744073709551616}}");
    outcome = stack_control(&stack, NULL, "show", "one", NULL);
    assert_int_equal(outcome->status, 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (strstr(outcome->out, parts[i]) == NULL) {
            fail_msg("show lacks %s:\n%s", parts[i], outcome->out);
        }
    }
    outcome = stack_control(&stack, NULL, "show", "one", "--json", NULL);
    assert_non_null(strstr(outcome->out, "18446744073709551616"));
    assert_non_null(strstr(outcome->out, "1.10"));
    assert_non_null(strstr(outcome->out, "\"updated_by\":\"good\""));
    one = json_tokener_parse(outcome->out);
    assert_true(json_object_is_type(one, json_type_object));
    json_object_put(one);
    outcome = stack_control(&stack, NULL, "show", "nobody", NULL);
    assert_int_equal(outcome->status, 1);
    assert_string_equal(outcome->out, "");
    assert_non_null(strstr(outcome->err, "no such incident"));
}

static const char *writer_of(const char *id)
{
    return stack_query_for(
        &stack, "SELECT coalesce(updated_by, '-') FROM intake.incident WHERE reference_id = $1", id);
}

static void an_incident_knows_who_changed_it_last(void **state)
{
    static const char first[] = "{\"reference_id\":\"w\",\"started_at\":\"2024-01-01\",\"name\":\"n\"}";
    static const char second[] =
        "{\"reference_id\":\"w\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"s\"}]}";
    char token[STACK_TOKEN_MAX];
    const struct outcome *outcome;

    stack_create_token(&stack, "other", "upsert", token);
    upsert(first);
    assert_string_equal(writer_of("w"), "good");
    upsert_as(token, first); /* which changes nothing */
    assert_string_equal(writer_of("w"), "good");
    upsert_as(token, second); /* the services alone */
    assert_string_equal(writer_of("w"), "other");

    outcome = stack_control(&stack, NULL, "token", "rotate", "other", "--grace", "0s", NULL);
    assert_int_equal(outcome->status, 0);
    assert_true(outcome->out_len > 1 && outcome->out_len < STACK_TOKEN_MAX);
    memcpy(token, outcome->out, outcome->out_len);
    token[outcome->out_len - 1] = '\0';
    upsert(first);
    upsert_as(token, "{\"reference_id\":\"w\",\"started_at\":\"2024-01-01\",\"name\":\"after\"}");
    assert_string_equal(writer_of("w"), "other"); /* the successor has the label */
    stack_query(&stack, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                        "VALUES ('old', now(), now(), now())");
    assert_string_equal(writer_of("old"), "-");
}

static void delete_deletes_what_it_is_given_and_nothing_else(void **state)
{
    const struct outcome *outcome;

    store_three();
    outcome = stack_control(&stack, NULL, "delete", "a", "nobody", "C-3", NULL);
    assert_int_equal(outcome->status, 1);
    assert_string_equal(outcome->out, "deleted a\ndeleted C-3\n");
    assert_non_null(strstr(outcome->err, "there is no incident nobody"));
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "b");
    assert_string_equal(
        stack_query(&stack, "SELECT count(*) FROM intake.incident_service WHERE reference_id = 'a'"), "0");
    assert_int_equal(stack_control(&stack, NULL, "delete", "b", NULL)->status, 0);
}

static void purge_takes_what_all_filters_let_through(void **state)
{
    const struct outcome *outcome;

    store_three();
    stack_query(&stack, "UPDATE intake.incident SET updated_by = 'bot' WHERE reference_id <> 'b'");
    outcome = stack_control(&stack, NULL, "purge", "--before", "2024-02-15", "--token", "bot", "--yes", NULL);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->err, "incidents to be deleted: 1, of them open: 0;"));
    assert_string_equal(outcome->out, "incidents deleted: 1\n");
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "C-3 b");
    assert_int_equal(stack_control(&stack, NULL, "purge", "--before", "1d", "--yes", NULL)->status, 0);
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "");
    outcome = stack_control(&stack, NULL, "purge", "--before", "1d", NULL); /* nothing to be asked about */
    assert_int_equal(outcome->status, 0);
}

/* Those of list, and what is left of the three. */
static void purge_takes_the_filters_of_list(void **state)
{
    static const struct {
        const char *option, *value, *left;
    } cases[] = {{"--since", "2024-02-15", "b a"}, {"--until", "2024-02-15", "C-3"},
                 {"--service", "login", "C-3 a"},  {"--priority", "P1", "C-3 b"},
                 {"--text", "c-3", "b a"},         {"--open", NULL, "a"}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        stack_query(&stack, "TRUNCATE intake.incident");
        store_three();
        assert_int_equal(
            stack_control(&stack, NULL, "purge", "--yes", cases[i].option, cases[i].value, NULL)->status, 0);
        assert_string_equal(listed(NULL, NULL, NULL, NULL), cases[i].left);
    }
    assert_int_equal(
        stack_control(&stack, NULL, "purge", "--yes", "--until", "1d", "--before", "2d", NULL)->status, 2);
}

/* One service with two names, of which the later one counts; two services of one name; and one whose name is
 * the identifier of another. */
static void store_names(void)
{
    upsert(
        "{\"reference_id\":\"old\",\"started_at\":\"2024-01-01\",\"services\":[{\"identifier\":\"checkout\","
        "\"name\":\"Shop\"}]}");
    upsert(
        "{\"reference_id\":\"new\",\"started_at\":\"2024-02-01\",\"services\":[{\"identifier\":\"checkout\","
        "\"name\":\"Checkout\"},{\"identifier\":\"mail\"}]}");
    upsert("{\"reference_id\":\"two\",\"started_at\":\"2024-03-01\",\"services\":[{\"identifier\":\"PX1\","
           "\"name\":\"Checkout\"}]}");
    upsert("{\"reference_id\":\"odd\",\"started_at\":\"2024-04-01\",\"services\":[{\"identifier\":\"relay\","
           "\"name\":\"mail\"}]}");
}

static void a_service_has_its_one_name(void **state)
{
    const struct outcome *outcome;

    store_names();
    outcome = stack_control(&stack, NULL, "list", NULL);
    assert_non_null(strstr(outcome->out, "Checkout, mail"));
    assert_null(strstr(outcome->out, "checkout"));
    assert_null(strstr(outcome->out, "Shop"));
    outcome = stack_control(&stack, NULL, "show", "old", NULL);
    assert_non_null(strstr(outcome->out, "services      checkout (Checkout)\n"));
    outcome = stack_control(&stack, NULL, "show", "new", NULL);
    assert_non_null(strstr(outcome->out, "services      checkout (Checkout)\n              mail\n"));
    outcome = stack_control(&stack, NULL, "show", "old", "--json", NULL); /* as sent */
    assert_non_null(strstr(outcome->out, "\"Shop\""));
}

static void a_service_is_found_by_its_identifier_or_else_by_its_name(void **state)
{
    static const struct {
        const char *text, *ids, *title;
    } cases[] = {{"checkout", "new old", "Of the service Checkout (checkout)\n"},
                 {"PX1", "two", "Of the service Checkout (PX1)\n"},
                 {"Checkout", "two new old", "Of the service Checkout\n"},
                 {"mail", "new", "Of the service mail\n"}, /* not relay, which is called so */
                 {"relay", "odd", "Of the service mail (relay)\n"},
                 {"Shop", "", NULL}, /* no longer its name */
                 {"nobody", "", NULL}};
    const struct outcome *outcome;

    store_names();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t lines = 0, ids = *cases[i].ids != '\0';

        assert_string_equal(listed("--service", cases[i].text, NULL, NULL), cases[i].ids);
        outcome = stack_control(&stack, NULL, "export", "--service", cases[i].text, NULL);
        assert_int_equal(outcome->status, 0);
        for (const char *c = outcome->out; *c != '\0'; c++) {
            lines += *c == '\n';
        }
        for (const char *c = cases[i].ids; *c != '\0'; c++) {
            ids += *c == ' ';
        }
        assert_int_equal(lines, ids);
        outcome = stack_control(&stack, NULL, "report", "--service", cases[i].text, NULL);
        assert_int_equal(outcome->status, cases[i].title == NULL ? 1 : 0);
        assert_true(cases[i].title == NULL || strstr(outcome->out, cases[i].title) != NULL);
    }
}

static void purge_wants_one_service(void **state)
{
    const struct outcome *outcome;

    store_names();
    outcome = stack_control(&stack, NULL, "purge", "--service", "Checkout", NULL);
    assert_int_equal(outcome->status, 1);
    outcome = stack_control(&stack, NULL, "purge", "--yes", "--service", "Checkout", NULL);
    assert_int_equal(outcome->status, 1);
    assert_string_equal(outcome->out, "");
    assert_string_equal(outcome->err, "incidentctl: --service names 2 services; give the identifier of one:\n"
                                      "Checkout (PX1), Checkout (checkout)\n");
    outcome = stack_control(&stack, NULL, "purge", "--yes", "--service", "Shop", NULL);
    assert_int_equal(outcome->status, 0);
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "odd two new old");
    outcome = stack_control(&stack, NULL, "purge", "--yes", "--service", "mail", NULL);
    assert_non_null(strstr(outcome->err, "of the service mail (mail): incidents to be deleted: 1,"));
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "odd two old");
    outcome = stack_control(&stack, NULL, "purge", "--yes", "--service", "mail", NULL);
    assert_int_equal(outcome->status, 1); /* now it is another's name alone */
    assert_string_equal(
        outcome->err,
        "incidentctl: --yes takes no service by its name, which may change; give its identifier:\n"
        "mail (relay)\n");
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "odd two old");
}

/* On a terminal no line is longer than that is wide; elsewhere, names are whole. */
static void the_table_fits_the_terminal(void **state)
{
    static const int columns[] = {68, 80, 100, 200};
    char command[STACK_PATH_MAX + 64], url[STACK_PATH_MAX + 16];
    const char *const argv[] = {"/usr/bin/script", "-qec", command, "/dev/null", NULL};
    const char *const environment[] = {url, NULL};
    const struct outcome *outcome;

    upsert(
        "{\"reference_id\":\"wide\",\"started_at\":\"2024-01-01\",\"resolved_at\":\"2024-01-02\","
        "\"priority\":\"of the highest\",\"services\":[\"checkout\",\"payments-api\",\"search\",\"login\"],"
        "\"name\":\"\u00e9 Nobody can pay by card, and nobody knows since when that has been so in "
        "Europe\"}");
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    for (size_t i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        size_t lines = 0;

        snprintf(command, sizeof command, "stty cols %d; exec %s list", columns[i], stack.control);
        outcome = process_run(argv, environment, NULL, 0);
        assert_int_equal(outcome->status, 0);
        for (const char *line = outcome->out; *line != '\0'; lines++) {
            size_t len = strcspn(line, "\r\n"), width = 0;

            for (size_t c = 0; c < len; c++) {
                width += ((unsigned char)line[c] & 0xC0) != 0x80;
            }
            if (width > (size_t)columns[i]) {
                fail_msg("a line of %zu where the terminal has %d: %s", width, columns[i], outcome->out);
            }
            line += len + strspn(line + len, "\r\n");
        }
        assert_int_equal(lines, 2);
        assert_true((strstr(outcome->out, "in Europe") != NULL) == (columns[i] == 200));
        assert_true((strstr(outcome->out, "\xE2\x80\xA6") != NULL) == (columns[i] != 200));
        assert_non_null(strstr(outcome->out, columns[i] <= 80 ? "  2024-01-01  " : "2024-01-01T00:00:00Z"));
        assert_non_null(strstr(outcome->out, "  2024-01-02"));
    }
    /* Where no table fits, each value has a line. */
    snprintf(command, sizeof command, "stty cols 20; exec %s list", stack.control);
    outcome = process_run(argv, environment, NULL, 0);
    assert_int_equal(outcome->status, 0);
    assert_int_equal(strncmp(outcome->out, "wide\r\n  started_at   2024\xE2\x80\xA6\r\n", 29), 0);
    outcome = stack_control(&stack, NULL, "list", NULL);
    assert_non_null(strstr(outcome->out, "in Europe"));
}

#define WIDE_5  "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
#define WIDE_20 WIDE_5 WIDE_5 WIDE_5 WIDE_5

/* A character of two cells counts as two: there is room for ten of these. */
static void wide_characters_take_two_cells(void **state)
{
    char command[STACK_PATH_MAX + 64], url[STACK_PATH_MAX + 16];
    const char *const argv[] = {"/usr/bin/script", "-qec", command, "/dev/null", NULL};
    const char *const environment[] = {url, "LC_ALL=C", NULL}; /* whatever the locale is */
    const struct outcome *outcome;

    upsert("{\"reference_id\":\"wide\",\"started_at\":\"2024-01-01\",\"name\":\"" WIDE_20 WIDE_20 "\"}");
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    snprintf(command, sizeof command, "stty cols 90; exec %s list", stack.control);
    outcome = process_run(argv, environment, NULL, 0);
    assert_int_equal(outcome->status, 0);
    assert_non_null(strstr(outcome->out, "\xE6\x97\xA5\xE2\x80\xA6")); /* cut, */
    assert_null(strstr(outcome->out, WIDE_20));                        /* to less than 40 cells */
}

static void purge_goes_through_more_than_one_batch(void **state)
{
    stack_query(&stack, "INSERT INTO intake.incident (reference_id, started_at, created_at, updated_at) "
                        "SELECT 'p' || n, '2020-01-01', now(), now() FROM generate_series(1, 1001) n");
    upsert("{\"reference_id\":\"stays\",\"started_at\":\"2024-01-01\"}");
    assert_string_equal(stack_control(&stack, NULL, "purge", "--before", "2021-01-01", "--yes", NULL)->out,
                        "incidents deleted: 1001\n");
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "stays");
}

/* While it waits for the rows, one becomes another that is not meant; the others are still. */
static void purge_looks_again_at_what_changed_meanwhile(void **state)
{
    PGconn *holder;
    pid_t purger;
    int status;

    store_three();
    holder = stack_hold(&stack, "UPDATE intake.incident SET name = 'changed', started_at = CASE reference_id "
                                "WHEN 'b' THEN '2025-01-01' ELSE started_at END");
    purger = fork();
    if (purger == 0) {
        setenv("DATABASE_URL", stack.owner_url, 1);
        execl(stack.control, stack.control, "purge", "--before", "2024-12-31", "--yes", (char *)NULL);
        _exit(127);
    }
    stack_await_lock_wait(&stack);
    PQclear(PQexec(holder, "COMMIT"));
    PQfinish(holder);
    assert_int_equal(waitpid(purger, &status, 0), purger);
    assert_int_equal(status, 0);
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "b");
}

/* Runs purge on a terminal of its own, with that typed. */
static int purge_on_terminal(const char *typed)
{
    char command[STACK_PATH_MAX + 64], url[STACK_PATH_MAX + 16];
    const char *const argv[] = {"/usr/bin/script", "-qec", command, "/dev/null", NULL};
    const char *const environment[] = {url, NULL};

    snprintf(command, sizeof command, "exec %s purge --before 1d", stack.control);
    snprintf(url, sizeof url, "DATABASE_URL=%s", stack.owner_url);
    return process_run(argv, environment, typed, strlen(typed))->status;
}

static void purge_asks_and_takes_yes_alone(void **state)
{
    const struct outcome *outcome;

    store_three();
    outcome = stack_control(&stack, "yes\n", "purge", "--before", "1d", NULL); /* no terminal */
    assert_int_equal(outcome->status, 1);
    assert_non_null(strstr(outcome->err, "--yes"));
    assert_int_equal(purge_on_terminal("y\n"), 1);
    assert_int_equal(purge_on_terminal("\n"), 1);
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "C-3 b a");
    assert_int_equal(purge_on_terminal("yes\n"), 0);
    assert_string_equal(listed(NULL, NULL, NULL, NULL), "");
}

static void wrong_arguments_are_refused_by_name(void **state)
{
    static const struct {
        const char *arguments[4];
        const char *names;
    } cases[] = {
        {{"list", "--limit", "0"}, "--limit"},
        {{"list", "--limit", "x"}, "--limit"},
        {{"list", "--since", "soon"}, "--since"},
        {{"list", "--until", "2024-13-01"}, "--until"},
        {{"list", "more"}, "argument"},
        {{"show"}, "show"},
        {{"show", "a", "b"}, "show"},
        {{"delete"}, "delete"},
        {{"purge"}, "--before"},
        {{"purge", "--yes"}, "--before"},
        {{"purge", "--yes", "--text", ""}, "--text must not be empty"}, /* which every incident has */
        {{"purge", "--yes", "--service="}, "--service must not be empty"},
        {{"purge", "--yes", "--token", ""}, "--token must not be empty"},
        {{"purge", "--before", "never"}, "before"},
        {{"history"}, "history"},
        {{"history", "--on", "a"}, "history"},
        {{"history", "--on", "--off"}, "history"},
        {{"export", "--format", "xml"}, "--format"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *const *a = cases[i].arguments;
        const struct outcome *outcome = stack_control(&stack, "", a[0], a[1], a[2], a[3], NULL);

        if (outcome->status != 2 || strstr(outcome->err, cases[i].names) == NULL || outcome->out_len != 0) {
            fail_msg("case %zu: status %d, error %s", i, outcome->status, outcome->err);
        }
    }
}

int main(void)
{
    static const struct fixture fixture = {.stack = &stack};
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(list_shows_the_newest_first_and_those_that_are_meant),
        cmocka_unit_test(a_duration_is_that_long_ago),
        cmocka_unit_test(the_table_says_where_it_ends_and_cuts_what_is_long),
        cmocka_unit_test(nothing_stored_commands_the_terminal),
        cmocka_unit_test(show_has_everything),
        cmocka_unit_test(an_incident_knows_who_changed_it_last),
        cmocka_unit_test(delete_deletes_what_it_is_given_and_nothing_else),
        cmocka_unit_test(purge_takes_what_all_filters_let_through),
        cmocka_unit_test(purge_takes_the_filters_of_list),
        cmocka_unit_test(a_service_has_its_one_name),
        cmocka_unit_test(a_service_is_found_by_its_identifier_or_else_by_its_name),
        cmocka_unit_test(purge_wants_one_service),
        cmocka_unit_test(the_table_fits_the_terminal),
        cmocka_unit_test(wide_characters_take_two_cells),
        cmocka_unit_test(purge_goes_through_more_than_one_batch),
        cmocka_unit_test(purge_looks_again_at_what_changed_meanwhile),
        cmocka_unit_test(purge_asks_and_takes_yes_alone),
        cmocka_unit_test(wrong_arguments_are_refused_by_name),
    };

    return fixture_run(&fixture, cases, sizeof cases / sizeof cases[0]);
}
