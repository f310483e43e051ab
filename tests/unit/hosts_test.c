/* What a connection string with several hosts is read as, and which of them is tried first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "store/hosts.h"

/* What one host's parameters say beside the string; "" where that says it. Good until the next call. */
static const char *value(const struct hosts *hosts, size_t host, const char *keyword)
{
    static const char *values[HOSTS_PARAMETERS];
    size_t i = 0;

    hosts_values(hosts, host, values);
    assert_null(hosts_keywords[HOSTS_PARAMETERS - 1]);
    while (strcmp(hosts_keywords[i], keyword) != 0) {
        i++;
        assert_non_null(hosts_keywords[i]);
    }
    return values[i] == NULL ? "" : values[i];
}

static void each_host_has_its_own_name_address_and_port(void **state)
{
    static const struct {
        const char *url;
        size_t count;
        const char *each[3][3]; /* host, hostaddr, port */
    } cases[] = {
        {"postgresql://a,b/x", 2, {{"a", "", "5432"}, {"b", "", "5432"}}},
        {"postgresql://a:1,b:2,c:3/x", 3, {{"a", "", "1"}, {"b", "", "2"}, {"c", "", "3"}}},
        {"postgresql://%2Fd,%2Fe:1/x", 2, {{"/d", "", "5432"}, {"/e", "", "1"}}},
        {"host=a,b port=,5", 2, {{"a", "", "5432"}, {"b", "", "5"}}},
        {"host=a,b port=7", 2, {{"a", "", "7"}, {"b", "", "7"}}},
        {"host=/d,/d port=1,2", 2, {{"/d", "", "1"}, {"/d", "", "2"}}},
        {"hostaddr=::1,127.0.0.1", 2, {{"", "::1", ""}, {"", "127.0.0.1", ""}}},
        {"host=a,b hostaddr=::1,127.0.0.1", 2, {{"a", "::1", ""}, {"b", "127.0.0.1", ""}}},
        /* One, or libpq's own rules: the string says it. */
        {"", 1, {{"", "", ""}}},
        {"host=a port=1", 1, {{"", "", ""}}},
        {"host=a,,c port=5", 1, {{"", "", ""}}},
        {"host=a,b, port=5", 1, {{"", "", ""}}},
        /* libpq refuses these, and says why. */
        {"host=a,b port=1,2,3", 1, {{"", "", ""}}},
        {"host=a,b,c hostaddr=::1,127.0.0.1", 1, {{"", "", ""}}},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hosts *hosts = hosts_new(cases[i].url);

        assert_non_null(hosts);
        assert_int_equal(hosts_count(hosts), cases[i].count);
        for (size_t host = 0; host < cases[i].count; host++) {
            assert_string_equal(value(hosts, host, "host"), cases[i].each[host][0]);
            assert_string_equal(value(hosts, host, "hostaddr"), cases[i].each[host][1]);
            assert_string_equal(value(hosts, host, "port"), cases[i].each[host][2]);
            assert_string_equal(value(hosts, host, "dbname"), cases[i].url);
        }
        hosts_free(hosts);
    }
}

/* A thread that looks for an address may go on behind the end of everything else. */
static void the_string_is_needed_no_longer(void **state)
{
    char url[] = "host=a,b";
    struct hosts *hosts = hosts_new(url);

    memset(url, 'x', sizeof url - 1);
    assert_string_equal(value(hosts, 1, "dbname"), "host=a,b");
    assert_string_equal(value(hosts, 1, "host"), "b");
    hosts_free(hosts);
}

static void lists_of_the_environment_are_left_to_libpq(void **state)
{
    static const char *const names[] = {"PGHOST", "PGHOSTADDR", "PGPORT"};

    for (size_t i = 0; i < 3; i++) {
        struct hosts *hosts;

        assert_int_equal(setenv(names[i], "1", 1), 0);
        hosts = hosts_new("host=a,b");
        assert_int_equal(hosts_count(hosts), 2);
        hosts_free(hosts);
        assert_int_equal(setenv(names[i], "1,2", 1), 0);
        hosts = hosts_new("host=a,b");
        assert_int_equal(hosts_count(hosts), 1);
        hosts_free(hosts);
        assert_int_equal(unsetenv(names[i]), 0);
    }
}

static size_t place_of(const char *keyword)
{
    size_t i = 0;

    while (strcmp(hosts_keywords[i], keyword) != 0) {
        i++;
        assert_non_null(hosts_keywords[i]);
    }
    return i;
}

/* Of two values libpq takes the one behind. */
static void the_string_wins_over_what_we_would_like_but_not_over_what_we_need(void **state)
{
    assert_true(place_of("fallback_application_name") < place_of("dbname"));
    assert_true(place_of("tcp_user_timeout") < place_of("dbname"));
    assert_true(place_of("dbname") < place_of("host"));
    assert_true(place_of("dbname") < place_of("hostaddr"));
    assert_true(place_of("dbname") < place_of("port"));
    assert_true(place_of("dbname") < place_of("client_encoding"));
}

static void one_of_several_gets_two_seconds_unless_connect_timeout_says_otherwise(void **state)
{
    static const struct {
        const char *url;
        int64_t timeout_ms;
    } cases[] = {
        {"host=a", INT64_MAX}, {"host=a connect_timeout=0", INT64_MAX}, {"host=a connect_timeout=5", 5000},
        {"host=a,b", 2000},    {"host=a,b connect_timeout=-1", 2000},   {"host=a,b connect_timeout=1", 1000},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct hosts *hosts = hosts_new(cases[i].url);

        assert_int_equal(hosts_timeout_ms(hosts), cases[i].timeout_ms);
        hosts_free(hosts);
    }
}

static void the_one_that_was_good_is_first_until_it_is_marked_as_failed(void **state)
{
    struct hosts *hosts = hosts_new("host=a,b,c");

    assert_int_equal(hosts_first(hosts), 0);
    hosts_mark_working(hosts, 2);
    assert_int_equal(hosts_first(hosts), 2);
    hosts_mark_failed(hosts, 1); /* that another one has failed changes nothing */
    assert_int_equal(hosts_first(hosts), 2);
    hosts_mark_failed(hosts, 2);
    assert_int_equal(hosts_first(hosts), 0);
    hosts_free(hosts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_host_has_its_own_name_address_and_port),
        cmocka_unit_test(the_string_is_needed_no_longer),
        cmocka_unit_test(lists_of_the_environment_are_left_to_libpq),
        cmocka_unit_test(the_string_wins_over_what_we_would_like_but_not_over_what_we_need),
        cmocka_unit_test(one_of_several_gets_two_seconds_unless_connect_timeout_says_otherwise),
        cmocka_unit_test(the_one_that_was_good_is_first_until_it_is_marked_as_failed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
