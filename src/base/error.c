/* Filling the one error type. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

bool error_set(struct error *error, enum error_code code, const char *format, ...)
{
    va_list arguments;

    error->code = code;
    va_start(arguments, format);
    vsnprintf(error->message, sizeof error->message, format, arguments);
    va_end(arguments);
    return false;
}

const char *error_code_text(enum error_code code)
{
    static const char *const texts[] = {
        [ERROR_NONE] = "none",
        [ERROR_NOT_AUTHED] = "not_authed",
        [ERROR_NOT_PERMITTED] = "not_permitted",
        [ERROR_INVALID_JSON] = "invalid_json",
        [ERROR_INVALID_ARGUMENTS] = "invalid_arguments",
        [ERROR_INVALID_TIMESTAMP] = "invalid_timestamp",
        [ERROR_METADATA_INVALID] = "metadata_invalid",
        [ERROR_UNKNOWN_METHOD] = "unknown_method",
        [ERROR_METHOD_NOT_ALLOWED] = "method_not_allowed",
        [ERROR_REQUEST_TOO_LARGE] = "request_too_large",
        [ERROR_SERVICE_UNAVAILABLE] = "service_unavailable",
        [ERROR_INTERNAL] = "internal_error",
    };

    return texts[code];
}
