/* The page that `incidentctl report --html` makes, asked by XPath. */
#ifndef INCIDENTS_TESTS_PAGE_H
#define INCIDENTS_TESTS_PAGE_H

#include "harness/stack.h"

/* The last one that was made. */
extern char page[];

/* Makes the page with those arguments, up to a NULL. */
#define page_make(stack, ...) page_take(stack_control(stack, NULL, "report", "--html", "-", __VA_ARGS__))

/* Fails the test where the page was not made; else keeps it. */
void page_take(const struct outcome *outcome);

/* What a strict XML parser makes of the page; a page that is not well-formed fails the test. */
const char *page_ask(const char *xpath);

/* Fails the test where its first line is not that. */
void page_expect(const char *xpath, const char *expected);

#endif
