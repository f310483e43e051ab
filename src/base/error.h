/* The one error type, from the bottom of the program to the HTTP response. */
#ifndef INCIDENTS_BASE_ERROR_H
#define INCIDENTS_BASE_ERROR_H

#include <stdbool.h>

/* Every error code that the HTTP contract knows. api/error_response.c turns it into a status. */
enum error_code {
    ERROR_NONE = 0,
    ERROR_NOT_AUTHED,
    ERROR_NOT_PERMITTED,
    ERROR_INVALID_JSON,
    ERROR_INVALID_ARGUMENTS,
    ERROR_INVALID_TIMESTAMP,
    ERROR_METADATA_INVALID,
    ERROR_UNKNOWN_METHOD,
    ERROR_METHOD_NOT_ALLOWED,
    ERROR_REQUEST_TOO_LARGE,
    ERROR_SERVICE_UNAVAILABLE,
    ERROR_INTERNAL,
};

/* An error and its sentence. The sentence names the argument, and echoes nothing else that came from outside
 * but a metadata key that is refused: 64 bytes of it, each of which an escape may make six.
 */
struct error {
    enum error_code code;
    char message[576];
};

/* Fills *error and returns false, so that a check can end with `return error_set(...)`. A sentence that is
 * too long is cut, never overrun. */
bool error_set(struct error *error, enum error_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The code's word in responses, the log and the metrics; "none" for ERROR_NONE. */
const char *error_code_text(enum error_code code);

#endif
