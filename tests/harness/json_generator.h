/* A generator of JSON and of what is nearly JSON, from the numbers of harness/prng.h. Each function appends
 * to a buffer; the caller looks whether that has failed. */
#ifndef INCIDENTS_TESTS_JSON_GENERATOR_H
#define INCIDENTS_TESTS_JSON_GENERATOR_H

#include "base/buffer.h"

/* One of an array. */
#define PICK(from) ((from)[prng_below(sizeof(from) / sizeof *(from))])

/* A text as it is, and so many digits. */
void put_text(struct buffer *out, const char *text);
void put_digits(struct buffer *out, size_t count);

/* A string, and a value at that depth; a tame one has a key and a number that metadata may have. */
void put_json_string(struct buffer *out);
void put_json_value(struct buffer *out, unsigned depth, bool is_tame);

/* JSON, or what was JSON before a few steps away from it. */
void put_json_text(struct buffer *out);

/* Goes one step away from what a text was: by one of the words, or by JSON's own. */
void mutate_text(struct buffer *text, const char *const words[], size_t count);
void mutate_json(struct buffer *text);

#endif
