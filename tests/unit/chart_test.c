/* Axes with round numbers, durations as people say them, and charts that draw whatever they are given. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "incidentctl/report/chart.h"
#include "cases/between.h"

enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

static void axes_have_round_numbers(void **state)
{
    static const struct {
        enum scale_kind kind;
        double max;
        const char *labels;
    } cases[] = {
        {SCALE_COUNT, 0, "0 1"},
        {SCALE_COUNT, NAN, "0 1"},
        {SCALE_COUNT, 1, "0 1"},
        {SCALE_COUNT, 3, "0 1 2 3"},
        {SCALE_COUNT, 5, "0 1 2 3 4 5"},
        {SCALE_COUNT, 6, "0 2 4 6"},
        {SCALE_COUNT, 11, "0 5 10 15"},
        {SCALE_COUNT, 99, "0 20 40 60 80 100"},
        {SCALE_COUNT, 4001, "0 1,000 2,000 3,000 4,000 5,000"},
        {SCALE_COUNT, 100000, "0 20,000 40,000 60,000 80,000 100,000"},
        {SCALE_SECONDS, 0, "0 1 seconds"},
        {SCALE_SECONDS, 0.5, "0 1 seconds"},
        {SCALE_SECONDS, 100, "0 30 60 90 120 seconds"},
        {SCALE_SECONDS, 50 * MINUTE, "0 10 20 30 40 50 minutes"},
        {SCALE_SECONDS, 121, "0 0.5 1 1.5 2 2.5 minutes"},
        {SCALE_SECONDS, 119 * MINUTE, "0 30 60 90 120 minutes"},
        {SCALE_SECONDS, 4 * HOUR, "0 1 2 3 4 hours"},
        {SCALE_SECONDS, 50 * HOUR, "0 12 24 36 48 60 hours"},
        {SCALE_SECONDS, 4 * DAY, "0 1 2 3 4 days"},
        {SCALE_SECONDS, 1000.0 * DAY, "0 200 400 600 800 1,000 days"},
        {SCALE_SECONDS, 3e6 * DAY, "0 1,000,000 2,000,000 3,000,000 days"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char labels[256] = "", text[SCALE_TEXT_MAX];
        struct scale scale;
        size_t len = 0;

        scale_fit(&scale, cases[i].kind, cases[i].max);
        for (size_t tick = 0; tick < scale.count; tick++) {
            scale_label(&scale, scale.ticks[tick], text);
            len += (size_t)snprintf(labels + len, sizeof labels - len, "%s%s", tick == 0 ? "" : " ", text);
        }
        snprintf(labels + len, sizeof labels - len, "%s%s", *scale.unit == '\0' ? "" : " ", scale.unit);
        assert_string_equal(labels, cases[i].labels);
    }
}

static void every_value_is_within_its_axis(void **state)
{
    for (double max = 0.001; max < 1e15; max *= 1.07) {
        for (int kind = SCALE_COUNT; kind <= SCALE_SECONDS; kind++) {
            struct scale scale;
            double end;

            scale_fit(&scale, (enum scale_kind)kind, max);
            end = scale.ticks[scale.count - 1];
            assert_between(scale.count, 2, SCALE_TICKS_MAX);
            assert_true(scale.ticks[0] == 0 && end >= max);
            assert_true(scale.ticks[scale.count - 2] < max); /* and no step too many */
        }
    }
}

static void durations_are_in_units_that_suit_them(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {
        {0, "0 s"},
        {0.4, "0 s"},
        {119.4, "119 s"},
        {119.6, "2 min"},
        {90 * MINUTE, "90 min"},
        {2 * HOUR - 1, "2 h"},
        {2 * HOUR + 5 * MINUTE, "2 h 5 min"},
        {47 * HOUR + 59 * MINUTE, "47 h 59 min"},
        {48 * HOUR - 1, "2 d"},
        {4 * DAY + 9 * HOUR + 25 * MINUTE, "4 d 9 h"},
        {100.0 * DAY, "100 d"},
        {1200.4 * DAY, "1,200 d"},
        {NAN, "\xe2\x80\x93"},
    };
    char text[SCALE_TEXT_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scale_duration(cases[i].seconds, text);
        assert_string_equal(text, cases[i].text);
    }
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part)) {
        count++;
    }
    return count;
}

static void a_period_without_a_value_leaves_a_gap(void **state)
{
    static const struct chart_period periods[] = {{"2026-01-01", {60, 120}, false},
                                                  {"2026-02-01", {NAN, NAN}, false},
                                                  {"2026-03-01", {30, 90}, false},
                                                  {"2026-04-01", {40, 90}, true}};
    const struct chart_history chart = {.caption = {"c", "title", "description"},
                                        .kind = SCALE_SECONDS,
                                        .lines = true,
                                        .series = {"median", "p90"},
                                        .periods = periods,
                                        .count = 4};
    struct buffer out;

    buffer_init(&out, 65536);
    chart_draw_history(&out, &chart, CHART_WIDE);
    assert_false(out.failed);
    assert_null(strstr(out.data, "nan"));
    assert_non_null(strstr(out.data, ">seconds<"));
    assert_int_equal(count_of(out.data, "<circle"), 3 + 1); /* and the legend's */
    assert_int_equal(count_of(out.data, "<circle class=\"part0\""), 1);
    assert_int_equal(count_of(out.data, "<rect class=\"part1\""), 1);
    assert_non_null(strstr(out.data, "<title>2026-04-01, not whole: median"));
    assert_non_null(strstr(out.data, "<title>2026-02-01: median \xe2\x80\x93, p90 \xe2\x80\x93</title>"));
    buffer_free(&out);
}

/* Beside a 90th percentile of days, a median of minutes is a line on the ground. */
static void a_series_alone_has_an_axis_of_its_own(void **state)
{
    static const struct chart_period periods[] = {{"2026-01-01", {60, 864000}, false}};
    struct chart_history chart = {.caption = {"c", "title", "description"},
                                  .kind = SCALE_SECONDS,
                                  .lines = true,
                                  .series = {"median", NULL},
                                  .periods = periods,
                                  .count = 1};
    struct buffer out;

    buffer_init(&out, 65536);
    chart_draw_history(&out, &chart, CHART_WIDE);
    assert_non_null(strstr(out.data, ">seconds<"));
    assert_null(strstr(out.data, "bar1"));
    buffer_reset(&out, 65536);
    chart.series[0] = NULL;
    chart.series[1] = "p90";
    chart_draw_history(&out, &chart, CHART_WIDE);
    assert_non_null(strstr(out.data, ">days<"));
    assert_null(strstr(out.data, "median"));
    assert_null(strstr(out.data, "<circle"));
    buffer_free(&out);
}

/* How many months of two years, or of the 53 weeks of one, are named: by a letter or three. */
static void every_month_is_on_the_axis(void **state)
{
    static const char *const names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char starts[24][32];
    struct chart_period periods[24];
    struct chart_history chart = {.caption = {"c", "title", "description"},
                                  .kind = SCALE_COUNT,
                                  .unit = "incidents",
                                  .series = {"opened", "resolved"},
                                  .periods = periods,
                                  .count = 24};

    for (int i = 0; i < 24; i++) {
        snprintf(starts[i], sizeof starts[i], "%d-%02d-01", 2025 + i / 12, i % 12 + 1);
        periods[i] = (struct chart_period){starts[i], {1, 1}, false};
    }
    for (int width = CHART_WIDE; width <= CHART_NARROW; width++) {
        struct buffer out;
        size_t found = 0;

        buffer_init(&out, 65536);
        chart_draw_history(&out, &chart, (enum chart_width)width);
        for (size_t letters = 1; letters <= 3; letters += 2) {
            for (size_t i = 0; i < 12; i++) {
                char label[16];
                bool is_first = true;

                for (size_t j = 0; j < i; j++) {
                    is_first = is_first && strncmp(names[i], names[j], letters) != 0;
                }
                snprintf(label, sizeof label, ">%.*s</text>", (int)letters, names[i]);
                found += is_first ? count_of(out.data, label) : 0;
            }
        }
        assert_int_equal(found, 24);
        buffer_free(&out);
    }
}

static void charts_draw_nothing_one_and_zeros(void **state)
{
    static const struct chart_period zero = {"2026-01-05", {0, 0}, false};
    static const struct chart_row row = {"<b>", {0, NAN}, NAN};

    for (size_t count = 0; count <= 1; count++) {
        for (int width = CHART_WIDE; width <= CHART_NARROW; width++) {
            const struct chart_history history = {.caption = {"c", "t", "d"},
                                                  .series = {"opened", "resolved"},
                                                  .unit = "incidents",
                                                  .periods = &zero,
                                                  .count = count};
            const struct chart_ranking ranking = {
                .caption = {"r", "t", "d"}, .columns = {"one", "two"}, .rows = &row, .count = count};
            struct buffer out;

            buffer_init(&out, 65536);
            chart_draw_history(&out, &history, (enum chart_width)width);
            chart_draw_ranking(&out, &ranking, (enum chart_width)width);
            assert_false(out.failed);
            assert_null(strstr(out.data, "nan"));
            assert_null(strstr(out.data, "inf"));
            assert_null(strstr(out.data, "<b>"));
            assert_int_equal(count_of(out.data, "&lt;b&gt;"), count);
            buffer_free(&out);
        }
    }
}

static void a_long_name_is_cut_between_characters(void **state)
{
    char name[1200];
    struct chart_row row = {name, {1, 2}, NAN};
    const struct chart_ranking ranking = {
        .caption = {"r", "t", "d"}, .columns = {"one", "two"}, .rows = &row, .count = 1};
    struct buffer out;

    for (size_t i = 0; i + 2 < sizeof name; i += 2) {
        memcpy(name + i, "\xc3\xa9", 3);
    }
    buffer_init(&out, 65536);
    chart_draw_ranking(&out, &ranking, CHART_WIDE);
    assert_non_null(strstr(out.data, "\xc3\xa9\xe2\x80\xa6</text>"));
    assert_null(strstr(out.data, "\xef\xbf\xbd"));
    assert_between(count_of(out.data, "\xc3\xa9"), 10, 40);
    buffer_free(&out);
}

/* A character of this size is 7 units wide. */
static void long_values_end_within_their_column(void **state)
{
    static const struct chart_row rows[] = {{"a", {12345678, 86400 * 47 + 82800}, 86400 * 99 + 82800},
                                            {"b", {7, 172740}, 172740}};
    static const double widths[] = {[CHART_WIDE] = 760, [CHART_NARROW] = 358},
                        seconds[] = {[CHART_WIDE] = 470, [CHART_NARROW] = 122};
    const struct chart_ranking ranking = {.caption = {"r", "t", "d"},
                                          .columns = {"one", "two"},
                                          .kinds = {SCALE_COUNT, SCALE_SECONDS},
                                          .rows = rows,
                                          .count = 2};

    for (int width = CHART_WIDE; width <= CHART_NARROW; width++) {
        struct buffer out;
        int found = 0;

        buffer_init(&out, 65536);
        chart_draw_ranking(&out, &ranking, (enum chart_width)width);
        for (const char *at = out.data; (at = strstr(at, "<text x=\"")) != NULL; at++) {
            double x = strtod(at + strlen("<text x=\""), NULL), end;
            const char *text = strchr(at, '>') + 1;

            end = x + 7 * (double)strcspn(text, "<");
            assert_true(end <= (x < seconds[width] ? seconds[width] : widths[width]));
            found +=
                strncmp(text, "12,345,678<", 11) == 0 || strncmp(text, "47 d 23 h / 99 d 23 h<", 22) == 0;
        }
        assert_int_equal(found, 2);
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(axes_have_round_numbers),
        cmocka_unit_test(every_value_is_within_its_axis),
        cmocka_unit_test(durations_are_in_units_that_suit_them),
        cmocka_unit_test(a_period_without_a_value_leaves_a_gap),
        cmocka_unit_test(a_series_alone_has_an_axis_of_its_own),
        cmocka_unit_test(every_month_is_on_the_axis),
        cmocka_unit_test(charts_draw_nothing_one_and_zeros),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        cmocka_unit_test(long_values_end_within_their_column),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
