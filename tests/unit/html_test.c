/* Text in HTML stays text, and what becomes a link is a web page's address. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "incidentctl/report/html.h"

enum { OUT_MAX = 4096 };

static void text_cannot_become_markup(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"Checkout", "Checkout"},
        {"<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"},
        {"\" onload='x", "&quot; onload=&#39;x"},
        {"&lt; &#60;", "&amp;lt; &amp;#60;"},
        {"]]>", "]]&gt;"},
        {"a\tb\r\nc", "a b  c"},
        {"\x01\x1b[2J\x7f", "\xef\xbf\xbd\xef\xbf\xbd[2J\xef\xbf\xbd"},
        {"\xc2\x80\xc2\x9f\xc2\xa0",
         "\xef\xbf\xbd\xef\xbf\xbd\xc2\xa0"}, /* C1 controls; a space that stays */
        {"\xef\xbf\xbe\xef\xbf\xbf\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* U+FFFE, U+FFFF */
        {"\xff<\xc3", "\xef\xbf\xbd&lt;\xef\xbf\xbd"},                                    /* no UTF-8 */
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;

        buffer_init(&out, OUT_MAX);
        html_append(&out, cases[i][0]);
        assert_string_equal(out.data == NULL ? "" : out.data, cases[i][1]);
        buffer_free(&out);
    }
}

static void every_byte_gives_well_formed_text(void **state)
{
    for (int byte = 1; byte < 256; byte++) {
        char text[] = {'a', (char)byte, 'z', '\0'};
        struct buffer out;

        buffer_init(&out, OUT_MAX);
        html_append(&out, text);
        assert_int_equal(out.data[0], 'a');
        assert_int_equal(out.data[out.len - 1], 'z');
        assert_null(strpbrk(out.data, "<>\"'\x01\x1b\x7f\n"));
        buffer_free(&out);
    }
}

static void only_web_addresses_become_links(void **state)
{
    static const char *const good[] = {"http://a", "https://status.example.com/1?a=b&c#d",
                                       "HTTPS://EXAMPLE.COM/", "https://example.com/\"><script>",
                                       "https://\xc3\xa9.example/"};
    static const char *const bad[] = {"",
                                      "http://",
                                      "https://",
                                      "javascript:alert(1)",
                                      "JaVaScRiPt:alert(1)",
                                      "data:text/html,<script>",
                                      "vbscript:x",
                                      "file:///etc/passwd",
                                      "//example.com/",
                                      "/path",
                                      "http:/one",
                                      "http:example.com",
                                      " https://example.com/",
                                      "https://example.com/a b",
                                      "https://example.com/\n",
                                      "java\tscript:alert(1)//https://x",
                                      "\x01https://example.com/"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_true(html_is_link(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(html_is_link(bad[i]));
    }
    assert_false(html_is_link(NULL));
}

static void a_link_keeps_its_address_within_the_quotes(void **state)
{
    static const char *const cases[][3] = {
        {"https://e.example/?a=1&b=\"'<", "<x>",
         "<a rel=\"noopener noreferrer\" "
         "href=\"https://e.example/?a=1&amp;b=&quot;&#39;&lt;\"><bdi>&lt;x&gt;</bdi></a>"},
        {"javascript:alert(1)", "x", "<bdi>x</bdi>"},
        {NULL, "\xe2\x80\xaeolleh", "<bdi>\xe2\x80\xaeolleh</bdi>"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;

        buffer_init(&out, OUT_MAX);
        html_append_link(&out, cases[i][0], cases[i][1]);
        assert_string_equal(out.data, cases[i][2]);
        buffer_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_cannot_become_markup),
        cmocka_unit_test(every_byte_gives_well_formed_text),
        cmocka_unit_test(only_web_addresses_become_links),
        cmocka_unit_test(a_link_keeps_its_address_within_the_quotes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
