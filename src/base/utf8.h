/* Well-formed UTF-8. */
#ifndef INCIDENTS_BASE_UTF8_H
#define INCIDENTS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* The length of the well-formed UTF-8 sequence at data, where `left` bytes are; 0 where there is none
 * (Unicode 15, table 3-7). */
size_t utf8_sequence(const unsigned char *data, size_t left);

/* Whether the bytes are such sequences and nothing else. */
bool utf8_is_valid(const char *data, size_t len);

#endif
