/* Text in HTML that is well-formed XML too. Whatever the text is, it stays text. */
#ifndef INCIDENTS_INCIDENTCTL_REPORT_HTML_H
#define INCIDENTS_INCIDENTCTL_REPORT_HTML_H

#include <stdbool.h>

#include "base/buffer.h"

/* Appends text for an element's content or a quoted attribute. '&', '<', '>' and both quotes become
 * references; tabs and line ends a space; other control characters, what XML does not allow (XML 1.0
 * production 2) and what is not UTF-8 become U+FFFD. */
void html_append(struct buffer *out, const char *text);

/* The same within <bdi>, so that no direction in the text reaches beyond it. For content alone. */
void html_append_isolated(struct buffer *out, const char *text);

/* Whether a URL may become a link: http or https, with something behind it, and no space or control character
 * in it. NULL may not. */
bool html_is_link(const char *url);

/* Appends the text, isolated, as a link to the URL where that may be one. */
void html_append_link(struct buffer *out, const char *url, const char *text);

#endif
