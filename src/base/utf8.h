/* Well-formed UTF-8. */
#ifndef INCIDENTS_BASE_UTF8_H
#define INCIDENTS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The length of the well-formed UTF-8 sequence at data, where `left` bytes are; 0 where there is none
 * (Unicode 15, table 3-7). */
size_t utf8_sequence(const unsigned char *data, size_t left);

/* How many of the bytes are whole characters from the first on, `max` at most: where to cut a text. */
size_t utf8_cut(const char *data, size_t len, size_t max);

/* Whether the bytes are such sequences and nothing else. */
bool utf8_is_valid(const char *data, size_t len);

/* The code point of a well-formed sequence of that length. */
uint32_t utf8_code_point(const unsigned char *sequence, size_t length);

/* Whether a character does something to the line that it is shown in: control characters (Unicode's Cc), what
 * ends a line or a paragraph, and the controls of the writing's direction (UAX 9, section 2). */
bool utf8_is_control(uint32_t point);

#endif
