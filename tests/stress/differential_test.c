/* Our verdicts on JSON texts beside jsonb's, and what is stored beside what jsonb gives back. Texts come from
 * a generator, from the tables of cases and from what fuzzing has kept; where the two differ, a table says
 * why, and nothing else may differ. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "cases/json_texts.h"
#include "harness/comparison.h"
#include "harness/figures.h"
#include "harness/json_generator.h"
#include "harness/prng.h"
#include "model/json.h"
#include "store/binary.h"
#include "store/op.h"

static struct stack stack;

/* ---- The verdict on a text, beside jsonb's ---- */

enum { NUMERIC_SCALE_MAX = 16383, NUMERIC_DIGITS_MAX = 131072, EXPONENT_CAP = 1000000000 };

/* A number, taken apart: its digits without zeros before them, and how many of all stand behind the point. */
struct decimal {
    bool is_negative;
    char *digits; /* owned */
    size_t count;
    long scale; /* below 0: so many zeros more */
};

static struct decimal read_decimal(struct slice number)
{
    struct decimal decimal = {.digits = malloc(number.len + 1)};
    size_t i = 0;
    long exponent = 0;
    bool behind_point = false, is_exponent_negative;

    assert_non_null(decimal.digits);
    for (; i < number.len && number.data[i] != 'e' && number.data[i] != 'E'; i++) {
        char byte = number.data[i];

        decimal.is_negative = decimal.is_negative || byte == '-';
        behind_point = behind_point || byte == '.';
        if (byte >= '0' && byte <= '9') {
            decimal.scale += behind_point;
            if (byte != '0' || decimal.count > 0) {
                decimal.digits[decimal.count++] = byte;
            }
        }
    }
    is_exponent_negative = i + 1 < number.len && number.data[i + 1] == '-';
    for (i++; i < number.len; i++) {
        if (number.data[i] >= '0' && number.data[i] <= '9' && exponent < EXPONENT_CAP) {
            exponent = exponent * 10 + (number.data[i] - '0');
        }
    }
    decimal.scale -= is_exponent_negative ? -exponent : exponent;
    return decimal;
}

/* Whether Postgres's numeric has no room for it. */
static bool is_beyond_numeric(struct slice number)
{
    struct decimal decimal = read_decimal(number);

    free(decimal.digits);
    return decimal.scale > NUMERIC_SCALE_MAX || (long)decimal.count - decimal.scale > NUMERIC_DIGITS_MAX;
}

enum json_reason {
    JSON_BOTH_ACCEPT,
    JSON_BOTH_REFUSE,
    JSON_NUL,
    JSON_BEYOND_NUMERIC,
    JSON_TOO_DEEP,
    JSON_UNEXPLAINED,
    JSON_REASONS
};

static const char *const json_reasons[JSON_REASONS] = {
    [JSON_BOTH_ACCEPT] = "both accept",
    [JSON_BOTH_REFUSE] = "both refuse",
    [JSON_NUL] = "jsonb alone refuses: \\u0000, which no text in Postgres can hold (22P05)",
    [JSON_BEYOND_NUMERIC] = "jsonb alone refuses: a number beyond the range of numeric (22003)",
    [JSON_TOO_DEEP] =
        "we alone refuse: deeper than 100 levels, of which jsonb keeps as many as its stack lets it",
    [JSON_UNEXPLAINED] = "unexplained",
};

static size_t json_counts[JSON_REASONS];

static enum json_reason compare_verdicts(struct slice text, const char *response, const char **fault)
{
    struct json_reader reader;
    struct json_token token;
    bool has_nul = false, has_beyond = false, is_accepted = response != NULL && *response != '!';

    json_reader_init(&reader, text);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT && token.event != JSON_INVALID) {
        has_nul = has_nul || token.has_nul;
        has_beyond = has_beyond || (token.event == JSON_NUMBER && is_beyond_numeric(token.text));
    }
    *fault = token.event == JSON_INVALID ? reader.fault : "valid";
    if ((token.event != JSON_INVALID) == is_accepted) {
        return is_accepted ? JSON_BOTH_ACCEPT : JSON_BOTH_REFUSE;
    }
    if (is_accepted) {
        return strcmp(*fault, "nested too deeply") == 0 ? JSON_TOO_DEEP : JSON_UNEXPLAINED;
    }
    if (strcmp(response, "!22P05") == 0 && has_nul) {
        return JSON_NUL;
    }
    return strcmp(response, "!22003") == 0 && has_beyond ? JSON_BEYOND_NUMERIC : JSON_UNEXPLAINED;
}

static void compare_json(struct slice text, const char *response)
{
    const char *fault;
    enum json_reason reason = compare_verdicts(text, response, &fault);

    json_counts[reason]++;
    if (reason == JSON_UNEXPLAINED) {
        comparison_fail(text, fault, response);
    }
}

static void json_is_judged_as_jsonb_does_but_for_what_is_known(void **state)
{
    size_t count = (size_t)stress_amount(30000, 2000000);
    struct comparison comparison;
    struct buffer text;

    buffer_init(&text, TEXT_MAX);
    comparison_begin(&comparison, "judge_json", compare_json);
    for_each_kept_text(comparison_add_kept, &comparison);
    for (size_t n = 0; n < count; n++) {
        comparison_seed(n);
        buffer_reset(&text, TEXT_MAX);
        put_json_text(&text);
        comparison_add(&comparison, (struct slice){.data = text.data, .len = text.len});
    }
    comparison_end(&comparison);
    buffer_free(&text);
    comparison_show("JSON: our reader beside jsonb", json_reasons, json_counts, JSON_REASONS);
    for (size_t i = 0; i < JSON_UNEXPLAINED; i++) {
        assert_true(json_counts[i] > 0); /* each reason is still one */
    }
}

/* ---- What is stored, and what jsonb gives back ---- */

/* Writes a number as a string that is the same for every spelling with the same digits behind the point. */
static void put_decimal(struct buffer *out, struct slice number)
{
    struct decimal decimal = read_decimal(number);

    put_text(out, decimal.is_negative && decimal.count > 0 ? "\"-" : "\"");
    buffer_append(out, decimal.digits, decimal.count);
    for (; decimal.scale < 0 && decimal.count > 0; decimal.scale++) {
        put_text(out, "0");
    }
    buffer_append_format(out, "/%ld\"", decimal.scale > 0 ? decimal.scale : 0);
    free(decimal.digits);
}

/* The same string, its characters as UTF-8. */
static void put_decoded(struct buffer *out, struct slice quoted)
{
    char *decoded = malloc(quoted.len);

    assert_non_null(decoded);
    buffer_append_json_string(out, decoded, json_string_decode(quoted, decoded));
    free(decoded);
}

/* The value with its numbers as such strings, so that json-c keeps every digit, and with no surrogate pair,
 * many of which it takes for U+FFFD. NULL where it is no JSON. */
static struct json_object *parse_with_digits(struct slice text)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);
    struct json_object *value;
    struct json_reader reader;
    struct json_token token;
    struct buffer plain;
    size_t at = 0;

    assert_non_null(tokener);
    buffer_init(&plain, (size_t)64 * 1024 * 1024);
    json_reader_init(&reader, text);
    while (json_next(&reader, &token) != JSON_END_OF_TEXT && token.event != JSON_INVALID) {
        size_t start = (size_t)(token.text.data - text.data);

        if (token.event == JSON_NUMBER || token.event == JSON_STRING || token.event == JSON_KEY) {
            buffer_append(&plain, text.data + at, start - at);
            if (token.event == JSON_NUMBER) {
                put_decimal(&plain, token.text);
            } else {
                put_decoded(&plain, token.text);
            }
            at = start + token.text.len;
        }
    }
    buffer_append(&plain, text.data + at, text.len - at);
    assert_false(plain.failed);
    value = token.event == JSON_INVALID ? NULL : json_tokener_parse_ex(tokener, plain.data, (int)plain.len);
    json_tokener_free(tokener);
    buffer_free(&plain);
    return value;
}

enum { OP_STORED, OP_REFUSED_BODY, OP_NOT_STORED, OP_COUNTS };

static size_t op_counts[OP_COUNTS];

static const char *const op_reasons[OP_COUNTS] = {
    [OP_STORED] = "read, and given back by jsonb with every key, text and digit",
    [OP_REFUSED_BODY] = "refused by us",
    [OP_NOT_STORED] = "read, and refused by jsonb or given back otherwise",
};

/* What was sent beside what Postgres made of it. */
static void compare_op(struct slice text, const char *response)
{
    struct json_object *sent = parse_with_digits(text),
                       *kept = parse_with_digits((struct slice){.data = response, .len = strlen(response)});

    if (sent == NULL || kept == NULL || !json_object_equal(sent, kept)) {
        op_counts[OP_NOT_STORED]++;
        comparison_fail(text, "the same", response);
    }
    op_counts[OP_STORED]++;
    json_object_put(sent);
    json_object_put(kept);
}

/* Operations to send together, as the elements of the array that apply_batch takes; and what each says, as
 * JSON that this test makes by itself, one behind the other. */
struct operations {
    struct buffer elements;
    struct buffer said;
    size_t count;
    size_t element_end[BATCH_MAX];
    size_t said_end[BATCH_MAX];
};

static Oid operation_type, operations_type;

/* The operations first to last-1 as Postgres reads them, a row of JSON each. */
static PGresult *give_back(const struct operations *operations, size_t first, size_t last)
{
    static const char question[] = "SELECT (to_jsonb(o) - 'ordinality' || jsonb_build_object("
                                   "'started_at', intake.to_microseconds(o.started_at), "
                                   "'resolved_at', intake.to_microseconds(o.resolved_at)))::text "
                                   "FROM unnest($1) WITH ORDINALITY AS o ORDER BY o.ordinality";
    const int formats[] = {1};
    size_t start = first == 0 ? 0 : operations->element_end[first - 1];
    struct buffer array;
    PGresult *result;

    buffer_init(&array, (size_t)2 * (BATCH_BYTES + TEXT_MAX));
    binary_append_array(&array, operation_type, last - first);
    buffer_append(&array, operations->elements.data + start, operations->element_end[last - 1] - start);
    assert_false(array.failed);
    result = PQexecParams(stack.owner, question, 1, &operations_type, (const char *const *)&array.data,
                          &(int){(int)array.len}, formats, 0);
    buffer_free(&array);
    return result;
}

static struct slice said(const struct operations *operations, size_t i)
{
    size_t start = i == 0 ? 0 : operations->said_end[i - 1];

    return (struct slice){.data = operations->said.data + start, .len = operations->said_end[i] - start};
}

/* One of them is refused: ends the test with that. */
static void fail_on_refused(const struct operations *operations)
{
    for (size_t i = 0; i < operations->count; i++) {
        PGresult *result = give_back(operations, i, i + 1);

        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            comparison_fail(said(operations, i), "stored", PQerrorMessage(stack.owner));
        }
        PQclear(result);
    }
    fail_msg("operations are refused together and not one by one");
}

static void operations_flush(struct operations *operations)
{
    PGresult *result;

    if (operations->count == 0) {
        return;
    }
    assert_false(operations->elements.failed || operations->said.failed);
    result = give_back(operations, 0, operations->count);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_on_refused(operations);
    }
    assert_int_equal(PQntuples(result), operations->count);
    for (size_t i = 0; i < operations->count; i++) {
        compare_op(said(operations, i), PQgetvalue(result, (int)i, 0));
    }
    PQclear(result);
    operations->count = 0;
    buffer_reset(&operations->elements, BATCH_BYTES);
    buffer_reset(&operations->said, BATCH_BYTES);
}

static void say_text(struct buffer *out, const char *key, const struct text_argument *argument)
{
    buffer_append_format(out, ",\"%s\":", key);
    if (argument->presence == PRESENCE_GIVEN) {
        buffer_append_slice(out, argument->json);
    } else {
        put_text(out, "null");
    }
}

static void say_micros(struct buffer *out, const char *key, const struct timestamp_argument *argument)
{
    buffer_append_format(out, ",\"%s\":", key);
    if (argument->presence == PRESENCE_GIVEN) {
        buffer_append_format(out, "%lld", (long long)argument->micros);
    } else {
        put_text(out, "null");
    }
}

/* The columns of intake.operation. */
static void say_operation(struct buffer *out, const struct incident *incident)
{
    const enum presence optional[] = {incident->resolved_at.presence, incident->name.presence,
                                      incident->priority.presence,    incident->source_url.presence,
                                      incident->services.presence,    incident->metadata.presence};
    bool has_services = incident->services.presence == PRESENCE_GIVEN &&
                        json_object_array_length(incident->services.links) > 0;
    unsigned given = 0;

    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        given |= optional[i] != PRESENCE_ABSENT ? 1U << i : 0;
    }
    buffer_append_format(out,
                         "{\"operation\":\"upsert\",\"token_hash\":\"\\\\x00\",\"scope\":\"upsert\","
                         "\"given\":%u,\"reference_id\":",
                         given);
    buffer_append_json_string(out, incident->reference_id, strlen(incident->reference_id));
    say_micros(out, "started_at", &incident->started_at);
    say_micros(out, "resolved_at", &incident->resolved_at);
    say_text(out, "name", &incident->name);
    say_text(out, "priority", &incident->priority);
    say_text(out, "source_url", &incident->source_url);
    say_text(out, "metadata", &incident->metadata);
    buffer_append_format(out, ",\"services\":%s}",
                         has_services ? json_object_to_json_string(incident->services.links) : "null");
}

static void add_op(struct operations *operations, struct slice body)
{
    struct incident incident;
    struct store_op op;
    struct error error;

    if (incident_read(body, RULES_UPSERT, &incident, &error)) {
        if (operations->count == BATCH_MAX || operations->elements.len > BATCH_BYTES) {
            operations_flush(operations);
        }
        assert_true(op_upsert(&op, "00", &incident));
        binary_append_int32(&operations->elements, (int32_t)op.record.len);
        buffer_append(&operations->elements, op.record.data, op.record.len);
        say_operation(&operations->said, &incident);
        operations->element_end[operations->count] = operations->elements.len;
        operations->said_end[operations->count++] = operations->said.len;
        op_free(&op);
    } else {
        op_counts[OP_REFUSED_BODY]++;
    }
    incident_free(&incident);
}

static void add_as_metadata(void *context, struct slice text)
{
    struct operations *operations = context;
    struct buffer body;

    add_op(operations, text);
    buffer_init(&body, TEXT_MAX);
    put_text(&body, JSON_TEXT_BEFORE);
    buffer_append_slice(&body, text);
    put_text(&body, JSON_TEXT_AFTER);
    add_op(operations, (struct slice){.data = body.data, .len = body.len});
    buffer_free(&body);
}

static void put_body(struct buffer *out, size_t n)
{
    struct buffer inside;

    comparison_seed(n);
    buffer_init(&inside, TEXT_MAX);
    put_json_value(&inside, 1 + (unsigned)prng_below(5), !prng_one_in(8));
    if (prng_one_in(4)) {
        mutate_json(&inside);
    }
    buffer_reset(out, TEXT_MAX);
    put_text(out, "{\"name\":");
    put_json_string(out);
    put_text(out, ",\"services\":[{\"identifier\":\"s\",\"name\":");
    put_json_string(out);
    put_text(out, "}],\"priority\":");
    put_json_string(out);
    put_text(out, ",");
    put_text(out, &JSON_TEXT_BEFORE[1]);
    buffer_append(out, inside.data, inside.len);
    put_text(out, JSON_TEXT_AFTER);
    assert_false(out->failed);
    buffer_free(&inside);
}

static void what_is_read_jsonb_keeps_to_the_last_digit(void **state)
{
    size_t count = (size_t)stress_amount(10000, 500000);
    struct operations *operations = calloc(1, sizeof *operations);
    struct buffer body;

    assert_non_null(operations);
    buffer_init(&body, TEXT_MAX);
    buffer_init(&operations->elements, (size_t)2 * BATCH_BYTES);
    buffer_init(&operations->said, (size_t)4 * BATCH_BYTES);
    operation_type = (Oid)strtoul(stack_query(&stack, "SELECT 'intake.operation'::regtype::oid"), NULL, 10);
    operations_type =
        (Oid)strtoul(stack_query(&stack, "SELECT 'intake.operation[]'::regtype::oid"), NULL, 10);
    for_each_kept_text(add_as_metadata, operations);
    for (size_t n = 0; n < count; n++) {
        put_body(&body, n);
        add_op(operations, (struct slice){.data = body.data, .len = body.len});
    }
    operations_flush(operations);
    buffer_free(&operations->elements);
    buffer_free(&operations->said);
    free(operations);
    buffer_free(&body);
    comparison_show("Bodies of upserts: what is sent to Postgres beside what jsonb gives back", op_reasons,
                    op_counts, OP_COUNTS);
    assert_true(op_counts[OP_STORED] > count / 10 && op_counts[OP_REFUSED_BODY] > count / 20);
}

int main(void)
{
    static const struct CMUnitTest cases[] = {
        cmocka_unit_test(json_is_judged_as_jsonb_does_but_for_what_is_known),
        cmocka_unit_test(what_is_read_jsonb_keeps_to_the_last_digit),
    };

    return comparison_run(&stack, cases, sizeof cases / sizeof cases[0]);
}
