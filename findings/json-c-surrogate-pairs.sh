#!/bin/sh
# json-c 0.16 decodes 32,768 characters that are written as surrogate pairs to U+FFFD, without an error.
#
# A character outside the basic plane whose low 16 bits lie in D800 to DFFF (U+2D800 and other Chinese
# characters, U+1D800 of Sutton SignWriting) may be written in JSON as two \u escapes (RFC 8259, section 7).
# json_tokener_parse() puts the right code point together, and then takes it for half a pair: it looks
# at 16 bits of it alone. The same character in UTF-8 is kept.
# What this project does: src/model/json.c decodes strings by itself.
#
# Seen 2026-11-28 with libjson-c5=0.16-2:
#   U+10000 ok, U+1F600 ok, U+1D800 lost: EF BF BD, U+2D800 lost: EF BF BD, U+2DFFF lost: EF BF BD, U+2E000 ok
#   32768 of 1048576 characters are lost
set -eu
packages='libjson-c5=0.16-2 libjson-c-dev=0.16-2'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find root -name 'libjson-c.so.5')")

cat >pairs.c <<'PROGRAM'
#include <json.h>
#include <stdio.h>
#include <string.h>

static int is_kept(unsigned scalar, int say)
{
    char text[32];
    unsigned offset = scalar - 0x10000;
    unsigned char expected[4] = {0xF0 | scalar >> 18, 0x80 | (scalar >> 12 & 0x3F), 0x80 | (scalar >> 6 & 0x3F),
                                 0x80 | (scalar & 0x3F)};
    struct json_object *value;
    const unsigned char *bytes;
    int len, kept;

    snprintf(text, sizeof text, "\"\\u%04x\\u%04x\"", 0xD800 | offset >> 10, 0xDC00 | (offset & 0x3FF));
    value = json_tokener_parse(text);
    bytes = (const unsigned char *)json_object_get_string(value);
    len = json_object_get_string_len(value);
    kept = len == 4 && memcmp(bytes, expected, 4) == 0;
    if (say) {
        printf("U+%X %s", scalar, kept ? "ok" : "lost:");
        for (int i = 0; !kept && i < len; i++) {
            printf(" %02X", bytes[i]);
        }
        printf("%s", scalar == 0x2E000 ? "\n" : ", ");
    }
    json_object_put(value);
    return kept;
}

int main(void)
{
    static const unsigned shown[] = {0x10000, 0x1F600, 0x1D800, 0x2D800, 0x2DFFF, 0x2E000};
    unsigned lost = 0;

    for (unsigned i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        is_kept(shown[i], 1);
    }
    for (unsigned scalar = 0x10000; scalar <= 0x10FFFF; scalar++) {
        lost += !is_kept(scalar, 0);
    }
    printf("%u of 1048576 characters are lost\n", lost);
    return 0;
}
PROGRAM
cc -w -o pairs pairs.c -Iroot/usr/include/json-c "$libraries/libjson-c.so.5"
LD_LIBRARY_PATH=$libraries ./pairs >seen
cat seen
cat >expected <<'OUTPUT'
U+10000 ok, U+1F600 ok, U+1D800 lost: EF BF BD, U+2D800 lost: EF BF BD, U+2DFFF lost: EF BF BD, U+2E000 ok
32768 of 1048576 characters are lost
OUTPUT
cmp expected seen
