/* Text in HTML that is well-formed XML too. */
#include "incidentctl/report/html.h"

#include <string.h>
#include <strings.h>

#include "base/utf8.h"

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

static const char *reference_of(unsigned char byte)
{
    switch (byte) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\t':
    case '\n':
    case '\r':
        return " ";
    default:
        return byte < 0x20 || byte == 0x7f ? replacement : NULL;
    }
}

/* U+0080 to U+009F, and U+FFFE and U+FFFF. */
static bool is_refused(const unsigned char *sequence, size_t len)
{
    return (len == 2 && sequence[0] == 0xc2 && sequence[1] < 0xa0) ||
           (len == 3 && sequence[0] == 0xef && sequence[1] == 0xbf && sequence[2] >= 0xbe);
}

void html_append(struct buffer *out, const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t left = strlen(text);

    while (left > 0) {
        size_t len = utf8_sequence(at, left);
        const char *instead = len == 1                          ? reference_of(*at)
                              : len == 0 || is_refused(at, len) ? replacement
                                                                : NULL;

        len = len == 0 ? 1 : len;
        if (instead != NULL) {
            buffer_append_text(out, instead);
        } else {
            buffer_append(out, at, len);
        }
        at += len;
        left -= len;
    }
}

void html_append_isolated(struct buffer *out, const char *text)
{
    buffer_append_text(out, "<bdi>");
    html_append(out, text);
    buffer_append_text(out, "</bdi>");
}

bool html_is_link(const char *url)
{
    size_t start;

    if (url == NULL) {
        return false;
    }
    start = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    if (start == 0 || url[start] == '\0') {
        return false;
    }
    for (const char *c = url; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || *c == 0x7f) {
            return false;
        }
    }
    return true;
}

void html_append_link(struct buffer *out, const char *url, const char *text)
{
    bool is_link = html_is_link(url);

    if (is_link) {
        buffer_append_text(out, "<a rel=\"noopener noreferrer\" href=\"");
        html_append(out, url);
        buffer_append_text(out, "\">");
    }
    html_append_isolated(out, text);
    buffer_append_text(out, is_link ? "</a>" : "");
}
