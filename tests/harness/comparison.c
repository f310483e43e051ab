/* Verdicts of ours beside those of Postgres. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>

#include "cases/json_texts.h"
#include "harness/comparison.h"
#include "harness/figures.h"
#include "harness/prng.h"

enum { STRIDE = 1000003 };

static struct stack *stack;
static uint64_t seed;

/* A function that says of each of many texts what the expression makes of it, or '!' and the SQLSTATE where
 * it makes nothing of it. */
#define JUDGE(name, expression)                                                                              \
    "CREATE FUNCTION " name "(texts bytea, lengths integer[]) RETURNS SETOF text LANGUAGE plpgsql "          \
    "SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' AS $$"                                                  \
    "DECLARE at integer := 1; len integer; t text; answer text;"                                             \
    "BEGIN"                                                                                                  \
    "  FOREACH len IN ARRAY lengths LOOP"                                                                    \
    "    BEGIN"                                                                                              \
    "      t := convert_from(substring(texts FROM at FOR len), 'UTF8');"                                     \
    "      answer := " expression ";"                                                                        \
    "    EXCEPTION WHEN OTHERS THEN answer := '!' || SQLSTATE;"                                              \
    "    END;"                                                                                               \
    "    at := at + len;"                                                                                    \
    "    RETURN NEXT answer;"                                                                                \
    "  END LOOP;"                                                                                            \
    "END $$"

static const char *const judges[] = {
    JUDGE("judge_json", "(t::jsonb IS NOT NULL)::text"),
    JUDGE("read_instant", "(extract(epoch FROM t::timestamptz) * 1000000)::bigint::text"),
    JUDGE("read_week", "CASE WHEN to_char(to_date(t, 'IYYY-IW-ID'), 'IYYY-IW-ID') = t THEN "
                       "((to_date(t, 'IYYY-IW-ID') - date '1970-01-01') * 86400000000)::text END"),
    JUDGE("read_ordinal", "CASE WHEN to_char(to_date(t, 'YYYY-DDD'), 'YYYY-DDD') = t THEN "
                          "((to_date(t, 'YYYY-DDD') - date '1970-01-01') * 86400000000)::text END"),
};

void comparison_begin(struct comparison *comparison, const char *judge,
                      void (*compare)(struct slice, const char *))
{
    *comparison = (struct comparison){.judge = judge, .compare = compare};
    buffer_init(&comparison->bytes, BATCH_BYTES + TEXT_MAX);
    buffer_init(&comparison->lengths, (size_t)BATCH_MAX * 12);
}

static void comparison_flush(struct comparison *comparison)
{
    const Oid types[] = {17, 1007}; /* bytea, int4[] */
    const char *values[2];
    const int formats[] = {1, 0};
    int lengths[2];
    char question[64];
    PGresult *result;
    size_t at = 0;

    if (comparison->count == 0) {
        return;
    }
    buffer_append_text(&comparison->lengths, "}");
    assert_false(comparison->bytes.failed || comparison->lengths.failed);
    values[0] = comparison->bytes.data == NULL ? "" : comparison->bytes.data;
    values[1] = comparison->lengths.data;
    lengths[0] = (int)comparison->bytes.len;
    lengths[1] = 0;
    snprintf(question, sizeof question, "SELECT %s($1, $2)", comparison->judge);
    result = PQexecParams(stack->owner, question, 2, types, values, lengths, formats, 0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fail_msg("%s", PQerrorMessage(stack->owner));
    }
    assert_int_equal(PQntuples(result), comparison->count);
    for (size_t i = 0; i < comparison->count; i++) {
        comparison->compare((struct slice){.data = values[0] + at, .len = comparison->len[i]},
                            PQgetisnull(result, (int)i, 0) ? NULL : PQgetvalue(result, (int)i, 0));
        at += comparison->len[i];
    }
    PQclear(result);
    comparison->count = 0;
    buffer_reset(&comparison->bytes, BATCH_BYTES);
    buffer_reset(&comparison->lengths, BATCH_BYTES);
}

void comparison_add(struct comparison *comparison, struct slice text)
{
    if (comparison->count == BATCH_MAX || comparison->bytes.len > BATCH_BYTES) {
        comparison_flush(comparison);
    }
    buffer_append_slice(&comparison->bytes, text);
    buffer_append_format(&comparison->lengths, "%s%zu", comparison->count == 0 ? "{" : ",", text.len);
    comparison->len[comparison->count++] = text.len;
}

void comparison_end(struct comparison *comparison)
{
    comparison_flush(comparison);
    buffer_free(&comparison->bytes);
    buffer_free(&comparison->lengths);
}

void comparison_fail(struct slice text, const char *ours, const char *theirs)
{
    struct buffer hex;

    buffer_init(&hex, (size_t)4 * TEXT_MAX);
    for (size_t i = 0; i < text.len; i++) {
        buffer_append_format(&hex, "%02x", (unsigned char)text.data[i]);
    }
    fail_msg("DIFFERENTIAL_SEED=%llu: we say \"%s\", Postgres \"%s\", of %zu bytes: %s",
             (unsigned long long)seed, ours, theirs == NULL ? "null" : theirs, text.len,
             hex.data == NULL ? "" : hex.data);
}

void for_each_kept_text(void (*use)(void *context, struct slice text), void *context)
{
    glob_t seeds;

    for (size_t i = 0; i < json_text_count; i++) {
        use(context, (struct slice){.data = json_texts[i].text, .len = json_texts[i].len});
    }
    assert_int_equal(glob("tests/fuzz/seeds/*/*", 0, NULL, &seeds), 0);
    for (size_t i = 0; i < seeds.gl_pathc; i++) {
        FILE *file = fopen(seeds.gl_pathv[i], "re");
        static char bytes[64 * 1024];
        size_t len;

        assert_non_null(file);
        len = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        use(context, (struct slice){.data = bytes, .len = len});
        /* Targets that take a choice from the first byte have the text behind it. */
        use(context, (struct slice){.data = bytes + (len > 0), .len = len - (len > 0)});
    }
    globfree(&seeds);
}

void comparison_show(const char *heading, const char *const reasons[], const size_t counts[], size_t count)
{
    size_t total = 0;

    figures_table(heading, "texts|how many");
    for (size_t i = 0; i < count; i++) {
        figures_row("%s|%zu", reasons[i], counts[i]);
        total += counts[i];
    }
    figures_row("all|%zu", total);
}

void comparison_add_kept(void *context, struct slice text)
{
    comparison_add(context, text);
}

void comparison_seed(size_t n)
{
    prng_seed(seed + n * STRIDE);
}

static void make_judges(void)
{
    seed = prng_find_seed("DIFFERENTIAL_SEED");
    for (size_t i = 0; i < sizeof judges / sizeof *judges; i++) {
        stack_query(stack, judges[i]);
    }
}

int comparison_run(struct stack *of, const struct CMUnitTest cases[], size_t count)
{
    const struct fixture fixture = {.stack = of, .extent = FIXTURE_MIGRATED, .start = make_judges};

    stack = of;
    return fixture_run(&fixture, cases, count);
}
