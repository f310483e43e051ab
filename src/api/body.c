/* What a body is: JSON, a form, or something that senders take for one of them. */
#include "api/body.h"

#include <string.h>
#include <strings.h>

static const char form_type[] = "application/x-www-form-urlencoded";
static const char multipart_type[] = "multipart/form-data";

/* Whether a header's value is that media type, whatever its parameters (RFC 9110 section 8.3.1). */
static bool is_of_type(const char *content_type, const char *type)
{
    size_t len = strlen(type);

    content_type += strspn(content_type, " \t");
    return strncasecmp(content_type, type, len) == 0 && strchr("; \t", content_type[len]) != NULL;
}

static bool is_one_of(char byte, const char *set)
{
    return byte != '\0' && strchr(set, byte) != NULL;
}

/* The body without JSON's white space at its start (RFC 8259 section 2). */
static struct slice skip_blanks(struct slice body)
{
    while (body.len > 0 && is_one_of(*body.data, " \t\r\n")) {
        body.data++;
        body.len--;
    }
    return body;
}

static bool begins_with(struct slice body, const void *bytes, size_t len)
{
    return body.len >= len && memcmp(body.data, bytes, len) == 0;
}

/* Whether a word of a list is that name, whatever its case and the parameters behind it. */
static bool is_named(struct slice word, const char *name)
{
    size_t len = strlen(name);

    return word.len >= len && strncasecmp(word.data, name, len) == 0 &&
           (word.len == len || is_one_of(word.data[len], "; \t"));
}

/* The compression's name, for the sentence; NULL where the body is not known to be compressed. The header is
 * a list (RFC 9110 section 8.4). Words that are none (identity; Content-Encoding: UTF-8 is sent) do not
 * count. */
static const char *compression_of(const struct request *request)
{
    static const char *const names[] = {"gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress"};

    for (const char *at = request->content_encoding; *(at += strspn(at, ", \t")) != '\0';) {
        struct slice word = {.data = at, .len = strcspn(at, ",")};

        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (is_named(word, names[i])) {
                return names[i];
            }
        }
        at += word.len;
    }
    return NULL;
}

/* The encoding other than UTF-8 that the body's first bytes show, by its byte-order mark or by where the
 * zeros of its first two characters are, which in JSON and in forms are ASCII (RFC 4627 section 3). */
static const char *wide_encoding_of(struct slice body)
{
    const unsigned char *bytes = (const unsigned char *)body.data;
    unsigned zeros = 0;

    for (size_t i = 0; i < 4 && i < body.len; i++) {
        zeros = zeros << 1 | (bytes[i] == 0);
    }
    if (begins_with(body, "\0\0\xFE\xFF", 4) || begins_with(body, "\xFF\xFE\0\0", 4) ||
        (body.len >= 4 && (zeros == 14 || zeros == 7))) {
        return "UTF-32";
    }
    if (begins_with(body, "\xFE\xFF", 2) || begins_with(body, "\xFF\xFE", 2) ||
        (body.len >= 4 && (zeros == 10 || zeros == 5))) {
        return "UTF-16";
    }
    return NULL;
}

/* Whether it begins as a form does, with an argument's name and an equals sign. */
static bool looks_like_form(struct slice body)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz_";
    size_t len = 0;

    while (len < body.len && is_one_of(body.data[len], letters)) {
        len++;
    }
    return len > 0 && len < body.len && body.data[len] == '=';
}

bool body_describe(const struct request *request, struct error *error)
{
    struct slice body = request->body;
    const char *compression = compression_of(request), *encoding = wide_encoding_of(body);

    if (skip_blanks(body).len == 0) {
        error_set(error, ERROR_INVALID_JSON, "the body is empty");
    } else if (compression != NULL) {
        error_set(error, ERROR_INVALID_JSON,
                  "the body is compressed (Content-Encoding: %s): send it as it is", compression);
    } else if (begins_with(body, "\x1F\x8B", 2)) {
        error_set(error, ERROR_INVALID_JSON, "the body is compressed (gzip): send it as it is");
    } else if (begins_with(body, "\xEF\xBB\xBF", 3)) {
        error_set(error, ERROR_INVALID_JSON, "the body begins with a byte-order mark: send it without");
    } else if (encoding != NULL) {
        error_set(error, ERROR_INVALID_JSON, "the body is %s: send UTF-8", encoding);
    } else if (is_of_type(request->content_type, multipart_type)) {
        error_set(error, ERROR_INVALID_JSON, "the body is a form (%s): send JSON", multipart_type);
    } else if (looks_like_form(body) && !is_of_type(request->content_type, form_type)) {
        error_set(error, ERROR_INVALID_JSON, "the body is a form and its Content-Type is not %s: send JSON",
                  form_type);
    } else {
        return false;
    }
    return true;
}

bool body_is_form(const struct request *request)
{
    struct slice body = skip_blanks(request->body);
    struct error known;

    return is_of_type(request->content_type, form_type) && body.len > 0 && !is_one_of(*body.data, "{[\"") &&
           !body_describe(request, &known);
}
