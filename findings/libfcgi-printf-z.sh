#!/bin/sh
# libfcgi's FCGX_FPrintF stops at %zu, %jd and %hhd: what stands behind is dropped. It returns -1, which
# callers of a printf seldom look at; the stream itself has no error, and takes what is written next.
#
# It has a formatter of its own, from before C99, which knows no length modifier but h, l and L. A program that prints
# a size_t into its answer sends a page with a gap, under status 200.
# What this project does: the C library formats its answers, and libfcgi is handed the finished text.
#
# Seen 2026-11-28 with libfcgi0ldbl=2.4.2-2+deb12u1:
#   %d: [before 1 after!] returned 14, the stream's error 0, then wrote 1
#   %lu: [before 1 after!] returned 14, the stream's error 0, then wrote 1
#   %zu: [before !] returned -1, the stream's error 0, then wrote 1
#   %jd: [before !] returned -1, the stream's error 0, then wrote 1
#   %hhd: [before !] returned -1, the stream's error 0, then wrote 1
set -eu
packages='libfcgi0ldbl=2.4.2-2+deb12u1 libfcgi-dev=2.4.2-2+deb12u1'
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
apt-get download -q $packages >apt.log 2>&1 || { cat apt.log; exit 2; }
for package in *.deb; do dpkg -x "$package" root; done
libraries=$(dirname "$(find root -name 'libfcgi.so.0')")

cat >print.c <<'PROGRAM'
#define _GNU_SOURCE
#include <fcgiapp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Has the formatter write one record of FCGI_STDOUT (type 6) into a pair of sockets, and reads its content. */
#define TRY(format, value)                                                          \
    do {                                                                            \
        unsigned char record[4096];                                                 \
        int pair[2], result, after, error;                                          \
        FCGX_Stream *out;                                                           \
                                                                                    \
        socketpair(AF_UNIX, SOCK_STREAM, 0, pair);                                  \
        out = FCGX_CreateWriter(pair[1], 1, 1024, 6);                               \
        result = FCGX_FPrintF(out, "before " format " after", value);               \
        error = FCGX_GetError(out);                                                 \
        after = FCGX_PutS("!", out);                                                \
        FCGX_FClose(out);                                                           \
        FCGX_FreeStream(&out);                                                      \
        read(pair[0], record, sizeof record);                                       \
        printf("%s: [%.*s] returned %d, the stream's error %d, then wrote %d\n",    \
               format, record[4] << 8 | record[5], record + 8, result, error, after); \
    } while (0)

int main(void)
{
    TRY("%d", 1);
    TRY("%lu", 1UL);
    TRY("%zu", (size_t)1);
    TRY("%jd", (__INTMAX_TYPE__)1);
    TRY("%hhd", 1);
    return 0;
}
PROGRAM
cc -w -o print print.c -Iroot/usr/include "$libraries/libfcgi.so.0"
LD_LIBRARY_PATH=$libraries ./print >seen
cat seen
cat >expected <<'OUTPUT'
%d: [before 1 after!] returned 14, the stream's error 0, then wrote 1
%lu: [before 1 after!] returned 14, the stream's error 0, then wrote 1
%zu: [before !] returned -1, the stream's error 0, then wrote 1
%jd: [before !] returned -1, the stream's error 0, then wrote 1
%hhd: [before !] returned -1, the stream's error 0, then wrote 1
OUTPUT
cmp expected seen
