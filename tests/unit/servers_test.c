/* What a connection string with several servers is read as, and which of them is tried first. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "store/servers.h"

/* The value that libpq takes of those for a keyword: the last that is not empty; "" for none. */
static const char *value(const struct servers *servers, size_t server, const char *keyword)
{
    const char *const *keywords = servers_keywords(servers, server);
    const char *const *values = servers_values(servers, server);
    const char *found = "";

    for (size_t i = 0; keywords[i] != NULL; i++) {
        if (strcmp(keywords[i], keyword) == 0 && values[i][0] != '\0') {
            found = values[i];
        }
    }
    return found;
}

static void each_server_has_its_own_host_address_and_port(void **state)
{
    static const struct {
        const char *url;
        size_t count;
        const char *each[3][3]; /* host, hostaddr, port */
    } cases[] = {
        {"", 1, {{"", "", ""}}},
        {"host=a", 1, {{"a", "", ""}}},
        {"postgresql://a,b/x", 2, {{"a", "", ""}, {"b", "", ""}}},
        {"postgresql://a:1,b:2,c:3/x", 3, {{"a", "", "1"}, {"b", "", "2"}, {"c", "", "3"}}},
        {"host=a,b port=7", 2, {{"a", "", "7"}, {"b", "", "7"}}},
        {"host=/d,/d port=1,2", 2, {{"/d", "", "1"}, {"/d", "", "2"}}},
        {"host=a,,c port=,5,", 3, {{"a", "", ""}, {"", "", "5"}, {"c", "", ""}}},
        {"hostaddr=::1,127.0.0.1", 2, {{"", "::1", ""}, {"", "127.0.0.1", ""}}},
        {"host=a,b hostaddr=::1,127.0.0.1", 2, {{"a", "::1", ""}, {"b", "127.0.0.1", ""}}},
        /* libpq refuses these, and says why. */
        {"host=a,b port=1,2,3", 1, {{"a,b", "", "1,2,3"}}},
        {"host=a,b,c hostaddr=::1,127.0.0.1", 1, {{"a,b,c", "::1,127.0.0.1", ""}}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct servers *servers = servers_new(cases[i].url);

        assert_non_null(servers);
        assert_int_equal(servers_count(servers), cases[i].count);
        for (size_t server = 0; server < cases[i].count; server++) {
            assert_string_equal(value(servers, server, "host"), cases[i].each[server][0]);
            assert_string_equal(value(servers, server, "hostaddr"), cases[i].each[server][1]);
            assert_string_equal(value(servers, server, "port"), cases[i].each[server][2]);
        }
        servers_free(servers);
    }
}

static void the_string_wins_over_what_we_would_like_but_not_over_what_we_need(void **state)
{
    struct servers *servers =
        servers_new("host=a,b dbname=x user=me password='s p' target_session_attrs=read-write "
                    "tcp_user_timeout=9 client_encoding=LATIN1");

    (void)state;
    for (size_t server = 0; server < 2; server++) {
        assert_string_equal(value(servers, server, "dbname"), "x");
        assert_string_equal(value(servers, server, "user"), "me");
        assert_string_equal(value(servers, server, "password"), "s p");
        assert_string_equal(value(servers, server, "target_session_attrs"), "read-write");
        assert_string_equal(value(servers, server, "tcp_user_timeout"), "9");
        assert_string_equal(value(servers, server, "fallback_application_name"), "incidents.fcgi");
        assert_string_equal(value(servers, server, "client_encoding"), "UTF8");
    }
    servers_free(servers);
}

static void one_of_several_gets_two_seconds_unless_connect_timeout_says_otherwise(void **state)
{
    static const struct {
        const char *url;
        int64_t patience_ms;
    } cases[] = {
        {"host=a", INT64_MAX}, {"host=a connect_timeout=0", INT64_MAX}, {"host=a connect_timeout=5", 5000},
        {"host=a,b", 2000},    {"host=a,b connect_timeout=-1", 2000},   {"host=a,b connect_timeout=1", 1000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct servers *servers = servers_new(cases[i].url);

        assert_int_equal(servers_patience_ms(servers), cases[i].patience_ms);
        servers_free(servers);
    }
}

static void the_one_that_was_good_is_first_until_it_is_passed_over(void **state)
{
    struct servers *servers = servers_new("host=a,b,c");

    (void)state;
    assert_int_equal(servers_first(servers), 0);
    servers_choose(servers, 2);
    assert_int_equal(servers_first(servers), 2);
    servers_pass_over(servers, 1); /* what a thread has against another one changes nothing */
    assert_int_equal(servers_first(servers), 2);
    servers_pass_over(servers, 2);
    assert_int_equal(servers_first(servers), 0);
    servers_free(servers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_server_has_its_own_host_address_and_port),
        cmocka_unit_test(the_string_wins_over_what_we_would_like_but_not_over_what_we_need),
        cmocka_unit_test(one_of_several_gets_two_seconds_unless_connect_timeout_says_otherwise),
        cmocka_unit_test(the_one_that_was_good_is_first_until_it_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
