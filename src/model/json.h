/* A strict reader of JSON text: RFC 8259 to the letter, UTF-8 only, at most JSON_DEPTH_MAX levels.
 *
 * json-c accepts much that RFC 8259 does not (docs/architecture.md lists it), so every text passes through
 * here before json-c sees any part of it. The reader works on the text in place, allocates nothing and does
 * not recurse. */
#ifndef INCIDENTS_MODEL_JSON_H
#define INCIDENTS_MODEL_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/error.h"

enum { JSON_DEPTH_MAX = 100 };

enum json_event {
    JSON_INVALID,
    JSON_END_OF_TEXT,
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_KEY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

/* One step through a text. `text` is the token's own bytes: of a key or string with its quotes. */
struct json_token {
    enum json_event event;
    struct slice text;
    bool has_nul;   /* a key or string that holds the escape \u0000 */
    unsigned depth; /* containers open around the token: 0 for the outermost value */
};

/* Where a reader stands. Set it up with json_reader_init; the fields are its own. */
struct json_reader {
    const char *text;
    size_t len;
    size_t at;
    unsigned depth;
    unsigned expects;
    const char *fault;
    bool in_object[JSON_DEPTH_MAX];
};

/* Starts at the beginning of a text, which must outlive the reader. */
void json_reader_init(struct json_reader *reader, struct slice text);

/* Reads the next token. After JSON_END_OF_TEXT the whole text was one valid JSON value. After JSON_INVALID,
 * reader->fault says why and reader->at where (a byte offset from 0); do not read on. */
enum json_event json_next(struct json_reader *reader, struct json_token *token);

/* Reads the rest of the text: true if the whole of it is one valid JSON value, else as after JSON_INVALID. */
bool json_read_to_end(struct json_reader *reader);

/* A member that json_find_members looks for, or an element without a name, and what was found. */
struct json_member {
    const char *name;
    enum json_event type; /* of the value, JSON_INVALID where it is absent */
    struct slice value;   /* the value's own bytes, points into the text */
    bool has_nul;         /* a \u0000 stands in the value, at any depth */
};

/* Validates a whole text and finds members of the object that it must be. `members` (count of them) name what
 * is wanted, the other fields are set here; of a repeated key the last one counts. *stray_nul is set where a
 * \u0000 stands in a key of the object or in a member that is not wanted. Returns false with
 * ERROR_INVALID_JSON where the text is not valid, and ERROR_INVALID_ARGUMENTS where it is no object. */
bool json_find_members(struct slice text, struct json_member *members, size_t count, bool *stray_nul,
                       struct error *error);

/* Finds the next element of the array that the reader's text is; the reader is fresh at the first call.
 * Returns false behind the last. The text must have been validated before. */
bool json_next_element(struct json_reader *reader, struct json_member *element);

/* Decodes the escapes of a valid JSON string, which is given with its quotes, into UTF-8 without a NUL behind
 * it: always shorter than quoted.len, for which `decoded` must have room. Returns its length. An escape and
 * the character itself decode to the same, for every Unicode scalar value. */
size_t json_string_decode(struct slice quoted, char *decoded);

/* Whether a JSON string, given with its quotes, decodes to that ASCII text. */
bool json_string_equals(struct slice quoted, const char *ascii);

#endif
