/* What a test of the worker's FastCGI socket expects. Each check fails the test with `what`, the name of its
 * case. */
#ifndef INCIDENTS_TESTS_FASTCGI_CHECKS_H
#define INCIDENTS_TESTS_FASTCGI_CHECKS_H

#include "harness/fastcgi.h"

/* Writes the body of an upsert. */
void format_upsert(char *body, size_t size, const char *reference_id);

/* A body of exactly that many bytes, which is an upsert and blanks. Free it. */
char *make_body(size_t len);

bool is_stored(struct stack *stack, const char *reference_id);
size_t count_incidents(struct stack *stack);

/* How many incidents have a reference_id of that pattern of LIKE. */
size_t count_like(struct stack *stack, const char *pattern);

void check_nothing_is_stored(struct stack *stack, const char *what);

/* Whether the worker is the process that was started, and stores. */
void check_the_worker_serves(struct stack *stack, const char *what);

/* Whether it is a response, with that status, and JSON. */
void check_response(const char *what, enum fastcgi_end end, const struct http_response *response, int status);

/* Sends a request on a connection of its own; its response has that status. */
void check_exchange(struct stack *stack, const char *what, const struct fastcgi_request *request, int status);

/* Reads the next response of a connection, which has that status. */
void expect_response(const char *what, int fd, int status);

/* No further response may come: silence, or the connection's end. */
void expect_no_response(const char *what, int fd);

/* Sends bytes, says that no more will come, and waits until the worker has closed, so that what it does about
 * them is done. Fails if it sends a response of 200, or does not close. */
void expect_no_success(struct stack *stack, const char *what, const void *data, size_t len);

#endif
