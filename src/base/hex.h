/* Hexadecimal digits. */
#ifndef INCIDENTS_BASE_HEX_H
#define INCIDENTS_BASE_HEX_H

#include <stddef.h>

/* Writes two lower-case digits a byte, and a NUL: 2 * len + 1 bytes at hex. */
void hex_encode(const unsigned char *bytes, size_t len, char *hex);

/* The value of a hexadecimal digit of either case; -1 for any other byte. */
int hex_value(char digit);

#endif
