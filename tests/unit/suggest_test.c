/* Which known name a misspelt one is nearest to. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/suggest.h"

static void a_letter_more_less_other_or_swapped_is_one_step(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        size_t steps;
    } cases[] = {
        {"", "", 0},
        {"", "log", 3},
        {"PGHOST", "pghost", 0},
        {"PGHOTS", "PGHOST", 1},
        {"PGHOS", "PGHOST", 1},
        {"PGHOSTS", "PGHOST", 1},
        {"PGHAST", "PGHOST", 1},
        {"ca", "abc", 3},
        {"kitten", "sitting", 3},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(suggest_distance(cases[i].a, cases[i].b), cases[i].steps);
        assert_int_equal(suggest_distance(cases[i].b, cases[i].a), cases[i].steps);
    }
}

static void a_third_of_the_letters_may_differ(void **state)
{
    size_t distance;

    assert_true(suggest_is_near("thread", "THREADS", &distance));
    assert_int_equal(distance, 1);
    assert_true(suggest_is_near("LOK", "LOG", &distance));
    assert_false(suggest_is_near("COG2", "LOG", &distance));
}

static void a_name_that_is_too_long_is_like_nothing(void **state)
{
    char name[SUGGEST_NAME_MAX + 2];
    size_t distance;

    memset(name, 'a', sizeof name);
    name[SUGGEST_NAME_MAX] = '\0';
    assert_true(suggest_is_near(name, name, &distance));
    name[SUGGEST_NAME_MAX] = 'a';
    name[SUGGEST_NAME_MAX + 1] = '\0';
    assert_false(suggest_is_near(name, name, &distance));
}

static void the_nearest_of_several_is_suggested(void **state)
{
    static const char *const known[] = {"since", "service", "open"};
    struct suggestion best = {0}, none = {0};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        suggest_consider(&best, "sevrice", known[i]);
        suggest_consider(&none, "frobnicate", known[i]);
    }
    assert_string_equal(best.known, "service");
    assert_null(none.known);
    suggest_consider(&best, "sevrice", "sevrise"); /* no nearer */
    assert_string_equal(best.known, "service");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_letter_more_less_other_or_swapped_is_one_step),
        cmocka_unit_test(a_third_of_the_letters_may_differ),
        cmocka_unit_test(the_nearest_of_several_is_suggested),
        cmocka_unit_test(a_name_that_is_too_long_is_like_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
